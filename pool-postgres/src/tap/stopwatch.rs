//! How long executions take.

use std::mem;
use std::time::Instant;

use pool_core::Recorder;

/// How many executions of a connection are all timed.
const ALL_TIMED: u64 = 256;
/// After these, one in so many.
const SAMPLE: u64 = 16;

/// Takes the time of one connection's executions: from when a request is sent, or the one before it has been answered if that is later, until its answer is there.
#[derive(Debug)]
pub(super) struct Stopwatch {
    recorder: Option<Recorder>,
    /// Whether requests are in flight.
    running: bool,
    /// When what is sent next began to be written, if that may begin what is timed.
    before: Option<Instant>,
    /// Since when the server is at the first of them, if this time is to be noted.
    since: Option<Instant>,
    /// Whether the pool asks for it, for itself.
    on_duty: bool,
    /// The kind of the first error that was an answer to it.
    error: Option<&'static str>,
    /// How many have been executed.
    executed: u64,
    /// How many have to have been executed for the next to be timed.
    next_timed: u64,
}

impl Stopwatch {
    /// Without a recorder it does nothing.
    pub(super) fn new(recorder: Option<Recorder>) -> Self {
        let next_timed = if recorder.is_some() { 0 } else { u64::MAX };
        Self {
            recorder,
            running: false,
            before: None,
            since: None,
            on_duty: false,
            error: None,
            executed: 0,
            next_timed,
        }
    }

    /// Something is about to be written. Once it has been, the server may have answered long before this task goes on.
    pub(super) fn about_to_send(&mut self) {
        let begins = !self.running && self.executed >= self.next_timed;
        self.before = begins.then(Instant::now);
    }

    /// A part of a request has been sent.
    pub(super) fn sent(&mut self, on_duty: bool) {
        if mem::replace(&mut self.running, true) {
            return;
        }
        self.on_duty = on_duty;
        if self.executed >= self.next_timed {
            self.since = Some(self.before.unwrap_or_else(Instant::now));
        }
    }

    /// The server has answered with an error of this kind.
    pub(super) fn fails(&mut self, kind: &'static str) {
        self.error = self.error.or(Some(kind)).filter(|_| self.running);
    }

    /// Nothing is in flight any more.
    pub(super) fn rest(&mut self) {
        (self.running, self.since, self.error) = (false, None, None);
    }

    /// The server goes on with what was sent after what it has answered.
    pub(super) fn go_on(&mut self, on_duty: bool) {
        self.on_duty = on_duty;
        self.since = (self.executed >= self.next_timed).then(Instant::now);
    }

    /// The first request in flight has been answered, and executes something or does not: to prepare a statement is no execution.
    pub(super) fn answered(&mut self, executes: bool) {
        let (since, error) = (self.since.take(), self.error.take());
        // What is refused when it is prepared is not executed, and has failed all the same.
        let counts = executes || error.is_some();
        if !self.running || self.on_duty || !counts {
            return;
        }
        self.executed += 1;
        if let (Some(since), Some(recorder)) = (since, &self.recorder) {
            let stands_for = if self.executed <= ALL_TIMED { 1 } else { SAMPLE };
            match error {
                None => recorder.record_executions(since.elapsed(), stands_for),
                Some(kind) => recorder.record_failed_executions(since.elapsed(), stands_for, kind),
            }
            self.next_timed = after(self.executed);
        }
    }
}

/// After how many executions the next one is timed, if the last of so many has been. One of every `SAMPLE`, but not always the first: many users ask for the same few things
/// again and again, in turn.
fn after(executed: u64) -> u64 {
    if executed < ALL_TIMED {
        return executed;
    }
    let group = executed.div_ceil(SAMPLE);
    // The fractions of the multiples of the golden ratio spread evenly, in an order that repeats no short one.
    let place = group.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
    group * SAMPLE + place % SAMPLE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execute(stopwatch: &mut Stopwatch) {
        stopwatch.sent(false);
        end(stopwatch, true);
    }

    /// The last one in flight is answered.
    fn end(stopwatch: &mut Stopwatch, executes: bool) {
        stopwatch.answered(executes);
        stopwatch.rest();
    }

    #[test]
    fn all_of_the_first_are_timed_then_one_of_so_many() {
        let recorder = Recorder::default();
        let mut stopwatch = Stopwatch::new(Some(recorder.clone()));
        for executed in 1..=ALL_TIMED {
            execute(&mut stopwatch);
            assert_eq!(recorder.executions().count, executed);
        }
        for executed in ALL_TIMED + 1..20_000 {
            execute(&mut stopwatch);
            let counted = recorder.executions().count;
            assert!(counted.abs_diff(executed) < SAMPLE, "{counted} of {executed}");
        }
    }

    #[test]
    fn what_fails_is_timed_as_that_and_an_error_out_of_turn_is_nobodys() {
        let recorder = Recorder::default();
        let mut stopwatch = Stopwatch::new(Some(recorder.clone()));
        stopwatch.fails("57");
        assert_eq!(stopwatch.error, None, "nothing was asked");
        stopwatch.sent(false);
        stopwatch.fails("23");
        stopwatch.fails("25");
        assert_eq!(stopwatch.error, Some("23"), "the first one");
        end(&mut stopwatch, true);
        assert_eq!((stopwatch.error, recorder.executions().count), (None, 1));
        stopwatch.sent(false);
        stopwatch.fails("42");
        end(&mut stopwatch, false);
        assert_eq!(recorder.executions().count, 2, "it was to be executed");
        stopwatch.sent(true);
        stopwatch.fails("42");
        end(&mut stopwatch, true);
        assert_eq!(recorder.executions().count, 2, "but not what the pool asks");
    }

    /// On a connection that is never without a request.
    #[test]
    fn each_of_those_that_are_in_flight_together_has_its_own_time() {
        let recorder = Recorder::default();
        let mut stopwatch = Stopwatch::new(Some(recorder.clone()));
        stopwatch.sent(false);
        for executed in 1..=ALL_TIMED {
            stopwatch.sent(false);
            let begun = stopwatch.since;
            if executed == 7 {
                stopwatch.fails("23");
            }
            stopwatch.answered(true);
            assert_eq!((stopwatch.error, recorder.executions().count), (None, executed), "the next has its own error");
            stopwatch.go_on(false);
            assert!(executed == ALL_TIMED || stopwatch.since > begun, "not from when the first was sent");
        }
    }

    /// Of a few things in turn, none is timed all the time.
    #[test]
    fn samples_do_not_keep_step() {
        for turn in 2..=20 {
            let mut seen = vec![0_u64; turn];
            let mut executed = ALL_TIMED;
            for _ in 0..10_000 {
                executed = after(executed);
                seen[usize::try_from(executed).unwrap() % turn] += 1;
                executed += 1;
            }
            let even = 10_000 / turn as u64;
            assert!(seen.iter().all(|seen| seen.abs_diff(even) <= even / 5), "of {turn}: {seen:?}");
        }
    }

    #[test]
    fn what_nobody_wants_to_know_is_not_timed() {
        let recorder = Recorder::default();
        let mut stopwatch = Stopwatch::new(Some(recorder.clone()));
        stopwatch.sent(false);
        end(&mut stopwatch, false);
        stopwatch.sent(true);
        end(&mut stopwatch, true);
        end(&mut stopwatch, true);
        assert_eq!(recorder.executions().count, 0, "prepared, asked by the pool, and asked by nobody");
        stopwatch.sent(false);
        stopwatch.sent(true);
        stopwatch.answered(true);
        stopwatch.go_on(true);
        end(&mut stopwatch, true);
        assert_eq!(recorder.executions().count, 1, "a user's, with something of the pool's behind it");
        let mut silent = Stopwatch::new(None);
        execute(&mut silent);
        assert!(silent.since.is_none());
    }
}
