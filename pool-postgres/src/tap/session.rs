//! What is known about a session outside of its task.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::socket::Stream;

/// What a session is doing, as far as messages have passed.
#[derive(Default)]
pub(crate) struct Session {
    /// As `ReadyForQuery` has it, or `BUSY`.
    status: AtomicU8,
    /// Whether the pool itself asks, not a user.
    on_duty: AtomicBool,
    remains: Mutex<Remains>,
}

/// Whether somebody wants the stream when its tap is dropped.
#[derive(Default)]
enum Remains {
    /// It is closed.
    #[default]
    Unwanted,
    Wanted,
    Here(Box<dyn Stream>),
}

impl Session {
    const BUSY: u8 = 0;
    const IDLE: u8 = b'I';

    /// Whether no answer is due and no transaction is open.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.status() == Self::IDLE
    }

    /// Whether no answer is due, but a transaction is open.
    pub(crate) fn is_in_transaction(&self) -> bool {
        !matches!(self.status(), Self::IDLE | Self::BUSY)
    }

    /// Whether answers are due.
    pub(crate) fn is_busy(&self) -> bool {
        self.status() == Self::BUSY
    }

    pub(super) fn status(&self) -> u8 {
        self.status.load(Ordering::Acquire)
    }

    pub(super) fn set_busy(&self) {
        self.set(Self::BUSY);
    }

    pub(super) fn set(&self, status: u8) {
        self.status.store(status, Ordering::Release);
    }

    /// Until the guard is dropped, what begins is asked by the pool itself: nobody wants to know how long it takes.
    pub(crate) fn on_duty(&self) -> Duty<'_> {
        self.on_duty.store(true, Ordering::Release);
        Duty(self)
    }

    pub(super) fn is_on_duty(&self) -> bool {
        self.on_duty.load(Ordering::Acquire)
    }

    /// Takes the stream out of what holds it, by dropping that.
    pub(crate) fn take_stream_of(&self, tap: impl Sized) -> Option<Box<dyn Stream>> {
        *self.remains() = Remains::Wanted;
        drop(tap);
        match mem::take(&mut *self.remains()) {
            Remains::Here(stream) => Some(stream),
            Remains::Unwanted | Remains::Wanted => None,
        }
    }

    /// The tap is dropped.
    pub(super) fn leave(&self, stream: Box<dyn Stream>) {
        let mut remains = self.remains();
        if matches!(*remains, Remains::Wanted) {
            *remains = Remains::Here(stream);
        }
    }

    fn remains(&self) -> MutexGuard<'_, Remains> {
        self.remains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pool asks for itself.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub(crate) struct Duty<'a>(&'a Session);

impl Drop for Duty<'_> {
    fn drop(&mut self) {
        self.0.on_duty.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("status", &char::from(self.status())).finish_non_exhaustive()
    }
}
