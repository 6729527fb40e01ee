//! `GET /history`, `GET /metrics`.

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::common::{Service, alert, eventually, get, post};
use crate::webhook::HOSTILE;

fn names(history: &[Value]) -> Vec<&str> {
    history.iter().map(|alert| alert["alertname"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn filters_narrow_the_list() {
    let (_database, service) = Service::fresh().await;
    let mut quiet = alert("Quiet", "2026-11-01T11:00:00Z");
    quiet["status"] = json!("resolved");
    quiet["labels"]["severity"] = json!("info");
    quiet["labels"]["team"] = json!("a=b");
    let alerts = [alert("Loud", "2026-11-01T10:00:00Z"), quiet, alert("Loud", "2026-11-01T12:00:00Z")];
    assert_eq!(service.post(post(&alerts).to_string()).await.0, 200);
    for (query, expected) in [
        ("", &["Loud", "Quiet", "Loud"][..]),
        ("alertname=Loud", &["Loud", "Loud"]),
        ("alertname=loud", &[]),
        ("status=resolved", &["Quiet"]),
        ("label=severity%3Dcritical", &["Loud", "Loud"]),
        ("label=severity%3Dinfo&label=team%3Da%3Db", &["Quiet"]),
        ("label=severity%3Dcritical&label=team%3Da%3Db", &[]),
        ("from=2026-11-01T11:00:00Z", &["Loud", "Quiet"]),
        ("to=2026-11-01T12:00:00Z", &["Quiet", "Loud"]),
        ("from=2026-11-01T11:00:00Z&to=2026-11-01T12:00:00Z", &["Quiet"]),
        ("from=2026-11-01T13:00:00%2B02:00&status=firing", &["Loud"]),
        ("limit=1", &["Loud"]),
    ] {
        assert_eq!(names(&service.history(query).await), expected, "{query}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_named() {
    let (_database, service) = Service::fresh().await;
    for (query, field) in [
        ("status=burning", "status"),
        ("label=severity", "label"),
        ("from=yesterday", "from"),
        ("to=2026-11-01", "to"),
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("limit=1000001", "limit"),
        ("colour=red", "colour"),
        ("alertname=%00", "alertname"),
        ("limit=1&label=a%3Db&limit=1", "limit"),
        ("from=9999-12-31T23:59:59-23:59", "from"),
    ] {
        let (status, body) = service.get(&format!("/history?{query}")).await;
        assert_eq!(
            (status, &body["error"], &body["field"]),
            (400, &json!("invalid_parameter"), &json!(field)),
            "{query}: {body}"
        );
    }
}

#[tokio::test]
async fn hostile_filters_find_nothing_and_break_nothing() {
    let (_database, service) = Service::fresh().await;
    assert_eq!(service.post(post(&[alert("A", "2026-11-01T10:00:00Z")]).to_string()).await.0, 200);
    for text in HOSTILE {
        let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        assert_eq!(service.history(&format!("alertname={encoded}")).await, Vec::<Value>::new());
        assert_eq!(service.history(&format!("label={encoded}%3D{encoded}")).await, Vec::<Value>::new());
        for parameter in ["status", "from", "to", "limit", &encoded] {
            assert_eq!(service.get(&format!("/history?{parameter}={encoded}")).await.0, 400, "{parameter}");
        }
    }
    assert_eq!(service.history("").await.len(), 1, "the table is as it was");
}

/// Fills the table with more than any socket buffers.
async fn fill(service: &Service, rows: i64) {
    // Has the table made, if that took too long when the service was started.
    assert_eq!(service.post(post(&[]).to_string()).await, (200, json!({ "stored": 0 })));
    let fill =
        "INSERT INTO alerts (alertname, status, labels, annotations, starts_at, fingerprint, receiver, group_key)
        SELECT 'Many', 'firing', jsonb_build_object('n', n, 'filler', repeat('x', 500)), '{}', now(), '', '', ''
        FROM generate_series(1, $1::bigint) n";
    service.app.pool.acquire().await.unwrap().execute(fill, &[&rows]).await.unwrap();
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').count() - 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_history_is_streamed_and_not_collected() {
    let (_database, service) = Service::fresh().await;
    fill(&service, 100_000).await;
    let mut body = service.send(get("/history?limit=1000000")).await.into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.len() < 1 << 20, "the first of some 70 MB: {}", first.len());
    // The reader stops here, so the sockets fill up and the database waits: its connection is still in use.
    assert_eq!(service.app.pool.state().leased, 1);
    let mut lines = newlines(&first);
    while let Some(frame) = body.frame().await {
        lines += newlines(&frame.unwrap().into_data().unwrap());
    }
    assert_eq!(lines, 100_000);
    eventually("the connection is back", async || service.app.pool.state().leased == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_gives_the_connection_back() {
    let (_database, service) = Service::fresh().await;
    fill(&service, 20_000).await;
    let state = || service.app.pool.state();
    for _ in 0..22 {
        let mut body = service.send(get("/history?limit=1000000")).await.into_body();
        body.frame().await.unwrap().unwrap();
        drop(body);
        eventually("the connection is back", async || state().leased == 0 && state().in_maintenance == 0).await;
    }
    // One is kept for checks of the health.
    let leases =
        join_all((1..state().max_size).map(|_| service.app.pool.acquire_timeout(Duration::from_secs(10)))).await;
    assert!(leases.iter().all(Result::is_ok), "all of them can be had");
    for lease in leases {
        lease.unwrap().query_one("SELECT 1", &[]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_whose_session_ends_is_cut_off() {
    let (_database, service) = Service::fresh().await;
    fill(&service, 20_000).await;
    let mut body = service.send(get("/history?limit=1000000")).await.into_body();
    body.frame().await.unwrap().unwrap();
    let lease = service.app.pool.acquire().await.unwrap();
    let end = "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state = 'active'";
    assert!(lease.query_one(end, &[]).await.unwrap().get::<_, bool>(0));
    let whole = body.collect().await;
    assert!(whole.is_err(), "a part is not taken for the whole");
}

#[tokio::test]
async fn what_is_not_served_is_told_in_json() {
    let (_database, service) = Service::fresh().await;
    let (status, body) = service.get("/nowhere").await;
    assert_eq!((status, &body["error"]), (404, &json!("not_found")));
    let response = service.send(get("/webhook")).await;
    assert_eq!((response.status().as_u16(), response.headers()["allow"].as_bytes()), (405, &b"POST"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_who_do_not_read_stop_nobody_else() {
    let (_database, service) = Service::fresh().await;
    fill(&service, 20_000).await;
    let mut stalled = Vec::new();
    let busy = loop {
        let response = service.send(get("/history?limit=1000000")).await;
        if response.status() != 200 {
            break response;
        }
        stalled.push(response);
    };
    assert_eq!((stalled.len(), busy.status().as_u16()), (10, 503), "half of the connections");
    eventually("ready", async || service.get("/health/ready").await.0 == 200).await;
    assert_eq!(service.post(post(&[alert("A", "2026-11-01T10:00:00Z")]).to_string()).await.0, 200);
}

#[tokio::test]
async fn metrics_are_in_prometheus_format() {
    let (_database, service) = Service::fresh().await;
    service.post(post(&[alert("A", "2026-11-01T10:00:00Z")]).to_string()).await;
    service.get("/nowhere").await;
    let made_up = Request::builder().method("MADE-UP").uri("/history").header("host", "test");
    service.send(made_up.body(Full::default()).unwrap()).await;
    eventually("the pool is healthy", async || service.get("/health/ready").await.0 == 200).await;
    let text = service.text("/metrics").await;
    let mut declared = std::collections::HashSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(declared.insert(rest.split(' ').next().unwrap()), "declared twice: {rest}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| name.strip_suffix(suffix))
            .filter(|name| declared.contains(name));
        assert!(declared.contains(family.unwrap_or(name)), "not declared: {line}");
        assert!(value.parse::<f64>().is_ok(), "not a number: {line}");
    }
    for expected in [
        "alert_history_alerts_stored_total 1\n",
        "db_client_connection_max{db_client_connection_pool_name=\"alerts\"} 20\n",
        "pool_health_state{db_client_connection_pool_name=\"alerts\",state=\"healthy\"} 1\n",
        "pool_postgres_queries_total{db_client_connection_pool_name=\"alerts\",outcome=\"failed\"} 0\n",
        "http_server_request_duration_seconds_bucket{http_request_method=\"POST\",http_route=\"/webhook\",http_response_status_code=\"200\",le=\"+Inf\"} 1\n",
        "http_server_request_duration_seconds_count{http_request_method=\"GET\",http_route=\"none\",http_response_status_code=\"404\"} 1\n",
        "http_server_request_duration_seconds_count{http_request_method=\"_OTHER\",http_route=\"/history\",http_response_status_code=\"405\"} 1\n",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
}
