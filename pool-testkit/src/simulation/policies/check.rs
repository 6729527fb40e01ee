//! What has to be so whenever nothing is left to be done, whatever policies there are.

use pool_core::{PoolState, Stats};

use super::super::ensure;
use super::super::model::Checked;
use super::stage::Stage;

/// After so many milliseconds in which nothing was wrong, whoever waits is being served.
const LONG: u64 = 3000;
/// So much later than its deadline somebody is told at the latest: the users look now and then only, and what was due meanwhile has a moment more.
pub(super) const MARGIN: u64 = 260;

impl Stage {
    pub(super) fn check(&self, time: u64) -> Checked {
        let stats = self.pool.stats();
        let violations = self.driver.ledger().violations();
        ensure!(violations.is_empty(), "the backend saw: {}", violations.join("; "));
        self.places_agree(&stats.state)?;
        Self::counts_add_up(&stats)?;
        self.counts_agree(&stats)?;
        self.nobody_waits_in_vain(&stats.state, time)
    }

    fn places_agree(&self, state: &PoolState) -> Checked {
        let there = self.driver.ledger().live() + self.opening.connects + self.opening.hooks;
        ensure!(there == state.size, "{there} connections and attempts: {state:?}");
        let parts = state.idle + state.leased + state.reserved + state.opening + state.in_maintenance;
        ensure!(parts == state.size, "places: {state:?}");
        let (held, woken) = (self.in_use(), self.woken());
        let most = held + woken + self.partial;
        ensure!((held..=most).contains(&state.leased), "{held} to {most} are leased: {state:?}");
        let told = (state.paused, state.closed);
        ensure!(told == (self.paused, self.closed), "paused and closed: {told:?}");
        let sizes = (state.max_size, self.config.max_size);
        ensure!(self.is_adapted || sizes.0 == sizes.1, "the maximum is {}, and {} was set", sizes.0, sizes.1);
        Ok(())
    }

    /// How many may have a connection that they have not taken.
    fn woken(&self) -> usize {
        let woken = self.waiters.iter().filter(|waiter| waiter.acquire.woken().is_some()).count();
        if self.is_prepared { self.waiters.len() } else { woken }
    }

    fn counts_add_up(stats: &Stats) -> Checked {
        let in_vain = stats.timeouts + stats.cancelled + stats.failed + stats.refused;
        let served = stats.immediate + stats.waited - in_vain;
        ensure!(stats.acquired == served, "the acquires do not add up: {stats:#?}");
        let live = (stats.state.size - stats.state.opening) as u64;
        ensure!(stats.opened == stats.closed + live, "opened = closed + live: {stats:#?}");
        Ok(())
    }

    fn counts_agree(&self, stats: &Stats) -> Checked {
        let counted = [stats.acquired, stats.timeouts, stats.cancelled, stats.shed, stats.failed, stats.refused];
        let books = &self.books;
        let told = [books.acquired, books.timeouts, books.cancelled, books.shed, books.failed, books.refused];
        let agree = counted == told || self.is_scheduled && counted.iter().zip(told).all(|(all, own)| *all >= own);
        ensure!(agree, "acquired, timeouts, cancelled, shed, failed, refused: {counted:?}, users say {told:?}");
        Ok(())
    }

    fn nobody_waits_in_vain(&self, state: &PoolState, time: u64) -> Checked {
        let served = state.waiting == 0 || state.idle == 0 || self.paused || state.in_maintenance >= state.waiting;
        ensure!(served, "somebody waits beside an idle connection: {state:?}");
        self.nobody_is_late()?;
        let opens = state.waiting == 0 || state.opening > 0 || state.size >= state.max_size || state.budget_exhausted;
        ensure!(!self.is_well(time) || opens, "nobody opens a connection that is wanted: {state:?}");
        Ok(())
    }

    fn nobody_is_late(&self) -> Checked {
        let now = self.clock.now();
        let late = |deadline: u64| deadline + MARGIN < now && self.is_steady();
        let forgotten = self.waiters.iter().find(|waiter| waiter.acquire.woken().is_none() && late(waiter.deadline));
        let forgotten = forgotten.map_or(0, |waiter| waiter.deadline);
        ensure!(forgotten == 0, "somebody waits at {now} whose deadline is {forgotten}");
        Ok(())
    }

    /// Whether the clock has not jumped of late: who did not look meanwhile has a moment more.
    pub(super) fn is_steady(&self) -> bool {
        self.jumped_at.is_none_or(|jumped| jumped + MARGIN < self.clock.now())
    }

    /// Whether nothing has held the pool up for long.
    pub(super) fn is_well(&self, time: u64) -> bool {
        let healthy = self.healthy_since.is_some_and(|since| since + LONG <= self.clock.now());
        healthy && time >= LONG && !self.paused && !self.closed
    }
}
