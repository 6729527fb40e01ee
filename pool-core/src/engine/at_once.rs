//! A future that is usually ready at its first poll.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Tries `now`, and is the future that `later` makes if that does not work. What comes of either goes through `finish`.
///
/// An `async fn` would do the same, but as one function with everything that waiting needs. The first poll of this one disappears in its
/// caller, and the claim stays in registers on its way: a lease that travels through memory costs more than the rest of an acquire.
pub(crate) struct AtOnceOr<Now, Later, Finish, F> {
    start: Option<(Now, Later)>,
    finish: Finish,
    waiting: Option<F>,
}

impl<Now, Later, Finish, F> AtOnceOr<Now, Later, Finish, F> {
    #[inline(always)] // see `poll`
    pub(crate) fn new(now: Now, later: Later, finish: Finish) -> Self {
        Self { start: Some((now, later)), finish, waiting: None }
    }
}

impl<C, T, E, Now, Later, Finish, F> Future for AtOnceOr<Now, Later, Finish, F>
where
    Now: FnOnce() -> Option<C> + Unpin,
    Later: FnOnce() -> F + Unpin,
    Finish: Fn(C) -> T + Unpin,
    F: Future<Output = Result<C, E>> + Unpin,
{
    type Output = Result<T, E>;

    #[inline(always)] // see above; what is not for the fast path is in `wait`
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some((now, later)) = this.start.take() {
            if let Some(claim) = now() {
                return Poll::Ready(Ok((this.finish)(claim)));
            }
            this.waiting = Some(later());
        }
        wait(&mut this.waiting, context).map(|outcome| outcome.map(&this.finish))
    }
}

#[inline(never)]
fn wait<F: Future + Unpin>(waiting: &mut Option<F>, context: &mut Context<'_>) -> Poll<F::Output> {
    let outcome = match waiting {
        Some(waiting) => Pin::new(waiting).poll(context),
        None => panic!("an acquire was polled after it had ended"),
    };
    if outcome.is_ready() {
        *waiting = None;
    }
    outcome
}
