//! What we make of connection strings and environments, beside what libpq makes of them.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "libpq/differences.rs"]
mod differences;
#[path = "libpq/judge.rs"]
mod judge;
#[path = "libpq/library.rs"]
mod library;
#[path = "libpq/results.rs"]
mod results;
#[path = "libpq/strings.rs"]
mod strings;

use std::collections::BTreeMap;
use std::process::Command;

use pool_postgres::{PostgresConfig, PostgresConfigError, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use judge::Judge;
use results::{Question, Verdict, compare};

/// Where things are kept, and what is told to Python: the fuzz target has others.
const FOLDER: &str = env!("CARGO_TARGET_TMPDIR");
const ORACLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libpq/oracle.py");

#[test]
fn strings_and_environments_mean_what_they_mean_to_libpq() {
    const CASES: usize = 6_000;
    pool_testkit::secrets::listen();
    let home = strings::home();
    let (mut judge, mut runner) = (Judge::start(), TestRunner::deterministic());
    let questions = strings::questions(&home);
    let (mut accepted, mut refused, mut on_purpose, mut wrong) = (0, 0, BTreeMap::new(), Vec::new());
    for _ in 0..CASES {
        let question = questions.new_tree(&mut runner).unwrap().current();
        let theirs = judge.ask(&question);
        let ours = PostgresConfig::resolve_from(&question.text, |name| question.env.get(name).cloned());
        assert_no_secret(&question, &ours);
        match compare(&question, &ours, &theirs) {
            Ok(Verdict::Accepted) => accepted += 1,
            Ok(Verdict::Refused) => refused += 1,
            Ok(Verdict::OnPurpose(reason)) => *on_purpose.entry(reason).or_insert(0) += 1,
            Err(problem) => wrong.push(format!("{question:?}\n    {problem}")),
        }
    }
    println!("{accepted} accepted by both, {refused} refused by both, different on purpose: {on_purpose:#?}");
    assert!(wrong.is_empty(), "{} of {CASES}:\n{}", wrong.len(), wrong[..wrong.len().min(12)].join("\n"));
    assert!(accepted > CASES / 4 && refused > CASES / 10, "strings of both kinds");
}

/// In a process whose own `HOME` is somewhere else: what counts is that of the variables, or else what the system knows.
#[test]
fn the_files_of_the_user_are_where_libpq_looks_for_them() {
    const ELSEWHERE: &str = "/elsewhere";
    if std::env::var("HOME").is_ok_and(|home| home == ELSEWHERE) {
        return files_of_the_user();
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "the_files_of_the_user_are_where_libpq_looks_for_them", "--nocapture"]);
    let output = again.env("HOME", ELSEWHERE).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn files_of_the_user() {
    let home = strings::home().display().to_string();
    let mut judge = Judge::start();
    let mut passfiles = Vec::new();
    for named in [None, Some(""), Some(home.as_str()), Some("/nowhere")] {
        for (text, is_accepted) in [("", true), ("service=one", named == Some(home.as_str()))] {
            let env = named.map(|home| ("HOME".to_owned(), home.to_owned())).into_iter().collect();
            let question = Question { text: text.to_owned(), env, is_whole: true };
            let theirs = judge.ask(&question);
            let ours = PostgresConfig::resolve_from(text, |name| question.env.get(name).cloned());
            let verdict = if is_accepted { Verdict::Accepted } else { Verdict::Refused };
            assert_eq!(compare(&question, &ours, &theirs), Ok(verdict), "{question:?}");
            passfiles.extend(ours.ok().and_then(|config| config.passfile));
        }
    }
    passfiles.dedup();
    assert_eq!(passfiles.len(), 3, "that of the system, of the variable, and of another one: {passfiles:?}");
}

/// Settings of a session, for both.
#[tokio::test]
async fn variables_that_set_something_in_a_session_set_what_they_set_with_libpq() {
    let server = EphemeralPostgres::start().unwrap();
    let text = format!("host={} port={} user=postgres dbname=postgres", server.socket_dir().display(), server.port());
    let query =
        "SELECT concat_ws('|', current_setting('timezone'), current_setting('datestyle'), current_setting('geqo'))";
    let mut judge = Judge::by(Command::new("python3"));
    let mut seen = Vec::new();
    for env in [
        &[][..],
        &[("PGTZ", "Asia/Tokyo"), ("PGDATESTYLE", "SQL, DMY"), ("PGGEQO", "off")],
        &[("PGTZ", "DEFAULT"), ("PGDATESTYLE", "default"), ("PGGEQO", "on")],
        &[("PGOPTIONS", "-c timezone=Europe/Rome -c geqo=off"), ("PGTZ", "Asia/Tokyo")],
        &[("PGTZ", r"<+05\ a>-5")],
        &[("PGTZ", "Nowhere")],
        &[("PGDATESTYLE", "sometimes")],
    ] {
        let theirs = theirs(&mut judge, &text, env, query);
        let value = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let ours = ours(PostgresConfig::resolve_from(&text, value).unwrap(), query).await;
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{env:?}"),
            (Err(ours), Err(theirs)) => {
                let says = theirs.lines().next().and_then(|line| line.split("FATAL:").nth(1)).expect("an error").trim();
                assert!(ours.contains(says), "{env:?}: {ours}, and libpq: {theirs}");
            }
            _ => panic!("{env:?}: we say {ours:?}, and libpq {theirs:?}"),
        }
        seen.push(ours.is_ok());
    }
    assert_eq!(seen, [true, true, true, true, true, false, false]);
}

/// What a server says.
#[derive(serde::Deserialize)]
struct Said {
    error: String,
    value: Option<String>,
}

fn theirs(judge: &mut Judge, text: &str, env: &[(&str, &str)], query: &str) -> Result<String, String> {
    let env: BTreeMap<_, _> = env.iter().copied().collect();
    let said: Said = judge.answer(&serde_json::json!({ "text": text, "env": env, "query": query }));
    said.value.ok_or(said.error)
}

async fn ours(mut config: PostgresConfig, query: &str) -> Result<String, String> {
    config.pool.min_size = 0;
    let pool = PostgresPool::connect(config).await.map_err(|error| error.to_string())?;
    let row = pool.acquire().await.unwrap().query_one(query, &[]).await.unwrap();
    pool.disconnect().await;
    Ok(row.get(0))
}

/// Whatever comes of it, no password is shown.
fn assert_no_secret(question: &Question, ours: &Result<PostgresConfig, PostgresConfigError>) {
    let shown = match ours {
        Ok(config) => format!("{config:?} {config}"),
        Err(error) => format!("{error:?} {error}"),
    };
    assert!(!question.is_whole || !shown.contains(pool_testkit::secrets::MARK), "{question:?}: {shown}");
}
