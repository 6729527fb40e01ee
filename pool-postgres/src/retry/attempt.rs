//! One attempt on one session, and what has become of it.

use std::error::Error as StdError;
use std::sync::Arc;

use pool_core::AcquireError;
use tokio::time::{Instant, timeout_at};

use super::error::{AttemptError, Outcome};
use super::stats::RetryReason;
use crate::chain::postgres;
use crate::diagnosis::{Advice, Diagnosis};
use crate::driver::PostgresDriver;
use crate::pool::PostgresOwnedLease;
use crate::query::QueryError;
use crate::tap::{Ending, Mark};
use crate::transactions::{COMMIT, outcome_of_commit};

pub(super) type Cause = Box<dyn StdError + Send + Sync>;

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Cause,
    pub(super) advice: Advice,
    pub(super) outcome: Outcome,
    pub(super) reason: RetryReason,
    /// Whether the deadline ended it.
    pub(super) cut_off: bool,
}

impl Failure {
    fn new(error: Cause, diagnosis: Option<Diagnosis>, outcome: Outcome) -> Self {
        let outcome = outcome.max(told(&*error));
        let found = postgres(&*error).zip(diagnosis);
        let reason = found.map_or(RetryReason::NotNow, |(error, diagnosis)| RetryReason::of(error, diagnosis));
        // An error that is not the client's own is the work's, and nobody knows what it means.
        let advice = diagnosis.map_or(Advice::Never, |diagnosis| diagnosis.advice);
        Self { error, advice, outcome, reason, cut_off: false }
    }

    pub(super) fn of_acquire(error: AcquireError) -> Self {
        let advice = Diagnosis::of_acquire(&error).advice;
        let (outcome, reason) = (Outcome::NotDone, RetryReason::NoConnection);
        Self { error: error.into(), advice, outcome, reason, cut_off: false }
    }

    fn cut_off(outcome: Outcome) -> Self {
        Self { cut_off: true, ..Self::new(AttemptError::CutOff.into(), None, outcome) }
    }
}

/// What an error says itself of a transaction that was ended, as that of another connection may be.
fn told(error: &(dyn StdError + 'static)) -> Outcome {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref().is_some_and(QueryError::may_have_committed) {
            return Outcome::Unknown;
        }
        next = error.source();
    }
    Outcome::NotDone
}

/// One attempt: a lease, and the moment at which it has to be over.
pub(super) struct Attempt {
    lease: Arc<PostgresOwnedLease>,
    deadline: Instant,
    mark: Mark,
}

impl Attempt {
    pub(super) fn new(lease: PostgresOwnedLease, deadline: Instant) -> Self {
        let mark = lease.mark();
        Self { lease: Arc::new(lease), deadline, mark }
    }

    /// Runs the work outside of a transaction.
    pub(super) async fn run<T, E: Into<Cause>, Work: Future<Output = Result<T, E>>>(
        self,
        driver: &PostgresDriver,
        work: impl FnOnce(Arc<PostgresOwnedLease>) -> Work,
    ) -> Result<T, Failure> {
        // Owned across the await: the lease, here and by the work. Dropped, it goes back, and what is under way is cancelled.
        let Ok(outcome) = timeout_at(self.deadline, work(Arc::clone(&self.lease))).await else {
            return Err(Failure::cut_off(self.undone()));
        };
        let error: Cause = match outcome {
            Ok(value) => return Ok(value),
            Err(error) => error.into(),
        };
        Err(self.failed(driver, error).await)
    }

    /// What has become of statements that each were a transaction of their own.
    async fn failed(mut self, driver: &PostgresDriver, error: Cause) -> Failure {
        let diagnosis = self.diagnose(&error);
        // Owned across the await: the lease. Dropped, it goes back and is put in order by the pool.
        self.put_in_order(driver).await;
        let outcome = match diagnosis {
            Some(diagnosis) if diagnosis.safe_to_retry => Outcome::NotDone,
            Some(diagnosis) if diagnosis.advice == Advice::OutcomeUnknown => Outcome::Unknown,
            _ => self.undone(),
        };
        Failure::new(error, diagnosis, outcome)
    }

    /// Runs the work inside of a transaction, and commits that.
    pub(super) async fn run_in_transaction<T, E: Into<Cause>, Work: Future<Output = Result<T, E>>>(
        mut self,
        driver: &PostgresDriver,
        begin: &str,
        work: impl FnOnce(Arc<PostgresOwnedLease>) -> Work,
    ) -> Result<T, Failure> {
        // Owned across the await: the lease. Dropped, it goes back; a transaction that begins meanwhile is rolled back.
        match timeout_at(self.deadline, self.lease.batch_execute(begin)).await {
            Ok(Ok(())) => self.mark = self.lease.mark(),
            Ok(Err(error)) => return Err(self.not_begun(driver, error.into()).await),
            Err(_) => return Err(Failure::cut_off(Outcome::NotDone)),
        }
        // Owned across the await: the lease, here and by the work. Dropped, it goes back; what is under way is cancelled and the transaction rolled back.
        let error: Cause = match timeout_at(self.deadline, work(Arc::clone(&self.lease))).await {
            Ok(Ok(value)) => return self.commit().await.map(|()| value),
            Ok(Err(error)) => error.into(),
            Err(_) => return Err(Failure::cut_off(self.uncommitted().max(self.unasked()))),
        };
        Err(self.not_committed(driver, error).await)
    }

    /// It is not known to have begun, and nothing was done in it.
    async fn not_begun(mut self, driver: &PostgresDriver, error: Cause) -> Failure {
        let diagnosis = self.diagnose(&error);
        // Owned across the await: the lease. Dropped, it goes back and is put in order by the pool.
        self.put_in_order(driver).await;
        Failure::new(error, diagnosis, Outcome::NotDone)
    }

    /// The work has failed.
    async fn not_committed(mut self, driver: &PostgresDriver, error: Cause) -> Failure {
        let (diagnosis, before) = (self.diagnose(&error), self.uncommitted());
        // Owned across the await: the lease. Dropped, it goes back and is put in order by the pool.
        self.put_in_order(driver).await;
        // What its work has sent and not waited for is known only now.
        let outcome = before.max(self.unasked());
        Failure::new(error, diagnosis, outcome)
    }

    /// Commits, and looks whether the server has.
    async fn commit(self) -> Result<(), Failure> {
        if self.uncommitted() == Outcome::Unknown {
            return Err(Failure::new(AttemptError::EndedByWork.into(), None, Outcome::Unknown));
        }
        let mark = self.lease.mark();
        // Owned across the await: the lease. Dropped, it goes back; `COMMIT` may have been sent and may be carried out.
        let error = match timeout_at(self.deadline, self.lease.batch_execute(COMMIT)).await {
            Ok(Ok(())) => return self.committed(),
            Ok(Err(error)) => error,
            Err(_) => return Err(Failure::cut_off(Outcome::Unknown)),
        };
        let diagnosis = self.lease.diagnose(&error, mark);
        let outcome = outcome_of_commit(&self.lease, &error, diagnosis, self.mark, mark);
        Err(Failure::new(error.into(), Some(diagnosis), outcome))
    }

    /// What has become of it, once `COMMIT` has been answered without an error.
    fn committed(&self) -> Result<(), Failure> {
        match self.lease.session().ending_since(self.mark) {
            Ending::Committed => Ok(()),
            Ending::RolledBack => Err(Failure::new(AttemptError::RolledBack.into(), None, Outcome::NotDone)),
            Ending::Before => Err(Failure::new(AttemptError::EndedByWork.into(), None, Outcome::Unknown)),
        }
    }

    /// What it means. If the session is to be closed, the pool knows from now on.
    fn diagnose(&self, error: &Cause) -> Option<Diagnosis> {
        postgres(&**error).map(|error| self.lease.diagnose(error, self.mark))
    }

    /// Of statements that each were a transaction of their own.
    fn undone(&self) -> Outcome {
        if self.lease.has_done_nothing_since(self.mark) { Outcome::NotDone } else { Outcome::Unknown }
    }

    /// Of a transaction that had begun at the mark, and for which no `COMMIT` was sent, but perhaps by its work.
    fn uncommitted(&self) -> Outcome {
        if self.lease.session().has_ended_one_since(self.mark) { Outcome::Unknown } else { Outcome::NotDone }
    }

    /// Of a transaction that had begun at the mark, rolled back or not: its work may have sent a `COMMIT`, as far as that is seen, or one has been answered.
    fn unasked(&self) -> Outcome {
        // It may be in the client's queue still.
        self.lease.settle();
        let is_unasked = self.mark.asks_no_commit_until(self.lease.mark());
        let is_none = is_unasked && self.lease.session().has_committed_nothing_since(self.mark);
        if is_none { Outcome::NotDone } else { Outcome::Unknown }
    }

    /// What the pool would do in the background: afterwards everything has been answered, nothing goes on, and no lock is held.
    async fn put_in_order(&mut self, driver: &PostgresDriver) {
        let limit = self.deadline.min(Instant::now() + driver.config().pool.reset_timeout);
        let Some(lease) = Arc::get_mut(&mut self.lease) else { return };
        if lease.is_closed() || lease.session().is_at_rest() {
            return;
        }
        // Owned across the await: nothing. What is not in order when this ends is seen to when the lease goes back.
        let _ = timeout_at(limit, driver.tidy(lease)).await;
    }
}
