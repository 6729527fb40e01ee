//! A test that was written for a fault ends with the checker of what holds after every fault: itself, or what it calls in its own file does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{all_numbered, number, rows, source};

/// What ends such a test, with a real server or without one.
const CHECKERS: [&str; 5] =
    ["invariants::hold(", "invariants::close(", "prove_nothing_lost(", "prove_whole(", ".ledger().settle("];

/// The functions of a text and what is written in each, up to the next.
fn functions(text: &str) -> BTreeMap<&str, &str> {
    let starts: Vec<_> = text.match_indices("fn ").map(|(at, word)| at + word.len()).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let bodies = starts.iter().zip(ends).map(|(start, end)| &text[*start..end]);
    bodies.filter_map(|body| body.split(['(', '<']).next().map(|name| (name, body))).collect()
}

/// Whether a text calls a function, or gives it to somebody who does.
fn calls(text: &str, function: &str) -> bool {
    let in_name = |character: char| character.is_alphanumeric() || character == '_';
    text.match_indices(function).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + function.len()..]);
        let whole = !before.ends_with(in_name) && !after.starts_with(in_name);
        whole && (after.starts_with('(') || before.ends_with('(') && after.starts_with(')'))
    })
}

/// Whether a function comes to a checker.
fn ends_with_checker<'a>(name: &'a str, functions: &BTreeMap<&'a str, &'a str>, seen: &mut BTreeSet<&'a str>) -> bool {
    let Some(body) = functions.get(name).filter(|_| seen.insert(name)) else { return false };
    let mut callees = functions.keys().filter(|callee| calls(body, callee));
    CHECKERS.iter().any(|checker| body.contains(checker))
        || callees.any(|callee| ends_with_checker(callee, functions, seen))
}

/// The tests of a fault that end without one.
fn unchecked(tests: &[String], text_of: impl Fn(&str) -> String) -> Vec<String> {
    let without = tests.iter().filter(|test| {
        let (file, name) = test.split_once("::").unwrap();
        let text = text_of(file);
        !ends_with_checker(name, &functions(&text), &mut BTreeSet::new())
    });
    without.map(|test| format!("{test} does not end with a checker")).collect()
}

#[test]
fn every_test_of_a_fault_ends_with_the_checker() {
    let complaints = unchecked(&all_numbered(), |file| fs::read_to_string(source(file).unwrap()).unwrap());
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_fault_that_is_passed_has_a_test_by_its_number() {
    let table = fs::read_to_string(super::root().join("docs/faults.md")).unwrap();
    let by_number: BTreeSet<_> =
        all_numbered().iter().filter_map(|test| number(test.rsplit("::").next().unwrap())).collect();
    let (rows, _) = rows(&table);
    let passed = rows.iter().filter(|(_, row)| !row.tests.is_empty()).map(|(id, _)| id);
    let without: Vec<_> = passed.filter(|id| !by_number.contains(*id)).collect();
    assert!(without.is_empty(), "no test by the number of {without:?}");
}

#[test]
fn a_test_without_a_checker_is_found() {
    // None of them begins a line: that is where the search for tests looks.
    let text = "fn f001_a() { one(); } fn one() { two() } fn two<T>() { invariants::hold(chaos).await } ".to_owned()
        + "fn f002_b() { three(); is_two() } fn three() { f002_b() } fn f003_c() { prove_nothing_lost(pool) }";
    let tests = ["f001_a", "f002_b", "f003_c"].map(|name| format!("pool-postgres/chaos/some.rs::{name}"));
    let found = unchecked(&tests, |_| text.clone());
    assert_eq!(found, ["pool-postgres/chaos/some.rs::f002_b does not end with a checker"]);
}
