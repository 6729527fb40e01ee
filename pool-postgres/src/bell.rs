//! Tells whoever looks at a session whether there is anything to look at. The models of `pool-testkit` run this very file.

use std::sync::Arc;
use std::task::{Wake, Waker};

use super::atomics::{AtomicBool, AtomicU64, Ordering, order};

/// What the wire wakes instead of the session's task: it wakes that, and remembers that something has happened.
///
/// Silence says this much: what somebody has asked and had the answer to is not in the client's queue, and what the server has sent and the runtime has heard of has been read. It does not say that the queue is empty. Whoever puts something there takes
/// the waker out first and rings then; who does so in between finds none. So one who drops a request unanswered may find silence, for as long as another one, such as the closing of a statement on another thread, is about to ring.
#[derive(Debug)]
pub(crate) struct Bell {
    is_rung: AtomicBool,
    /// How often the messages have been moved.
    moves: AtomicU64,
    task: Waker,
}

impl Bell {
    /// That of this task.
    pub(crate) fn new(task: Waker) -> Self {
        Self { is_rung: AtomicBool::new(false), moves: AtomicU64::new(0), task }
    }

    /// Whether it wakes this task.
    pub(crate) fn wakes(&self, task: &Waker) -> bool {
        self.task.will_wake(task)
    }

    /// Whether something has happened since the messages were moved last.
    pub(crate) fn is_rung(&self) -> bool {
        // ORDERING: Acquire: of the silence that is seen, and so of the count that came before it. What has happened before the look, by an order that the looker brings along, has rung before it.
        self.is_rung.load(order("bell.is_rung", Ordering::Acquire))
    }

    /// How often the messages have been moved, if nothing has happened since. The same number later on means that nothing has happened in between.
    pub(crate) fn silent_at(&self) -> Option<u64> {
        // ORDERING: Relaxed: it is the move that has silenced the bell, or a later one.
        (!self.is_rung()).then(|| self.moves.load(Ordering::Relaxed))
    }

    /// The messages are about to be moved: what has happened so far will be seen by that. Only whoever holds the wire says so.
    pub(crate) fn silence(&self) {
        // ORDERING: Relaxed: nobody else counts, and the exchange below publishes it.
        self.moves.store(self.moves.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // ORDERING: Acquire of the ring that is silenced: what it was rung for is there now. Release to the one who sees the silence: it has been counted.
        self.is_rung.swap(false, order("bell.silence", Ordering::AcqRel));
    }

    /// Something has happened.
    pub(crate) fn ring(&self) {
        // ORDERING: Release: to the one who silences it. An exchange, and no store: what another one has rung for before is released by this, too.
        self.is_rung.swap(true, order("bell.ring", Ordering::Release));
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
        self.task.wake_by_ref();
    }
}
