//! Work inside of a transaction.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use tokio::time::timeout;

use pool_core::trace::report;

use super::statement::refuse;
use super::{COMMIT, Home, PostgresTransaction, TransactionError, TransactionOptions};
use crate::pool::{PostgresOwnedLease, PostgresPool};
use crate::query::{QueryError, QueryStep};
use crate::retry::Outcome;

impl PostgresPool {
    /// Runs work inside of a transaction, once, on a connection that is acquired for it: commits if it succeeds, rolls back if it fails. Work that is to be tried again is for
    /// [`Retrier::transaction`](crate::retry::Retrier::transaction).
    ///
    /// The work is most easily written as an async closure, which may borrow what is around it. It may end the transaction itself, by [`commit`](PostgresTransaction::commit) or
    /// [`rollback`](PostgresTransaction::rollback), and drops it otherwise. Its own error is returned as it is, whatever rolling back may come to.
    ///
    /// Cancel safety: the transaction is rolled back and the connection goes back; a `COMMIT` that was sent may be carried out.
    ///
    /// # Errors
    ///
    /// That of the work; or a [`QueryError`] of beginning or committing, of which [`outcome`](QueryError::outcome) says whether it may have been committed. With [`TransactionError::Kept`] if somebody has the transaction
    /// still when the work is over; it is not committed then.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresPool, Queries, QueryError};
    ///
    /// # async fn transfer(pool: PostgresPool, from: i64, to: i64) -> Result<(), Box<dyn std::error::Error>> {
    /// let transferring = tokio::spawn(async move {
    ///     pool.transaction(async |tx| {
    ///         tx.execute("UPDATE account SET amount = amount - 1 WHERE id = $1", &[&from]).await?;
    ///         tx.execute("UPDATE account SET amount = amount + 1 WHERE id = $1", &[&to]).await?;
    ///         Ok::<_, QueryError>(())
    ///     })
    ///     .await
    /// });
    /// transferring.await??;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn transaction<T, E, Work>(
        &self,
        work: impl FnOnce(PostgresTransaction<'static>) -> Work,
    ) -> impl Future<Output = Result<T, E>>
    where
        E: From<QueryError>,
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
    /// As [`transaction`](Self::transaction).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::tokio_postgres::IsolationLevel;
    /// use pool_postgres::{PostgresPool, Queries, QueryError, TransactionOptions};
    ///
    /// # async fn sums(pool: &PostgresPool) -> Result<(i64, i64), QueryError> {
    /// let mut options = TransactionOptions::default();
    /// options.isolation_level = Some(IsolationLevel::RepeatableRead);
    /// options.read_only = Some(true);
    /// pool.transaction_with(options, async |tx| {
    ///     let debit = tx.query_one("SELECT sum(amount)::bigint FROM debit", &[]).await?;
    ///     let credit = tx.query_one("SELECT sum(amount)::bigint FROM credit", &[]).await?;
    ///     Ok((debit.get(0), credit.get(0)))
    /// })
    /// .await
    /// # }
    /// ```
    #[track_caller]
    pub fn transaction_with<T, E, Work>(
        &self,
        options: TransactionOptions,
        work: impl FnOnce(PostgresTransaction<'static>) -> Work,
    ) -> impl Future<Output = Result<T, E>>
    where
        E: From<QueryError>,
        Work: Future<Output = Result<T, E>>,
    {
        let acquiring = self.acquire_owned();
        async move {
            // Owned across the await: a place among those who wait. Dropped, it is left.
            let lease = Self::lease_to_begin(options, acquiring).await?;
            // Owned across the await: the lease, here and by the transaction. Dropped, that is rolled back, and the lease goes back.
            let transaction = PostgresTransaction::to_begin(Home::Own(Arc::clone(&lease)), options).begin().await?;
            // Owned across the await: the transaction, here and by the work. The last of the two to be dropped rolls it back.
            let mut working = pin!(work(transaction.lent(lease)));
            let outcome = poll_fn(|context| match &transaction.story {
                // What is asked in there is inside of it for those who trace it, too.
                Some(story) => story.span().inside(|| working.as_mut().poll(context)),
                None => working.as_mut().poll(context),
            })
            .await;
            if !transaction.is_open() {
                return outcome;
            }
            // Owned across the awaits: the transaction. Dropped, it is rolled back, unless `COMMIT` was sent.
            match outcome {
                Ok(value) => transaction.finish().await.map(|()| value).map_err(E::from),
                Err(error) => {
                    self.undo(transaction).await;
                    Err(error)
                }
            }
        }
    }

    /// Rolls back after an error that counts more than whatever this may come to. What is not done when it ends is done when the connection goes back: what nobody waits for any more is cancelled first then.
    async fn undo(&self, transaction: PostgresTransaction<'static>) {
        let connection = transaction.connection();
        let waits = connection.settle() && !connection.session().is_busy();
        if !waits || !transaction.is_alone() {
            return;
        }
        // Owned across the await: the transaction. Dropped, it is rolled back.
        if let Ok(Err(error)) = timeout(self.config().reset_timeout, transaction.rollback()).await {
            report(|| tracing::debug!(%error, "a transaction whose work has failed was not rolled back by hand"));
        }
    }
}

impl PostgresTransaction<'static> {
    /// The same, for its work.
    fn lent(&self, lease: Arc<PostgresOwnedLease>) -> Self {
        let Self { options, begun, .. } = *self;
        let (open, story) = (Arc::clone(&self.open), self.story.clone());
        Self { home: Home::Own(lease), options, begun, open, story }
    }

    /// Commits what the work has done, if that has let go of it.
    async fn finish(self) -> Result<(), QueryError> {
        if !self.is_alone() {
            let (connection, cause) = (self.connection(), TransactionError::Kept);
            return Err(refuse(connection, QueryStep::Commit, COMMIT, Outcome::NotDone, cause));
        }
        // Owned across the await: the transaction. Dropped, it is rolled back, unless `COMMIT` was sent.
        self.commit().await
    }
}
