//! `docs/promises.md` has every promise, and every test that it names is there.

use std::collections::BTreeSet;
use std::fs;

use super::{exists, quoted, root};

/// How many there are.
const PROMISES: usize = 10;

/// What is wrong with the table.
fn complaints(table: &str) -> Vec<String> {
    let (mut missing, mut complaints) =
        ((1..=PROMISES).map(|id| format!("P{id}")).collect::<BTreeSet<_>>(), Vec::new());
    for line in table.lines().filter(|line| line.starts_with("| P")) {
        let cells: Vec<&str> = line.trim_start_matches("| ").trim_end_matches(" |").split(" | ").collect();
        let [id, _promise, _how_far, last] = cells[..] else {
            complaints.push(format!("not a row of four cells: {line}"));
            continue;
        };
        if !missing.remove(id) {
            complaints.push(format!("{id} is no promise, or has two rows"));
        }
        let tests: BTreeSet<_> = quoted(last).collect();
        if tests.is_empty() {
            complaints.push(format!("{id} has no test"));
        }
        complaints.extend(tests.iter().filter(|test| !exists(test)).map(|test| format!("{id}: there is no {test}")));
    }
    complaints.extend(missing.iter().map(|id| format!("{id} has no row")));
    complaints
}

#[test]
fn every_promise_has_its_row_and_every_row_its_tests() {
    let table = fs::read_to_string(root().join("docs/promises.md")).unwrap();
    let complaints = complaints(&table);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// A table that is right.
fn table() -> String {
    let test = "`pool-testkit/faults/promises.rs::a_promise_that_is_missing_or_comes_twice_is_found`";
    let rows: Vec<_> = (1..=PROMISES).map(|id| format!("| P{id} | something | always | {test} |")).collect();
    rows.join("\n")
}

#[test]
fn a_promise_that_is_missing_or_comes_twice_is_found() {
    assert_eq!(complaints(&table()), Vec::<String>::new());
    assert_eq!(
        complaints(&table().replace("| P7 |", "| P11 |")),
        ["P11 is no promise, or has two rows", "P7 has no row"]
    );
    assert_eq!(
        complaints(&table().replace("| P7 |", "| P6 |")),
        ["P6 is no promise, or has two rows", "P7 has no row"]
    );
}

#[test]
fn a_promise_without_a_test_is_found() {
    let five = complaints(&table().replace("| P10 |", "| P10 | x |"));
    assert!(five[0].starts_with("not a row of four cells: | P10 | x"), "{five:?}");
    let last = |tests: &str| {
        let rows: Vec<_> = table().lines().map(str::to_owned).take(PROMISES - 1).collect();
        complaints(&format!("{}\n| P10 | something | always | {tests} |\n", rows.join("\n")))
    };
    assert_eq!(last("soon"), ["P10 has no test"]);
    assert_eq!(
        last("`pool-testkit/faults.rs::nobody_wrote_this`"),
        ["P10: there is no pool-testkit/faults.rs::nobody_wrote_this"]
    );
}
