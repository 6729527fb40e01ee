//! Hooks: when they are called, and what becomes of the connection and of its caller.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_core::{AcquireError, ConnectionFacts, HandOut, HookError, HookFailure, HookPoint, Hooks, OpenFailure, Pool};
use pool_testkit::cancel::for_each_cancellation;
use pool_testkit::fake::{Call, FakeConnection, FakeDriver, Step, prove_whole, quiet};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, is_pending, prove_nothing_lost, until};

const ALL: [HookPoint; 5] = [
    HookPoint::BeforeOpen,
    HookPoint::AfterOpen,
    HookPoint::BeforeHandOut,
    HookPoint::OnRelease,
    HookPoint::BeforeClose,
];

/// What a hook does when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Nothing,
    Fail,
    Hang,
    Panic,
    /// Of the hook before the hand-out alone.
    CloseAndRefuse,
    TryAnother,
}

type Calls = Arc<Mutex<Vec<(HookPoint, Option<ConnectionFacts>)>>>;

/// Notes every call, and does what it is told.
#[derive(Clone)]
struct Told {
    points: Vec<HookPoint>,
    calls: Calls,
    /// What it does at a point the next times; nothing afterwards.
    deeds: Arc<Mutex<Vec<(HookPoint, Deed)>>>,
}

impl Told {
    fn at(points: &[HookPoint]) -> Self {
        Self { points: points.to_vec(), calls: Arc::default(), deeds: Arc::default() }
    }

    fn next(&self, point: HookPoint, deed: Deed) {
        self.deeds.lock().unwrap().push((point, deed));
    }

    fn called(&self) -> Vec<HookPoint> {
        self.calls.lock().unwrap().iter().map(|(point, _)| *point).collect()
    }

    fn facts(&self, point: HookPoint) -> ConnectionFacts {
        let calls = self.calls.lock().unwrap();
        let last = calls.iter().rfind(|(called, _)| *called == point);
        last.and_then(|(_, facts)| facts.clone()).unwrap()
    }

    async fn call(&self, point: HookPoint, facts: Option<&ConnectionFacts>) -> Result<Deed, HookError> {
        self.calls.lock().unwrap().push((point, facts.cloned()));
        // Somebody else has a turn in the middle of it.
        tokio::task::yield_now().await;
        let deed = {
            let mut deeds = self.deeds.lock().unwrap();
            let next = deeds.iter().position(|(at, _)| *at == point);
            next.map_or(Deed::Nothing, |next| deeds.remove(next).1)
        };
        match deed {
            Deed::Fail => Err("as told".into()),
            Deed::Panic => panic!("as told"),
            Deed::Hang => pending().await,
            deed => Ok(deed),
        }
    }
}

impl Hooks<FakeConnection> for Told {
    fn points(&self) -> &[HookPoint] {
        &self.points
    }

    fn timeout(&self, _: HookPoint) -> Duration {
        SECOND
    }

    async fn before_open(&self) -> Result<(), HookError> {
        self.call(HookPoint::BeforeOpen, None).await.map(drop)
    }

    async fn after_open(&self, _: &mut FakeConnection, facts: &ConnectionFacts) -> Result<(), HookError> {
        self.call(HookPoint::AfterOpen, Some(facts)).await.map(drop)
    }

    async fn before_hand_out(&self, _: &mut FakeConnection, facts: &ConnectionFacts) -> HandOut {
        match self.call(HookPoint::BeforeHandOut, Some(facts)).await {
            Ok(Deed::CloseAndRefuse) => HandOut::CloseAndRefuse("as told".into()),
            Ok(Deed::TryAnother) => HandOut::CloseAndTryAnother,
            Ok(_) => HandOut::Use,
            Err(error) => HandOut::Refuse(error),
        }
    }

    async fn on_release(&self, _: &mut FakeConnection, facts: &ConnectionFacts) -> Result<(), HookError> {
        self.call(HookPoint::OnRelease, Some(facts)).await.map(drop)
    }

    async fn before_close(&self, _: &mut FakeConnection, facts: &ConnectionFacts) {
        let _ = self.call(HookPoint::BeforeClose, Some(facts)).await;
    }
}

fn hooked(driver: &FakeDriver, hooks: &Told, max_size: usize) -> Pool<FakeDriver> {
    driver.limit(max_size);
    let mut config = quiet(max_size);
    config.acquire_timeout = 10 * SECOND;
    Pool::builder(driver.clone()).config(config).hooks(hooks.clone()).build().unwrap()
}

async fn at_rest(pool: &Pool<FakeDriver>) {
    until(pool, |state| state.leased + state.in_maintenance + state.opening == 0).await;
}

#[tokio::test(start_paused = true)]
async fn each_is_called_in_its_place_with_what_is_known() {
    use HookPoint::{AfterOpen, BeforeClose, BeforeHandOut, BeforeOpen, OnRelease};
    let (driver, hooks) = (FakeDriver::new(), Told::at(&ALL));
    driver.hosts(["db"]);
    let pool = hooked(&driver, &hooks, 1);
    for _ in 0..2 {
        drop(pool.acquire().await.unwrap());
        at_rest(&pool).await;
        sleep(5 * SECOND).await;
    }
    drop(pool.acquire().await.unwrap());
    let last = hooks.facts(HookPoint::BeforeHandOut);
    assert_eq!((last.uses, last.host.as_deref()), (2, Some("db")));
    assert!((9..=11).contains(&last.age.as_secs()) && (4..=6).contains(&last.idle.as_secs()), "{last:?}");
    at_rest(&pool).await;
    pool.close().await;
    let each = [BeforeHandOut, OnRelease];
    let expected = [&[BeforeOpen, AfterOpen][..], &each, &each, &each, &[BeforeClose]].concat();
    assert_eq!(hooks.called(), expected);
    assert_eq!(hooks.facts(BeforeClose).id, hooks.facts(AfterOpen).id, "one connection, one name");
    assert!(
        hooks.facts(BeforeClose).uses == 3 && hooks.facts(BeforeClose).age >= last.age,
        "{:?}",
        hooks.facts(BeforeClose)
    );
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn where_nobody_asked_for_it_none_is_called() {
    let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::AfterOpen]));
    let pool = hooked(&driver, &hooks, 1);
    drop(pool.acquire().await.unwrap());
    assert!(pool.try_acquire().is_ok(), "a connection that was given back is idle at once");
    assert_eq!(hooks.called(), [HookPoint::AfterOpen]);
    prove_nothing_lost(&pool, &driver).await;
}

fn failure(error: &AcquireError) -> &HookFailure {
    match error {
        AcquireError::Hook { failure, .. } => failure,
        AcquireError::Timeout { failure: Some(failure), .. } => match &**failure {
            OpenFailure::Hook(failure) => failure,
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

/// A hook before the hand-out does this once. What the caller is told, if it gets no connection, and how many connections have been opened when the next one has one.
async fn handed_out(deed: Deed) -> (Option<String>, u64) {
    let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::BeforeHandOut]));
    let pool = hooked(&driver, &hooks, 1);
    hooks.next(HookPoint::BeforeHandOut, deed);
    let told = pool.acquire().await.map(drop).err().map(|error| failure(&error).to_string());
    drop(pool.acquire().await.unwrap());
    let opened = pool.stats().opened;
    prove_nothing_lost(&pool, &driver).await;
    (told, opened)
}

#[tokio::test(start_paused = true)]
async fn what_a_hook_before_the_hand_out_answers_is_done() {
    let told = |text: &str| Some(format!("the hook before the hand-out {text}"));
    assert_eq!(handed_out(Deed::Nothing).await, (None, 1));
    assert_eq!(handed_out(Deed::Fail).await, (told("failed: as told"), 1));
    assert_eq!(handed_out(Deed::CloseAndRefuse).await, (told("failed: as told"), 2));
    assert_eq!(handed_out(Deed::TryAnother).await, (None, 2));
    assert_eq!(handed_out(Deed::Panic).await, (told("panicked: as told"), 2));
    assert_eq!(handed_out(Deed::Hang).await, (told("took longer than 1s"), 2));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_finds_none_good_enough_ends_with_the_time_of_its_caller() {
    let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::BeforeHandOut]));
    driver.always(Call::Connect, Step::Delay(SECOND));
    let pool = hooked(&driver, &hooks, 20);
    (0..100).for_each(|_| hooks.next(HookPoint::BeforeHandOut, Deed::TryAnother));
    let started = Instant::now();
    let error = pool.acquire().await.map(drop).unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!(started.elapsed(), 10 * SECOND);
    hooks.deeds.lock().unwrap().clear();
    driver.recover();
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_likes_none_of_as_many_as_there_can_be_is_not_asked_for_ever() {
    let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::BeforeHandOut]));
    driver.always(Call::Connect, Step::Delay(SECOND / 2));
    let pool = hooked(&driver, &hooks, 3);
    (0..100).for_each(|_| hooks.next(HookPoint::BeforeHandOut, Deed::TryAnother));
    let error = pool.acquire().await.map(drop).unwrap_err();
    let AcquireError::Hook { failure, .. } = &error else { panic!("{error}") };
    assert_eq!(failure.to_string(), "the hook before the hand-out had 4 connections closed, one after the other");
    assert_eq!((pool.stats().opened, pool.stats().failed), (4, 1));
    hooks.deeds.lock().unwrap().clear();
    driver.recover();
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_wait_gets_no_connection_that_a_hook_has_to_see() {
    let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::BeforeHandOut]));
    let pool = hooked(&driver, &hooks, 1);
    drop(pool.acquire().await.unwrap());
    assert!(matches!(pool.try_acquire(), Err(AcquireError::Unavailable { .. })));
    assert_eq!(pool.state().idle, 1);
    prove_nothing_lost(&pool, &driver).await;
}

/// A hook around an open does this. What the first caller is told, if it gets none in time.
async fn opened(point: HookPoint, deed: Deed) -> Option<String> {
    let (driver, hooks) = (FakeDriver::new(), Told::at(&[point]));
    let pool = hooked(&driver, &hooks, 1);
    // However often it is tried.
    (0..100).for_each(|_| hooks.next(point, deed));
    let limit = SECOND + Duration::from_millis(1);
    let told = pool.acquire_timeout(limit).await.map(drop).err().map(|error| failure(&error).to_string());
    hooks.deeds.lock().unwrap().clear();
    // A connection whose hook fails has never been the pool's: the ledger of the backend has more.
    prove_whole(&pool).await;
    assert_eq!(driver.ledger().live(), 0);
    told
}

#[tokio::test(start_paused = true)]
async fn a_hook_around_an_open_fails_the_attempt() {
    for (point, name) in [(HookPoint::BeforeOpen, "before the open"), (HookPoint::AfterOpen, "after the open")] {
        let told = |text: &str| Some(format!("the hook {name} {text}"));
        assert_eq!(opened(point, Deed::Nothing).await, None);
        assert_eq!(opened(point, Deed::Fail).await, told("failed: as told"));
        assert_eq!(opened(point, Deed::Panic).await, told("panicked: as told"));
        assert_eq!(opened(point, Deed::Hang).await, told("took longer than 1s"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_on_release_that_fails_costs_the_connection_and_nobody_his_turn() {
    for (deed, opened) in [(Deed::Nothing, 1), (Deed::Fail, 2), (Deed::Panic, 2), (Deed::Hang, 2)] {
        let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::OnRelease]));
        let pool = hooked(&driver, &hooks, 1);
        let held = pool.acquire().await.unwrap();
        hooks.next(HookPoint::OnRelease, deed);
        let mut waiter = Box::pin(pool.acquire());
        assert!(is_pending(&mut waiter));
        drop(held);
        assert_eq!((pool.state().idle, pool.state().in_maintenance), (0, 1), "nobody has it while the hook does");
        drop(waiter.await.unwrap());
        assert_eq!(pool.stats().opened, opened, "{deed:?}");
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_reset_before_its_hook_sees_it() {
    let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::OnRelease]));
    let pool = hooked(&driver, &hooks, 1);
    let held = pool.acquire().await.unwrap();
    held.make_dirty();
    drop(held);
    at_rest(&pool).await;
    assert_eq!((driver.begun(Call::Reset), hooks.called().len(), pool.state().idle), (1, 1, 1));
    let broken = pool.acquire().await.unwrap();
    broken.break_it();
    drop(broken);
    at_rest(&pool).await;
    assert_eq!(hooks.called().len(), 1, "there is nothing to be done for one that is broken");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_hook_before_a_close_holds_it_up_for_a_limited_time() {
    for deed in [Deed::Nothing, Deed::Panic, Deed::Hang] {
        let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::BeforeClose]));
        let pool = hooked(&driver, &hooks, 1);
        drop(pool.acquire().await.unwrap());
        hooks.next(HookPoint::BeforeClose, deed);
        let started = Instant::now();
        pool.close().await;
        assert!(started.elapsed() <= SECOND, "{deed:?}");
        assert_eq!((hooks.called().len(), driver.begun(Call::Close)), (1, 1), "{deed:?}");
        driver.ledger().settle(&pool.stats());
    }
}

/// Whatever the hooks do, an acquire may be dropped at any of its polls.
#[test]
fn an_acquire_may_be_dropped_at_any_poll_of_its_hooks() {
    let mut all = 0;
    for deed in [Deed::Nothing, Deed::Fail, Deed::Hang, Deed::Panic, Deed::CloseAndRefuse, Deed::TryAnother] {
        all += for_each_cancellation(|cut| {
            let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let (driver, hooks) = (FakeDriver::new(), Told::at(&ALL));
                let pool = hooked(&driver, &hooks, 2);
                hooks.next(HookPoint::BeforeHandOut, deed);
                let ended = cut.apply(pool.acquire()).await.is_some();
                hooks.deeds.lock().unwrap().clear();
                prove_nothing_lost(&pool, &driver).await;
                ended
            })
        });
    }
    println!("{all} cases");
    assert!(all > 60, "{all}");
}

/// Whoever gives up while a hook has his connection has waited for it.
#[tokio::test(start_paused = true)]
async fn an_acquire_that_is_dropped_in_its_hook_counts_as_cancelled() {
    let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::BeforeHandOut]));
    let pool = hooked(&driver, &hooks, 1);
    hooks.next(HookPoint::BeforeHandOut, Deed::Hang);
    assert!(tokio::time::timeout(SECOND / 2, pool.acquire()).await.is_err());
    let stats = pool.stats();
    assert_eq!((stats.acquired, stats.waited, stats.cancelled), (0, 1, 1));
    assert_eq!(stats.wait_time, SECOND / 2);
    prove_nothing_lost(&pool, &driver).await;
}

/// Whether it may stay is asked once: another answer would let it stay unseen by its hook.
#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_before_its_hook_on_release_is_not_used_again() {
    let (driver, hooks) = (FakeDriver::new(), Told::at(&[HookPoint::OnRelease]));
    let pool = hooked(&driver, &hooks, 1);
    let held = pool.acquire().await.unwrap();
    driver.script(Call::Inspect, [Step::Ok, Step::Fail]);
    drop(held);
    at_rest(&pool).await;
    assert_eq!((hooks.called().len(), pool.stats().broken, pool.state().idle), (0, 1, 0));
    prove_nothing_lost(&pool, &driver).await;
}

/// Outside of a runtime nobody could wait for a hook.
#[test]
fn outside_of_a_runtime_no_hook_is_called() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (driver, hooks) = (FakeDriver::new(), Told::at(&ALL));
    let pool = runtime.block_on(async {
        let pool = hooked(&driver, &hooks, 1);
        drop(pool.acquire().await.unwrap());
        at_rest(&pool).await;
        pool
    });
    let mut acquire = Box::pin(pool.acquire());
    let outcome = crate::common::ready(&mut acquire);
    assert!(matches!(outcome, Err(AcquireError::NoRuntime { .. })));
    runtime.block_on(prove_nothing_lost(&pool, &driver));
}

/// Takes 2 ms before each hand-out.
struct Slow;

impl Hooks<FakeConnection> for Slow {
    fn points(&self) -> &[HookPoint] {
        &[HookPoint::BeforeHandOut]
    }

    async fn before_hand_out(&self, _: &mut FakeConnection, _: &ConnectionFacts) -> HandOut {
        sleep(Duration::from_millis(2)).await;
        HandOut::Use
    }
}

/// Three times as many callers as can be served, each of whom waits for half a second at most.
#[tokio::test(start_paused = true)]
async fn in_an_overload_a_hook_costs_no_connections() {
    const CALLERS: u32 = 12_000;
    let driver = FakeDriver::new();
    driver.limit(4);
    driver.always(Call::Connect, Step::Delay(Duration::from_millis(50)));
    let mut config = quiet(4);
    config.acquire_timeout = SECOND / 2;
    let pool = Pool::builder(driver.clone()).config(config).hooks(Slow).build().unwrap();
    let callers = (0..CALLERS).map(|number| {
        let pool = pool.clone();
        tokio::spawn(async move {
            sleep(SECOND / 1_200 * number).await;
            let lease = pool.acquire().await.ok()?;
            sleep(Duration::from_millis(10)).await;
            drop(lease);
            Some(())
        })
    });
    let mut served = 0;
    for caller in callers.collect::<Vec<_>>() {
        served += usize::from(caller.await.unwrap().is_some());
    }
    let stats = pool.stats();
    // Of 12 ms each, on four connections for ten seconds, are some 3,300.
    assert!(served > 3_000 && stats.opened < 20, "{served} served, {} opened, {} failed", stats.opened, stats.failed);
    driver.recover();
    prove_nothing_lost(&pool, &driver).await;
}
