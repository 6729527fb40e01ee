//! How many retries there may be, whoever asks.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::policy::RetryPolicy;

/// A limit on retries that several operations share, so that those who try again do not add to an outage: a retry takes a token, and each operation that succeeds puts a
/// part of one back; a few come with time. While nothing succeeds, there are no more retries than those few. Where none is left, an operation fails with the error of its last attempt.
///
/// Cheap to clone; all clones are the same budget. Each [`Retrier`](super::Retrier) has its own unless it [shares](super::Retrier::sharing) another one's.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::retry::RetryPolicy;
/// # fn show(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::PostgresConfigError> {
/// let retrier = pool.retrying(RetryPolicy::default())?;
/// println!("{} retries are left", retrier.budget().left());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RetryBudget(Arc<Shared>);

struct Shared {
    bucket: Mutex<Bucket>,
    /// What an operation that succeeds puts in.
    deposit: u64,
    /// What comes in a second.
    per_second: u64,
    /// How much there can be.
    max: u64,
}

struct Bucket {
    parts: u64,
    /// Up to when what comes with time has come.
    filled: Instant,
}

/// The parts of a token: what a retry takes.
const TOKEN: u64 = 100;
const SECOND: u128 = Duration::from_secs(1).as_nanos();

impl RetryBudget {
    pub(super) fn new(policy: &RetryPolicy, now: Instant) -> Self {
        let max = u64::from(policy.budget_max) * TOKEN;
        Self(Arc::new(Shared {
            bucket: Mutex::new(Bucket { parts: max, filled: now }),
            deposit: u64::from(policy.budget_percent),
            per_second: u64::from(policy.budget_per_second) * TOKEN,
            max,
        }))
    }

    /// How many retries there could be now.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn is_spent(retrier: &pool_postgres::retry::Retrier) -> bool {
    /// retrier.budget().left() == 0
    /// # }
    /// ```
    pub fn left(&self) -> u64 {
        self.filled(Instant::now()).parts / TOKEN
    }

    /// An operation has succeeded.
    pub(super) fn deposit(&self) {
        let mut bucket = self.bucket();
        bucket.parts = (bucket.parts + self.0.deposit).min(self.0.max);
    }

    /// Pays for a retry. `false` if there is not enough.
    pub(super) fn withdraw(&self, now: Instant) -> bool {
        let mut bucket = self.filled(now);
        let left = bucket.parts.checked_sub(TOKEN);
        bucket.parts = left.unwrap_or(bucket.parts);
        left.is_some()
    }

    /// The bucket, with what has come up to now.
    fn filled(&self, now: Instant) -> MutexGuard<'_, Bucket> {
        let (Shared { per_second, max, .. }, mut bucket) = (&*self.0, self.bucket());
        if *per_second == 0 {
            return bucket;
        }
        let passed = now.saturating_duration_since(bucket.filled).as_nanos();
        let come = u64::try_from(passed * u128::from(*per_second) / SECOND).unwrap_or(u64::MAX);
        if bucket.parts.saturating_add(come) >= *max {
            (bucket.parts, bucket.filled) = (*max, bucket.filled.max(now));
        } else {
            bucket.parts += come;
            // Only the time of whole parts has been used up.
            bucket.filled += Duration::from_nanos(come * 1_000_000_000 / per_second);
        }
        bucket
    }

    /// Never held across an await.
    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.0.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryBudget").field("left", &self.left()).field("max", &(self.0.max / TOKEN)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(percent: u32, per_second: u32, max: u32) -> (RetryBudget, Instant) {
        let now = Instant::now();
        let policy = RetryPolicy {
            budget_percent: percent,
            budget_per_second: per_second,
            budget_max: max,
            ..RetryPolicy::default()
        };
        (RetryBudget::new(&policy, now), now)
    }

    /// How many retries are paid for at a moment.
    fn paid(budget: &RetryBudget, now: Instant) -> u32 {
        let mut paid = 0;
        while budget.withdraw(now) {
            paid += 1;
        }
        paid
    }

    #[test]
    fn what_was_saved_up_is_spent_once() {
        let (budget, now) = budget(10, 0, 3);
        assert_eq!((paid(&budget, now), paid(&budget, now + Duration::from_hours(24))), (3, 0));
    }

    #[test]
    fn ten_successes_of_a_hundred_pay_for_one_retry() {
        let (budget, now) = budget(10, 0, 5);
        assert_eq!(paid(&budget, now), 5);
        (0..29).for_each(|_| budget.deposit());
        assert_eq!(paid(&budget, now), 2);
        budget.deposit();
        assert_eq!(paid(&budget, now), 1, "the rest was kept");
        (0..1000).for_each(|_| budget.deposit());
        assert_eq!(paid(&budget, now), 5, "no more than can be saved up");
    }

    #[test]
    fn some_come_with_time() {
        let (budget, start) = budget(0, 4, 6);
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(paid(&budget, at(0)), 6);
        assert_eq!(paid(&budget, at(249)), 0);
        assert_eq!(paid(&budget, at(250)), 1, "looking does not lose any");
        assert_eq!(paid(&budget, at(1250)), 4);
        assert_eq!(paid(&budget, at(1000)), 0, "a clock that goes back");
        assert_eq!(paid(&budget, at(100_000_000)), 6);
        assert_eq!(paid(&budget, at(100_000_250)), 1);
    }

    #[test]
    fn clones_are_the_same_budget() {
        let (budget, now) = budget(0, 0, 2);
        assert!(budget.clone().withdraw(now) && budget.withdraw(now) && !budget.clone().withdraw(now));
        assert_eq!(format!("{budget:?}"), "RetryBudget { left: 0, max: 2 }");
    }
}
