//! How connections are shared, as it is configured.

use std::time::Duration;

/// How connections are shared by those who ask through [`Multiplexed`](crate::Multiplexed). In [`PostgresConfig::multiplexing`](crate::PostgresConfig::multiplexing).
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// let config = pool_postgres::PostgresConfig::builder()
///     .host("db.example")
///     .multiplexing(|multiplexing| {
///         multiplexing.max_in_flight = 32;
///         multiplexing.apart_after = Some(Duration::from_millis(50));
///     })
///     .build()?;
/// assert_eq!(config, "host=db.example pool_max_in_flight=32 pool_apart_after=50ms".parse()?);
/// # Ok::<(), pool_postgres::PostgresConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Multiplexing {
    /// How many may use a connection at a time, each with one query in flight: 0 to 65535. 0: nobody shares a connection, and a multiplexed query has one for itself. Default 16: the rows are short, which is what the slowest queries wait for; a server that is far away, where more is on its way at a time, is used better with more.
    pub max_in_flight: usize,
    /// How long the server may be at one query before nothing more is sent behind it: 1 ms to 10 years; `None`: as long as it likes. The way to the server does not count. A statement that is found to take so long is kept apart from then on: it is
    /// the last on its connection, and no more than half of the connections are for such statements at a time. Default 10 ms.
    pub apart_after: Option<Duration>,
}

impl Default for Multiplexing {
    fn default() -> Self {
        Self { max_in_flight: 16, apart_after: Some(Duration::from_millis(10)) }
    }
}
