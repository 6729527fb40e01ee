//! The program starts while its database is away.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use pool_testkit::postgres::EphemeralPostgres;

use crate::common::{alert, post};
use crate::process::Running;

fn ask(address: &str, request: &str, body: &str) -> String {
    ask_for(address, "localhost", request, body)
}

/// An answer, as it comes.
pub(crate) fn ask_for(address: &str, host: &str, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn it_serves_before_its_database_and_says_of_each_trouble_once() {
    let mut server = EphemeralPostgres::start().unwrap();
    server.kill9().unwrap();
    let service = Running::start_on(&server.url());
    let address = service.address.as_str();
    assert!(ask(address, "GET /health/live", "").starts_with("HTTP/1.1 200 "));
    let ready = ask(address, "GET /health/ready", "");
    assert!(ready.starts_with("HTTP/1.1 503 ") && ready.contains("\"reasons\":[\""), "{ready}");
    let body = post(&[alert("A", "2026-11-01T10:00:00Z")]).to_string();
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                let refused = ask(address, "POST /webhook", &body);
                assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("database_unavailable"), "{refused}");
            });
        }
    });

    server.restart().unwrap();
    let started = Instant::now();
    while !ask(address, "GET /health/ready", "").starts_with("HTTP/1.1 200 ") {
        assert!(started.elapsed() < Duration::from_mins(1), "never ready");
        std::thread::yield_now();
    }
    let stored = ask(address, "POST /webhook", &body);
    assert!(stored.starts_with("HTTP/1.1 200 ") && stored.contains("\"stored\":1"), "{stored}");
    let log = service.end();
    let told: Vec<_> = log.iter().filter(|line| line.contains("a request failed")).collect();
    assert!((1..=8).contains(&told.len()), "24 requests failed: {told:#?}");
    assert!(!log.iter().any(|line| line.contains("given up")), "{log:#?}");
}
