//! How an operation fails that was to be tried again.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::chain::{Whole, postgres};

/// Why an operation was not tried again.
///
/// # Example
///
/// ```
/// use pool_postgres::retry::GaveUp;
///
/// assert_eq!(GaveUp::Budget.to_string(), "the retry budget is spent");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GaveUp {
    /// It has been tried [as often as it may](super::RetryPolicy::attempts).
    Attempts,
    /// There is no time for another attempt before the [deadline](super::RetryPolicy::deadline), or the last one was cut off there.
    Deadline,
    /// The [budget](super::RetryBudget) has nothing left.
    Budget,
    /// Another attempt would not help: the request is refused, somebody has to change a setting, or the error is the work's own.
    NotRetryable,
    /// It may have been done, as a whole or in part, and must not be done twice.
    OutcomeUnknown,
}

impl GaveUp {
    pub(super) const ALL: [Self; 5] =
        [Self::Attempts, Self::Deadline, Self::Budget, Self::NotRetryable, Self::OutcomeUnknown];

    /// A name for metrics: `attempts`, `deadline`, `budget`, `not retryable` or `outcome unknown`.
    ///
    /// # Example
    ///
    /// ```
    /// assert_eq!(pool_postgres::retry::GaveUp::NotRetryable.label(), "not retryable");
    /// ```
    pub fn label(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
            Self::NotRetryable => "not retryable",
            Self::OutcomeUnknown => "outcome unknown",
        }
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Attempts => "no attempts are left",
            Self::Deadline => "no time is left",
            Self::Budget => "the retry budget is spent",
            Self::NotRetryable => "another attempt would not help",
            Self::OutcomeUnknown => "it must not be done twice",
        })
    }
}

/// What has become of an operation that failed.
///
/// # Example
///
/// ```
/// use pool_postgres::retry::Outcome;
///
/// assert_eq!(Outcome::Unknown.to_string(), "it may have been done");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_enums)] // what is done has not failed
pub enum Outcome {
    /// Nothing of it has been done.
    NotDone,
    /// It may have been done, as a whole or in part; what is idempotent, more than once.
    Unknown,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDone => "nothing was done",
            Self::Unknown => "it may have been done",
        })
    }
}

/// An operation has failed, and is not tried again. The error of the last attempt is in its message, and its [`source`](StdError::source) for programs.
///
/// # Example
///
/// ```no_run
/// use std::error::Error;
/// use pool_postgres::retry::{Outcome, Retrier};
/// use pool_postgres::tokio_postgres;
///
/// # async fn pay(retrier: &Retrier) -> Result<(), Box<dyn Error>> {
/// let paying = retrier.transaction(async |lease| lease.batch_execute("UPDATE account SET amount = amount - 1").await);
/// match paying.await {
///     Err(error) if error.outcome == Outcome::Unknown => println!("look whether it has been paid: {error}"),
///     outcome => outcome?,
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[error("failed {}, in {elapsed:?}: {reason}; {outcome}; last error: {}", Times(*.attempts), Whole(.source.as_ref()))]
#[non_exhaustive]
pub struct RetryError {
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took, from the call on.
    pub elapsed: Duration,
    /// Why it was not tried again.
    pub reason: GaveUp,
    /// What has become of it.
    pub outcome: Outcome,
    source: Box<dyn StdError + Send + Sync>,
}

struct Times(u32);

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("once"),
            times => write!(f, "{times} times"),
        }
    }
}

impl RetryError {
    pub(super) fn new(
        attempts: u32,
        elapsed: Duration,
        reason: GaveUp,
        outcome: Outcome,
        source: Box<dyn StdError + Send + Sync>,
    ) -> Self {
        Self { attempts, elapsed, reason, outcome, source }
    }

    /// The error of the last attempt: that of the work, an [`AcquireError`](pool_core::AcquireError), a [`tokio_postgres::Error`] of `BEGIN` or `COMMIT`, or an [`AttemptError`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn own(error: pool_postgres::retry::RetryError) -> Option<std::num::ParseIntError> {
    /// error.into_source().downcast().ok().map(|own| *own)
    /// # }
    /// ```
    pub fn into_source(self) -> Box<dyn StdError + Send + Sync> {
        self.source
    }

    /// The SQLSTATE of the last attempt, if it failed with one.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::tokio_postgres::error::SqlState;
    ///
    /// # fn is_there_already(error: &pool_postgres::retry::RetryError) -> bool {
    /// error.sqlstate() == Some(&SqlState::UNIQUE_VIOLATION)
    /// # }
    /// ```
    pub fn sqlstate(&self) -> Option<&SqlState> {
        postgres(self.source.as_ref()).and_then(tokio_postgres::Error::code)
    }
}

/// How an attempt fails without an error of somebody else.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::retry::AttemptError;
///
/// # fn is_cut_off(error: &(dyn std::error::Error + 'static)) -> bool {
/// error.downcast_ref::<AttemptError>() == Some(&AttemptError::CutOff)
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttemptError {
    /// The deadline came.
    #[error("the attempt was cut off at the deadline")]
    CutOff,
    /// A statement of the transaction had failed, and the work took no notice. The server answers `COMMIT` with `ROLLBACK` then, which is no error for the client.
    #[error("the transaction had failed: COMMIT was answered with ROLLBACK")]
    RolledBack,
    /// The work has ended the transaction itself, so that nobody else knows how.
    #[error("the work has ended the transaction itself")]
    EndedByWork,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_all_in_one_line() {
        let error = |attempts, reason, outcome| {
            RetryError::new(attempts, Duration::from_millis(1500), reason, outcome, AttemptError::CutOff.into())
        };
        let one = error(1, GaveUp::NotRetryable, Outcome::NotDone);
        assert_eq!(
            one.to_string(),
            "failed once, in 1.5s: another attempt would not help; nothing was done; last error: the attempt was cut off at the deadline"
        );
        let two = error(2, GaveUp::Deadline, Outcome::Unknown);
        assert_eq!(
            two.to_string(),
            "failed 2 times, in 1.5s: no time is left; it may have been done; last error: the attempt was cut off at the deadline"
        );
        assert_eq!(two.source().unwrap().to_string(), "the attempt was cut off at the deadline");
        assert_eq!(two.sqlstate(), None);
        assert!(two.into_source().is::<AttemptError>());
    }

    #[test]
    fn every_reason_has_its_own_words() {
        let words = |of: fn(&GaveUp) -> String| GaveUp::ALL.iter().map(of).collect::<std::collections::HashSet<_>>();
        assert_eq!(words(|reason| reason.label().to_owned()).len(), GaveUp::ALL.len());
        assert_eq!(words(ToString::to_string).len(), GaveUp::ALL.len());
    }
}
