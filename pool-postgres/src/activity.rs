//! What a session is doing, for whoever wants to know.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::connection::PostgresConnection;
use crate::tap::{Changes, Session};

/// What a session is doing, as `pg_stat_activity` has it, told from the messages that have passed and not by asking the server.
///
/// # Example
///
/// ```
/// assert_eq!(pool_postgres::SessionStatus::InTransaction.to_string(), "idle in transaction");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionStatus {
    /// Answers are due.
    Active,
    /// No answer is due, and no transaction is open.
    Idle,
    /// No answer is due, and a transaction is open.
    InTransaction,
    /// No answer is due, and a transaction is open that has failed.
    Failed,
}

impl SessionStatus {
    fn of(session: &Session) -> Self {
        if session.is_busy() {
            Self::Active
        } else if session.is_at_rest() {
            Self::Idle
        } else if session.has_failed() {
            Self::Failed
        } else {
            Self::InTransaction
        }
    }
}

/// The words of `pg_stat_activity`.
impl fmt::Display for SessionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::InTransaction => "idle in transaction",
            Self::Failed => "idle in transaction (aborted)",
        })
    }
}

/// What may outlive the transactions of a session, as far as the names of the commands tell that it has executed. Each may be `true` though nothing was changed: `SET LOCAL` is called `SET`, and a
/// table that is created may be temporary. What functions do that are called by a `SELECT` is not seen, but for parameters that the server reports.
///
/// # Example
///
/// ```no_run
/// # async fn show(lease: &pool_postgres::PostgresLease<'_>) -> Result<(), pool_postgres::tokio_postgres::Error> {
/// lease.batch_execute("SET work_mem = '64MB'; LISTEN news").await?;
/// let changes = lease.activity().changes;
/// assert!(changes.settings() && changes.channels() && !changes.cursors());
/// assert_eq!(changes.to_string(), "settings, channels");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionChanges(Changes);

impl SessionChanges {
    /// Whether there is none.
    pub fn is_none(self) -> bool {
        self.0.is_none()
    }

    /// Whether a parameter was set or reset, the role and the session's user among them.
    pub fn settings(self) -> bool {
        self.0.has(Changes::SETTINGS.and(Changes::UNSET).and(Changes::ANYTHING))
    }

    /// Whether it may listen.
    pub fn channels(self) -> bool {
        self.0.has(Changes::CHANNELS.and(Changes::ANYTHING))
    }

    /// Whether statements were prepared by SQL.
    pub fn prepared(self) -> bool {
        self.0.has(Changes::PREPARED.and(Changes::ANYTHING))
    }

    /// Whether something temporary may have been created.
    pub fn temporary(self) -> bool {
        self.0.has(Changes::TEMPORARY.and(Changes::ANYTHING))
    }

    /// Whether cursors may be open.
    pub fn cursors(self) -> bool {
        self.0.has(Changes::CURSORS.and(Changes::ANYTHING))
    }

    /// Whether code was run that may have done anything: `DO`, `CALL`.
    pub fn anything(self) -> bool {
        self.0.has(Changes::ANYTHING)
    }

    /// Whether the statements are gone that the client has prepared for itself: `DISCARD ALL`, `DEALLOCATE ALL`. Such a session is closed when its user gives it back.
    pub fn lost(self) -> bool {
        self.0.has(Changes::LOST)
    }
}

/// What was changed, separated by commas.
impl fmt::Display for SessionChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.settings(), "settings"),
            (self.channels(), "channels"),
            (self.prepared(), "prepared statements"),
            (self.temporary(), "temporary objects"),
            (self.cursors(), "cursors"),
            (self.anything(), "anything"),
            (self.lost(), "the statements of the client"),
        ];
        let changed: Vec<_> = all.into_iter().filter_map(|(is_changed, what)| is_changed.then_some(what)).collect();
        f.pad(&changed.join(", "))
    }
}

/// What has passed on the wire of a session so far, and what that says of the session. Made by [`PostgresConnection::activity`].
///
/// # Example
///
/// ```no_run
/// # fn show(lease: &pool_postgres::PostgresLease<'_>) {
/// let activity = lease.activity();
/// println!("{} for {:?}, after {:?}", activity.status, activity.quiet_for, activity.last_command);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionActivity {
    /// What it is doing.
    pub status: SessionStatus,
    /// How many requests have been sent, if only in part, that are not answered to their end. To close a statement is none.
    pub in_flight: usize,
    /// How many bytes of PostgreSQL's protocol have been sent, before encryption.
    pub bytes_sent: u64,
    /// How many have been received, after decryption.
    pub bytes_received: u64,
    /// For how long nothing has been sent or received.
    pub quiet_for: Duration,
    /// How the server has called the command that it has completed last, such as `INSERT 0 1`; `None` before the first.
    pub last_command: Option<String>,
    /// What may outlive the transactions of its user.
    pub changes: SessionChanges,
    /// The server's process for this session, as `pg_backend_pid()` has it, and as it is [shown with the connection](pool_core::Holder::session); that of a proxy may say nothing.
    pub process: Option<u32>,
}

impl PostgresConnection {
    /// What the session is doing. Nothing is asked of the server, and nobody is waited for: a few loads, and what lies ready in either direction is moved first.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::SessionStatus;
    ///
    /// # async fn check(lease: &pool_postgres::PostgresLease<'_>) -> Result<(), pool_postgres::tokio_postgres::Error> {
    /// lease.batch_execute("BEGIN").await?;
    /// assert_eq!(lease.activity().status, SessionStatus::InTransaction);
    /// # Ok(())
    /// # }
    /// ```
    pub fn activity(&self) -> SessionActivity {
        self.settle();
        let session = self.session();
        let (bytes_sent, bytes_received) = session.bytes();
        SessionActivity {
            status: SessionStatus::of(session),
            in_flight: session.in_flight(),
            bytes_sent,
            bytes_received,
            quiet_for: session.quiet_for(),
            last_command: session.last_command(),
            changes: SessionChanges(session.changes()),
            process: session.process(),
        }
    }

    /// What the server has reported of its parameters: at the login, and whenever one of these has changed since. Which they are is the server's choice: `server_version`, `TimeZone`, `application_name` and others.
    /// Of each, 4 KiB are kept.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn show(lease: &pool_postgres::PostgresLease<'_>) {
    /// for (name, value) in lease.parameters() {
    ///     println!("{name} = {value}");
    /// }
    /// # }
    /// ```
    pub fn parameters(&self) -> BTreeMap<String, String> {
        self.session().parameters()
    }

    /// One of the [parameters](Self::parameters) that the server has reported.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn show(lease: &pool_postgres::PostgresLease<'_>) {
    /// println!("PostgreSQL {}", lease.parameter("server_version").unwrap_or_default());
    /// # }
    /// ```
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.session().parameter(name)
    }
}
