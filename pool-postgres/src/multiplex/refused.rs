//! What may be asked on a connection that others use at the same time.

use std::fmt;

use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::query::{Query, QueryError, QueryStep, call_of, first_word, has_word, selects_into};
use crate::retry::Outcome;

/// A statement needs a session of its own: the cause of a [`QueryError`] of [`Multiplexed`](crate::Multiplexed). Nothing has been sent.
///
/// # Example
///
/// ```no_run
/// # async fn show(pool: &pool_postgres::PostgresPool) {
/// let error = pool.multiplexed().execute("SET search_path = alerts", &[]).await.unwrap_err();
/// let refused = error.needs_session().expect("SET changes the session");
/// assert_eq!((refused.what(), refused.instead()), ("SET", "PostgresPool::acquire"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeedsSession {
    what: String,
    instead: &'static str,
}

impl NeedsSession {
    /// The word by which it is told: the command, or the function.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The method that has a connection for it.
    pub fn instead(&self) -> &'static str {
        self.instead
    }

    /// Whether it begins or ends a transaction: on a connection that goes back at once that would do nothing.
    pub(super) fn is_of_a_transaction(&self) -> bool {
        self.instead == BEGIN
    }

    pub(super) fn into_error(self, query: &Query<'_>) -> QueryError {
        let diagnosis = Diagnosis::new(Advice::Never, Fate::Keep);
        QueryError::new(QueryStep::Share, query.sql(), Outcome::NotDone, diagnosis, self)
    }
}

impl fmt::Display for NeedsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, instead } = self;
        match what.as_str() {
            "" => f.write_str("there is no statement")?,
            what => write!(f, "{what} needs a connection of its own, and this one would be shared")?,
        }
        write!(f, "; {instead} has one, and so has Multiplexed::adaptive where it is needed")
    }
}

impl std::error::Error for NeedsSession {}

impl QueryError {
    /// Why a statement was not sent on a connection that others use, if it was not.
    pub fn needs_session(&self) -> Option<&NeedsSession> {
        self.cause().downcast_ref()
    }
}

/// What leaves nothing behind in a session, outside of a transaction.
const COMMANDS: [&str; 11] =
    ["select", "insert", "update", "delete", "with", "merge", "values", "table", "show", "explain", "notify"];

/// By what of this crate a command is executed that needs a session.
const INSTEAD: [(&[&str], &str); 4] = [
    (&["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"], BEGIN),
    (&["listen", "unlisten"], "PostgresPool::listener"),
    (&["copy"], "PostgresPool::copy_in or copy_out"),
    (&["declare", "fetch", "move", "close"], "PostgresTransaction::cursor"),
];

/// Functions that change something in the session, or tell what somebody else has changed.
const FUNCTIONS: [&str; 11] = [
    "set_config",
    "setseed",
    "currval",
    "lastval",
    "pg_advisory_lock",
    "pg_advisory_lock_shared",
    "pg_try_advisory_lock",
    "pg_try_advisory_lock_shared",
    "pg_advisory_unlock",
    "pg_advisory_unlock_shared",
    "pg_advisory_unlock_all",
];

/// What `EXPLAIN ANALYZE` carries out that changes the session.
const EXPLAINED: [(&str, &str); 3] = [("create", "CREATE"), ("declare", "DECLARE"), ("execute", "EXECUTE")];

const BEGIN: &str = "PostgresPool::begin";

/// What takes a connection for itself that a pool has in general.
const ANYTHING: &str = "PostgresPool::acquire";

/// Of those that are sent as one text.
pub(super) fn many_statements() -> NeedsSession {
    NeedsSession { what: "a text of many statements".to_owned(), instead: "PostgresPool::batch_execute" }
}

/// Whether a statement may be executed on a connection that others use at the same time, by its words. What a function of the server does inside, nobody sees here.
pub(super) fn check(sql: &str) -> Result<(), NeedsSession> {
    let word = first_word(sql);
    if !COMMANDS.iter().any(|command| word.eq_ignore_ascii_case(command)) {
        return Err(refuse(word));
    }
    match hidden(word, sql) {
        None => Ok(()),
        Some(name) => Err(NeedsSession { what: name.to_owned(), instead: ANYTHING }),
    }
}

/// What changes the session though its first word does not say so.
fn hidden(word: &str, sql: &str) -> Option<&'static str> {
    if may_call(sql)
        && let Some(function) = call_of(sql, &FUNCTIONS)
    {
        return Some(function);
    }
    if may_have_into(sql) && selects_into(sql) {
        return Some("INTO");
    }
    let mut explained = EXPLAINED.iter().filter(|_| word.eq_ignore_ascii_case("explain"));
    explained.find(|(command, _)| has_word(sql, command)).map(|(_, name)| *name)
}

#[cold]
fn refuse(word: &str) -> NeedsSession {
    let is_it = |commands: &[&str]| commands.iter().any(|command| word.eq_ignore_ascii_case(command));
    let instead = INSTEAD.iter().find(|(commands, _)| is_it(commands)).map_or(ANYTHING, |(_, instead)| instead);
    NeedsSession { what: word.to_ascii_uppercase(), instead }
}

/// Whether one of the functions is called somewhere, perhaps in a string or a comment. This is done for each query: what looks like no call is not looked at any closer.
fn may_call(sql: &str) -> bool {
    let bytes = sql.as_bytes();
    let mut rest = 0;
    while let Some(ahead) = bytes[rest..].iter().position(|byte| *byte == b'(') {
        let end = rest + ahead;
        let name = before(&bytes[..end]);
        if FUNCTIONS.iter().any(|function| name.eq_ignore_ascii_case(function.as_bytes()))
            || is_behind_a_comment(&bytes[..end])
        {
            return true;
        }
        rest = end + 1;
    }
    false
}

/// Whether there may be a comment at the end.
fn is_behind_a_comment(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_end();
    let breaks = bytes[text.len()..].iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    let line = text.rsplit(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    text.ends_with(b"*/") || (breaks && line.windows(2).any(|two| two == b"--"))
}

/// Whether there is an `INTO` somewhere but behind the first word, as in `INSERT INTO`: then it is looked at closer.
fn may_have_into(sql: &str) -> bool {
    let is_it = |four: &[u8]| four[0] | 0x20 == b'i' && four.eq_ignore_ascii_case(b"into");
    let after = sql.trim_ascii_start();
    let begin = if after.get(..11).is_some_and(|begin| begin.eq_ignore_ascii_case("insert into")) { 11 } else { 0 };
    after.as_bytes()[begin..].windows(4).any(is_it)
}

/// The name at the end, in quotation marks or not.
fn before(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.trim_ascii_end();
    let bytes = bytes.strip_suffix(b"\"").unwrap_or(bytes);
    let length = bytes.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    &bytes[bytes.len() - length..]
}
