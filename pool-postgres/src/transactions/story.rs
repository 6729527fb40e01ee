//! The span of a transaction.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pool_core::trace::Traced;
use tracing::Level;
use tracing::field::Empty;

use super::TransactionOptions;
use super::options::isolation;
use crate::connection::PostgresConnection;
use crate::limits::database;
use crate::query::QueryError;
use crate::retry::Outcome;

/// What is told of a transaction to those who trace it, when it is over.
pub(super) struct Story {
    span: Traced,
    statements: AtomicU64,
    /// What becomes of it, if nothing else is heard of it.
    outcome: Mutex<&'static str>,
}

/// One that has not begun, or has not been told to end.
pub(super) const ROLLED_BACK: &str = "rolled_back";
/// `COMMIT` has been sent.
pub(super) const UNKNOWN: &str = "unknown";

impl Story {
    /// `None` if nobody wants to see it.
    pub(super) fn begin(connection: &PostgresConnection, options: TransactionOptions) -> Option<Arc<Self>> {
        let server = connection.server();
        let span = Traced::new(|| {
            tracing::span!(target: "pool_postgres::span", Level::DEBUG, "db.transaction",
                otel.name = "transaction",
                db.system.name = "postgresql",
                db.namespace = database(server),
                server.address = %server.host.told_address(),
                server.port = u64::from(server.host.port),
                isolation = options.isolation_level.map(|level| isolation(level).trim_start_matches("ISOLATION LEVEL ")),
                read_only = options.read_only,
                statements = Empty,
                outcome = Empty,
                otel.status_code = Empty)
        });
        let (statements, outcome) = (AtomicU64::new(0), Mutex::new(ROLLED_BACK));
        span.is_wanted().then(|| Arc::new(Self { span, statements, outcome }))
    }

    /// Its span.
    pub(super) fn span(&self) -> &Traced {
        &self.span
    }

    /// Another statement.
    pub(super) fn count(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on this is what becomes of it.
    pub(super) fn note(&self, outcome: &'static str) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }

    /// What has come of committing it.
    pub(super) fn committed(&self, outcome: &Result<(), QueryError>) {
        self.note(match outcome {
            Ok(()) => "committed",
            Err(error) if error.outcome() == Outcome::Unknown => UNKNOWN,
            Err(_) => ROLLED_BACK,
        });
        if outcome.is_err() {
            self.failed();
        }
    }

    /// It could not be begun or ended.
    pub(super) fn failed(&self) {
        self.span.tell(|span| {
            span.record("otel.status_code", "ERROR");
        });
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        let outcome = *self.outcome.get_mut().unwrap_or_else(PoisonError::into_inner);
        let statements = *self.statements.get_mut();
        self.span.tell(|span| {
            span.record("statements", statements).record("outcome", outcome);
        });
    }
}
