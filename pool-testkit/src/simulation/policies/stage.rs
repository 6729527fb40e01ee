//! A pool, its backend and those who use it, whatever policies are in force.

use std::time::Duration;

use pool_core::{Config, ConnectionId, OwnedLease, Pool, ScheduledLease, Tag};

use super::super::clock::{Clock, Sequence};
use super::super::model::{Checked, HOSTS};
use super::super::scenario::{Scenario, Step};
use super::super::signal::Polled;
use super::Policy;
use super::sharing::Sharer;
use super::users::Waiter;
use crate::fake::{FakeConnection, FakeDriver, InHand};
use crate::random::Random;

/// A lease of any kind.
pub(super) trait Lease {
    fn connection(&self) -> &FakeConnection;
    fn name(&self) -> ConnectionId;
    fn tags(&self) -> Vec<Tag>;
    fn tag(&self, tag: Tag);
    fn untag(&self, name: &str);
    fn discard(self: Box<Self>);
}

impl Lease for OwnedLease<FakeDriver> {
    fn connection(&self) -> &FakeConnection {
        self
    }

    fn name(&self) -> ConnectionId {
        self.connection_id()
    }

    fn tags(&self) -> Vec<Tag> {
        OwnedLease::tags(self)
    }

    fn tag(&self, tag: Tag) {
        let _ = OwnedLease::tag(self, tag);
    }

    fn untag(&self, name: &str) {
        OwnedLease::untag(self, name);
    }

    fn discard(self: Box<Self>) {
        OwnedLease::discard(*self);
    }
}

impl Lease for ScheduledLease<FakeDriver> {
    fn connection(&self) -> &FakeConnection {
        self
    }

    fn name(&self) -> ConnectionId {
        self.connection_id()
    }

    fn tags(&self) -> Vec<Tag> {
        ScheduledLease::tags(self)
    }

    fn tag(&self, tag: Tag) {
        let _ = ScheduledLease::tag(self, tag);
    }

    fn untag(&self, name: &str) {
        ScheduledLease::untag(self, name);
    }

    fn discard(self: Box<Self>) {
        ScheduledLease::discard(*self);
    }
}

/// Somebody has a connection, and uses it.
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) name: ConnectionId,
    pub(super) lease: Box<dyn Lease>,
    pub(super) in_hand: InHand,
    /// When it was leased, at the earliest, and at the latest.
    pub(super) since: (u64, u64),
    /// For which key, if a scheduler gave it.
    pub(super) tenant: Option<Tenant>,
}

/// Whom a request is for: a key by its number, or nobody in particular.
pub(super) type Tenant = Option<u64>;

/// Attempts to open a connection that the pool counts.
#[derive(Default)]
pub(super) struct Opening {
    /// Their hooks before the open go on.
    pub(super) hooks: usize,
    pub(super) connects: usize,
}

/// What the users have done, by their own books. Those who go through a scheduler are in its books at first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Books {
    pub(super) acquired: u64,
    pub(super) timeouts: u64,
    pub(super) cancelled: u64,
    pub(super) shed: u64,
    pub(super) failed: u64,
    pub(super) refused: u64,
}

#[allow(clippy::struct_excessive_bools)] // each is so or not, whatever the others are
pub(super) struct Stage {
    pub(super) driver: FakeDriver,
    pub(super) pool: Pool<FakeDriver>,
    pub(super) clock: Clock,
    pub(super) sequence: Sequence,
    /// As an operator has set it last, and when.
    pub(super) config: Config,
    pub(super) configured_at: u64,
    pub(super) held: Vec<Held>,
    pub(super) sharers: Vec<Sharer>,
    pub(super) waiters: Vec<Waiter>,
    /// The pool is closed, drained: they wait for that.
    pub(super) closes: Vec<Polled<()>>,
    pub(super) opening: Opening,
    pub(super) books: Books,
    pub(super) paused: bool,
    pub(super) closed: bool,
    /// Whether leases may have been cut off because the pool was closed.
    pub(super) aborted: bool,
    /// Since when nothing fails and nothing is slow; `None` while something may.
    pub(super) healthy_since: Option<u64>,
    /// When the clock has jumped last.
    pub(super) jumped_at: Option<u64>,
    /// As many connections as there may be, whatever a policy does.
    pub(super) most: usize,
    /// Whether the size is a policy's, too.
    pub(super) is_adapted: bool,
    /// Whether callers may have a connection that they have not taken yet, for a hook looks at it.
    pub(super) is_prepared: bool,
    /// Leases of users who have not got all that they want: at most now, and how many there have been that nobody got.
    pub(super) partial: usize,
    pub(super) unseen: u64,
    /// Whether others than those in the books use the pool.
    pub(super) is_scheduled: bool,
    /// Leases that have ended in this step, by tenant.
    pub(super) returned: Vec<Tenant>,
    /// Sizes that an operator has set since somebody asked.
    pub(super) sizes: Vec<usize>,
}

impl Stage {
    /// With the pool, built with all policies.
    pub(super) fn new(scenario: &Scenario, policies: &mut [Box<dyn Policy>]) -> Result<Self, String> {
        let driver = FakeDriver::new();
        driver.hosts(HOSTS);
        driver.ledger().keep_journal();
        let mut config = scenario.settings.clone();
        let mut random = Random::new(scenario.seed);
        for policy in policies.iter() {
            policy.settings(&mut config, &mut random);
        }
        let mut builder = Pool::builder(driver.clone()).config(config.clone()).seed(scenario.seed);
        for policy in policies.iter_mut() {
            policy.prepare(&driver);
            builder = policy.build(builder, &driver.ledger());
        }
        let pool = builder.build().map_err(|error| error.to_string())?;
        let stage = Self {
            driver,
            pool,
            clock: Clock::starting_now(),
            sequence: Sequence::default(),
            most: 0,
            config,
            configured_at: 0,
            held: Vec::new(),
            sharers: Vec::new(),
            waiters: Vec::new(),
            closes: Vec::new(),
            opening: Opening::default(),
            books: Books::default(),
            paused: false,
            closed: false,
            aborted: false,
            healthy_since: Some(0),
            jumped_at: None,
            is_adapted: false,
            is_prepared: false,
            partial: 0,
            unseen: 0,
            is_scheduled: false,
            returned: Vec::new(),
            sizes: Vec::new(),
        };
        Ok(stage)
    }

    pub(super) fn act(&mut self, step: &Step) -> Checked {
        match step {
            Step::TryAcquire => self.try_acquire(),
            Step::Acquire { limit, slow } => self.acquire(*limit, *slow),
            Step::Look(place) => self.look_at(*place),
            Step::Cancel(place) => {
                self.cancel(*place);
                Ok(())
            }
            Step::Release(place, end) => {
                self.release(*place, *end);
                Ok(())
            }
            other => {
                self.operate(other);
                Ok(())
            }
        }
    }

    fn operate(&mut self, step: &Step) {
        match step {
            Step::Evict(place) => self.evict(*place),
            Step::RetireAll => self.pool.retire_all(),
            Step::RetireAllOver(interval) => self.pool.retire_all_over(Duration::from_millis(*interval)),
            Step::RetireHost(host) => self.pool.retire_host(HOSTS[*host]),
            Step::Pause | Step::Resume => self.hold_up(matches!(step, Step::Pause)),
            Step::Close | Step::CloseWithin(_) => self.close(step),
            other => self.surroundings(other),
        }
    }

    fn surroundings(&mut self, step: &Step) {
        match step {
            Step::Fault(call, fault) => self.driver.script(*call, [*fault]),
            Step::Outage(call, fault) => self.driver.always(*call, *fault),
            Step::Storm(seed, odds) => self.driver.roll(*seed, *odds),
            Step::Calm => {
                self.driver.recover();
                self.healthy_since = Some(self.clock.now());
                return;
            }
            _ => return,
        }
        self.healthy_since = None;
    }

    fn evict(&mut self, place: usize) {
        if let Some(place) = place.checked_rem(self.held.len()) {
            self.pool.evict(self.held[place].name);
        }
    }

    pub(super) fn hold_up(&mut self, pause: bool) {
        self.paused = pause;
        if pause {
            self.pool.pause();
        } else {
            self.pool.resume();
        }
    }

    pub(super) fn reconfigure(&mut self, config: Config) -> Checked {
        self.pool.reconfigure(config.clone()).map_err(|error| error.to_string())?;
        self.sizes.push(config.max_size);
        (self.config, self.configured_at) = (config, self.clock.now());
        Ok(())
    }

    pub(super) fn close(&mut self, step: &Step) {
        self.closed = true;
        let (pool, limit) = (self.pool.clone(), if let Step::CloseWithin(limit) = step { Some(*limit) } else { None });
        self.aborted |= limit.is_some();
        let close = async move {
            match limit {
                Some(limit) => drop(pool.close_within(Duration::from_millis(limit)).await),
                None => pool.close().await,
            }
        };
        let mut close = Polled::new(&self.sequence, close);
        if close.poll().is_pending() {
            self.closes.push(close);
        }
    }

    /// There may be no more connections than these from now on.
    pub(super) fn set_limit(&self) {
        let (config, size) = (self.pool.config(), self.pool.state().size);
        self.driver.limit((config.max_size.max(self.most) + config.rotation_headroom).max(size));
    }
}
