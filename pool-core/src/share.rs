//! Connections that several use at a time.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::engine::{Engine, Limit, share};
use crate::error::AcquireError;
use crate::pool::Pool;
use crate::slot::SharedClaim;
use crate::trace::may_be_wanted;

/// The right to use a connection together with others; it borrows the pool, and ends when dropped.
///
/// Dropping it is as dropping a [`Lease`](crate::Lease): it waits for nothing, never spawns, and works anywhere. The last of the users gives the connection back; only
/// then the driver is [asked](Driver::inspect) what its session looks like.
#[must_use = "a lease that is dropped at once makes room straight away"]
pub struct SharedLease<'a, D: Driver> {
    engine: &'a Engine<D>,
    place: SharedClaim<D::Connection>,
}

/// As [`SharedLease`], keeping the pool's engine alive, so that it can be moved into a task or a stream.
#[must_use = "a lease that is dropped at once makes room straight away"]
pub struct OwnedSharedLease<D: Driver> {
    engine: Arc<Engine<D>>,
    place: SharedClaim<D::Connection>,
}

/// # Sharing connections
///
/// For what needs no session of its own, over a driver that lets several callers [use a connection at a time](Driver::shared_by): as many as that for each connection. With any other
/// driver these methods do as [`acquire`](Pool::acquire) does.
///
/// Shared leases and exclusive ones live in one pool, and wait in one line. An idle connection can become either's. Whoever shares gets an idle
/// connection if there is one, or a place on the connection with the fewest users, or waits: for whichever comes first, a place or a connection. The pool opens another connection when more than half of the places of all are taken. Nobody who comes later overtakes, whatever it wants, with the
/// exceptions that [`acquire`](Pool::acquire) names:
/// while the oldest waiter wants a connection for itself nobody joins others, so users leave and none come, until one connection is nobody's. That is handed to it, and those behind
/// it get the places that have become free.
///
/// What ends a connection ends a shared one when its last user has left: a retirement, its age, as many uses as it may have (each shared lease is one), a lower maximum. Until then nobody
/// joins it any more. [`close`](Pool::close) and [`drained`](Pool::drained) wait for shared leases, too, and [`close_within`](Pool::close_within) cuts them off. The [hook before the
/// hand-out](crate::Hooks::before_hand_out) is called, and an idle connection is [checked](crate::Config::check_after_idle), for the first of the users. Shared leases are not
/// [watched](crate::Config::leak_after) for how long they are held.
impl<D: Driver<Connection: Sync>> Pool<D> {
    /// Takes a place on a connection that others may use, too, waiting for up to [`Config::acquire_timeout`](crate::Config::acquire_timeout) if there is none.
    ///
    /// Cancel safety: as [`acquire`](Pool::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Pool::acquire).
    ///
    /// # Panics
    ///
    /// As [`acquire`](Pool::acquire).
    ///
    /// # Example
    ///
    #[cfg_attr(feature = "loom", doc = "```ignore")]
    #[cfg_attr(not(feature = "loom"), doc = "```")]
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use pool_core::{Attempt, Driver, ErrorClass, Pool, SessionState};
    ///
    /// struct Counters;
    ///
    /// impl Driver for Counters {
    ///     type Connection = AtomicU64;
    ///     type Error = std::io::Error;
    ///
    ///     async fn connect(&self, _: &Attempt) -> Result<AtomicU64, std::io::Error> {
    ///         Ok(AtomicU64::new(0))
    ///     }
    ///     fn inspect(&self, _: &mut AtomicU64) -> SessionState {
    ///         SessionState::Clean
    ///     }
    ///     fn classify(&self, _: &std::io::Error) -> ErrorClass {
    ///         ErrorClass::Transient
    ///     }
    ///     fn shared_by(&self) -> usize {
    ///         2
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = Pool::builder(Counters).max_size(1).min_size(0).build()?;
    /// let (one, other) = (pool.share().await?, pool.share().await?);
    /// one.fetch_add(1, Ordering::Relaxed);
    /// assert_eq!(other.load(Ordering::Relaxed), 1);
    /// assert!(pool.try_share().is_err() && pool.try_acquire().is_err());
    /// # drop((one, other));
    /// # pool.close().await;
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn share(&self) -> impl Future<Output = Result<SharedLease<'_, D>, AcquireError>> + Send {
        self.share_for(Limit::POOLS, Location::caller())
    }

    /// As [`share`](Pool::share), waiting for up to `limit` instead.
    ///
    /// Cancel safety: as [`share`](Pool::share).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Pool::acquire).
    #[track_caller]
    pub fn share_timeout(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<SharedLease<'_, D>, AcquireError>> + Send {
        self.share_for(Limit::new(limit), Location::caller())
    }

    /// As [`share`](Pool::share), for a caller at another place: code in between, of which nobody wants to hear who holds or waits. Waits for up to `limit`, and for the pool's acquire timeout without one.
    ///
    /// Cancel safety: as [`share`](Pool::share).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Pool::acquire).
    ///
    /// # Example
    ///
    /// ```
    /// use std::panic::Location;
    /// use pool_core::{AcquireError, Driver, Pool, SharedLease};
    ///
    /// /// Whoever calls this is the holder, and not this line.
    /// #[track_caller]
    /// fn anyone<D: Driver<Connection: Sync>>(pool: &Pool<D>) -> impl Future<Output = Result<SharedLease<'_, D>, AcquireError>> {
    ///     pool.share_at(None, Location::caller())
    /// }
    /// ```
    pub fn share_at(
        &self,
        limit: Option<Duration>,
        place: &'static Location<'static>,
    ) -> impl Future<Output = Result<SharedLease<'_, D>, AcquireError>> + Send {
        self.share_for(limit.map_or(Limit::POOLS, Limit::new), place)
    }

    /// As [`share`](Pool::share), for a lease that does not borrow the pool.
    ///
    /// Cancel safety: as [`share`](Pool::share).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Pool::acquire).
    #[track_caller]
    pub fn share_owned(&self) -> impl Future<Output = Result<OwnedSharedLease<D>, AcquireError>> + Send {
        self.share_owned_for(Limit::POOLS, Location::caller())
    }

    /// As [`share_timeout`](Pool::share_timeout), for a lease that does not borrow the pool.
    ///
    /// Cancel safety: as [`share`](Pool::share).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Pool::acquire).
    #[track_caller]
    pub fn share_owned_timeout(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<OwnedSharedLease<D>, AcquireError>> + Send {
        self.share_owned_for(Limit::new(limit), Location::caller())
    }

    /// As [`share`](Pool::share), without waiting, and without the check that [`Config::check_after_idle`](crate::Config::check_after_idle) asks for. Works outside of a runtime, too.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Pool::try_acquire).
    #[track_caller]
    pub fn try_share(&self) -> Result<SharedLease<'_, D>, AcquireError> {
        self.try_place(Location::caller()).map(|place| SharedLease { engine: &self.engine, place })
    }

    /// As [`try_share`](Pool::try_share), for a lease that does not borrow the pool.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Pool::try_acquire).
    #[track_caller]
    pub fn try_share_owned(&self) -> Result<OwnedSharedLease<D>, AcquireError> {
        self.try_place(Location::caller()).map(|place| OwnedSharedLease { engine: Arc::clone(&self.engine), place })
    }

    fn try_place(&self, place: &'static Location<'static>) -> Result<SharedClaim<D::Connection>, AcquireError> {
        let found = self.engine.share_patiently().ok_or_else(|| self.refused_at(place))?;
        if may_be_wanted() {
            self.engine.tell_place_at_once(self.engine.id(found.claim()), place);
        }
        Ok(found)
    }

    async fn share_for(
        &self,
        limit: Limit,
        at: &'static Location<'static>,
    ) -> Result<SharedLease<'_, D>, AcquireError> {
        // Owned across the await: what `share` owns; a place becomes a lease in the poll in which it comes.
        share(&self.engine, limit, at).await.map(|place| SharedLease { engine: &self.engine, place })
    }

    async fn share_owned_for(
        &self,
        limit: Limit,
        at: &'static Location<'static>,
    ) -> Result<OwnedSharedLease<D>, AcquireError> {
        // Owned across the await: as in `share_for`.
        share(&self.engine, limit, at).await.map(|place| OwnedSharedLease { engine: Arc::clone(&self.engine), place })
    }
}

macro_rules! guard {
    ($name:literal, $lease:ty) => {
        impl<D: Driver> $lease {
            /// Says that the connection is of no further use: nobody joins it any more, those who use it finish, and then it is closed, whatever [`Driver::inspect`] would say.
            ///
            /// # Example
            ///
            /// ```no_run
            /// # async fn find<D: pool_core::Driver<Connection: Sync>>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
            /// let lease = pool.share().await?;
            /// // Here it is found to have lost its way.
            /// lease.discard();
            /// # Ok(())
            /// # }
            /// ```
            pub fn discard(mut self) {
                if let Some(place) = self.place.take() {
                    self.engine.discard_shared(place);
                }
            }

            /// Nobody joins the connection any more: those who use it go on, and when the last one has left it comes back as any other. For one who is going to hold up whoever would come next.
            ///
            /// # Example
            ///
            /// ```no_run
            /// # async fn find<D: pool_core::Driver<Connection: Sync>>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
            /// let lease = pool.share().await?;
            /// lease.shut();
            /// // Here it asks for something that takes long.
            /// # Ok(())
            /// # }
            /// ```
            pub fn shut(&self) {
                self.engine.shut_shared(&self.place);
            }

            /// How many use the connection at this moment, this one included. Once it is [shut](Self::shut) there are fewer and fewer.
            ///
            /// # Example
            ///
            /// ```no_run
            /// # async fn find<D: pool_core::Driver<Connection: Sync>>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
            /// let lease = pool.share().await?;
            /// lease.shut();
            /// let is_alone_for_good = lease.users() == 1;
            /// # Ok(())
            /// # }
            /// ```
            pub fn users(&self) -> usize {
                self.engine.users_of(&self.place)
            }

            /// The name of the connection, under which it can be [evicted](crate::Pool::evict).
            pub fn connection_id(&self) -> ConnectionId {
                self.engine.id(self.place.claim())
            }
        }

        impl<D: Driver> Deref for $lease {
            type Target = D::Connection;

            #[inline]
            fn deref(&self) -> &D::Connection {
                self.engine.connection(self.place.claim())
            }
        }

        impl<D: Driver> Drop for $lease {
            #[inline]
            fn drop(&mut self) {
                if let Some(place) = self.place.take() {
                    self.engine.leave_shared(place);
                }
            }
        }

        impl<D: Driver<Connection: fmt::Debug>> fmt::Debug for $lease {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple($name).field(&**self).finish()
            }
        }
    };
}

guard!("SharedLease", SharedLease<'_, D>);
guard!("OwnedSharedLease", OwnedSharedLease<D>);
