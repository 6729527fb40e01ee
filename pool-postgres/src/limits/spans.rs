//! The spans of requests, with the names that OpenTelemetry has for those of clients of databases.

use std::fmt::{self, Write};
use std::iter::Peekable;

use pool_core::trace::Traced;
use tokio_postgres::Row;
use tracing::Level;
use tracing::field::{Empty, display};

use super::slow::QueryEnd;
use crate::connection::PostgresConnection;
use crate::query::{Query, QueryError, Summary, words};
use crate::server::Server;

/// What answers consist of.
pub(crate) trait Answered {
    /// How many rows that is, if it is any.
    fn rows(&self) -> Option<usize> {
        None
    }
}

impl Answered for () {}

/// Rows that were inserted, updated or deleted are not returned.
impl Answered for u64 {}

impl Answered for Vec<Row> {
    fn rows(&self) -> Option<usize> {
        Some(self.len())
    }
}

impl Answered for Row {
    fn rows(&self) -> Option<usize> {
        Some(1)
    }
}

impl Answered for Option<Row> {
    fn rows(&self) -> Option<usize> {
        Some(usize::from(self.is_some()))
    }
}

/// What is read later.
impl<A, B> Answered for (A, B) {}

/// The database of its sessions, as it is configured.
pub(crate) fn database(server: &Server) -> &str {
    let config = &server.settings.config;
    config.database.as_deref().or(config.user.as_deref()).unwrap_or_default()
}

/// The span of a request.
pub(super) fn of_request(connection: &PostgresConnection, query: &Query<'_>) -> Traced {
    let server = connection.server();
    Traced::new(|| {
        tracing::span!(target: "pool_postgres::span", Level::DEBUG, "db.query",
            otel.kind = "client",
            otel.name = %InShort(query.sql()),
            db.system.name = "postgresql",
            db.namespace = database(server),
            db.query.summary = %InShort(query.sql()),
            db.query.text = %Summary(query.sql()),
            server.address = %server.host.told_address(),
            server.port = u64::from(server.host.port),
            db.response.status_code = Empty,
            db.response.returned_rows = Empty,
            error.r#type = Empty,
            otel.status_code = Empty,
            outcome = Empty)
    })
}

/// The span of what has a request cancelled.
pub(super) fn of_cancellation(request: &Traced) -> Traced {
    if !request.is_wanted() {
        return Traced::none();
    }
    request.followed_by(
        || tracing::span!(target: "pool_postgres::span", parent: None, Level::DEBUG, "db.cancel", otel.kind = "client"),
    )
}

/// Tells what has become of a request.
pub(super) fn tell<T: Answered>(request: &Traced, answer: &Result<T, QueryError>, end: QueryEnd) {
    request.tell(|span| {
        span.record("outcome", display(end));
        match answer {
            Ok(answer) => {
                answer.rows().map(|rows| span.record("db.response.returned_rows", rows as u64));
            }
            Err(error) => {
                // Not what is said of it, where there may be values.
                let code = error.sqlstate().map(tokio_postgres::error::SqlState::code);
                span.record("db.response.status_code", code).record("otel.status_code", "ERROR");
                span.record("error.type", code.unwrap_or_else(|| kind(error)));
            }
        }
    });
}

/// Tells that nobody waits for the answer any more.
pub(super) fn tell_dropped(request: &Traced) {
    request.tell(|span| {
        span.record("outcome", display(QueryEnd::Dropped));
    });
}

/// Of an error that the server has not reported.
fn kind(error: &QueryError) -> &'static str {
    match error {
        error if error.is_timeout() => "timeout",
        error if error.is_closed() => "closed",
        _ => "_OTHER",
    }
}

/// A statement by what it does and to which tables: `SELECT alert service`. As it has few values, it is a name for spans.
struct InShort<'a>(&'a str);

/// So many characters are shown, and no half names.
const LONGEST: usize = 255;

/// What the names of tables and functions come after.
const BEFORE_NAMES: [&str; 6] = ["from", "into", "join", "update", "table", "call"];

/// What begins a part of a statement that is worth to be named.
const VERBS: [&str; 5] = ["select", "insert", "update", "delete", "merge"];

/// What may come between these and the names.
const SILENT: [&str; 6] = ["only", "lateral", "if", "not", "exists", "concurrently"];

impl fmt::Display for InShort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut shown, mut reading) = (0, Reading::default());
        let mut words = words(self.0).peekable();
        while let Some(word) = words.next() {
            let name = reading.name(word, &mut words);
            if !show(f, &name, &mut shown)? {
                break;
            }
        }
        Ok(())
    }
}

/// How far a statement has been read.
#[derive(Default)]
struct Reading {
    has_verb: bool,
    /// What comes next is a name.
    is_name: bool,
}

impl Reading {
    /// What is to be shown of a word, with those that belong to it; empty if it is nothing.
    fn name<'a>(&mut self, word: &str, words: &mut Peekable<impl Iterator<Item = &'a str>>) -> String {
        let begins = !self.has_verb || (!self.is_name && is_in(&VERBS, word));
        let name = if begins {
            word.to_ascii_uppercase()
        } else if self.is_name && may_be_name(word) {
            whole_name(word, words)
        } else {
            String::new()
        };
        self.has_verb = true;
        self.is_name = is_in(&BEFORE_NAMES, word) || (self.is_name && is_in(&SILENT, word));
        name
    }
}

fn is_in(list: &[&str], word: &str) -> bool {
    list.iter().any(|one| word.eq_ignore_ascii_case(one))
}

fn may_be_name(word: &str) -> bool {
    !is_in(&SILENT, word) && is_name_like(word)
}

/// A name with those that follow after dots.
fn whole_name<'a>(first: &str, words: &mut Peekable<impl Iterator<Item = &'a str>>) -> String {
    let mut name = first.to_owned();
    while words.next_if_eq(&".").is_some() {
        name.push('.');
        name.push_str(words.next().unwrap_or_default());
    }
    name
}

/// Shows one word more. `false` if there is no room for it.
fn show(f: &mut fmt::Formatter<'_>, name: &str, shown: &mut usize) -> Result<bool, fmt::Error> {
    if name.is_empty() {
        return Ok(true);
    }
    let is_first = *shown == 0;
    *shown += name.len() + 1;
    if *shown > LONGEST {
        return Ok(false);
    }
    if !is_first {
        f.write_char(' ')?;
    }
    f.write_str(name)?;
    Ok(true)
}

fn is_name_like(word: &str) -> bool {
    word.starts_with(|first: char| first == '"' || first == '_' || first.is_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_told_by_what_it_does_and_to_which_tables() {
        for (sql, short) in [
            ("", ""),
            ("SELECT 1", "SELECT"),
            ("select * from alert where id = 's3cr3t'", "SELECT alert"),
            ("SELECT a FROM public.alert JOIN \"Service\" s ON true", "SELECT public.alert \"Service\""),
            ("INSERT INTO alert SELECT * FROM old", "INSERT alert SELECT old"),
            ("UPDATE ONLY alert SET a = 7", "UPDATE alert"),
            ("DELETE FROM alert WHERE a IN (SELECT b FROM c)", "DELETE alert SELECT c"),
            ("/* s3cr3t */ VACUUM", "VACUUM"),
            ("COMMIT", "COMMIT"),
            ("CREATE TABLE IF NOT EXISTS t (a int)", "CREATE t"),
            ("SELECT * FROM (VALUES (1)) v", "SELECT"),
        ] {
            assert_eq!(InShort(sql).to_string(), short, "{sql}");
        }
        let long = format!("SELECT {}", "1 FROM alert, ".repeat(100).replace(", ", " JOIN "));
        assert!(InShort(&long).to_string().len() <= LONGEST);
    }
}
