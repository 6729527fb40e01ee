//! The handle that services keep.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::builder::PoolBuilder;
use crate::config::Config;
use crate::driver::Driver;
use crate::engine::{Acquiring, Engine, Limit, Occasion, Part, ensure_janitor};
use crate::error::AcquireError;
use crate::hooks::AnyHooks;
use crate::lease::{Lease, OwnedLease};
use crate::slot::Claim;
use crate::trace::may_be_wanted;

/// A pool of connections. Cheap to clone; all clones are the same pool.
///
/// Dropping the last clone closes the pool in the background: idle connections at once, the ones in an
/// [`OwnedLease`] when they come back. [`Pool::close`] does the same and waits for it.
pub struct Pool<D: Driver> {
    pub(crate) engine: Arc<Engine<D>>,
    /// Counts the handles, apart from the leases and tasks that also keep the engine alive.
    handle: Arc<Handle<D>>,
}

/// Closes the pool when the last handle is gone.
struct Handle<D: Driver>(Arc<Engine<D>>);

impl<D: Driver> Drop for Handle<D> {
    fn drop(&mut self) {
        self.0.begin_close();
    }
}

impl<D: Driver> Pool<D> {
    /// Starts to put a pool together.
    pub fn builder(driver: D) -> PoolBuilder<D> {
        PoolBuilder::new(driver)
    }

    pub(crate) fn new(
        driver: D,
        config: Config,
        seed: Option<u64>,
        hooks: Option<Arc<dyn AnyHooks<D::Connection>>>,
        part: Option<Part>,
    ) -> Self {
        let engine = Arc::new(Engine::new(driver, config, seed, hooks, part));
        engine.join_budget();
        engine.attach_driver();
        engine.begin();
        ensure_janitor(&engine);
        Self { handle: Arc::new(Handle(Arc::clone(&engine))), engine }
    }

    /// Takes an idle connection, without waiting, and without the check that [`Config::check_after_idle`] asks for. Works outside of a runtime, too. A connection that is being reset,
    /// pinged or closed is not idle.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Unavailable`] if none is idle (one that the pool only looks at for an instant is; that instant is waited for) or somebody is waiting already, or the pool is paused, or there is a
    /// [hook](crate::Hooks::before_hand_out) before the hand-out, for which this cannot wait; [`AcquireError::Closed`] if the pool is closed.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn try_now<D: pool_core::Driver>(pool: &pool_core::Pool<D>) {
    /// match pool.try_acquire() {
    ///     Ok(connection) => println!("{} was idle", connection.connection_id()),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Lease<'_, D>, AcquireError> {
        self.try_claim(Location::caller()).map(|claim| Lease::new(&self.engine, claim))
    }

    /// As [`try_acquire`](Pool::try_acquire), for a lease that does not borrow the pool.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Pool::try_acquire).
    #[inline]
    #[track_caller]
    pub fn try_acquire_owned(&self) -> Result<OwnedLease<D>, AcquireError> {
        self.try_acquire_at(Location::caller())
    }

    /// Takes a connection, waiting for up to [`Config::acquire_timeout`] if none is idle. Those who wait are served in the order
    /// in which they came, and nobody who comes later overtakes them.
    ///
    /// Cancel safety: dropping the future leaves the queue and loses nothing; a connection that was just handed to it goes to the
    /// next one, and a connection being opened on its behalf is still opened, for the pool. One that a [hook](crate::Hooks::before_hand_out) has in its hands is closed. A future that is neither polled nor dropped
    /// keeps its place and, once its turn has come, the connection that was handed to it, unless [`Config::collect_within`] takes that back: do not leave one aside in a `select!` loop while doing something
    /// else, and do not [forget](std::mem::forget) one.
    ///
    /// Exceptions to the order: a caller goes to the end of the queue, with its deadline, if the runtime of the pool's background task ends; if it does not take in time what it was handed, with
    /// [`Config::collect_within`]; if it comes after a call of [`retire_all`](Pool::retire_all) or one of its kin, or another [`Config::max_uses`], and is handed a connection from before that, which was on its way to a caller that gave up; if
    /// others wait and it has too little time left for a [hook](crate::Hooks::before_hand_out) or a [conversion](crate::Driver::convert); and if its hook wants [another connection](crate::HandOut::CloseAndTryAnother). And a newcomer may come before a caller
    /// whose predecessor gives up in the moment in which a place on a [shared](Pool::share) connection reaches it.
    ///
    /// While the pool is [paused](Pool::pause), every caller waits.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Timeout`], with the last attempt to open a connection that failed, if none has succeeded since (an attempt that is still under way is no cause
    /// yet; it shows in `state.opening`); [`AcquireError::OpenFailed`] if the
    /// pool has no connection and opening one failed for a [permanent](crate::ErrorClass::Permanent) reason: at once, until the next attempt is due; [`AcquireError::BreakerOpen`] if it has none and
    /// the [breaker](Config::breaker_failures) is open; [`AcquireError::Hook`] if there is a [hook](crate::Hooks::before_hand_out) before the hand-out and it fails, or does not let the caller have a connection;
    /// [`AcquireError::SelfWait`] with [`Config::refuse_self_wait`], if its task has a connection of a full pool already; [`AcquireError::Closed`];
    /// [`AcquireError::NoRuntime`] if it has to wait outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// If it has to wait in a tokio runtime that was built without its timer, or that has ended.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn serve<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
    /// let connection = pool.acquire().await?;
    /// // Here it is used: it derefs to the connection of the driver.
    /// drop(connection); // and goes back
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Lease<'_, D>, AcquireError>> + Send {
        self.claim(Limit::POOLS, Location::caller(), |claim| Lease::new(&self.engine, claim))
    }

    /// As [`acquire`](Pool::acquire), waiting for up to `limit` instead.
    ///
    /// Cancel safety: as [`acquire`](Pool::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Pool::acquire).
    #[inline]
    #[track_caller]
    pub fn acquire_timeout(&self, limit: Duration) -> impl Future<Output = Result<Lease<'_, D>, AcquireError>> + Send {
        self.claim(Limit::new(limit), Location::caller(), |claim| Lease::new(&self.engine, claim))
    }

    /// As [`acquire`](Pool::acquire), for a lease that does not borrow the pool.
    ///
    /// Cancel safety: as [`acquire`](Pool::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Pool::acquire).
    #[inline]
    #[track_caller]
    pub fn acquire_owned(&self) -> impl Future<Output = Result<OwnedLease<D>, AcquireError>> + Send {
        self.claim(Limit::POOLS, Location::caller(), |claim| OwnedLease::new(Arc::clone(&self.engine), claim))
    }

    /// As [`acquire_timeout`](Pool::acquire_timeout), for a lease that does not borrow the pool.
    ///
    /// Cancel safety: as [`acquire`](Pool::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Pool::acquire).
    #[inline]
    #[track_caller]
    pub fn acquire_owned_timeout(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<OwnedLease<D>, AcquireError>> + Send {
        self.claim(Limit::new(limit), Location::caller(), |claim| OwnedLease::new(Arc::clone(&self.engine), claim))
    }

    /// As [`acquire_owned_timeout`](Pool::acquire_owned_timeout), for somebody else: `place` is where those who look at holders are to look for it. For what stands between the pool and its callers.
    ///
    /// Cancel safety: as [`acquire`](Pool::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Pool::acquire).
    ///
    /// # Example
    ///
    /// ```
    /// use std::panic::Location;
    /// use std::time::Duration;
    /// use pool_core::{AcquireError, Driver, OwnedLease, Pool};
    ///
    /// /// Whoever calls this is the holder, and not this line.
    /// #[track_caller]
    /// fn twice<D: Driver>(pool: &Pool<D>) -> impl Future<Output = Result<OwnedLease<D>, AcquireError>> {
    ///     let place = Location::caller();
    ///     async move {
    ///         match pool.acquire_owned_at(Duration::from_secs(1), place).await {
    ///             Ok(lease) => Ok(lease),
    ///             Err(_) => pool.acquire_owned_at(Duration::from_secs(5), place).await,
    ///         }
    ///     }
    /// }
    /// ```
    pub fn acquire_owned_at(
        &self,
        limit: Duration,
        place: &'static Location<'static>,
    ) -> impl Future<Output = Result<OwnedLease<D>, AcquireError>> + Send {
        self.claim(Limit::new(limit), place, |claim| OwnedLease::new(Arc::clone(&self.engine), claim))
    }

    /// As `acquire_owned_timeout`, for somebody else, who has waited in a line since then, if it has.
    pub(crate) async fn acquire_from_line(
        &self,
        since: Option<u64>,
        limit: Duration,
        place: &'static Location<'static>,
    ) -> Result<OwnedLease<D>, AcquireError> {
        // Owned across the await: what the engine says.
        let claim = self.engine.acquire_from_line(since, Limit::new(limit), place).await?;
        Ok(OwnedLease::new(Arc::clone(&self.engine), claim))
    }

    /// As `try_acquire_owned`, for somebody else.
    pub(crate) fn try_acquire_at(&self, place: &'static Location<'static>) -> Result<OwnedLease<D>, AcquireError> {
        self.try_claim(place).map(|claim| OwnedLease::new(Arc::clone(&self.engine), claim))
    }

    /// Whether there is another handle, or somebody has a connection or waits for one.
    pub(crate) fn is_used(&self) -> bool {
        let state = self.engine.state();
        Arc::strong_count(&self.handle) > 1 || state.leased + state.waiting > 0
    }

    #[inline(always)] // see `Acquiring`
    fn try_claim(&self, place: &'static Location<'static>) -> Result<Claim<D::Connection>, AcquireError> {
        let claim = self.engine.acquire_at_once(Occasion::WithoutWaiting).map_or_else(|| self.try_again(place), Ok)?;
        let claim = if may_be_wanted() { self.engine.tell_at_once(claim, place) } else { claim };
        if self.engine.is_watched() {
            self.engine.note_lease(&claim, place);
        }
        Ok(claim)
    }

    #[cold]
    fn try_again(&self, place: &'static Location<'static>) -> Result<Claim<D::Connection>, AcquireError> {
        self.engine.acquire_patiently().ok_or_else(|| self.refused_at(place))
    }

    /// As `unavailable`, for those who trace it, too.
    pub(crate) fn refused_at(&self, place: &'static Location<'static>) -> AcquireError {
        let error = self.unavailable();
        self.engine.tell_refused(&error, place);
        error
    }

    /// What one is told who does not wait.
    pub(crate) fn unavailable(&self) -> AcquireError {
        match self.engine.state() {
            state if state.closed => {
                self.engine.count_closed();
                AcquireError::Closed
            }
            state => {
                self.engine.count_shed();
                AcquireError::Unavailable { state: Box::new(state) }
            }
        }
    }

    /// The future of every kind of acquire. Owned while it is pending: see `Waiting`.
    #[inline(always)] // see `Acquiring`
    fn claim<'a, T>(
        &'a self,
        limit: Limit,
        place: &'static Location<'static>,
        lease: impl Fn(Claim<D::Connection>) -> T + Send + Unpin + 'a,
    ) -> impl Future<Output = Result<T, AcquireError>> + Send {
        Acquiring::new(&self.engine, limit, place, lease)
    }
}

impl<D: Driver> Clone for Pool<D> {
    fn clone(&self) -> Self {
        Self { engine: Arc::clone(&self.engine), handle: Arc::clone(&self.handle) }
    }
}

impl<D: Driver> fmt::Debug for Pool<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("state", &self.state()).finish_non_exhaustive()
    }
}
