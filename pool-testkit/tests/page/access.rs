//! Whoever looks at it, and by whatever means.

use pool_testkit::tools::axe_core;
use serde_json::json;

use crate::common::Stage;

/// What is wrong, and which rules axe leaves open.
const JUDGE: &str = "const painted = () => new Promise(requestAnimationFrame);
    return painted().then(painted).then(() => axe.run(document, { resultTypes: ['violations', 'incomplete'] })).then(found => ({
      open: found.incomplete.map(one => one.id),
      wrong: found.violations.map(one => one.id + ': ' + one.help + ': ' + one.nodes.map(node => node.html.slice(0, 200) + ' ' + node.failureSummary).join(' | ')) }))";
/// Axe leaves the contrast open of texts in pictures, of single letters, and of what is scrolled out of sight. So all texts are measured: their colour on the next ground below them that is not transparent.
const MEASURE: &str = "const parts = colour => colour.match(/[0-9.]+/g).map(Number);
    const light = colour => { const [red, green, blue] = colour.map(part => part / 255).map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4); return 0.2126 * red + 0.7152 * green + 0.0722 * blue; };
    const ground = node => { for (let one = node; one; one = one.parentElement) { const colour = parts(getComputedStyle(one).backgroundColor); if (colour.length === 3) return colour; } throw 'no ground'; };
    const contrast = node => { const style = getComputedStyle(node), ink = light(parts(node instanceof SVGElement ? style.fill : style.color)), below = light(ground(node)); return (Math.max(ink, below) + 0.05) / (Math.min(ink, below) + 0.05); };
    const hasText = node => [...node.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.data.trim());
    const texts = [...document.querySelectorAll('body *:not(script, noscript, noscript *)')].filter(hasText);
    const faint = texts.filter(node => contrast(node) < 4.5).map(node => contrast(node).toFixed(2) + ' ' + node.outerHTML.slice(0, 200));
    return { faint, pictured: texts.filter(node => node instanceof SVGElement).length, letters: texts.filter(node => node.matches('.cell')).length }";
/// Widths of a desk, of a phone, and of the narrowest one.
const WIDTHS: [u32; 3] = [1280, 390, 320];

#[test]
fn it_keeps_nobody_out_in_light_and_dark_on_a_desk_and_on_a_phone() {
    let stage = Stage::new();
    stage.load(24);
    let lease = stage.runtime.block_on(stage.pool.acquire()).unwrap();
    stage.open();
    stage.shows("t-holders", |text| text.contains("leak"));
    stage.run("for (const one of document.querySelectorAll('details')) one.open = true", &[]);
    stage.shows("t-history", |text| text.contains("Wait p99"));
    stage.browser.execute(&axe_core().unwrap()).unwrap();
    for width in WIDTHS {
        for (dark, theme) in [(false, "light"), (true, "dark")] {
            stage.browser.set_dark(dark).unwrap();
            stage.browser.set_viewport(width, 2600).unwrap();
            let found = stage.browser.execute(JUDGE).unwrap();
            assert_eq!(found["wrong"], json!([]), "{theme}, {width} wide");
            let open = found["open"].as_array().unwrap();
            assert!(open.iter().all(|rule| rule == "color-contrast"), "{theme}, {width} wide: {open:?}");
            let texts = stage.run(MEASURE, &[]);
            assert_eq!(texts["faint"], json!([]), "{theme}, {width} wide");
            let [pictured, letters] = ["pictured", "letters"].map(|kind| texts[kind].as_u64().unwrap());
            assert!(pictured > 10 && letters > 5, "{texts}");
            let over = stage.browser.execute("return document.documentElement.scrollWidth - innerWidth").unwrap();
            assert!(over.as_i64().unwrap() <= 0, "{theme}, {width} wide: {over} too wide");
            stage.picture(&format!("{theme}-{width}"));
        }
    }
    stage.assert_undisturbed();
    drop(lease);
}

#[test]
fn it_can_be_used_by_the_keyboard_alone() {
    let stage = Stage::new();
    stage.open();
    stage.shows("pulse", |text| text == "live");
    let focus =
        "const one = document.activeElement; return one === document.body ? 'nothing' : one.id || one.innerText";
    stage.browser.press("\u{e004}").unwrap();
    assert_eq!(stage.run(focus, &[]), "To the state of the pool");
    let visible = "const box = document.activeElement.getBoundingClientRect(); return box.top >= 0 && box.height > 0";
    assert_eq!(stage.run(visible, &[]), true, "what has the focus is seen");
    let mut seen = Vec::new();
    for _ in 0..8 {
        stage.browser.press("\u{e004}").unwrap();
        seen.push(stage.run(focus, &[]).as_str().unwrap_or_default().to_owned());
    }
    for wanted in ["as-text", "as-json", "Metrics", "The charts as a table"] {
        assert!(seen.iter().any(|one| one == wanted), "{wanted}: {seen:?}");
    }
    stage.run("document.querySelector('#d-history summary').focus()", &[]);
    stage.browser.press("\u{e007}").unwrap();
    stage.shows("t-history", |text| text.contains("Wait p99"));
}

#[test]
fn what_is_told_to_those_who_do_not_see_it_does_not_change_each_second() {
    let stage = Stage::new();
    stage.open();
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("healthy"));
    let watch = "window.told = 0; window.ticks = 0;
        new MutationObserver(() => window.told++).observe(document.getElementById('said'), { childList: true, characterData: true, subtree: true });
        new MutationObserver(() => window.ticks++).observe(document.getElementById('foot'), { childList: true, characterData: true, subtree: true });";
    stage.run(watch, &[]);
    let until = "return new Promise(done => { const look = () => window.ticks >= 3 ? done(window.told) : setTimeout(look, 50); look(); })";
    assert_eq!(stage.run(until, &[]), 0);
}

#[test]
fn a_state_that_goes_to_and_fro_is_told_now_and_then() {
    let stage = Stage::new();
    stage.open();
    stage.shows("verdict", |text| text.eq_ignore_ascii_case("healthy"));
    let swing = "window.told = 0; window.ticks = 0; window.state = null; window.began = performance.now();
        new MutationObserver(() => window.told++).observe(document.getElementById('said'), { childList: true, characterData: true, subtree: true });
        const parse = JSON.parse;
        JSON.parse = text => {
            const shown = parse(text);
            shown.pools[0].health.state = window.state || (window.ticks++ % 2 ? 'healthy' : 'degraded');
            return shown;
        }";
    stage.run(swing, &[]);
    let until = "return new Promise(done => { const look = () => window.ticks >= 6 ? done([window.told, (performance.now() - window.began) / 10000]) : setTimeout(look, 50); look(); })";
    let found = stage.run(until, &[]);
    let [told, tens_of_seconds] = [0, 1].map(|place| found[place].as_f64().unwrap());
    assert!(told <= 2.0 * (1.0 + tens_of_seconds.floor()), "each of two states once in ten seconds: {found}");
    for state in ["unhealthy", "healthy"] {
        stage.run("window.state = arguments[0]", &[state.into()]);
        stage.shows("said", |text| text.starts_with(&format!("orders: {state}")));
    }
}
