//! A real Redis on a port of its own.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

#[path = "port.rs"]
pub(crate) mod port;

/// A server that keeps nothing on disk. It is killed when this is dropped, and when this process ends in any way.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shell: Child,
    /// Kept open: the server writes its log there.
    _log: BufReader<ChildStdout>,
}

/// Runs the server until nobody holds the other end of its input any more.
const SCRIPT: &str = r#""$@" & server=$!; read -r _; kill -9 "$server"; wait "$server" 2>/dev/null"#;

impl Server {
    /// Starts one at a free port, and returns when it is ready for connections.
    pub(crate) fn start(options: &[&str]) -> Result<Self> {
        let mut outcome = Self::start_at(port::free()?, options);
        // Somebody else may have been faster.
        while outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
            outcome = Self::start_at(port::free()?, options);
        }
        outcome
    }

    /// Starts one there.
    pub(crate) fn start_at(address: SocketAddr, options: &[&str]) -> Result<Self> {
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            SCRIPT,
            "sh",
            "redis-server",
            "--bind",
            &host,
            "--port",
            &port,
            "--save",
            "",
            "--dir",
            "/",
        ]);
        // Out of the terminal's reach: Ctrl-C is for the program that uses the server.
        command.args(options).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn()?;
        let mut log = BufReader::new(shell.stdout.take().ok_or(ErrorKind::BrokenPipe)?);
        let mut told = String::new();
        while !told.contains("Ready to accept connections") {
            if log.read_line(&mut told)? == 0 {
                return Err(failure(&told));
            }
        }
        Ok(Self { address, shell, _log: log })
    }
}

/// Why there is no server, by what it has told.
fn failure(told: &str) -> Error {
    let kind = if told.contains("Address already in use") { ErrorKind::AddrInUse } else { ErrorKind::Other };
    let why = if told.is_empty() { "it is not there: apt-get install redis-server" } else { told };
    Error::new(kind, format!("redis-server did not start: {why}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ends the shell's input, and so the server.
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
