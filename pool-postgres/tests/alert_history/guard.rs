//! What a page from elsewhere could make a browser ask for.

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use pool_testkit::postgres::{EphemeralPostgres, SharedPostgres};
use serde_json::{Value, json};

use crate::away::ask_for;
use crate::common::{Service, alert, post};
use crate::process::Running;

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(Full::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn a_page_from_elsewhere_neither_stores_alerts_nor_reads_them() {
    let database = EphemeralPostgres::shared().and_then(SharedPostgres::create_database).expect("a real server");
    let service = Service::start_at(database.url(), None, vec!["localhost".to_owned()]).await;
    let body = post(&[alert("Forged", "2026-11-01T10:00:00Z")]).to_string();
    let (own, foreign, json) =
        (("host", "localhost:8080"), ("sec-fetch-site", "cross-site"), ("content-type", "application/json"));

    // Without a question of the browser's before it, a page can send these types alone, or none.
    let simple = ["text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data"];
    for kind in simple {
        let (status, answer) =
            service.ask(request("POST", "/webhook", &[own, foreign, ("content-type", kind)], &body)).await;
        assert_eq!((status, &answer["error"]), (415, &json!("unsupported_media_type")), "{kind}: {answer}");
    }
    assert_eq!(service.ask(request("POST", "/webhook", &[own], &body)).await.0, 415, "without a type");
    let question = [own, foreign, ("access-control-request-method", "POST"), ("origin", "https://evil.example")];
    let response = service.send(request("OPTIONS", "/webhook", &question, "")).await;
    assert!(!response.status().is_success() && !response.headers().contains_key("access-control-allow-origin"));

    // One whose name leads here all of a sudden is of its own origin for a browser.
    let rebound = ("host", "evil.example:8080");
    assert_eq!(service.ask(request("POST", "/webhook", &[rebound, json], &body)).await.0, 421);
    for path in ["/history", "/pool?format=json", "/metrics"] {
        assert_eq!(service.ask(request("GET", path, &[rebound], "")).await.0, 421, "{path}");
        let fetched = request("GET", path, &[own, foreign, ("sec-fetch-mode", "no-cors")], "");
        assert_eq!(service.ask(fetched).await.0, 403, "{path}");
    }

    let history = async || service.ask(request("GET", "/history", &[own], "")).await;
    assert_eq!(history().await, (200, Value::Null), "nothing was stored");
    let sent = request("POST", "/webhook", &[own, ("content-type", "Application/JSON; charset=utf-8")], &body);
    assert_eq!(service.ask(sent).await, (200, json!({ "stored": 1 })), "as an Alertmanager does");
    assert_eq!(history().await.1["alertname"], "Forged");
}

#[test]
fn the_program_answers_those_who_ask_for_its_address_or_this_machine() {
    let service = Running::start();
    let address = service.address.clone();
    for host in [&address, "127.0.0.1", "localhost", "LocalHost:8080"] {
        assert!(ask_for(&address, host, "GET /history", "").starts_with("HTTP/1.1 200 "), "{host}");
    }
    for path in ["/history", "/health/live"] {
        let refused = ask_for(&address, "evil.example", &format!("GET {path}"), "");
        assert!(refused.starts_with("HTTP/1.1 421 "), "{path}: {refused}");
    }
    service.end();
}
