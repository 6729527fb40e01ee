//! Many connections, and many pools.

use std::time::Duration;

use pool_core::{OwnedLease, Pool};
use pool_testkit::fake::{Call, FakeDriver, Step, quiet};

use crate::common::{Stage, observer, settings};

#[test]
fn connections_that_are_not_drawn_are_counted() {
    let mut config = settings();
    (config.max_size, config.min_size) = (1000, 1000);
    (config.max_openers, config.opener_interval, config.leak_after) = (100, None, Some(Duration::from_secs(3)));
    config.close_timeout = Duration::from_mins(10);
    let stage = Stage::of(config, |_| Vec::new());
    stage.runtime.block_on(stage.pool.ready(Duration::from_mins(1))).unwrap();
    let mut leases: Vec<_> = (0..900).map(|_| stage.runtime.block_on(stage.pool.acquire_owned()).unwrap()).collect();
    stage.open();
    stage.shows("legend", |text| text.contains("900") && text.contains("99"));
    let label = stage.run("return document.getElementById('cells').getAttribute('aria-label')", &[]);
    let label = label.as_str().unwrap();
    assert!(label.starts_with("1,000 slots: 900 leased") && label.contains("99 idle"), "{label}");
    let cells = stage.run("return document.querySelectorAll('#cells .cell').length", &[]);
    assert_eq!(cells, 300, "as many as are drawn");
    let told = |wanted: &'static str| move |text: &str| words(text).contains(wanted);
    stage.shows("holders-about", told("900 leases, 900 leaks; the longest 300"));
    stage.shows("legend", told("900 of these for too long"));
    stage.driver.always(Call::Close, Step::Hang);
    leases.drain(500..).for_each(OwnedLease::discard);
    stage.shows("legend", told("400 closing"));
    stage.shows("holders-about", told("500 leases, 500 leaks"));
}

/// With one space between them, however they are laid out.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn of_connections_that_are_shared_it_says_so() {
    let mut shared = None;
    let stage = Stage::of(settings(), |_| {
        let driver = FakeDriver::new();
        driver.share_by(4);
        let pool = shared.insert(Pool::builder(driver).config(quiet(2)).build().unwrap());
        vec![observer(pool, "shared")]
    });
    let pool = shared.unwrap();
    let callers: Vec<_> = (0..8).map(|_| stage.runtime.block_on(pool.share_owned()).unwrap()).collect();
    stage.browser.goto(&format!("{}?pool=shared", stage.address)).unwrap();
    stage.shows("pulse", |text| text == "live");
    stage.shows("t-holders", |text| text == "2 connections are shared; those have no holder.");
    stage.shows("tiles", |text| text.contains("2 of 2") && text.contains("shared ones are not timed"));
    drop(callers);
    stage.shows("t-holders", |text| text == "Nobody has a connection.");
    stage.shows("tiles", |text| text.contains("none is out"));
}

/// With six, which come one at a time.
fn many() -> (Stage, Vec<Pool<FakeDriver>>) {
    let mut others = Vec::new();
    let stage = Stage::of(settings(), |_| {
        let pool = || Pool::builder(FakeDriver::new()).config(quiet(3)).build().unwrap();
        others.extend((0..5).map(|_| pool()));
        others.iter().enumerate().map(|(number, pool)| observer(pool, &format!("audit-{number}"))).collect()
    });
    (stage, others)
}

fn choose(stage: &Stage, name: &str) {
    let choose = "const box = document.getElementById('pools'); box.value = arguments[0]; box.dispatchEvent(new Event('change'))";
    stage.run(choose, &[name.into()]);
}

/// No figure of another one, or of another time, is taken for its own.
fn assert_only_its_state(stage: &Stage, name: &str) {
    stage.shows("name", |text| text == name);
    assert_eq!((stage.text("about"), stage.text("tiles")), ("Waiting for its first event".to_owned(), String::new()));
    assert_eq!(stage.text("legend"), "");
    let verdict = stage.text("verdict");
    assert!(verdict.ends_with("when last seen"), "{verdict}");
    assert!(stage.title().ends_with(&format!("when last seen: {name}")), "{}", stage.title());
}

#[test]
fn of_a_pool_that_is_chosen_and_does_not_come_it_shows_no_others_figures() {
    let (stage, _others) = many();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    stage.shows("tiles", |text| text.contains("of 8"));
    choose(&stage, "audit-4");
    stage.shows("tiles", |text| text.contains("of 3"));
    // From now on every stream is refused.
    stage.status.end_events();
    stage.shows("banner", |text| text.contains("lost"));
    choose(&stage, "audit-3");
    stage.shows("pulse", |text| text == "not connected");
    assert_only_its_state(&stage, "audit-3");
    choose(&stage, "orders");
    assert_only_its_state(&stage, "orders");
    stage.picture("refused");
    // Of this one it has seen something last.
    choose(&stage, "audit-4");
    stage.shows("tiles", |text| text.contains("of 3"));
    assert!(stage.text("verdict").ends_with("when last seen"));
}

#[test]
fn one_of_many_that_is_gone_is_told_and_another_one_is_shown() {
    let (mut stage, _others) = many();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    choose(&stage, "audit-4");
    stage.shows("tiles", |text| text.contains("of 3"));
    stage.end_service();
    stage.shows("pulse", |text| text == "not connected");
    stage.restart_service();
    stage.shows("banner", |text| text == "There is no pool audit-4 here any more. This is orders.");
    stage.shows("tiles", |text| text.contains("of 8"));
    stage.shows("pulse", |text| text == "live");
    stage.shows("name", |text| text == "orders");
    assert_eq!(stage.run("return document.querySelectorAll('#pools option').length", &[]), 1, "the others are gone");
}

#[test]
fn the_chooser_has_the_state_of_each_of_many_pools() {
    let (stage, others) = many();
    stage.open();
    let option = |number: usize| {
        let text = stage.run("return document.querySelectorAll('#pools option')[arguments[0]].text", &[number.into()]);
        text.as_str().unwrap().to_owned()
    };
    stage.shows("pulse", |text| text == "live");
    assert_eq!((option(0), option(4)), ("audit-0".to_owned(), "audit-4".to_owned()));
    others[4].pause();
    stage.shows("pools", |text| text.contains("audit-4 (degraded, paused)"));
    choose(&stage, "audit-4");
    stage.shows("name", |text| text == "audit-4");
    stage.shows("tiles", |text| text.contains("of 3"));
    others[4].resume();
    stage.shows("pools", |text| !text.contains("paused"));
    assert_eq!(stage.browser.console_errors().unwrap(), Vec::<String>::new());
}
