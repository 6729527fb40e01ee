//! How a transaction begins.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use pool_core::AcquireError;

use super::statement::{refuse, say};
use super::story::Story;
use super::{Home, PostgresTransaction, TransactionError, TransactionOptions};
use crate::connection::PostgresConnection;
use crate::pool::{PostgresOwnedLease, PostgresPool};
use crate::query::{Query, QueryError, QueryStep};
use crate::retry::Outcome;

impl PostgresPool {
    /// Acquires a connection and begins a transaction on it, which has the connection until it ends.
    ///
    /// Cancel safety: the connection goes back; if the transaction has begun, it is rolled back first.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if no connection could be had.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresPool, Queries, QueryError};
    ///
    /// # async fn rename(pool: &PostgresPool, id: i64, name: &str) -> Result<(), QueryError> {
    /// let transaction = pool.begin().await?;
    /// transaction.execute("UPDATE account SET name = $1 WHERE id = $2", &[&name, &id]).await?;
    /// transaction.execute("INSERT INTO change (account) VALUES ($1)", &[&id]).await?;
    /// transaction.commit().await
    /// # }
    /// ```
    #[track_caller]
    pub fn begin(&self) -> impl Future<Output = Result<PostgresTransaction<'static>, QueryError>> + Send {
        self.begin_with(TransactionOptions::default())
    }

    /// As [`begin`](Self::begin), with options.
    ///
    /// Cancel safety: the same.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if no connection could be had.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresPool, Queries, QueryError, TransactionOptions};
    ///
    /// # async fn report(pool: &PostgresPool) -> Result<i64, QueryError> {
    /// let mut options = TransactionOptions::default();
    /// options.read_only = Some(true);
    /// let transaction = pool.begin_with(options).await?;
    /// let row = transaction.query_one("SELECT count(*) FROM alert", &[]).await?;
    /// transaction.commit().await?;
    /// # Ok(row.get(0))
    /// # }
    /// ```
    #[track_caller]
    pub fn begin_with(
        &self,
        options: TransactionOptions,
    ) -> impl Future<Output = Result<PostgresTransaction<'static>, QueryError>> + Send {
        let acquiring = self.acquire_owned();
        async move {
            // Owned across the await: a place among those who wait. Dropped, it is left.
            let lease = Self::lease_to_begin(options, acquiring).await?;
            // Owned across the await: the lease, by the transaction. Dropped, that is rolled back, and the lease goes back.
            PostgresTransaction::to_begin(Home::Own(lease), options).begin().await
        }
    }

    pub(super) async fn lease_to_begin(
        options: TransactionOptions,
        acquiring: impl Future<Output = Result<PostgresOwnedLease, AcquireError>>,
    ) -> Result<Arc<PostgresOwnedLease>, QueryError> {
        // Owned across the await: a place among those who wait. Dropped, it is left.
        let acquired = acquiring.await;
        acquired.map(Arc::new).map_err(|error| QueryError::of_acquire(&Query::new(options.begin()), error))
    }
}

impl PostgresConnection {
    /// Begins a transaction on this connection, which nobody else uses until it ends.
    ///
    /// Cancel safety: if it has begun, it is rolled back before anything else that is asked of the connection.
    ///
    /// # Errors
    ///
    /// [`QueryError`]; with [`TransactionError::AlreadyOpen`] if a statement has begun one before.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresPool, Queries};
    ///
    /// # async fn both(pool: &PostgresPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut lease = pool.acquire().await?;
    /// for name in ["ada", "grace"] {
    ///     let transaction = lease.begin().await?;
    ///     transaction.execute("INSERT INTO account (name) VALUES ($1)", &[&name]).await?;
    ///     transaction.commit().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn begin(&mut self) -> Result<PostgresTransaction<'_>, QueryError> {
        // Owned across the await: what the call says it owns.
        self.begin_with(TransactionOptions::default()).await
    }

    /// As [`begin`](Self::begin), with options.
    ///
    /// Cancel safety: the same.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::tokio_postgres::IsolationLevel;
    /// use pool_postgres::{PostgresLease, Queries, QueryError, TransactionOptions};
    ///
    /// # async fn take(lease: &mut PostgresLease<'_>, seat: i64) -> Result<bool, QueryError> {
    /// let mut options = TransactionOptions::default();
    /// options.isolation_level = Some(IsolationLevel::Serializable);
    /// let transaction = lease.begin_with(options).await?;
    /// let taken = transaction.execute("UPDATE seat SET taken = true WHERE id = $1 AND NOT taken", &[&seat]).await?;
    /// transaction.commit().await?;
    /// # Ok(taken > 0)
    /// # }
    /// ```
    pub async fn begin_with(&mut self, options: TransactionOptions) -> Result<PostgresTransaction<'_>, QueryError> {
        // Owned across the await: the transaction. Dropped, it is rolled back.
        PostgresTransaction::to_begin(Home::Borrowed(self), options).begin().await
    }
}

impl<'a> PostgresTransaction<'a> {
    /// One of which nothing has been sent.
    pub(super) fn to_begin(home: Home<'a>, options: TransactionOptions) -> Self {
        let begun = home.connection().mark();
        let story = Story::begin(home.connection(), options);
        Self { home, options, begun, open: Arc::new(AtomicBool::new(false)), story }
    }

    pub(super) async fn begin(mut self) -> Result<Self, QueryError> {
        let (connection, begin) = (self.connection(), &*self.options.begin());
        // Known for certain only if nothing is under way; otherwise it shows when `BEGIN` has been answered.
        if connection.settle() && connection.session().is_in_transaction() {
            return Err(refuse(connection, QueryStep::Begin, begin, Outcome::NotDone, TransactionError::AlreadyOpen));
        }
        // Owned across the await: the transaction. Dropped, it is rolled back, which is a statement behind `BEGIN`.
        let answer = say(connection, QueryStep::Begin, begin, || self.set_open(true)).await;
        if answer.as_ref().is_err_and(|error| error.sqlstate().is_some()) {
            // What is refused has begun nothing; there may be one of somebody else's.
            self.set_open(false);
        }
        if let Err(error) = answer {
            self.begun = connection.mark();
            self.story.iter().for_each(|story| story.failed());
            return Err(self.failed(error.settled(Outcome::NotDone)));
        }
        if !connection.session().has_begun() {
            // It is somebody else's.
            self.set_open(false);
            return Err(refuse(connection, QueryStep::Begin, begin, Outcome::NotDone, TransactionError::AlreadyOpen));
        }
        self.begun = connection.mark();
        Ok(self)
    }
}
