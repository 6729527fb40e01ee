//! A waker that remembers when it was called.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake};

use super::clock::Sequence;

pub(super) struct Signal {
    sequence: Sequence,
    /// The number of the first call since the last poll, or 0.
    woken: AtomicU64,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        let number = self.sequence.next();
        // A second call changes nothing.
        let _ = self.woken.compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// A future that is polled by hand.
pub(super) struct Polled<T> {
    future: Pin<Box<dyn Future<Output = T>>>,
    signal: Arc<Signal>,
}

impl<T> Polled<T> {
    pub(super) fn new(sequence: &Sequence, future: impl Future<Output = T> + 'static) -> Self {
        let signal = Signal { sequence: sequence.clone(), woken: AtomicU64::new(0) };
        Self { future: Box::pin(future), signal: Arc::new(signal) }
    }

    /// When it was woken, if it was since the last poll.
    pub(super) fn woken(&self) -> Option<u64> {
        Some(self.signal.woken.load(Ordering::SeqCst)).filter(|number| *number > 0)
    }

    pub(super) fn poll(&mut self) -> Poll<T> {
        self.signal.woken.store(0, Ordering::SeqCst);
        let waker = Arc::clone(&self.signal).into();
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}
