//! The protocols: acquire, release, open, maintain, close. Safe code without an atomic ordering in it; those are in the layer below.

mod acquire;
mod acquiring;
mod at_once;
mod attempts;
mod budget;
mod changes;
mod clock;
mod close;
mod exchange;
mod followers;
mod hint;
mod holders;
mod hooked;
mod in_line;
mod janitor;
mod journal;
mod leaks;
mod limit;
mod look;
mod maintain;
mod measure;
mod notes;
mod open;
mod openers;
mod outlook;
mod panics;
mod part;
mod pause;
mod prefer;
mod probe;
mod put_back;
mod random;
mod reach;
mod reconfigure;
mod release;
mod report;
mod reserves;
mod retire;
mod rotate;
mod round;
mod shared;
mod spans;
mod tags;
mod tasks;
mod told;
mod trip;
mod uncollected;
mod usual;
mod view;
mod want;
mod warm_up;
mod warnings;

use clock::{Clock, nanos};

pub(crate) use acquiring::Acquiring;
pub(crate) use changes::{unless, watch};
pub(crate) use close::{close, close_within};
pub(crate) use exchange::adopt;
pub(crate) use followers::{Follower, InLine};
pub(crate) use janitor::ensure_janitor;
pub(crate) use journal::{JOURNAL, Observation, Written};
pub(crate) use limit::Limit;
pub(crate) use outlook::Outlook;
pub(crate) use panics::{caught, guarded, report, shielded, tell_watchers};
pub(crate) use part::{Part, guarantee};
pub(crate) use pause::drained;
pub(crate) use prefer::prefer;
pub(crate) use release::Occasion;
pub(crate) use reserves::KeptFor;
pub(crate) use retire::Author;
pub(crate) use shared::share;
pub(crate) use spans::Asking;
pub(crate) use view::Timed;
pub(crate) use warm_up::{ready, warm_up};
pub(crate) use warnings::Warning;

use std::sync::{Arc, Mutex};

use attempts::Attempts;
use followers::Followers;
use holders::Holders;
use hooked::Hooked;
use journal::Journal;
use measure::Measures;
use notes::Notes;
use reserves::Reserves;
use spans::Causes;
use tags::Tags;
use tasks::Tasks;
use trip::Trip;
use usual::Usual;
use warm_up::WarmUps;
use warnings::Warnings;

use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::counters::{Alarm, Counter, Figure, Flag, Moments, Permits, Seat};
use crate::driver::Driver;
use crate::failure::OpenFailure;
use crate::foreign::drop_quietly;
use crate::handoff::{Core, Grant};
use crate::hooks::AnyHooks;
use crate::lifetime::RetireReason;
use crate::retirement::Retirement;
use crate::slot::Claim;
use open::Purpose;
use probe::Checkers;
use random::Random;
use reach::Reach;
use retire::ON_ITS_WAY_OUT;

type Conn<D> = <D as Driver>::Connection;
type EngineGrant<D> = Grant<Conn<D>>;

/// Everything that the handles, leases and background tasks of one pool share.
pub(crate) struct Engine<D: Driver> {
    pub(crate) driver: D,
    pub(crate) config: ArcSwap<Config>,
    core: Core<D::Connection>,
    /// Milliseconds since the pool was built, advanced by the janitor: the clock of the hot path, on lines of its own because that writes nothing there.
    epoch: CachePadded<Figure>,
    /// Of the settings, in nanoseconds: it is read for every wait.
    acquire_timeout: Figure,
    /// From which on a wait is slow; of the settings, too.
    slow_acquire: Figure,
    /// Held by whoever changes the settings or retires connections, and by nobody else.
    operator: Mutex<()>,
    /// How often the settings have been changed, or something else that the next round has to see to.
    reconfigured: Counter,
    /// Why the latest generations were begun.
    retirements: ArcSwap<Vec<Retirement>>,
    warm_ups: WarmUps,
    /// How many connections that are due may leave, because there are others in their place. For each of these permits one is counted as leaving already.
    may_leave: Permits,
    /// Whether a connection has become due by its uses: that does not wait for the next round.
    wearing: Flag,
    /// How often somebody has said that the next attempt to open a connection need not wait because others have failed.
    fresh_starts: Counter,
    /// Whether the pool has ever had a connection.
    used: Flag,
    checkers: Checkers,
    /// Connections that are checked before they are handed out.
    checks: Moments,
    /// Those of them that should have answered by now.
    late_checks: Moments,
    /// Whether the last of these checks has failed, or is late.
    doubtful: Flag,
    /// Somebody has said that there are many on each shared connection, and the janitor has not found that it is over.
    crowd: Flag,
    /// Whether idle connections may have been left to those who wait because enough of them are being checked.
    unserved: Flag,
    /// What the janitor has to see to, left by whoever may not do it: a `Drop` neither waits nor spawns.
    jobs: SegQueue<Job<D::Connection>>,
    /// Calls the janitor.
    bell: Notify,
    /// Taken while a janitor runs, in the name of its runtime, by `runtime_key`.
    janitor: Seat,
    /// The next moment when somebody's time is over.
    alarm: Alarm,
    clock: Clock,
    /// When somebody looks after the idle connections, and so has each of them for an instant.
    inspections: Moments,
    /// Told to those who watch.
    changed: Notify,
    attempts: Attempts,
    reach: Reach,
    holders: Holders,
    trip: Trip,
    reserves: Reserves,
    followers: Followers,
    notes: Notes,
    journal: Journal,
    /// Those who wait, for whoever traces what the pool does for them.
    causes: Arc<Causes>,
    warnings: Warnings,
    /// Those who look at the pool.
    observers: Moments,
    tags: Tags,
    /// Whether anybody wants to know who has a connection for how long.
    watched: Flag,
    /// Whether that is so, or there are hooks for connections that are handed out or come back: then each is looked at closely. Or there are tags: then those that have some are.
    attended: Flag,
    hooked: Option<Hooked<D::Connection>>,
    /// How long a check and a conversion take for somebody who prefers a connection.
    usual_check: Usual,
    usual_convert: Usual,
    /// When the janitor took its last turn.
    pulse: Figure,
    tasks: Tasks,
    measures: Measures,
    random: Random,
    /// Cancelled once the pool is closed and nothing is open.
    all_closed: CancellationToken,
    /// The last failure to open a connection, unless one succeeded since.
    last_failure: ArcSwapOption<OpenFailure>,
    /// The failure that was told to those who waited, when they were told.
    denial: ArcSwapOption<OpenFailure>,
    events: Events,
    /// Of a budget, if it shares one. The last field: what it holds is free when the connections have been dropped.
    part: Option<Part>,
}

/// What happened since the pool was built, as far as the slots do not tell.
#[derive(Default)]
struct Events {
    waited: Counter,
    timeouts: Counter,
    cancelled: Counter,
    shed: Counter,
    failed: Counter,
    refused: Counter,
    adopted: Counter,
    detached: Counter,
    broken: Counter,
    expired: Counter,
    worn: Counter,
    idle_timed_out: Counter,
    excess: Counter,
    outdated: Counter,
    evicted: Counter,
    pool_closed: Counter,
    breaker_openings: Counter,
    leaks: Counter,
    reclaimed: Counter,
    self_waits: Counter,
    preferred: Counter,
    missed: Counter,
    converted: Counter,
    uncollected: Counter,
    slow_acquires: Counter,
    /// Acquires that have ended in a line in front of the pool, turned away or in vain.
    left_line: Counter,
    /// Pings that were answered.
    answered: Counter,
    /// Places beside others that were waited for.
    shared_waits: Counter,
    errors: ErrorEvents,
}

/// Calls to the driver that failed, by what became of them.
#[derive(Default)]
struct ErrorEvents {
    transient: Counter,
    permanent: Counter,
    open_timeouts: Counter,
    open_panics: Counter,
    open_hooks: Counter,
    abandoned: Counter,
    resets: Counter,
    pings: Counter,
    inspections: Counter,
    conversions: Counter,
}

/// From when on a wait is slow, in nanoseconds.
fn slow(config: &Config) -> u64 {
    config.slow_acquire.map_or(u64::MAX, nanos)
}

/// Work for the janitor.
enum Job<C> {
    Close(Claim<C>),
    Reset(Claim<C>),
    /// It has come back, and a hook is to be called.
    Returned(Claim<C>),
    Check(Claim<C>),
    /// An opener has ended, with this failure if it failed.
    OpenerDone(Purpose, Option<Arc<OpenFailure>>),
}

impl<D: Driver> Engine<D> {
    /// For a configuration that has been validated. The seed is that of everything that is left to chance.
    pub(crate) fn new(
        driver: D,
        config: Config,
        seed: Option<u64>,
        hooks: Option<Arc<dyn AnyHooks<D::Connection>>>,
        part: Option<Part>,
    ) -> Self {
        Self {
            core: Core::new(config.max_size, config.idle_order).shared_by(shared::most_users(&driver)),
            driver,
            acquire_timeout: Figure::of(nanos(config.acquire_timeout)),
            slow_acquire: Figure::of(slow(&config)),
            config: ArcSwap::from_pointee(config),
            epoch: CachePadded::default(),
            operator: Mutex::default(),
            reconfigured: Counter::default(),
            retirements: ArcSwap::default(),
            warm_ups: WarmUps::default(),
            may_leave: Permits::default(),
            wearing: Flag::default(),
            fresh_starts: Counter::default(),
            used: Flag::default(),
            checkers: Checkers::default(),
            checks: Moments::default(),
            late_checks: Moments::default(),
            doubtful: Flag::default(),
            crowd: Flag::default(),
            unserved: Flag::default(),
            jobs: SegQueue::new(),
            bell: Notify::new(),
            janitor: Seat::default(),
            alarm: Alarm::default(),
            clock: Clock::starting_now(),
            inspections: Moments::default(),
            changed: Notify::new(),
            attempts: Attempts::default(),
            reach: Reach::default(),
            holders: Holders::default(),
            trip: Trip::default(),
            reserves: Reserves::default(),
            followers: Followers::default(),
            journal: Journal::default(),
            causes: Arc::default(),
            warnings: Warnings::default(),
            observers: Moments::default(),
            notes: Notes::default(),
            tags: Tags::default(),
            watched: Flag::default(),
            attended: Flag::default(),
            hooked: hooks.map(Hooked::new),
            pulse: Figure::default(),
            tasks: Tasks::default(),
            measures: Measures::default(),
            random: Random::new(seed),
            all_closed: CancellationToken::new(),
            last_failure: ArcSwapOption::empty(),
            usual_check: Usual::default(),
            usual_convert: Usual::default(),
            denial: ArcSwapOption::empty(),
            events: Events::default(),
            part,
        }
    }

    /// The number of this moment.
    pub(crate) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// The number of a moment.
    pub(crate) fn at(&self, moment: Instant) -> u64 {
        self.clock.at(moment)
    }

    /// For how long a caller waits who does not say; in nanoseconds.
    pub(crate) fn acquire_timeout(&self) -> u64 {
        self.acquire_timeout.get()
    }

    /// The moment of a number.
    pub(crate) fn moment(&self, at: u64) -> Instant {
        self.clock.moment(at)
    }

    /// Puts that in force of the settings which nobody reads again for each lease.
    pub(crate) fn begin(&self) {
        self.attend(self.wants_to_watch());
    }

    /// Watches leases from now on, or does not.
    fn attend(&self, watches: bool) {
        let attends = watches || self.is_hooked() || self.tags.are_used();
        for (flag, is_up) in [(&self.watched, watches), (&self.attended, attends)] {
            if is_up { flag.raise() } else { flag.lower() }
        }
    }

    /// Somebody did not want to wait.
    pub(crate) fn count_shed(&self) {
        self.events.shed.add(1);
    }

    /// Somebody did not want to wait, and the pool is closed.
    pub(crate) fn count_closed(&self) {
        self.count_refusal();
        self.events.refused.add(1);
    }

    /// The connection of a claim.
    #[inline]
    pub(crate) fn connection<'a>(&'a self, claim: &'a Claim<D::Connection>) -> &'a D::Connection {
        self.core.table.get(claim)
    }

    /// The connection of a claim, for its only user.
    #[inline]
    pub(crate) fn connection_mut<'a>(&'a self, claim: &'a mut Claim<D::Connection>) -> &'a mut D::Connection {
        self.core.table.get_mut(claim)
    }

    /// Leaves a connection to the janitor, to be closed.
    pub(crate) fn retire(&self, claim: Claim<D::Connection>, reason: RetireReason) {
        self.count_close(&claim, reason);
        // These were counted when they were found, or before.
        if !matches!(reason, RetireReason::Excess | RetireReason::Replaced(_)) {
            self.core.capacity.leaving();
        }
        self.core.table.show_resetting(&claim);
        let facts = self.core.table.facts(&claim);
        facts.expires_at.set(ON_ITS_WAY_OUT);
        facts.need_no_replacement();
        self.tasks.forget(self.id(&claim));
        self.call_janitor(Job::Close(claim));
        self.tell();
    }

    /// The connection is the pool's no longer.
    fn forget(&self, claim: &Claim<D::Connection>) {
        let facts = self.core.table.facts(claim);
        self.notes.end(facts);
        self.tags.end(facts.index());
    }

    fn call_janitor(&self, job: Job<D::Connection>) {
        self.jobs.push(job);
        self.bell.notify_one();
    }
}

impl<D: Driver> Drop for Engine<D> {
    fn drop(&mut self) {
        // Errors are foreign code, and nothing else may panic here: connections and what aborts them are dropped by those who keep them.
        drop_quietly(self.last_failure.swap(None));
        drop_quietly(self.denial.swap(None));
        while let Some(job) = self.jobs.pop() {
            drop_quietly(job);
        }
    }
}
