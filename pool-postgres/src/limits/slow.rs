//! Requests that take long.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use pool_core::Throttle;
use pool_core::trace::report;
use tokio::time::Instant;

use super::ledger::Ledger;
use crate::driver::PostgresDriver;
use crate::query::Summary;

/// How a request has ended.
///
/// # Example
///
/// ```
/// assert_eq!(pool_postgres::QueryEnd::TimedOut.to_string(), "timed out");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueryEnd {
    /// With what was asked for.
    Answered,
    /// With an error.
    Failed,
    /// It came to a limit of time, at the client or of the server.
    TimedOut,
    /// Nobody waited for the answer any more.
    Dropped,
}

impl fmt::Display for QueryEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Dropped => "dropped",
        })
    }
}

/// A request that took as long as [`Limits::slow_query`](crate::Limits::slow_query), or longer.
///
/// # Example
///
/// ```
/// # fn note(slow: &pool_postgres::SlowQuery) {
/// eprintln!("{:?} for {} on {}, {}", slow.elapsed, slow.statement, slow.host, slow.end);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowQuery {
    /// The statement, without literals and comments, and no longer than a few lines.
    pub statement: String,
    /// The server, by host and port as configured, or the path of its Unix socket.
    pub host: String,
    /// How long it took, from when it was begun on its connection, or has taken when it was dropped. Of what is read or sent bit by bit, until the server has begun to answer.
    pub elapsed: Duration,
    /// What became of it.
    pub end: QueryEnd,
}

/// Lets one warning pass each so often.
pub(super) struct Warnings {
    throttle: Throttle,
    began: Instant,
}

/// From one warning to the next.
const INTERVAL: Duration = Duration::from_secs(10);

impl Warnings {
    /// With so many that may come at once.
    pub(super) fn new(at_once: u32) -> Self {
        Self { throttle: Throttle::new(INTERVAL, at_once), began: Instant::now() }
    }

    /// If one may be told of now: how many were left out since the last one.
    pub(super) fn ask(&self) -> Option<u64> {
        self.throttle.ask(self.began.elapsed())
    }
}

pub(super) type Listener = Arc<dyn Fn(&SlowQuery) + Send + Sync>;

impl Ledger {
    /// Tells of a slow request.
    pub(super) fn tell(&self, sql: &str, host: &str, elapsed: Duration, end: QueryEnd) {
        let slow = SlowQuery { statement: Summary(sql).to_string(), host: host.to_owned(), elapsed, end };
        if let Some(left_out) = self.warnings.ask() {
            report(|| {
                tracing::warn!(
                    target: "pool_postgres::slow",
                    statement = slow.statement,
                    host = slow.host,
                    elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                    end = %end,
                    suppressed = (left_out > 0).then_some(left_out),
                    "a slow query"
                );
            });
        }
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(listener) = listener
            && catch_unwind(AssertUnwindSafe(|| listener(&slow))).is_err()
            && let Some(left_out) = self.panics.ask()
        {
            let suppressed = (left_out > 0).then_some(left_out);
            report(|| tracing::error!(suppressed, "what listens for slow queries has panicked"));
        }
    }
}

impl PostgresDriver {
    /// As it is, with somebody who is told of each request that is [slow](crate::Limits::slow_query), beside the event (of the target `pool_postgres::slow`, a warning, one each 10 s, with the number of those that were left out as `suppressed`). The last one counts.
    ///
    /// He is called where the request was awaited or dropped, and holds that up for as long as he takes; if he panics, that is logged, as rarely, and has no other consequence.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_postgres::{PostgresConfig, PostgresDriver, PostgresPool};
    ///
    /// # fn build() -> Result<PostgresPool, Box<dyn std::error::Error>> {
    /// let config: PostgresConfig = "host=db.example pool_slow_query=200ms".parse()?;
    /// let (tell, told) = std::sync::mpsc::sync_channel(100);
    /// let driver = PostgresDriver::new(config)?.on_slow_query(move |slow| {
    ///     // What there is no room for is lost, and nobody waits.
    ///     let _ = tell.try_send(slow.clone());
    /// });
    /// let pool = PostgresPool::from(PostgresPool::builder_of(driver).build()?);
    /// # drop(told);
    /// # Ok(pool)
    /// # }
    /// # build().map(drop).ok();
    /// ```
    #[must_use]
    pub fn on_slow_query(self, listener: impl Fn(&SlowQuery) + Send + Sync + 'static) -> Self {
        let place = &self.cluster.settings.ledger.listener;
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(listener));
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_listener_is_told_and_may_panic() {
        let driver = PostgresDriver::new("host=h user=u".parse().unwrap()).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::clone(&told);
        let driver = driver.on_slow_query(move |slow| {
            telling.lock().unwrap().push(slow.clone());
            assert_eq!(slow.end, QueryEnd::Answered, "it panics");
        });
        let ledger = &driver.cluster.settings.ledger;
        ledger.tell("SELECT 's3cr3t'", "h:5432", Duration::from_secs(1), QueryEnd::Answered);
        ledger.tell("SELECT 1", "h:5432", Duration::from_secs(2), QueryEnd::Dropped);
        let told = told.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((told[0].statement.as_str(), told[0].host.as_str()), ("SELECT ?", "h:5432"));
        assert_eq!((told[1].elapsed, told[1].end), (Duration::from_secs(2), QueryEnd::Dropped));
    }
}
