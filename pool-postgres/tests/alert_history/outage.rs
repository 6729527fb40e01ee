//! The database goes away under the service, and comes back.

use std::time::Duration;

use futures_util::future::join_all;
use pool_testkit::postgres::EphemeralPostgres;
use serde_json::json;

use crate::common::{Service, alert, eventually, post};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_says_nothing_holds_no_request() {
    let mut server = EphemeralPostgres::start().unwrap();
    let service = Service::start(&server.url()).await;
    let body = post(&[alert("A", "2026-11-01T10:00:00Z")]).to_string();
    // One request gets it, and then nobody can open another.
    eventually("one is idle, and nothing is under way", async || {
        let state = service.app.pool.state();
        state.idle >= 1 && state.opening + state.in_maintenance == 0
    })
    .await;
    server.pause().unwrap();
    let (posted, listed) = tokio::join!(service.post(body.clone()), service.get("/history"));
    let reasons = [&posted.1["reason"], &listed.1["reason"]];
    assert!(posted.0 == 503 && listed.0 == 503 && reasons.contains(&&json!("no_answer")), "{posted:?} {listed:?}");
    server.resume().unwrap();
    eventually("ready again", async || service.get("/health/ready").await.0 == 200).await;
    assert_eq!(service.post(body).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_fail_with_503_while_the_database_is_down_and_no_slot_is_lost() {
    let mut server = EphemeralPostgres::start().unwrap();
    let service = Service::start(&server.url()).await;
    let body = || post(&[alert("A", "2026-11-01T10:00:00Z")]).to_string();
    assert_eq!(service.post(body()).await.0, 200);
    eventually("ready", async || service.get("/health/ready").await.0 == 200).await;

    server.kill9().unwrap();
    let reasons = ["timeout", "open_failed", "breaker_open", "connection_lost"].map(|reason| json!(reason));
    for _ in 0..3 {
        let (status, answer) = service.post(body()).await;
        assert_eq!((status, &answer["error"]), (503, &json!("database_unavailable")), "{answer}");
        assert!(reasons.contains(&answer["reason"]), "{answer}");
    }
    let response = service.send(crate::common::get("/history")).await;
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    eventually("not ready", async || service.get("/health/ready").await.0 == 503).await;
    let (_, answer) = service.get("/health/ready").await;
    assert_eq!((&answer["ready"], &answer["pools"][0]["state"]), (&json!(false), &json!("unhealthy")), "{answer}");
    assert!(answer["pools"][0]["reasons"][0].as_str().unwrap().contains("127.0.0.1"), "it says which server: {answer}");
    assert_eq!(service.get("/health/live").await.0, 200);

    server.restart().unwrap();
    eventually("ready again", async || service.get("/health/ready").await.0 == 200).await;
    assert_eq!(service.post(body()).await.0, 200);
    let pool = &service.app.pool;
    // One is kept for checks of the health.
    let max = pool.state().max_size - 1;
    let leases = join_all((0..max).map(|_| pool.acquire_timeout(Duration::from_secs(10)))).await;
    assert!(leases.iter().all(Result::is_ok), "every slot can be had");
    assert_eq!((pool.state().leased, pool.state().reserved), (max, 1));
    drop(leases);
    assert_eq!(service.history("").await.len(), 2, "what was accepted is there, what was refused is not");
}
