//! Transactions that end as they say, and none that goes on behind somebody's back.

mod begin;
mod commit;
mod error;
mod options;
mod queries;
mod rollback;
mod runner;
mod savepoint;
mod statement;
mod status;
mod story;

pub(crate) use commit::{COMMIT, outcome_of_commit};
pub use error::TransactionError;
pub use options::{TrackId, TransactionOptions};
pub(crate) use statement::queue;
pub use status::{TransactionId, TransactionStatus};

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::Client;

use crate::connection::PostgresConnection;
use crate::pool::PostgresOwnedLease;
use crate::tap::Mark;
use savepoint::Savepoint;
use story::Story;

/// A transaction, or a savepoint in one. Made by [`PostgresPool::begin`](crate::PostgresPool::begin), on a connection of its own; by [`PostgresConnection::begin`], on one that somebody has; and by
/// [`savepoint`](Self::savepoint).
///
/// It [answers queries](crate::Queries). [`commit`](Self::commit) ends it, and says whether the server has committed it; [`rollback`](Self::rollback) ends it, and so does dropping it: whatever
/// is asked of the connection next is not inside of it any more, also if it is dropped while it begins or ends. It must not be ended by a statement; `commit` does not pass that over.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::{PostgresPool, Queries, QueryError};
///
/// # async fn transfer(pool: &PostgresPool, from: i64, to: i64) -> Result<(), QueryError> {
/// let mut transaction = pool.begin().await?;
/// transaction.execute("UPDATE account SET amount = amount - 1 WHERE id = $1", &[&from]).await?;
/// transaction.execute("UPDATE account SET amount = amount + 1 WHERE id = $1", &[&to]).await?;
/// // What fails in here alone is rolled back alone.
/// let noting = transaction.savepoint().await?;
/// if noting.execute("INSERT INTO note (account) VALUES ($1)", &[&to]).await.is_ok() {
///     noting.commit().await?;
/// } else {
///     noting.rollback().await?;
/// }
/// transaction.commit().await
/// # }
/// ```
#[must_use = "a transaction that is dropped is rolled back"]
pub struct PostgresTransaction<'a> {
    home: Home<'a>,
    options: TransactionOptions,
    /// Taken when it had begun.
    begun: Mark,
    /// Whether it is to be rolled back when it is dropped. One that is lent to work shares this with its lender.
    open: Arc<AtomicBool>,
    /// If somebody traces it. A savepoint has that of the transaction around it.
    story: Option<Arc<Story>>,
}

/// Where it is.
enum Home<'a> {
    /// On a connection of its own; while it is lent, its lender has that, too.
    Own(Arc<PostgresOwnedLease>),
    /// On that of somebody who does nothing with it meanwhile.
    Borrowed(&'a mut PostgresConnection),
    /// Inside of another one.
    Inside(&'a PostgresConnection, Savepoint<'a>),
}

impl Home<'_> {
    fn connection(&self) -> &PostgresConnection {
        match self {
            Self::Own(lease) => lease,
            Self::Borrowed(connection) => connection,
            Self::Inside(connection, _) => connection,
        }
    }
}

impl PostgresTransaction<'_> {
    /// The connection, for what a transaction does not have itself, such as [`activity`](PostgresConnection::activity). It must not be used to end the transaction.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn host(transaction: &pool_postgres::PostgresTransaction<'_>) -> bool {
    /// transaction.connection().ended().is_none()
    /// # }
    /// ```
    pub fn connection(&self) -> &PostgresConnection {
        self.home.connection()
    }

    /// The client of the connection, for whoever wants one of [`tokio_postgres`]. It must not be used to end the transaction.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::tokio_postgres::Error;
    ///
    /// # async fn ask(transaction: &pool_postgres::PostgresTransaction<'_>) -> Result<(), Error> {
    /// let statement = transaction.client().prepare("SELECT 1").await?;
    /// transaction.client().query(&statement, &[]).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn client(&self) -> &Client {
        self.connection().client()
    }

    fn savepoint_of(&self) -> Option<&Savepoint<'_>> {
        match &self.home {
            Home::Inside(_, savepoint) => Some(savepoint),
            Home::Own(_) | Home::Borrowed(_) => None,
        }
    }

    fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// That of the whole transaction, if this is that.
    fn own_story(&self) -> Option<&Story> {
        self.story.as_deref().filter(|_| self.savepoint_of().is_none())
    }

    /// Another statement.
    pub(crate) fn count(&self) {
        self.story.iter().for_each(|story| story.count());
    }

    /// Whether nobody else has it: it is not lent.
    fn is_alone(&self) -> bool {
        Arc::strong_count(&self.open) == 1
    }
}

impl fmt::Debug for PostgresTransaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresTransaction")
            .field("host", &self.connection().host())
            .field("savepoint", &self.savepoint_of().map(Savepoint::name))
            .field("open", &self.is_open())
            .finish_non_exhaustive()
    }
}
