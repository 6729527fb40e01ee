//! What a server's error codes mean.

use super::{Advice, Diagnosis, Fate};
use Advice::{FixConfiguration, Never, OutcomeUnknown, RetryLater, RetryNow, RetryTransaction};
use Fate::{Close, EvictHost, Keep, Reset};

/// A row of the table: what a SQLSTATE means.
///
/// # Example
///
/// ```
/// use pool_postgres::diagnosis::SQLSTATES;
///
/// let shutdown = SQLSTATES.iter().find(|row| row.code == "57P01").expect("a row");
/// assert_eq!(shutdown.message, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqlStateRow {
    /// The SQLSTATE, or how those that are meant begin.
    pub code: &'static str,
    /// What the server's message contains, if the row is for such messages only.
    pub message: Option<&'static str>,
    /// What it means.
    pub diagnosis: Diagnosis,
}

impl SqlStateRow {
    fn is_for(&self, code: &str, message: &str) -> bool {
        code.starts_with(self.code) && self.message.is_none_or(|part| message.contains(part))
    }

    /// Prefer the longer code, and then a message.
    fn precision(&self) -> (usize, bool) {
        (self.code.len(), self.message.is_some())
    }
}

/// The most specific row.
pub(super) fn find(code: &str, message: &str) -> Option<&'static SqlStateRow> {
    SQLSTATES.iter().filter(|row| row.is_for(code, message)).max_by_key(|row| row.precision())
}

const fn row(code: &'static str, advice: Advice, fate: Fate) -> SqlStateRow {
    SqlStateRow { code, message: None, diagnosis: Diagnosis::new(advice, fate) }
}

const fn said(code: &'static str, message: &'static str, advice: Advice, fate: Fate) -> SqlStateRow {
    SqlStateRow { code, message: Some(message), diagnosis: Diagnosis::new(advice, fate) }
}

const fn prepare_again(row: SqlStateRow) -> SqlStateRow {
    let diagnosis = Diagnosis { prepare_again: true, ..row.diagnosis };
    SqlStateRow { diagnosis, ..row }
}

/// What the codes mean. The most specific row counts, in whatever order they are; what no row is for is a request that the server refuses, on a connection that is kept.
///
/// # Example
///
/// ```
/// use pool_postgres::diagnosis::{Fate, SQLSTATES};
///
/// let closing = SQLSTATES.iter().filter(|row| row.diagnosis.fate == Fate::Close);
/// assert!(closing.map(|row| row.code).any(|code| code == "57P02"));
/// ```
pub const SQLSTATES: &[SqlStateRow] = &[
    // Connections. As an answer they come from somebody in between, who has lost the server.
    row("08", OutcomeUnknown, Close),
    row("08001", RetryLater, Close),
    row("08004", RetryLater, Close),
    row("08P01", Never, Close),
    // PgBouncer has this one code for nearly everything.
    said("08P01", "query_wait_timeout", RetryLater, Close),
    said("08P01", "no more connections allowed", RetryLater, Close),
    said("08P01", "client connections exceeded", RetryLater, Close),
    said("08P01", "server login failed", RetryLater, Close),
    said("08P01", "server login has been failing", RetryLater, Close),
    said("08P01", "client_login_timeout", RetryLater, Close),
    said("08P01", "cannot connect to server", RetryLater, Close),
    said("08P01", "server conn crashed", OutcomeUnknown, Close),
    said("08P01", "server_lifetime", OutcomeUnknown, Close),
    said("08P01", "query timeout", OutcomeUnknown, Close),
    said("08P01", "client_idle_timeout", RetryNow, Close),
    said("08P01", "idle transaction timeout", RetryTransaction, Close),
    // What the server does not do.
    row("0A", Never, Keep),
    prepare_again(said("0A000", "cached plan must not change result type", RetryNow, Keep)),
    said("0A000", "during recovery", RetryLater, EvictHost),
    // The request itself.
    row("22", Never, Keep),
    row("23", Never, Keep),
    // Transactions.
    row("25", Never, Keep),
    row("25006", RetryLater, EvictHost),
    row("25P02", Never, Reset),
    row("25P03", RetryTransaction, Close),
    row("25P04", RetryTransaction, Close),
    // The name of a prepared statement that is not there: somebody has thrown all away, or it is another server's.
    prepare_again(row("26000", RetryNow, Keep)),
    // Who may log in, and where.
    row("28", FixConfiguration, Close),
    row("3D000", FixConfiguration, Close),
    row("40", RetryTransaction, Keep),
    row("40002", Never, Keep),
    row("40003", OutcomeUnknown, Keep),
    row("42", Never, Keep),
    // Not enough of something. The first is told instead of a session.
    row("53", RetryLater, Keep),
    row("53300", RetryLater, Close),
    row("54", Never, Keep),
    // Not now.
    row("55", Never, Keep),
    row("55000", RetryLater, Keep),
    row("55006", RetryLater, Keep),
    row("55P03", RetryLater, Keep),
    // An operator, a timeout, a crash.
    row("57", OutcomeUnknown, Close),
    row("57014", Never, Keep),
    said("57014", "canceling authentication", RetryLater, Close),
    row("57P01", OutcomeUnknown, Close),
    row("57P02", OutcomeUnknown, Close),
    row("57P03", RetryLater, Close),
    row("57P04", FixConfiguration, Close),
    // Nothing was asked when the server gave up waiting.
    row("57P05", RetryNow, Close),
    // The machine below.
    row("58", RetryLater, Close),
    row("58P01", Never, Keep),
    row("58P02", Never, Keep),
    row("72000", RetryTransaction, Keep),
];
