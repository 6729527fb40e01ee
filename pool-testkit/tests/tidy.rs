//! What can be checked by reading the repository.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/documents.rs"]
mod documents;

/// The layer of each part of `pool-core/src`, by the first name of its path.
const LAYERS: [(&str, u8); 59] = [
    ("sync", 0),
    ("foreign", 0),
    ("driver", 0),
    ("attempt", 0),
    ("connection", 0),
    ("recorder", 0),
    ("failure", 0),
    ("situation", 0),
    ("metric", 0),
    ("tag", 0),
    ("hooks", 0),
    ("preference", 0),
    ("shed", 0),
    ("error", 0),
    ("stats", 0),
    ("times", 0),
    ("trace", 0),
    ("brief", 0),
    ("wall", 0),
    ("place", 1),
    ("chunks", 1),
    ("slot", 1),
    ("gate", 1),
    ("capacity", 1),
    ("counters", 1),
    ("queue", 1),
    ("sharing", 1),
    ("handoff", 1),
    ("config", 2),
    ("reconfigured", 2),
    ("sizes", 2),
    ("lifetime", 2),
    ("rotation", 2),
    ("retirement", 2),
    ("warmth", 2),
    ("backoff", 2),
    ("breaker", 2),
    ("health", 2),
    ("schedule", 2),
    ("adapt", 2),
    ("shares", 2),
    ("engine", 3),
    ("budget", 3),
    ("pool", 4),
    ("control", 4),
    ("builder", 4),
    ("lease", 4),
    ("share", 4),
    ("kept", 4),
    ("prefer", 4),
    ("monitor", 4),
    ("observe", 4),
    ("prometheus", 4),
    ("opentelemetry", 4),
    ("scheduler", 4),
    ("adapter", 4),
    ("tenants", 4),
    ("http", 5),
    ("lib", 5),
];

/// A file: its path below the root of the repository, and its text.
#[derive(Clone)]
struct File {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All files below `folder` that end so, build output left out.
fn files(folder: &str, ending: &str) -> Vec<File> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                if !matches!(name.as_str(), "target" | ".git" | "corpus") {
                    folders.push(entry.path());
                }
            } else if name.ends_with(ending) {
                let path = entry.path().strip_prefix(root()).unwrap().display().to_string();
                found.push(File { path, text: fs::read_to_string(entry.path()).unwrap() });
            }
        }
    }
    assert!(!found.is_empty(), "there are files below {folder:?}");
    found
}

/// The lines of code with their numbers: comments are left out.
fn code(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let lines =
        file.text.lines().enumerate().map(|(number, line)| (number, line.split("//").next().unwrap_or_default()));
    lines.filter(|(_, line)| !line.trim().is_empty())
}

fn complaint(file: &File, line: usize, what: &str) -> String {
    format!("{}:{}: {what}", file.path, line + 1)
}

/// The part of `pool-core/src` that a file belongs to.
fn part(path: &str) -> &str {
    let below = path.strip_prefix("pool-core/src/").unwrap_or(path);
    below.split(['/', '.']).next().unwrap_or(below)
}

fn layer(part: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == part).map(|(_, layer)| *layer)
}

/// A file uses its own layer or lower ones.
fn layers(file: &File) -> Vec<String> {
    let Some(own) = layer(part(&file.path)) else {
        return vec![complaint(file, 0, "is in no layer; give it one here")];
    };
    let judge = |name: &str| match layer(name) {
        Some(layer) if layer > own => Some(format!("uses the higher layer of `{name}`")),
        None if name.is_empty() && part(&file.path) != "lib" => {
            Some("uses several modules at once; one `use` for each".to_owned())
        }
        _ => None,
    };
    code(file)
        .flat_map(|(number, line)| used(line).filter_map(judge).map(move |what| complaint(file, number, &what)))
        .collect()
}

/// The first names of the paths from the root of the crate, or from a parent, in a line; empty for a list in braces.
fn used(line: &str) -> impl Iterator<Item = &str> {
    let name = |rest: &'_ str| rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let from_root = line.split("crate::").skip(1).map(move |rest| &rest[..name(rest)]);
    let from_parent = line.split("super::").skip(1).map(move |rest| &rest[..name(rest)]);
    from_root.chain(from_parent.filter(|name| !name.is_empty()))
}

/// Atomic orderings in layer 1 and `sync` alone, each with a comment that gives the reason, and those that the models have to justify with a
/// name.
fn orderings(file: &File) -> Vec<String> {
    let own = part(&file.path);
    let allowed = own == "sync" || layer(own) == Some(1);
    let lines: Vec<&str> = file.text.lines().collect();
    let explained =
        |number: usize| lines[number.saturating_sub(6)..=number].iter().any(|line| line.contains("ORDERING:"));
    let names = |line: &str, orderings: &[&str]| {
        let word = |c: char| !c.is_alphanumeric() && c != '_';
        line.split(word).any(|word| orderings.contains(&word))
    };
    let strong = ["Acquire", "Release", "AcqRel", "SeqCst"];
    let nameless = |line: &str| own != "sync" && names(line, &strong) && !line.contains("order(\"");
    let uses =
        code(file).filter(|(_, line)| (names(line, &["Relaxed"]) || names(line, &strong)) && !line.contains("use "));
    uses.filter(|(number, line)| !allowed || !explained(*number) || nameless(line))
        .map(|(number, _)| complaint(file, number, "an ordering outside of layer 1, without its reason or its name"))
        .collect()
}

/// The names of the orderings in the code.
fn ordering_names() -> BTreeSet<String> {
    let sources: Vec<_> = ["pool-core/src", "pool-postgres/src"].into_iter().flat_map(|at| files(at, ".rs")).collect();
    let calls =
        sources.iter().flat_map(|file| file.text.split([' ', ',', '(']).zip(file.text.split([' ', ',', '(']).skip(1)));
    let named = calls.filter(|(call, _)| matches!(call.trim(), "order" | "full_fence"));
    let all = named.filter_map(|(_, name)| name.strip_prefix('"')?.split('"').next());
    all.map(str::to_owned).collect()
}

/// The names that begin the rows of a table.
fn row_names(text: &str) -> BTreeSet<String> {
    text.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).map(str::to_owned).collect()
}

/// Where ownership is a matter of atomics.
const UNSAFE_PARTS: [&str; 5] = ["place", "chunks", "slot", "queue", "handoff"];

/// `unsafe` in parts of layer 1 alone, each block with its reason.
fn unsafe_code(file: &File) -> Vec<String> {
    let allowed = file.path.starts_with("pool-core/src/") && UNSAFE_PARTS.contains(&part(&file.path));
    let lines: Vec<&str> = file.text.lines().collect();
    let explained = |number: usize| lines[number.saturating_sub(3)..number].iter().any(|line| line.contains("SAFETY:"));
    let says = |line: &str, words: &[&str]| words.iter().any(|word| line.contains(word));
    let needs_a_reason = [concat!("unsafe", " {"), concat!("unsafe", " impl")];
    let only_needs_its_place = [concat!("unsafe", " fn"), concat!("unsafe", " trait"), concat!("unsafe", " extern")];
    let unexplained = code(file).filter(|(number, line)| {
        let reason = says(line, &needs_a_reason);
        (reason && !(allowed && explained(*number))) || (!allowed && says(line, &only_needs_its_place))
    });
    unexplained
        .map(|(number, _)| complaint(file, number, "`unsafe` outside of its few places, or without its reason"))
        .collect()
}

/// What logs an event.
const EVENTS: [&str; 5] =
    ["tracing::error!(", "tracing::warn!(", "tracing::info!(", "tracing::debug!(", "tracing::trace!("];

/// Whoever listens is foreign code: an event is told by what catches its panic.
fn events(file: &File) -> Vec<String> {
    let tests = file.text.lines().position(|line| line.trim_start().starts_with("#[cfg(test)]"));
    let lines: Vec<_> = code(file).take_while(|(number, _)| tests.is_none_or(|tests| *number < tests)).collect();
    let is_caught = |index: usize| {
        lines[index.saturating_sub(3)..=index]
            .iter()
            .any(|(_, line)| line.contains("report(") || line.contains(".warn("))
    };
    let bare = (0..lines.len())
        .filter(|index| EVENTS.iter().any(|event| lines[*index].1.contains(event)) && !is_caught(*index));
    bare.map(|index| complaint(file, lines[index].0, "an event outside of `report`: whoever listens may panic"))
        .collect()
}

/// Files that fit into a head, and nothing left for later.
fn habits(file: &File) -> Vec<String> {
    let length = file.text.lines().count();
    let mut complaints = Vec::new();
    if length > 500 {
        complaints.push(complaint(file, length, "more than 500 lines"));
    }
    for word in [concat!("to", "do!"), concat!("unimpl", "emented!"), concat!("db", "g!("), concat!("#[ig", "nore")] {
        let found = code(file).filter(|(_, line)| line.contains(word));
        complaints.extend(found.map(|(number, _)| complaint(file, number, word)));
    }
    complaints
}

/// Relative links lead somewhere.
fn links(file: &File) -> Vec<String> {
    let folder = root().join(&file.path).parent().unwrap().to_owned();
    let targets = file.text.lines().enumerate().flat_map(|(number, line)| {
        line.split("](")
            .skip(1)
            .filter_map(move |rest| Some((number, rest.split([')', '#']).next()?)))
            .collect::<Vec<_>>()
    });
    let relative = targets.filter(|(_, target)| !target.is_empty() && !target.contains("://"));
    let broken = relative.filter(|(_, target)| !folder.join(target).exists());
    broken.map(|(number, target)| complaint(file, number, &format!("no such file: {target}"))).collect()
}

fn check(files: &[File], checks: &[fn(&File) -> Vec<String>]) {
    let complaints: Vec<String> = files.iter().flat_map(|file| checks.iter().flat_map(|check| check(file))).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn pool_core_keeps_its_layers() {
    check(&files("pool-core/src", ".rs"), &[layers, orderings]);
}

#[test]
fn every_ordering_has_its_row() {
    let table = fs::read_to_string(root().join("docs/memory-ordering.md")).unwrap();
    let (names, rows) = (ordering_names(), row_names(&table));
    assert!(names.len() > 20, "the search finds the names: {names:?}");
    let missing: Vec<_> = names.difference(&rows).collect();
    let stale: Vec<_> = rows.difference(&names).collect();
    assert!(missing.is_empty() && stale.is_empty(), "without a row: {missing:?}; without an ordering: {stale:?}");
}

#[test]
fn all_code_is_tidy() {
    check(&files("", ".rs"), &[unsafe_code, habits]);
}

#[test]
fn no_event_is_told_without_care() {
    check(&[files("pool-core/src", ".rs"), files("pool-postgres/src", ".rs")].concat(), &[events]);
}

#[test]
fn documents_link_to_what_exists() {
    check(&files("", ".md"), &[links]);
}

/// Two versions of its interface know nothing of each other, and whoever has both exports nothing.
#[test]
fn documents_name_the_opentelemetry_that_is_built_for() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let version =
        manifest.split("\nopentelemetry = { version = \"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    for (document, words) in [
        ("tracing.md", format!("(feature `grpc-tonic`) {version}, ")),
        ("metrics.md", format!("`opentelemetry` {version}, ")),
    ] {
        let text = fs::read_to_string(root().join("docs").join(document)).unwrap();
        assert!(text.contains(&words), "{document} does not say {words:?}");
    }
}

/// What a check says about a text under a path, without the place.
fn said(check: fn(&File) -> Vec<String>, path: &str, text: &str) -> usize {
    check(&File { path: path.to_owned(), text: text.to_owned() }).len()
}

#[test]
fn a_higher_layer_is_found() {
    assert_eq!(said(layers, "pool-core/src/gate.rs", "use crate::engine::Engine;"), 1);
    assert_eq!(said(layers, "pool-core/src/gate.rs", "use crate::sync::fence; // not crate::engine"), 0);
    assert_eq!(said(layers, "pool-core/src/queue/fifo.rs", "use super::super::pool::Pool;"), 1);
    assert_eq!(said(layers, "pool-core/src/queue/fifo.rs", "use super::cell::{Cell, Tag};"), 0);
    assert_eq!(said(layers, "pool-core/src/gate.rs", "use crate::{engine::Engine, sync::fence};"), 1);
    assert_eq!(said(layers, "pool-core/src/driver.rs", "/// See [`Config`](crate::Config)."), 0);
    assert_eq!(said(layers, "pool-core/src/new.rs", ""), 1);
}

#[test]
fn an_ordering_in_the_wrong_place_or_without_a_reason_is_found() {
    assert_eq!(said(orderings, "pool-core/src/gate.rs", "x.load(Ordering::Relaxed)"), 1);
    assert_eq!(said(orderings, "pool-core/src/gate.rs", "// ORDERING: a reason.\nx.load(Ordering::Relaxed)"), 0);
    assert_eq!(said(orderings, "pool-core/src/pool.rs", "// ORDERING: a reason.\nx.load(Ordering::Relaxed)"), 1);
    assert_eq!(said(orderings, "pool-core/src/stats.rs", "// ORDERING: a reason.\nx.load(Ordering::Relaxed)"), 1);
    assert_eq!(said(orderings, "pool-core/src/gate.rs", "// ORDERING: a reason.\nx.load(Ordering::Acquire)"), 1);
    let named = "// ORDERING: a reason.\nx.load(order(\"gate.look\", Ordering::Acquire))";
    assert_eq!(said(orderings, "pool-core/src/gate.rs", named), 0);
    assert_eq!(said(orderings, "pool-core/src/gate.rs", "use crate::sync::Ordering::Relaxed;\nx.load(Relaxed)"), 1);
}

#[test]
fn unsafe_in_the_wrong_place_or_without_a_reason_is_found() {
    let block = concat!("unsafe", " { x }");
    assert_eq!(said(unsafe_code, "pool-core/src/slot/table.rs", block), 1);
    assert_eq!(said(unsafe_code, "pool-core/src/slot/table.rs", &format!("// SAFETY: a reason.\n{block}")), 0);
    assert_eq!(said(unsafe_code, "pool-core/src/gate.rs", &format!("// SAFETY: a reason.\n{block}")), 1);
    assert_eq!(said(unsafe_code, "pool-core/src/gate.rs", concat!("unsafe", " fn f() {}")), 1);
}

#[test]
fn an_event_that_is_told_without_care_is_found() {
    assert_eq!(said(events, "pool-core/src/a.rs", "tracing::info!(\"so\");"), 1);
    assert_eq!(said(events, "pool-core/src/a.rs", "report(|| {\n    tracing::info!(\"so\");\n});"), 0);
    assert_eq!(said(events, "pool-core/src/a.rs", "#[cfg(test)]\ntracing::info!(\"so\");"), 0);
}

#[test]
fn what_is_left_for_later_is_found() {
    assert_eq!(said(habits, "a.rs", concat!("to", "do!()\n", "db", "g!(1)")), 2);
    assert_eq!(said(habits, "a.rs", &"\n".repeat(501)), 1);
}

#[test]
fn a_broken_link_is_found() {
    assert_eq!(said(links, "README.md", "[a](nowhere.md) [b](https://example.org/x) [c](Cargo.toml#x)"), 1);
}
