//! A pool, its backend and its users, on a clock that stands still until everybody waits.

use std::collections::HashMap;
use std::time::Duration;

use pool_core::{Config, ConnectionId, OwnedLease, Pool};
use tokio::time::{advance, sleep};

use super::callers::Waiter;
use super::connection::Place;
use super::ensure;
use super::model::{Checked, Demand, HOSTS, Model, Whom};
use super::scenario::{End, Scenario, Step};
use super::watchers::Watcher;
use crate::fake::{Entry, FakeConnection, FakeDriver, InHand};

/// Somebody has a connection, and uses it.
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) lease: OwnedLease<FakeDriver>,
    pub(super) in_hand: InHand,
}

pub(super) struct World {
    pub(super) driver: FakeDriver,
    pub(super) pool: Pool<FakeDriver>,
    pub(super) model: Model,
    pub(super) leases: Vec<Held>,
    pub(super) waiters: Vec<Waiter>,
    pub(super) watchers: Vec<Watcher>,
    /// What the pool calls those that were leased.
    pub(super) names: HashMap<u64, ConnectionId>,
    /// What the backend saw in the last step.
    pub(super) journal: Vec<Entry>,
}

/// After every step, so that the background gets its turn.
const A_MOMENT: Duration = Duration::from_millis(1);

impl World {
    pub(super) async fn new(scenario: &Scenario) -> Result<Self, String> {
        let driver = FakeDriver::new();
        driver.hosts(HOSTS);
        driver.ledger().keep_journal();
        let model = Model::new(&scenario.settings);
        let builder = Pool::builder(driver.clone()).config(scenario.settings.clone()).seed(scenario.seed);
        let pool = builder.build().map_err(|error| error.to_string())?;
        let (leases, waiters, watchers) = (Vec::new(), Vec::new(), Vec::new());
        let (names, journal) = (HashMap::new(), Vec::new());
        let mut world = Self { driver, pool, model, leases, waiters, watchers, names, journal };
        world.set_limit();
        world.rest(0).await?;
        Ok(world)
    }

    pub(super) async fn step(&mut self, step: &Step) -> Checked {
        self.journal.clear();
        (self.model.excess, self.model.jumped) = (false, 0);
        self.model.note_excess();
        self.model.calm.note(step, self.model.clock.now());
        self.set_limit();
        self.act(step)?;
        match step {
            Step::Sleep(time) => self.rest(*time).await,
            Step::Jump(time) => {
                self.model.jumped = *time;
                advance(Duration::from_millis(*time)).await;
                self.rest(0).await
            }
            _ => self.rest(0).await,
        }
    }

    fn act(&mut self, step: &Step) -> Checked {
        match step {
            Step::TryAcquire => self.try_acquire(),
            Step::Acquire { limit, slow } => self.acquire(*limit, *slow),
            Step::Look(place) => self.look(*place),
            Step::Release(place, end) => self.release(*place, *end),
            Step::Cancel(place) => {
                self.cancel(*place);
                Ok(())
            }
            other => self.operate(other),
        }
    }

    fn operate(&mut self, step: &Step) -> Checked {
        match step {
            Step::Adopt => self.adopt_one(),
            Step::Evict(place) => self.evict(*place),
            Step::Ready(limit) => self.ready(*limit),
            Step::WarmUp { size, interval, limit } => self.warm_up(*size, *interval, *limit),
            Step::Drain => self.drain(),
            Step::Reconfigure(config) => self.reconfigure(config),
            Step::Close => self.close(),
            Step::CloseWithin(limit) => self.close_within(*limit),
            other => {
                self.command(other);
                Ok(())
            }
        }
    }

    fn command(&mut self, step: &Step) {
        match step {
            Step::RetireAll => {
                self.demand(Whom::All);
                self.pool.retire_all();
            }
            Step::RetireAllOver(interval) => {
                self.demand(Whom::By(self.model.clock.now() + interval));
                self.pool.retire_all_over(Duration::from_millis(*interval));
            }
            Step::RetireHost(host) => {
                self.demand(Whom::Host(*host));
                self.pool.retire_host(HOSTS[*host]);
            }
            Step::Pause => {
                self.model.paused = true;
                self.model.breaker.nobody_waits = false;
                self.pool.pause();
            }
            Step::Resume => {
                (self.model.paused, self.model.resumed) = (false, self.model.sequence.next());
                self.pool.resume();
            }
            other => self.surroundings(other),
        }
    }

    fn surroundings(&mut self, step: &Step) {
        match step {
            Step::Fault(call, fault) => self.driver.script(*call, [*fault]),
            Step::Outage(call, fault) => self.driver.always(*call, *fault),
            Step::Storm(seed, odds) => self.driver.roll(*seed, *odds),
            Step::Calm => self.driver.recover(),
            _ => {}
        }
    }

    fn demand(&mut self, whom: Whom) {
        let number = self.model.sequence.next();
        self.model.demands.push(Demand { number, whom });
    }

    fn reconfigure(&mut self, config: &Config) -> Checked {
        self.pool.reconfigure(config.clone()).map_err(|error| error.to_string())?;
        self.model.config = config.clone();
        self.model.breaker.follow(config, self.model.clock.now());
        self.model.note_excess();
        self.set_limit();
        Ok(())
    }

    /// A connection that was opened elsewhere.
    fn adopt_one(&mut self) -> Checked {
        // It exists beside those of the pool.
        self.driver.limit(usize::MAX);
        let connection = self.driver.open();
        self.hear_journal()?;
        let outcome = self.adopt(connection);
        self.set_limit();
        outcome
    }

    pub(super) fn adopt(&mut self, connection: FakeConnection) -> Checked {
        let (id, has_room) = (connection.id(), self.model.size() < self.model.config.max_size);
        let adopted = self.pool.adopt(connection).is_ok();
        ensure!(adopted == (has_room && !self.model.closed), "adopted: {adopted}, though there is room: {has_room}");
        if adopted {
            self.model.adopt(id);
        }
        Ok(())
    }

    /// The connection at this place, among those that have a name.
    fn evict(&mut self, place: usize) -> Checked {
        let mut ids: Vec<_> = self.names.keys().copied().collect();
        ids.sort_unstable();
        let Some(place) = place.checked_rem(ids.len()) else { return Ok(()) };
        let id = ids[place];
        let evicted = self.pool.evict(self.names[&id]);
        let connection = self.model.known(id)?;
        ensure!(evicted == connection.is_live(), "evicted: {evicted}, and connection {id} is {:?}", connection.place);
        connection.evicted |= evicted;
        Ok(())
    }

    /// There may be no more connections than these from now on.
    fn set_limit(&self) {
        let config = &self.model.config;
        self.driver.limit((config.max_size + config.rotation_headroom).max(self.model.size()));
    }

    fn hear_journal(&mut self) -> Checked {
        for entry in self.driver.ledger().take_journal() {
            self.model.hear(&entry)?;
            self.journal.push(entry);
        }
        Ok(())
    }

    /// Time passes, and whatever is to happen in the background happens. Then everything has to be as it should.
    async fn rest(&mut self, time: u64) -> Checked {
        sleep(Duration::from_millis(time).max(A_MOMENT)).await;
        self.hear_journal()?;
        while self.look_all()? {
            sleep(A_MOMENT).await;
            self.hear_journal()?;
        }
        self.watch_all()?;
        self.hear_journal()?;
        self.check(time)
    }

    /// Everybody gives up and gives back, and nothing may be missing.
    pub(super) async fn end(&mut self) -> Checked {
        self.give_up_all()?;
        self.rest(A_LONG_TIME).await?;
        if !self.model.closed {
            self.have_all().await?;
        }
        self.close()?;
        self.release_all()?;
        // Nobody who watches may be left after that.
        self.rest(0).await?;
        let left = self.model.connections.len() - self.model.count(&[Place::Gone]);
        ensure!(left == 0 && self.driver.ledger().live() == 0, "{left} connections are left after the close");
        Ok(())
    }

    fn give_up_all(&mut self) -> Checked {
        self.journal.clear();
        self.model.calm.note(&Step::Calm, self.model.clock.now());
        self.command(&Step::Calm);
        self.command(&Step::Resume);
        self.watchers.clear();
        while !self.waiters.is_empty() {
            self.cancel(0);
        }
        self.release_all()
    }

    fn release_all(&mut self) -> Checked {
        while !self.leases.is_empty() {
            self.release(0, End::Clean)?;
        }
        Ok(())
    }

    /// As many connections as there may be can be had at once.
    async fn have_all(&mut self) -> Checked {
        let max_size = self.model.config.max_size;
        for _ in 0..max_size {
            self.acquire(A_LONG_TIME, false)?;
        }
        while !self.waiters.is_empty() {
            self.rest(1).await?;
        }
        let leased = self.leases.len();
        ensure!(leased == max_size, "only {leased} of {max_size} connections can be had: {:?}", self.pool.state());
        Ok(())
    }
}

/// Long enough for everything to come to rest, but for the longest limits.
const A_LONG_TIME: u64 = 10_000;
