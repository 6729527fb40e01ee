//! Server-sent events: what is shown, once a second.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use futures_core::Stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::document::{Extent, document, pool};
use super::source::Source;

/// From one event to the next.
pub(super) const STEP: Duration = Duration::from_secs(1);

/// The events of one listener, one a second. Ends after a last one when all its pools are closed, or when it is told to; being dropped with its response ends it, too, and
/// nothing goes on meanwhile: it does what it does when it is asked for the next event.
pub(super) struct Events {
    pools: Vec<Shown>,
    step: Interval,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    state: State,
    /// One listener of those that there may be.
    _permit: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begins,
    GoesOn,
    HasEnded,
}

struct Shown {
    source: Arc<dyn Source>,
    /// The last point of its history that the listener has got.
    last: Option<SystemTime>,
}

impl Events {
    pub(super) fn new(sources: Vec<Arc<dyn Source>>, end: CancellationToken, permit: OwnedSemaphorePermit) -> Self {
        let mut step = interval(STEP);
        // A listener that was slow gets one event, and not all that it missed.
        step.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pools = sources.into_iter().map(|source| Shown { source, last: None }).collect();
        Self { pools, step, end: Box::pin(end.cancelled_owned()), state: State::Begins, _permit: permit }
    }

    fn next(&mut self, told_to_end: bool) -> Bytes {
        // Before the snapshots: one of a pool that is closed meanwhile is not the last.
        let closed = self.pools.iter().all(|shown| shown.source.is_closed());
        let text = document(self.pools.iter_mut().map(Shown::next).collect()).to_string();
        let first = self.state == State::Begins;
        self.state = if closed || told_to_end { State::HasEnded } else { State::GoesOn };
        // JSON of one line; an event `closed` tells the page to ask no more.
        let event = if closed { "closed" } else { "snapshot" };
        let retry = if first { "retry: 1000\n" } else { "" };
        format!("{retry}event: {event}\ndata: {text}\n\n").into()
    }
}

impl Shown {
    fn next(&mut self) -> serde_json::Value {
        let (value, snapshot) = pool(&*self.source, Extent::page(1), self.last);
        self.last = snapshot.history.last().map(|point| point.at).or(self.last);
        value
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.state == State::HasEnded {
            return Poll::Ready(None);
        }
        let told_to_end = self.end.as_mut().poll(context).is_ready();
        if told_to_end || self.step.poll_tick(context).is_ready() {
            return Poll::Ready(Some(Ok(self.next(told_to_end))));
        }
        Poll::Pending
    }
}
