//! Leases that are held for long: reported once, cut off, and listed.

use std::collections::BTreeMap;
use std::time::Duration;

use pool_core::{Config, Holder};

use super::super::clock::{interval_of, millis};
use super::super::ensure;
use super::super::model::Checked;
use super::Policy;
use super::stage::{Held, Stage};
use crate::fake::{Entry, Event, FakeDriver};
use crate::random::Random;

/// The number of the session of connection 0; those of others follow.
const FIRST_SESSION: u64 = 4_711;

/// What may have come of a lease, and what has to have.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    /// Whether the pool knows exactly since when it is out.
    watched: bool,
    reported: Bounds,
    cut_off: Bounds,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    may: bool,
    has_to: bool,
}

/// How many there have been.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    least: u64,
    most: u64,
}

impl Total {
    fn with(self, bounds: Bounds) -> Self {
        Self { least: self.least + u64::from(bounds.has_to), most: self.most + u64::from(bounds.may) }
    }
}

#[derive(Default)]
struct Leaks {
    /// By the ids of the connections.
    leases: BTreeMap<u64, Fate>,
    /// Of leases that have ended.
    reported: Total,
    cut_off: Total,
}

pub(super) fn draw(_: &mut Random) -> Box<dyn Policy> {
    Box::<Leaks>::default()
}

/// When a limit of so long is over for a lease, in milliseconds.
fn bounds(stage: &Stage, held: &Held, limit: Option<Duration>, watched: bool) -> Bounds {
    let (Some(limit), now) = (limit.map(millis), stage.clock.now()) else { return Bounds::default() };
    let may = now >= held.since.0 + limit;
    // Looked at in every round. One that has begun with other settings is known, too, if it was watched then.
    let since = (held.since.1 + limit).max(stage.configured_at);
    let has_to = watched && !stage.closed && stage.is_steady() && now > since + 2 * interval_of(&stage.config) + 100;
    Bounds { may, has_to }
}

impl Bounds {
    fn or(self, other: Self) -> Self {
        Self { may: self.may || other.may, has_to: self.has_to || other.has_to }
    }
}

impl Fate {
    fn follow(&mut self, stage: &Stage, held: &Held) {
        // A part of what somebody wanted may have been out for long when the rest came, and nobody knows for how long.
        let is_part = held.since.0 < held.since.1;
        let (part, watched) = (Bounds { may: is_part, has_to: false }, self.watched && !is_part);
        let of = |limit| bounds(stage, held, limit, watched).or(part);
        self.reported = self.reported.or(of(stage.config.leak_after));
        self.cut_off = self.cut_off.or(of(stage.config.reclaim_after));
    }
}

impl Leaks {
    fn follow(&mut self, stage: &Stage) -> Checked {
        for held in &stage.held {
            let Some(fate) = self.leases.get_mut(&held.id) else { continue };
            fate.follow(stage, held);
            let (broken, cut_off) = (held.lease.connection().is_broken(), fate.cut_off);
            let right = cut_off.may || !broken || stage.aborted;
            ensure!(right && (broken || !cut_off.has_to), "connection {} is cut off: {broken}, {fate:?}", held.id);
        }
        Ok(())
    }

    fn counted(&self, stage: &Stage) -> Checked {
        let stats = stage.pool.stats();
        let totals = [
            (stats.leaks, self.leases.values().fold(self.reported, |total, fate| total.with(fate.reported)), "leaks"),
            (
                stats.reclaimed,
                self.leases.values().fold(self.cut_off, |total, fate| total.with(fate.cut_off)),
                "cut off",
            ),
        ];
        for (count, Total { least, most }, what) in totals {
            // Those who did not get all that they wanted may have held a part of it for long.
            let most = most + stage.unseen + stage.partial as u64;
            ensure!((least..=most).contains(&count), "{what}: {count} counted, {least} to {most} leases");
        }
        Ok(())
    }

    fn listed(&self, stage: &Stage) -> Checked {
        let holders = stage.pool.holders();
        let seen = stage.pool.state();
        // Nobody holds what several use.
        let leased = seen.leased - seen.shared;
        ensure!(holders.len() == leased, "{} hold a connection by the list, {leased} by the count", holders.len());
        let sorted = holders.is_sorted_by_key(|holder| std::cmp::Reverse(holder.held));
        ensure!(sorted, "those who hold are not in order: {holders:?}");
        stage.held.iter().try_for_each(|held| self.is_listed(stage, held, &holders))
    }

    fn is_listed(&self, stage: &Stage, held: &Held, holders: &[Holder]) -> Checked {
        let mut listed = holders.iter().filter(|holder| holder.connection == held.name);
        let (first, others) = (listed.next(), listed.count());
        ensure!(others == 0, "connection {} is listed more than once", held.id);
        let Some(holder) = first else { return Err(format!("connection {} is not listed: {holders:?}", held.id)) };
        ensure!(holder.session == Some(FIRST_SESSION + held.id), "connection {} is listed as {holder}", held.id);
        let now = stage.clock.now();
        let (most, least) = (now - held.since.0, now - held.since.1);
        let told = holder.held.map(millis);
        ensure!(told.is_none_or(|told| told <= most), "{told:?} is longer than it is held: {most} ms, {holder}");
        let watched = self.leases.get(&held.id).is_some_and(|fate| fate.watched) && most == least;
        let exact = told.is_some_and(|told| told >= least) && holder.place.is_some();
        ensure!(!watched || exact, "held for {least} to {most} ms, and listed as {holder}");
        Ok(())
    }
}

fn watches(config: &Config) -> bool {
    config.leak_after.is_some() || config.reclaim_after.is_some()
}

impl Policy for Leaks {
    fn prepare(&mut self, driver: &FakeDriver) {
        driver.number_sessions_from(FIRST_SESSION);
    }

    fn settings(&self, config: &mut Config, random: &mut Random) {
        let mut time = |choices: &[u64]| random.maybe(2, choices).map(Duration::from_millis);
        (config.leak_after, config.reclaim_after) = (time(&[20, 200, 2000]), time(&[50, 500, 5000]));
    }

    /// Other limits, and all else as it was.
    fn act(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        if random.once_in(3) {
            return stage.try_acquire();
        }
        let mut config = stage.config.clone();
        config.max_size = stage.pool.config().max_size;
        self.settings(&mut config, random);
        stage.reconfigure(config)
    }

    fn hear(&mut self, stage: &mut Stage, entry: &Entry) -> Checked {
        match entry.event {
            Event::Lent(id) => {
                let fate = Fate { watched: watches(&stage.config), ..Fate::default() };
                self.leases.insert(id, fate);
            }
            Event::Returned(id) => {
                if let Some(fate) = self.leases.remove(&id) {
                    self.reported = self.reported.with(fate.reported);
                    self.cut_off = self.cut_off.with(fate.cut_off);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&mut self, stage: &mut Stage, _: u64) -> Checked {
        if !watches(&stage.config) {
            // What was known is known no more.
            self.leases.values_mut().for_each(|fate| fate.watched = false);
        }
        self.follow(stage)?;
        self.counted(stage)?;
        self.listed(stage)
    }
}
