//! sqlx, which takes its turns in a process of its own.

use std::error::Error;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use super::figures::Turn;
use super::workload::Workload;
use crate::processor::processor_time;
use crate::sqlx_peer;

/// That process.
pub(crate) struct Sqlx {
    child: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What it says of a turn: how many answers there were while it counted, how many at all, and of those that were not slow how many took about so many nanoseconds.
#[derive(serde::Deserialize)]
struct Told {
    answers: u64,
    asked: u64,
    nanos: Vec<(u64, u64)>,
}

impl Sqlx {
    /// Starts it; it has been built. Its connections are open when it has answered.
    pub(crate) fn start(url: &str, connections: usize) -> Result<Self, Box<dyn Error>> {
        let mut program = sqlx_peer::program(url, &["turns", &connections.to_string()]);
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or("it has no output")?).lines();
        Ok(Self { child, answers })
    }

    pub(crate) fn take_turn(
        &mut self,
        workload: &Workload,
        warm_up: Duration,
        counted: Duration,
    ) -> Result<Turn, Box<dyn Error>> {
        let (callers, slow) = (workload.callers, if workload.mixed { super::caller::SLOW } else { 0 });
        // `cargo run` has become the program by now, with the same number.
        let process = self.child.id().to_string();
        let before = processor_time(&process);
        let questions = self.child.stdin.as_mut().ok_or("it has no input")?;
        writeln!(questions, "{callers} {} {} {slow}", warm_up.as_millis(), counted.as_millis())?;
        let line = self.answers.next().ok_or("sqlx has ended, for the reason above")??;
        let told: Told = serde_json::from_str(&line)?;
        let mut turn = Turn::of(counted);
        turn.used(&process, before);
        (turn.answers, turn.asked) = (told.answers, told.asked);
        for (nanos, times) in told.nanos {
            turn.record(nanos, times);
        }
        Ok(turn)
    }
}

/// It ends when there is nothing more to read.
impl Drop for Sqlx {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        drop(self.child.wait());
    }
}
