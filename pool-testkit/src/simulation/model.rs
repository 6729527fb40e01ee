//! A pool as it looks from outside: what its backend and its users have seen, and what may come next by the rules of the documentation.
//!
//! It does not guess what the pool leaves to chance or to the moment, such as which connection is pinged first. It is told by the backend's journal, and says
//! whether that was allowed; what had to happen and did not is found [at rest](super::rest).

use std::collections::BTreeMap;

use pool_core::{Config, ErrorClass};

use super::breaker::Breaker;
use super::clock::{Clock, Sequence, interval_of, millis};
use super::connection::{Connection, Place};
use super::ensure;
use super::minima::Calm;
use crate::fake::{Call, Ending, Entry, Event};

pub(super) type Checked = Result<(), String>;

/// The hosts that connections go to, in turn.
pub(super) const HOSTS: [&str; 2] = ["a", "b"];

/// A demand to retire connections whose attempts began before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    pub(super) number: u64,
    pub(super) whom: Whom,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Whom {
    All,
    Host(usize),
    /// All, by this moment.
    By(u64),
}

/// What the pool has to have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) acquired: u64,
    pub(super) immediate: u64,
    pub(super) waited: u64,
    pub(super) wait_time: u64,
    pub(super) timeouts: u64,
    pub(super) cancelled: u64,
    pub(super) shed: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
    pub(super) opened: u64,
    pub(super) adopted: u64,
    pub(super) detached: u64,
    pub(super) open_transient: u64,
    pub(super) open_permanent: u64,
    pub(super) open_panics: u64,
    /// Attempts whose time was over, or that were abandoned.
    pub(super) open_dropped: u64,
    pub(super) resets: u64,
    pub(super) pings: u64,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is so or not, whatever the others are
pub(super) struct Model {
    pub(super) clock: Clock,
    pub(super) sequence: Sequence,
    pub(super) config: Config,
    pub(super) connections: BTreeMap<u64, Connection>,
    /// Attempts that are under way: when each began.
    pub(super) opening: BTreeMap<u64, u64>,
    /// When the attempt began whose connection comes next.
    arriving: Option<u64>,
    pub(super) last_begun: Option<u64>,
    pub(super) last_opened: u64,
    /// No attempt needs to begin before this moment, because another has failed.
    pub(super) backoff_until: u64,
    /// Whether attempts have failed since one has succeeded.
    pub(super) failing: bool,
    /// The number of the last failure that was for good.
    pub(super) failed_for_good: u64,
    /// Whether that was the last attempt that ended.
    pub(super) is_known_for_good: bool,
    pub(super) breaker: Breaker,
    /// Whether there were more connections than the maximum at any moment of this step.
    pub(super) excess: bool,
    /// By how much the clock has jumped in this step: the pool may not have noticed yet when something happens.
    pub(super) jumped: u64,
    pub(super) calm: Calm,
    pub(super) paused: bool,
    pub(super) resumed: u64,
    pub(super) closed: bool,
    pub(super) aborted: bool,
    pub(super) demands: Vec<Demand>,
    /// Why each connection that left the pool may have been closed.
    pub(super) departures: Vec<Vec<&'static str>>,
    pub(super) counts: Counts,
}

impl Model {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            clock: Clock::starting_now(),
            sequence: Sequence::default(),
            config: config.clone(),
            connections: BTreeMap::new(),
            opening: BTreeMap::new(),
            arriving: None,
            last_begun: None,
            last_opened: 0,
            backoff_until: 0,
            failing: false,
            failed_for_good: 0,
            is_known_for_good: false,
            breaker: Breaker::default(),
            excess: false,
            jumped: 0,
            calm: Calm::default(),
            paused: false,
            resumed: 0,
            closed: false,
            aborted: false,
            demands: Vec::new(),
            departures: Vec::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn count(&self, places: &[Place]) -> usize {
        self.connections.values().filter(|connection| places.contains(&connection.place)).count()
    }

    /// Connections that the pool counts, and attempts.
    pub(super) fn size(&self) -> usize {
        self.opening.len() + self.connections.len() - self.count(&[Place::Gone])
    }

    pub(super) fn note_excess(&mut self) {
        self.excess |= self.size() - self.count(&[Place::Closing]) > self.config.max_size;
    }

    pub(super) fn hear(&mut self, entry: &Entry) -> Checked {
        let at = self.clock.at(entry.at);
        let outcome = match entry.event {
            Event::Begun(Call::Connect, attempt) => self.begin_to_open(attempt, at),
            Event::Begun(call, id) => self.begin(call, id, at),
            Event::Ended(Call::Connect, attempt, ending) => {
                self.end_to_open(attempt, ending, at);
                Ok(())
            }
            Event::Ended(call, id, ending) => self.end(call, id, ending, at),
            Event::Opened(id) => self.open(id, at),
            Event::Closed(id) => self.close_one(id, at),
            Event::FoundBroken(id) => self.known(id).map(|connection| connection.broken = true),
            // There are no policies here.
            _ => Ok(()),
        };
        self.note_excess();
        outcome
    }

    /// By when a connection has to be gone because all are retired within an interval.
    pub(super) fn has_to_go_by(&self, connection: &Connection) -> Option<u64> {
        let demands = self.demands.iter().filter(|demand| demand.number > connection.begun);
        demands.filter_map(|demand| if let Whom::By(moment) = demand.whom { Some(moment) } else { None }).min()
    }

    pub(super) fn known(&mut self, id: u64) -> Result<&mut Connection, String> {
        self.connections.get_mut(&id).ok_or_else(|| format!("connection {id} was never opened"))
    }

    fn begin_to_open(&mut self, attempt: u64, at: u64) -> Checked {
        ensure!(!self.paused && !self.closed, "attempt {attempt} begins though the pool is paused or closed");
        self.opening.insert(attempt, self.sequence.next());
        let (opening, most) = (self.opening.len(), self.config.max_openers);
        ensure!(opening <= most, "{opening} attempts at once, {most} are allowed");
        let distance = self.last_begun.map_or(u64::MAX, |last| at - last);
        let least = self.config.opener_interval.map_or(0, millis);
        ensure!(distance >= least, "attempt {attempt} begins {distance} ms after the last one, not {least}");
        self.last_begun = Some(at);
        Ok(())
    }

    /// Whether one who came then may have been told that an attempt has failed for good.
    pub(super) fn has_failed_for_good_since(&self, joined: u64) -> bool {
        self.failed_for_good > joined || self.is_known_for_good
    }

    fn end_to_open(&mut self, attempt: u64, ending: Ending, at: u64) {
        let begun = self.opening.remove(&attempt);
        if ending == Ending::Succeeded {
            self.arriving = begun;
            return;
        }
        (self.backoff_until, self.failing) = (at + millis(self.config.backoff_max), true);
        self.is_known_for_good = ending == Ending::Failed(ErrorClass::Permanent);
        let counter = match ending {
            Ending::Failed(ErrorClass::Permanent) => {
                self.failed_for_good = self.sequence.next();
                &mut self.counts.open_permanent
            }
            Ending::Failed(_) => &mut self.counts.open_transient,
            Ending::Panicked => &mut self.counts.open_panics,
            _ => &mut self.counts.open_dropped,
        };
        *counter += 1;
        self.breaker.failed(&self.config, at, self.jumped, self.sequence.next());
        let nobody_returns = self.size() == self.opening.len();
        self.breaker.nobody_waits = self.breaker.has_to_be_open && nobody_returns && !self.paused;
    }

    fn open(&mut self, id: u64, at: u64) -> Checked {
        // One that no attempt has opened comes from elsewhere, and is not in the pool yet.
        let connection = match self.arriving.take() {
            Some(begun) => {
                self.counts.opened += 1;
                (self.failing, self.last_opened, self.is_known_for_good) = (false, at, false);
                self.breaker.succeeded();
                Connection::opened(&self.config, begun, at, self.jumped)
            }
            None => Connection { place: Place::Gone, ..Connection::opened(&self.config, self.sequence.next(), at, 0) },
        };
        let before = self.connections.insert(id, connection);
        ensure!(before.is_none(), "connection {id} was opened twice");
        Ok(())
    }

    /// A connection from elsewhere is in the pool from now on.
    pub(super) fn adopt(&mut self, id: u64) {
        let connection = Connection::opened(&self.config, self.sequence.next(), self.clock.now(), 0);
        self.connections.insert(id, connection);
        self.breaker.nobody_waits = false;
        self.counts.adopted += 1;
    }

    fn begin(&mut self, call: Call, id: u64, at: u64) -> Checked {
        let place = self.known(id)?.place;
        ensure!(place == Place::Ready, "{call:?} of connection {id}, which is {place:?}");
        self.known(id)?.called_at = at;
        match call {
            Call::Reset => self.reset(id),
            Call::Ping => self.ping(id, at),
            _ => self.leave(id, at, Place::Closing),
        }
    }

    fn reset(&mut self, id: u64) -> Checked {
        let connection = self.known(id)?;
        ensure!(connection.dirty, "connection {id} is reset and was clean");
        connection.place = Place::Resetting;
        Ok(())
    }

    fn ping(&mut self, id: u64, at: u64) -> Checked {
        ensure!(!self.paused, "connection {id} is pinged though the pool is paused");
        let (unseen, config) = (self.known(id)?.unseen_for(at), &self.config);
        let limits = [config.health_check_interval, config.check_after_idle].into_iter().flatten();
        let due = limits.map(millis).any(|limit| limit <= unseen);
        ensure!(due, "connection {id} is pinged {unseen} ms after it was seen");
        self.known(id)?.place = Place::Pinging;
        Ok(())
    }

    fn end(&mut self, call: Call, id: u64, ending: Ending, at: u64) -> Checked {
        let counter = match call {
            Call::Reset => &mut self.counts.resets,
            Call::Ping => &mut self.counts.pings,
            _ => return Ok(()),
        };
        *counter += u64::from(ending != Ending::Succeeded);
        let lag = interval_of(&self.config) + self.jumped;
        let connection = self.known(id)?;
        connection.place = Place::Ready;
        connection.slack = connection.slack.max(lag);
        if ending == Ending::Succeeded {
            connection.checked_at = at;
            connection.dirty &= call != Call::Reset;
        } else {
            connection.broken = true;
        }
        Ok(())
    }

    fn close_one(&mut self, id: u64, at: u64) -> Checked {
        let place = self.known(id)?.place;
        match place {
            Place::Closing => self.known(id)?.place = Place::Gone,
            Place::Gone => {}
            // What is in the background is dropped.
            _ if self.aborted => self.leave(id, at, Place::Gone)?,
            place => return Err(format!("connection {id} was dropped, which is {place:?}")),
        }
        Ok(())
    }

    /// The pool closes a connection: it needs a reason.
    fn leave(&mut self, id: u64, at: u64, to: Place) -> Checked {
        let reasons = self.reasons(id, at)?;
        ensure!(!reasons.is_empty(), "connection {id} is closed without a reason: {:?}", self.known(id)?);
        self.minima_are_kept(id, at, &reasons)?;
        self.known(id)?.place = to;
        self.departures.push(reasons);
        Ok(())
    }

    /// Why a connection may be closed, by the names of `Stats::closes`.
    fn reasons(&mut self, id: u64, at: u64) -> Result<Vec<&'static str>, String> {
        let outdated = self.is_outdated(id)?;
        let retired_over = self.is_retired_over(id)?;
        let (closed, excess, idle_timeout) = (self.closed, self.excess, self.config.idle_timeout);
        let wears_from = wears_from(&self.config);
        let connection = self.known(id)?;
        let too_old = connection.life.is_some_and(|life| life.from <= at);
        let too_idle = idle_timeout.is_some_and(|limit| millis(limit) <= connection.idle_for(at));
        let reasons = [
            ("broken", connection.broken),
            ("expired", too_old),
            ("worn", connection.worn || connection.uses >= wears_from),
            ("idle_timed_out", too_idle),
            ("excess", excess),
            ("outdated", outdated || retired_over),
            ("evicted", connection.evicted),
            ("pool_closed", closed),
        ];
        Ok(reasons.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name).collect())
    }

    /// Whether a demand has made it one to be closed when nobody holds it.
    pub(super) fn is_outdated(&mut self, id: u64) -> Result<bool, String> {
        let begun = self.known(id)?.begun;
        let hits = |whom| matches!(whom, Whom::All) || matches!(whom, Whom::Host(host) if host == host_of(id));
        Ok(self.demands.iter().any(|demand| demand.number > begun && hits(demand.whom)))
    }

    /// How many connections that somebody holds are to be replaced.
    pub(super) fn count_due_in_use(&self, now: u64) -> usize {
        let wears_from = wears_from(&self.config);
        let retired_over = |begun| {
            let demands = self.demands.iter();
            demands.filter(|demand| demand.number > begun).any(|demand| matches!(demand.whom, Whom::By(_)))
        };
        let due = |connection: &&Connection| {
            let aged = connection.life.is_some_and(|life| life.from <= now);
            aged || connection.uses >= wears_from || retired_over(connection.begun)
        };
        let in_use = self.connections.values().filter(|connection| connection.place == Place::Leased);
        in_use.filter(due).count()
    }

    fn is_retired_over(&mut self, id: u64) -> Result<bool, String> {
        let begun = self.known(id)?.begun;
        Ok(self.demands.iter().any(|demand| demand.number > begun && matches!(demand.whom, Whom::By(_))))
    }
}

/// After how many leases a connection may be replaced: a tenth before the last, one at least, but not before the first.
pub(super) fn wears_from(config: &Config) -> u64 {
    match config.max_uses {
        None => u64::MAX,
        Some(1) => 1,
        Some(most) => most - (most / 10).max(1),
    }
}

/// Connections go to the hosts in turn.
pub(super) fn host_of(id: u64) -> usize {
    usize::try_from(id).unwrap_or(0) % HOSTS.len()
}
