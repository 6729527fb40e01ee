//! The page that says how large a pool has to be: numbers in, by the keyboard, and numbers out.

use pool_testkit::tools::{Browser, axe_core};
use serde_json::{Value, json};

use crate::pack::text;

/// Tab, and what selects all of a field.
const TAB: &str = "\u{e004}";

/// The part that waits, by Erlang's formula as it is in books.
fn erlang_c(used: f64, size: u32) -> f64 {
    let term = |k: u32| (1..=k).fold(1.0, |term, i| term * used / f64::from(i));
    let last = term(size) * f64::from(size) / (f64::from(size) - used);
    last / ((0..size).map(term).sum::<f64>() + last)
}

fn smallest(used: f64, wait: f64) -> u32 {
    (1..1000).find(|size| used <= 0.7 * f64::from(*size) && erlang_c(used, *size) <= wait).unwrap()
}

async fn page() -> Browser {
    let page = text("sizing.html");
    let routes = axum::Router::new().route("/", axum::routing::get(|| async { axum::response::Html(page) }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let opening = tokio::task::spawn_blocking(move || {
        let browser = Browser::builder().window(390, 844).start().unwrap();
        browser.goto(&url).unwrap();
        browser
    });
    opening.await.unwrap()
}

/// Types into the fields, one after the other, as somebody without a mouse.
fn fill(browser: &Browser, values: [&str; 6]) {
    browser.execute("document.activeElement.blur(); window.getSelection().removeAllRanges()").unwrap();
    for (index, value) in values.iter().enumerate() {
        if index == 0 {
            browser
                .execute("document.getElementById('rate').focus(); document.getElementById('rate').select()")
                .unwrap();
        } else {
            // Whoever comes to a field by this key has all of it selected.
            browser.press(TAB).unwrap();
        }
        browser.press(value).unwrap();
    }
}

fn shown(browser: &Browser, id: &str) -> String {
    let text = browser.execute_with("return document.getElementById(arguments[0]).textContent", &[json!(id)]).unwrap();
    text.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_in_numbers_out() {
    let browser = page().await;
    tokio::task::spawn_blocking(move || {
        assert_eq!(
            [shown(&browser, "size"), shown(&browser, "used")],
            ["13", "4.8"],
            "the example, before anything is typed"
        );
        for (rate, hold, instances, wait) in [
            (400.0, 12.0, 1.0, 1.0),
            (400.0, 12.0, 3.0, 1.0),
            (2000.0, 7.5, 2.0, 5.0),
            (3.0, 2.0, 1.0, 0.1),
            (9000.0, 10.0, 1.0, 20.0),
        ] {
            fill(
                &browser,
                [rate, hold, hold * 4.6, instances, 500.0, wait]
                    .map(|value| value.to_string())
                    .each_ref()
                    .map(String::as_str),
            );
            let used = rate * hold / 1000.0 / instances;
            let size = smallest(used, wait / 100.0);
            assert_eq!(shown(&browser, "size"), (size + 1).to_string(), "{rate} {hold} {instances} {wait}");
            assert_eq!(shown(&browser, "all"), (f64::from(size + 1) * instances).to_string());
            browser.execute("document.getElementById('monitor').click()").unwrap();
            assert_eq!(shown(&browser, "size"), size.to_string(), "without a monitor");
            browser.execute("document.getElementById('monitor').click()").unwrap();
            let waits: f64 = shown(&browser, "waits").strip_suffix(" %").unwrap().parse().unwrap();
            assert!((waits - erlang_c(used, size) * 100.0).abs() < 0.006, "{waits} of {used} in {size}");
        }
        assert!(shown(&browser, "notes").starts_with("It fits"), "{}", shown(&browser, "notes"));
        assert_eq!(browser.console_errors().unwrap(), [""; 0]);
        assert_eq!(browser.requests().unwrap().iter().filter(|request| request.url.starts_with("http")).count(), 1);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_and_what_is_no_number_is_told() {
    let browser = page().await;
    tokio::task::spawn_blocking(move || {
        for (values, told) in [
            (["4000", "12", "50", "1", "70", "1"], "Too many: the server has 67"),
            (["4000", "12", "50", "1", "100", "1"], "There is no room for one instance more"),
            (["400", "12", "500", "1", "100", "1"], "ten times the mean"),
            (["400", "12", "5", "1", "100", "1"], "below the mean"),
            (["many", "12", "50", "1", "100", "1"], "Each field takes a number"),
            (["400", "12", "50", "1.5", "100", "1"], "Each field takes a number"),
            (["9999999", "9999", "50", "1", "100", "1"], "65,535"),
        ] {
            fill(&browser, values);
            let notes = shown(&browser, "notes");
            assert!(notes.contains(told), "{values:?}: {notes}");
        }
        assert_eq!(shown(&browser, "size"), "–");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_can_use_it_light_and_dark() {
    let browser = page().await;
    tokio::task::spawn_blocking(move || {
        for dark in [false, true] {
            browser.set_dark(dark).unwrap();
            fill(&browser, ["many", "12", "50", "1", "100", "1"]);
            browser.execute(&axe_core().unwrap()).unwrap();
            let violations = browser.execute("return axe.run().then(r => r.violations)").unwrap();
            assert_eq!(violations, Value::Array(Vec::new()), "dark: {dark}");
        }
        let wide = browser.execute("return document.documentElement.scrollWidth > innerWidth").unwrap();
        assert_eq!(wide, false, "a phone has to scroll sideways");
    })
    .await
    .unwrap();
}
