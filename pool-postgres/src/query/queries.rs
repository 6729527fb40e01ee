//! Whom one may ask.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::{Query, QueryError};
use crate::connection::PostgresConnection;
use crate::limits::limited;
use crate::pool::PostgresPool;
use crate::statements::{All, Count, One, Optional, run, run_batch};

/// Whoever answers queries: a pool, a connection, a transaction. Code that is given one need not know which.
///
/// These are not the methods of the same names that a connection derefs to: statements are prepared once for each connection, the client's [`Limits`](crate::Limits) count, and errors say more. With this trait in scope,
/// `lease.query(...)` is the one here; without it, it is [`tokio_postgres::Client`]'s, which prepares a statement each time that it is given its text, and knows no limit but the server's.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::{PostgresPool, Queries, QueryError};
///
/// async fn firing(database: &impl Queries) -> Result<i64, QueryError> {
///     let row = database.query_one("SELECT count(*) FROM alert WHERE status = $1", &[&"firing"]).await?;
///     Ok(row.get(0))
/// }
///
/// # async fn ask(pool: &PostgresPool) -> Result<(), Box<dyn std::error::Error>> {
/// let anywhere = firing(pool).await?;
/// let here = firing(&*pool.acquire().await?).await?;
/// # Ok(())
/// # }
/// ```
pub trait Queries: Sync {
    /// All rows.
    ///
    /// Cancel safety: dropping the future has the server cancel the statement, in the background, unless [`cancel_on_drop`](crate::Limits::cancel_on_drop) says otherwise; it may have been executed. What is asked
    /// next on the same connection is not hit by that.
    fn query<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Vec<Row>, QueryError>> + Send;

    /// The one row; it is an error if there is none, or more than one.
    ///
    /// Cancel safety: as [`query`](Self::query).
    fn query_one<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Row, QueryError>> + Send;

    /// The row, if there is one; it is an error if there are more.
    ///
    /// Cancel safety: as [`query`](Self::query).
    fn query_opt<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Option<Row>, QueryError>> + Send;

    /// How many rows were inserted, updated, deleted, or returned and thrown away.
    ///
    /// Cancel safety: as [`query`](Self::query).
    fn execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<u64, QueryError>> + Send;

    /// Runs statements that are separated by semicolons and have no parameters, such as those of a migration. They are not prepared. Outside of a transaction they are one of their own, unless they have a `COMMIT` in them.
    ///
    /// Cancel safety: as [`query`](Self::query).
    fn batch_execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
    ) -> impl Future<Output = Result<(), QueryError>> + Send;
}

impl Queries for PostgresConnection {
    async fn query<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, QueryError> {
        let query = query.into();
        // Owned across the await: nothing but the request.
        limited(self, &query, || run::<All>(self, &query, params)).await
    }

    async fn query_one<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, QueryError> {
        let query = query.into();
        // Owned across the await: nothing but the request.
        limited(self, &query, || run::<One>(self, &query, params)).await
    }

    async fn query_opt<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, QueryError> {
        let query = query.into();
        // Owned across the await: nothing but the request.
        limited(self, &query, || run::<Optional>(self, &query, params)).await
    }

    async fn execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, QueryError> {
        let query = query.into();
        // Owned across the await: nothing but the request.
        limited(self, &query, || run::<Count>(self, &query, params)).await
    }

    async fn batch_execute<'q>(&self, query: impl Into<Query<'q>> + Send) -> Result<(), QueryError> {
        let query = query.into();
        // Owned across the await: nothing but the request.
        limited(self, &query, || run_batch(self, &query)).await
    }
}

/// On a connection that is acquired for it, and goes back afterwards.
impl Queries for PostgresPool {
    #[track_caller]
    fn query<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Vec<Row>, QueryError>> + Send {
        PostgresPool::query(self, query, params)
    }

    #[track_caller]
    fn query_one<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Row, QueryError>> + Send {
        PostgresPool::query_one(self, query, params)
    }

    #[track_caller]
    fn query_opt<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Option<Row>, QueryError>> + Send {
        PostgresPool::query_opt(self, query, params)
    }

    #[track_caller]
    fn execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<u64, QueryError>> + Send {
        PostgresPool::execute(self, query, params)
    }

    #[track_caller]
    fn batch_execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
    ) -> impl Future<Output = Result<(), QueryError>> + Send {
        PostgresPool::batch_execute(self, query)
    }
}
