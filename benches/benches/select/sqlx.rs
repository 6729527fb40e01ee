//! sqlx, which takes its turns in a process of its own.

use std::error::Error;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Stdio};

use super::rounds::Seen;
use crate::processor::processor_time;
use crate::sqlx_peer;

/// That process.
pub(crate) struct Sqlx {
    child: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What it says of a turn: how many answers in how many seconds, and percentiles in microseconds.
#[derive(serde::Deserialize)]
struct Told {
    answers: u32,
    seconds: f64,
    p50: f64,
    p99: f64,
}

impl Sqlx {
    /// Builds and starts it. Its connections are open then, and the statement is prepared on them.
    pub(crate) fn start(url: &str, connections: usize) -> Result<Self, Box<dyn Error>> {
        sqlx_peer::build()?;
        let mut program = sqlx_peer::program(url, &["ask", &connections.to_string()]);
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or("it has no output")?).lines();
        let mut sqlx = Self { child, answers };
        sqlx.ask(connections, 2_000)?;
        Ok(sqlx)
    }

    pub(crate) fn take_turn(&mut self, callers: usize, times: usize, seen: &mut Seen) -> Result<(), Box<dyn Error>> {
        // `cargo run` has become the program by now, with the same number.
        let process = self.child.id().to_string();
        let before = processor_time(&process);
        let told = self.ask(callers, times)?;
        if let (Some(before), Some(after)) = (before, processor_time(&process)) {
            seen.processor += after.saturating_sub(before);
        }
        seen.answers += u64::from(told.answers);
        seen.rates.push(f64::from(told.answers) / told.seconds);
        seen.told.push([told.p50, told.p99]);
        Ok(())
    }

    fn ask(&mut self, callers: usize, times: usize) -> Result<Told, Box<dyn Error>> {
        let questions = self.child.stdin.as_mut().ok_or("it has no input")?;
        writeln!(questions, "{callers} {times}")?;
        let line = self.answers.next().ok_or("sqlx has ended, for the reason above")??;
        Ok(serde_json::from_str(&line)?)
    }
}

/// It ends when there is nothing more to read.
impl Drop for Sqlx {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}
