//! Results inside of a transaction.

use tokio_postgres::types::{ToSql, Type};

use super::copy_in::CopyIn;
use super::copy_in_rows::CopyInRows;
use super::copy_out::CopyOut;
use super::copy_out_rows::CopyOutRows;
use super::cursor::Cursor;
use super::request::Held;
use super::rows::RowStream;
use crate::query::{Query, QueryError};
use crate::transactions::PostgresTransaction;

impl PostgresTransaction<'_> {
    /// The rows of a query as they come, in constant memory: a [`RowStream`]. Dropped halfway, it makes the transaction fail; a [`Cursor`] does not.
    ///
    /// Cancel safety: what has been asked is answered all the same, and nobody reads that; it may have been done, inside of the transaction.
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
    /// # async fn sum(pool: &pool_postgres::PostgresPool) -> Result<i64, pool_postgres::QueryError> {
    /// let transaction = pool.begin().await?;
    /// let rows = transaction.stream("SELECT amount FROM account FOR UPDATE", &[]).await?;
    /// let sum = rows.try_fold(0, async |sum, row| Ok(sum + row.get::<_, i64>(0))).await?;
    /// transaction.commit().await?;
    /// # Ok(sum)
    /// # }
    /// ```
    pub async fn stream<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<RowStream<'_>, QueryError> {
        // Owned across the await: nothing but the request.
        self.count();
        let begun = RowStream::start(Held::Borrowed(self.connection()), query.into(), params).await;
        begun.map_err(|error| self.failed(error))
    }

    /// Opens a [`Cursor`] on a `SELECT` or `VALUES`: its rows are asked for in batches of `size`. Between them the transaction may be used for other things. It ends with the transaction; one that is opened in a
    /// savepoint, with that.
    ///
    /// Cancel safety: the cursor may have been opened; it ends with the transaction.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if the size is 0.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresPool, Queries, QueryError};
    ///
    /// # async fn resolve(pool: &PostgresPool) -> Result<(), QueryError> {
    /// let transaction = pool.begin().await?;
    /// let mut alerts = transaction.cursor("SELECT id FROM alert WHERE status = $1", &[&"stale"], 100).await?;
    /// while let Some(batch) = alerts.fetch().await? {
    ///     let ids: Vec<i64> = batch.iter().map(|row| row.get(0)).collect();
    ///     transaction.execute("UPDATE alert SET status = 'resolved' WHERE id = ANY($1)", &[&ids]).await?;
    /// }
    /// drop(alerts);
    /// transaction.commit().await
    /// # }
    /// ```
    pub async fn cursor<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
        size: u32,
    ) -> Result<Cursor<'_>, QueryError> {
        // Owned across the await: nothing but the request.
        self.count();
        let declared = Cursor::declare(Held::Borrowed(self.connection()), query.into(), params, size).await;
        declared.map_err(|error| self.failed(error))
    }

    /// Begins a `COPY ... FROM STDIN`, whose data is given to the [`CopyIn`] that this returns. Nothing else can be asked meanwhile, so that it borrows the transaction. What it inserts is there once the transaction is
    /// committed.
    ///
    /// A copy that fails, that is refused, or that is dropped without [`finish`](CopyIn::finish) makes the transaction fail, and [`commit`](Self::commit) says so. In a [`savepoint`](Self::savepoint) it is that
    /// alone which fails.
    ///
    /// Cancel safety: the copy fails, nothing is inserted, and the transaction has failed if the server had begun.
    ///
    /// # Errors
    ///
    /// [`QueryError`], if the server does not begin to take data.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresPool, Queries, QueryError};
    ///
    /// # async fn replace(pool: &PostgresPool) -> Result<(), QueryError> {
    /// let mut transaction = pool.begin().await?;
    /// transaction.execute("DELETE FROM account", &[]).await?;
    /// let mut copy = transaction.copy_in("COPY account (id, name) FROM STDIN (FORMAT csv)").await?;
    /// for line in ["1,ada\n", "2,grace\n"] {
    ///     copy.send(line).await?;
    /// }
    /// copy.finish().await?;
    /// transaction.commit().await
    /// # }
    /// ```
    pub async fn copy_in<'q>(&mut self, query: impl Into<Query<'q>> + Send) -> Result<CopyIn<'_>, QueryError> {
        let transaction = &*self;
        // Owned across the await: nothing but the request.
        transaction.count();
        let begun = CopyIn::start(Held::Borrowed(transaction.connection()), query.into()).await;
        begun.map_err(|error| transaction.failed(error))
    }

    /// Begins a `COPY ... FROM STDIN (FORMAT binary)` as [`copy_in`](Self::copy_in), for rows with values of these types, which have to be those of the columns: [`CopyInRows`].
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
    /// pool.transaction(async |mut tx| {
    ///     let mut rows = tx.copy_in_rows("COPY account (id) FROM STDIN (FORMAT binary)", &[Type::INT8]).await?;
    ///     rows.write(&[&7_i64]).await?;
    ///     rows.finish().await
    /// })
    /// .await
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

    /// Begins a `COPY ... TO STDOUT`, whose data comes from the [`CopyOut`] that this returns. Dropped halfway, it makes the transaction fail.
    ///
    /// Cancel safety: what has been asked is answered all the same, and nobody reads that.
    ///
    /// # Errors
    ///
    /// [`QueryError`], if the server does not begin to send data. What fails later, the stream says.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn size(transaction: &pool_postgres::PostgresTransaction<'_>) -> Result<usize, pool_postgres::QueryError> {
    /// let data = transaction.copy_out("COPY account TO STDOUT").await?;
    /// data.try_fold(0, async |size, piece| Ok(size + piece.len())).await
    /// # }
    /// ```
    pub async fn copy_out<'q>(&self, query: impl Into<Query<'q>> + Send) -> Result<CopyOut<'_>, QueryError> {
        // Owned across the await: nothing but the request.
        self.count();
        let begun = CopyOut::start(Held::Borrowed(self.connection()), query.into()).await;
        begun.map_err(|error| self.failed(error))
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
    /// use pool_postgres::PostgresTransaction;
    /// use pool_postgres::tokio_postgres::types::Type;
    ///
    /// # async fn ids(transaction: &PostgresTransaction<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let copy = "COPY account (id) TO STDOUT (FORMAT binary)";
    /// let mut rows = transaction.copy_out_rows(copy, &[Type::INT8]).await?;
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
