//! Any text is parsed or refused, what was parsed does not show its password, and both is as libpq 18 does it, but for what `docs/libpq.md` says is different on purpose.
//!
//! What follows a zero byte in the text is a variable of the environment. libpq is asked in a process of its own, in a network of its own, as in `pool-postgres/tests/libpq.rs`.
#![no_main]

#[path = "../../pool-postgres/tests/libpq/differences.rs"]
mod differences;
#[path = "../../pool-postgres/tests/libpq/judge.rs"]
mod judge;
#[path = "../../pool-postgres/tests/libpq/library.rs"]
mod library;
#[path = "../../pool-postgres/tests/libpq/results.rs"]
mod results;

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex};

use judge::Judge;
use libfuzzer_sys::fuzz_target;
use pool_postgres::PostgresConfig;
use results::{Question, compare};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tmp");
const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../pool-postgres/tests/libpq/oracle.py");

static JUDGE: LazyLock<Mutex<Judge>> = LazyLock::new(|| {
    std::fs::create_dir_all(FOLDER).expect("a folder for libpq");
    Mutex::new(Judge::start())
});

/// Those that name no files that would be read whole.
const VARIABLES: [&str; 14] = [
    "PGHOST",
    "PGHOSTADDR",
    "PGPORT",
    "PGUSER",
    "PGPASSWORD",
    "PGDATABASE",
    "PGOPTIONS",
    "PGAPPNAME",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGREQUIREAUTH",
    "PGTARGETSESSIONATTRS",
    "PGCONNECT_TIMEOUT",
    "PGREQUIRESSL",
];

fn question(text: &str) -> Question {
    let mut parts = text.split('\0');
    let text = parts.next().unwrap_or_default().to_owned();
    let known = |(name, value): &(&str, &str)| VARIABLES.contains(name) && !value.is_empty();
    let variables = parts.filter_map(|part| part.split_once('=')).filter(known);
    let mut env: BTreeMap<_, _> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    env.insert("HOME".to_owned(), FOLDER.to_owned());
    Question { text, env, is_whole: false }
}

fuzz_target!(|text: &str| {
    let question = question(text);
    let ours = PostgresConfig::resolve_from(&question.text, |name| question.env.get(name).cloned());
    let theirs = JUDGE.lock().expect("no judge has failed").ask(&question);
    if let Err(problem) = compare(&question, &ours, &theirs) {
        panic!("{question:?}\n    {problem}");
    }
    ours.into_iter().for_each(shows_no_password);
});

fn shows_no_password(mut config: PostgresConfig) {
    let shown = format!("{config:?}");
    let Some(password) = config.password.take() else { return };
    // A short word, or one that is also the name of the user, occurs by other ways.
    let other = format!("{config:?}");
    let secret = password.reveal();
    assert!(secret.len() < 9 || other.contains(secret) || !shown.contains(secret));
}
