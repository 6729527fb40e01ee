//! A pool and its model, which are told the same and have to agree after every step.

use std::pin::Pin;
use std::time::Duration;

use pool_core::{Config, OwnedLease, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step, prove_nothing_lost, quiet};
use proptest::prelude::*;

use super::callers::{Waiting, poll};
use super::model::{Counts, Line, Model};
use super::operation::{Operation, Sizes};

pub(crate) type Checked = Result<(), TestCaseError>;

/// The unit of time, in milliseconds. Deadlines are in the middle of a unit: nothing else happens at that moment.
pub(crate) const UNIT: u64 = 10;

pub(crate) struct World {
    pub(crate) driver: FakeDriver,
    pub(crate) pool: Pool<FakeDriver>,
    pub(crate) model: Model,
    pub(crate) leases: Vec<OwnedLease<FakeDriver>>,
    pub(crate) waiting: Vec<Waiting>,
}

fn settings(sizes: Sizes) -> Config {
    let mut config = quiet(sizes.max);
    (config.min_size, config.max_openers, config.idle_order) = (sizes.min, sizes.openers, sizes.order);
    let ages = Duration::from_hours(24);
    (config.connect_timeout, config.reset_timeout, config.close_timeout) = (ages, ages, ages);
    config
}

impl World {
    pub(crate) async fn new(sizes: Sizes) -> Result<Self, TestCaseError> {
        let driver = FakeDriver::new();
        let pool = Pool::builder(driver.clone()).config(settings(sizes)).build().unwrap();
        let mut world = Self { driver, pool, model: Model::new(sizes), leases: Vec::new(), waiting: Vec::new() };
        world.rest(0).await?;
        Ok(world)
    }

    pub(crate) async fn step(&mut self, operation: Operation) -> Checked {
        let mut time = 0;
        match operation {
            Operation::Cancel(place) => self.cancel(place),
            Operation::Release(place, end) => self.release(place, end),
            Operation::Sleep(units) => time = units,
            other => self.command(other),
        }
        self.ask(operation)?;
        self.rest(time).await
    }

    /// What is asked of the pool or of the backend as a whole.
    fn command(&mut self, operation: Operation) {
        match operation {
            Operation::Resize(sizes) => {
                self.driver.limit(sizes.max.max(self.model.size()));
                self.pool.reconfigure(settings(sizes)).unwrap();
                self.model.resize(sizes);
            }
            Operation::Replace => {
                self.pool.retire_all();
                self.model.replace();
            }
            Operation::Close => {
                let pool = self.pool.clone();
                let mut closing: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move { pool.close().await });
                // The first poll closes; the rest is waiting for leases.
                let _ = poll(&mut closing);
                self.model.close();
            }
            Operation::Hold(call) => {
                self.driver.always(call, Step::Hold);
                self.line(call).stands = true;
            }
            Operation::LetOne(call) => self.let_go(call, 1),
            Operation::LetAll(call) => {
                self.driver.always(call, Step::Ok);
                self.line(call).stands = false;
                self.let_go(call, usize::MAX);
            }
            _ => {}
        }
    }

    fn line(&mut self, call: Call) -> &mut Line {
        match call {
            Call::Connect => &mut self.model.connecting,
            Call::Reset => &mut self.model.resetting,
            _ => &mut self.model.closing,
        }
    }

    fn let_go(&mut self, call: Call, most: usize) {
        let count = self.line(call).inside.len().min(most);
        self.driver.let_go(call, count);
        let go_on = match call {
            Call::Connect => Model::open_one,
            Call::Reset => Model::reset_one,
            _ => Model::close_one,
        };
        (0..count).for_each(|_| go_on(&mut self.model));
    }

    /// Whatever is to happen in the background happens, and the two have to agree. Then time passes.
    async fn rest(&mut self, units: u64) -> Checked {
        self.model.open();
        tokio::time::sleep(Duration::from_millis(UNIT)).await;
        self.model.pass(UNIT);
        self.agree()?;
        // What is still being opened after the maximum was lowered may go on.
        self.driver.limit(self.model.sizes.max.max(self.model.size()));
        if units > 0 {
            tokio::time::sleep(Duration::from_millis(units * UNIT)).await;
            self.model.pass(units * UNIT);
            self.agree()?;
        }
        Ok(())
    }

    fn agree(&self) -> Checked {
        let (stats, model) = (self.pool.stats(), &self.model);
        let now = stats.state;
        prop_assert_eq!(now.size, model.size(), "size");
        prop_assert_eq!((now.idle, now.leased), (model.idle, model.leased()), "idle, leased");
        let background = (model.connecting.inside.len(), model.in_maintenance());
        prop_assert_eq!((now.opening, now.in_maintenance), background, "opening, in maintenance");
        prop_assert_eq!((now.waiting, now.max_size), (model.waiting(), model.sizes.max), "waiting, maximum");
        prop_assert_eq!(now.closed, model.closed, "closed");
        let counts = Counts {
            acquired: stats.acquired,
            waited: stats.waited,
            wait_time: u64::try_from(stats.wait_time.as_millis()).unwrap(),
            timeouts: stats.timeouts,
            cancelled: stats.cancelled,
            opened: stats.opened,
            closed: stats.closed,
            broken: stats.broken,
        };
        prop_assert_eq!(counts, model.counts);
        prop_assert_eq!(
            (stats.expired, stats.idle_timed_out, stats.open_failures),
            (0, 0, 0),
            "what cannot have happened"
        );
        self.driver.ledger().check();
        Ok(())
    }

    /// Everybody gives up and gives back, and nothing may be missing.
    pub(crate) async fn end(mut self) -> Checked {
        for call in [Call::Connect, Call::Reset, Call::Close] {
            self.step(Operation::LetAll(call)).await?;
        }
        drop((self.waiting, self.leases));
        self.driver.limit(self.model.sizes.max);
        if self.model.closed {
            self.pool.close().await;
            self.driver.ledger().settle(&self.pool.stats());
        } else {
            prove_nothing_lost(&self.pool, &self.driver).await;
        }
        Ok(())
    }
}
