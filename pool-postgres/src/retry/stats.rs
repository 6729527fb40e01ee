//! What a retrier has done.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio_postgres::error::SqlState;

use super::error::GaveUp;
use crate::diagnosis::{Diagnosis, Fate};

/// What an operation was tried again for.
///
/// # Example
///
/// ```
/// use pool_postgres::retry::RetryReason;
///
/// assert_eq!(RetryReason::Deadlock.label(), "deadlock");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryReason {
    /// Transactions got into each other's way: 40001 and the rest of its class but for deadlocks.
    Serialization,
    /// 40P01.
    Deadlock,
    /// The session ended.
    SessionLost,
    /// No connection could be had.
    NoConnection,
    /// The server could not do it at that moment.
    NotNow,
}

impl RetryReason {
    const ALL: [Self; 5] = [Self::Serialization, Self::Deadlock, Self::SessionLost, Self::NoConnection, Self::NotNow];

    /// By the error of a request.
    pub(super) fn of(error: &tokio_postgres::Error, diagnosis: Diagnosis) -> Self {
        match error.code().map(SqlState::code) {
            Some("40P01") => Self::Deadlock,
            Some(code) if code.starts_with("40") => Self::Serialization,
            Some(_) if diagnosis.fate != Fate::Close => Self::NotNow,
            _ => Self::SessionLost,
        }
    }

    /// A name for metrics: `serialization`, `deadlock`, `session lost`, `no connection` or `not now`.
    ///
    /// # Example
    ///
    /// ```
    /// assert_eq!(pool_postgres::retry::RetryReason::NotNow.label(), "not now");
    /// ```
    pub fn label(self) -> &'static str {
        match self {
            Self::Serialization => "serialization",
            Self::Deadlock => "deadlock",
            Self::SessionLost => "session lost",
            Self::NoConnection => "no connection",
            Self::NotNow => "not now",
        }
    }
}

/// What a [`Retrier`](super::Retrier) and its clones have done so far. Operations that are under way or were dropped have begun, and are counted as nothing else.
///
/// # Example
///
/// ```no_run
/// # fn export(retrier: &pool_postgres::retry::Retrier) {
/// let stats = retrier.stats();
/// println!("retry_operations_total {}", stats.operations);
/// for (reason, count) in stats.retries() {
///     println!("retry_retries_total{{reason=\"{}\"}} {count}", reason.label());
/// }
/// for (reason, count) in stats.given_up() {
///     println!("retry_given_up_total{{reason=\"{}\"}} {count}", reason.label());
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryStats {
    /// Operations that have begun.
    pub operations: u64,
    /// Operations that have succeeded, at whatever attempt.
    pub succeeded: u64,
    /// Attempts, the first of each operation included.
    pub attempts: u64,
    retries: [u64; RetryReason::ALL.len()],
    given_up: [u64; GaveUp::ALL.len()],
}

impl RetryStats {
    /// How often something was tried again, by the reason; those that never came up included.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn total(retrier: &pool_postgres::retry::Retrier) -> u64 {
    /// retrier.stats().retries().map(|(_, count)| count).sum()
    /// # }
    /// ```
    pub fn retries(&self) -> impl Iterator<Item = (RetryReason, u64)> + '_ {
        RetryReason::ALL.into_iter().zip(self.retries)
    }

    /// How many operations were given up, by the reason; those that never came up included. [`GaveUp::Budget`] counts what the budget has refused.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::retry::GaveUp;
    ///
    /// # fn refused(retrier: &pool_postgres::retry::Retrier) -> u64 {
    /// retrier.stats().given_up().find(|(reason, _)| *reason == GaveUp::Budget).map_or(0, |(_, count)| count)
    /// # }
    /// ```
    pub fn given_up(&self) -> impl Iterator<Item = (GaveUp, u64)> + '_ {
        GaveUp::ALL.into_iter().zip(self.given_up)
    }
}

/// The counts of a retrier and its clones.
#[derive(Debug, Default)]
pub(super) struct Counts {
    operations: AtomicU64,
    succeeded: AtomicU64,
    attempts: AtomicU64,
    retries: [AtomicU64; RetryReason::ALL.len()],
    given_up: [AtomicU64; GaveUp::ALL.len()],
}

impl Counts {
    pub(super) fn operation(&self) {
        self.operations.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn success(&self) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn retry(&self, reason: RetryReason) {
        count(&self.retries, RetryReason::ALL.iter().position(|other| *other == reason));
    }

    pub(super) fn give_up(&self, reason: GaveUp) {
        count(&self.given_up, GaveUp::ALL.iter().position(|other| *other == reason));
    }

    pub(super) fn snapshot(&self) -> RetryStats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RetryStats {
            operations: of(&self.operations),
            succeeded: of(&self.succeeded),
            attempts: of(&self.attempts),
            retries: self.retries.each_ref().map(of),
            given_up: self.given_up.each_ref().map(of),
        }
    }
}

fn count(counts: &[AtomicU64], place: Option<usize>) {
    if let Some(count) = place.and_then(|place| counts.get(place)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_its_count() {
        let counts = Counts::default();
        for (times, reason) in RetryReason::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| counts.retry(reason));
        }
        for (times, reason) in GaveUp::ALL.into_iter().enumerate() {
            (0..=times).for_each(|_| counts.give_up(reason));
        }
        let stats = counts.snapshot();
        assert_eq!(stats.retries().map(|(_, count)| count).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(stats.given_up().map(|(_, count)| count).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let labels: std::collections::HashSet<_> = stats.retries().map(|(reason, _)| reason.label()).collect();
        assert_eq!(labels.len(), RetryReason::ALL.len());
    }
}
