//! One who waits in front of a pool.

use std::sync::Arc;

use tokio::time::timeout_at;

use super::desk::Desk;
use super::seat::{Found, Refusal, Seat};
use crate::driver::Driver;
use crate::schedule::{Place, nanos};

/// Nobody looks sooner than this again; in nanoseconds.
const BREATH: u64 = 10_000_000;

/// One who waits.
pub(super) struct InLine<'a, D: Driver> {
    desk: &'a Arc<Desk<D>>,
    place: Place,
    seat: Arc<Seat<D>>,
    deadline: u64,
    /// Whether it knows what has come of it, and is in the line no more.
    is_told: bool,
}

impl<'a, D: Driver> InLine<'a, D> {
    pub(super) fn new(desk: &'a Arc<Desk<D>>, place: Place, seat: Arc<Seat<D>>, deadline: u64) -> Self {
        Self { desk, place, seat, deadline, is_told: false }
    }

    /// `None` when the time is over.
    ///
    /// Cancel safety: whoever is dropped leaves the line, and gives back what it was called for.
    pub(super) async fn wait(mut self) -> Option<Found<D>> {
        // Owned across the await: `self`, as in there.
        let outcome = self.outcome().await;
        self.is_told = true;
        outcome
    }

    async fn outcome(&mut self) -> Option<Found<D>> {
        loop {
            let look = self.next_look(self.desk.engine.now());
            // Owned across the await: `self`. What comes while nobody looks is given back when it is dropped.
            if let Ok(found) = timeout_at(self.desk.engine.moment(look), self.seat.listen()).await {
                return Some(found);
            }
            let now = self.desk.engine.now();
            let (place, left) = (self.place, self.deadline.saturating_sub(now));
            if left == 0 {
                // If it is called in this moment, then that is the answer.
                return self.leave();
            }
            if let Some((_, shed)) = self.desk.change(|line| line.look(now, place, left)) {
                return Some(Found::Answer(Err(Refusal::Shed(shed))));
            }
        }
    }

    /// When one looks whether the line moves, and whether there is any hope left.
    fn next_look(&self, now: u64) -> u64 {
        let config = self.desk.config.load();
        let half = (self.deadline.saturating_sub(now) / 2).max(BREATH);
        let hope = if config.foresee { half } else { u64::MAX };
        let flow = config.codel.map_or(u64::MAX, |codel| nanos(codel.interval));
        now.saturating_add(hope.min(flow)).min(self.deadline)
    }

    /// Leaves the line, with what had come by then.
    fn leave(&self) -> Option<Found<D>> {
        self.desk.change(|line| line.leave(self.place));
        self.seat.end()
    }

    /// Leaves the line for a reason of its own. What it was called for is given back.
    pub(super) fn give_up(mut self) {
        self.is_told = true;
        drop(self.leave());
    }
}

impl<D: Driver> Drop for InLine<'_, D> {
    fn drop(&mut self) {
        if !self.is_told {
            drop(self.leave());
            self.desk.counts.cancelled.add(1);
        }
    }
}
