//! Why nobody could be subscribed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pool_core::AcquireError;

use super::channel::LONGEST;
use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::query::QueryError;

/// Why [`Listener::subscribe`](super::Listener::subscribe) has failed. Its message has everything below it, on one line. Nobody is subscribed then.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::ListenError;
///
/// # async fn listen(pool: &pool_postgres::PostgresPool, name: &str) {
/// match pool.listener().subscribe(name).await {
///     Err(ListenError::LongChannel { bytes }) => println!("{bytes} bytes are too many"),
///     Err(error) => println!("{error}"),
///     Ok(subscription) => drop(subscription),
/// }
/// # }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// No channel was named.
    #[error("cannot subscribe to no channel; name one at least")]
    NoChannel,
    /// The name of a channel is empty.
    #[error("the name of a channel is empty; it has 1 to {LONGEST} bytes")]
    EmptyChannel,
    /// The name of a channel is longer than the 63 bytes that PostgreSQL keeps of it.
    #[error("the name of a channel has {bytes} bytes; it has 1 to {LONGEST}")]
    LongChannel {
        /// How long it is.
        bytes: usize,
    },
    /// The name of a channel has a zero byte in it.
    #[error("the name of a channel has a zero byte in it, which no name may have")]
    ZeroInChannel,
    /// It was called outside of a tokio runtime.
    #[error("a listener needs a tokio runtime and was called outside of one")]
    NoRuntime,
    /// The listener would keep the last connection that the pool may have, and leave none for callers. Other listeners keep one each, and so does a [monitor](pool_core::Pool::monitor). Of several that
    /// come at the same time, as many have one as there is room for.
    #[error(
        "a listener keeps one connection and leaves one at least for callers, but max_size is {max_size} and {kept} are kept already; allowed: {kept} + 2 and more"
    )]
    PoolTooSmall {
        /// As many as the pool may have.
        max_size: usize,
        /// As many of them as are kept.
        kept: usize,
    },
    /// The connection that listens could not be had, or the pool is closed.
    #[error("no connection to listen on: {0}")]
    Acquire(#[from] AcquireError),
    /// The server has refused to listen: it is a standby, for example.
    #[error(transparent)]
    Refused(Arc<QueryError>),
    /// There is a pooler in between that does not pass notifications on, such as PgBouncer with `pool_mode = transaction`: what was sent to the listener from another connection has not arrived in this time.
    #[error(
        "notifications do not arrive: one that was sent through the pool was not there within {within:?}; behind a pooler in transaction mode, listen on a connection to the server itself"
    )]
    NotDelivered {
        /// For how long it was waited for.
        within: Duration,
    },
    /// The server has not confirmed in time, though there was a connection.
    #[error("the server has not confirmed within {limit:?}{}", Last(.last.as_deref()))]
    Late {
        /// How long the caller waited: the acquire timeout and the health check timeout of the pool.
        limit: Duration,
        /// What became of the connection meanwhile, if it was lost.
        last: Option<Arc<str>>,
    },
}

struct Last<'a>(Option<&'a str>);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |last| write!(f, "; last: {last}"))
    }
}

impl ListenError {
    /// What it means: whether another attempt may help. Nothing has been done, so all may be tried again.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_postgres::ListenError;
    /// use pool_postgres::diagnosis::Advice;
    ///
    /// assert_eq!(ListenError::EmptyChannel.diagnosis().advice, Advice::Never);
    /// ```
    pub fn diagnosis(&self) -> Diagnosis {
        let advice = match self {
            Self::Acquire(error) => return Diagnosis::of_acquire(error),
            Self::Refused(error) => return error.diagnosis().unsent(),
            Self::Late { .. } => Advice::RetryLater,
            Self::PoolTooSmall { .. } | Self::NotDelivered { .. } => Advice::FixConfiguration,
            _ => Advice::Never,
        };
        Diagnosis::new(advice, Fate::Keep).unsent()
    }
}
