//! Server-sent events: what is shown, once a second.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use futures_core::Stream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::document::document_of_texts;
use super::listeners::Place;
use super::watched::{Moment, Watched};

/// From one event to the next.
pub(super) const STEP: Duration = Duration::from_secs(1);

/// The seconds in which all who listen get their events together: counted from when the first one came.
#[derive(Debug, Default)]
pub(super) struct Steps(OnceLock<Instant>);

impl Steps {
    fn began(&self) -> Instant {
        *self.0.get_or_init(Instant::now)
    }
}

/// How many have gone by.
fn steps_since(began: Instant) -> u64 {
    let steps = began.elapsed().as_nanos() / STEP.as_nanos();
    u64::try_from(steps).unwrap_or(u64::MAX)
}

/// The events of one listener, one a second. Ends after a last one when all its pools are closed, or when it is told to; being dropped with its response ends it, too, and
/// nothing goes on meanwhile: it does what it does when it is asked for the next event.
pub(super) struct Events {
    pools: Vec<Listened>,
    /// Of these he hears how they are, whenever that changes.
    others: Vec<Arc<Watched>>,
    told: Option<String>,
    began: Instant,
    step: Interval,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
    state: State,
    /// Lost, and with it all that is to come, to somebody else if he does not ask for events.
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begins,
    GoesOn,
    HasEnded,
}

struct Listened {
    pool: Arc<Watched>,
    /// The number of the last point of its history that the listener has got; 0 if he has none.
    last: u64,
}

impl Events {
    pub(super) fn new(
        pools: Vec<Arc<Watched>>,
        others: Vec<Arc<Watched>>,
        steps: &Steps,
        end: CancellationToken,
        place: Place,
    ) -> Self {
        let began = steps.began();
        let next = steps_since(began).saturating_add(1).saturating_mul(STEP.as_secs());
        let mut step = interval_at(began + Duration::from_secs(next), STEP);
        // A listener that was slow gets one event, and not all that it missed, and is with the others again.
        step.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let pools = pools.into_iter().map(|pool| Listened { pool, last: 0 }).collect();
        Self {
            pools,
            others,
            told: None,
            began,
            step,
            end: Box::pin(end.cancelled_owned()),
            state: State::Begins,
            place,
        }
    }

    fn next(&mut self, told_to_end: bool) -> Bytes {
        // Before the looks: one at a pool that is closed meanwhile is not the last.
        let closed = self.pools.iter().all(|listened| listened.pool.is_closed());
        let first = self.state == State::Begins;
        let moment = match (told_to_end, first) {
            (true, _) => Moment::End,
            (false, true) => Moment::Now,
            (false, false) => Moment::Step(steps_since(self.began)),
        };
        let texts: Vec<_> = self.pools.iter_mut().map(|listened| listened.next(moment)).collect();
        let others = self.others.iter().map(|other| other.in_short(moment)).collect::<Vec<_>>().join(",");
        let news = !self.others.is_empty() && self.told.as_ref() != Some(&others);
        let text = document_of_texts(&texts, news.then_some(&others));
        self.told = Some(others);
        self.state = if closed || told_to_end { State::HasEnded } else { State::GoesOn };
        // JSON of one line; an event `closed` tells the page to ask no more.
        let event = if closed { "closed" } else { "snapshot" };
        let retry = if first { "retry: 1000\n" } else { "" };
        format!("{retry}event: {event}\ndata: {text}\n\n").into()
    }
}

impl Listened {
    fn next(&mut self, moment: Moment) -> Arc<str> {
        let shown = self.pool.show(moment, self.last);
        self.last = shown.last;
        shown.text
    }
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.state == State::HasEnded || !self.place.keep() {
            return Poll::Ready(None);
        }
        let told_to_end = self.end.as_mut().poll(context).is_ready();
        let begins = self.state == State::Begins;
        if told_to_end || begins || self.step.poll_tick(context).is_ready() {
            return Poll::Ready(Some(Ok(self.next(told_to_end))));
        }
        Poll::Pending
    }
}
