//! The program itself: its command line, its end, and what it leaves behind.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// The example. `cargo test` builds it next to the tests; a run of these tests alone does it here.
fn program() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let path = BUILT.get_or_init(|| {
        let tests = std::env::current_exe().unwrap();
        let profile = tests.ancestors().nth(2).unwrap();
        let path = profile.join("examples/alert_history");
        if !path.exists() {
            let mut build = Command::new(env!("CARGO"));
            build.args(["build", "--example", "alert_history", "--target-dir"]).arg(profile.parent().unwrap());
            build.args(profile.ends_with("release").then_some("--release"));
            assert!(build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success());
        }
        path
    });
    let mut command = Command::new(path);
    command.env_remove("DATABASE_URL").env_remove("RUST_LOG");
    command
}

#[test]
fn a_wrong_option_is_explained() {
    for (arguments, complaint) in [
        (&["--colour", "red"][..], "--help lists the options"),
        (&["--listen", "nowhere"], "allowed: an address"),
        (&["--host", "http://alerts.example/"], "allowed: a name"),
        (&["--log-format", "xml"], "allowed: text, json"),
        (&["--load", "0"], "allowed: 1 to 86400 seconds"),
        (&["--clients", "4"], "give both"),
        (&["--clients"], "allowed: 1 to 1000"),
    ] {
        let output = program().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(complaint), "{arguments:?}: {output:?}");
    }
    let help = program().arg("--help").output().unwrap();
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("POST /webhook"));
}

#[test]
fn a_database_that_cannot_be_is_explained() {
    let output = program().args(["--listen", "127.0.0.1:0"]).env("DATABASE_URL", "host=127.0.0.1 port=none").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("port"), "{output:?}");
}

/// A running service.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// Its lines, read as they come: whoever has filled a pipe that nobody reads waits, and answers no request meanwhile.
    log: Receiver<String>,
    /// Where its PostgreSQL lives.
    folder: PathBuf,
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::start_as(program())
    }

    /// On this database.
    pub(crate) fn start_on(url: &str) -> Self {
        let mut command = program();
        command.env("DATABASE_URL", url);
        Self::start_as(command)
    }

    fn start_as(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
        let address =
            greeting.split("http://").nth(1).and_then(|rest| rest.split(',').next()).expect(&greeting).to_owned();
        let (lines, log) = mpsc::channel();
        let stderr = child.stderr.take().unwrap();
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
        });
        let folder = std::env::temp_dir().join(format!("pool-pg-{}-0", child.id()));
        Self { child, address, log, folder }
    }

    /// Ends it; all that it has logged.
    pub(crate) fn end(mut self) -> Vec<String> {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
        let log = self.log.iter().collect();
        assert!(self.child.wait().unwrap().success());
        log
    }

    /// The next line of the log that contains this.
    fn logged(&self, text: &str) -> String {
        self.log.iter().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line with {text:?}"))
    }
}

/// A request that has begun: its head has been read by the service, its body has not been sent.
fn begin_request(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
        .write_all(b"POST /webhook HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        .unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 100", "the service has begun to read it");
    stream
}

fn a_signal_drains_and_nothing_is_left(signal: &str) {
    let mut service = Running::start();
    assert!(service.folder.exists(), "the database of its own is in {}", service.folder.display());
    let mut stream = begin_request(&service.address);
    let id = service.child.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    let draining = service.logged("draining");
    assert!(draining.starts_with('{') && draining.contains(r#""level":"INFO""#), "logs are JSON: {draining}");
    stream.write_all(b"{}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 400 "), "the request in flight is answered: {answer}");
    service.logged("closing the pool");
    assert!(service.child.wait().unwrap().success());
    assert!(!service.folder.exists(), "nothing is left");
    assert!(TcpStream::connect(&service.address).is_err());
}

#[test]
fn ctrl_c_drains() {
    a_signal_drains_and_nothing_is_left("INT");
}

#[test]
fn sigterm_drains() {
    a_signal_drains_and_nothing_is_left("TERM");
}

#[test]
fn a_load_ends_by_itself_and_finds_every_alert() {
    let output = program().args(["--load", "1", "--clients", "4"]).output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("errors       0\n") && !report.contains("are in the table"), "{report}");
}
