//! Results of one connection.

use tokio_postgres::types::{ToSql, Type};

use super::copy_in::CopyIn;
use super::copy_in_rows::CopyInRows;
use super::copy_out::CopyOut;
use super::copy_out_rows::CopyOutRows;
use super::cursor::Cursor;
use super::request::Held;
use super::rows::RowStream;
use crate::connection::PostgresConnection;
use crate::query::{Query, QueryError};

impl PostgresConnection {
    /// The rows of a query as they come, in constant memory: a [`RowStream`].
    ///
    /// Cancel safety: what has been asked is answered all the same, and nobody reads that; it may have been done.
    ///
    /// # Errors
    ///
    /// [`QueryError`], if the statement cannot be prepared, or its parameters are refused. What fails later, the stream says.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn sum(connection: &pool_postgres::PostgresConnection) -> Result<i64, pool_postgres::QueryError> {
    /// let rows = connection.stream("SELECT generate_series(1, $1::bigint)", &[&1_000_000_i64]).await?;
    /// rows.try_fold(0, async |sum, row| Ok(sum + row.get::<_, i64>(0))).await
    /// # }
    /// ```
    pub async fn stream<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<RowStream<'_>, QueryError> {
        // Owned across the await: nothing but the request.
        RowStream::start(Held::Borrowed(self), query.into(), params).await
    }

    /// Opens a [`Cursor`] on a `SELECT` or `VALUES`, in the transaction that is open: its rows are asked for in batches of `size`. Between them other things may be asked.
    ///
    /// Cancel safety: the cursor may have been opened; it ends with the transaction.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if no transaction is open (25P01) or the size is 0.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn resolve(connection: &pool_postgres::PostgresConnection) -> Result<(), Box<dyn std::error::Error>> {
    /// connection.batch_execute("BEGIN").await?;
    /// let mut alerts = connection.cursor("SELECT id FROM alert WHERE status = $1", &[&"stale"], 100).await?;
    /// while let Some(batch) = alerts.fetch().await? {
    ///     let ids: Vec<i64> = batch.iter().map(|row| row.get(0)).collect();
    ///     connection.execute("UPDATE alert SET status = 'resolved' WHERE id = ANY($1)", &[&ids]).await?;
    /// }
    /// connection.batch_execute("COMMIT").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn cursor<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
        size: u32,
    ) -> Result<Cursor<'_>, QueryError> {
        // Owned across the await: nothing but the request.
        Cursor::declare(Held::Borrowed(self), query.into(), params, size).await
    }

    /// Begins a `COPY ... FROM STDIN`, whose data is given to the [`CopyIn`] that this returns. Nothing else can be asked meanwhile, so that it borrows the connection.
    ///
    /// This and not [`Client::copy_in`](tokio_postgres::Client::copy_in): after a COPY that is refused, that one may take the answer to each request for that to the next. Where that can have happened, the pool closes the
    /// connection when it comes back.
    ///
    /// Cancel safety: the copy fails, and nothing is inserted.
    ///
    /// # Errors
    ///
    /// [`QueryError`], if the server does not begin to take data.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn import(pool: &pool_postgres::PostgresPool) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut lease = pool.acquire().await?;
    /// lease.batch_execute("BEGIN; TRUNCATE account").await?;
    /// let mut copy = lease.copy_in("COPY account (id, name) FROM STDIN").await?;
    /// copy.send("1\tada\n").await?;
    /// copy.finish().await?;
    /// lease.batch_execute("COMMIT").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn copy_in<'q>(&mut self, query: impl Into<Query<'q>> + Send) -> Result<CopyIn<'_>, QueryError> {
        // Owned across the await: nothing but the request.
        CopyIn::start(Held::Borrowed(self), query.into()).await
    }

    /// Begins a `COPY ... FROM STDIN (FORMAT binary)`, for rows with values of these types: [`CopyInRows`]. The types have to be those of the columns: the server converts nothing.
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
    /// # async fn import(lease: &mut pool_postgres::PostgresLease<'_>) -> Result<u64, pool_postgres::QueryError> {
    /// let mut rows = lease.copy_in_rows("COPY account (id) FROM STDIN (FORMAT binary)", &[Type::INT8]).await?;
    /// rows.write(&[&7_i64]).await?;
    /// rows.finish().await
    /// # }
    /// ```
    pub async fn copy_in_rows<'q>(
        &mut self,
        query: impl Into<Query<'q>> + Send,
        types: &[Type],
    ) -> Result<CopyInRows<'_>, QueryError> {
        // Owned across the await: nothing but the request.
        Ok(CopyInRows::new(self.copy_in(query).await?, types))
    }

    /// Begins a `COPY ... TO STDOUT`, whose data comes from the [`CopyOut`] that this returns.
    ///
    /// Cancel safety: what has been asked is answered all the same, and nobody reads that.
    ///
    /// # Errors
    ///
    /// [`QueryError`], if the server does not begin to send data. What fails later, the stream says. A `COPY` of the other direction ends the session, which would wait for data for ever.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn size(connection: &pool_postgres::PostgresConnection) -> Result<usize, pool_postgres::QueryError> {
    /// let data = connection.copy_out("COPY account TO STDOUT").await?;
    /// data.try_fold(0, async |size, piece| Ok(size + piece.len())).await
    /// # }
    /// ```
    pub async fn copy_out<'q>(&self, query: impl Into<Query<'q>> + Send) -> Result<CopyOut<'_>, QueryError> {
        // Owned across the await: nothing but the request.
        CopyOut::start(Held::Borrowed(self), query.into()).await
    }

    /// Begins a `COPY ... TO STDOUT (FORMAT binary)`, for rows with values of these types, which have to be those of the columns: [`CopyOutRows`].
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
    /// # async fn ids(lease: &pool_postgres::PostgresLease<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let mut rows = lease.copy_out_rows("COPY account (id) TO STDOUT (FORMAT binary)", &[Type::INT8]).await?;
    /// while let Some(row) = rows.try_next().await? {
    ///     println!("{}", row.try_get::<i64>(0)?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn copy_out_rows<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        types: &[Type],
    ) -> Result<CopyOutRows<'_>, QueryError> {
        // Owned across the await: nothing but the request.
        Ok(CopyOutRows::new(self.copy_out(query).await?, types))
    }
}
