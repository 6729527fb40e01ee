//! Which commands have begun and ended transactions.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// Outside of a transaction, in `ReadyForQuery`.
const IDLE: u8 = b'I';

/// How a transaction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All that was done since it began is there.
    Committed,
    /// Nothing of it is.
    RolledBack,
    /// It was not the last command that has ended it.
    Before,
}

/// What has been completed of what begins and ends transactions. Only whoever holds the wire notes it.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The last status of `ReadyForQuery`.
    ready: AtomicU8,
    /// How often that was outside of a transaction.
    rests: AtomicU64,
    begins: AtomicU64,
    /// Whether the last of these came outside of a transaction.
    was_fresh: AtomicBool,
    commits: AtomicU64,
    rollbacks: AtomicU64,
    /// Whether the last of these two was a `COMMIT`.
    is_commit: AtomicBool,
    savepoints: AtomicU64,
}

/// The counts at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    rests: u64,
    begins: u64,
    commits: u64,
    rollbacks: u64,
    is_commit: bool,
    savepoints: u64,
}

fn count(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Release);
}

impl Turns {
    pub(super) fn note_ready(&self, status: u8) {
        self.ready.store(status, Ordering::Release);
        if status == IDLE {
            count(&self.rests);
        }
    }

    /// A command of this name is completed. `COMMIT AND CHAIN` is called `COMMIT`, too; `COMMIT PREPARED` is about another transaction.
    pub(super) fn note_completed(&self, name: &[u8]) {
        match name {
            b"COMMIT" => self.note_end(true, &self.commits),
            b"BEGIN" | [b'S', b'T', b'A', b'R', b'T', b' ', ..] => self.note_begin(),
            [b'R', b'O', b'L', b'L', b'B', ..] => self.note_end(false, &self.rollbacks),
            [b'S', b'A', b'V', b'E', b'P', ..] => count(&self.savepoints),
            _ => {}
        }
    }

    fn note_begin(&self) {
        self.was_fresh.store(self.ready.load(Ordering::Relaxed) == IDLE, Ordering::Release);
        count(&self.begins);
    }

    fn note_end(&self, is_commit: bool, counter: &AtomicU64) {
        self.is_commit.store(is_commit, Ordering::Release);
        count(counter);
    }

    pub(super) fn now(&self) -> Turn {
        Turn {
            rests: self.rests.load(Ordering::Acquire),
            begins: self.begins.load(Ordering::Acquire),
            commits: self.commits.load(Ordering::Acquire),
            rollbacks: self.rollbacks.load(Ordering::Acquire),
            is_commit: self.is_commit.load(Ordering::Acquire),
            savepoints: self.savepoints.load(Ordering::Acquire),
        }
    }

    /// Whether a transaction was open when the server was ready last.
    pub(super) fn is_inside(&self) -> bool {
        matches!(self.ready.load(Ordering::Acquire), b'T' | b'E')
    }

    /// Whether it has been outside of a transaction, and so the login is over.
    pub(super) fn has_rested(&self) -> bool {
        self.rests.load(Ordering::Relaxed) > 0
    }

    /// Whether the last `BEGIN` has begun a transaction: inside of one it is no error, and does nothing.
    pub(super) fn has_begun(&self) -> bool {
        self.was_fresh.load(Ordering::Acquire)
    }
}

impl Turn {
    /// Whether a transaction that was open then has ended, though another one may be open now.
    pub(super) fn has_ended_by(self, now: Turn) -> bool {
        now.rests != self.rests || now.commits != self.commits || self.was_left_by(now)
    }

    /// How it has ended, given that the last command was to end it.
    pub(super) fn ending_by(self, now: Turn) -> Ending {
        if now.rests != self.rests + 1 || now.begins != self.begins {
            return Ending::Before;
        }
        match (now.commits - self.commits, now.is_commit) {
            (0, _) => Ending::RolledBack,
            (1, true) if !self.was_left_by(now) => Ending::Committed,
            _ => Ending::Before,
        }
    }

    /// Whether nothing has been committed since, and no other transaction begun.
    pub(super) fn has_committed_nothing_by(self, now: Turn) -> bool {
        now.commits == self.commits && now.begins == self.begins
    }

    /// Whether it was left for another one without a rest in between, but not by `COMMIT`: nobody begins one inside of another, and where there are no savepoints one cannot go back to them.
    fn was_left_by(self, now: Turn) -> bool {
        let no_savepoints = now.savepoints == self.savepoints;
        now.begins != self.begins || (no_savepoints && now.rollbacks != self.rollbacks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is completed one after the other; a single letter is `ReadyForQuery`.
    fn hear(turns: &Turns, said: &str) {
        for word in said.split(", ") {
            match word.as_bytes() {
                [status] => turns.note_ready(*status),
                name => turns.note_completed(name),
            }
        }
    }

    fn ending(work: &str, end: &str) -> (bool, Ending) {
        let turns = Turns::default();
        hear(&turns, "I, BEGIN, T");
        let begun = turns.now();
        hear(&turns, work);
        let has_ended = begun.has_ended_by(turns.now());
        hear(&turns, end);
        (has_ended, begun.ending_by(turns.now()))
    }

    #[test]
    fn how_a_transaction_has_ended() {
        let (committed, rolled_back) = ("COMMIT, I", "ROLLBACK, I");
        for (work, end, expected) in [
            ("INSERT 0 1, T", committed, (false, Ending::Committed)),
            ("INSERT 0 1, T", rolled_back, (false, Ending::RolledBack)),
            ("E", rolled_back, (false, Ending::RolledBack)),
            ("SAVEPOINT, T, ROLLBACK, T, RELEASE, T", committed, (false, Ending::Committed)),
            ("SAVEPOINT, T, E, ROLLBACK, T", rolled_back, (false, Ending::RolledBack)),
            // The work has ended it and left nothing, another one, or nothing and has begun another one.
            ("COMMIT, I", committed, (true, Ending::Before)),
            ("ROLLBACK, I", committed, (true, Ending::Before)),
            ("COMMIT, T", committed, (true, Ending::Before)),
            ("COMMIT, BEGIN, T", committed, (true, Ending::Before)),
            ("COMMIT, T", rolled_back, (true, Ending::Before)),
            ("SAVEPOINT, T, COMMIT, T", rolled_back, (true, Ending::Before)),
            ("ROLLBACK, T", committed, (true, Ending::Before)),
            ("ROLLBACK, BEGIN, T", committed, (true, Ending::Before)),
            ("ROLLBACK, START TRANSACTION, T", committed, (true, Ending::Before)),
            ("SAVEPOINT, T, ROLLBACK, BEGIN, T", committed, (true, Ending::Before)),
            ("PREPARE TRANSACTION, BEGIN, T", rolled_back, (true, Ending::Before)),
            ("PREPARE TRANSACTION, I", committed, (true, Ending::Before)),
        ] {
            assert_eq!(ending(work, end), expected, "{work}, then {end}");
        }
    }

    #[test]
    fn whether_a_begin_has_begun_anything() {
        let begun = |said| {
            let turns = Turns::default();
            hear(&turns, said);
            turns.has_begun()
        };
        assert!(begun("I, BEGIN, T") && begun("I, START TRANSACTION, T") && begun("T, ROLLBACK, I, BEGIN, T"));
        assert!(!begun("I, BEGIN, T, BEGIN, T") && !begun("E, BEGIN, E"));
        assert!(begun("I, BEGIN, T, INSERT 0 1, T"), "what comes later does not matter");
    }
}
