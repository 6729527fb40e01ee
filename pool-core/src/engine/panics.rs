//! A panic in foreign code is an input like any other.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::foreign::drop_quietly;
pub(crate) use crate::trace::report;

/// Runs a future to its end, or to its panic, whose message is the error.
///
/// Cancel safety: dropping this drops the future.
pub(crate) async fn guarded<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    poll_fn(|context| match caught(|| future.as_mut().poll(context)) {
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(message) => Poll::Ready(Err(message)),
    })
    .await
}

/// Calls a function that may panic; the message is the error.
///
/// What it was working on is never used again by the pool without being closed first, hence `AssertUnwindSafe`.
#[inline(always)] // on the fast path, where most drivers cannot panic and the compiler sees it
pub(crate) fn caught<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(value) => Ok(value),
        Err(payload) => Err(message(payload)),
    }
}

/// Tells those who watch something through a list of wakers that is not the pool's: foreign code, which may panic.
pub(crate) fn tell_watchers<T>(send: impl FnOnce() -> T) {
    if let Err(message) = caught(send) {
        report(|| tracing::error!(panic = message, "a waker of one who watches the pool panicked"));
    }
}

/// Polls a future with a waker that does not panic. For one that waits in a list of others' wakers which is not the pool's: a waker that panics there keeps the
/// rest from being woken.
///
/// Cancel safety: dropping this drops the future.
pub(crate) async fn shielded<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        let waker = Arc::new(Shield(Some(context.waker().clone()))).into();
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

/// A waker that does not panic, around one that may.
struct Shield(Option<Waker>);

impl Wake for Shield {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(waker) = &self.0 {
            let woken = caught(|| waker.wake_by_ref());
            woken.unwrap_or_else(|message| {
                report(|| tracing::error!(panic = message, "a waker of one who waits panicked"));
            });
        }
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        drop_quietly(self.0.take());
    }
}

#[cold]
fn message(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("the panic carried no message").to_owned();
    drop_quietly(payload);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_kind_of_panic_come_through() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| -> () { panic!("plain") }), Err("plain".to_owned()));
        assert_eq!(caught(|| -> () { panic!("number {}", 7) }), Err("number 7".to_owned()));
        assert_eq!(caught(|| -> () { std::panic::panic_any(7) }), Err("the panic carried no message".to_owned()));
    }

    #[test]
    fn a_panic_that_carries_a_panic_ends_with_the_first() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                std::panic::panic_any("what a panic carried panicked")
            }
        }
        assert_eq!(caught(|| -> () { std::panic::panic_any(Bomb) }), Err("the panic carried no message".to_owned()));
    }
}
