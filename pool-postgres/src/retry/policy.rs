//! How often, how soon, for how long. Pure: whoever asks says what time it is and what is random.

use std::fmt;
use std::time::Duration;

use super::error::{GaveUp, Outcome};
use crate::config::PostgresConfigError;
use crate::diagnosis::Advice;

/// The settings of a [`Retrier`](super::Retrier).
///
/// Start from [`RetryPolicy::default`] and change fields; the whole is checked by [`PostgresPool::retrying`](crate::PostgresPool::retrying).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use pool_postgres::retry::RetryPolicy;
///
/// let mut policy = RetryPolicy::default();
/// policy.deadline = Duration::from_secs(2);
/// assert!(policy.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often an operation is tried, the first time included; 1 tries nothing again. From 1 to 1000; default 5.
    pub attempts: u32,
    /// The ceiling of the first pause. It doubles with each further attempt up to `pause_max`, and between a tenth and all of it is waited, at random. Where
    /// [`Advice::RetryNow`] is the advice, the first retry comes without a pause. From 1 ms to 10 years; default 50 ms.
    pub pause_initial: Duration,
    /// The longest pause. From `pause_initial` to 10 years; default 2 s.
    pub pause_max: Duration,
    /// How long an operation may take, from its call to its end: waiting for connections, the work and the pauses. No pause begins that would last beyond it, and an attempt that is
    /// under way is cut off. From 1 ms to 10 years; default 30 s.
    pub deadline: Duration,
    /// How many retries a hundred operations that succeed pay for, on top of `budget_per_second`. From 0 to 1000; default 10.
    pub budget_percent: u32,
    /// How many retries are paid for in each second, whatever succeeds. From 0 to 1,000,000; default 10.
    pub budget_per_second: u32,
    /// How many retries can be saved up; so many are there at the start. From 1 to 1,000,000; default 100.
    pub budget_max: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            pause_initial: Duration::from_millis(50),
            pause_max: Duration::from_secs(2),
            deadline: Duration::from_secs(30),
            budget_percent: 10,
            budget_per_second: 10,
            budget_max: 100,
        }
    }
}

const LEAST: Duration = Duration::from_millis(1);
/// Long enough for anybody, short enough that adding it to a clock never overflows.
const MOST: Duration = Duration::from_hours(10 * 365 * 24);
const MOST_RETRIES: u32 = 1_000_000;

impl RetryPolicy {
    /// Checks every field and the relations between them.
    ///
    /// # Errors
    ///
    /// [`PostgresConfigError::Value`] for a field that is out of its range, with the values it may have; [`PostgresConfigError::Several`] for more of them.
    ///
    /// # Example
    ///
    /// ```
    /// let mut policy = pool_postgres::retry::RetryPolicy::default();
    /// policy.attempts = 0;
    /// let error = policy.validate().unwrap_err();
    /// assert_eq!(error.to_string(), "attempts = \"0\" is not allowed; allowed: 1 to 1000");
    /// ```
    pub fn validate(&self) -> Result<(), PostgresConfigError> {
        let times = LEAST..=MOST;
        let pauses = self.pause_initial.max(LEAST)..=MOST;
        let retries = 0..=MOST_RETRIES;
        let checks: [(bool, &'static str, &dyn fmt::Debug, &'static str); 7] = [
            ((1..=1000).contains(&self.attempts), "attempts", &self.attempts, "1 to 1000"),
            (times.contains(&self.pause_initial), "pause_initial", &self.pause_initial, "1 ms to 10 years"),
            (pauses.contains(&self.pause_max), "pause_max", &self.pause_max, "pause_initial to 10 years"),
            (times.contains(&self.deadline), "deadline", &self.deadline, "1 ms to 10 years"),
            (self.budget_percent <= 1000, "budget_percent", &self.budget_percent, "0 to 1000"),
            (retries.contains(&self.budget_per_second), "budget_per_second", &self.budget_per_second, "0 to 1000000"),
            (self.budget_max > 0 && retries.contains(&self.budget_max), "budget_max", &self.budget_max, "1 to 1000000"),
        ];
        let refused = checks.into_iter().filter(|(holds, ..)| !holds);
        let mut refused: Vec<_> = refused
            .map(|(_, field, value, allowed)| PostgresConfigError::value(field, format!("{value:?}"), allowed))
            .collect();
        match refused.len() {
            0 => Ok(()),
            1 => Err(refused.remove(0)),
            _ => Err(PostgresConfigError::Several(refused)),
        }
    }

    /// The pause after so many attempts, of which the last has met with this advice: a random part, a tenth at least, of one that doubles each time ("full jitter", from the Amazon Builders' Library on timeouts,
    /// retries and backoff with jitter), so that those who got into each other's way do not meet again.
    pub(super) fn pause(&self, attempts: u32, advice: Advice, random: u64) -> Duration {
        // At once, but not in a tight loop.
        if advice == Advice::RetryNow && attempts == 1 {
            return Duration::ZERO;
        }
        let ceiling = self.pause_initial.saturating_mul(1 << attempts.saturating_sub(1).min(31)).min(self.pause_max);
        let part = 0.1 + 0.9 * f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX);
        ceiling.mul_f64(part)
    }
}

/// Whether something that has failed may be tried again, by what it is and by what has become of it.
pub(super) fn may_be_repeated(idempotent: bool, advice: Advice, outcome: Outcome) -> Result<(), GaveUp> {
    match (advice, outcome) {
        (Advice::Never | Advice::FixConfiguration, _) => Err(GaveUp::NotRetryable),
        (_, Outcome::Unknown) if !idempotent => Err(GaveUp::OutcomeUnknown),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit() {
        let policy = RetryPolicy::default();
        let longest = |attempts| policy.pause(attempts, Advice::RetryLater, u64::MAX).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 1000].map(longest), [50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(policy.pause(3, Advice::RetryTransaction, 0).as_millis(), 20, "a tenth at least");
    }

    #[test]
    fn at_once_is_at_once_but_for_the_first_time_only() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.pause(1, Advice::RetryNow, u64::MAX), Duration::ZERO);
        assert_eq!(policy.pause(2, Advice::RetryNow, u64::MAX).as_millis(), 100);
    }

    #[test]
    fn what_may_run_once_is_repeated_only_if_it_has_not_run() {
        use Advice::{FixConfiguration, Never, OutcomeUnknown, RetryLater, RetryNow, RetryTransaction};
        for advice in [RetryNow, RetryLater, RetryTransaction, OutcomeUnknown] {
            assert_eq!(may_be_repeated(false, advice, Outcome::NotDone), Ok(()), "{advice:?}");
            assert_eq!(may_be_repeated(false, advice, Outcome::Unknown), Err(GaveUp::OutcomeUnknown), "{advice:?}");
            assert_eq!(may_be_repeated(true, advice, Outcome::Unknown), Ok(()), "{advice:?}");
        }
        for advice in [FixConfiguration, Never] {
            assert_eq!(may_be_repeated(true, advice, Outcome::NotDone), Err(GaveUp::NotRetryable), "{advice:?}");
        }
    }

    #[test]
    fn every_setting_that_can_be_wrong_has_its_message() {
        type Change = fn(&mut RetryPolicy);
        let changes: [(Change, &str); 9] = [
            (|policy| policy.attempts = 1001, "attempts = \"1001\" is not allowed; allowed: 1 to 1000"),
            (
                |policy| policy.pause_initial = Duration::ZERO,
                "pause_initial = \"0ns\" is not allowed; allowed: 1 ms to 10 years",
            ),
            (
                |policy| policy.pause_max = Duration::from_millis(49),
                "pause_max = \"49ms\" is not allowed; allowed: pause_initial to 10 years",
            ),
            (|policy| policy.deadline = Duration::ZERO, "deadline = \"0ns\" is not allowed; allowed: 1 ms to 10 years"),
            (|policy| policy.budget_percent = 1001, "budget_percent = \"1001\" is not allowed; allowed: 0 to 1000"),
            (
                |policy| policy.budget_per_second = 1_000_001,
                "budget_per_second = \"1000001\" is not allowed; allowed: 0 to 1000000",
            ),
            (|policy| policy.budget_max = 0, "budget_max = \"0\" is not allowed; allowed: 1 to 1000000"),
            (|policy| policy.budget_max = 1_000_001, "budget_max = \"1000001\" is not allowed; allowed: 1 to 1000000"),
            (
                |policy| (policy.attempts, policy.budget_max) = (0, 0),
                "attempts = \"0\" is not allowed; allowed: 1 to 1000; budget_max = \"0\" is not allowed; allowed: 1 to 1000000",
            ),
        ];
        for (change, message) in changes {
            let mut policy = RetryPolicy::default();
            change(&mut policy);
            assert_eq!(policy.validate().unwrap_err().to_string(), message);
        }
    }
}
