//! What is done with a connection before somebody gets it who prefers it: conversions, checks and hooks.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_core::{
    AcquireError, Attempt, ConnectionFacts, ConvertFailure, Driver, ErrorClass, Fit, HandOut, HookError, HookPoint,
    Hooks, Pool, Preference, SessionState, Tag,
};
use pool_testkit::cancel::for_each_cancellation;
use pool_testkit::fake::{Call, FakeConnection, FakeDriver, Step, quiet};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, sleep_until};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet_pool, until};
use crate::schedule::all;
use crate::tags::{HALF, patient, prefer, preferring, tenant, tenants};

#[tokio::test(start_paused = true)]
async fn a_conversion_that_does_not_succeed_costs_the_connection_and_is_told() {
    let told = |text: &str| format!("converting the tenant of a connection {text}");
    let patience = 5 * SECOND;
    for (step, text, time) in [
        (Step::Fail, "failed: the fake backend refuses to Convert (Transient)", Duration::ZERO),
        (Step::FailForGood, "failed: the fake backend refuses to Convert (Permanent)", Duration::ZERO),
        (Step::Panic, "panicked: the fake backend was told to panic in Convert", Duration::ZERO),
        (Step::Hang, "took longer than 5s", patience),
    ] {
        let driver = FakeDriver::new();
        let pool = quiet_pool(&driver, 1);
        drop(tenants(&pool, 1).await);
        driver.script(Call::Convert, [step]);
        let started = Instant::now();
        let error = prefer(&pool, &patient("7")).await.unwrap_err();
        let AcquireError::Convert { failure, .. } = &error else { panic!("{error}") };
        assert_eq!((failure.to_string(), started.elapsed()), (told(text), time));
        assert!(error.to_string().contains(&told(text)), "{error}");
        assert_eq!(prefer(&pool, &patient("0")).await.unwrap().0, 1, "the first one is closed");
        let stats = pool.stats();
        assert_eq!((stats.errors.conversions, stats.missed, stats.converted, stats.broken), (1, 2, 1, 1));
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversion_takes_no_longer_than_its_caller_waits() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    driver.script(Call::Convert, [Step::Hang]);
    let started = Instant::now();
    let error = prefer(&pool, &patient("7").within(HALF)).await.unwrap_err();
    let AcquireError::Convert { failure, .. } = &error else { panic!("{error}") };
    assert!(matches!(&**failure, ConvertFailure::TimedOut { after, .. } if *after == HALF), "{failure}");
    assert_eq!(started.elapsed(), HALF);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_while_it_is_converted_costs_the_connection() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    drop(tenants(&pool, 1).await);
    driver.script(Call::Convert, [Step::Hang]);
    let wish = patient("7");
    let mut converting = Box::pin(pool.acquire_preferring(&wish));
    assert!(is_pending(&mut converting));
    assert_eq!(driver.begun(Call::Convert), 1);
    drop(converting);
    let lease = pool.acquire().await.unwrap();
    assert_eq!((lease.id(), lease.tags()), (1, Vec::new()));
    drop(lease);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_gives_up_while_it_is_patient_is_counted_and_loses_nothing() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = tenants(&pool, 1).await;
    let wish = patient("0");
    let mut seeking = Box::pin(pool.acquire_preferring(&wish));
    assert!(is_pending(&mut seeking));
    // It comes back to one that does not look any more.
    drop(held);
    drop(seeking);
    let stats = pool.stats();
    assert_eq!((stats.cancelled, stats.state.idle, stats.acquired), (1, 1, 1));
    assert_eq!(stats.acquired, stats.immediate + stats.waited - stats.cancelled);
    prove_nothing_lost(&pool, &driver).await;
}

/// Whatever is done with it on the way, an acquire may be dropped at any of its polls.
#[test]
fn an_acquire_by_preference_may_be_dropped_at_any_poll() {
    let mut all = 0;
    for call in [Call::Ping, Call::Convert, Call::Reset] {
        for step in Step::ALL {
            // Of the first, which may be idle, or come back; or of none.
            for (value, is_idle) in [("0", true), ("0", false), ("7", true), ("7", false)] {
                all += for_each_cancellation(|cut| {
                    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
                    runtime.block_on(async {
                        let (driver, mut config) = (FakeDriver::new(), quiet(2));
                        config.check_after_idle = Some(2 * SECOND);
                        let pool = pool_with(&driver, config);
                        let mut leases = tenants(&pool, 2).await;
                        let held = (!is_idle).then(|| leases.remove(0));
                        drop(leases);
                        sleep(10 * SECOND).await;
                        driver.dawdle(1);
                        driver.always(call, step);
                        let giving_back = async {
                            sleep(HALF).await;
                            if let Some(lease) = &held {
                                lease.make_dirty();
                            }
                            drop(held);
                        };
                        let wish = patient(value).within(2 * SECOND);
                        let seeking = cut.apply(pool.acquire_preferring(&wish));
                        let ended = tokio::join!(seeking, giving_back).0.is_some();
                        driver.dawdle(0);
                        driver.let_go(call, 100);
                        prove_nothing_lost(&pool, &driver).await;
                        ended
                    })
                });
            }
        }
    }
    println!("{all} cases");
    assert!(all > 250, "{all}");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_idle_for_long_is_checked_first() {
    for (step, id, fit) in
        [(Step::Ok, 1, Fit::AtOnce), (Step::Fail, 0, Fit::Converted), (Step::Hang, 0, Fit::Converted)]
    {
        let (driver, mut config) = (FakeDriver::new(), quiet(2));
        config.check_after_idle = Some(SECOND);
        config.check_timeout = HALF;
        let pool = pool_with(&driver, config);
        drop(tenants(&pool, 2).await);
        sleep(10 * SECOND).await;
        driver.script(Call::Ping, [step]);
        let got = prefer(&pool, &patient("1")).await.unwrap();
        assert_eq!((got.0, got.1), (id, fit), "{step:?}");
        let failed = u64::from(step != Step::Ok);
        assert_eq!((pool.stats().errors.pings, pool.stats().broken), (failed, failed));
        prove_nothing_lost(&pool, &driver).await;
    }
}

type Seen = Vec<(HookPoint, Vec<Tag>)>;

/// Notes the tags that it sees, and refuses when it is told to.
#[derive(Clone, Default)]
struct Seeing {
    seen: Arc<Mutex<Seen>>,
    refuses: Arc<Mutex<bool>>,
}

impl Seeing {
    async fn see(&self, point: HookPoint, facts: &ConnectionFacts) {
        self.seen.lock().unwrap().push((point, facts.tags.clone()));
        // Somebody else has a turn in the middle of it.
        tokio::task::yield_now().await;
    }
}

impl Hooks<FakeConnection> for Seeing {
    fn points(&self) -> &[HookPoint] {
        &[HookPoint::BeforeHandOut, HookPoint::OnRelease, HookPoint::BeforeClose]
    }

    async fn before_hand_out(&self, _: &mut FakeConnection, facts: &ConnectionFacts) -> HandOut {
        self.see(HookPoint::BeforeHandOut, facts).await;
        if *self.refuses.lock().unwrap() { HandOut::Refuse("as told".into()) } else { HandOut::Use }
    }

    async fn on_release(&self, _: &mut FakeConnection, facts: &ConnectionFacts) -> Result<(), HookError> {
        self.see(HookPoint::OnRelease, facts).await;
        Ok(())
    }

    async fn before_close(&self, _: &mut FakeConnection, facts: &ConnectionFacts) {
        self.see(HookPoint::BeforeClose, facts).await;
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_are_called_and_see_the_tags() {
    let (driver, hooks) = (FakeDriver::new(), Seeing::default());
    driver.limit(2);
    let pool = Pool::builder(driver.clone()).config(quiet(2)).hooks(hooks.clone()).build().unwrap();
    let mut leases = tenants(&pool, 2).await;
    hooks.seen.lock().unwrap().clear();
    let held = leases.pop();
    let seeker = preferring(&pool, patient("1")).await;
    sleep(HALF).await;
    drop(held);
    assert_eq!(seeker.await.unwrap().unwrap(), (1, Fit::Waited, HALF));
    until(&pool, |state| state.idle == 1).await;
    assert_eq!(prefer(&pool, &patient("1")).await.unwrap(), (1, Fit::AtOnce, Duration::ZERO));
    until(&pool, |state| state.idle == 1).await;
    *hooks.refuses.lock().unwrap() = true;
    let refused = prefer(&pool, &patient("1")).await;
    assert!(matches!(refused, Err(AcquireError::Hook { .. })), "{refused:?}");
    until(&pool, |state| state.idle == 1).await;
    drop(leases);
    pool.close().await;
    let seen = hooks.seen.lock().unwrap().clone();
    let of = |tag: &str, point| seen.iter().filter(|(at, tags)| (*at, &tags[..]) == (point, &[tenant(tag)])).count();
    let points = [HookPoint::BeforeHandOut, HookPoint::OnRelease, HookPoint::BeforeClose];
    assert_eq!(points.map(|point| of("1", point)), [3, 4, 1], "{seen:?}");
    assert_eq!(points.map(|point| of("0", point)), [0, 1, 1], "{seen:?}");
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn while_leases_are_watched_it_is_known_who_has_one() {
    let (driver, mut config) = (FakeDriver::new(), quiet(1));
    config.leak_after = Some(60 * SECOND);
    let pool = pool_with(&driver, config);
    drop(tenants(&pool, 1).await);
    let wish = patient("0");
    let line = line!() + 1;
    let held = pool.acquire_preferring(&wish).await.unwrap();
    let holders = pool.holders();
    assert_eq!(holders[0].place.map(|place| (place.file(), place.line())), Some((file!(), line)));
    drop(held);
    prove_nothing_lost(&pool, &driver).await;
}

/// Outside of a runtime nobody is patient.
#[test]
fn outside_of_a_runtime_one_that_is_idle_can_be_had() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let driver = FakeDriver::new();
    let pool = runtime.block_on(async {
        let pool = quiet_pool(&driver, 1);
        drop(tenants(&pool, 1).await);
        pool
    });
    let wish = patient("0");
    let (lease, fit) = crate::common::ready(&mut Box::pin(pool.acquire_preferring(&wish))).unwrap();
    assert_eq!(fit, Fit::AtOnce);
    let outcome = crate::common::ready(&mut Box::pin(pool.acquire_preferring(&wish)));
    assert!(matches!(outcome, Err(AcquireError::NoRuntime { .. })));
    drop(outcome);
    drop(lease);
    runtime.block_on(prove_nothing_lost(&pool, &driver));
}

/// Whoever gets its connection so late that it could not be converted leaves it to the next one.
#[tokio::test(start_paused = true)]
async fn in_an_overload_conversions_cost_no_connections() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 4);
    let ms = Duration::from_millis(1);
    driver.always(Call::Connect, Step::Delay(50 * ms));
    driver.always(Call::Convert, Step::Delay(2 * ms));
    let started = Instant::now();
    let one = |number: u32| {
        let pool = pool.clone();
        tokio::spawn(async move {
            sleep_until(started + SECOND / 1_200 * number).await;
            let wish = Preference::tag(tenant(&(number % 50).to_string())).within(HALF);
            let lease = pool.acquire_preferring(&wish).await.ok()?;
            sleep(10 * ms).await;
            drop(lease);
            Some(())
        })
    };
    let served = all((0..1_200 * 5).map(one).collect()).await.into_iter().flatten().count();
    let stats = pool.stats();
    assert!(stats.opened <= 6, "{} opened, {} conversions failed", stats.opened, stats.errors.conversions);
    assert!(served > 1_500, "{served}");
    driver.recover();
    prove_nothing_lost(&pool, &driver).await;
}

/// A connection that has to be checked is left to those who have the time for it.
#[tokio::test(start_paused = true)]
async fn a_check_that_would_take_too_long_costs_no_connection() {
    let (driver, mut config) = (FakeDriver::new(), quiet(2));
    config.check_after_idle = Some(2 * SECOND);
    let pool = pool_with(&driver, config);
    drop(tenants(&pool, 2).await);
    driver.always(Call::Ping, Step::Delay(HALF));
    sleep(10 * SECOND).await;
    assert_eq!(prefer(&pool, &patient("0")).await.unwrap(), (0, Fit::AtOnce, HALF));
    sleep(10 * SECOND).await;
    let hurried = prefer(&pool, &patient("0").within(HALF / 2)).await.unwrap_err();
    assert!(matches!(hurried, AcquireError::Timeout { .. }), "{hurried}");
    sleep(SECOND).await;
    assert_eq!((pool.stats().opened, pool.state().idle), (2, 2), "none was closed");
    prove_nothing_lost(&pool, &driver).await;
}

/// One round trip sets the tenant, and a reset forgets it.
#[derive(Debug, Default)]
struct Session {
    tenant: Option<String>,
    is_dirty: bool,
}

struct Sessions {
    /// The tags that a reset leaves.
    kept: &'static str,
}

impl Driver for Sessions {
    type Connection = Session;
    type Error = io::Error;

    async fn connect(&self, _: &Attempt) -> Result<Session, io::Error> {
        Ok(Session::default())
    }
    fn inspect(&self, session: &mut Session) -> SessionState {
        if session.is_dirty { SessionState::Dirty } else { SessionState::Clean }
    }
    async fn reset(&self, session: &mut Session) -> Result<(), io::Error> {
        *session = Session::default();
        Ok(())
    }
    fn reset_keeps(&self, tag: &Tag) -> bool {
        assert_ne!(tag.name(), "rude", "a driver that panics");
        tag.name() == self.kept
    }
    async fn convert(&self, session: &mut Session, wanted: &Tag) -> Result<(), io::Error> {
        session.tenant = Some(wanted.value().to_owned());
        Ok(())
    }
    fn classify(&self, _: &io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_reset_does_not_keep_the_connection_is_no_longer() {
    let pool = Pool::builder(Sessions { kept: "region" }).min_size(0).max_size(1).build().unwrap();
    let wish = Preference::tag(tenant("7"));
    let (lease, fit) = pool.acquire_preferring(&wish).await.unwrap();
    assert_eq!((fit, lease.tenant.as_deref()), (Fit::Converted, Some("7")));
    let region = Tag::new("region", "north").unwrap();
    lease.tag(region.clone()).unwrap();
    lease.tag(Tag::new("rude", "yes").unwrap()).unwrap();
    drop(lease);
    let (mut lease, fit) = pool.acquire_preferring(&wish).await.unwrap();
    assert_eq!(fit, Fit::AtOnce, "nothing was reset");
    lease.is_dirty = true;
    drop(lease);
    let (lease, fit) = pool.acquire_preferring(&wish).await.unwrap();
    assert_eq!((fit, lease.tenant.as_deref()), (Fit::Converted, Some("7")));
    assert_eq!(lease.tags(), [region, tenant("7")]);
}
