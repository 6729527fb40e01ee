//! Any sequence of what users, backends and clocks do to a pool loses nothing.
#![no_main]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use pool_core::{AcquireError, Config, OwnedLease, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step};

type Waiting = Pin<Box<dyn Future<Output = Result<OwnedLease<FakeDriver>, AcquireError>>>>;

const MAX_SIZE: usize = 4;

struct World {
    driver: FakeDriver,
    pool: Pool<FakeDriver>,
    leases: Vec<OwnedLease<FakeDriver>>,
    waiting: Vec<Waiting>,
}

impl World {
    fn new() -> Self {
        let driver = FakeDriver::new();
        driver.limit(MAX_SIZE);
        let mut config = Config::default();
        config.max_size = MAX_SIZE;
        config.min_size = 1;
        config.idle_timeout = Some(Duration::from_secs(3));
        config.max_lifetime = Some(Duration::from_secs(20));
        config.health_check_interval = Some(Duration::from_secs(2));
        let pool = Pool::builder(driver.clone()).config(config).build().expect("the settings are valid");
        Self { driver, pool, leases: Vec::new(), waiting: Vec::new() }
    }

    async fn act(&mut self, operation: u8, argument: u8) {
        match operation % 8 {
            0 => self.leases.extend(self.pool.try_acquire_owned()),
            1 => self.start_waiting(argument),
            2 => self.poll_all(),
            3 => drop(remove(&mut self.waiting, argument)),
            4 => self.release(argument),
            5 => self.driver.script(call(argument), [step(argument)]),
            6 => tokio::time::sleep(Duration::from_millis(u64::from(argument) * 20)).await,
            _ => tokio::task::yield_now().await,
        }
    }

    fn start_waiting(&mut self, argument: u8) {
        let (pool, limit) = (self.pool.clone(), Duration::from_millis(u64::from(argument) * 10));
        self.waiting.push(Box::pin(async move { pool.acquire_owned_timeout(limit).await }));
        self.poll_all();
    }

    fn poll_all(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let leases = &mut self.leases;
        self.waiting.retain_mut(|waiting| match waiting.as_mut().poll(&mut context) {
            std::task::Poll::Ready(outcome) => {
                leases.extend(outcome);
                false
            }
            std::task::Poll::Pending => true,
        });
    }

    fn release(&mut self, argument: u8) {
        let Some(lease) = remove(&mut self.leases, argument) else { return };
        drop(lease.take_in_hand());
        match argument >> 6 {
            0 => lease.make_dirty(),
            1 => lease.break_it(),
            2 => return lease.discard(),
            _ => {}
        }
    }

    async fn settle(self) {
        let Self { driver, pool, leases, waiting } = self;
        drop((leases, waiting));
        driver.recover();
        let mut leases = Vec::new();
        for _ in 0..MAX_SIZE {
            leases.push(pool.acquire_timeout(Duration::from_secs(60)).await.expect("every slot can be had"));
        }
        drop(leases);
        pool.close().await;
        driver.ledger().settle(&pool.stats());
        assert_eq!(driver.ledger().live(), 0);
    }
}

fn remove<T>(list: &mut Vec<T>, argument: u8) -> Option<T> {
    (!list.is_empty()).then(|| list.swap_remove(usize::from(argument) % list.len()))
}

fn call(argument: u8) -> Call {
    [Call::Connect, Call::Inspect, Call::Reset, Call::Ping, Call::Close][usize::from(argument) % 5]
}

/// No panics: libFuzzer would take the one that is caught for a finding.
fn step(argument: u8) -> Step {
    let delay = Step::Delay(Duration::from_millis(u64::from(argument)));
    [Step::Fail, Step::FailForGood, Step::Hang, delay][usize::from(argument / 5) % 4]
}

fuzz_target!(|operations: Vec<(u8, u8)>| {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new();
        for (operation, argument) in operations.into_iter().take(200) {
            world.act(operation, argument).await;
        }
        world.settle().await;
    });
});
