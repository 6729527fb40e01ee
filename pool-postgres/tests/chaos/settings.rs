//! F120 to F123, F125: other settings while a pool is in use, and settings that cannot be.

use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use pool_core::Config;
use pool_postgres::{PostgresError, PostgresPool, SslMode};
use pool_testkit::proxy::Admission;
use pool_testkit::random::Random;

use crate::asking::{answer, eventually, in_time};
use crate::common::{Chaos, server};
use crate::invariants;

/// The watch goes by another maximum from now on.
async fn watch_again(chaos: &mut Chaos, max_size: usize) {
    chaos.watch.end().await;
    chaos.reconfigure(|config| config.max_size = max_size);
    chaos.watch_on(server()).await;
}

#[tokio::test]
async fn f120_a_maximum_below_what_is_leased_costs_nobody_a_lease() {
    let mut chaos = Chaos::start(6).await;
    chaos.fill(6).await;
    let mut leases = Vec::new();
    for _ in 0..6 {
        leases.push(chaos.pool.acquire_owned().await.unwrap());
    }
    chaos.reconfigure(|config| config.max_size = 2);
    let waiter = chaos.pool.clone();
    let mut waiter = Box::pin(waiter.acquire_owned());
    for left in (2..6).rev() {
        drop(leases.pop());
        eventually("one too many is gone", async || chaos.watch.sessions().await == left).await;
        assert!(poll!(&mut waiter).is_pending(), "it has not gone to the one who waits");
        for lease in &leases {
            assert_eq!(answer(lease, 1).await.unwrap(), 2);
        }
    }
    drop(leases.pop());
    leases.push(in_time("one of two comes back", waiter).await.unwrap());
    for lease in &leases {
        assert_eq!(answer(lease, 1).await.unwrap(), 2);
    }
    assert_eq!((chaos.pool.state().size, chaos.pool.stats().opened), (2, 6));
    drop(leases);
    watch_again(&mut chaos, 2).await;
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.timeouts, stats.broken), (6, 0, 0), "{stats:?}");
}

#[tokio::test]
async fn f121_a_higher_maximum_serves_those_who_wait() {
    let mut chaos = Chaos::start(1).await;
    let held = chaos.pool.acquire_owned().await.unwrap();
    let pool = chaos.pool.clone();
    let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(pool.acquire_owned())).collect();
    for waiter in &mut waiting {
        assert!(poll!(waiter).is_pending());
    }
    watch_again(&mut chaos, 6).await;
    let mut leases = Vec::new();
    let still = waiting.split_off(5);
    for lease in in_time("five are served", join_all(waiting)).await {
        leases.push(lease.unwrap());
        assert_eq!(answer(leases.last().unwrap(), 1).await.unwrap(), 2);
    }
    let now = chaos.pool.state();
    assert_eq!((now.leased, now.size, now.waiting), (6, 6, 3), "{now}");
    drop((held, leases));
    for lease in in_time("the others are served", join_all(still)).await {
        assert_eq!(answer(&lease.unwrap(), 1).await.unwrap(), 2);
    }
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.opened, stats.timeouts, stats.broken), (6, 0, 0), "{stats:?}");
}

const LARGEST: usize = 4;

/// Changes the maximum to whatever it likes, and the minimum with it.
async fn resize(pool: PostgresPool, seed: u64) {
    let mut random = Random::new(seed);
    loop {
        let mut config = (*pool.config()).clone();
        config.max_size = 1 + usize::try_from(random.below(LARGEST as u64)).unwrap();
        config.min_size = usize::try_from(random.below(config.max_size as u64)).unwrap();
        pool.reconfigure(config).unwrap();
        tokio::time::sleep(Duration::from_millis(random.below(3))).await;
    }
}

async fn use_often(pool: PostgresPool) {
    for _ in 0..20 {
        let lease = pool.acquire_owned().await.expect("a connection");
        assert_eq!(answer(&lease, 1).await.expect("an answer"), 2);
    }
}

/// Four change the size without end while eight are at work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f122_a_storm_of_other_sizes_fails_nobody() {
    // There were more before: the server would take more than the maximum, and so would the pool's own lists.
    let mut chaos = Chaos::start(2 * LARGEST).await;
    chaos.fill(2 * LARGEST).await;
    chaos.watch.end().await;
    chaos.reconfigure(|config| config.max_size = LARGEST);
    eventually("the others are gone", async || chaos.watch.sessions().await == LARGEST).await;
    chaos.watch_on(server()).await;
    let storm: Vec<_> = (0..4).map(|seed| tokio::spawn(resize(chaos.pool.clone(), seed))).collect();
    let users = (0..8).map(|_| tokio::spawn(use_often(chaos.pool.clone())));
    for user in in_time("all have done their work", join_all(users)).await {
        user.unwrap();
    }
    for task in storm {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    chaos.reconfigure(|config| (config.max_size, config.min_size) = (LARGEST, 0));
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.timeouts, stats.failed, stats.broken), (0, 0, 0), "{stats:?}");
    assert!(stats.excess > LARGEST as u64, "the storm has closed some, too: {stats:?}");
}

/// A connection that was asked for by older settings, and from before all were retired, is judged by the newest when it comes.
#[tokio::test]
async fn f123_a_connection_that_is_being_opened_finds_other_settings() {
    let chaos = Chaos::start(1).await;
    chaos.proxy.admit(Admission::Ignore).await;
    let pool = chaos.pool.clone();
    let mut waiter = Box::pin(pool.acquire());
    assert!(poll!(&mut waiter).is_pending());
    eventually("it is being opened", async || chaos.pool.state().opening == 1).await;
    chaos.reconfigure(|config| config.max_uses = Some(2));
    chaos.pool.retire_all();
    chaos.heal().await;
    let lease = in_time("it is served", waiter).await.unwrap();
    let stats = chaos.pool.stats();
    assert_eq!((stats.opened, stats.outdated), (2, 1), "the first one was from before: {stats:?}");
    let first = lease.connection_id();
    drop(lease);
    let next = async || chaos.working().await.connection_id();
    assert_eq!(next().await, first);
    assert_ne!(next().await, first, "two uses, as the newest settings say");
    chaos.reconfigure(|config| config.max_uses = None);
    let stats = invariants::hold(chaos).await;
    assert_eq!((stats.worn, stats.outdated, stats.opened), (1, 1, 3), "{stats:?}");
}

/// What somebody would like to change.
type Change = fn(&mut Config);

#[tokio::test]
async fn f125_settings_that_cannot_be_change_nothing_of_a_pool_in_use() {
    let wrong: [(&str, Change); 6] = [
        ("max_size", |config| config.max_size = 0),
        ("min_size", |config| (config.max_size, config.min_size) = (4, 5)),
        ("acquire_timeout", |config| config.acquire_timeout = Duration::ZERO),
        ("connect_timeout", |config| config.connect_timeout = Duration::MAX),
        ("max_uses", |config| config.max_uses = Some(0)),
        ("backoff_max", |config| {
            (config.backoff_initial, config.backoff_max) = (2 * config.backoff_max, config.backoff_max);
        }),
    ];
    let chaos = Chaos::start(2).await;
    let held = chaos.working().await;
    let (settings, before) = (chaos.pool.config(), chaos.pool.stats());
    for (field, change) in wrong {
        let mut config = (*settings).clone();
        change(&mut config);
        let error = chaos.pool.reconfigure(config).unwrap_err();
        assert_eq!(error.refused[0].field, field, "{error}");
        assert_eq!(chaos.pool.config(), settings, "{error}");
    }
    assert_eq!(chaos.pool.stats(), before, "nothing has come of it");
    assert_eq!(answer(&held, 1).await.unwrap(), 2);
    drop(held);
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f125_settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let chaos = Chaos::start(1).await;
    let mut config = chaos.pool.driver().config().clone();
    config.pool.max_size = 0;
    assert!(matches!(PostgresPool::connect(config.clone()).await, Err(PostgresError::Config(_))));
    config.pool.max_size = 1;
    config.sslmode = SslMode::VerifyFull;
    config.sslrootcert = Some("/nonexistent.pem".into());
    let error = PostgresPool::connect(config.clone()).await.unwrap_err();
    assert!(error.to_string().contains("sslrootcert = /nonexistent.pem"), "{error}");
    assert!(PostgresPool::connect_lazy(config).is_err(), "whoever does not wait is told as well");
    assert_eq!(chaos.proxy.seen().accepted, 0);
    invariants::hold(chaos).await;
}
