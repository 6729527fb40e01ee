//! The loop around the attempts.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use pool_core::trace::report;

use super::attempt::{Attempt, Cause, Failure};
use super::budget::RetryBudget;
use super::error::{GaveUp, Outcome, RetryError};
use super::policy::{RetryPolicy, may_be_repeated};
use super::stats::{Counts, RetryStats};
use crate::config::PostgresConfigError;
use crate::pool::{PostgresOwnedLease, PostgresPool};
use crate::random::random;
use crate::transactions::TransactionOptions;

/// Runs operations on leases of a pool and tries them again where that helps and does no harm. Made by [`PostgresPool::retrying`]; the [module](super) says which kind is for what.
///
/// Cheap to clone; all clones have the same budget and count together.
///
/// The work of an operation is called once for each attempt with a lease. It is most easily written as an async closure, which may borrow what is around it. It has to give the lease back:
/// whoever keeps a clone of it keeps the connection from the pool.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::PostgresPool;
/// use pool_postgres::retry::RetryPolicy;
///
/// # async fn rename(pool: PostgresPool, name: String) -> Result<(), Box<dyn std::error::Error>> {
/// let retrier = pool.retrying(RetryPolicy::default())?;
/// let renaming = tokio::spawn(async move {
///     let rename = "UPDATE account SET name = $1 WHERE id = 7";
///     retrier.idempotent(async |lease| lease.execute(rename, &[&name]).await).await
/// });
/// renaming.await??;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Retrier {
    pool: PostgresPool,
    policy: RetryPolicy,
    budget: RetryBudget,
    counts: Arc<Counts>,
}

impl Retrier {
    pub(crate) fn new(pool: PostgresPool, policy: RetryPolicy) -> Result<Self, PostgresConfigError> {
        policy.validate()?;
        let budget = RetryBudget::new(&policy, Instant::now());
        Ok(Self { pool, policy, budget, counts: Arc::default() })
    }

    /// The same with the budget of others, as for several policies on one server.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use pool_postgres::retry::RetryPolicy;
    ///
    /// # fn two(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::PostgresConfigError> {
    /// let patient = pool.retrying(RetryPolicy::default())?;
    /// let mut policy = RetryPolicy::default();
    /// policy.deadline = Duration::from_secs(1);
    /// let hasty = pool.retrying(policy)?.sharing(patient.budget());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn sharing(self, budget: &RetryBudget) -> Self {
        Self { budget: budget.clone(), ..self }
    }

    /// The budget.
    pub fn budget(&self) -> &RetryBudget {
        &self.budget
    }

    /// The settings.
    pub fn policy(&self) -> &RetryPolicy {
        &self.policy
    }

    /// What it has done so far.
    pub fn stats(&self) -> RetryStats {
        self.counts.snapshot()
    }

    /// Runs work that may be done more than once, as reading may, or writing what is the same each time. It is tried again whenever that may help, also if nobody knows whether it has
    /// been done.
    ///
    /// Cancel safety: dropping the future gives the lease back; the pool cancels what is under way and rolls back what is open. Nobody learns then whether it has been done.
    ///
    /// # Errors
    ///
    /// [`RetryError`] with the error of the last attempt.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn forget(retrier: &pool_postgres::retry::Retrier, id: i64) -> Result<(), pool_postgres::retry::RetryError> {
    /// let gone = retrier.idempotent(async |lease| lease.execute("DELETE FROM account WHERE id = $1", &[&id]).await);
    /// println!("{} accounts are gone", gone.await?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn idempotent<T, E, Work>(
        &self,
        work: impl FnMut(Arc<PostgresOwnedLease>) -> Work,
    ) -> impl Future<Output = Result<T, RetryError>>
    where
        E: Into<Cause>,
        Work: Future<Output = Result<T, E>>,
    {
        self.run(true, Location::caller(), work)
    }

    /// Runs a statement that must not be done twice, outside of a transaction. It is tried again only if it has not been done for certain: no connection could be had, nothing was sent on a
    /// session that had ended, or the server reported an error, completed nothing, and goes on.
    ///
    /// It is meant for one statement. Of several, the first that is completed ends all retries. What a procedure that commits on its own has committed before it fails shows nowhere: a `CALL` or a
    /// `DO` of the methods of [`Queries`](crate::Queries) is not tried again, and one of [`tokio_postgres::Client`] is not for this.
    ///
    /// Cancel safety: as [`idempotent`](Self::idempotent).
    ///
    /// # Errors
    ///
    /// [`RetryError`] with the error of the last attempt; its [`outcome`](RetryError::outcome) says whether the statement may have been done.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn count(retrier: &pool_postgres::retry::Retrier) -> Result<(), pool_postgres::retry::RetryError> {
    /// retrier.once(async |lease| lease.execute("UPDATE counter SET n = n + 1", &[]).await).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn once<T, E, Work>(
        &self,
        work: impl FnMut(Arc<PostgresOwnedLease>) -> Work,
    ) -> impl Future<Output = Result<T, RetryError>>
    where
        E: Into<Cause>,
        Work: Future<Output = Result<T, E>>,
    {
        self.run(false, Location::caller(), work)
    }

    async fn run<T, E, Work>(
        &self,
        idempotent: bool,
        place: &'static Location<'static>,
        mut work: impl FnMut(Arc<PostgresOwnedLease>) -> Work,
    ) -> Result<T, RetryError>
    where
        E: Into<Cause>,
        Work: Future<Output = Result<T, E>>,
    {
        let mut operation = Operation::begin(self, idempotent, place);
        loop {
            // Owned across the awaits: what an attempt says it owns; between attempts, nothing.
            let outcome = match operation.attempt().await {
                Ok(attempt) => attempt.run(self.pool.driver(), &mut work).await,
                Err(failure) => Err(failure),
            };
            match outcome {
                Ok(value) => return Ok(operation.succeeded(value)),
                Err(failure) => operation.again_after(failure).await?,
            }
        }
    }

    /// Runs work inside of a transaction and commits it. The whole is tried again after 40001 and 40P01, and after whatever else may pass, as long as it has not been committed for certain.
    ///
    /// The work is given a lease with an open transaction and must not end it: what it commits itself, in part or as a whole, is not tried again if that is seen: by what the server has
    /// completed, also of what the work has asked and not waited for, and by a simple query that begins with `COMMIT` or `END`, answered or not; the same goes for work that the deadline cuts off. Any other statement that commits is not seen if its answer
    /// does not come: the session is lost before that, the deadline is over, or the work has kept its lease. If it fails, the transaction is rolled back; it is tried again if its error, or one below that, is a
    /// [`tokio_postgres::Error`] that advises it. What the work does outside of the transaction may be done several times. If it lets an error of a statement pass, the server has
    /// rolled back what is to be committed: that is [`AttemptError::RolledBack`](super::AttemptError::RolledBack) and not a success.
    ///
    /// If the session ends after `COMMIT` was sent, nobody knows whether it was committed: it is not tried again, and [`RetryError::outcome`] says so. Only if the server has ended it for being idle inside of the transaction (25P03),
    /// it has never seen that `COMMIT`, and the whole is tried again.
    ///
    /// Cancel safety: dropping the future gives the lease back and the pool rolls the transaction back; a `COMMIT` that was sent may be carried out.
    ///
    /// # Errors
    ///
    /// [`RetryError`] with the error of the last attempt.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::retry::{Retrier, RetryError};
    /// use pool_postgres::tokio_postgres::Error;
    ///
    /// # async fn transfer(retrier: &Retrier, from: i64, to: i64) -> Result<(), RetryError> {
    /// retrier
    ///     .transaction(async |lease| {
    ///         lease.execute("UPDATE account SET amount = amount - 1 WHERE id = $1", &[&from]).await?;
    ///         lease.execute("UPDATE account SET amount = amount + 1 WHERE id = $1", &[&to]).await?;
    ///         Ok::<_, Error>(())
    ///     })
    ///     .await
    /// # }
    /// ```
    #[track_caller]
    pub fn transaction<T, E, Work>(
        &self,
        work: impl FnMut(Arc<PostgresOwnedLease>) -> Work,
    ) -> impl Future<Output = Result<T, RetryError>>
    where
        E: Into<Cause>,
        Work: Future<Output = Result<T, E>>,
    {
        self.transaction_with(TransactionOptions::default(), work)
    }

    /// As [`transaction`](Self::transaction), begun with these options.
    ///
    /// Cancel safety: the same.
    ///
    /// # Errors
    ///
    /// [`RetryError`] with the error of the last attempt.
    #[track_caller]
    pub fn transaction_with<T, E, Work>(
        &self,
        options: TransactionOptions,
        mut work: impl FnMut(Arc<PostgresOwnedLease>) -> Work,
    ) -> impl Future<Output = Result<T, RetryError>>
    where
        E: Into<Cause>,
        Work: Future<Output = Result<T, E>>,
    {
        let place = Location::caller();
        async move {
            let begin = options.begin();
            let mut operation = Operation::begin(self, false, place);
            loop {
                // Owned across the awaits: what an attempt says it owns; between attempts, nothing.
                let outcome = match operation.attempt().await {
                    Ok(attempt) => attempt.run_in_transaction(self.pool.driver(), &begin, &mut work).await,
                    Err(failure) => Err(failure),
                };
                match outcome {
                    Ok(value) => return Ok(operation.succeeded(value)),
                    Err(failure) => operation.again_after(failure).await?,
                }
            }
        }
    }
}

/// An operation that is under way.
struct Operation<'a> {
    retrier: &'a Retrier,
    idempotent: bool,
    /// Who asks.
    place: &'static Location<'static>,
    started: Instant,
    deadline: Instant,
    attempts: u32,
    /// Of the attempts so far.
    outcome: Outcome,
}

impl<'a> Operation<'a> {
    fn begin(retrier: &'a Retrier, idempotent: bool, place: &'static Location<'static>) -> Self {
        retrier.counts.operation();
        let started = Instant::now();
        let deadline = started + retrier.policy.deadline;
        Self { retrier, idempotent, place, started, deadline, attempts: 0, outcome: Outcome::NotDone }
    }

    /// A lease for the next attempt, within the time that is left.
    async fn attempt(&mut self) -> Result<Attempt, Failure> {
        self.attempts += 1;
        self.retrier.counts.attempt();
        let pool = &self.retrier.pool;
        let left = self.deadline.saturating_duration_since(Instant::now());
        let limit = left.min(pool.config().acquire_timeout);
        // Owned across the await: a place among those who wait. Dropped, it is left.
        match pool.acquire_owned_at(limit, self.place).await {
            Ok(lease) => Ok(Attempt::new(lease, self.deadline)),
            Err(error) => Err(Failure::of_acquire(error)),
        }
    }

    fn succeeded<T>(&self, value: T) -> T {
        self.retrier.counts.success();
        self.retrier.budget.deposit();
        value
    }

    /// Returns when it is time for the next attempt, or why there is none.
    async fn again_after(&mut self, failure: Failure) -> Result<(), RetryError> {
        self.outcome = self.outcome.max(failure.outcome);
        let pause = match self.pause(&failure) {
            Ok(pause) => pause,
            Err(reason) => {
                self.retrier.counts.give_up(reason);
                return Err(RetryError::new(
                    self.attempts,
                    self.started.elapsed(),
                    reason,
                    self.outcome,
                    failure.error,
                ));
            }
        };
        self.retrier.counts.retry(failure.reason);
        report(|| tracing::debug!(reason = failure.reason.label(), attempts = self.attempts, ?pause, "trying again"));
        drop(failure);
        // Owned across the await: nothing, no connection either.
        sleep(pause).await;
        Ok(())
    }

    /// How long to wait before the next attempt, which is paid for, or why there is none.
    fn pause(&self, failure: &Failure) -> Result<Duration, GaveUp> {
        let Retrier { policy, budget, .. } = self.retrier;
        if failure.cut_off {
            return Err(GaveUp::Deadline);
        }
        may_be_repeated(self.idempotent, failure.advice, failure.outcome)?;
        if self.attempts >= policy.attempts {
            return Err(GaveUp::Attempts);
        }
        let now = Instant::now();
        let pause = policy.pause(self.attempts, failure.advice, random());
        if now + pause >= self.deadline {
            return Err(GaveUp::Deadline);
        }
        if budget.withdraw(now) { Ok(pause) } else { Err(GaveUp::Budget) }
    }
}
