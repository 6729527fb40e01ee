//! The tools of operators, each against something trivial.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use pool_testkit::tools::{Alertmanager, Browser, Prometheus, Promtool, axe_core};

/// Serves one page at every path, and passes on what it was sent.
fn serve(page: &'static str) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let sender = sender.clone();
            // Each by a thread: a browser also opens connections that it may want to use later.
            std::thread::spawn(move || {
                let kind = if page.starts_with('<') { "text/html" } else { "text/plain; version=0.0.4" };
                let request = read(&mut stream);
                if request.is_empty() {
                    return;
                }
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}; charset=utf-8\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}",
                    page.len()
                );
                let _ = sender.send(request);
            });
        }
    });
    (address, receiver)
}

/// A request, until its head and as much of a body as it says have come.
fn read(stream: &mut impl Read) -> String {
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        match stream.read(&mut chunk) {
            Ok(count) if count > 0 => text.push_str(&String::from_utf8_lossy(&chunk[..count])),
            _ => return text,
        }
    }
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

const METRICS: &str = "# HELP speed_metres What is read.\n# TYPE speed_metres gauge\nspeed_metres{of=\"x\"} 7\n";

#[test]
fn prometheus_scrapes_and_its_rules_fire() {
    let (address, _requests) = serve(METRICS);
    let config = format!(
        "global: {{ scrape_interval: 200ms, evaluation_interval: 200ms }}\n\
         scrape_configs: [{{ job_name: page, scrape_timeout: 200ms, static_configs: [{{ targets: ['{address}'] }}] }}]\n"
    );
    let rules = "groups: [{ name: g, rules: [{ alert: TooHigh, expr: speed_metres > 6 }, { alert: TooLow, expr: speed_metres < 6 }] }]\n";
    let prometheus = Prometheus::start(&config, rules).unwrap();
    assert!(prometheus.version().starts_with("prometheus, version "));
    eventually("the alert fires", || prometheus.firing().unwrap() == ["TooHigh"]);
    // A scrape that takes too long leaves nothing to be asked for.
    eventually("a query is answered", || prometheus.query("speed_metres{of=\"x\"} + 1").unwrap()[0]["value"][1] == "8");
    let told = prometheus.query("no query (").unwrap_err().to_string();
    assert!(told.contains("parse error") && told.contains("Server is ready"), "its log is told, too: {told}");
    let told = Prometheus::start("no such key: 1\n", "").unwrap_err().to_string();
    assert!(told.contains("no such key"), "{told}");
}

#[test]
fn promtool_says_what_is_wrong() {
    let promtool = Promtool::find().unwrap();
    promtool.check_metrics(METRICS).unwrap();
    let told = promtool.check_metrics("# TYPE a_total gauge\na_total 1\n").unwrap_err().to_string();
    assert!(told.contains("a_total"), "{told}");
    assert!(promtool.run(&["check", "rules", "/nonexistent.yml"]).unwrap_err().to_string().contains("nonexistent"));
}

#[test]
fn alertmanager_posts_what_amtool_adds() {
    let (address, requests) = serve("taken");
    let alertmanager = Alertmanager::start(&format!("http://{address}/hook")).unwrap();
    assert!(alertmanager.version().starts_with("alertmanager, version "));
    alertmanager.amtool(&["alert", "add", "TooHigh", "severity=page"]).unwrap();
    let post = requests.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("{}", alertmanager.log()));
    assert!(post.starts_with("POST /hook ") && post.contains("\"alertname\":\"TooHigh\""), "{post}");
    assert!(alertmanager.amtool(&["alert", "query"]).unwrap().contains("TooHigh"));
    assert!(alertmanager.amtool(&["no-such-command"]).unwrap_err().to_string().contains("no-such-command"));
}

const PAGE: &str = r#"<!doctype html><html lang="en"><head><title>A page</title><link rel="icon" href="data:,"><style>
@media (prefers-color-scheme: dark) { body { background: rgb(1, 2, 3) } } </style></head><body><main><h1>Hello</h1>
<label>Name <input id="name"></label><p style="color:#777;background:#888">unreadable</p></main>
<script>document.title += " that runs"; fetch("/data"); console.warn("beware"); undefined_function()</script></body></html>"#;

#[test]
fn a_browser_shows_a_page() {
    let (address, _requests) = serve(PAGE);
    let browser = Browser::builder().window(390, 844).start().unwrap();
    browser.goto(&format!("http://{address}/start")).unwrap();
    assert_eq!(browser.execute("return document.title").unwrap(), "A page that runs");
    assert_eq!(browser.execute("return innerWidth").unwrap(), 390);
    assert_eq!(browser.execute_with("return arguments[0] + 1", &[41.into()]).unwrap(), 42);
    let told = browser.execute("return nothing_like_this").unwrap_err().to_string();
    assert!(told.contains("nothing_like_this"), "{told}");

    let errors = browser.console_errors().unwrap();
    assert!(matches!(&errors[..], [one] if one.contains("undefined_function")), "{errors:?}");
    assert_eq!(browser.console_errors().unwrap(), errors, "they are kept");
    assert!(browser.console().unwrap().iter().any(|line| line.level == "WARNING" && line.message.contains("beware")));
    eventually("both requests are told", || {
        let requests = browser.requests().unwrap();
        let urls: BTreeSet<_> = requests.into_iter().map(|request| request.url).collect();
        urls.is_superset(&["start", "data"].map(|path| format!("http://{address}/{path}")).into())
    });
}

#[test]
fn a_browser_is_used() {
    let (address, _requests) = serve(PAGE);
    let browser = Browser::start().unwrap();
    browser.goto(&format!("http://{address}/")).unwrap();
    let colour = "return getComputedStyle(document.body).backgroundColor";
    browser.set_dark(true).unwrap();
    assert_eq!(browser.execute(colour).unwrap(), "rgb(1, 2, 3)");
    browser.set_dark(false).unwrap();
    assert_ne!(browser.execute(colour).unwrap(), "rgb(1, 2, 3)");

    browser.press("\u{e004}me").unwrap();
    assert_eq!(browser.execute("return document.getElementById('name').value").unwrap(), "me");
}

#[test]
fn a_browser_takes_pictures_and_judges_pages() {
    let (address, _requests) = serve(PAGE);
    let browser = Browser::start().unwrap();
    browser.goto(&format!("http://{address}/")).unwrap();
    let path = std::env::temp_dir().join(format!("pool-testkit-{}.png", std::process::id()));
    browser.screenshot(&path).unwrap();
    let picture = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(picture.starts_with(b"\x89PNG"), "{} bytes", picture.len());
    browser.execute(&axe_core().unwrap()).unwrap();
    let violations = browser.execute("return axe.run().then(r => r.violations.map(v => v.id))").unwrap();
    assert_eq!(violations, serde_json::json!(["color-contrast"]));
}
