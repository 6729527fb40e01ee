//! Where one waits in front of a pool, and is told what has come of it.

use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::permit::Permit;
use crate::driver::Driver;
use crate::engine::Engine;
use crate::shed::Shed;

/// What one who waits is told.
pub(super) type Answer<D> = Result<Permit<D>, Refusal>;

/// Why one is not served.
#[derive(Debug)]
pub(super) enum Refusal {
    Shed(Shed),
    Closed,
}

/// What one who waits finds.
pub(super) enum Found<D: Driver> {
    Answer(Answer<D>),
    /// It had a permit, and did not come for it in time.
    TakenBack,
}

/// What has been said so far.
enum Said<D: Driver> {
    Nothing,
    /// At this time, in nanoseconds.
    Answer(Answer<D>, u64),
    TakenBack,
    /// Nobody listens any more.
    Gone,
}

pub(super) struct Seat<D: Driver> {
    said: Mutex<Said<D>>,
    called: Notify,
    /// Who asks.
    place: &'static Location<'static>,
}

impl<D: Driver> Seat<D> {
    pub(super) fn new(place: &'static Location<'static>) -> Arc<Self> {
        Arc::new(Self { said: Mutex::new(Said::Nothing), called: Notify::new(), place })
    }

    fn said(&self) -> MutexGuard<'_, Said<D>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the one who waits; the answer comes back if it has gone.
    pub(super) fn tell(&self, engine: &Engine<D>, answer: Answer<D>, now: u64) -> Result<(), Answer<D>> {
        {
            let mut said = self.said();
            if matches!(*said, Said::Gone) {
                return Err(answer);
            }
            *said = Said::Answer(answer, now);
        }
        // Whom that wakes is foreign.
        engine.call_waker(|| self.called.notify_one());
        Ok(())
    }

    /// Waits until something has been said.
    ///
    /// Cancel safety: what has been said is found the next time.
    pub(super) async fn listen(&self) -> Found<D> {
        loop {
            if let Some(found) = self.found(Said::Nothing) {
                return found;
            }
            // Owned across the await: nothing.
            self.called.notified().await;
        }
    }

    /// Nobody listens any more. What had been said by then.
    pub(super) fn end(&self) -> Option<Found<D>> {
        self.found(Said::Gone)
    }

    fn found(&self, then: Said<D>) -> Option<Found<D>> {
        match std::mem::replace(&mut *self.said(), then) {
            Said::Answer(answer, _) => Some(Found::Answer(answer)),
            Said::TakenBack => Some(Found::TakenBack),
            Said::Nothing | Said::Gone => None,
        }
    }

    /// Whether what was said has not been heard.
    pub(super) fn is_unheard(&self) -> bool {
        matches!(*self.said(), Said::Answer(..))
    }

    /// Takes a permit back that has not been collected for so many nanoseconds; with that time, and who asked for it.
    pub(super) fn take_back(&self, now: u64, limit: u64) -> Option<(Permit<D>, Duration, &'static Location<'static>)> {
        let mut said = self.said();
        let lay = match &*said {
            Said::Answer(Ok(_), since) => now.saturating_sub(*since),
            _ => return None,
        };
        if lay < limit {
            return None;
        }
        match std::mem::replace(&mut *said, Said::TakenBack) {
            Said::Answer(Ok(permit), _) => Some((permit, Duration::from_nanos(lay), self.place)),
            _ => None,
        }
    }
}
