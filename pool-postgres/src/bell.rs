//! Tells whoever looks at a session whether there is anything to look at.

use std::sync::Arc;
use std::task::{Wake, Waker};

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicBool, Ordering};

/// What the wire wakes instead of the session's task: it wakes that, and remembers that something has happened. As long as it has not been rung, to move the messages would move none: everything
/// that the wire waits for was told to ring.
#[derive(Debug)]
pub(crate) struct Bell {
    is_rung: AtomicBool,
    task: Waker,
}

impl Bell {
    /// That of this task.
    pub(crate) fn new(task: Waker) -> Self {
        Self { is_rung: AtomicBool::new(false), task }
    }

    /// Whether it wakes this task.
    pub(crate) fn wakes(&self, task: &Waker) -> bool {
        self.task.will_wake(task)
    }

    /// Whether something has happened since the messages were moved last.
    pub(crate) fn is_rung(&self) -> bool {
        // ORDERING: Relaxed. Whatever happened before the look, by an order that the looker brings along, has rung before it. Who finds it silent relies on the move that has silenced it, which the
        // lock of the wire orders.
        self.is_rung.load(Ordering::Relaxed)
    }

    /// The messages are about to be moved: what has happened so far will be seen by that. Only whoever holds the wire says so.
    pub(crate) fn silence(&self) {
        // ORDERING: Acquire: of the ring that is silenced. What it was rung for is there now.
        self.is_rung.swap(false, Ordering::Acquire);
    }

    /// Something has happened.
    fn ring(&self) {
        // ORDERING: Release: to the one who silences it.
        self.is_rung.store(true, Ordering::Release);
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
