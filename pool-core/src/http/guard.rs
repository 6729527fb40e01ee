//! What goes before every request, and with every answer.

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use serde_json::json;

use super::Status;
use super::reply::{HEADERS, Reply};

/// Refuses what a browser asks for on behalf of a foreign page, and adds what no answer may be without.
pub(super) async fn guard(State(status): State<Status>, request: Request, next: Next) -> Response {
    let refusal = refuse(&status, &request);
    let mut response = match refusal {
        Some(reply) => reply.into(),
        // Owned across the await: the request, by what answers it. One that is dropped there is one that nobody waits for.
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn refuse(status: &Status, request: &Request) -> Option<Reply> {
    if !is_for(&status.hosts, own_host(request)) {
        let why = "this host is not one of those that are answered";
        return Some(Reply::json(StatusCode::MISDIRECTED_REQUEST, &json!({ "error": why })));
    }
    // The controls have a rule of their own, which is stricter, and so should have whatever else is changed.
    let reads = *request.method() != Method::POST;
    (reads && is_for_a_foreign_page(request.headers())).then(|| {
        let why = "a page of another origin may not ask for this";
        Reply::json(StatusCode::FORBIDDEN, &json!({ "error": why }))
    })
}

/// As browsers say it; programs need not. To follow a link from elsewhere is no request of that page, but one of its reader; a frame in it is one.
fn is_for_a_foreign_page(headers: &HeaderMap) -> bool {
    let says = |name: &str, wanted: &[u8]| headers.get(name).is_some_and(|value| value.as_bytes() == wanted);
    let follows = says("sec-fetch-mode", b"navigate") && says("sec-fetch-dest", b"document");
    says("sec-fetch-site", b"cross-site") && !follows
}

/// The host that was asked, with its port. In HTTP/2 it is in the address.
pub(super) fn own_host(request: &Request) -> Option<&str> {
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| request.uri().authority().map(Authority::as_str))
}

/// Whether it is one of those, which may be named without a port. None are all.
fn is_for(hosts: &[String], asked: Option<&str>) -> bool {
    let is = |host: &String| asked.is_some_and(|asked| host.eq_ignore_ascii_case(asked) || is_at_any_port(host, asked));
    hosts.is_empty() || hosts.iter().any(is)
}

fn is_at_any_port(host: &str, asked: &str) -> bool {
    let port = asked.get(..host.len()).filter(|name| name.eq_ignore_ascii_case(host)).map(|_| &asked[host.len()..]);
    let digits = port.and_then(|port| port.strip_prefix(':'));
    digits.is_some_and(|digits| digits.bytes().all(|one| one.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_with_its_port_or_without() {
        let hosts = ["db.example".to_owned(), "127.0.0.1:8080".to_owned(), "[::1]".to_owned()];
        for asked in ["db.example", "DB.Example:8080", "127.0.0.1:8080", "[::1]:1", "[::1]"] {
            assert!(is_for(&hosts, Some(asked)), "{asked}");
        }
        for asked in ["127.0.0.1", "127.0.0.1:80", "evil.example", "db.example.evil", "db.example:8080.evil", ""] {
            assert!(!is_for(&hosts, Some(asked)), "{asked}");
        }
        assert!(!is_for(&hosts, None) && is_for(&[], None));
    }
}
