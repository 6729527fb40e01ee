//! Where a batch is executed.

use std::sync::Arc;

use super::Batch;
use crate::connection::PostgresConnection;
use crate::pool::PostgresPool;
use crate::query::{Query, QueryError};
use crate::results::Held;
use crate::transactions::PostgresTransaction;

/// What somebody has to add to the errors.
pub(super) type Told<'c> = Arc<dyn Fn(QueryError) -> QueryError + Send + Sync + 'c>;

/// Where a batch is executed.
pub(super) enum Source<'c> {
    Pool(PostgresPool),
    /// On that of somebody who does nothing with it meanwhile.
    Connection(&'c PostgresConnection, Told<'c>),
}

impl<'c> Source<'c> {
    /// The connection, which is acquired for it if there is none.
    pub(super) async fn hold(self, first: &Query<'_>) -> Result<(Held<'c>, Told<'c>), QueryError> {
        match self {
            Self::Connection(connection, told) => Ok((Held::Borrowed(connection), told)),
            Self::Pool(pool) => {
                // Owned across the await: the caller's place in the queue.
                let acquired = pool.acquire_owned().await;
                let lease = acquired.map_err(|error| QueryError::of_acquire(first, error))?;
                Ok((Held::Owned(lease), Arc::new(|error| error)))
            }
        }
    }
}

impl PostgresPool {
    /// A [`Batch`] of statements, to be sent in one go on a connection that is acquired for it, and goes back after the last answer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn insert(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// let insert = "INSERT INTO account (name) VALUES ($1)";
    /// pool.batch().add(insert, &[&"ada"]).add(insert, &[&"grace"]).execute_all().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn batch<'q>(&self) -> Batch<'static, 'q> {
        Batch::new(Source::Pool(self.clone()))
    }
}

impl PostgresConnection {
    /// A [`Batch`] of statements, to be sent in one go. Nothing else can be asked meanwhile, so that it borrows the connection: the messages of others must not get in between.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn insert(pool: &pool_postgres::PostgresPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut lease = pool.acquire().await?;
    /// let batch = lease.batch().add("DELETE FROM account WHERE id = $1", &[&7_i64]).add("SELECT count(*) FROM account", &[]);
    /// batch.execute_all().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn batch<'q>(&mut self) -> Batch<'_, 'q> {
        Batch::new(Source::Connection(self, Arc::new(|error| error)))
    }
}

impl PostgresTransaction<'_> {
    /// A [`Batch`] of statements, to be sent in one go, inside of the transaction. If one of them fails, so does the transaction.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn insert(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// let mut transaction = pool.begin().await?;
    /// let insert = "INSERT INTO account (name) VALUES ($1)";
    /// transaction.batch().add(insert, &[&"ada"]).add(insert, &[&"grace"]).execute_all().await?;
    /// transaction.commit().await
    /// # }
    /// ```
    pub fn batch<'q>(&mut self) -> Batch<'_, 'q> {
        let transaction = &*self;
        let told = |error| transaction.failed(error);
        Batch::new(Source::Connection(transaction.connection(), Arc::new(told)))
    }
}
