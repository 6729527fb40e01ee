//! One of many callers.

use std::time::{Duration, Instant};

use super::contenders::{Contender, Question};

/// One query of so many of each caller is slow, if some are; the callers' turns for that are spread.
pub(crate) const SLOW: usize = 100;

/// What of a turn counts: neither how it begins, nor how it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    begin: Instant,
    end: Instant,
}

impl Window {
    /// So long, after callers have been at it for a while.
    pub(crate) fn after(warm_up: Duration, counted: Duration) -> Self {
        let begin = Instant::now() + warm_up;
        Self { begin, end: begin + counted }
    }
}

/// What a caller has seen.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// How many came while it counted.
    pub(crate) count: u64,
    /// How many came at all.
    pub(crate) asked: u64,
    /// How many nanoseconds each took that was under way meanwhile, the slow ones left out. One that comes afterwards is among them: who waits all the time is seen by that alone.
    pub(crate) nanos: Vec<u64>,
}

/// Asks until the window closes. An answer is to be the one to the question.
pub(crate) async fn call(contender: Contender, caller: usize, mixed: bool, window: Window) -> Answers {
    let mut answers = Answers::default();
    let mut begun = Instant::now();
    let mut asked = 0_i32;
    while begun < window.end {
        let question = question(caller, asked, mixed);
        assert_eq!(contender.ask(caller, question, asked).await, asked, "the answer to its own question");
        let answered = Instant::now();
        answers.asked += 1;
        answers.count += u64::from((window.begin..window.end).contains(&answered));
        if answered >= window.begin && question == Question::Fast {
            answers.nanos.push(u64::try_from((answered - begun).as_nanos()).unwrap_or(u64::MAX));
        }
        (begun, asked) = (answered, asked + 1);
    }
    answers
}

fn question(caller: usize, asked: i32, mixed: bool) -> Question {
    let place = caller + usize::try_from(asked).unwrap_or(0);
    if mixed && place.is_multiple_of(SLOW) { Question::Slow } else { Question::Fast }
}
