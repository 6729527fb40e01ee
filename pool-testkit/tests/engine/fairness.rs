//! What a scheduler owes to those who are few, late or quiet.

use std::time::Duration;

use pool_core::{AdaptConfig, Budget, Codel, Pool, Priority, Request, ScheduleConfig};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::common::{SECOND, is_pending, pool_with, ready};
use crate::schedule::{all, load, p99, prove, schedule, wait, warm};

const MS: Duration = Duration::from_millis(1);
const SERVICE: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn a_burst_that_is_over_within_an_interval_is_not_shed() {
    let pool = warm(&FakeDriver::new(), 1).await;
    let scheduler = schedule(&pool, |config| config.codel = Some(Codel::default()));
    // Nobody has come for a long time.
    sleep(60 * SECOND).await;
    let held = scheduler.acquire(Request::new()).await.unwrap();
    let waiting = [30 * SECOND, 400 * MS].map(|time| tokio::spawn(wait(&scheduler, Request::new().within(time))));
    sleep(250 * MS).await;
    drop(held);
    for outcome in waiting {
        drop(outcome.await.unwrap().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn those_of_a_key_that_is_at_its_maximum_are_not_shed_while_others_are_served_at_once() {
    let pool = warm(&FakeDriver::new(), 4).await;
    let scheduler = schedule(&pool, |config| {
        (config.codel, config.foresee) = (Some(Codel::default()), false);
        config.quotas.entry("batch".into()).or_default().max = Some(1);
    });
    let held = scheduler.acquire(Request::new().key("batch")).await.unwrap();
    let waiting = tokio::spawn(wait(&scheduler, Request::new().key("batch").within(30 * SECOND)));
    for _ in 0..40 {
        drop(scheduler.acquire(Request::new()).await.unwrap());
        sleep(101 * MS).await;
    }
    drop(held);
    drop(waiting.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_not_overtaken_for_ever_by_lower_priorities_of_its_key() {
    let pool = warm(&FakeDriver::new(), 4).await;
    let scheduler = schedule(&pool, |config| (config.quota.max, config.foresee) = (Some(2), false));
    let mut others = JoinSet::new();
    for number in 0..6 {
        let scheduler = scheduler.clone();
        others.spawn(async move {
            sleep(3 * MS * number).await;
            loop {
                let request = Request::new().key("k").priority(Priority::Low).within(600 * SECOND);
                let lease = scheduler.acquire(request).await.unwrap();
                sleep(SERVICE).await;
                drop(lease);
            }
        });
    }
    sleep(SECOND).await;
    let begun = Instant::now();
    let batch = Request::new().key("k").priority(Priority::High).within(60 * SECOND);
    assert_eq!(scheduler.acquire_many(batch, 2).await.unwrap().len(), 2);
    assert!(begun.elapsed() <= 2 * SERVICE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_long_lease_makes_nobody_hopeless_afterwards() {
    let pool = warm(&FakeDriver::new(), 4).await;
    let scheduler = schedule(&pool, |_| {});
    let report = scheduler.acquire(Request::new()).await.unwrap();
    load(&scheduler, 100, 60, &Request::new()).await;
    sleep(600 * SECOND).await;
    drop(report);
    // Twelve at once, of 10 ms each, on four connections.
    let few = (0..12).map(|_| {
        let waiting = wait(&scheduler, Request::new().within(5 * SECOND));
        tokio::spawn(async move {
            let lease = waiting.await.unwrap();
            sleep(SERVICE).await;
            drop(lease);
        })
    });
    all(few.collect()).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_aged_has_its_share_though_it_is_not_the_first_of_its_priority() {
    let pool = warm(&FakeDriver::new(), 4).await;
    let scheduler = schedule(&pool, |_| {});
    // Of a key that has one already, beside one that has none and whose requests give up before they are aged.
    let _of_a = scheduler.acquire(Request::new().key("a")).await.unwrap();
    let high = Request::new().priority(Priority::High).within(SECOND);
    let fresh = Request::new().key("b").priority(Priority::Low).within(300 * MS);
    let aged = async {
        sleep(5 * SECOND).await;
        let begun = Instant::now();
        drop(scheduler.acquire(Request::new().key("a").priority(Priority::Low).within(20 * SECOND)).await.unwrap());
        begun.elapsed()
    };
    let (_, _, waited) = tokio::join!(load(&scheduler, 600, 20, &high), load(&scheduler, 50, 20, &fresh), aged);
    assert!(waited < 2 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn with_one_connection_keys_take_turns() {
    for size in [1, 2] {
        let pool = warm(&FakeDriver::new(), size).await;
        let scheduler = schedule(&pool, |config| config.foresee = false);
        let of = |key: &str| Request::new().key(key).within(60 * SECOND);
        let (large, small) = (of("large"), of("small"));
        let small = async {
            sleep(SECOND).await;
            load(&scheduler, 10, 2, &small).await
        };
        let (_, small) = tokio::join!(load(&scheduler, 1_000, 3, &large), small);
        assert!(p99(small.clone()) <= 2 * SERVICE + MS, "{size} connections: {:?}", p99(small));
    }
}

#[test]
fn shares_leave_something_for_the_high_priority() {
    let mut config = ScheduleConfig::default();
    (config.normal_share, config.low_share) = (50, 50);
    let error = config.validate().unwrap_err().to_string();
    assert_eq!(error, "low_share = 50 is not allowed; allowed: 0 to 50, and with normal_share 90 at most");
}

#[tokio::test(start_paused = true)]
async fn an_adapter_gives_no_guarantee_away() {
    let budget = Budget::new(20).unwrap();
    let mut config = quiet(12);
    config.min_size = 2;
    let pool = Pool::builder(FakeDriver::new()).config(config).guaranteed(10).budget(&budget).build().unwrap();
    let mut config = AdaptConfig::default();
    (config.min_size, config.max_size) = (2, 12);
    let adapter = pool.adapt(config).unwrap();
    let mut sizes = adapter.subscribe();
    sizes.wait_for(|report| report.size < 10).await.unwrap();
    assert_eq!(budget.stats().guaranteed, 10);
    let refused = Pool::builder(FakeDriver::new()).config(quiet(15)).guaranteed(15).budget(&budget).build();
    assert!(refused.is_err(), "it is an operator's");
}

#[tokio::test(start_paused = true)]
async fn unused_requests_say_nothing_about_how_long_connections_are_held() {
    let driver = FakeDriver::new();
    driver.always(Call::Connect, Step::Hang);
    let pool = pool_with(&driver, quiet(1));
    let scheduler = schedule(&pool, |_| {});
    // Let through, and given up before there was a connection.
    for _ in 0..40 {
        assert!(scheduler.acquire(Request::new().within(SECOND)).await.is_err());
    }
    let first = tokio::spawn(wait(&scheduler, Request::new().within(60 * SECOND)));
    sleep(MS).await;
    let second = tokio::spawn(wait(&scheduler, Request::new().within(SECOND / 2)));
    sleep(MS).await;
    let third = scheduler.acquire(Request::new().within(SECOND / 2)).await.unwrap_err();
    assert!(matches!(third, pool_core::AcquireError::Timeout { .. }), "nobody knows how long it takes: {third}");
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn a_trickle_of_high_priority_does_not_keep_the_queue_of_others_from_being_shed() {
    for trickle in [1, 10] {
        let pool = warm(&FakeDriver::new(), 4).await;
        let scheduler = schedule(&pool, |config| (config.codel, config.foresee) = (Some(Codel::default()), false));
        let (normal, urgent) = (Request::new().within(10 * SECOND), Request::new().priority(Priority::High));
        let (waits, high) = tokio::join!(load(&scheduler, 1_200, 20, &normal), load(&scheduler, trickle, 20, &urgent));
        assert!(p99(waits[waits.len() / 2..].to_vec()) < 150 * MS, "once it is known to stand");
        assert_eq!(high.len(), 20 * trickle as usize, "none of them is shed");
        assert!(p99(high) <= SERVICE);
    }
}

/// Those who are turned away after twice the target have their share before.
#[tokio::test(start_paused = true)]
async fn a_low_priority_whose_queue_stands_has_its_share() {
    let pool = warm(&FakeDriver::new(), 4).await;
    let scheduler = schedule(&pool, |config| (config.codel, config.foresee) = (Some(Codel::default()), false));
    let of = |priority| Request::new().priority(priority).within(10 * SECOND);
    let (high, low) = (of(Priority::High), of(Priority::Low));
    let (high, low) = tokio::join!(load(&scheduler, 600, 20, &high), load(&scheduler, 200, 20, &low));
    let share = low.len() * 100 / (low.len() + high.len());
    assert!((4..=7).contains(&share), "{share} % of {} and {}", low.len(), high.len());
}

/// A batch that gathers is behind those of a higher priority, until it has aged.
#[tokio::test(start_paused = true)]
async fn a_batch_of_low_priority_holds_no_high_one_up_before_it_has_aged() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 4).await;
    let scheduler = schedule(&pool, |config| config.foresee = false);
    let long = scheduler.acquire(Request::new()).await.unwrap();
    let high = || wait(&scheduler, Request::new().priority(Priority::High));
    let mut batch = {
        let scheduler = scheduler.clone();
        Box::pin(async move { scheduler.acquire_many(Request::new().priority(Priority::Low), 4).await })
    };
    assert!(is_pending(&mut batch));
    drop(ready(&mut high()).expect("three are idle"));
    assert!(is_pending(&mut wait(&scheduler, Request::new().priority(Priority::Low))), "those beside it wait");
    sleep(SECOND).await;
    let mut later = high();
    assert!(is_pending(&mut later), "or it would never be served");
    drop(long);
    drop(batch.await.unwrap());
    drop(later.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn fewer_keys_are_known_as_soon_as_fewer_may_be() {
    let driver = FakeDriver::new();
    let pool = warm(&driver, 4).await;
    let scheduler = schedule(&pool, |_| {});
    let of = |number: u32| Request::new().key(format!("tenant {number}"));
    let held = scheduler.acquire(of(0)).await.unwrap();
    for number in 0..100 {
        drop(scheduler.acquire(of(number)).await.unwrap());
    }
    let mut fewer = (*scheduler.config()).clone();
    fewer.max_keys = 10;
    scheduler.reconfigure(fewer).unwrap();
    let known = || {
        let keys = scheduler.keys().into_iter().filter_map(|known| known.key);
        keys.map(|key| key.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(known().len(), 10);
    assert!(known().contains(&"tenant 0".to_owned()), "it is in use");
    assert!(known().contains(&"tenant 99".to_owned()), "it was used last");
    drop(scheduler.acquire(of(200)).await.unwrap());
    assert_eq!(known().len(), 10);
    drop(held);
    // Those in use stay, until another one comes.
    let held = [scheduler.acquire(of(1)).await.unwrap(), scheduler.acquire(of(2)).await.unwrap()];
    let mut fewer = (*scheduler.config()).clone();
    fewer.max_keys = 1;
    scheduler.reconfigure(fewer).unwrap();
    assert_eq!(known().len(), 2);
    drop(held);
    drop(scheduler.acquire(of(3)).await.unwrap());
    assert_eq!(known(), ["tenant 3"]);
    prove(scheduler, &driver).await;
}
