//! Who may not control a pool, and what may not be asked for. Whatever is refused has changed nothing.

use axum::body::Body;
use axum::http::{HeaderName, Request, StatusCode, header};
use axum::{Router, routing};
use pool_core::http::{Controls, ControlsError};
use pool_core::{Description, ServerFacts};
use pool_testkit::fake::quiet;
use serde_json::json;
use tower::ServiceExt;

use crate::common::{Answer, Shown, TOKEN, ask, control, get};

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
async fn a_page_of_another_origin_may_not_look_but_its_reader_may_follow_a_link() {
    let shown = Shown::new(quiet(3));
    let sent = |path: &str, fields: &[(&'static str, &str)]| {
        let mut request = get(path);
        for (name, value) in fields {
            put(&mut request, HeaderName::from_static(name), value);
        }
        ask(&shown.status, request)
    };
    let foreign = ("sec-fetch-site", "cross-site");
    for path in ["/pool", "/pool/events", "/metrics", "/pool/ui", "/health/ready"] {
        let fetched = sent(path, &[foreign, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "empty")]).await;
        assert_eq!(fetched.status, StatusCode::FORBIDDEN, "{path}");
    }
    let framed = sent("/pool/ui", &[foreign, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")]).await;
    assert_eq!(framed.status, StatusCode::FORBIDDEN);
    let followed = sent("/pool/ui", &[foreign, ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")]).await;
    assert_eq!(followed.status, StatusCode::OK);
    for site in ["same-origin", "none"] {
        assert_eq!(sent("/pool", &[("sec-fetch-site", site)]).await.status, StatusCode::OK, "{site}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_another_host_is_refused_if_hosts_are_named() {
    let shown = Shown::controlled();
    let status = shown.status.clone().hosts(["db.example", "127.0.0.1:8080"]);
    let at = |host: &str, path: &str| {
        let mut request = get(path);
        put(&mut request, header::HOST, host);
        ask(&status, request)
    };
    for path in ["/pool", "/pool/events", "/metrics", "/health/live"] {
        assert_eq!(at("evil.example", path).await.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
    assert_eq!(ask(&status, get("/pool")).await.status, StatusCode::MISDIRECTED_REQUEST, "without a name");
    assert_eq!(at("127.0.0.1:8080", "/pool").await.status, StatusCode::OK);
    let mut request = control("pause", "");
    put(&mut request, header::HOST, "evil.example:8080");
    assert_eq!(ask(&status, request).await.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(ask(&status, control("pause", "")).await.status, StatusCode::OK, "at any port");
}

/// What the application serves beside the pool, it may have guarded as well.
#[tokio::test(start_paused = true)]
async fn routes_of_the_application_are_guarded_if_it_wants_that() {
    let status = Shown::new(quiet(3)).status.hosts(["db.example"]);
    let own = Router::new().route("/history", routing::get(|| async { "told" }).post(|| async { "taken" }));
    let app = status.guard(own).merge(status.router());
    let asked = async |method: &str, host: &str, site: &str| {
        let request = Request::builder().method(method).uri("/history").header(header::HOST, host);
        let request = request.header("sec-fetch-site", site).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap()
    };
    let told = asked("GET", "db.example:8080", "none").await;
    assert_eq!((told.status(), told.headers()[header::CACHE_CONTROL].as_bytes()), (StatusCode::OK, &b"no-store"[..]));
    assert_eq!(asked("GET", "evil.example", "same-origin").await.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(asked("POST", "evil.example", "same-origin").await.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(asked("GET", "db.example", "cross-site").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(asked("POST", "db.example", "cross-site").await.status(), StatusCode::OK, "it has a rule of its own");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_there_is_not_is_named_with_those_that_there_are() {
    let shown = Shown::controlled();
    let mut told = Description::default();
    let mut server = ServerFacts::of("db-1:5432");
    server.address = Some("10.0.0.7:5432, 10.0.0.8:5432".to_owned());
    told.servers = vec![server, ServerFacts::of("db-2:5432")];
    shown.driver.describe_as(Some(told.clone()));
    let answer = shown.control("retire", r#"{"host": "db-3:5432"}"#).await;
    let allowed = "one of db-1:5432, db-2:5432, 10.0.0.7:5432, 10.0.0.8:5432";
    let wanted = json!([{ "field": "host", "value": "\"db-3:5432\"", "allowed": allowed }]);
    assert_eq!((answer.status, &answer.json()["fields"]), (StatusCode::UNPROCESSABLE_ENTITY, &wanted));
    for host in ["db-2:5432", "10.0.0.8:5432"] {
        let answer = shown.control("retire", &json!({ "host": host }).to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{host}");
    }
    // Not all addresses are told: it may be one of the others.
    told.servers[0].address = Some("10.0.0.7:5432 and 8 more".to_owned());
    shown.driver.describe_as(Some(told));
    assert_eq!(shown.control("retire", r#"{"host": "10.0.0.9:5432"}"#).await.status, StatusCode::OK);
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
