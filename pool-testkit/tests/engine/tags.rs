//! Tags on connections, and those who prefer one that has them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_core::{AcquireError, ConnectionFacts, Fit, IdleOrder, Lease, Pool, Preference, Tag, TagError};
use pool_testkit::fake::{Call, FakeConnection, FakeDriver, Step, quiet};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet_pool, until};

pub(crate) type Wish = Preference<FakeConnection>;

pub(crate) fn tenant(value: &str) -> Tag {
    Tag::new("tenant", value).unwrap()
}

/// Somebody who prefers a tenant, and has patience for a second.
pub(crate) fn patient(value: &str) -> Wish {
    Preference::tag(tenant(value)).grace(SECOND)
}

/// A pool with so many connections, all leased, of the tenants `0`, `1` and so on.
pub(crate) async fn tenants(pool: &Pool<FakeDriver>, number: usize) -> Vec<Lease<'_, FakeDriver>> {
    let mut leases = Vec::new();
    for value in 0..number {
        let lease = pool.acquire().await.unwrap();
        lease.tag(tenant(&value.to_string())).unwrap();
        leases.push(lease);
    }
    leases
}

/// What somebody got who prefers something: the connection, how it fits, and after how long. It is given back.
pub(crate) type Got = Result<(u64, Fit, Duration), AcquireError>;

pub(crate) async fn prefer(pool: &Pool<FakeDriver>, wish: &Wish) -> Got {
    let started = Instant::now();
    let (lease, fit) = pool.acquire_preferring(wish).await?;
    Ok((lease.id(), fit, started.elapsed()))
}

/// As `prefer`, in a task, which is waiting by the time that this returns.
pub(crate) async fn preferring(pool: &Pool<FakeDriver>, wish: Wish) -> JoinHandle<Got> {
    let pool = pool.clone();
    let task = tokio::spawn(async move { prefer(&pool, &wish).await });
    tokio::task::yield_now().await;
    assert!(!task.is_finished(), "it waits");
    task
}

pub(crate) const HALF: Duration = Duration::from_millis(500);

#[tokio::test(start_paused = true)]
async fn one_that_fits_is_taken_at_once_whoever_used_another_last() {
    for order in [IdleOrder::Recent, IdleOrder::Fifo, IdleOrder::LeastRecentlyUsed] {
        let (driver, mut config) = (FakeDriver::new(), quiet(3));
        config.idle_order = order;
        let pool = pool_with(&driver, config);
        // The first one is released last.
        tenants(&pool, 3).await.into_iter().rev().for_each(drop);
        for (value, id) in [("2", 2), ("1", 1), ("0", 0), ("2", 2), ("2", 2)] {
            assert_eq!(prefer(&pool, &patient(value)).await.unwrap(), (id, Fit::AtOnce, Duration::ZERO));
        }
        let stats = pool.stats();
        assert_eq!((stats.preferred, stats.missed, stats.converted), (5, 0, 0));
        assert_eq!((stats.immediate, driver.begun(Call::Convert)), (5, 0));
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_one_is_converted_and_has_the_tag_then() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire().await.unwrap();
    lease.tag(tenant("0")).unwrap();
    lease.tag(Tag::new("role", "reader").unwrap()).unwrap();
    drop(lease);
    // Nobody has one that fits: there is nothing to be patient for.
    let started = Instant::now();
    let wish = patient("7");
    let (lease, fit) = pool.acquire_owned_preferring(&wish).await.unwrap();
    assert_eq!((fit, started.elapsed()), (Fit::Converted, Duration::ZERO));
    assert_eq!(lease.converted("tenant").as_deref(), Some("7"));
    assert_eq!(lease.tags(), [Tag::new("role", "reader").unwrap(), tenant("7")]);
    drop(lease);
    assert_eq!(prefer(&pool, &wish).await.unwrap().1, Fit::AtOnce);
    assert_eq!(prefer(&pool, &patient("0")).await.unwrap().1, Fit::Converted);
    let stats = pool.stats();
    assert_eq!((stats.preferred, stats.missed, stats.converted, stats.opened), (1, 2, 2, 1));
    prove_nothing_lost(&pool, &driver).await;
}

/// However it comes back.
#[tokio::test(start_paused = true)]
async fn one_that_comes_back_within_the_grace_is_waited_for() {
    for is_dirty in [false, true] {
        let driver = FakeDriver::new();
        let pool = quiet_pool(&driver, 2);
        driver.always(Call::Reset, Step::Delay(SECOND / 4));
        let [other, held] = <[_; 2]>::try_from(tenants(&pool, 2).await).unwrap();
        drop(other);
        let seeker = preferring(&pool, patient("1")).await;
        sleep(HALF).await;
        if is_dirty {
            held.make_dirty();
        }
        drop(held);
        let (id, fit, waited) = seeker.await.unwrap().unwrap();
        let expected = if is_dirty { HALF + SECOND / 4 } else { HALF };
        assert_eq!((id, fit, waited), (1, Fit::Waited, expected));
        let stats = pool.stats();
        assert_eq!((stats.preferred, stats.missed, stats.waited, stats.wait_time), (1, 0, 3, expected));
        prove_nothing_lost(&pool, &driver).await;
    }
}

/// Most leases of a connection that has been used for long are not looked at closely.
#[tokio::test(start_paused = true)]
async fn one_that_comes_back_is_noticed_however_often_it_was_used() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let [other, held] = <[_; 2]>::try_from(tenants(&pool, 2).await).unwrap();
    drop(held);
    for _ in 0..400 {
        drop(pool.acquire().await.unwrap());
    }
    let held = pool.acquire().await.unwrap();
    drop(other);
    let seeker = preferring(&pool, patient("1")).await;
    sleep(HALF).await;
    drop(held);
    assert_eq!(seeker.await.unwrap().unwrap(), (1, Fit::Waited, HALF));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn when_the_grace_is_over_any_will_do() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let mut leases = tenants(&pool, 2).await;
    let held = leases.pop();
    drop(leases);
    assert_eq!(prefer(&pool, &patient("1")).await.unwrap(), (0, Fit::Converted, SECOND));
    let hurried = patient("1").within(HALF);
    drop(held);
    assert_eq!(prefer(&pool, &hurried).await.unwrap().2, Duration::ZERO);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn the_grace_is_part_of_the_time_that_there_is() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = tenants(&pool, 1).await;
    let started = Instant::now();
    let error = prefer(&pool, &patient("0").within(3 * HALF)).await.unwrap_err();
    assert!(matches!(error, AcquireError::Timeout { .. }), "{error}");
    assert_eq!(started.elapsed(), 3 * HALF);
    assert_eq!(error.situation().unwrap().waited, 3 * HALF, "the grace is told, too");
    drop(held);
    prove_nothing_lost(&pool, &driver).await;
}

/// What may become of the one that is waited for, instead of coming back.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_one_that_does_not_come_back() {
    type Fate = fn(&Pool<FakeDriver>, Lease<'_, FakeDriver>);
    let fates: [Fate; 5] = [
        |_, held| held.discard(),
        |_, held| drop(held.detach()),
        |_, held| held.break_it(),
        |pool, held| {
            assert!(pool.evict(held.connection_id()));
            drop(held);
        },
        |pool, held| {
            pool.retire_all();
            drop(held);
        },
    ];
    for fate in fates {
        let driver = FakeDriver::new();
        let pool = quiet_pool(&driver, 4);
        let mut leases = tenants(&pool, 2).await;
        let held = leases.pop().unwrap();
        drop(leases);
        driver.always(Call::Close, Step::Delay(SECOND / 4));
        let seeker = preferring(&pool, patient("1")).await;
        sleep(HALF).await;
        fate(&pool, held);
        let (id, fit, waited) = seeker.await.unwrap().unwrap();
        assert_eq!((fit, waited), (Fit::Converted, HALF));
        assert_ne!(id, 1);
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_in_the_queue_is_not_overtaken() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = tenants(&pool, 1).await;
    // One is patient before anybody waits, one comes when somebody does.
    let patient_one = preferring(&pool, patient("0").grace(60 * SECOND)).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let waiter = tokio::spawn({
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        async move {
            let lease = pool.acquire().await.unwrap();
            order.lock().unwrap().push("waiter");
            sleep(HALF).await;
            drop(lease);
        }
    });
    until(&pool, |state| state.waiting == 1).await;
    let behind = tokio::spawn({
        let (pool, order) = (pool.clone(), Arc::clone(&order));
        async move {
            let wish = patient("0");
            let (lease, fit) = pool.acquire_preferring(&wish).await.unwrap();
            order.lock().unwrap().push("behind");
            assert_eq!(fit, Fit::Waited, "it is the one, by chance");
            drop(lease);
        }
    });
    until(&pool, |state| state.waiting == 2).await;
    drop(held);
    waiter.await.unwrap();
    behind.await.unwrap();
    assert_eq!(*order.lock().unwrap(), ["waiter", "behind"]);
    assert_eq!(patient_one.await.unwrap().unwrap().1, Fit::Waited);
    prove_nothing_lost(&pool, &driver).await;
}

/// Who waits for a check beside a connection that is idle, and would have to be checked, too.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_check_is_not_overtaken() {
    let (driver, mut config) = (FakeDriver::new(), quiet(2));
    config.check_after_idle = Some(SECOND);
    let pool = pool_with(&driver, config);
    drop(tenants(&pool, 2).await);
    sleep(10 * SECOND).await;
    driver.always(Call::Ping, Step::Hold);
    let mut waiter = Box::pin(pool.acquire());
    assert!(is_pending(&mut waiter));
    driver.reached(Call::Ping, 1).await;
    let state = pool.state();
    assert_eq!((state.idle, state.checking, state.waiting), (1, 1, 1));
    let wishes = [patient("0"), patient("1")];
    let mut behind = wishes.each_ref().map(|wish| Box::pin(pool.acquire_preferring(wish)));
    assert!(behind.iter_mut().all(is_pending));
    assert_eq!(pool.state().waiting, 3, "both are in the queue");
    driver.let_go(Call::Ping, 10);
    drop(waiter.await.unwrap());
    for behind in behind {
        drop(behind.await.unwrap());
    }
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn two_who_prefer_the_same_one_have_it_one_after_the_other() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 3);
    let mut leases = tenants(&pool, 3).await;
    let held = leases.pop();
    drop(leases);
    let first = preferring(&pool, patient("2")).await;
    let second = preferring(&pool, patient("2")).await;
    sleep(HALF).await;
    drop(held);
    for seeker in [first, second] {
        assert_eq!(seeker.await.unwrap().unwrap(), (2, Fit::Waited, HALF));
    }
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_pause_nobody_gets_one_that_fits() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    drop(tenants(&pool, 2).await);
    pool.pause();
    let paused = preferring(&pool, patient("1")).await;
    sleep(2 * SECOND).await;
    assert!(!paused.is_finished());
    pool.resume();
    assert_eq!(paused.await.unwrap().unwrap().2, 2 * SECOND);
    // One that is paused for while it is patient.
    let held = tenants(&pool, 1).await;
    let patient_one = preferring(&pool, patient("0").grace(60 * SECOND)).await;
    pool.pause();
    drop(held);
    sleep(2 * SECOND).await;
    assert!(!patient_one.is_finished());
    pool.resume();
    let (_, fit, waited) = patient_one.await.unwrap().unwrap();
    assert!(fit.fits());
    assert_eq!(waited, 2 * SECOND);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_closed_is_not_waited_for() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let held = tenants(&pool, 1).await;
    let seeker = preferring(&pool, patient("0")).await;
    let started = Instant::now();
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close().await }
    });
    assert!(matches!(seeker.await.unwrap(), Err(AcquireError::Closed)));
    assert!(matches!(prefer(&pool, &patient("0")).await, Err(AcquireError::Closed)));
    assert_eq!(started.elapsed(), Duration::ZERO);
    drop(held);
    closing.await.unwrap();
    driver.ledger().settle(&pool.stats());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_to_be_replaced_fits_nobody() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    drop(tenants(&pool, 1).await);
    pool.retire_all();
    let (id, fit, _) = prefer(&pool, &patient("0")).await.unwrap();
    assert_eq!((id, fit), (1, Fit::Converted));
    assert_eq!(pool.stats().outdated, 1);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn tags_end_with_the_connection() {
    type End = fn(&Pool<FakeDriver>, Lease<'_, FakeDriver>);
    let ends: [End; 4] = [
        |_, lease| lease.discard(),
        |_, lease| drop(lease.detach()),
        |pool, lease| {
            assert!(pool.evict(lease.connection_id()));
            drop(lease);
        },
        |pool, lease| {
            drop(lease);
            pool.retire_all();
        },
    ];
    for end in ends {
        let driver = FakeDriver::new();
        let pool = quiet_pool(&driver, 1);
        let lease = pool.acquire().await.unwrap();
        lease.tag(tenant("0")).unwrap();
        end(&pool, lease);
        let lease = pool.acquire().await.unwrap();
        assert_eq!((lease.id(), lease.tags()), (1, Vec::new()), "the next one in the same place");
        drop(lease);
        assert_eq!(prefer(&pool, &patient("0")).await.unwrap().1, Fit::Converted);
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_one_tag_of_a_name_and_a_limited_number() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let lease = pool.acquire().await.unwrap();
    lease.tag(tenant("0")).unwrap();
    lease.tag(tenant("1")).unwrap();
    assert_eq!(lease.tags(), [tenant("1")]);
    assert_eq!((lease.untag("role"), lease.untag("tenant"), lease.tags()), (None, Some(tenant("1")), Vec::new()));
    let numbered = |number: usize| Tag::new(format!("tag {number}"), "").unwrap();
    (0..Tag::MOST).for_each(|number| lease.tag(numbered(number)).unwrap());
    assert_eq!(lease.tag(tenant("0")), Err(TagError::TooMany { most: Tag::MOST }));
    lease.tag(Tag::new("tag 3", "another value").unwrap()).unwrap();
    drop(lease);
    // For one that is converted to there is room: the oldest goes.
    let (lease, fit) = pool.acquire_owned_preferring(&patient("7")).await.unwrap();
    let tags = lease.tags();
    assert_eq!((fit, tags.len()), (Fit::Converted, Tag::MOST));
    assert!(tags.contains(&tenant("7")) && !tags.contains(&numbered(0)), "{tags:?}");
    drop(lease);
    prove_nothing_lost(&pool, &driver).await;
}

#[test]
fn a_tag_has_a_name_and_a_limited_length() {
    let long = |bytes| "x".repeat(bytes);
    assert!(Tag::new(long(Tag::MAX_NAME), long(Tag::MAX_VALUE)).is_ok());
    assert_eq!(Tag::new("", "7"), Err(TagError::NoName));
    let name = Tag::new(long(65), "").unwrap_err();
    assert_eq!(name.to_string(), "the name of a tag has 65 bytes; allowed: 64");
    let value = Tag::new("tenant", long(1025)).unwrap_err();
    assert_eq!(value, TagError::TooLong { part: "value", bytes: 1025, most: 1024 });
    assert_eq!(tenant("7").to_string(), "tenant = 7");
}

#[tokio::test(start_paused = true)]
async fn a_predicate_chooses_among_the_idle_ones() {
    let driver = FakeDriver::new();
    driver.hosts(["a", "b"]);
    let pool = quiet_pool(&driver, 3);
    let mut leases = tenants(&pool, 3).await;
    let of_host = |host: &'static str| {
        Preference::matching(move |facts: &ConnectionFacts, _: &FakeConnection| facts.host.as_deref() == Some(host))
    };
    assert_eq!(leases.pop().unwrap().tags(), [tenant("2")]);
    drop(leases);
    let got = async |wish: &Wish| prefer(&pool, wish).await.map(|(id, fit, _)| (id, fit)).unwrap();
    assert_eq!(got(&of_host("b")).await, (1, Fit::AtOnce));
    assert_eq!(got(&of_host("c").grace(SECOND)).await.1, Fit::Other);
    let by_tag = Preference::matching(|facts: &ConnectionFacts, _: &_| facts.tags.contains(&tenant("2")));
    assert_eq!(got(&by_tag).await, (2, Fit::AtOnce));
    assert_eq!(got(&Preference::matching(|_, connection: &FakeConnection| connection.id() == 2)).await.0, 2);
    let panicking = Preference::matching(|_, _: &FakeConnection| panic!("as told"));
    assert_eq!(got(&panicking).await.1, Fit::Other);
    let stats = pool.stats();
    assert_eq!((stats.preferred, stats.missed, stats.state.idle), (3, 2, 3), "the others are idle as before");
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_comes_back_to_the_connection_that_it_had() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 2);
    let sticky = |key: &str| Wish::sticky(Tag::new("user", key).unwrap());
    let keep = async |key: &str| pool.acquire_owned_preferring(&sticky(key)).await.unwrap();
    let (one, two) = (keep("1").await, keep("2").await);
    assert_eq!((one.1, two.1, one.0.id(), two.0.id()), (Fit::Other, Fit::Other, 0, 1));
    assert_eq!(one.0.tags(), [], "a key is no tag");
    drop((one, two));
    for (key, id) in [("1", 0), ("2", 1), ("1", 0), ("1", 0), ("2", 1)] {
        assert_eq!(prefer(&pool, &sticky(key)).await.unwrap(), (id, Fit::AtOnce, Duration::ZERO));
    }
    assert_eq!(driver.begun(Call::Convert), 0);
    // Somebody else has it: the key moves to another one, and stays there.
    let held = keep("1").await;
    assert_eq!(prefer(&pool, &sticky("1")).await.unwrap(), (1, Fit::Other, Duration::ZERO));
    drop(held);
    assert_eq!(prefer(&pool, &sticky("1")).await.unwrap(), (1, Fit::AtOnce, Duration::ZERO));
    // It is forgotten with its connection.
    let (lease, _) = keep("2").await;
    lease.discard();
    assert_eq!(prefer(&pool, &sticky("2")).await.unwrap().1, Fit::Other);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_knows_a_limited_number_of_keys() {
    let driver = FakeDriver::new();
    let pool = quiet_pool(&driver, 1);
    let sticky = |key: usize| Wish::sticky(Tag::new("user", key.to_string()).unwrap());
    for key in 0..=Tag::MOST {
        assert_eq!(prefer(&pool, &sticky(key)).await.unwrap().1, Fit::Other);
    }
    for key in 1..=Tag::MOST {
        assert_eq!(prefer(&pool, &sticky(key)).await.unwrap().1, Fit::AtOnce);
    }
    assert_eq!(prefer(&pool, &sticky(0)).await.unwrap().1, Fit::Other, "the oldest is forgotten");
    prove_nothing_lost(&pool, &driver).await;
}
