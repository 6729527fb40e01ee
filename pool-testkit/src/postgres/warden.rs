//! The shell that the server is a child of, and that outlives this process by as long as cleaning up takes.
//!
//! It takes one command per line on standard input and answers each with one line. When its input ends, because the server was
//! dropped or because this process is gone in any way, it stops the server and removes its files.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::account::Account;
use super::error::{During, EphemeralError};

/// `$1` is the folder to remove at the end, the rest is the server's command line.
const SCRIPT: &str = r#"
trap '' HUP INT TERM PIPE
folder=$1; shift
pid=
# The server and its children; they are in sessions of their own, so there is no group to signal.
family() {
    echo "$pid"
    if [ -r /proc/self/stat ]; then
        for stat in /proc/[0-9]*/stat; do
            { read -r child name state parent rest < "$stat"; } 2>/dev/null || continue
            [ "$parent" = "$pid" ] && echo "$child"
        done
    else
        ps -A -o pid= -o ppid= | while read -r child parent; do [ "$parent" = "$pid" ] && echo "$child"; done
    fi
}
signal() { kill -s "$1" $(family) 2>/dev/null; }
finish() { [ -n "$pid" ] && wait "$pid" 2>/dev/null; pid=; }
while IFS= read -r line; do
    case $line in
        start) "$@" </dev/null >"$folder/log" 2>&1 & pid=$!; echo "$pid" ;;
        alive) if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then echo yes; else echo no; fi ;;
        # Frozen first: nobody is born while the list is made.
        pause) kill -s STOP "$pid" 2>/dev/null; signal STOP; echo paused ;;
        resume) signal CONT; echo resumed ;;
        kill) kill -s STOP "$pid" 2>/dev/null; signal KILL; finish; echo killed ;;
        stop) signal CONT; kill -s INT "$pid" 2>/dev/null; finish; echo stopped ;;
    esac
done
# What has no data, such as PgBouncer, has no last words either, and does not hear QUIT.
last=QUIT; [ -d "$folder/data" ] || last=KILL
if [ -n "$pid" ]; then
    signal CONT
    # Whoever is killed cannot end its children, as a browser is one of its driver.
    if [ $last = KILL ]; then signal KILL; else kill -s $last "$pid" 2>/dev/null; fi
    finish
fi
# A killed server leaves its shared memory behind; the file says which.
if [ -r "$folder/data/postmaster.pid" ]; then
    memory=$(sed -n 7p "$folder/data/postmaster.pid"); ipcrm -m "${memory##* }" 2>/dev/null
fi
rm -rf "$folder"
"#;

/// The shell, and both ends of the talk with it.
#[derive(Debug)]
pub(crate) struct Warden {
    shell: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Warden {
    /// Starts the shell for a server that lives in `folder` and is started by `server`.
    pub(crate) fn new(
        account: Account,
        folder: &Path,
        server: &[String],
        libraries: Option<&Path>,
    ) -> Result<Self, EphemeralError> {
        let mut command = account.command("/bin/sh");
        if let Some(libraries) = libraries {
            command.env(super::find::LIBRARY_PATH, libraries);
        }
        command.args(["-c", SCRIPT, "pool-testkit"]).arg(folder).args(server);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // Out of the terminal's reach: Ctrl-C is for the program that uses the server, not for the server.
        command.process_group(0);
        let mut shell = command.spawn().during(|| "starting /bin/sh to watch the server".to_owned())?;
        let (Some(orders), Some(answers)) = (shell.stdin.take(), shell.stdout.take()) else {
            return Err(EphemeralError::step("starting /bin/sh to watch the server", "it has no pipes"));
        };
        Ok(Self { shell, orders: Some(orders), answers: BufReader::new(answers) })
    }

    /// Gives an order and waits for the answer.
    pub(crate) fn order(&mut self, order: &str) -> Result<String, EphemeralError> {
        let step = || format!("telling the shell that watches the server to {order}");
        if let Some(orders) = &mut self.orders {
            writeln!(orders, "{order}").during(step)?;
        }
        let mut answer = String::new();
        self.answers.read_line(&mut answer).during(step)?;
        if answer.is_empty() { Err(EphemeralError::step(step(), "it has gone")) } else { Ok(answer.trim().to_owned()) }
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        // Ends the shell's input, and so the server.
        self.orders = None;
        let _ = self.shell.wait();
    }
}
