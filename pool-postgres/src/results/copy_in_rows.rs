//! Rows that are copied in.

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{ToSql, Type};

use super::binary::{HEADER, TRAILER, put_row};
use super::copy_in::CopyIn;
use crate::query::QueryError;

/// So much is collected before it is sent.
const ENOUGH: usize = 32 << 10;

/// Takes the rows of a `COPY ... FROM STDIN (FORMAT binary)`, with values of Rust's. For the rest it is as [`CopyIn`].
///
/// Made by [`PostgresPool::copy_in_rows`](crate::PostgresPool::copy_in_rows), [`PostgresConnection::copy_in_rows`](crate::PostgresConnection::copy_in_rows) and
/// [`PostgresTransaction::copy_in_rows`](crate::PostgresTransaction::copy_in_rows).
///
/// # Example
///
/// ```no_run
/// use pool_postgres::tokio_postgres::types::Type;
///
/// # async fn import(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
/// let copy = "COPY account (id, name) FROM STDIN (FORMAT binary)";
/// let mut rows = pool.copy_in_rows(copy, &[Type::INT8, Type::TEXT]).await?;
/// for (id, name) in [(1_i64, "ada"), (2, "grace")] {
///     rows.write(&[&id, &name]).await?;
/// }
/// assert_eq!(rows.finish().await?, 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is inserted without `finish`"]
pub struct CopyInRows<'a> {
    copy: CopyIn<'a>,
    types: Box<[Type]>,
    buffer: BytesMut,
}

impl<'a> CopyInRows<'a> {
    pub(super) fn new(copy: CopyIn<'a>, types: &[Type]) -> Self {
        Self { copy, types: types.into(), buffer: BytesMut::from(HEADER) }
    }

    /// Adds a row. It is sent together with others; waits until there is room on the way to the server.
    ///
    /// Cancel safety: a future that is dropped has not added its row.
    ///
    /// # Errors
    ///
    /// As [`CopyIn::send`]. Also if there are more or fewer values than types, or one that cannot be sent as its type: then the row is not added, and others may be.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn add(rows: &mut pool_postgres::CopyInRows<'_>) -> Result<(), pool_postgres::QueryError> {
    /// rows.write(&[&1_i64, &"ada"]).await
    /// # }
    /// ```
    pub async fn write(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), QueryError> {
        if self.buffer.len() >= ENOUGH {
            // Owned across the await: nothing. What has been added stays here until there is room.
            self.send_all().await?;
        }
        let before = self.buffer.len();
        put_row(&mut self.buffer, &self.types, values).map_err(|why| {
            self.buffer.truncate(before);
            self.copy.unsendable(why)
        })
    }

    async fn send_all(&mut self) -> Result<(), QueryError> {
        while !self.buffer.is_empty() {
            // Owned across the await: nothing.
            self.copy.wait_for_room().await?;
            let piece = self.buffer.split_to(self.buffer.len().min(ENOUGH));
            self.copy.pass_on(piece.freeze())?;
        }
        Ok(())
    }

    /// Says that these were all, as [`CopyIn::finish`] does, and returns how many.
    ///
    /// Cancel safety: as that.
    ///
    /// # Errors
    ///
    /// As that.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn end(rows: pool_postgres::CopyInRows<'_>) -> Result<(), pool_postgres::QueryError> {
    /// println!("{} rows", rows.finish().await?);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn finish(mut self) -> Result<u64, QueryError> {
        self.buffer.put_i16(TRAILER);
        // Owned across the awaits: the copy. Dropped, it fails, unless the server has been told that it is complete.
        self.send_all().await?;
        self.copy.finish().await
    }
}
