//! Connections that several use at a time.

use std::time::Duration;

use pool_core::{AcquireError, Config, Pool};
use pool_testkit::fake::{Call, Door, FakeDriver, Step};

use crate::common::{SECOND, is_pending, pool_with, prove_nothing_lost, quiet, ready, until};

/// A pool in which two share a connection.
fn shared_pool(driver: &FakeDriver, max_size: usize) -> Pool<FakeDriver> {
    pool_of(driver, quiet(max_size))
}

fn pool_of(driver: &FakeDriver, config: Config) -> Pool<FakeDriver> {
    driver.share_by(2);
    pool_with(driver, config)
}

/// How many connections are shared, and by how many.
fn shared(pool: &Pool<FakeDriver>) -> (usize, usize) {
    (pool.state().shared, pool.state().users)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_shared_by_as_many_as_the_driver_says() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
    assert_eq!((one.id(), other.id()), (0, 0));
    assert_eq!(one.connection_id(), other.connection_id());
    assert_eq!(shared(&pool), (1, 2));
    let parts = (one.take_part(), other.take_part());
    assert!(matches!(pool.try_share(), Err(AcquireError::Unavailable { .. })), "two are enough");
    assert!(matches!(pool.try_acquire(), Err(AcquireError::Unavailable { .. })), "it is not idle");
    drop(parts);
    drop(one);
    assert_eq!(shared(&pool), (1, 1));
    assert!(pool.try_acquire().is_err(), "somebody uses it yet");
    drop(other);
    assert_eq!((shared(&pool), pool.state().idle), ((0, 0), 1));
    let alone = pool.try_acquire().unwrap();
    drop(alone.take_in_hand());
    drop(alone);
    assert_eq!(pool.stats().acquired, 3);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_does_not_share_gives_each_a_connection() {
    let driver = FakeDriver::new();
    let pool = pool_with(&driver, quiet(2));
    let (one, other) = (pool.share().await.unwrap(), pool.share_owned().await.unwrap());
    assert_ne!(one.id(), other.id());
    assert_eq!((shared(&pool), pool.state().leased), ((0, 0), 2));
    assert!(pool.try_share().is_err());
    let mut waiter = Box::pin(pool.share());
    assert!(is_pending(&mut waiter));
    drop(one);
    drop(ready(&mut waiter).unwrap());
    other.discard();
    drop(waiter);
    prove_nothing_lost(&pool, &driver).await;
}

/// Idle ones first, then those that the fewest use.
#[tokio::test(start_paused = true)]
async fn whoever_shares_goes_where_the_fewest_are() {
    let driver = FakeDriver::new();
    driver.share_by(8);
    let pool = pool_with(&driver, quiet(4));
    pool.warm_up(4, Duration::ZERO, SECOND).await.unwrap();
    let mut leases = Vec::new();
    for round in 1..=8 {
        for _ in 0..4 {
            leases.push(pool.share().await.unwrap());
        }
        for id in 0..4 {
            assert_eq!(leases.iter().filter(|lease| lease.id() == id).count(), round, "connection {id}");
        }
    }
    assert_eq!(shared(&pool), (4, 32));
    assert!(pool.try_share().is_err());
    drop(leases.remove(5));
    drop(pool.try_share().unwrap());
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}

/// All wait in one line, whatever they want.
#[tokio::test(start_paused = true)]
async fn nobody_overtakes_whatever_it_wants() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
    let mut first = Box::pin(pool.share());
    assert!(is_pending(&mut first));
    let mut alone = Box::pin(pool.acquire());
    assert!(is_pending(&mut alone));
    let mut last = Box::pin(pool.share());
    assert!(is_pending(&mut last));
    assert_eq!(pool.state().waiting, 3);
    // The first one shares: it has the place at once.
    drop(one);
    let first = ready(&mut first).unwrap();
    assert_eq!((pool.state().waiting, shared(&pool)), (2, (1, 2)));
    // The next one wants all of it: nobody joins, neither the one behind it nor a newcomer.
    drop(other);
    assert!(is_pending(&mut last) && is_pending(&mut alone) && pool.try_share().is_err());
    assert_eq!(shared(&pool), (1, 1));
    drop(first);
    let lease = ready(&mut alone).unwrap();
    assert!(is_pending(&mut last) && shared(&pool) == (0, 0));
    drop(lease.take_in_hand());
    drop(lease);
    drop(ready(&mut last).unwrap());
    drop((alone, last));
    prove_nothing_lost(&pool, &driver).await;
}

/// Those behind one who wants a connection for itself have the places that have become free, as soon as it is served or has left.
#[tokio::test(start_paused = true)]
async fn those_behind_are_admitted_when_their_turn_comes() {
    for gives_up in [true, false] {
        let driver = FakeDriver::new();
        let pool = shared_pool(&driver, 2);
        let held = pool.acquire().await.unwrap();
        let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
        let mut alone = Box::pin(pool.acquire());
        assert!(is_pending(&mut alone));
        let mut behind = Box::pin(pool.share());
        assert!(is_pending(&mut behind));
        drop(one);
        assert!(is_pending(&mut behind), "it is not its turn");
        if gives_up {
            drop(alone);
            assert_eq!(ready(&mut behind).unwrap().id(), other.id());
            drop(held);
        } else {
            drop(held);
            assert_eq!(ready(&mut behind).unwrap().id(), other.id());
            drop(ready(&mut alone).unwrap());
        }
        drop((other, behind));
        prove_nothing_lost(&pool, &driver).await;
    }
}

/// The same when the time of the one in front is over.
#[tokio::test(start_paused = true)]
async fn those_behind_are_admitted_when_a_wait_ends() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
    let mut alone = Box::pin(pool.acquire_timeout(SECOND));
    assert!(is_pending(&mut alone));
    let mut behind = Box::pin(pool.share());
    assert!(is_pending(&mut behind));
    drop(one);
    tokio::time::sleep(2 * SECOND).await;
    assert!(matches!(ready(&mut alone), Err(AcquireError::Timeout { .. })));
    drop(ready(&mut behind).unwrap());
    drop((other, behind, alone));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_a_place_ends_in_time() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let leases = (pool.share().await.unwrap(), pool.share().await.unwrap());
    let started = tokio::time::Instant::now();
    let error = pool.share_timeout(SECOND).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 1);
    assert!(error.to_string().contains("(1 shared by 2)"), "{error}");
    assert!(matches!(pool.share_owned_timeout(SECOND).await, Err(AcquireError::Timeout { .. })));
    assert_eq!(pool.stats().timeouts, 2);
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}

/// The counts are those of exclusive leases.
#[tokio::test(start_paused = true)]
async fn a_place_that_was_waited_for_is_counted() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
    let mut waiter = Box::pin(pool.share());
    assert!(is_pending(&mut waiter));
    tokio::time::sleep(SECOND).await;
    drop(one);
    let late = ready(&mut waiter).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.acquired, stats.immediate, stats.waited), (3, 1, 2), "the first one waited for an opener");
    assert!(stats.wait_time >= SECOND);
    drop((other, late, waiter));
    prove_nothing_lost(&pool, &driver).await;
}

/// One that was admitted and does not look, and one that is dropped: the place is the next one's.
#[tokio::test(start_paused = true)]
async fn a_place_that_nobody_takes_goes_to_the_next() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
    let mut first = Box::pin(pool.share());
    let mut next = Box::pin(pool.share());
    assert!(is_pending(&mut first) && is_pending(&mut next));
    drop(one);
    assert!(is_pending(&mut next), "the place is the first one's");
    drop(first);
    drop(ready(&mut next).unwrap());
    drop((other, next));
    assert_eq!((pool.stats().acquired, pool.state().idle), (3, 1));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_not_collected_is_taken_back() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.collect_within = Some(SECOND);
    let pool = pool_of(&driver, config);
    let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
    let mut aside = Box::pin(pool.share());
    assert!(is_pending(&mut aside));
    let mut alone = Box::pin(pool.acquire());
    assert!(is_pending(&mut alone));
    drop((one, other));
    assert!(is_pending(&mut alone), "the connection is the first one's");
    drop(alone.await.unwrap());
    assert_eq!(pool.stats().uncollected, 1);
    drop(aside.await.unwrap());
    prove_nothing_lost(&pool, &driver).await;
}

/// Nobody joins a connection of which a user says that it is of no use; the others finish.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_discarded_is_closed_after_its_last_user() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let (one, other) = (pool.share().await.unwrap(), pool.share_owned().await.unwrap());
    one.discard();
    assert_eq!(shared(&pool), (1, 1));
    let mut waiter = Box::pin(pool.share());
    assert!(is_pending(&mut waiter) && pool.try_share().is_err(), "nobody joins it");
    assert_eq!(driver.ledger().live(), 1, "the other one has it yet");
    drop(other);
    let next = waiter.await.unwrap();
    assert_eq!((next.id(), pool.stats().broken), (1, 1));
    drop(next);
    prove_nothing_lost(&pool, &driver).await;
}

/// The driver is asked when the last one leaves.
#[tokio::test(start_paused = true)]
async fn the_last_user_gives_it_back_as_it_is() {
    for breaks in [true, false] {
        let driver = FakeDriver::new();
        let pool = shared_pool(&driver, 1);
        let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
        let asked = driver.begun(Call::Inspect);
        if breaks {
            one.break_it();
        } else {
            one.make_dirty();
        }
        drop(one);
        assert_eq!(driver.begun(Call::Inspect), asked, "nobody is asked while others use it");
        drop(other);
        assert_eq!(driver.begun(Call::Inspect), asked + 1);
        let next = pool.acquire().await.unwrap();
        assert_eq!((next.id(), driver.begun(Call::Reset)), if breaks { (1, 0) } else { (0, 1) });
        drop(next);
        prove_nothing_lost(&pool, &driver).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_retired_takes_no_more_users() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 2);
    let old = pool.share().await.unwrap();
    pool.retire_all();
    let new = pool.share().await.unwrap();
    assert_eq!((old.id(), new.id()), (0, 1), "nobody joins one from before");
    let evicted = pool.share().await.unwrap();
    assert_eq!(evicted.id(), 1);
    drop(old);
    until(&pool, |state| state.in_maintenance == 0).await;
    assert_eq!(pool.stats().outdated, 1);
    assert!(pool.evict(new.connection_id()));
    let other = pool.share().await.unwrap();
    assert_eq!(other.id(), 2);
    drop((new, evicted));
    until(&pool, |state| state.in_maintenance == 0).await;
    assert_eq!(pool.stats().evicted, 1);
    drop(other);
    prove_nothing_lost(&pool, &driver).await;
}

/// Each shared lease is a use.
#[tokio::test(start_paused = true)]
async fn a_connection_is_used_as_often_as_it_may() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.max_uses = Some(5);
    let pool = pool_of(&driver, config);
    let mut last = pool.share().await.unwrap();
    for _ in 0..4 {
        let next = pool.share().await.unwrap();
        assert_eq!(next.id(), 0);
        drop(std::mem::replace(&mut last, next));
    }
    let mut sixth = Box::pin(pool.share());
    assert!(is_pending(&mut sixth), "nobody joins for a sixth use");
    drop(last);
    assert_eq!(sixth.await.unwrap().id(), 1);
    assert_eq!((pool.stats().worn, pool.stats().acquired), (1, 6));
    prove_nothing_lost(&pool, &driver).await;
}

/// One that is never nobody's comes back all the same when it is too old.
#[tokio::test(start_paused = true)]
async fn a_connection_in_use_without_a_break_is_replaced_when_it_is_old() {
    let driver = FakeDriver::new();
    let mut config = quiet(1);
    config.max_lifetime = Some(60 * SECOND);
    let pool = pool_of(&driver, config);
    let mut last = pool.share().await.unwrap();
    for _ in 0..120 {
        tokio::time::sleep(SECOND).await;
        last = if let Ok(next) = pool.try_share() {
            next
        } else {
            drop(last);
            pool.share().await.unwrap()
        };
    }
    assert!((1..=3).contains(&last.id()), "connection {}", last.id());
    drop(last);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_lower_maximum_is_reached_though_connections_are_always_in_use() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 2);
    pool.warm_up(2, Duration::ZERO, SECOND).await.unwrap();
    let mut leases = vec![pool.share_owned().await.unwrap(), pool.share_owned().await.unwrap()];
    let mut config = (*pool.config()).clone();
    config.max_size = 1;
    pool.reconfigure(config).unwrap();
    for _ in 0..4 {
        let next = tokio::spawn({
            let pool = pool.clone();
            async move { pool.share_owned().await.unwrap() }
        });
        tokio::task::yield_now().await;
        drop(leases.remove(0));
        leases.push(next.await.unwrap());
    }
    until(&pool, |state| state.size == 1).await;
    assert_eq!(pool.stats().excess, 1);
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_up_those_who_share() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let one = pool.share().await.unwrap();
    pool.pause();
    let mut waiter = Box::pin(pool.share());
    assert!(is_pending(&mut waiter), "there is room, and a pause");
    let mut drained = Box::pin(pool.drained());
    assert!(is_pending(&mut drained), "somebody shares it yet");
    pool.resume();
    let other = ready(&mut waiter).unwrap();
    assert_eq!(other.id(), one.id());
    pool.pause();
    drop((one, other));
    assert!(pool.drained().await);
    pool.resume();
    drop((waiter, drained));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_waits_for_those_who_share_and_cuts_them_off() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let (one, other) = (pool.share_owned().await.unwrap(), pool.share_owned().await.unwrap());
    let mut waiter = Box::pin(pool.share());
    assert!(is_pending(&mut waiter));
    let closing = tokio::spawn({
        let pool = pool.clone();
        async move { pool.close_within(SECOND).await }
    });
    assert!(matches!(waiter.await, Err(AcquireError::Closed)));
    assert!(matches!(pool.try_share(), Err(AcquireError::Closed)));
    drop(one);
    assert!(!other.is_broken());
    assert_eq!(closing.await.unwrap(), 1, "one is still open");
    assert!(other.is_broken(), "it was cut off");
    drop(other);
    pool.close().await;
    driver.ledger().settle(&pool.stats());
}

/// Many tasks of both kinds: never more users than may, never one who has it in hand beside others.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_share_and_do_not() {
    let driver = FakeDriver::new();
    driver.share_by(3);
    let pool = pool_with(&driver, quiet(2));
    let tasks: Vec<_> = (0..16)
        .map(|task| {
            let pool = pool.clone();
            tokio::spawn(async move {
                for turn in 0..300 {
                    if (task + turn) % 4 == 0 {
                        let lease = pool.acquire().await.unwrap();
                        let in_hand = lease.take_in_hand();
                        tokio::task::yield_now().await;
                        drop(in_hand);
                    } else if turn % 7 == 0 {
                        drop(tokio::time::timeout(Duration::ZERO, pool.share()).await);
                    } else {
                        let lease = pool.share().await.unwrap();
                        let part = lease.take_part();
                        tokio::task::yield_now().await;
                        drop(part);
                        if turn == 100 {
                            lease.discard();
                        }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(shared(&pool), (0, 0));
    prove_nothing_lost(&pool, &driver).await;
}

/// A backend that cannot be reached is told to those who share, too.
#[tokio::test(start_paused = true)]
async fn whoever_shares_hears_that_nothing_can_be_opened() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::FailForGood);
    let pool = shared_pool(&driver, 1);
    assert!(matches!(pool.share().await, Err(AcquireError::OpenFailed { .. })));
    prove_nothing_lost(&pool, &driver).await;
}

/// Whatever the driver has against another user, or if it panics instead of saying so.
#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_no_more_users_comes_back_first() {
    for door in [Door::Shut, Door::Broken] {
        let driver = FakeDriver::new();
        driver.share_by(4);
        let pool = pool_with(&driver, quiet(1));
        let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
        driver.door(door);
        assert!(pool.try_share().is_err());
        let mut waiter = Box::pin(pool.share());
        assert!(is_pending(&mut waiter));
        driver.door(Door::Open);
        drop(one);
        assert!(is_pending(&mut waiter), "it has to come back");
        drop(other);
        let waiter = ready(&mut waiter).unwrap();
        drop(pool.try_share().expect("others may join again"));
        drop(waiter);
        assert_eq!(pool.stats().opened, 1);
        prove_nothing_lost(&pool, &driver).await;
    }
}

/// One who waits and would be let in.
#[tokio::test(start_paused = true)]
async fn nobody_is_admitted_where_the_driver_takes_no_more() {
    let driver = FakeDriver::new();
    let pool = shared_pool(&driver, 1);
    let (one, other) = (pool.share().await.unwrap(), pool.share().await.unwrap());
    let mut waiter = Box::pin(pool.share());
    assert!(is_pending(&mut waiter));
    driver.door(Door::Shut);
    drop(one);
    assert!(is_pending(&mut waiter));
    drop(other);
    drop(ready(&mut waiter).expect("it has the connection for itself"));
    driver.door(Door::Open);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn one_who_shuts_is_the_last() {
    let driver = FakeDriver::new();
    driver.share_by(4);
    let pool = pool_with(&driver, quiet(1));
    let (one, other) = (pool.share().await.unwrap(), pool.share_owned().await.unwrap());
    other.shut();
    assert!(pool.try_share().is_err());
    drop(other);
    assert!(pool.try_share().is_err(), "it is shut until it has come back");
    drop(one);
    drop(pool.try_share().unwrap());
    assert_eq!((pool.stats().opened, pool.stats().closed), (1, 0));
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn another_one_is_opened_before_anybody_has_to_wait() {
    let driver = FakeDriver::new();
    driver.share_by(4);
    let pool = pool_with(&driver, quiet(2));
    let mut leases = vec![pool.share().await.unwrap(), pool.share().await.unwrap()];
    tokio::time::sleep(SECOND).await;
    assert_eq!(pool.stats().opened, 1, "half of the places are free");
    leases.push(pool.share().await.unwrap());
    until(&pool, |state| state.idle == 1).await;
    leases.push(pool.share().await.unwrap());
    assert_eq!(leases.iter().map(|lease| lease.id()).collect::<Vec<_>>(), [0, 0, 0, 1]);
    leases.extend([(); 4].map(|()| pool.try_share().unwrap()));
    tokio::time::sleep(SECOND).await;
    assert_eq!((pool.stats().opened, pool.stats().waited), (2, 1), "there are not more than there may be");
    drop(leases);
    prove_nothing_lost(&pool, &driver).await;
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_when_it_is_asked_how_many_shares_nothing() {
    let driver = FakeDriver::new();
    driver.door(Door::Broken);
    let pool = shared_pool(&driver, 1);
    driver.door(Door::Open);
    let one = pool.share().await.unwrap();
    assert!(pool.try_share().is_err());
    drop(one);
    prove_nothing_lost(&pool, &driver).await;
}
