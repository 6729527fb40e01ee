//! What happens to the pool is on the page.

use std::time::Duration;

use pool_core::{OwnedLease, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};
use pool_testkit::proxy::{Admission, Proxy, Toxic};

use crate::common::Stage;

#[test]
fn load_starts_and_the_page_shows_it() {
    let stage = Stage::new();
    stage.runtime.block_on(stage.pool.ready(Duration::from_secs(20))).unwrap();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("healthy"));
    assert!(stage.text("tiles").contains("0 of 8"), "{}", stage.text("tiles"));
    stage.load(24);
    stage.shows("tiles", |text| text.contains("7 of 8") || text.contains("8 of 8"));
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("degraded"));
    stage.shows("reasons", |text| text.contains("connections are in use"));
    stage.shows("t-holders", |text| text.contains("SELECT an order") && text.contains("common.rs"));
    stage.shows("k-throughput", |text| text.contains("/s") && !text.ends_with(" 0 /s"));
    let cells = "return document.querySelectorAll('#cells .cell.leased').length";
    assert!(stage.run(cells, &[]).as_u64().unwrap() > 0);
    let curve = "return document.querySelectorAll('#p-throughput svg path').length";
    assert!(stage.run(curve, &[]).as_u64().unwrap() >= 2);
    stage.picture("load");
    stage.assert_undisturbed();
}

#[test]
fn the_backend_dies_and_the_page_shows_it_and_that_it_comes_back() {
    let stage = Stage::new();
    stage.load(4);
    stage.open();
    stage.shows("verdict", |text| !text.is_empty() && !text.eq_ignore_ascii_case("starting"));
    stage.driver.always(Call::Connect, Step::Fail);
    stage.driver.always(Call::Ping, Step::Fail);
    stage.pool.retire_all();
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("unhealthy"));
    stage.shows("state", |text| text.contains("breaker is") || text.contains("breaker half open"));
    stage.shows("t-journal", |text| text.contains("refuses to Connect"));
    stage.shows("said", |text| text.contains("unhealthy"));
    stage.picture("backend-gone");
    stage.driver.recover();
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("healthy") || text.eq_ignore_ascii_case("degraded"));
    stage.shows("say-breaker", |text| text.contains("open for"));
    stage.picture("backend-back");
    stage.assert_undisturbed();
}

#[test]
fn a_lease_that_nobody_gives_back_is_marked() {
    let stage = Stage::new();
    let lease = stage.runtime.block_on(stage.pool.acquire()).unwrap();
    lease.note_activity("a report that nobody reads");
    stage.open();
    stage.shows("t-holders", |text| text.contains("a report that nobody reads") && text.contains("leak"));
    stage.shows("holders-about", |text| text.contains("1 leak"));
    let marked = "return document.querySelector('#cells .cell.old').title";
    assert!(stage.run(marked, &[]).as_str().unwrap().contains("for too long"));
    stage.shows("legend", |text| text.contains("of these for too long"));
    drop(lease);
    stage.shows("t-holders", |text| text.contains("Nobody has a connection"));
}

/// The monitor may have opened one before sessions had numbers.
fn lease_with_session(stage: &Stage) -> (OwnedLease<FakeDriver>, u64) {
    for _ in 0..8 {
        let lease = stage.runtime.block_on(stage.pool.acquire_owned()).unwrap();
        let holder = stage.pool.holders().into_iter().find(|holder| holder.connection == lease.connection_id());
        if let Some(session) = holder.and_then(|holder| holder.session) {
            return (lease, session);
        }
        lease.discard();
    }
    panic!("no session has a number: {:?}", stage.pool.holders())
}

#[test]
fn the_session_of_a_holder_is_shown_if_it_has_a_number() {
    let stage = Stage::new();
    let plain = stage.runtime.block_on(stage.pool.acquire_owned()).unwrap();
    stage.open();
    stage.shows("t-holders", |text| text.contains(&plain.connection_id().to_string()) && !text.contains("Session"));
    stage.driver.number_sessions_from(70_000);
    let (lease, session) = lease_with_session(&stage);
    let told = |text: &str| text.contains("Session") && text.contains(&session.to_string());
    stage.shows("t-holders", told);
    let titles = "return [...document.querySelectorAll('#cells .cell.leased')].map(cell => cell.title).join('|')";
    let titles = stage.run(titles, &[]);
    let told: Vec<_> = titles.as_str().unwrap().split('|').filter(|title| title.contains("session")).collect();
    assert!(matches!(told[..], [one] if one.ends_with(&format!("; session {session}"))), "{titles}");
    drop((plain, lease));
    stage.assert_undisturbed();
}

#[test]
fn a_stream_that_breaks_off_is_told() {
    let stage = Stage::new();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    assert_eq!(stage.text("banner"), "");
    stage.status.end_events();
    stage.shows("banner", |text| text.contains("lost"));
    stage.shows("pulse", |text| text == "not connected");
    stage.shows("verdict", |text| text.ends_with("when last seen"));
    stage.picture("not-connected");
}

#[test]
fn a_service_that_was_away_is_found_again_and_its_news_are_shown() {
    let mut stage = Stage::new();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    stage.shows("tiles", |text| text.contains("0 of 8"));
    stage.end_service();
    stage.shows("pulse", |text| text == "not connected");
    stage.shows("banner", |text| text.contains("lost"));
    let leases: Vec<_> = (0..3).map(|_| stage.runtime.block_on(stage.pool.acquire_owned()).unwrap()).collect();
    assert!(stage.text("tiles").contains("0 of 8"), "nobody tells the page");
    stage.picture("service-gone");
    stage.restart_service();
    stage.shows("pulse", |text| text == "live");
    stage.shows("tiles", |text| text.contains("3 of 8"));
    assert_eq!(stage.text("banner"), "");
    stage.picture("service-back");
    drop(leases);
    stage.shows("tiles", |text| text.contains("0 of 8"));
}

/// As one that was stopped, or that no network leads to any more: what is open stays open.
#[test]
fn a_service_that_says_nothing_any_more_is_told() {
    let stage = Stage::new();
    let upstream = stage.address.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let proxy = stage.runtime.block_on(Proxy::start(upstream)).unwrap();
    stage.browser.goto(&format!("http://{}/internal/pool/ui", proxy.address())).unwrap();
    stage.shows("pulse", |text| text == "live");
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("healthy"));
    proxy.set_both(Toxic::Hold);
    stage.runtime.block_on(proxy.admit(Admission::Silence));
    stage.shows("pulse", |text| text == "not connected");
    stage.shows("banner", |text| text.contains("lost"));
    stage.shows("verdict", |text| text.ends_with("when last seen"));
    assert!(stage.title().contains("when last seen"), "{}", stage.title());
    stage.runtime.block_on(proxy.calm());
    stage.shows("pulse", |text| text == "live");
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("healthy"));
    assert_eq!(stage.text("banner"), "");
}

#[test]
fn a_service_that_comes_back_with_another_pool_is_not_taken_for_the_old_one() {
    let mut stage = Stage::new();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("healthy"));
    stage.end_service();
    stage.shows("pulse", |text| text == "not connected");
    stage.pool.pause();
    stage.restart_service_as("orders-primary");
    stage.shows("pulse", |text| text == "live");
    stage.shows("banner", |text| text == "There is no pool orders here any more. This is orders-primary.");
    stage.shows("name", |text| text == "orders-primary");
    stage.shows("verdict", |text| text.contains("paused"));
    assert!(stage.title().ends_with("paused: orders-primary"), "{}", stage.title());
    stage.shows("said", |text| text.contains("orders-primary"));
    assert_eq!(stage.run("return document.getElementById('chooser').hidden", &[]), true, "there is nothing to choose");
}

#[test]
fn out_of_sight_it_does_not_go_on_to_say_how_the_pool_is() {
    let stage = Stage::new();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("healthy"));
    // The minute that it waits takes no time.
    let hide = "const later = setTimeout;
        window.setTimeout = (then, after) => later(then, after === 60000 ? 0 : after);
        window.hide = hidden => {
            Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
            document.dispatchEvent(new Event('visibilitychange'));
        };
        window.hide(true)";
    stage.run(hide, &[]);
    stage.shows("pulse", |text| text == "paused while out of sight");
    stage.shows("verdict", |text| text.ends_with("when last seen"));
    assert!(stage.title().contains("when last seen"), "{}", stage.title());
    stage.run("window.hide(false)", &[]);
    stage.shows("pulse", |text| text == "live");
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("healthy"));
    assert!(stage.title().eq_ignore_ascii_case("healthy: orders"), "{}", stage.title());
    assert_eq!(stage.text("banner"), "");
    stage.assert_undisturbed();
}

#[test]
fn a_pool_that_is_closed_is_shown_as_it_was_last() {
    let stage = Stage::new();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    stage.runtime.block_on(stage.pool.close());
    stage.shows("banner", |text| text.contains("has been closed"));
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("closed"));
    stage.assert_undisturbed();
}

#[test]
fn a_service_that_comes_after_the_one_that_was_closed_is_found() {
    let mut stage = Stage::new();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    stage.runtime.block_on(stage.pool.close());
    stage.shows("pulse", |text| text == "closed");
    stage.end_service();
    let next = || Pool::builder(FakeDriver::new()).config(quiet(5)).build().unwrap();
    stage.pool = stage.runtime.block_on(async { next() });
    stage.restart_service();
    stage.shows("pulse", |text| text == "live");
    stage.shows("tiles", |text| text.contains("of 5"));
    assert_eq!(stage.text("banner"), "");
}

/// What has come since is drawn, to the right of what was there.
#[test]
fn the_charts_go_on_when_the_clock_of_the_service_is_set_back() {
    let stage = Stage::new();
    stage.load(4);
    stage.open();
    stage.shows("strip-span", |text| text.contains("the last"));
    let an_hour_ago = "document.getElementById('d-history').open = true;
        const parse = JSON.parse, clock = at => new Date(at * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
        JSON.parse = text => {
            const told = parse(text);
            for (const pool of told.pools) {
                pool.at = new Date(Date.parse(pool.at) - 3600000).toISOString();
                pool.history.at_unix_seconds = pool.history.at_unix_seconds.map(at => at - 3600);
                window.newest = pool.history.at_unix_seconds.length ? clock(pool.history.at_unix_seconds.at(-1)) : window.newest;
            }
            return told;
        }";
    stage.run(an_hour_ago, &[]);
    let newest = || stage.run("return window.newest || null", &[]);
    // What comes with the first event may be what the page has already.
    stage.shows("t-history", |text| newest().as_str().is_some_and(|newest| text.contains(newest)));
    let goes_right = "const drawn = document.querySelector('#p-throughput svg path.first').getAttribute('d');
        const x = [...drawn.matchAll(/[ML]([-0-9.]+) /g)].map(part => Number(part[1]));
        return x.length > 2 && x.every((at, place) => at >= 0 && !(at <= x[place - 1]))";
    assert_eq!(stage.run(goes_right, &[]), true);
    assert!(!stage.text("strip-span").contains(" h"), "no hour has gone by: {}", stage.text("strip-span"));
    stage.assert_undisturbed();
}
