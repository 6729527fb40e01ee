//! Who may not control a pool, and what may not be asked for. Whatever is refused has changed nothing.

use axum::body::Body;
use axum::http::{HeaderName, Request, StatusCode, header};
use pool_core::http::{Controls, ControlsError};
use pool_testkit::fake::quiet;
use serde_json::json;

use crate::common::{Answer, Shown, TOKEN, ask, control};

const ACTIONS: [&str; 4] = ["pause", "resume", "retire", "reconfigure"];

/// Asks for a pause, after a change of the request; the pool is not paused by it.
async fn refused(change: impl FnOnce(&mut Request<Body>)) -> Answer {
    let shown = Shown::controlled();
    let mut request = control("pause", "");
    change(&mut request);
    let answer = ask(&shown.status, request).await;
    assert!(!shown.pool.state().paused, "{}", answer.body);
    answer
}

fn put(request: &mut Request<Body>, name: HeaderName, value: &str) {
    request.headers_mut().insert(name, value.parse().unwrap());
}

#[tokio::test(start_paused = true)]
async fn without_a_token_there_are_no_controls() {
    let shown = Shown::new(quiet(3));
    for action in ACTIONS {
        assert_eq!(shown.control(action, "").await.status, StatusCode::NOT_FOUND, "{action}");
    }
    let controlled = Shown::controlled();
    for action in ACTIONS {
        let read = controlled.get(&format!("/pool/control/{action}")).await;
        assert_eq!(read.status, StatusCode::METHOD_NOT_ALLOWED, "{action} is nothing to follow a link to");
    }
}

#[test]
fn a_token_that_can_be_guessed_or_not_be_sent_is_none() {
    assert_eq!(Controls::new("").unwrap_err(), ControlsError::TooShort { bytes: 0 });
    let short = Controls::new(&TOKEN[..15]).unwrap_err();
    assert_eq!(short.to_string(), "the token has 15 bytes; allowed: 16 and more");
    assert_eq!(Controls::new(&format!("{TOKEN}\n")).unwrap_err(), ControlsError::NotSendable);
    assert!(!format!("{:?}", Controls::new(TOKEN)).contains(TOKEN));
}

#[tokio::test(start_paused = true)]
async fn who_has_no_token_or_a_wrong_one_is_refused() {
    let wrong = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        format!("Basic {TOKEN}"),
        TOKEN.to_owned(),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Bearer  {TOKEN}"),
    ];
    for value in wrong {
        let answer = refused(|request| put(request, header::AUTHORIZATION, &value)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{value:?}");
        assert!(answer.header(header::WWW_AUTHENTICATE).starts_with("Bearer "));
    }
    let none = refused(|request| _ = request.headers_mut().remove(header::AUTHORIZATION)).await;
    assert_eq!(none.status, StatusCode::UNAUTHORIZED);
    let two =
        refused(|request| _ = request.headers_mut().append(header::AUTHORIZATION, "Bearer x".parse().unwrap())).await;
    assert_eq!(two.status, StatusCode::UNAUTHORIZED, "which of them counts is nobody's guess");
    // In an address it would be in logs.
    let shown = Shown::controlled();
    let mut request = control(&format!("pause?token={TOKEN}"), "");
    request.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(ask(&shown.status, request).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn a_page_of_another_origin_is_refused_even_with_the_token() {
    for origin in ["https://evil.example", "null", "http://db.example", "http://db.example:8081", "", "db.example:8080"]
    {
        let answer = refused(|request| put(request, header::ORIGIN, origin)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin:?}");
    }
    for site in ["cross-site", "same-site"] {
        let answer = refused(|request| put(request, HeaderName::from_static("sec-fetch-site"), site)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{site:?}");
    }
    let shown = Shown::controlled();
    for origin in ["http://db.example:8080", "https://DB.example:8080"] {
        let mut request = control("pause", "");
        put(&mut request, header::ORIGIN, origin);
        assert_eq!(ask(&shown.status, request).await.status, StatusCode::OK, "{origin:?} is its own");
    }
    // No page of another origin is ever told that it may ask.
    let mut preflight = Request::options("/pool/control/pause").body(Body::empty()).unwrap();
    put(&mut preflight, header::ORIGIN, "https://evil.example");
    let answer = ask(&shown.status, preflight).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(!answer.headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_long_or_cannot_be_read_is_refused() {
    let shown = Shown::controlled();
    let before = shown.pool.config();
    let fits = format!("{{\"max_size\": 5{}}}", " ".repeat(16 * 1024 - 15));
    let long = format!("{fits} ");
    assert_eq!(
        (fits.len(), shown.control("reconfigure", &long).await.status),
        (16 * 1024, StatusCode::PAYLOAD_TOO_LARGE)
    );
    for body in ["{", "{\"max_size\": }", "nonsense", "{\"max_size\": 5} {}", "\u{0}", "[1]", "\"x\"", "null", "7"] {
        let answer = shown.control("reconfigure", body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:?}");
        assert!(answer.json()["error"].as_str().unwrap().starts_with("the body "), "{}", answer.body);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        let mut request = control("reconfigure", "{\"max_size\": 5}");
        put(&mut request, header::CONTENT_TYPE, kind);
        assert_eq!(ask(&shown.status, request).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind:?}");
    }
    assert_eq!(shown.pool.config(), before);
    assert_eq!(shown.control("reconfigure", &fits).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn nobody_without_the_token_makes_it_read_a_body() {
    let shown = Shown::controlled();
    let mut request = control("pause", &"x".repeat(100_000));
    request.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(ask(&shown.status, request).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn fields_that_there_are_not_are_named_with_those_that_there_are() {
    let shown = Shown::controlled();
    let before = shown.pool.config();
    let answer = shown.control("reconfigure", r#"{"max_size": 5, "maximum": 6, "acquire_timeout": 7}"#).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields = answer.json()["fields"].clone();
    assert_eq!((&fields[0]["field"], &fields[1]["field"]), (&"acquire_timeout".into(), &"maximum".into()));
    assert!(fields[0]["allowed"].as_str().unwrap().contains("acquire_timeout_seconds"));
    for (action, body) in [("pause", r#"{"for": 3}"#), ("retire", r#"{"max_size": 3}"#), ("reconfigure", "{}")] {
        assert_eq!(shown.control(action, body).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{action}");
    }
    assert!(shown.pool.config() == before && !shown.pool.state().paused);
}

#[tokio::test(start_paused = true)]
async fn values_out_of_their_range_are_named_with_the_range() {
    let shown = Shown::controlled();
    let before = shown.pool.config();
    let range = shown.control("reconfigure", r#"{"max_size": 0, "acquire_timeout_seconds": 0, "lazy": true}"#).await;
    assert_eq!(range.status, StatusCode::UNPROCESSABLE_ENTITY);
    let wanted = json!([
        { "field": "max_size", "value": "0", "allowed": "1 to 65535" },
        { "field": "acquire_timeout_seconds", "value": "0ns", "allowed": "1 ms to 10 years" },
    ]);
    assert_eq!(range.json()["fields"], wanted);
    for body in [
        r#"{"max_size": "5"}"#,
        r#"{"max_size": 5.5}"#,
        r#"{"max_size": null}"#,
        r#"{"acquire_timeout_seconds": "30s"}"#,
        r#"{"acquire_timeout_seconds": 1e300}"#,
    ] {
        assert_eq!(shown.control("reconfigure", body).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    assert_eq!(shown.pool.config(), before);
    let over = [
        r#"{"over_seconds": 0}"#,
        r#"{"over_seconds": -1}"#,
        r#"{"over_seconds": 1e12}"#,
        r#"{"host": ""}"#,
        r#"{"host": 7}"#,
        r#"{"host": "a", "over_seconds": 3}"#,
    ];
    for body in over {
        let answer = shown.control("retire", body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(answer.json()["fields"][0]["allowed"].is_string());
    }
}
