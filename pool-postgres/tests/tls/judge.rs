//! What becomes of an attempt to connect: for libpq itself, in a process of its own, and for us.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use pool_postgres::{PostgresConfig, PostgresConfigError, PostgresPool};

use crate::library::library;

/// Refused with a reason.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Encrypted,
    Plain,
    Refused(String),
}

impl Outcome {
    /// Whether the same has come of it, for whatever reason.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }

    /// Why nothing has come of it.
    pub(crate) fn reason(&self) -> &str {
        if let Self::Refused(reason) = self { reason } else { "" }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Encrypted => "TLS",
            Self::Plain => "plain",
            Self::Refused(_) => "refused",
        })
    }
}

#[derive(serde::Deserialize)]
struct Answer {
    connected: bool,
    encrypted: bool,
    error: String,
}

/// libpq 18.
pub(crate) struct Judge {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Judge {
    /// Has libpq look for files in this folder, instead of that of whoever runs this.
    pub(crate) fn start(home: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls/connect.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(library()).arg(home).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3 is there (apt-get install python3)");
        let questions = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let mut version = String::new();
        answers.read_line(&mut version).unwrap();
        assert!(version.contains("180"), "libpq 18 is the judge: {version:?}");
        Self { process, questions, answers }
    }

    /// What comes of it for libpq.
    pub(crate) fn connect(&mut self, text: &str) -> Outcome {
        serde_json::to_writer(&mut self.questions, text).unwrap();
        writeln!(self.questions).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let answer: Answer = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
        match answer {
            Answer { connected: false, error, .. } => Outcome::Refused(error),
            Answer { encrypted: true, .. } => Outcome::Encrypted,
            _ => Outcome::Plain,
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What comes of it for us.
pub(crate) async fn connect(text: &str) -> Outcome {
    attempt(format!("{text} {POOL}").parse()).await
}

/// How a pool is told to hold nobody up.
pub(crate) const POOL: &str = "pool_max_conns=1 pool_min_conns=0 pool_acquire_timeout=10";

/// What comes of a configuration for us.
pub(crate) async fn attempt(config: Result<PostgresConfig, PostgresConfigError>) -> Outcome {
    pool_testkit::secrets::listen();
    let config = match config {
        Ok(config) => config,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let pool = match PostgresPool::connect(config).await {
        Ok(pool) => pool,
        Err(error) => return Outcome::Refused(error.to_string()),
    };
    let asked = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = pool.acquire().await.unwrap().query_one(asked, &[]).await.unwrap();
    pool.disconnect().await;
    if row.get(0) { Outcome::Encrypted } else { Outcome::Plain }
}
