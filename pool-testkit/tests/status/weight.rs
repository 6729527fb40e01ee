//! How much the page weighs, however much there is to be shown.

use std::time::Duration;

use pool_core::http::Status;
use pool_core::{OwnedLease, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use serde_json::Value;

use crate::common::{SECOND, Shown, ask, get, observer};

const MOST: usize = 200 * 1024;

/// As long as names may be.
fn name_of(number: usize) -> String {
    let name = format!("service/pool-{number}");
    format!("{name:_>100}")
}

/// Pools of that size, of which most connections are leased and watched, with a full history and a full journal.
async fn crowded(pools: usize, size: usize, minutes: u64) -> (Status, Vec<OwnedLease<FakeDriver>>) {
    let (mut status, mut leases) = (Status::new(), Vec::new());
    for number in 0..pools {
        let mut config = quiet(size);
        config.leak_after = Some(SECOND);
        let driver = FakeDriver::new();
        // As long as they get: of Linux up to 4,194,304.
        driver.number_sessions_from(4_000_000);
        let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
        status = status.pool(observer(&pool, &name_of(number)));
        for _ in 0..size * 9 / 10 {
            let lease = pool.acquire_owned().await.unwrap();
            lease.note_activity("SELECT id, host, severity, message FROM alert WHERE acknowledged IS NULL");
            leases.push(lease);
        }
        driver.always(Call::Connect, Step::Fail);
    }
    tokio::time::sleep(Duration::from_mins(minutes)).await;
    (status, leases)
}

async fn first_of(status: &Status, path: &str) -> Value {
    let page = ask(status, get(path)).await.body;
    assert!(page.len() < MOST, "{} bytes", page.len());
    let (_, rest) = page.split_once("id=\"first\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[tokio::test(start_paused = true)]
async fn twenty_pools_of_fifty_make_a_page_of_one_and_the_states_of_the_others() {
    let (status, leases) = crowded(20, 50, 60).await;
    let first = first_of(&status, "/pool/ui").await;
    assert_eq!(first["pools"][0]["name"], name_of(0));
    assert_eq!((first["pools"].as_array().unwrap().len(), first["others"].as_array().unwrap().len()), (1, 19));
    assert_eq!(first["pools"][0]["holders"].as_array().unwrap().len(), 45);
    let chosen = first_of(&status, &format!("/pool/ui?pool={}", name_of(7).replace('/', "%2F"))).await;
    assert_eq!((&chosen["pools"][0]["name"], &chosen["others"][7]["name"]), (&name_of(7).into(), &name_of(8).into()));
    drop(leases);
}

#[tokio::test(start_paused = true)]
async fn a_pool_of_a_thousand_is_counted_whole_and_shown_in_part() {
    let (status, leases) = crowded(1, 1000, 60).await;
    let first = first_of(&status, "/pool/ui").await;
    let pool = &first["pools"][0];
    assert_eq!(pool["connections"]["leased"], 900);
    let rows = pool["holders"].as_array().unwrap().len();
    assert_eq!(pool["holders_left_out"].as_u64().unwrap(), 900 - rows as u64);
    assert!((75..=300).contains(&rows), "{rows}");
    drop(leases);
}

/// Leaks, and connections that are being closed, of which the page lists a part of the one and none of the other.
#[tokio::test(start_paused = true)]
async fn what_is_not_listed_is_counted_all_the_same() {
    let mut config = quiet(1000);
    (config.leak_after, config.close_timeout) = (Some(SECOND), 60 * SECOND);
    let shown = Shown::new(config);
    let mut leases = Vec::new();
    for _ in 0..900 {
        leases.push(shown.pool.acquire_owned().await.unwrap());
    }
    tokio::time::sleep(2 * SECOND).await;
    shown.driver.always(Call::Close, Step::Hang);
    leases.drain(500..).for_each(OwnedLease::discard);
    tokio::time::sleep(SECOND).await;
    let whole = shown.get("/pool?format=json").await.json();
    let slots = whole["pools"][0]["slots"].as_array().unwrap();
    assert_eq!(slots.iter().filter(|slot| slot["state"] == "closing").count(), 400);
    let page = first_of(&shown.status, "/pool/ui").await;
    for pool in [&whole["pools"][0], &page["pools"][0]] {
        assert_eq!((&pool["leaks"], &pool["connections"]["closing"]), (&500.into(), &400.into()));
    }
    let listed = page["pools"][0]["holders"].as_array().unwrap().len();
    assert!(listed <= 300, "{listed}");
}

#[tokio::test(start_paused = true)]
async fn four_pools_of_three_hundred_and_long_texts_fit_too() {
    let (status, leases) = crowded(4, 300, 60).await;
    for lease in &leases {
        // As long as any on its way: within a script these are six letters each.
        lease.note_activity("<&>".repeat(400));
    }
    let first = first_of(&status, "/pool/ui").await;
    let pools = first["pools"].as_array().unwrap();
    // What is cut off may be as short as a name.
    let activity = pools[0]["holders"][0]["activity"].as_str().unwrap();
    assert!(activity.ends_with('…') && activity.chars().count() < 100, "{activity}");
    let names: Vec<_> = pools.iter().map(|pool| pool["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, (0..4).map(name_of).collect::<Vec<_>>(), "the page knows its pools by these");
    drop(leases);
}

#[tokio::test(start_paused = true)]
async fn five_hundred_pools_fit_too() {
    let (status, leases) = crowded(500, 2, 1).await;
    assert_eq!(first_of(&status, "/pool/ui").await["others"].as_array().unwrap().len(), 400);
    drop(leases);
}

#[tokio::test(start_paused = true)]
async fn a_full_history_of_several_pools_keeps_the_page_light() {
    let shown = Shown::new(quiet(20));
    let mut status = shown.status.clone();
    let others: Vec<_> = (0..3).map(|_| Pool::builder(FakeDriver::new()).config(quiet(20)).build().unwrap()).collect();
    for (number, pool) in others.iter().enumerate() {
        status = status.pool(observer(pool, &format!("other-{number}")));
    }
    let held = (shown.pool.acquire().await.unwrap(), others[0].acquire().await.unwrap());
    tokio::time::sleep(Duration::from_hours(2)).await;
    let page = status.page();
    assert!(page.len() < 200 * 1024, "{} bytes", page.len());
    let whole: serde_json::Value = serde_json::from_str(&status.json()).unwrap();
    assert_eq!(whole["pools"][0]["history"]["at_unix_seconds"].as_array().unwrap().len(), 360);
    drop(held);
}
