//! Each address, in each of its forms.

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use pool_core::http::Status;
use pool_core::{Description, MetricFamily, MetricKind, MetricUnit, Pool, ServerFacts};
use pool_testkit::fake::{FakeDriver, quiet};
use pool_testkit::spans::Spans;
use serde_json::{Value, json};
use tracing::subscriber::set_default;

use crate::common::{Answer, SECOND, Shown, accepting, ask, ask_router, get, observer, was_logged};

const ADDRESSES: [&str; 5] = ["/health/live", "/health/ready", "/metrics", "/pool", "/pool/ui"];
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8";
/// What would end a script, begin a comment or clear a terminal, if somebody took it for more than text.
const HOSTILE: &str = "</script><!--<script>alert('pool')</script>\u{1b}[2J\u{2028}";

fn forbids(answer: &Answer, what: &str) {
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store", "{what}");
    assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff", "{what}");
    assert_eq!(answer.header(header::REFERRER_POLICY), "no-referrer", "{what}");
    let policy = answer.header(header::CONTENT_SECURITY_POLICY);
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors"), "{what}: {policy}");
}

#[tokio::test(start_paused = true)]
async fn every_answer_forbids_to_be_kept_guessed_or_framed() {
    let shown = Shown::controlled();
    shown.pool.ready(60 * SECOND).await.unwrap();
    for path in ADDRESSES {
        let answer = shown.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        forbids(&answer, path);
    }
    let others = [
        ("/pool/nowhere", StatusCode::NOT_FOUND),
        ("/pool?pool=nobody", StatusCode::NOT_FOUND),
        ("/pool?format=nonsense", StatusCode::BAD_REQUEST),
        ("/pool/", StatusCode::PERMANENT_REDIRECT),
        ("/pool/control/pause", StatusCode::METHOD_NOT_ALLOWED),
    ];
    for (path, status) in others {
        let answer = shown.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        forbids(&answer, path);
    }
    forbids(&shown.control("pause", "").await, "a control");
    forbids(&shown.control("pause", "{").await, "a control that is refused");
    let posted = Request::post("/pool").body(Body::empty()).unwrap();
    let posted = ask(&shown.status, posted).await;
    assert_eq!(posted.status, StatusCode::METHOD_NOT_ALLOWED);
    forbids(&posted, "a wrong method");
    shown.pool.close().await;
    forbids(&shown.get("/pool/events").await, "events");
    shown.status.end_events();
    let ended = shown.get("/pool/events").await;
    assert_eq!(ended.status, StatusCode::SERVICE_UNAVAILABLE);
    forbids(&ended, "no events");
}

/// So that the router can be merged into one that has a fallback of its own.
#[tokio::test(start_paused = true)]
async fn it_leaves_the_other_addresses_to_the_application() {
    let shown = Shown::new(quiet(3));
    let own = axum::Router::new().fallback(|| async { "the application's own" });
    for router in [own.clone().merge(shown.status.router()), own.nest("/internal", shown.status.router())] {
        let answer = ask_router(router, get("/somewhere")).await;
        assert_eq!((answer.body.as_str(), answer.header(header::CACHE_CONTROL)), ("the application's own", ""));
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_with_a_stroke_too_many_leads_to_the_one_without() {
    let shown = Shown::new(quiet(3));
    for (path, target) in [("/pool/?pool=main", "../pool?pool=main"), ("/pool/ui/", "../ui")] {
        let answer = shown.get(path).await;
        assert_eq!((answer.status, answer.header(header::LOCATION)), (StatusCode::PERMANENT_REDIRECT, target));
    }
}

#[tokio::test(start_paused = true)]
async fn a_format_that_there_is_not_is_refused_with_those_that_there_are() {
    let shown = Shown::new(quiet(3));
    let answer = shown.get("/pool?format=jsno").await;
    assert_eq!(
        (answer.status, answer.json()["allowed"].to_string()),
        (StatusCode::BAD_REQUEST, r#"["text","json","html"]"#.into())
    );
    assert_eq!(shown.get("/pool?format=html").await.header(header::LOCATION), "pool/ui?format=html");
}

/// Two defaults are enough for that.
#[tokio::test(start_paused = true)]
async fn two_pools_of_one_name_are_told_apart() {
    let shown = Shown::new(quiet(3));
    let other = Pool::builder(FakeDriver::new()).config(quiet(7)).build().unwrap();
    let status = shown.status.clone().pool(observer(&other, "main-2")).pool(observer(&other, "main"));
    assert!(was_logged(&["WARN", "two pools have the same name", "name=\"main\"", "other=\"main-3\""]));
    let all = ask(&status, accepting("/pool", "application/json")).await.json();
    let names: Vec<_> = all["pools"].as_array().unwrap().iter().map(|pool| pool["name"].clone()).collect();
    assert_eq!(names, ["main", "main-2", "main-3"]);
    let metrics = ask(&status, get("/metrics")).await.body;
    let waiters: Vec<_> = metrics.lines().filter(|line| line.starts_with("pool_waiters{")).collect();
    let different: std::collections::BTreeSet<_> = waiters.iter().collect();
    assert_eq!((waiters.len(), different.len()), (3, 3), "{waiters:?}");
}

#[tokio::test(start_paused = true)]
async fn one_address_answers_a_browser_a_program_and_a_terminal() {
    let shown = Shown::new(quiet(3));
    let browser = ask(&shown.status, accepting("/pool?pool=main", BROWSER)).await;
    assert_eq!((browser.status, browser.header(header::LOCATION)), (StatusCode::SEE_OTHER, "pool/ui?pool=main"));
    let program = ask(&shown.status, accepting("/pool", "application/json")).await;
    assert_eq!(program.header(header::CONTENT_TYPE), "application/json");
    assert_eq!(program.json()["pools"][0]["name"], "main");
    let terminal = ask(&shown.status, accepting("/pool", "*/*")).await;
    assert_eq!(terminal.header(header::CONTENT_TYPE), "text/plain; charset=utf-8");
    assert!(terminal.body.starts_with(" name | max | leased | idle | opening | maintenance | waiting | maxwait |"));
    for answer in [&browser, &program, &terminal] {
        assert_eq!(answer.header(header::VARY), "accept");
    }
    assert_eq!(ask(&shown.status, accepting("/pool", "image/png")).await.status, StatusCode::NOT_ACCEPTABLE);
    // For a browser without JavaScript, whatever it accepts.
    let link = ask(&shown.status, accepting("/pool?format=text", BROWSER)).await;
    assert_eq!(link.body, terminal.body);
}

#[tokio::test(start_paused = true)]
async fn metrics_are_in_the_format_that_is_asked_for() {
    let shown = Shown::new(quiet(3));
    let text = shown.get("/metrics").await;
    assert_eq!(text.header(header::CONTENT_TYPE), "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.body.contains("db_client_connection_pool_name=\"main\"") && !text.body.contains("# EOF"));
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let open = ask(&shown.status, accepting("/metrics", prometheus)).await;
    assert!(open.header(header::CONTENT_TYPE).starts_with("application/openmetrics-text"));
    assert!(open.body.ends_with("# EOF\n"));
}

#[tokio::test(start_paused = true)]
async fn several_pools_are_told_apart_and_one_can_be_asked_for() {
    let shown = Shown::new(quiet(3));
    let other = Pool::builder(FakeDriver::new()).config(quiet(7)).build().unwrap();
    let status = shown.status.clone().pool(observer(&other, "db/audit"));
    let both = ask(&status, accepting("/pool", "application/json")).await.json();
    let names: Vec<_> = both["pools"].as_array().unwrap().iter().map(|pool| pool["name"].clone()).collect();
    assert_eq!(names, ["main", "db/audit"]);
    let one = ask(&status, accepting("/pool?pool=db%2Faudit", "application/json")).await.json();
    assert_eq!((one["pools"].as_array().unwrap().len(), &one["pools"][0]["connections"]["max"]), (1, &7.into()));
    let none = ask(&status, get("/pool?pool=nobody")).await;
    assert_eq!(
        (none.status, none.json()["pools"].to_string()),
        (StatusCode::NOT_FOUND, r#"["main","db/audit"]"#.into())
    );
    let metrics = ask(&status, get("/metrics")).await.body;
    assert_eq!(metrics.matches("# TYPE pool_waiters gauge").count(), 1, "families of both are one");
    assert!(ask(&status, get("/pool")).await.body.contains("(2 rows)"));
}

#[tokio::test]
async fn metrics_of_an_application_that_panic_hide_no_others() {
    let spans = Spans::default();
    let _listening = set_default(spans.clone());
    let cups = || {
        vec![MetricFamily::new("cups", MetricKind::Counter, MetricUnit::Events, "Cups that were served.").with([], 3)]
    };
    let status = Shown::new(quiet(3)).status.clone().families(|| panic!("no cups")).families(cups);
    for _ in 0..2 {
        let metrics = ask(&status, get("/metrics")).await;
        assert_eq!((metrics.status, metrics.body.ends_with("cups_total 3\n")), (StatusCode::OK, true));
        assert!(metrics.body.contains("\npool_waiters{"));
    }
    let told = spans.events("the metrics of an application panicked");
    assert_eq!((told.len(), told[0].field("panic")), (1, "no cups"));
}

#[tokio::test(start_paused = true)]
async fn who_has_a_connection_is_shown_and_who_keeps_it_for_too_long() {
    let mut config = quiet(3);
    config.leak_after = Some(SECOND);
    let shown = Shown::new(config);
    let lease = shown.pool.acquire().await.unwrap();
    lease.note_activity("a report");
    tokio::time::sleep(5 * SECOND).await;
    let json = ask(&shown.status, accepting("/pool", "application/json")).await.json();
    let (pool, holder) = (&json["pools"][0], &json["pools"][0]["holders"][0]);
    assert_eq!((&holder["leak"], &holder["activity"]), (&true.into(), &"a report".into()));
    assert_eq!((&pool["connections"]["leased"], &pool["slots"][0]["state"]), (&1.into(), &"leased".into()));
    assert!(holder["place"].as_str().unwrap().contains("answers.rs"));
    assert!(pool["oldest_lease"]["held_seconds"].as_f64().unwrap() >= 4.0, "{pool}");
    let text = shown.get("/pool").await.body;
    assert!(text.contains("HOLDERS") && text.contains("LEAK") && text.contains("a report"), "{text}");
    drop(lease);
}

/// Of one connection that somebody has and one that is idle: what is listed in JSON, and the rows of holders in the tables, by their columns.
async fn sessions_of(shown: &Shown) -> (Value, Vec<String>) {
    let leases = [shown.pool.acquire().await.unwrap(), shown.pool.acquire().await.unwrap()];
    let [_held, idle] = leases;
    drop(idle);
    let json = ask(&shown.status, accepting("/pool", "application/json")).await.json();
    let each = |list: &str| -> Vec<_> {
        let rows = json["pools"][0][list].as_array().unwrap().iter();
        rows.map(|row| row.as_object().unwrap()["session"].clone()).collect()
    };
    let listed = json!({ "slots": each("slots"), "holders": each("holders") });
    let text = shown.get("/pool").await.body;
    let (_, holders) = text.split_once("HOLDERS\n").unwrap();
    let column = |line: &str| line.split('|').nth(2).unwrap().trim().to_owned();
    (listed, [0, 2].map(|line| column(holders.lines().nth(line).unwrap())).into())
}

#[tokio::test(start_paused = true)]
async fn the_number_of_a_session_is_in_each_list_if_there_is_one() {
    let shown = Shown::new(quiet(3));
    assert_eq!(
        sessions_of(&shown).await,
        (json!({ "slots": [null, null], "holders": [null] }), vec!["session".to_owned(), String::new()])
    );
    let shown = Shown::new(quiet(3));
    shown.driver.number_sessions_from(4_711);
    assert_eq!(
        sessions_of(&shown).await,
        (json!({ "slots": [4_711, 4_712], "holders": [4_711] }), vec!["session".to_owned(), "4711".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn no_text_is_taken_for_more_than_text() {
    let shown = Shown::new(quiet(3));
    let mut told = Description::default();
    let mut server = ServerFacts::of(HOSTILE);
    server.note = Some(HOSTILE.to_owned());
    told.servers = vec![server];
    told.settings = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
    shown.driver.describe_as(Some(told));
    let lease = shown.pool.acquire().await.unwrap();
    lease.note_activity(HOSTILE);
    let page = shown.get("/pool/ui").await;
    assert_eq!(page.header(header::CONTENT_TYPE), "text/html; charset=utf-8");
    let first = first_of(&page.body);
    assert!(!first.contains(['<', '>', '&', '\u{2028}']), "{first}");
    let json: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!(
        (&json["pools"][0]["servers"][0]["host"], &json["pools"][0]["driver_settings"][0]["value"]),
        (&HOSTILE.into(), &HOSTILE.into())
    );
    assert_eq!(page.body.matches("<script").count(), 2, "the page's own");
    let text = shown.get("/pool").await.body;
    assert!(text.contains("alert('pool')") && !text.contains(|one: char| one.is_control() && one != '\n'), "{text}");
    drop(lease);
}

/// What the page shows at first.
fn first_of(page: &str) -> &str {
    let (_, rest) = page.split_once("<script type=\"application/json\" id=\"first\">").unwrap();
    rest.split_once("</script>").unwrap().0
}

#[tokio::test(start_paused = true)]
async fn the_page_is_whole_and_light_and_works_under_any_prefix() {
    let shown = Shown::new(quiet(3));
    let router = axum::Router::new().nest("/a/b", shown.status.router());
    let page = ask_router(router.clone(), get("/a/b/pool/ui")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.len() < 200 * 1024, "{} bytes", page.body.len());
    let links: Vec<_> = page.body.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let outside =
        links.iter().filter(|link| link.starts_with('/') || link.contains("//") && !link.starts_with("data:"));
    assert_eq!(outside.count(), 0, "{links:?}");
    assert!(page.body.contains("<noscript>") && links.contains(&"../pool?format=text"));
    let policy = page.header(header::CONTENT_SECURITY_POLICY);
    assert!(
        policy.contains("script-src 'sha256-") && policy.contains("connect-src 'self'") && !policy.contains("unsafe")
    );
    assert_eq!(policy, Status::page_policy());
    let browser = ask_router(router, accepting("/a/b/pool", BROWSER)).await;
    assert_eq!(browser.header(header::LOCATION), "pool/ui", "beside itself");
}
