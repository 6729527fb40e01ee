//! What documents say of the code: its layers, its events, and what becomes of a future that is dropped.

use std::collections::BTreeSet;
use std::fs;

use super::{File, LAYERS, code, complaint, files, root};

/// The parts in a table of layers: what the last cell of each row has in backticks, if the row begins with a number.
fn parts(text: &str) -> BTreeSet<(String, u8)> {
    let rows = text.lines().filter_map(|line| line.trim_start_matches("//! ").strip_prefix("| "));
    let numbered = rows.filter_map(|row| Some((row.split_whitespace().next()?.parse::<u8>().ok()?, row)));
    let all = numbered.flat_map(|(layer, row)| {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let names = cell.split('`').skip(1).step_by(2);
        names.map(move |name| (name.trim_end_matches('/').to_owned(), layer))
    });
    all.collect()
}

#[test]
fn documents_know_the_layers() {
    let layers = LAYERS.iter().filter(|(name, _)| *name != "lib");
    let layers: BTreeSet<_> = layers.map(|(name, layer)| ((*name).to_owned(), *layer)).collect();
    for document in ["docs/architecture.md", "pool-core/src/lib.rs"] {
        let parts = parts(&fs::read_to_string(root().join(document)).unwrap());
        let missing: Vec<_> = layers.difference(&parts).collect();
        let stale: Vec<_> = parts.difference(&layers).collect();
        assert!(missing.is_empty() && stale.is_empty(), "{document} does not have {missing:?}, but {stale:?}");
    }
}

/// What logs an event, and how the table of events calls its level.
const LEVELS: [(&str, &str); 3] =
    [("tracing::error!(", "`ERROR`"), ("tracing::warn!(", "`WARN`"), ("tracing::info!(", "`INFO`")];

/// The words of an event: the last literal of the call, of which this is all that comes behind its first parenthesis.
fn words(call: &str) -> &str {
    let (mut depth, mut opened, mut last) = (1_usize, None::<usize>, "");
    for (at, sign) in call.char_indices() {
        match (sign, opened) {
            ('"', None) => opened = Some(at + 1),
            ('"', Some(from)) => (last, opened) = (&call[from..at], None),
            ('(', None) => depth += 1,
            (')', None) if depth == 1 => break,
            (')', None) => depth -= 1,
            _ => {}
        }
    }
    last
}

/// What is the same in all events of these words, without what explains it.
fn fixed(words: &str) -> Vec<&str> {
    let head = words.split([';', ':', '?']).next().unwrap_or_default();
    let behind = |part: &'_ str| part.find('}').map_or(part.len(), |at| at + 1);
    let parts =
        head.split('{').enumerate().map(|(number, part)| if number == 0 { part } else { &part[behind(part)..] });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// The events of a file that are not in the table of events; errors are panics, and have a row for all.
fn untold(file: &File, table: &str) -> Vec<String> {
    let text = code(file).map(|(_, line)| line).collect::<Vec<_>>().join("\n");
    let mut complaints = Vec::new();
    for (macro_call, level) in LEVELS {
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" | "));
        let told: Vec<_> = rows.filter(|(_, rest)| rest.starts_with(level)).map(|(event, _)| event).collect();
        let is_told = |words: &str| {
            let fixed = fixed(words);
            let has_a_row = told.iter().any(|event| fixed.iter().all(|part| event.contains(part)));
            // One without words of its own is told by another function, or by the one who asks for it.
            fixed.is_empty() || has_a_row || (level == "`ERROR`" && words.contains("panicked"))
        };
        let events = text.split(macro_call).skip(1).map(words);
        let untold = events.filter(|words| !is_told(words));
        complaints.extend(untold.map(|words| complaint(file, 0, &format!("not in docs/tracing.md: {words:?}"))));
    }
    complaints
}

fn sources() -> Vec<File> {
    [files("pool-core/src", ".rs"), files("pool-postgres/src", ".rs")].concat()
}

#[test]
fn every_event_has_its_row() {
    let table = fs::read_to_string(root().join("docs/tracing.md")).unwrap();
    let complaints: Vec<_> = sources().iter().flat_map(|file| untold(file, &table)).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Public functions with a future that do not say what becomes of it when it is dropped.
fn silent(file: &File) -> Vec<String> {
    let lines: Vec<_> = file.text.lines().map(str::trim).collect();
    let returns_a_future = |at: usize| {
        let end = lines[at..].iter().position(|line| line.ends_with(['{', ';'])).unwrap_or_default();
        let signature = lines[at..=at + end].join(" ");
        signature.rsplit("->").next().is_some_and(|answer| answer.contains("impl Future"))
    };
    let is_future = |at: usize| {
        lines[at].starts_with("pub async fn ") || (lines[at].starts_with("pub fn ") && returns_a_future(at))
    };
    let says = |at: usize| {
        let mut above = lines[..at].iter().rev().take_while(|line| line.starts_with("///") || line.starts_with("#["));
        above.any(|line| line.contains("Cancel safe") || line.contains("cancel safe"))
    };
    let silent = (0..lines.len()).filter(|at| is_future(*at) && !says(*at));
    silent.map(|at| complaint(file, at, "a future whose documentation says nothing of its cancel safety")).collect()
}

#[test]
fn every_future_says_what_becomes_of_it_when_it_is_dropped() {
    let complaints: Vec<_> = sources().iter().flat_map(silent).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn file(text: &str) -> File {
    File { path: "pool-core/src/a.rs".to_owned(), text: text.to_owned() }
}

#[test]
fn a_part_that_is_in_no_layer_of_a_document_is_found() {
    let table = "| 1 lock-free | no `unsafe` | `slot/`, `gate` (a word) |\n//! | 0 | seams | `sync` |\n| a | 1 | `b` |";
    let found = parts(table).into_iter().map(|(name, layer)| format!("{name} {layer}")).collect::<Vec<_>>();
    assert_eq!(found, ["gate 1", "slot 1", "sync 0"]);
}

#[test]
fn an_event_without_a_row_is_found() {
    let table = "| `... took too long` | `WARN` | `pool_core` |\n| `... panicked` | `ERROR` | `pool_core` |";
    let complaints = |text: &str| untold(&file(text), table).len();
    assert_eq!(complaints("tracing::warn!(?budget, at = %(1), \"{what} took too long; so it is closed (now)\");"), 0);
    assert_eq!(complaints("tracing::error!(\"a waker panicked\"); tracing::error!(message, \"{text}\");"), 0);
    assert_eq!(complaints("tracing::info!(\"{what} took too long\");"), 1);
    assert_eq!(complaints("tracing::warn!(\"a waker panicked\"); tracing::error!(\"it is gone\");"), 2);
    assert_eq!(complaints("/// tracing::warn!(\"so\");\ntracing::debug!(\"so\");"), 0);
}

#[test]
fn a_future_that_does_not_say_what_becomes_of_it_is_found() {
    let complaints = |text: &str| silent(&file(text)).len();
    assert_eq!(complaints("/// Waits.\npub async fn a() {}"), 1);
    assert_eq!(complaints("/// Cancel safety: none.\n#[track_caller]\npub async fn a() {}"), 0);
    assert_eq!(complaints("/// Waits.\npub fn a(\n) -> impl Future<Output = ()> + Send {\n}"), 1);
    assert_eq!(complaints("/// Takes one.\npub fn a(future: impl Future<Output = ()>) -> usize {\n}"), 0);
    assert_eq!(complaints("pub(crate) async fn a() {}"), 0);
}
