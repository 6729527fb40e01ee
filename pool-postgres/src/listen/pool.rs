//! What a pool has of it.

use super::Listener;
use crate::pool::PostgresPool;
use crate::query::{Queries, QueryError};

const NOTIFY: &str = "SELECT pg_catalog.pg_notify($1, $2)";

impl PostgresPool {
    /// A listener of its own, which has a connection of this pool for as long as somebody is subscribed. See [`Listener`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn follow(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::ListenError> {
    /// let mut alerts = pool.listener().subscribe("alerts").await?;
    /// while let Some(event) = alerts.recv().await {
    ///     println!("{event:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn listener(&self) -> Listener {
        Listener::new(self.clone())
    }

    /// Notifies a channel, on a connection that is acquired for it: whoever listens there, here or elsewhere, gets the payload. What belongs to a transaction is better sent in that, by
    /// `SELECT pg_notify($1, $2)`: then it is delivered when the transaction commits, and not at all if it does not.
    ///
    /// The name is taken as it is, and has 1 to 63 bytes. The payload has up to 7,999 bytes. The server delivers in the order of commits, and what is the same within one transaction once.
    ///
    /// Cancel safety: the connection goes back; the notification may have been sent.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if no connection could be had; with 22023 if the name or the payload is too long.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn wake(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// pool.notify("alerts", "42").await
    /// # }
    /// ```
    #[track_caller]
    pub fn notify(&self, channel: &str, payload: &str) -> impl Future<Output = Result<(), QueryError>> + Send {
        let acquiring = self.acquire();
        async move {
            // Owned across the await: the lease, by the call. Dropped, it goes back and is put in order.
            let lease = Self::lease_for(&NOTIFY.into(), acquiring).await?;
            lease.execute(NOTIFY, &[&channel, &payload]).await.map(drop)
        }
    }
}
