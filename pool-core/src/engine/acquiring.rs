//! The future of an acquire, which is usually ready at its first poll.

use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::Engine;
use super::acquire::Waiting;
use super::limit::Limit;
use super::release::Occasion;
use crate::driver::Driver;
use crate::error::AcquireError;
use crate::slot::Claim;
use crate::trace::may_be_wanted;

/// Tries the fast path, and waits if that does not work. What comes of either goes through `lease`.
///
/// An `async fn` would do the same, but as one function with everything that waiting needs. The first poll of this one disappears in its
/// caller, and the claim stays in registers on its way: a lease that travels through memory costs more than the rest of an acquire.
pub(crate) struct Acquiring<'a, D: Driver, F> {
    engine: &'a Arc<Engine<D>>,
    limit: Limit,
    /// Who asks.
    place: &'static Location<'static>,
    lease: F,
    progress: Progress<'a, D>,
}

enum Progress<'a, D: Driver> {
    Begun,
    Waiting(Waiting<'a, D>),
    Ended,
}

impl<'a, D: Driver, F> Acquiring<'a, D, F> {
    #[inline(always)] // see `poll`
    pub(crate) fn new(engine: &'a Arc<Engine<D>>, limit: Limit, place: &'static Location<'static>, lease: F) -> Self {
        Self { engine, limit, place, lease, progress: Progress::Begun }
    }
}

impl<D: Driver, T, F: Fn(Claim<D::Connection>) -> T + Unpin> Future for Acquiring<'_, D, F> {
    type Output = Result<T, AcquireError>;

    #[inline(always)] // see above; what is not for the fast path is in `wait`
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if matches!(this.progress, Progress::Begun)
            && let Some(claim) = this.engine.acquire_at_once(Occasion::AtOnce)
        {
            let claim = if may_be_wanted() { this.engine.tell_at_once(claim, this.place) } else { claim };
            // Not `Ended`: that would be one more thing to do. Polled again, it would acquire another one.
            return Poll::Ready(Ok((this.lease)(claim)));
        }
        wait(this.engine, this.limit, this.place, &mut this.progress, context).map(|outcome| outcome.map(&this.lease))
    }
}

#[inline(never)]
fn wait<'a, D: Driver>(
    engine: &'a Arc<Engine<D>>,
    limit: Limit,
    place: &'static Location<'static>,
    progress: &mut Progress<'a, D>,
    context: &mut Context<'_>,
) -> Poll<Result<Claim<D::Connection>, AcquireError>> {
    if matches!(progress, Progress::Begun) {
        *progress = Progress::Waiting(Waiting::new(engine, limit, place));
        if let Progress::Waiting(waiting) = progress {
            waiting.tell_from_now_on();
        }
    }
    let Progress::Waiting(waiting) = progress else { panic!("an acquire was polled after it had ended") };
    let outcome = Pin::new(waiting).poll(context);
    if outcome.is_ready() {
        *progress = Progress::Ended;
    }
    outcome
}
