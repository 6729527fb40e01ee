//! The protocols: acquire, release, open, maintain, close. Safe code without an atomic ordering in it; those are in the layer below.

mod acquire;
mod acquiring;
mod clock;
mod close;
mod hint;
mod janitor;
mod maintain;
mod open;
mod panics;
mod random;
mod reconfigure;
mod release;
mod report;

use clock::{Clock, nanos};

pub(crate) use acquiring::Acquiring;
pub(crate) use close::close;
pub(crate) use janitor::ensure_janitor;

use std::sync::{Arc, Mutex};

use arc_swap::{ArcSwap, ArcSwapOption};
use crossbeam_queue::SegQueue;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::counters::{Alarm, Counter, Figure, Moments, Seat};
use crate::driver::Driver;
use crate::error::OpenFailure;
use crate::handoff::{Core, Grant};
use crate::lifetime::RetireReason;
use crate::slot::Claim;

type Conn<D> = <D as Driver>::Connection;
type EngineGrant<D> = Grant<Conn<D>>;

/// Everything that the handles, leases and background tasks of one pool share.
pub(crate) struct Engine<D: Driver> {
    pub(crate) driver: D,
    pub(crate) config: ArcSwap<Config>,
    core: Core<D::Connection>,
    /// Milliseconds since the pool was built, advanced by the janitor: the clock of the hot path.
    epoch: Figure,
    /// Of the settings, in nanoseconds: it is read for every wait.
    acquire_timeout: Figure,
    /// Held by whoever changes the settings, and by nobody else.
    reconfiguring: Mutex<()>,
    /// How often the settings have been changed.
    reconfigured: Counter,
    /// What the janitor has to see to, left by whoever may not do it: a `Drop` neither blocks nor spawns.
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
    /// Told to those who wait for a close when a janitor ends before its work is done.
    janitor_left: Notify,
    /// Cancelled once the pool is closed and nothing is open.
    all_closed: CancellationToken,
    /// The last failure to open a connection, unless one succeeded since.
    last_failure: ArcSwapOption<OpenFailure>,
    /// The failure that was told to those who waited, when they were told.
    denial: ArcSwapOption<OpenFailure>,
    events: Events,
}

/// What happened since the pool was built, as far as the slots do not tell.
#[derive(Default)]
struct Events {
    waited: Counter,
    wait_nanos: Counter,
    timeouts: Counter,
    cancelled: Counter,
    open_failures: Counter,
    broken: Counter,
    expired: Counter,
    reaped: Counter,
}

impl Events {
    /// Counts a wait that ended without a connection; the others are counted in their slots.
    fn count_wait(&self, nanos: u64) {
        self.waited.add(1);
        self.wait_nanos.add(nanos);
    }
}

/// Work for the janitor.
enum Job<C> {
    Close(Claim<C>),
    Reset(Claim<C>),
    /// An opener has ended, with this failure if it failed.
    OpenerDone(Option<Arc<OpenFailure>>),
}

impl<D: Driver> Engine<D> {
    /// For a configuration that has been validated.
    pub(crate) fn new(driver: D, config: Config) -> Self {
        Self {
            driver,
            core: Core::new(config.max_size, config.idle_order),
            acquire_timeout: Figure::of(nanos(config.acquire_timeout)),
            config: ArcSwap::from_pointee(config),
            epoch: Figure::default(),
            reconfiguring: Mutex::default(),
            reconfigured: Counter::default(),
            jobs: SegQueue::new(),
            bell: Notify::new(),
            janitor: Seat::default(),
            alarm: Alarm::default(),
            clock: Clock::starting_now(),
            inspections: Moments::default(),
            janitor_left: Notify::new(),
            all_closed: CancellationToken::new(),
            last_failure: ArcSwapOption::empty(),
            denial: ArcSwapOption::empty(),
            events: Events::default(),
        }
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
        match reason {
            RetireReason::Broken => self.events.broken.add(1),
            RetireReason::Expired => self.events.expired.add(1),
            RetireReason::Idle => self.events.reaped.add(1),
            RetireReason::Closed | RetireReason::Excess | RetireReason::Outdated => {}
        }
        // Excess was counted when it was found.
        if reason != RetireReason::Excess {
            self.core.capacity.leaving();
        }
        self.core.table.show_resetting(&claim);
        self.call_janitor(Job::Close(claim));
    }

    fn call_janitor(&self, job: Job<D::Connection>) {
        self.jobs.push(job);
        self.bell.notify_one();
    }
}
