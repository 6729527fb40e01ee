//! The spans of requests, with the names that OpenTelemetry has for those of clients of databases.

use std::cell::LazyCell;

use pool_core::trace::Traced;
use tokio_postgres::Row;
use tracing::Level;
use tracing::field::{Empty, display};

use super::in_short::InShort;
use super::slow::QueryEnd;
use crate::connection::PostgresConnection;
use crate::query::{Query, QueryError, Summary};
use crate::server::Server;

/// What OpenTelemetry calls PostgreSQL. It is also the name of a span that has no statement.
const SYSTEM: &str = "postgresql";

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
    server.settings.config.namespace().unwrap_or_default()
}

/// The span of a request.
pub(super) fn of_request(connection: &PostgresConnection, query: &Query<'_>) -> Traced {
    let server = connection.server();
    Traced::new(|| {
        // The statement is not read for a span that nobody wants: the macro looks at its fields only if somebody does.
        let summary = LazyCell::new(|| InShort(query.sql()).some().map(|summary| summary.to_string()));
        tracing::span!(target: "pool_postgres::span", Level::DEBUG, "db.query",
            otel.kind = "client",
            otel.name = summary.as_deref().unwrap_or(SYSTEM),
            db.system.name = SYSTEM,
            db.namespace = database(server),
            db.query.summary = summary.as_deref(),
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
    request.followed_by(|| {
        tracing::span!(target: "pool_postgres::span", parent: None, Level::DEBUG, "db.cancel",
            otel.kind = "client",
            db.system.name = SYSTEM)
    })
}

/// Tells what has become of a request.
pub(super) fn tell<T: Answered>(request: &Traced, answer: &Result<T, QueryError>, end: QueryEnd) {
    match answer {
        Ok(answer) => {
            let rows = answer.rows().map(|rows| rows as u64);
            request.tell(|span| {
                span.record("db.response.returned_rows", rows);
            });
        }
        Err(error) => tell_error(request, error),
    }
    tell_end(request, end);
}

/// Tells that it has failed. Not what is said of the error, where there may be values.
pub(super) fn tell_error(request: &Traced, error: &QueryError) {
    request.tell(|span| {
        let code = error.sqlstate().map(tokio_postgres::error::SqlState::code);
        span.record("db.response.status_code", code).record("otel.status_code", "ERROR");
        span.record("error.type", code.unwrap_or_else(|| kind(error)));
    });
}

/// Tells how it has ended.
pub(super) fn tell_end(request: &Traced, end: QueryEnd) {
    request.tell(|span| {
        span.record("outcome", display(end));
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
