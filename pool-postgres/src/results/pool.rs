//! Results on a connection of their own.

use pool_core::AcquireError;
use tokio_postgres::types::{ToSql, Type};

use super::copy_in::CopyIn;
use super::copy_in_rows::CopyInRows;
use super::copy_out::CopyOut;
use super::copy_out_rows::CopyOutRows;
use super::cursor::Cursor;
use super::request::Held;
use super::rows::RowStream;
use crate::pool::{PostgresOwnedLease, PostgresPool};
use crate::query::{Query, QueryError};

impl PostgresPool {
    async fn held_for(
        query: &Query<'_>,
        acquiring: impl Future<Output = Result<PostgresOwnedLease, AcquireError>>,
    ) -> Result<Held<'static>, QueryError> {
        // Owned across the await: the caller's place in the queue.
        Self::lease_for(query, acquiring).await.map(Held::Owned)
    }

    /// The rows of a query as they come, in constant memory, on a connection that is acquired for them: a [`RowStream`]. The connection goes back when the stream has ended, or is dropped.
    ///
    /// Cancel safety: the connection goes back; what has been asked is cancelled on the server, and may have been done.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if no connection could be had. What fails later, the stream says.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn sum(pool: &pool_postgres::PostgresPool) -> Result<i64, pool_postgres::QueryError> {
    /// let rows = pool.stream("SELECT generate_series(1, $1::bigint)", &[&1_000_000_i64]).await?;
    /// rows.try_fold(0, async |sum, row| Ok(sum + row.get::<_, i64>(0))).await
    /// # }
    /// ```
    #[track_caller]
    pub fn stream<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<RowStream<'static>, QueryError>> + Send {
        let acquiring = self.acquire_owned();
        async move {
            let query = query.into();
            // Owned across the awaits: the lease. Dropped, it goes back and is put in order.
            let held = Self::held_for(&query, acquiring).await?;
            RowStream::start(held, query, params).await
        }
    }

    /// Opens a [`Cursor`] on a `SELECT` or `VALUES`, in a transaction of its own that only reads, on a connection that is acquired for it: its rows come in batches of `size`. The connection goes back
    /// after the last one, or when the cursor is dropped.
    ///
    /// Cancel safety: the connection goes back and is put in order.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if no connection could be had or the size is 0.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn export(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// let mut batches = pool.fetch_in_batches("SELECT id FROM alert WHERE status = $1", &[&"firing"], 500).await?;
    /// while let Some(batch) = batches.fetch().await? {
    ///     println!("{} rows", batch.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn fetch_in_batches<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
        size: u32,
    ) -> impl Future<Output = Result<Cursor<'static>, QueryError>> + Send {
        let acquiring = self.acquire_owned();
        async move {
            let query = query.into();
            // Owned across the awaits: the lease. Dropped, it goes back and is put in order.
            let held = Self::held_for(&query, acquiring).await?;
            Cursor::alone(held, query, params, size).await
        }
    }

    /// Begins a `COPY ... FROM STDIN` on a connection that is acquired for it. The data is given to the [`CopyIn`] that this returns; the connection goes back when that has finished, or is dropped.
    ///
    /// Cancel safety: the connection goes back and is put in order; nothing is inserted.
    ///
    /// # Errors
    ///
    /// [`QueryError`], if no connection could be had or the server does not begin to take data.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn import(pool: &pool_postgres::PostgresPool) -> Result<u64, pool_postgres::QueryError> {
    /// let mut copy = pool.copy_in("COPY account (id, name) FROM STDIN (FORMAT csv)").await?;
    /// copy.send("1,ada\n2,grace\n").await?;
    /// copy.finish().await
    /// # }
    /// ```
    #[track_caller]
    pub fn copy_in<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
    ) -> impl Future<Output = Result<CopyIn<'static>, QueryError>> + Send {
        let acquiring = self.acquire_owned();
        async move {
            let query = query.into();
            // Owned across the awaits: the lease. Dropped, it goes back and is put in order.
            let held = Self::held_for(&query, acquiring).await?;
            CopyIn::start(held, query).await
        }
    }

    /// Begins a `COPY ... FROM STDIN (FORMAT binary)` as [`copy_in`](Self::copy_in), for rows with values of these types: [`CopyInRows`]. The types have to be those of the columns: the server converts nothing.
    ///
    /// Cancel safety: as [`copy_in`](Self::copy_in).
    ///
    /// # Errors
    ///
    /// As [`copy_in`](Self::copy_in).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::tokio_postgres::types::Type;
    ///
    /// # async fn import(pool: &pool_postgres::PostgresPool) -> Result<u64, pool_postgres::QueryError> {
    /// let mut rows = pool.copy_in_rows("COPY account (id) FROM STDIN (FORMAT binary)", &[Type::INT8]).await?;
    /// rows.write(&[&7_i64]).await?;
    /// rows.finish().await
    /// # }
    /// ```
    #[track_caller]
    pub fn copy_in_rows<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        types: &[Type],
    ) -> impl Future<Output = Result<CopyInRows<'static>, QueryError>> + Send {
        let copying = self.copy_in(query);
        async move {
            // Owned across the await: nothing but the request.
            Ok(CopyInRows::new(copying.await?, types))
        }
    }

    /// Begins a `COPY ... TO STDOUT` on a connection that is acquired for it. The data comes from the [`CopyOut`] that this returns; the connection goes back when that has ended, or is dropped.
    ///
    /// Cancel safety: the connection goes back, and the server is asked to stop.
    ///
    /// # Errors
    ///
    /// [`QueryError`], if no connection could be had or the server does not begin to send data. What fails later, the stream says.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn size(pool: &pool_postgres::PostgresPool) -> Result<usize, pool_postgres::QueryError> {
    /// let data = pool.copy_out("COPY account TO STDOUT").await?;
    /// data.try_fold(0, async |size, piece| Ok(size + piece.len())).await
    /// # }
    /// ```
    #[track_caller]
    pub fn copy_out<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
    ) -> impl Future<Output = Result<CopyOut<'static>, QueryError>> + Send {
        let acquiring = self.acquire_owned();
        async move {
            let query = query.into();
            // Owned across the awaits: the lease. Dropped, it goes back and is put in order.
            let held = Self::held_for(&query, acquiring).await?;
            CopyOut::start(held, query).await
        }
    }

    /// Begins a `COPY ... TO STDOUT (FORMAT binary)` as [`copy_out`](Self::copy_out), for rows with values of these types, which have to be those of the columns: [`CopyOutRows`].
    ///
    /// Cancel safety: as [`copy_out`](Self::copy_out).
    ///
    /// # Errors
    ///
    /// As [`copy_out`](Self::copy_out).
    ///
    /// # Example
    ///
    /// ```no_run
    /// use futures_util::TryStreamExt;
    /// use pool_postgres::tokio_postgres::types::Type;
    ///
    /// # async fn ids(pool: &pool_postgres::PostgresPool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let mut rows = pool.copy_out_rows("COPY account (id) TO STDOUT (FORMAT binary)", &[Type::INT8]).await?;
    /// while let Some(row) = rows.try_next().await? {
    ///     println!("{}", row.try_get::<i64>(0)?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn copy_out_rows<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        types: &[Type],
    ) -> impl Future<Output = Result<CopyOutRows<'static>, QueryError>> + Send {
        let copying = self.copy_out(query);
        async move {
            // Owned across the await: nothing but the request.
            Ok(CopyOutRows::new(copying.await?, types))
        }
    }
}
