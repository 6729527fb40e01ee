//! What is compared, behind one trait. Each is set up as it comes; the check of a connection, for those that make one before each hand-over, is one turn for others.

use std::future::Future;
use std::sync::Arc;

use super::backend::Backend;

/// In every pool.
pub(crate) const CONNECTIONS: usize = 4;
/// Who wants one of them.
pub(crate) const TASKS: usize = 64;

/// Something to acquire connections from. Clones share them.
pub(crate) trait Pool: Clone + Send + Sync + 'static {
    /// In the tables.
    const NAME: &'static str;

    /// Gives the connection back when dropped.
    type Lease<'a>: Send
    where
        Self: 'a;

    /// With nothing open yet.
    fn new(backend: Arc<Backend>) -> impl Future<Output = Self> + Send;

    /// Waits for as long as the pool does by itself. `None`: it failed.
    fn acquire(&self) -> impl Future<Output = Option<Self::Lease<'_>>> + Send;
}

/// Whether all connections can be had at once, afterwards.
pub(crate) async fn all_can_be_had<P: Pool>(pool: &P) -> bool {
    let mut leases = Vec::new();
    for _ in 0..CONNECTIONS {
        leases.extend(pool.acquire().await);
    }
    leases.len() == CONNECTIONS
}
