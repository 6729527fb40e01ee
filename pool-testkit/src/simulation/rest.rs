//! What has to be so whenever nothing is left to be done.

use std::collections::BTreeMap;

use pool_core::{PoolState, Stats};

use super::clock::{interval_of, millis};
use super::connection::{Connection, Place};
use super::ensure;
use super::model::{Checked, Counts};
use super::world::World;

/// After so many milliseconds without a step, limits of time have to be kept.
const LONG: u64 = 3000;

impl World {
    /// `time`: how many milliseconds have passed without a step.
    pub(super) fn check(&mut self, time: u64) -> Checked {
        let stats = self.pool.stats();
        let violations = self.driver.ledger().violations();
        ensure!(violations.is_empty(), "the backend saw: {}", violations.join("; "));
        self.figures_agree(&stats)?;
        let promised = stats.state.leased - self.leases.len();
        self.nothing_is_left(&stats.state, promised)?;
        self.nobody_waits_in_vain(&stats.state)?;
        self.breaker_agrees(&stats.state)?;
        self.somebody_opens(&stats.state, time)?;
        self.nobody_watches_in_vain()?;
        if time >= LONG && promised == 0 { self.times_are_kept(&stats.state, time) } else { Ok(()) }
    }

    fn figures_agree(&self, stats: &Stats) -> Checked {
        self.places_agree(&stats.state)?;
        self.counts_agree(stats)?;
        self.closes_agree(stats)
    }

    fn times_are_kept(&self, state: &PoolState, time: u64) -> Checked {
        self.ages_are_kept(state, time)?;
        self.headroom_is_given_back(state)
    }

    fn places_agree(&self, state: &PoolState) -> Checked {
        let model = &self.model;
        let there = model.count(&[Place::Ready, Place::Leased]);
        ensure!(there == state.idle + state.leased, "{there} connections are idle or leased: {state:?}");
        let inside = model.count(&[Place::Resetting, Place::Pinging, Place::Closing]);
        ensure!(inside == state.in_maintenance, "{inside} connections are in maintenance: {state:?}");
        ensure!(model.opening.len() == state.opening, "{} attempts are under way: {state:?}", model.opening.len());
        ensure!(model.size() == state.size, "{} connections in all: {state:?}", model.size());
        let (told, waiting): (Vec<_>, Vec<_>) =
            self.waiters.iter().partition(|waiter| waiter.acquire.woken().is_some());
        ensure!(waiting.len() == state.waiting, "{} wait: {state:?}", waiting.len());
        let leased = self.leases.len();
        ensure!((leased..=leased + told.len()).contains(&state.leased), "{leased} are leased: {state:?}");
        let actual = (state.paused, state.closed, state.max_size);
        let expected = (model.paused, model.closed, model.config.max_size);
        ensure!(actual == expected, "paused, closed, maximum: {actual:?}, not {expected:?}");
        Ok(())
    }

    fn counts_agree(&self, stats: &Stats) -> Checked {
        let (errors, expected) = (stats.errors, self.model.counts);
        // A call that was aborted with the pool is not one that failed.
        let unless_aborted = |counted, expected| if self.model.aborted { expected } else { counted };
        let counts = Counts {
            acquired: stats.acquired,
            immediate: stats.immediate,
            waited: stats.waited,
            wait_time: millis(stats.wait_time),
            timeouts: stats.timeouts,
            cancelled: stats.cancelled,
            shed: stats.shed,
            failed: stats.failed,
            refused: stats.refused,
            opened: stats.opened - stats.adopted,
            adopted: stats.adopted,
            detached: stats.detached,
            open_transient: errors.open_transient,
            open_permanent: errors.open_permanent,
            open_panics: errors.open_panics,
            open_dropped: errors.open_timeouts + errors.open_abandoned,
            resets: unless_aborted(errors.resets, expected.resets),
            pings: unless_aborted(errors.pings, expected.pings),
        };
        let in_vain = counts.timeouts + counts.cancelled + counts.failed + counts.refused;
        let served = counts.immediate + counts.waited - in_vain;
        ensure!(counts.acquired == served, "the acquires do not add up: {counts:#?}");
        ensure!(counts == expected, "counted: {counts:#?}\nexpected: {expected:#?}");
        Ok(())
    }

    /// Each connection that has gone was counted once, for a reason that it had.
    fn closes_agree(&self, stats: &Stats) -> Checked {
        let mut possible = BTreeMap::new();
        for reasons in &self.model.departures {
            for reason in reasons {
                let (least, most) = possible.entry(*reason).or_insert((0, 0));
                *least += u64::from(reasons.len() == 1);
                *most += 1;
            }
        }
        for (reason, count) in stats.closes() {
            let (least, most) = possible.get(reason).copied().unwrap_or_default();
            ensure!((least..=most).contains(&count), "{count} closed for {reason}, expected {least} to {most}");
        }
        let counted = stats.closes().iter().map(|(_, count)| count).sum::<u64>();
        let gone = self.model.departures.len() as u64;
        ensure!(counted == gone, "{counted} closed by the pool's count, {gone} have gone");
        let live = (stats.state.size - stats.state.opening) as u64;
        ensure!(stats.opened == stats.closed + live, "opened = closed + live: {stats:?}");
        Ok(())
    }

    /// No connection is idle that should not be; those who were promised one may have to take it first.
    fn nothing_is_left(&mut self, state: &PoolState, promised: usize) -> Checked {
        let mut left = Vec::new();
        let ids: Vec<_> = self.model.connections.keys().copied().collect();
        for id in ids {
            let outdated = self.model.is_outdated(id)? || self.model.closed;
            let connection = self.model.known(id)?;
            if connection.place == Place::Ready && (outdated || connection.is_spoilt()) {
                left.push(id);
            }
        }
        ensure!(left.len() <= promised, "connections {left:?} are idle and should not be");
        self.nobody_is_too_many(state)
    }

    fn nobody_is_too_many(&self, state: &PoolState) -> Checked {
        let config = &self.model.config;
        let staying = state.size - self.model.count(&[Place::Closing]);
        let excess = staying > config.max_size + config.rotation_headroom;
        ensure!(!excess || state.idle == 0, "a connection is idle, and there are too many: {state:?}");
        Ok(())
    }

    fn nobody_waits_in_vain(&self, state: &PoolState) -> Checked {
        let checked = self.model.count(&[Place::Pinging]);
        let served = state.waiting == 0 || state.idle == 0 || self.model.paused || checked >= state.waiting;
        ensure!(served, "somebody waits beside an idle connection: {state:?}");
        Ok(())
    }

    /// The breaker stands where it has to, and nobody waits whom it spares that.
    fn breaker_agrees(&self, state: &PoolState) -> Checked {
        let (breaker, is_open) = (&self.model.breaker, state.breaker.is_open());
        let agrees = self.model.closed || breaker.may_be_open && is_open || !breaker.has_to_be_open && !is_open;
        ensure!(agrees, "{}: {breaker:?}", state.breaker);
        let spared = !breaker.nobody_waits || self.model.paused || self.model.closed || state.waiting == 0;
        ensure!(spared, "somebody waits though the breaker is open: {state:?}");
        Ok(())
    }

    /// Connections are opened that are wanted, unless something keeps the pool from it.
    fn somebody_opens(&self, state: &PoolState, time: u64) -> Checked {
        let open_too_few = self.wants_another(state, time) && self.may_open(state);
        ensure!(!open_too_few, "nobody opens a connection that is wanted: {state:?}");
        Ok(())
    }

    fn may_open(&self, state: &PoolState) -> bool {
        let (model, config) = (&self.model, &self.model.config);
        let at_once = if model.failing { 1 } else { config.max_openers };
        let next = model.last_begun.unwrap_or(0) + config.opener_interval.map_or(0, millis);
        let held_back = model.clock.now() <= next.max(model.backoff_until) + 2;
        let has_room = state.size < config.max_size && state.opening < at_once;
        has_room && !held_back && !model.paused && !model.closed
    }

    fn wants_another(&self, state: &PoolState, time: u64) -> bool {
        let (model, config, now) = (&self.model, &self.model.config, self.model.clock.now());
        let in_use = !config.lazy || model.counts.opened + model.counts.adopted > 0;
        let promising = model.connections.values().filter(|connection| connection.is_promising(now)).count();
        let for_waiters = state.opening + promising < state.waiting;
        let for_minimum = in_use && state.size < config.min_size;
        // Looked after once a second.
        let idle_soon = state.idle + state.opening + model.count(&[Place::Pinging, Place::Resetting]);
        let for_idle = in_use && time >= LONG && idle_soon < config.min_idle;
        for_waiters || for_minimum || for_idle
    }

    /// More than the maximum are there while one is being replaced, and not for longer, unless it is in use.
    fn headroom_is_given_back(&self, state: &PoolState) -> Checked {
        let (now, model) = (self.model.clock.now(), &self.model);
        let busy = state.leased + state.opening + state.in_maintenance > 0;
        let just_opened = now <= model.last_opened + 2 * interval_of(&model.config) + 100;
        let kept = busy || just_opened || model.closed || state.size <= model.config.max_size;
        ensure!(kept, "there are more than the maximum, and nothing is being opened: {state:?}");
        Ok(())
    }

    fn ages_are_kept(&self, state: &PoolState, time: u64) -> Checked {
        let now = self.model.clock.now();
        let idle = self.model.connections.iter().filter(|(_, connection)| connection.place == Place::Ready);
        for (id, connection) in idle.filter(|(_, connection)| connection.released_at + time <= now) {
            let kept = self.age_is_kept(connection, state, now);
            ensure!(kept, "connection {id} should have been looked after at {now}: {connection:?}, {state:?}");
        }
        Ok(())
    }

    fn age_is_kept(&self, connection: &Connection, state: &PoolState, now: u64) -> bool {
        let config = &self.model.config;
        let margin = 2 * interval_of(config) + 100;
        let over = |limit: Option<u64>, time: u64| limit.is_some_and(|limit| time > limit + margin);
        let since = now - connection.released_at;
        // One that was opened just now may replace another, and so may any other while one that is due is in use.
        let staying = state.size.saturating_sub(state.opening + self.model.count_due_in_use(now));
        let surplus =
            staying > config.min_size && state.idle > config.min_idle && now > self.model.last_opened + margin;
        let too_idle = surplus && over(config.idle_timeout.map(millis), since);
        let unseen = now - connection.released_at.max(connection.checked_at);
        let unchecked = !self.model.paused && over(config.health_check_interval.map(millis), unseen);
        let too_old = over(connection.life.map(|life| life.until), now);
        let has_to_go = self.model.has_to_go_by(connection).is_some_and(|moment| over(Some(moment), now));
        !too_idle && !unchecked && !too_old && !has_to_go
    }
}
