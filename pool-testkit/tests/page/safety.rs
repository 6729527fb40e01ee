//! What it weighs, how soon it is there, and what it does with hostile text.

use pool_core::{Description, ServerFacts};

use crate::common::Stage;

const HOSTILE: &str = "</script><img src=x onerror=\"window.taken=1\"><!--<script>window.taken=1</script>";

/// The page notes when what came with it has been painted: what the browser itself calls the first paint may be that of the header.
const FIGURES: &str = "return new Promise(done => { const look = () => {
    const [page] = performance.getEntriesByType('navigation'), [paint] = performance.getEntriesByName('painted with data');
    paint ? done({ bytes: page.transferSize, painted: paint.startTime }) : setTimeout(look, 20); }; look(); })";

#[test]
fn it_is_light_and_painted_with_data_within_a_second() {
    let stage = Stage::new();
    stage.load(24);
    // The best of several: what else the machine does at that moment is not the page's.
    let load = || {
        stage.open();
        let figures = stage.run(FIGURES, &[]);
        (figures["bytes"].as_u64().unwrap(), figures["painted"].as_f64().expect("it has been painted"))
    };
    let mut loads = vec![load()];
    while loads.len() < 20 && loads.iter().all(|(_, painted)| *painted >= 1000.0) {
        loads.push(load());
    }
    println!("the page: {loads:?} bytes, and milliseconds until it is painted with data");
    assert!(loads.iter().all(|(bytes, _)| (1..200 * 1024).contains(bytes)), "{loads:?}");
    assert!(loads.iter().any(|(_, painted)| *painted < 1000.0), "{loads:?}");
    stage.shows("pulse", |text| text == "live");
    stage.assert_undisturbed();
}

#[test]
fn what_is_painted_first_has_data_before_any_event() {
    let stage = Stage::new();
    stage.status.end_events(); // so that all there is came with the page
    stage.load(4);
    stage.open();
    assert!(stage.text("tiles").contains("of 8"), "{}", stage.text("tiles"));
    assert!(!stage.text("verdict").is_empty());
}

#[test]
fn hostile_text_is_shown_and_does_nothing() {
    let stage = Stage::new();
    let mut told = Description::default();
    told.servers = vec![ServerFacts::of(HOSTILE)];
    told.settings = vec![(HOSTILE.to_owned(), HOSTILE.to_owned())];
    stage.driver.describe_as(Some(told));
    let lease = stage.runtime.block_on(stage.pool.acquire()).unwrap();
    lease.note_activity(HOSTILE);
    stage.open();
    stage.shows("pulse", |text| text == "live");
    stage.shows("t-servers", |text| text.contains(HOSTILE));
    stage.shows("t-holders", |text| text.contains(HOSTILE));
    let taken = stage.run("return [window.taken === undefined, document.images.length]", &[]);
    assert_eq!(taken.to_string(), "[true,0]");
    stage.assert_undisturbed();
    drop(lease);
}
