//! Rows that are copied out.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use tokio_postgres::types::{FromSql, Type, WrongType};

use super::binary::{Fields, Next, take_header, take_row};
use super::copy_out::CopyOut;
use crate::query::QueryError;

const NO_HEADER: &str = "the data is not in the binary format";
const NO_ROW: &str = "what came is no row with as many values as there are types";
const NO_END: &str = "the data has no end";

/// The rows of a `COPY ... TO STDOUT (FORMAT binary)`, for values of Rust's: a [`Stream`]. For the rest it is as [`CopyOut`].
///
/// Made by [`PostgresPool::copy_out_rows`](crate::PostgresPool::copy_out_rows) and [`PostgresConnection::copy_out_rows`](crate::PostgresConnection::copy_out_rows).
///
/// # Example
///
/// ```no_run
/// use futures_util::TryStreamExt;
/// use pool_postgres::tokio_postgres::types::Type;
///
/// # async fn export(pool: &pool_postgres::PostgresPool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let copy = "COPY account (id, name) TO STDOUT (FORMAT binary)";
/// let mut rows = pool.copy_out_rows(copy, &[Type::INT8, Type::TEXT]).await?;
/// while let Some(row) = rows.try_next().await? {
///     println!("{}: {}", row.try_get::<i64>(0)?, row.try_get::<&str>(1)?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the server has begun to send"]
pub struct CopyOutRows<'a> {
    copy: CopyOut<'a>,
    types: Arc<[Type]>,
    /// What has come and has not been looked at.
    data: Bytes,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Header,
    Rows,
    /// All rows have come.
    End,
}

impl<'a> CopyOutRows<'a> {
    pub(super) fn new(copy: CopyOut<'a>, types: &[Type]) -> Self {
        Self { copy, types: types.into(), data: Bytes::new(), stage: Stage::Header }
    }

    /// The next row of what has come, or what is wrong with it.
    fn take(&mut self) -> Option<Result<CopiedRow, &'static str>> {
        if self.data.is_empty() || self.stage == Stage::End {
            return None;
        }
        if self.stage == Stage::Header {
            if take_header(&mut self.data).is_none() {
                return Some(Err(NO_HEADER));
            }
            self.stage = Stage::Rows;
            return self.take();
        }
        match take_row(&mut self.data, self.types.len()) {
            Some(Next::Row(body, fields)) => Some(Ok(CopiedRow { body, fields, types: Arc::clone(&self.types) })),
            Some(Next::End) => {
                self.stage = Stage::End;
                None
            }
            None => Some(Err(NO_ROW)),
        }
    }

    fn wrong(&mut self, why: &str) -> Poll<Option<Result<CopiedRow, QueryError>>> {
        (self.stage, self.data) = (Stage::End, Bytes::new());
        Poll::Ready(Some(Err(self.copy.wrong(why))))
    }
}

impl Stream for CopyOutRows<'_> {
    type Item = Result<CopiedRow, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.take() {
                Some(Ok(row)) => return Poll::Ready(Some(Ok(row))),
                Some(Err(why)) => return self.wrong(why),
                None => {}
            }
            match ready!(Pin::new(&mut self.copy).poll_next(cx)) {
                Some(Ok(data)) => self.data = data,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if self.stage == Stage::End => return Poll::Ready(None),
                None => return self.wrong(NO_END),
            }
        }
    }
}

/// A row of [`CopyOutRows`].
///
/// # Example
///
/// ```no_run
/// # fn show(row: &pool_postgres::CopiedRow) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let (id, name): (i64, Option<&str>) = (row.try_get(0)?, row.try_get(1)?);
/// println!("{id}: {}", name.unwrap_or("nobody"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CopiedRow {
    body: Bytes,
    fields: Fields,
    types: Arc<[Type]>,
}

impl CopiedRow {
    /// How many values it has.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The value of a column, counted from 0.
    ///
    /// # Errors
    ///
    /// If there is no such column, or its value is not what is asked for: of another type, or null.
    pub fn try_get<'r, T: FromSql<'r>>(&'r self, column: usize) -> Result<T, Box<dyn StdError + Sync + Send>> {
        let (Some(field), Some(kind)) = (self.fields.get(column), self.types.get(column)) else {
            return Err(format!("there are {} columns, and none of number {column}", self.len()).into());
        };
        if !T::accepts(kind) {
            return Err(WrongType::new::<T>(kind.clone()).into());
        }
        T::from_sql_nullable(kind, field.clone().map(|range| &self.body[range]))
    }
}

/// Without its values.
impl fmt::Debug for CopiedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopiedRow").field("types", &self.types).finish_non_exhaustive()
    }
}
