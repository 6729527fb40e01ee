//! Connections that are kept for something that lasts.

use std::fmt;
use std::ops::{Deref, DerefMut};

use tokio::time::timeout;

use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::engine::{KeptFor, watch};
use crate::health::LOOK;
use crate::lease::OwnedLease;

/// A connection that is kept for as long as the pool is there, such as one that listens for news; made by [`OwnedLease::keep`].
///
/// It counts within [`Config::max_size`](crate::Config::max_size) as any other, shows as [reserved](crate::PoolState::reserved), and is nobody's lease: it is not reported or cut off for being held for long, nor does its age
/// degrade the pool's health, nor is another one opened in its place. In return whoever keeps it gives it back when it is [wanted](KeptLease::wanted_back).
///
/// Dropped, it is closed, since what it was kept for is likely to have left something on it; [`give_back`](KeptLease::give_back) returns one that is in order.
///
/// # Example
///
/// ```no_run
/// # async fn listen<D: pool_core::Driver>(pool: pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
/// while !pool.is_closed() {
///     let Ok(mut kept) = pool.acquire_owned().await?.keep() else { break };
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
    /// Keeps the connection for something that lasts, within the pool's maximum. One at least is left for callers: of several who try at the same time, as many are successful as there is room for,
    /// and those who have one keep it. Monitors that [keep](crate::HealthConfig::reserve) one count, too.
    ///
    /// # Errors
    ///
    /// [`KeepError`], with the lease, if none would be left.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn keep<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
    /// match pool.acquire_owned().await?.keep() {
    ///     Ok(kept) => {
    ///         assert_eq!(pool.state().reserved, 1);
    ///         kept.give_back();
    ///     }
    ///     // The lease in it goes back.
    ///     Err(error) => println!("{error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn keep(self) -> Result<KeptLease<D>, KeepError<D>> {
        let id = self.connection_id();
        match self.engine().reserve(id, KeptFor::WhatLasts) {
            Ok(()) => Ok(KeptLease { lease: self, id, returns: false }),
            Err(no_room) => Err(KeepError { lease: self, max_size: no_room.max_size, kept: no_room.kept }),
        }
    }
}

impl<D: Driver> KeptLease<D> {
    /// Returns when the pool wants the connection back: it is paused or closed, or the connection is [retired](crate::Pool::retire_all) or [evicted](crate::Pool::evict), or
    /// there may be fewer than before, so that none would be left for callers: then the latest that is kept is wanted. The age of the connection is no reason. Seen at once, or to within a second.
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
    /// if let Ok(kept) = pool.acquire_owned().await?.keep() {
    ///     kept.give_back();
    /// }
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

/// Why a connection could not be [kept](OwnedLease::keep): none would be left for callers. The lease comes back in it.
///
/// # Example
///
/// ```no_run
/// # async fn keep<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
/// if let Err(error) = pool.acquire_owned().await?.keep() {
///     println!("{} of {} are kept", error.kept, error.max_size);
///     let lease = error.lease;
/// #   drop(lease);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(thiserror::Error)]
#[error("to keep another connection would leave none for callers; max_size = {max_size}, kept = {kept}")]
#[non_exhaustive]
pub struct KeepError<D: Driver> {
    /// The lease.
    pub lease: OwnedLease<D>,
    /// As many connections as the pool may have.
    pub max_size: usize,
    /// As many of them as are kept.
    pub kept: usize,
}

// By hand: a connection need not be `Debug`, and may have secrets to show.
impl<D: Driver> fmt::Debug for KeepError<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_size, kept, .. } = self;
        f.debug_struct("KeepError").field("max_size", max_size).field("kept", kept).finish_non_exhaustive()
    }
}
