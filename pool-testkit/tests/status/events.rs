//! The stream of events.

use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use http_body_util::BodyExt;
use pool_core::http::Status;
use pool_testkit::fake::quiet;
use serde_json::Value;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::common::{SECOND, Shown, ask, get};

pub(crate) async fn listen(status: &Status) -> Body {
    let response = status.router().oneshot(get("/pool/events")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream; charset=utf-8");
    response.into_body()
}

/// The name of the next event, and what it shows; `None` when there is no more.
pub(crate) async fn next(body: &mut Body) -> Option<(String, Value)> {
    let frame = body.frame().await?.unwrap().into_data().unwrap();
    let text = String::from_utf8(frame.into()).unwrap();
    assert!(text.ends_with("\n\n"), "{text}");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    Some((field("event: ").to_owned(), serde_json::from_str(field("data: ")).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn the_first_event_comes_at_once_and_one_each_second_after() {
    let shown = Shown::new(quiet(3));
    let mut body = listen(&shown.status).await;
    let started = Instant::now();
    let (kind, first) = next(&mut body).await.unwrap();
    assert_eq!((kind.as_str(), &first["pools"][0]["connections"]["leased"]), ("snapshot", &0.into()));
    assert_eq!(started.elapsed(), Duration::ZERO);
    let lease = shown.pool.acquire().await.unwrap();
    let (_, second) = next(&mut body).await.unwrap();
    assert_eq!((&second["pools"][0]["connections"]["leased"], started.elapsed()), (&1.into(), SECOND));
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn each_point_of_the_history_is_sent_once() {
    let shown = Shown::new(quiet(3));
    tokio::time::sleep(61 * SECOND).await;
    let mut body = listen(&shown.status).await;
    let (mut points, mut numbers) = (Vec::new(), Vec::new());
    for _ in 0..25 {
        let (_, event) = next(&mut body).await.unwrap();
        let new = event["pools"][0]["history"]["sequence"].as_array().unwrap();
        points.push(new.len());
        numbers.extend(new.iter().map(|number| number.as_u64().unwrap()));
    }
    assert_eq!((points[0], points[1..].iter().max()), (6, Some(&1)), "{points:?}");
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn it_ends_after_a_last_event_when_the_pool_is_closed() {
    let shown = Shown::new(quiet(3));
    let mut body = listen(&shown.status).await;
    next(&mut body).await.unwrap();
    shown.pool.close().await;
    let (kind, last) = next(&mut body).await.unwrap();
    assert_eq!((kind.as_str(), &last["pools"][0]["closed"]), ("closed", &true.into()));
    assert!(next(&mut body).await.is_none());
    // One who comes later is told, too, and need not ask again.
    assert_eq!(next(&mut listen(&shown.status).await).await.unwrap().0, "closed");
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_the_server_shuts_down() {
    let shown = Shown::new(quiet(3));
    let mut body = listen(&shown.status).await;
    next(&mut body).await.unwrap();
    let started = Instant::now();
    shown.status.end_events();
    assert_eq!(next(&mut body).await.unwrap().0, "snapshot");
    assert!(next(&mut body).await.is_none() && started.elapsed() < SECOND);
    assert_eq!(ask(&shown.status, get("/pool/events")).await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_sixty_four_listen_at_once() {
    let shown = Shown::new(quiet(3));
    let mut listeners = Vec::new();
    for _ in 0..64 {
        listeners.push(listen(&shown.status).await);
    }
    let refused = ask(&shown.status, get("/pool/events")).await;
    assert_eq!((refused.status, refused.header(header::RETRY_AFTER)), (StatusCode::SERVICE_UNAVAILABLE, "10"));
    drop(listeners.pop());
    let mut last = listen(&shown.status).await;
    assert_eq!(next(&mut last).await.unwrap().0, "snapshot");
    assert_eq!(ask(&shown.status, get("/pool/events?pool=nobody")).await.status, StatusCode::NOT_FOUND);
}

/// As who opens a stream and then does not read, or whose network is gone.
#[tokio::test(start_paused = true)]
async fn those_who_take_nothing_make_room_for_those_who_do() {
    let shown = Shown::new(quiet(3));
    let mut stalled = Vec::new();
    for _ in 0..63 {
        let mut listener = listen(&shown.status).await;
        next(&mut listener).await.unwrap();
        stalled.push(listener);
    }
    let mut reader = listen(&shown.status).await;
    for _ in 0..29 {
        next(&mut reader).await.unwrap();
    }
    assert_eq!(ask(&shown.status, get("/pool/events")).await.status, StatusCode::SERVICE_UNAVAILABLE);
    next(&mut reader).await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    let mut others = Vec::new();
    for _ in 0..63 {
        let mut other = listen(&shown.status).await;
        next(&mut other).await.unwrap();
        others.push(other);
    }
    assert_eq!(
        ask(&shown.status, get("/pool/events")).await.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "all of these read"
    );
    assert!(next(&mut reader).await.is_some(), "whoever reads stays");
    for listener in &mut stalled {
        assert!(next(listener).await.is_none(), "and whoever has lost his place has to ask again");
    }
}
