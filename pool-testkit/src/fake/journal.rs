//! What the fake backend saw, one thing after the other.

use pool_core::{ErrorClass, HookPoint};
use tokio::time::Instant;

use super::ledger::Ledger;
use super::script::Call;

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// By tokio's clock.
    pub at: Instant,
    /// What.
    pub event: Event,
}

/// What happened. Connections have the ids of [`FakeConnection::id`](super::FakeConnection::id).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A call began: for this connection, or the attempt of this number, from 0, to open one.
    Begun(Call, u64),
    /// It ended.
    Ended(Call, u64, Ending),
    /// A connection was opened.
    Opened(u64),
    /// A connection was dropped.
    Closed(u64),
    /// An inspection said that a connection is broken, or panicked.
    FoundBroken(u64),
    /// A hook was called for this connection; before an open, the call of this number.
    HookBegun(HookPoint, u64),
    /// It ended.
    HookEnded(HookPoint, u64, Answer),
    /// Somebody has got this connection, by his own account.
    Lent(u64),
    /// He gives it back.
    Returned(u64),
}

/// What came of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// All is well.
    Passed,
    /// The connection is well, and nobody gets it now.
    Refused,
    /// The connection is to be closed.
    Failed,
    /// It panicked.
    Panicked,
    /// Its future was dropped.
    Dropped,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// It did what it was asked for.
    Succeeded,
    /// It returned an error of this class.
    Failed(ErrorClass),
    /// It panicked.
    Panicked,
    /// Its future was dropped.
    Dropped,
}

/// A call that is under way.
pub(super) struct Record {
    ledger: Ledger,
    call: Call,
    id: u64,
    ended: bool,
}

impl Record {
    pub(super) fn begin(ledger: Ledger, call: Call, id: u64) -> Self {
        ledger.note(Event::Begun(call, id));
        Self { ledger, call, id, ended: false }
    }

    pub(super) fn end(mut self, ending: Ending) {
        self.write(ending);
    }

    fn write(&mut self, ending: Ending) {
        self.ended = true;
        self.ledger.note(Event::Ended(self.call, self.id, ending));
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.write(if std::thread::panicking() { Ending::Panicked } else { Ending::Dropped });
        }
    }
}
