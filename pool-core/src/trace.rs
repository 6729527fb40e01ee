//! Spans, for those who trace what the pool does. See `docs/tracing.md`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use tracing::dispatcher::{get_default, with_default};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Level, Span};

use crate::foreign::drop_quietly;

/// Whether anybody may want spans: all that those pay for who do not.
#[inline(always)]
pub(crate) fn may_be_wanted() -> bool {
    STATIC_MAX_LEVEL >= Level::DEBUG && LevelFilter::current() >= Level::DEBUG
}

/// A span of [`tracing`] whose subscriber may panic: that has no consequence but for what it is told. For those who write drivers, and so that the pool itself does not rely on subscribers.
///
/// One that nobody wants is nothing: it is made without an allocation, and nothing that is asked of it is done.
///
/// # Example
///
/// ```
/// use pool_core::trace::Traced;
/// use tracing::field::Empty;
///
/// let asking = Traced::new(|| tracing::debug_span!("asking", rows = Empty));
/// let rows = asking.inside(|| 7_u64);
/// asking.tell(|span| {
///     span.record("rows", rows);
/// });
/// assert!(!asking.is_wanted(), "nobody listens here");
/// ```
#[derive(Default)]
pub struct Traced(Option<Span>);

impl Traced {
    /// One that nobody wants.
    pub const fn none() -> Self {
        Self(None)
    }

    /// The span that is made by this, unless nobody wants it.
    pub fn new(make: impl FnOnce() -> Span) -> Self {
        Self(calling(make).filter(|span| !span.is_disabled()))
    }

    /// Whether somebody wants it.
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Tells those who want it.
    pub fn tell(&self, what: impl FnOnce(&Span)) {
        if let Some(span) = &self.0 {
            calling(|| what(span));
        }
    }

    /// Another span for the same subscriber, which follows from this one: for what somebody else does because of it.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_core::trace::Traced;
    ///
    /// let asking = Traced::new(|| tracing::debug_span!("asking"));
    /// let cancelling = asking.followed_by(|| tracing::debug_span!(parent: None, "cancelling"));
    /// assert!(!cancelling.is_wanted(), "nobody listens here");
    /// ```
    #[must_use]
    pub fn followed_by(&self, make: impl FnOnce() -> Span) -> Self {
        let Some(span) = &self.0 else { return Self::new(make) };
        let span_of_it = calling(|| span.with_subscriber(|(_, subscriber)| with_default(subscriber, make))).flatten();
        let follower = Self(span_of_it.filter(|next| !next.is_disabled()));
        // Not before it is one of these: a subscriber that panics at this would panic again when the span is dropped.
        follower.tell(|next| {
            next.follows_from(span);
        });
        follower
    }

    /// Does something inside of the span, for its subscriber.
    pub fn inside<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(span) = &self.0 else { return work() };
        let inside = || {
            let _inside = Inside::enter(span);
            work()
        };
        // Only one of the two is called.
        let subscriber = span.with_subscriber(|(_, subscriber)| subscriber.clone());
        match subscriber {
            Some(subscriber) => with_default(&subscriber, inside),
            None => inside(),
        }
    }

    /// Polls a future inside of the span.
    ///
    /// Cancel safety: that of the future.
    pub async fn around<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        // Owned across the await: the future. Dropped, it is dropped.
        poll_fn(|context| self.inside(|| future.as_mut().poll(context))).await
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            drop_quietly(span);
        }
    }
}

impl fmt::Debug for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traced").field("is_wanted", &self.is_wanted()).finish_non_exhaustive()
    }
}

/// A span that was entered, and is left when this is dropped.
struct Inside<'a>(&'a Span);

impl<'a> Inside<'a> {
    fn enter(span: &'a Span) -> Self {
        calling(|| span.with_subscriber(|(id, subscriber)| subscriber.enter(id)));
        Self(span)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        calling(|| self.0.with_subscriber(|(id, subscriber)| subscriber.exit(id)));
    }
}

/// Calls a subscriber, which is foreign code. `None` if it has panicked: the panic hook knows already.
fn calling<T>(call: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(drop_quietly).ok()
}

/// Tells something to those who listen to [events](tracing::Event). If what is logged panics, or a subscriber does, that has no consequence: the panic hook knows already.
///
/// # Example
///
/// ```
/// pool_core::trace::report(|| tracing::info!("a session has ended"));
/// ```
pub fn report(log: impl FnOnce()) {
    calling(log);
}

/// A task that keeps the subscriber of whoever calls this, if he has one: what a thread's own subscriber is to hear would be lost in a task otherwise, which may run in any thread.
///
/// Cancel safety: that of the task.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tokio::task::JoinError> {
/// let task = pool_core::trace::keeping_subscriber(async { tracing::info!("heard by whoever hears the one who has started it") });
/// tokio::spawn(task).await
/// # }
/// ```
pub fn keeping_subscriber<F: Future>(task: F) -> impl Future<Output = F::Output> + use<F> {
    let subscriber = calling(|| get_default(Dispatch::clone)).filter(|subscriber| !subscriber.is::<NoSubscriber>());
    async move {
        let mut task = pin!(task);
        // Owned across the await: the task. Dropped, it is dropped.
        poll_fn(|context| match &subscriber {
            None => task.as_mut().poll(context),
            Some(subscriber) => with_default(subscriber, || task.as_mut().poll(context)),
        })
        .await
    }
}
