//! What an operator does.

use axum::http::StatusCode;
use pool_core::Pool;
use pool_testkit::fake::{Call, FakeDriver, quiet};
use serde_json::json;

use crate::common::{Shown, ask, control, observer, was_logged};

#[tokio::test(start_paused = true)]
async fn a_pool_is_paused_and_resumed() {
    let shown = Shown::controlled();
    let paused = shown.control("pause", "").await;
    assert_eq!((paused.status, paused.json()), (StatusCode::OK, json!({ "pool": "main", "done": "pause" })));
    assert!(shown.pool.state().paused);
    assert_eq!(shown.control("resume", "{}").await.status, StatusCode::OK);
    assert!(!shown.pool.state().paused);
}

#[tokio::test(start_paused = true)]
async fn connections_are_retired_all_or_those_to_one_host_or_over_a_time() {
    let shown = Shown::controlled();
    shown.driver.hosts(["a", "b"]);
    let both = (shown.pool.acquire().await.unwrap(), shown.pool.acquire().await.unwrap());
    drop(both);
    let one = shown.control("retire", r#"{"host": "a"}"#).await;
    assert_eq!(one.json(), json!({ "pool": "main", "done": "retire", "of_connections": 2, "fields": { "host": "a" } }));
    shown.driver.reached(Call::Close, 1).await;
    assert_eq!(shown.pool.stats().outdated, 1);
    shown.control("retire", "").await;
    shown.driver.reached(Call::Close, 2).await;
    assert_eq!(shown.pool.stats().outdated, 2);
    drop(shown.pool.acquire().await.unwrap());
    let over = shown.control("retire", r#"{"over_seconds": 30}"#).await;
    assert_eq!((over.status, shown.pool.stats().outdated), (StatusCode::OK, 2));
    shown.driver.reached(Call::Close, 3).await;
}

#[tokio::test(start_paused = true)]
async fn settings_are_changed_and_it_says_when_that_counts() {
    let shown = Shown::controlled();
    let body = r#"{"max_size": 9, "acquire_timeout_seconds": 1.5, "max_lifetime_seconds": null}"#;
    shown.control("reconfigure", r#"{"max_lifetime_seconds": 60}"#).await;
    let answer = shown.control("reconfigure", body).await;
    let wanted = json!({
        "pool": "main", "done": "reconfigure", "now": ["max_size", "acquire_timeout_seconds"],
        "new_connections": ["max_lifetime_seconds"],
    });
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, wanted));
    let config = shown.pool.config();
    assert_eq!((config.max_size, config.acquire_timeout.as_millis(), config.max_lifetime), (9, 1500, None));
    assert_eq!(config.min_size, quiet(3).min_size, "what is not named stays");
}

#[tokio::test(start_paused = true)]
async fn of_several_pools_the_one_that_is_named() {
    let shown = Shown::controlled();
    let other = Pool::builder(FakeDriver::new()).config(quiet(3)).build().unwrap();
    let status = shown.status.clone().pool(observer(&other, "other"));
    let nameless = ask(&status, control("pause", "")).await;
    assert_eq!(
        (nameless.status, nameless.json()["pools"].to_string()),
        (StatusCode::BAD_REQUEST, r#"["main","other"]"#.into())
    );
    assert_eq!(ask(&status, control("pause?pool=nobody", "")).await.status, StatusCode::NOT_FOUND);
    assert!(!shown.pool.state().paused && !other.state().paused);
    assert_eq!(ask(&status, control("pause?pool=other", "")).await.status, StatusCode::OK);
    assert!(!shown.pool.state().paused && other.state().paused);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_closed_cannot_be_controlled() {
    let shown = Shown::controlled();
    shown.pool.close().await;
    assert_eq!(shown.control("resume", "").await.status, StatusCode::CONFLICT);
}

#[tokio::test(start_paused = true)]
async fn what_is_done_is_in_the_journal_for_all_to_see() {
    let shown = Shown::controlled();
    for _ in 0..2 {
        shown.control("pause", "").await;
        shown.control("resume", "").await;
    }
    shown.control("reconfigure", r#"{"max_size": 9}"#).await;
    let json: serde_json::Value = serde_json::from_str(&shown.status.json()).unwrap();
    let journal = json["pools"][0]["journal"].as_array().unwrap();
    let seen: Vec<_> = journal.iter().map(|entry| (entry["message"].as_str().unwrap(), &entry["times"])).collect();
    let (one, two) = (1.into(), 2.into());
    let wanted = [
        ("settings have been changed: max_size", &one),
        ("the pool has been resumed", &two),
        ("the pool has been paused", &two),
    ];
    assert_eq!(seen, wanted);
    assert!(journal.iter().all(|entry| entry["kind"] == "control" && entry["since"].is_string()));
    let text = shown.status.text();
    assert!(text.contains("RECENT ERRORS AND EVENTS") && text.contains("| the pool has been paused"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn what_is_done_and_what_is_refused_is_logged_without_the_token() {
    let shown = Shown::controlled();
    shown.control("reconfigure", r#"{"max_size": 17}"#).await;
    let done =
        ["INFO", "the pool was controlled over HTTP", "pool=\"main\"", "action=\"reconfigure\"", "\"max_size\":17"];
    assert!(was_logged(&done));
    shown.control("retire", r#"{"over_seconds": 123}"#).await;
    assert!(was_logged(&["INFO", "action=\"retire\"", "Over(123s)"]));
    let refuse = |action: &'static str| {
        let mut request = control(action, "");
        request.headers_mut().insert("authorization", "Bearer wrong".parse().unwrap());
        ask(&shown.status, request)
    };
    for _ in 0..5 {
        refuse("pause").await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    refuse("resume").await;
    assert!(
        was_logged(&["WARN", "action=\"resume\"", "suppressed=4", "the token was wrong or missing"]),
        "one line for many"
    );
}
