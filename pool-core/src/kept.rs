//! Connections that are kept for something that lasts.

use std::fmt;
use std::ops::{Deref, DerefMut};

use tokio::time::timeout;

use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::engine::watch;
use crate::health::LOOK;
use crate::lease::OwnedLease;

/// A connection that is kept for as long as the pool is there, such as one that listens for news; made by [`OwnedLease::keep`].
///
/// It counts within [`Config::max_size`](crate::Config::max_size) as any other, shows as [reserved](crate::PoolState::reserved), and is nobody's lease: it is not reported or cut off for being held for long, nor does its age
/// degrade the pool's health. In return whoever keeps it gives it back when it is [wanted](KeptLease::wanted_back).
///
/// Dropped, it is closed, since what it was kept for is likely to have left something on it; [`give_back`](KeptLease::give_back) returns one that is in order.
///
/// # Example
///
/// ```no_run
/// # async fn listen<D: pool_core::Driver>(pool: pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
/// while !pool.is_closed() {
///     let mut kept = pool.acquire_owned().await?.keep();
///     // Here it is used, until it breaks or this returns.
///     kept.wanted_back().await;
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "one that is dropped at once is closed"]
pub struct KeptLease<D: Driver> {
    lease: OwnedLease<D>,
    id: ConnectionId,
    /// Whether it is in order, and may be used by others.
    returns: bool,
}

impl<D: Driver> OwnedLease<D> {
    /// Keeps the connection for something that lasts, within the pool's maximum.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn keep<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
    /// let kept = pool.acquire_owned().await?.keep();
    /// assert_eq!(pool.state().reserved, 1);
    /// # drop(kept);
    /// # Ok(())
    /// # }
    /// ```
    pub fn keep(self) -> KeptLease<D> {
        let id = self.connection_id();
        self.engine().reserve_for_checks(id);
        KeptLease { lease: self, id, returns: false }
    }
}

impl<D: Driver> KeptLease<D> {
    /// Returns when the pool wants the connection back: it is paused or closed, or the connection is [retired](crate::Pool::retire_all) or [evicted](crate::Pool::evict), or all that the pool
    /// may have are kept, so that none is left for callers. The age of the connection is no reason. Seen at once, or to within a second.
    ///
    /// Cancel safety: nothing is lost.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn until_then<D: pool_core::Driver>(mut kept: pool_core::KeptLease<D>) {
    /// kept.wanted_back().await;
    /// kept.give_back();
    /// # }
    /// ```
    pub async fn wanted_back(&mut self) {
        loop {
            let lease = &mut self.lease;
            let engine = std::sync::Arc::clone(lease.engine());
            let look = || lease.is_wanted_back().then_some(());
            // Owned across the await: nothing but what `self` has.
            if timeout(LOOK, watch(&engine, look)).await.is_ok() {
                return;
            }
        }
    }

    /// Gives the connection back as any lease: it is as new, and others may use it.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn done<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
    /// let kept = pool.acquire_owned().await?.keep();
    /// kept.give_back();
    /// assert_eq!(pool.state().idle, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn give_back(mut self) {
        self.returns = true;
    }
}

impl<D: Driver> Drop for KeptLease<D> {
    fn drop(&mut self) {
        self.lease.engine().end_reserve(self.id);
        if !self.returns {
            self.lease.discard_now();
        }
    }
}

impl<D: Driver> Deref for KeptLease<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        &self.lease
    }
}

impl<D: Driver> DerefMut for KeptLease<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        &mut self.lease
    }
}

impl<D: Driver<Connection: fmt::Debug>> fmt::Debug for KeptLease<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeptLease").field(&**self).finish()
    }
}
