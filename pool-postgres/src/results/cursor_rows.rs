//! The rows of batches, one by one.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::vec::IntoIter;

use futures_core::Stream;
use tokio_postgres::Row;

use super::cursor::Cursor;
use crate::query::QueryError;

type Fetched<'a> = (Box<Cursor<'a>>, Result<Option<Vec<Row>>, QueryError>);

/// The rows of a [`Cursor`], one by one: a [`Stream`]. Made by [`Cursor::rows`].
///
/// # Example
///
/// ```no_run
/// use futures_util::TryStreamExt;
///
/// # async fn count(pool: &pool_postgres::PostgresPool) -> Result<usize, pool_postgres::QueryError> {
/// let rows = pool.fetch_in_batches("SELECT id FROM alert", &[], 1000).await?.rows();
/// rows.try_fold(0, async |count, _| Ok(count + 1)).await
/// # }
/// ```
#[must_use = "the server keeps it until the end of the transaction"]
pub struct CursorRows<'a> {
    batch: IntoIter<Row>,
    state: State<'a>,
}

enum State<'a> {
    Waiting(Box<Cursor<'a>>),
    Fetching(Pin<Box<dyn Future<Output = Fetched<'a>> + Send + 'a>>),
    Ended,
}

impl<'a> CursorRows<'a> {
    pub(super) fn new(cursor: Cursor<'a>) -> Self {
        Self { batch: Vec::new().into_iter(), state: State::Waiting(Box::new(cursor)) }
    }
}

async fn fetch(mut cursor: Box<Cursor<'_>>) -> Fetched<'_> {
    // Owned across the await: the cursor. Dropped, it ends with the stream.
    let batch = cursor.fetch().await;
    (cursor, batch)
}

impl Stream for CursorRows<'_> {
    type Item = Result<Row, QueryError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(row) = self.batch.next() {
                return Poll::Ready(Some(Ok(row)));
            }
            if let State::Fetching(fetching) = &mut self.state {
                let (cursor, batch) = ready!(fetching.as_mut().poll(cx));
                self.state = State::Ended;
                match batch {
                    Ok(Some(rows)) => (self.batch, self.state) = (rows.into_iter(), State::Waiting(cursor)),
                    Ok(None) => {}
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
                continue;
            }
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Waiting(cursor) => self.state = State::Fetching(Box::pin(fetch(cursor))),
                _ => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for CursorRows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CursorRows").field("open", &!matches!(self.state, State::Ended)).finish_non_exhaustive()
    }
}
