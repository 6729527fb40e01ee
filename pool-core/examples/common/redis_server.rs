//! A real Redis on a port of its own.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A server that keeps nothing on disk. It is killed when this is dropped, and when this process ends in any way.
pub(crate) struct Server {
    /// Host and port.
    pub(crate) address: String,
    shell: Child,
    /// Kept open: the server writes its log there.
    _log: BufReader<ChildStdout>,
}

/// Runs the server until nobody holds the other end of its input any more.
const SCRIPT: &str = r#""$@" & server=$!; read -r _; kill -9 "$server"; wait "$server" 2>/dev/null"#;

impl Server {
    /// Starts one at this address, with port 0 at a free one, and returns when it is ready for connections.
    pub(crate) fn start(address: &str, options: &[&str]) -> Result<Self> {
        let mut address = address.to_owned();
        if address.ends_with(":0") {
            // Free when this has returned; nobody else is given it so soon.
            address = TcpListener::bind(&address)?.local_addr()?.to_string();
        }
        let (host, port) = address.rsplit_once(':').ok_or(ErrorKind::InvalidInput)?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh", "redis-server", "--bind", host, "--port", port, "--save", "", "--dir", "/"]);
        // Out of the terminal's reach: Ctrl-C is for the program that uses the server.
        command.args(options).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn()?;
        let mut log = BufReader::new(shell.stdout.take().ok_or(ErrorKind::BrokenPipe)?);
        let mut told = String::new();
        while !told.contains("Ready to accept connections") {
            if log.read_line(&mut told)? == 0 {
                let why = if told.is_empty() { "it is not there: apt-get install redis-server" } else { &told };
                return Err(Error::other(format!("redis-server did not start: {why}")));
            }
        }
        Ok(Self { address, shell, _log: log })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends the shell's input, and so the server.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
