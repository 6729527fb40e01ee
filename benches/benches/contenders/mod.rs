//! What is measured, behind one trait. A connection is a number: nobody does anything with it, so all that is left is the pool.
//!
//! Each is set up as a service would do it, and as alike as their settings allow: all connections open, none of them checked by I/O.

mod bb8;
mod deadpool;
mod floor;
mod mobc;
mod ours;

use std::fmt::Debug;
use std::future::Future;

use tokio::task::yield_now;

pub(crate) use self::bb8::Bb8;
pub(crate) use self::deadpool::{Deadpool, DeadpoolTimeouts};
pub(crate) use self::floor::{QueueOnly, SemaphoreQueue};
pub(crate) use self::mobc::Mobc;
pub(crate) use self::ours::{Numbers, Ours};

/// Something to acquire connections from. Clones share them.
pub(crate) trait Contender: Clone + Send + Sync + 'static {
    /// In the reports.
    const NAME: &'static str;
    /// Whether a caller can wait for a connection.
    const WAITS: bool = true;

    /// Gives the connection back when dropped.
    type Lease<'a>: Send
    where
        Self: 'a;

    /// Never seen: a benchmark fails by panicking.
    type Error: Debug;

    /// With nothing open yet.
    fn new(connections: usize) -> impl Future<Output = Self> + Send;

    /// Whatever the contender's own method returns, and nothing around it: an `async fn` that passes a lease on costs as much as the lease.
    fn acquire(&self) -> impl Future<Output = Result<Self::Lease<'_>, Self::Error>> + Send;
}

/// A contender with all its connections open and idle.
pub(crate) async fn open<C: Contender>(connections: usize) -> C {
    let contender = C::new(connections).await;
    drop(lease_all(&contender, connections).await);
    // mobc takes a connection back in a task of its own.
    yield_now().await;
    contender
}

/// So many connections at once.
pub(crate) async fn lease_all<C: Contender>(contender: &C, connections: usize) -> Vec<C::Lease<'_>> {
    let mut leases = Vec::with_capacity(connections);
    for _ in 0..connections {
        leases.push(contender.acquire().await.expect("a connection"));
    }
    leases
}
