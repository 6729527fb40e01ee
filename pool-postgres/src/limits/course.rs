//! What becomes of a request that has more than one answer.

use std::time::{Duration, Instant};

use pool_core::trace::Traced;

use super::cancel::Cancellation;
use super::slow::QueryEnd;
use super::spans;
use super::stats::Item;
use crate::connection::PostgresConnection;
use crate::query::QueryError;

/// A request that was begun and is not over, for those who trace it and those who want to know how long it takes.
#[derive(Debug)]
pub(crate) struct Course {
    /// If anybody wants to know how long it takes.
    began_at: Option<Instant>,
    /// How long it has taken, if that is known before it is over.
    took: Option<Duration>,
    span: Traced,
    /// What has become of it so far, and whether the connection has served it.
    end: QueryEnd,
    is_served: bool,
}

impl Default for Course {
    fn default() -> Self {
        Self::new(None, Traced::none())
    }
}

impl Course {
    pub(super) fn new(began_at: Option<Instant>, span: Traced) -> Self {
        Self { began_at, took: None, span, end: QueryEnd::Answered, is_served: true }
    }

    /// Since when it goes on, and its span: for one that is begun anew.
    pub(super) fn into_beginning(self) -> (Option<Instant>, Traced) {
        (self.began_at, self.span)
    }

    /// As it is, for one whose answer is read, or whose data is sent, bit by bit from now on. That goes as fast as its user does, who is not judged: what counts is how long it has taken so far.
    pub(crate) fn at_leisure(mut self) -> Self {
        self.took = self.elapsed();
        self
    }

    /// How long it has taken, if anybody wants to know that.
    fn elapsed(&self) -> Option<Duration> {
        self.took.or_else(|| self.began_at.map(|began_at| began_at.elapsed()))
    }

    /// One of its answers is an error. The first one says what has become of it.
    pub(crate) fn fails(&mut self, error: &QueryError) {
        let (end, is_served) = end_of(error);
        self.is_served &= is_served;
        if self.end == QueryEnd::Answered {
            self.end = end;
            spans::tell_error(&self.span, error);
        }
    }

    /// It is over.
    pub(crate) fn end(&self, connection: &PostgresConnection, sql: &str) {
        self.tell(connection, sql, (self.end, self.is_served));
    }

    /// Nobody waits for the rest of it any more.
    pub(crate) fn is_dropped(&self, connection: &PostgresConnection, sql: &str) {
        self.tell(connection, sql, (QueryEnd::Dropped, false));
    }

    fn tell(&self, connection: &PostgresConnection, sql: &str, (end, is_served): (QueryEnd, bool)) {
        if let Some(elapsed) = self.elapsed() {
            judge(connection, sql, elapsed, (end, is_served));
        }
        spans::tell_end(&self.span, end);
    }

    /// As [`end`](Self::end), for one that is counted as one request, and here: with this error, if it has failed.
    pub(crate) fn end_as_one(mut self, connection: &PostgresConnection, sql: &str, error: Option<&QueryError>) {
        if let Some(error) = error {
            self.fails(error);
        }
        connection.tally().add(self.end.into());
        self.end(connection, sql);
    }

    /// As [`is_dropped`](Self::is_dropped), for one that is counted as one request, and here.
    pub(crate) fn leave_as_one(self, connection: &PostgresConnection, sql: &str) {
        connection.tally().add(Item::Dropped);
        self.is_dropped(connection, sql);
    }

    /// What has it cancelled.
    pub(crate) fn cancellation(&self, connection: &PostgresConnection) -> Cancellation {
        connection.cancellation().because_of(&self.span)
    }
}

/// What has become of a request that has failed, and whether the connection has served it.
pub(super) fn end_of(error: &QueryError) -> (QueryEnd, bool) {
    if error.is_timeout() { (QueryEnd::TimedOut, false) } else { (QueryEnd::Failed, !error.is_closed()) }
}

/// Counts whether a request was in time, and tells of it if it was slow.
pub(super) fn judge(connection: &PostgresConnection, sql: &str, elapsed: Duration, (end, is_served): (QueryEnd, bool)) {
    let (tally, limits) = (connection.tally(), connection.limits());
    if let Some(sla) = limits.sla {
        let is_late = elapsed > sla;
        if is_late || (!is_served && end != QueryEnd::Dropped) {
            tally.add(Item::SlaMissed);
        } else if is_served {
            tally.add(Item::SlaMet);
        }
    }
    if limits.slow_query.is_some_and(|slow| elapsed >= slow) {
        tally.add(Item::Slow);
        tally.ledger().tell(sql, connection.host(), elapsed, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_at_leisure_takes_no_longer_for_that() {
        let course = Course::new(Some(Instant::now()), Traced::none()).at_leisure();
        let took = course.elapsed();
        assert!(took.is_some());
        assert_eq!((0..1000).map(|_| course.elapsed()).max(), Some(took));
        assert_eq!(Course::default().at_leisure().elapsed(), None, "nobody wants to know");
    }
}
