//! Many connections, and many pools.

use std::time::Duration;

use pool_core::Pool;
use pool_testkit::fake::{FakeDriver, quiet};

use crate::common::{Stage, observer, settings};

#[test]
fn connections_that_are_not_drawn_are_counted() {
    let mut config = settings();
    (config.max_size, config.min_size) = (1000, 1000);
    (config.max_openers, config.opener_interval, config.leak_after) = (100, None, None);
    let stage = Stage::of(config, |_| Vec::new());
    stage.runtime.block_on(stage.pool.ready(Duration::from_mins(1))).unwrap();
    let leases: Vec<_> = (0..900).map(|_| stage.runtime.block_on(stage.pool.acquire_owned()).unwrap()).collect();
    stage.open();
    stage.shows("legend", |text| text.contains("900") && text.contains("99"));
    let label = stage.run("return document.getElementById('cells').getAttribute('aria-label')", &[]);
    let label = label.as_str().unwrap();
    assert!(label.starts_with("1,000 slots: 900 leased") && label.contains("99 idle"), "{label}");
    let cells = stage.run("return document.querySelectorAll('#cells .cell').length", &[]);
    assert_eq!(cells, 300, "as many as are drawn");
    drop(leases);
}

#[test]
fn the_chooser_has_the_state_of_each_of_many_pools() {
    let mut others = Vec::new();
    let stage = Stage::of(settings(), |_| {
        let pool = || Pool::builder(FakeDriver::new()).config(quiet(3)).build().unwrap();
        others.extend((0..5).map(|_| pool()));
        others.iter().enumerate().map(|(number, pool)| observer(pool, &format!("audit-{number}"))).collect()
    });
    stage.open();
    let option = |number: usize| {
        let text = stage.run("return document.querySelectorAll('#pools option')[arguments[0]].text", &[number.into()]);
        text.as_str().unwrap().to_owned()
    };
    stage.shows("pulse", |text| text == "live");
    assert_eq!((option(0), option(4)), ("audit-0".to_owned(), "audit-4".to_owned()));
    others[4].pause();
    stage.shows("pools", |text| text.contains("audit-4 (degraded, paused)"));
    let choose =
        "const box = document.getElementById('pools'); box.value = 'audit-4'; box.dispatchEvent(new Event('change'))";
    stage.run(choose, &[]);
    stage.shows("name", |text| text == "audit-4");
    stage.shows("tiles", |text| text.contains("of 3"));
    others[4].resume();
    stage.shows("pools", |text| !text.contains("paused"));
    assert_eq!(stage.browser.console_errors().unwrap(), Vec::<String>::new());
}
