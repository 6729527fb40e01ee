//! What a few threads asked of a pool and what they were told, in the order of their calls and answers.

use std::fmt;

use pool_core::PoolState;

/// A caller in the queue, by the thread that it is on and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Waiter(pub(crate) usize, pub(crate) usize);

/// An answer to somebody who wants a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// This connection.
    Connection(u64),
    /// Not now.
    Nothing,
    /// The pool is closed.
    Closed,
}

/// A call with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    TryAcquire(Answer),
    /// The first poll of an acquire; told nothing, it is in the queue.
    Join(Waiter, Answer),
    /// A later poll.
    Look(Waiter, Answer),
    /// The future is dropped.
    Cancel(Waiter),
    Release(u64),
    /// The lease is given back to be closed.
    Discard(u64),
    /// Another `max_size`.
    Resize(usize),
    /// All connections are to be replaced.
    Replace,
    Close,
    /// All calls have ended, and the background tasks run until nothing changes any more.
    Rest(PoolState),
}

impl Call {
    /// Whether the call moves idle connections about, so that others may miss one while it is under way.
    fn moves(self) -> bool {
        matches!(
            self,
            Self::Join(..) | Self::Cancel(_) | Self::Release(_) | Self::Resize(_) | Self::Replace | Self::Close
        )
    }
}

/// A call, and when it was under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) call: Call,
    pub(crate) began: u64,
    pub(crate) ended: u64,
}

/// At most this many calls, for they are kept as bits.
pub(crate) const MOST: usize = 64;

/// All calls, and how it was before the first.
pub(crate) struct History {
    /// Connections that were idle.
    pub(crate) idle: Vec<u64>,
    /// How many there were, the leased ones included.
    pub(crate) size: usize,
    pub(crate) max: usize,
    pub(crate) events: Vec<Event>,
}

impl History {
    /// Whether `other` had its answer before `event` was asked for.
    pub(crate) fn is_before(&self, other: usize, event: usize) -> bool {
        self.events[other].ended < self.events[event].began
    }

    /// The same with the first polls that ended with a connection in two, if others were at it, too: a place in the queue first, and the connection later.
    pub(crate) fn in_steps(&self) -> Self {
        let steps = |place: usize| {
            let event = self.events[place];
            match event.call {
                Call::Join(waiter, answer @ Answer::Connection(_)) if self.is_disturbed(place) => {
                    let calls = [Call::Join(waiter, Answer::Nothing), Call::Look(waiter, answer)];
                    calls.map(|call| Event { call, ..event }).to_vec()
                }
                _ => vec![event],
            }
        };
        Self { idle: self.idle.clone(), events: (0..self.events.len()).flat_map(steps).collect(), ..*self }
    }

    /// Whether somebody may have had a connection on the way while `event` was under way.
    pub(crate) fn is_disturbed(&self, event: usize) -> bool {
        let moves = |other: usize| self.events[other].call.moves() || self.may_have_given_back(other);
        self.beside(event).any(moves)
    }

    /// The calls that were under way at the same time.
    fn beside(&self, event: usize) -> impl Iterator<Item = usize> {
        let overlaps = move |other: &usize| !self.is_before(*other, event) && !self.is_before(event, *other);
        (0..self.events.len()).filter(move |other| *other != event).filter(overlaps)
    }

    /// Whether this one may have claimed a connection, and given it back because it was to be replaced by then, or the pool closed.
    fn may_have_given_back(&self, event: usize) -> bool {
        let empty_handed = matches!(self.events[event].call, Call::TryAcquire(Answer::Nothing | Answer::Closed));
        empty_handed && self.beside(event).any(|other| matches!(self.events[other].call, Call::Replace | Call::Close))
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { idle, size, max, events } = self;
        writeln!(f, "{size} connections of {max}, idle: {idle:?}")?;
        let mut events = events.clone();
        events.sort_by_key(|event| event.began);
        for Event { call, began, ended } in events {
            writeln!(f, "{began:>4} to {ended:>4}  {call:?}")?;
        }
        Ok(())
    }
}
