//! A scheduler in front of a pool that cannot have as many connections as its settings let.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pool_core::{
    AcquireError, Attempt, Budget, Driver, ErrorClass, Pool, Priority, Request, ScheduleConfig, Scheduler,
    SessionState, Shed,
};
use pool_testkit::fake::{FakeDriver, quiet};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, is_pending};
use crate::schedule::{schedule, wait};

const MS: Duration = Duration::from_millis(1);
const SERVICE: Duration = Duration::from_millis(10);

fn member(budget: &Budget, driver: &FakeDriver, max_size: usize) -> Pool<FakeDriver> {
    Pool::builder(driver.clone()).config(quiet(max_size)).budget(budget).build().unwrap()
}

/// Three of low priority come, and then one of high. The priorities in the order in which they are served, once `held` is given back.
async fn order<D: Driver>(scheduler: &Scheduler<D>, held: impl Sized) -> Vec<Priority> {
    let (sender, mut served) = mpsc::unbounded_channel();
    for priority in [Priority::Low, Priority::Low, Priority::Low, Priority::High] {
        let (scheduler, sender) = (scheduler.clone(), sender.clone());
        tokio::spawn(async move {
            let lease = scheduler.acquire(Request::new().priority(priority)).await.unwrap();
            sender.send(priority).unwrap();
            sleep(SERVICE).await;
            drop(lease);
        });
        sleep(MS).await;
    }
    drop((held, sender));
    let mut order = Vec::new();
    while let Some(priority) = served.recv().await {
        order.push(priority);
    }
    order
}

#[tokio::test(start_paused = true)]
async fn what_a_budget_does_not_give_is_waited_for_in_the_order_of_the_scheduler() {
    let (budget, driver) = (Budget::new(1).unwrap(), FakeDriver::new());
    driver.limit(1);
    let pool = member(&budget, &driver, 4);
    let scheduler = schedule(&pool, |_| {});
    assert_eq!(scheduler.stats().limit, 1);
    let held = scheduler.acquire(Request::new()).await.unwrap();
    assert_eq!(order(&scheduler, held).await[0], Priority::High);
}

/// Waits until as many use a connection of each.
async fn until_in_use(schedulers: &[Scheduler<FakeDriver>], expected: &[usize]) {
    let begun = Instant::now();
    loop {
        let in_use: Vec<_> = schedulers.iter().map(|scheduler| scheduler.pool().state().leased).collect();
        if in_use == expected {
            return;
        }
        assert!(begun.elapsed() < 30 * SECOND, "{in_use:?}, expected {expected:?}");
        sleep(MS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn those_in_front_of_a_pool_have_their_part_of_a_budget() {
    let (budget, driver) = (Budget::new(6).unwrap(), FakeDriver::new());
    driver.limit(6);
    let pools = [member(&budget, &driver, 6), member(&budget, &driver, 6)];
    let schedulers: Vec<_> = pools.iter().map(|pool| schedule(pool, |config| config.foresee = false)).collect();
    let be_hungry = |scheduler: &Scheduler<FakeDriver>| {
        for _ in 0..20 {
            let scheduler = scheduler.clone();
            tokio::spawn(async move {
                loop {
                    let Ok(lease) = scheduler.acquire(Request::new().within(60 * SECOND)).await else { return };
                    sleep(SERVICE).await;
                    drop(lease);
                }
            });
        }
    };
    be_hungry(&schedulers[0]);
    until_in_use(&schedulers, &[6, 0]).await;
    assert!(schedulers[0].stats().waiting >= 13, "they wait in the line: {:?}", schedulers[0].stats());
    be_hungry(&schedulers[1]);
    until_in_use(&schedulers, &[3, 3]).await;
    sleep(SECOND).await;
    for scheduler in &schedulers {
        let (stats, waiting) = (scheduler.stats(), scheduler.pool().state().waiting);
        assert_eq!((stats.limit, waiting), (3, 0), "{stats:?}");
    }
    for pool in pools {
        pool.close_within(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_gets_as_many_as_a_budget_has_and_is_turned_away_if_it_never_has_so_many() {
    let (budget, driver) = (Budget::new(4).unwrap(), FakeDriver::new());
    driver.limit(4);
    let (other, pool) = (member(&budget, &driver, 4), member(&budget, &driver, 8));
    let scheduler = schedule(&pool, |_| {});
    let held = (other.acquire().await.unwrap(), other.acquire().await.unwrap());
    let too_many = scheduler.acquire_many(Request::new(), 5).await.map(drop).unwrap_err();
    assert!(
        matches!(&too_many, AcquireError::Shed { why, .. } if **why == Shed::Impossible { wanted: 5, max: 4 }),
        "{too_many}"
    );
    let mut three = Box::pin(scheduler.acquire_many(Request::new(), 3));
    assert!(is_pending(&mut three));
    sleep(SECOND).await;
    assert!(is_pending(&mut three), "only two are free");
    drop(held);
    assert_eq!(three.await.unwrap().len(), 3);
    scheduler.pool().close().await;
}

/// A backend that has so many connections.
struct Small(Arc<AtomicUsize>);

/// One of them.
struct Taken(Arc<AtomicUsize>);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Driver for Small {
    type Connection = Taken;
    type Error = io::Error;

    async fn connect(&self, _: &Attempt) -> Result<Taken, io::Error> {
        let taken = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1));
        taken.map(|_| Taken(Arc::clone(&self.0))).map_err(|_| io::Error::other("too many connections"))
    }
    fn inspect(&self, _: &mut Taken) -> SessionState {
        SessionState::Clean
    }
    fn classify(&self, _: &io::Error) -> ErrorClass {
        ErrorClass::Full
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_backend_is_full_one_waits_in_the_pool_and_all_others_in_the_order_of_the_scheduler() {
    let free = Arc::new(AtomicUsize::new(1));
    let pool = Pool::builder(Small(Arc::clone(&free))).config(quiet(4)).build().unwrap();
    let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
    let held = scheduler.acquire(Request::new()).await.unwrap();
    // The first who finds out.
    let mut first = Box::pin(scheduler.acquire(Request::new()));
    assert!(is_pending(&mut first));
    while scheduler.stats().limit > 2 {
        sleep(MS).await;
    }
    let served = tokio::spawn({
        let scheduler = scheduler.clone();
        async move { order(&scheduler, ()).await }
    });
    sleep(10 * MS).await;
    assert_eq!((scheduler.stats().waiting, pool.state().waiting), (4, 1));
    drop(held);
    drop(first.await.unwrap());
    assert_eq!(served.await.unwrap()[0], Priority::High);
    // There is room again, and somebody has waited for it.
    free.fetch_add(3, Ordering::SeqCst);
    let all = scheduler.acquire_many(Request::new(), 4).await;
    assert_eq!(all.unwrap().len(), 4);
    assert_eq!(scheduler.stats().limit, 4);
}

/// What another runtime's janitor has found out, when the backend has more again.
#[test]
fn a_backend_that_is_not_full_any_more_is_known_to_be_so_whoever_finds_out() {
    let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let free = Arc::new(AtomicUsize::new(1));
    let (scheduler, held) = runtime().block_on(async {
        let pool = Pool::builder(Small(Arc::clone(&free))).config(quiet(4)).build().unwrap();
        let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
        let held = scheduler.acquire(Request::new()).await.unwrap();
        assert!(scheduler.acquire(Request::new().within(SECOND)).await.is_err());
        (scheduler, held)
    });
    assert_eq!(scheduler.stats().limit, 2);
    runtime().block_on(async {
        free.fetch_add(10, Ordering::SeqCst);
        let second = scheduler.acquire(Request::new()).await.unwrap();
        drop(scheduler.acquire(Request::new().within(20 * SECOND)).await.unwrap());
        drop((held, second));
    });
}

/// Takes all that a pool can have in one task, and wants one more. What comes of that.
async fn wait_for_itself(pool: &Pool<FakeDriver>, count: usize) -> Result<(), AcquireError> {
    let pool = pool.clone();
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        for _ in 0..count {
            held.push(pool.acquire_owned().await.unwrap());
        }
        pool.acquire_timeout(SECOND).await.map(drop)
    });
    task.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_itself_is_refused_though_it_is_the_budget_that_has_no_more() {
    let (budget, driver) = (Budget::new(3).unwrap(), FakeDriver::new());
    driver.limit(3);
    let mut config = quiet(10);
    config.refuse_self_wait = true;
    let pool = Pool::builder(driver.clone()).config(config).budget(&budget).build().unwrap();
    let other = member(&budget, &driver, 10);
    let lent = other.acquire().await.unwrap();
    let late = wait_for_itself(&pool, 2).await.unwrap_err();
    assert!(matches!(late, AcquireError::Timeout { .. }), "the other pool may give one back: {late}");
    drop(lent);
    let refused = wait_for_itself(&pool, 3).await.unwrap_err();
    assert!(matches!(refused, AcquireError::SelfWait { .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_for_itself_in_front_of_a_pool_is_refused() {
    let driver = FakeDriver::new();
    let mut config = quiet(2);
    config.refuse_self_wait = true;
    let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
    let scheduler = schedule(&pool, |config| config.kept = 1);
    let (task, line) = (scheduler.clone(), line!() + 2);
    let task = tokio::spawn(async move {
        let held = task.acquire(Request::new()).await.unwrap();
        let outcome = task.acquire(Request::new()).await.map(drop);
        (held, outcome)
    });
    let (held, outcome) = task.await.unwrap();
    let error = outcome.unwrap_err();
    let AcquireError::SelfWait { held_at, .. } = &error else { panic!("{error}") };
    assert_eq!((held_at.file(), held_at.line()), (file!(), line));
    assert_eq!((scheduler.stats().waiting, pool.stats().self_waits, pool.stats().refused), (0, 1, 1));
    drop(pool.acquire().await.unwrap());
    let mut waiter = wait(&scheduler, Request::new());
    assert!(is_pending(&mut waiter), "who has none waits");
    drop(held);
    drop(waiter.await.unwrap());
}

/// A task that waits for the quota of a key, which somebody else uses up, does not wait for itself.
#[tokio::test(start_paused = true)]
async fn a_task_that_has_a_connection_may_wait_for_a_quota() {
    let driver = FakeDriver::new();
    let mut config = quiet(3);
    config.refuse_self_wait = true;
    let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
    pool.warm_up(3, Duration::ZERO, SECOND).await.unwrap();
    let scheduler = schedule(&pool, |config| config.quotas.entry("a".into()).or_default().max = Some(1));
    let theirs = scheduler.acquire(Request::new().key("a")).await.unwrap();
    let task = tokio::spawn(async move {
        let own = scheduler.acquire(Request::new()).await.unwrap();
        let outcome = scheduler.acquire(Request::new().key("a")).await.map(drop);
        drop(own);
        outcome
    });
    sleep(SECOND).await;
    drop(theirs);
    task.await.unwrap().unwrap();
    assert_eq!(pool.stats().self_waits, 0);
}
