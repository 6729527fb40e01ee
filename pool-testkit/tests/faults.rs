//! `docs/faults.md` has every fault of the catalogue, and every test that it names is there; and so it is with the promises of `docs/promises.md`.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "faults/endings.rs"]
mod endings;
#[path = "faults/promises.rs"]
mod promises;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How many faults have a number; the last one has variants with letters.
const FAULTS: usize = 136;
const VARIANTS: &str = "abcdefg";
/// The crates that have tests.
const CRATES: [&str; 3] = ["pool-core", "pool-postgres", "pool-testkit"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All that the catalogue has.
fn catalogue() -> BTreeSet<String> {
    let numbers = (1..=FAULTS).map(|number| format!("F{number:03}"));
    numbers.chain(VARIANTS.chars().map(|variant| format!("F{FAULTS}{variant}"))).collect()
}

/// What a row of the table says.
#[derive(Debug, Default)]
struct Row {
    /// As `crate/file::name`.
    tests: BTreeSet<String>,
    open: bool,
}

/// The rows by their number, and numbers that come twice.
fn rows(table: &str) -> (BTreeMap<String, Row>, Vec<String>) {
    let (mut rows, mut twice) = (BTreeMap::new(), Vec::new());
    for line in table.lines().filter(|line| line.starts_with("| F")) {
        let cells: Vec<&str> = line.split(" | ").collect();
        let id = cells[0].trim_start_matches("| ").to_owned();
        let last = cells.get(2).copied().unwrap_or_default();
        let row = Row { tests: quoted(last).map(str::to_owned).collect(), open: has_reason(last) };
        if rows.insert(id.clone(), row).is_some() {
            twice.push(id);
        }
    }
    (rows, twice)
}

/// Whether a cell says what is open, to whom, and why.
fn has_reason(cell: &str) -> bool {
    let reason = cell.split_once("open (").and_then(|(_, rest)| rest.split_once("): "));
    reason.is_some_and(|(_, reason)| !reason.trim_matches([' ', '|']).is_empty())
}

/// The tests that a cell names.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2).filter(|word| word.contains("::"))
}

/// The file that `crate/file` stands for.
fn source(name: &str) -> Option<PathBuf> {
    let (name, file) = name.split_once('/')?;
    let folders = ["tests", "src"].map(|folder| root().join(name).join(folder).join(file));
    folders.into_iter().find(|path| path.is_file())
}

/// Whether a text defines a function of this name.
fn defines(text: &str, name: &str) -> bool {
    [format!("fn {name}("), format!("::{name},")].iter().any(|definition| text.contains(definition))
}

fn exists(test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else { return false };
    source(file).is_some_and(|path| defines(&fs::read_to_string(path).unwrap(), name))
}

/// The number in the name of a test, as the table has it.
fn number(name: &str) -> Option<String> {
    let (id, _) = name.strip_prefix('f')?.split_once('_')?;
    let (digits, variant) = id.split_at_checked(3)?;
    let letter = variant.is_empty() || variant.len() == 1 && VARIANTS.contains(variant);
    (letter && digits.bytes().all(|digit| digit.is_ascii_digit())).then(|| format!("F{id}"))
}

/// The functions with a number in a text.
fn numbered(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.trim_start().trim_start_matches("async ").strip_prefix("fn "));
    let names = names.filter_map(|rest| rest.split_once('(').map(|(name, _)| name));
    names.filter(|name| number(name).is_some()).map(str::to_owned).collect()
}

/// All tests with a number below the folders of tests, as `crate/file::name`.
fn all_numbered() -> Vec<String> {
    let mut found = Vec::new();
    for name in CRATES {
        let tests = root().join(name).join("tests");
        let mut folders = vec![tests.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let file = path.strip_prefix(&tests).unwrap().display().to_string();
                    let tests = numbered(&fs::read_to_string(&path).unwrap());
                    found.extend(tests.into_iter().map(|test| format!("{name}/{file}::{test}")));
                }
            }
        }
    }
    found
}

/// What is wrong with the table, given the tests with a number.
fn complaints(table: &str, numbered: &[String]) -> Vec<String> {
    let (rows, twice) = rows(table);
    let (catalogue, listed) = (catalogue(), rows.keys().cloned().collect());
    let mut complaints: Vec<String> = twice.iter().map(|id| format!("{id} has two rows")).collect();
    complaints.extend(catalogue.difference(&listed).map(|id| format!("{id} has no row")));
    complaints.extend(listed.difference(&catalogue).map(|id| format!("{id} is not in the catalogue")));
    for (id, row) in &rows {
        if row.tests.is_empty() && !row.open {
            complaints.push(format!("{id} has no test and is not open"));
        }
        complaints
            .extend(row.tests.iter().filter(|test| !exists(test)).map(|test| format!("{id}: there is no {test}")));
    }
    for test in numbered {
        let id = number(test.rsplit("::").next().unwrap()).unwrap();
        if rows.get(&id).is_none_or(|row| !row.tests.contains(test)) {
            complaints.push(format!("{test} is not in the row of {id}"));
        }
    }
    complaints
}

#[test]
fn every_fault_has_its_row_and_every_row_its_tests() {
    let table = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let numbered = all_numbered();
    assert!(numbered.len() > 20, "the search finds the tests: {numbered:?}");
    let complaints = complaints(&table, &numbered);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// A table that is right.
fn table() -> String {
    let rows: Vec<_> =
        catalogue().iter().map(|id| format!("| {id} | a fault | open (somewhere): a reason |")).collect();
    rows.join("\n") + "\n"
}

#[test]
fn a_fault_that_is_missing_or_comes_twice_is_found() {
    assert_eq!(complaints(&table(), &[]), Vec::<String>::new());
    let without = table().replace("| F007 ", "| F136h ");
    assert_eq!(complaints(&without, &[]), ["F007 has no row", "F136h is not in the catalogue"]);
    let twice = table() + "| F136g | a fault | open (somewhere): a reason |\n";
    assert_eq!(complaints(&twice, &[]), ["F136g has two rows"]);
}

#[test]
fn a_row_without_a_test_is_found() {
    let row = |cell: &str| {
        table().replace("| F001 | a fault | open (somewhere): a reason |", &format!("| F001 | a fault | {cell} |"))
    };
    for nothing in ["soon", "open (somewhere)", "open (somewhere): "] {
        assert_eq!(complaints(&row(nothing), &[]), ["F001 has no test and is not open"], "{nothing}");
    }
    let gone = complaints(&row("`pool-testkit/faults.rs::nobody_wrote_this`"), &[]);
    assert_eq!(gone, ["F001: there is no pool-testkit/faults.rs::nobody_wrote_this"]);
    let here = "`pool-testkit/faults.rs::a_row_without_a_test_is_found`";
    assert_eq!(complaints(&row(here), &[]), Vec::<String>::new());
}

#[test]
fn a_test_that_is_not_in_its_row_is_found() {
    let test = "pool-testkit/faults.rs::f136c_something".to_owned();
    assert_eq!(complaints(&table(), std::slice::from_ref(&test)), [format!("{test} is not in the row of F136c")]);
    assert_eq!(
        numbered("    async fn f001_this() {\nfn f002b_that(x: u8) {\nfn f1_no() {}\nfn fill() {}"),
        ["f001_this", "f002b_that"]
    );
}
