//! Nothing is missing in the matrix, and the documentation says how large it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pool_testkit::fake::Call;

use crate::count::total;
use crate::methods::METHODS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All sources below a folder, each with what comes before the names of its methods: nothing for those of the pool.
fn sources(folder: &Path) -> Vec<(&'static str, String)> {
    // What is in `trace` goes around a future of its caller's, whose owner knows what may be dropped.
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with("trace.rs"));
    let prefix = if folder.ends_with("scheduler") { "Scheduler::" } else { "" };
    let texts = entries.flat_map(|path| {
        if path.is_dir() { sources(&path) } else { vec![(prefix, fs::read_to_string(path).unwrap())] }
    });
    texts.collect()
}

/// The names of the functions in a text that give a future, if what is before their `fn` is one of `beginnings`.
fn futures<'a>(text: &'a str, beginnings: &[&str]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (before, after) in text.match_indices("fn ").map(|(at, word)| (&text[..at], &text[at + word.len()..])) {
        let line = before.rsplit('\n').next().unwrap_or_default().trim_start();
        let head = after.split(['{', ';']).next().unwrap_or_default();
        if beginnings.contains(&line) && (line.contains("async") || head.contains("-> impl Future")) {
            found.extend(after.split(['(', '<']).next());
        }
    }
    found
}

#[test]
fn every_method_that_can_be_dropped_is_in_the_matrix() {
    let texts = sources(&root().join("pool-core/src"));
    let of_text = |(prefix, text): &(&'static str, String)| {
        futures(text, &["pub ", "pub async "]).into_iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>()
    };
    let public: Vec<_> = texts.iter().flat_map(of_text).collect();
    let names: BTreeSet<_> = public.iter().map(String::as_str).collect();
    assert_eq!(public.len(), names.len(), "a name that two types have needs a row that says whose it is");
    assert_eq!(names, METHODS.iter().map(|method| method.name).collect());
}

#[test]
fn every_call_that_can_be_dropped_is_in_the_matrix() {
    let text = fs::read_to_string(root().join("pool-core/src/driver.rs")).unwrap();
    let calls: BTreeSet<_> = futures(&text, &["", "async "]).into_iter().map(str::to_owned).collect();
    let known = Call::ALL.into_iter().filter(|call| *call != Call::Inspect); // no future
    assert_eq!(calls, known.map(|call| format!("{call:?}").to_lowercase()).collect());
}

#[test]
fn what_gives_a_future_is_found() {
    let text = "    pub async fn a(&self) {\n    pub fn b<T>(\n        &self,\n    ) -> impl Future<Output = T> + Send {\n    pub fn c(&self) {\n        async fn d() {";
    assert_eq!(futures(text, &["pub ", "pub async "]), ["a", "b"]);
    assert_eq!(futures(text, &["async "]), ["d"]);
}

#[test]
fn the_documentation_says_how_many_cases_there_are() {
    let text = fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let total = total().to_string();
    let (thousands, rest) = total.split_at(total.len() - 3);
    let sentence = format!("more than {thousands},{rest} cases");
    assert!(text.contains(&sentence), "docs/testing.md does not say: {sentence}");
}
