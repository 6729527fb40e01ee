//! One query on a connection of its own.

use pool_core::AcquireError;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{Queries, Query, QueryError};
use crate::pool::PostgresPool;

impl PostgresPool {
    /// What acquires begins with the call and not inside of the future, so that the caller's place is that of the lease.
    pub(crate) async fn lease_for<L>(
        query: &Query<'_>,
        acquiring: impl Future<Output = Result<L, AcquireError>>,
    ) -> Result<L, QueryError> {
        // Owned across the await: the caller's place in the queue.
        acquiring.await.map_err(|error| QueryError::of_acquire(query, error))
    }

    /// All rows of a query, on a connection that is acquired for it.
    ///
    /// Cancel safety: the connection goes back; what has been asked is cancelled on the server, and may have been done.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if no connection could be had.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn show(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// for row in pool.query("SELECT name, status FROM alert WHERE status = $1", &[&"firing"]).await? {
    ///     println!("{} is {}", row.get::<_, &str>(0), row.get::<_, &str>(1));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn query<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Vec<Row>, QueryError>> + Send {
        let acquiring = self.acquire();
        async move {
            let query = query.into();
            // Owned across the awaits: the lease. Dropped, it goes back and is put in order.
            let lease = Self::lease_for(&query, acquiring).await?;
            Queries::query(&*lease, query, params).await
        }
    }

    /// The one row of a query; it is an error if there is none, or more than one.
    ///
    /// Cancel safety: as [`query`](Self::query).
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn count(pool: &pool_postgres::PostgresPool) -> Result<i64, pool_postgres::QueryError> {
    /// Ok(pool.query_one("SELECT count(*) FROM alert", &[]).await?.get(0))
    /// # }
    /// ```
    #[track_caller]
    pub fn query_one<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Row, QueryError>> + Send {
        let acquiring = self.acquire();
        async move {
            let query = query.into();
            // Owned across the awaits: the lease. Dropped, it goes back and is put in order.
            let lease = Self::lease_for(&query, acquiring).await?;
            Queries::query_one(&*lease, query, params).await
        }
    }

    /// The row of a query, if there is one; it is an error if there are more.
    ///
    /// Cancel safety: as [`query`](Self::query).
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn name(pool: &pool_postgres::PostgresPool, id: i64) -> Result<Option<String>, pool_postgres::QueryError> {
    /// let row = pool.query_opt("SELECT name FROM account WHERE id = $1", &[&id]).await?;
    /// Ok(row.map(|row| row.get(0)))
    /// # }
    /// ```
    #[track_caller]
    pub fn query_opt<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Option<Row>, QueryError>> + Send {
        let acquiring = self.acquire();
        async move {
            let query = query.into();
            // Owned across the awaits: the lease. Dropped, it goes back and is put in order.
            let lease = Self::lease_for(&query, acquiring).await?;
            Queries::query_opt(&*lease, query, params).await
        }
    }

    /// Executes a statement; how many rows were inserted, updated, deleted, or returned and thrown away.
    ///
    /// Cancel safety: as [`query`](Self::query).
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn resolve(pool: &pool_postgres::PostgresPool, id: i64) -> Result<bool, pool_postgres::QueryError> {
    /// Ok(pool.execute("UPDATE alert SET status = 'resolved' WHERE id = $1", &[&id]).await? > 0)
    /// # }
    /// ```
    #[track_caller]
    pub fn execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<u64, QueryError>> + Send {
        let acquiring = self.acquire();
        async move {
            let query = query.into();
            // Owned across the awaits: the lease. Dropped, it goes back and is put in order.
            let lease = Self::lease_for(&query, acquiring).await?;
            Queries::execute(&*lease, query, params).await
        }
    }

    /// Runs statements that are separated by semicolons and have no parameters, as one transaction unless they have a `COMMIT` in them.
    ///
    /// Cancel safety: as [`query`](Self::query).
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn migrate(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// pool.batch_execute("CREATE TABLE a (id int); CREATE TABLE b (id int)").await
    /// # }
    /// ```
    #[track_caller]
    pub fn batch_execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
    ) -> impl Future<Output = Result<(), QueryError>> + Send {
        let acquiring = self.acquire();
        async move {
            let query = query.into();
            // Owned across the awaits: the lease. Dropped, it goes back and is put in order.
            let lease = Self::lease_for(&query, acquiring).await?;
            Queries::batch_execute(&*lease, query).await
        }
    }
}
