//! Statements that cannot be in a batch.

use super::Entry;
use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::query::{QueryError, QueryStep, commits_inside, words};
use crate::retry::Outcome;

/// What begins or ends transactions, or commits by itself, by how it begins. Of two words, both have to be there.
const ENDING: [&str; 19] = [
    "begin",
    "start",
    "commit",
    "end",
    "rollback",
    "abort",
    "savepoint",
    "release",
    "prepare transaction",
    "vacuum",
    "reindex",
    "cluster",
    "discard all",
    "create database",
    "drop database",
    "alter database",
    "create tablespace",
    "drop tablespace",
    "alter system",
];

/// What may or may not commit by itself, by how it begins and what comes behind that.
const SUBSCRIPTION: &str = "subscription";
const CONCURRENTLY: &str = "concurrently";

const COPY: &str = "a COPY cannot be in a batch; copy_in() and copy_out() are for that";
const ENDS: &str = "it begins or ends a transaction, or cannot be inside of one, and the statements of the batch are to be one; a batch that is one_by_one() may have it";

/// Refuses statements that the server would take for something else than a part of a batch.
pub(super) fn refuse(entries: &[Entry<'_>], is_one: bool) -> Result<(), QueryError> {
    let mut last = None;
    for (index, Entry { query, .. }) in entries.iter().enumerate() {
        // Most are the same statement again.
        if last.replace(query.sql()) == Some(query.sql()) {
            continue;
        }
        if let Some(why) = why_not(query.sql(), is_one) {
            let diagnosis = Diagnosis::new(Advice::Never, Fate::Keep);
            let error = QueryError::new(QueryStep::Execute, query.sql(), Outcome::NotDone, diagnosis, why);
            return Err(error.in_batch(index, entries.len()));
        }
    }
    Ok(())
}

fn why_not(sql: &str, is_one: bool) -> Option<&'static str> {
    let mut words = words(sql).map(str::to_ascii_lowercase);
    let first = words.next()?;
    if first == "copy" {
        return Some(COPY);
    }
    (is_one && (commits_inside(sql) || is_ending(&first, words))).then_some(ENDS)
}

/// Whether a statement of these words begins or ends a transaction, or cannot be inside of one.
fn is_ending(first: &str, mut rest: impl Iterator<Item = String>) -> bool {
    let second = rest.next().unwrap_or_default();
    let is_known = ENDING.iter().any(|known| match known.split_once(' ') {
        Some(both) => both == (first, &*second),
        None => *known == first,
    });
    let changes = matches!(first, "create" | "alter" | "drop" | "refresh");
    is_known || changes && (second == SUBSCRIPTION || rest.any(|word| word == CONCURRENTLY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_the_transaction_is_told_by_its_words() {
        for sql in [
            "BEGIN",
            " -- why\n commit",
            "End",
            "ROLLBACK TO SAVEPOINT a",
            "SAVEPOINT a",
            "PREPARE TRANSACTION 'x'",
            "CALL p()",
            "DO $$ BEGIN COMMIT; END $$",
            "VACUUM t",
            "CREATE DATABASE d",
            "CREATE UNIQUE INDEX CONCURRENTLY ON t (n)",
            "ALTER TABLE t DETACH PARTITION u CONCURRENTLY",
            "DISCARD ALL",
            "drop subscription s",
        ] {
            assert_eq!(why_not(sql, true), Some(ENDS), "{sql}");
            assert_eq!(why_not(sql, false), None, "{sql}");
        }
        for sql in [
            "",
            "SELECT 'COMMIT'",
            "INSERT INTO begin VALUES (1)",
            "PREPARE a AS SELECT 1",
            "CREATE INDEX ON t (n)",
            "CREATE TABLE \"concurrently\" (n int)",
            "DISCARD TEMP",
            "DO $$ BEGIN RAISE 'no'; END $$",
            "SELECT 1; -- COPY",
        ] {
            assert_eq!(why_not(sql, true), None, "{sql}");
        }
        assert_eq!((why_not("COPY t TO STDOUT", true), why_not("copy t FROM stdin", false)), (Some(COPY), Some(COPY)));
    }
}
