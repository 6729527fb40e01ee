//! What an operator does to a pool while it serves.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::budget::ShareStats;
use crate::config::Config;
use crate::connection::{ConnectionId, Holder};
use crate::driver::Driver;
use crate::engine::{Author, adopt, close, close_within, drained, ready, warm_up};
use crate::error::{AdoptError, ConfigError, WarmUpError};
use crate::pool::Pool;
use crate::reconfigured::Reconfigured;
use crate::retirement::Whom;
use crate::stats::{BreakerState, PoolState, Stats};

/// # Seeing it
impl<D: Driver> Pool<D> {
    /// Who has a connection now, the longest first. While leases are [watched](Config::leak_after) it says where and by which task each was acquired, and exactly since when.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn log<D: pool_core::Driver>(pool: &pool_core::Pool<D>) {
    /// for holder in pool.holders() {
    ///     println!("{holder}");
    /// }
    /// # }
    /// ```
    pub fn holders(&self) -> Vec<Holder> {
        self.engine.who_holds(usize::MAX)
    }

    /// Where the connections are. A look at every slot.
    pub fn state(&self) -> PoolState {
        self.engine.state()
    }

    /// Where the connections are and what happened since the pool was built.
    pub fn stats(&self) -> Stats {
        self.engine.stats()
    }

    /// Notes how long a query took, or whatever a connection is used for: it shows in [`Stats::execution`]. Not needed with a driver that notes it by itself, as that of
    /// `pool-postgres` does: then it would count twice.
    pub fn record_execution(&self, time: Duration) {
        self.engine.record_execution(time);
    }

    /// Where the [breaker](Config::breaker_failures) stands, and a notice of each change: to be asked for the present state, or awaited.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn watch<D: pool_core::Driver>(pool: &pool_core::Pool<D>) {
    /// let mut breaker = pool.breaker();
    /// while breaker.changed().await.is_ok() {
    ///     println!("{}", *breaker.borrow_and_update());
    /// }
    /// # }
    /// ```
    pub fn breaker(&self) -> watch::Receiver<BreakerState> {
        self.engine.watch_breaker()
    }

    /// What the pool has of its [budget](crate::Budget), if it has one.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn lacks<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> bool {
    /// pool.budget_share().is_some_and(|share| share.wants > 0)
    /// # }
    /// ```
    pub fn budget_share(&self) -> Option<ShareStats> {
        self.engine.share()
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<Config> {
        self.engine.config.load_full()
    }

    /// The driver.
    pub fn driver(&self) -> &D {
        &self.engine.driver
    }
}

/// # Starting it
impl<D: Driver> Pool<D> {
    /// Waits until [`Config::min_size`] connections are open, by the settings in force, but for one at least, even if the pool is [lazy](Config::lazy); for up to
    /// `limit`. Connections that are on their way out do not count.
    ///
    /// Cancel safety: dropping the future leaves the pool as it is.
    ///
    /// # Errors
    ///
    /// [`WarmUpError::Late`] with the last failure; [`WarmUpError::OpenFailed`] at once if an attempt fails for a [permanent](crate::ErrorClass::Permanent) reason
    /// and nothing is open; [`WarmUpError::Closed`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn start<D: pool_core::Driver>(pool: pool_core::Pool<D>) -> Result<(), pool_core::WarmUpError> {
    /// pool.ready(std::time::Duration::from_secs(10)).await
    /// # }
    /// ```
    pub async fn ready(&self, limit: Duration) -> Result<(), WarmUpError> {
        ready(&self.engine, limit).await
    }

    /// Opens connections until there are `size`, or [`Config::max_size`] if that is less: at most one per `interval` (zero: as fast as
    /// [`Config::max_openers`] and [`Config::opener_interval`] allow), for up to `limit`. What is not used afterwards goes after its idle timeout.
    ///
    /// Cancel safety: dropping the future ends the warm-up; attempts that are under way are finished, for the pool.
    ///
    /// # Errors
    ///
    /// As [`ready`](Pool::ready).
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn warm<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::WarmUpError> {
    /// use std::time::Duration;
    ///
    /// // Twenty, one in 50 ms at most, within half a minute.
    /// pool.warm_up(20, Duration::from_millis(50), Duration::from_secs(30)).await
    /// # }
    /// ```
    pub async fn warm_up(&self, size: usize, interval: Duration, limit: Duration) -> Result<(), WarmUpError> {
        warm_up(&self.engine, size, interval, limit).await
    }

    /// Puts a connection into the pool that somebody else has opened, as if the pool had: it goes to the oldest waiter, or becomes idle, and its age begins now. It is
    /// [inspected](Driver::inspect) as one that comes back: a dirty one is reset first, and a broken one is closed.
    ///
    /// # Errors
    ///
    /// [`AdoptError`] gives it back: the pool is closed, or there is no room within `max_size`.
    ///
    /// # Panics
    ///
    /// In a tokio runtime that was built without its timer; the connection is in the pool then.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn add<D: pool_core::Driver>(pool: &pool_core::Pool<D>, connection: D::Connection) {
    /// if let Err(error) = pool.adopt(connection) {
    ///     println!("{error}");
    ///     let connection = error.into_connection();
    /// #   drop(connection);
    /// }
    /// # }
    /// ```
    pub fn adopt(&self, connection: D::Connection) -> Result<(), AdoptError<D::Connection>> {
        adopt(&self.engine, connection)
    }
}

/// # Changing it
impl<D: Driver> Pool<D> {
    /// Puts other settings in force while the pool is in use: all of them, or none. The answer says which are different, and which of these
    /// count for new connections only.
    ///
    /// Limits of time apply to what begins from now on; a maximum lifetime, to connections opened from now on; what concerns idle connections, to those that
    /// are idle already, too. A higher `max_size` applies at once. After a lower one,
    /// surplus connections are closed as soon as they are idle or given back, and no more are opened meanwhile; nobody loses a lease. Callers that
    /// wait keep their place and their deadline. Calls at the same time take turns.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range; then nothing has changed. On a closed pool nothing comes of it, and it is no error.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn double<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::ConfigError> {
    /// let mut config = (*pool.config()).clone();
    /// config.max_size *= 2;
    /// assert_eq!(pool.reconfigure(config)?.now, ["max_size"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconfigure(&self, config: Config) -> Result<Reconfigured, ConfigError> {
        self.engine.reconfigure(config, None).map(Option::unwrap_or_default)
    }

    /// Replaces every connection that is open or being opened at this moment, for instance after the server's address or a password has changed: idle
    /// ones are closed at once, the others when they are given back. No caller that comes afterwards gets one of them, and nobody loses a lease. (Somebody who
    /// swaps the connections of two leases, through `DerefMut`, swaps what the pool knows about their age, too.) Calls do not add up to more than 2^24 within
    /// the time of one lease: a connection that is older than that counts as new again.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn failed_over<D: pool_core::Driver>(pool: &pool_core::Pool<D>) {
    /// pool.retire_all();
    /// # }
    /// ```
    pub fn retire_all(&self) {
        self.engine.retire_those(Whom::All, Author::Operator);
    }

    /// As [`retire_all`](Pool::retire_all), one after the other at random moments within `interval`: each is replaced before it is closed, as at the end of its
    /// lifetime, or just closed if nobody needs it, and those that are left when the interval is over are closed then.
    pub fn retire_all_over(&self, interval: Duration) {
        self.engine.retire_all_over(interval, Author::Operator);
    }

    /// As [`retire_all`](Pool::retire_all), for the connections to one [host](Driver::host), or to one [address](Driver::address) of it.
    pub fn retire_host(&self, host: &str) {
        self.engine.retire_those(Whom::Host(host.into()), Author::Operator);
    }

    /// As [`retire_host`](Pool::retire_host), for the part of a driver that looks after its servers: in the [journal](crate::Snapshot::journal) this is nothing that an operator has done.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn was_demoted<D: pool_core::Driver>(pool: &pool_core::Pool<D>) {
    /// pool.retire_host_for_driver("db-2:5432");
    /// # }
    /// ```
    pub fn retire_host_for_driver(&self, host: &str) {
        self.engine.retire_those(Whom::Host(host.into()), Author::Driver);
    }

    /// Closes one connection: at once if it is idle, otherwise when its user gives it back, who may go on using it. `false` if it is not in this pool (any more),
    /// or on its way out.
    pub fn evict(&self, connection: ConnectionId) -> bool {
        self.engine.evict(connection)
    }

    /// Lets nobody have a connection until [`resume`](Pool::resume): who acquires waits, in order and with the usual deadline. Those who have a connection
    /// keep it; given back, it stays in the pool. Meanwhile the pool neither opens connections nor pings them. For a failover without errors: pause,
    /// wait until the pool is [drained](Pool::drained), switch over, [`retire_all`](Pool::retire_all), resume. A second pause changes nothing: there is one, not a count.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn maintain<D: pool_core::Driver>(pool: &pool_core::Pool<D>) {
    /// pool.pause();
    /// // Callers wait, and what they have acquired before is still theirs.
    /// pool.resume();
    /// # }
    /// ```
    pub fn pause(&self) {
        self.engine.pause();
    }

    /// Ends a [pause](Pool::pause): those who wait are served in the order in which they came.
    pub fn resume(&self) {
        self.engine.resume();
    }

    /// Waits until no connection is in anybody's hands. `true` then; `false` if the pool is not paused, or is resumed meanwhile.
    ///
    /// Cancel safety: the pool stays paused.
    ///
    /// # Panics
    ///
    /// In a tokio runtime that was built without its timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn fail_over<D: pool_core::Driver>(pool: &pool_core::Pool<D>) {
    /// pool.pause();
    /// if pool.drained().await {
    ///     // Here the backend is restarted, or its name moves to another one.
    ///     pool.retire_all();
    /// }
    /// pool.resume();
    /// # }
    /// ```
    pub async fn drained(&self) -> bool {
        drained(&self.engine).await
    }
}

/// # Ending it
impl<D: Driver> Pool<D> {
    /// Closes the pool and waits until nothing is open: callers that wait get [`AcquireError::Closed`](crate::AcquireError::Closed), idle connections are closed at
    /// once, the others when their leases come back. An attempt to connect that is under way is waited for, up to [`Config::connect_timeout`]. It waits for the leases for ever;
    /// [`close_within`](Pool::close_within) does not.
    ///
    /// Any number of callers may close and wait; all of them return once it is done. Cancel safety: the pool stays closed.
    ///
    /// Call it in a tokio runtime: outside of one it waits for a background task that nobody can start.
    ///
    /// # Panics
    ///
    /// In a tokio runtime that was built without its timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn shut_down<D: pool_core::Driver>(pool: pool_core::Pool<D>) {
    /// pool.close().await;
    /// assert_eq!(pool.state().size, 0);
    /// # }
    /// ```
    pub async fn close(&self) {
        close(&self.engine).await;
    }

    /// Closes the pool in two steps: as [`close`](Pool::close), for up to `limit`, and then without mercy. Whatever the pool is doing in the background is dropped, and connections
    /// that are still leased are cut off if the driver has a [means](Driver::aborter) to. Returns how many leases are out then; their connections are closed when they come back. 0: nothing is
    /// open.
    ///
    /// What the pool does in the background, it does on the runtime that first needed it. If nobody drives that one, this returns all the same: idle connections are dropped here, and
    /// those that a task over there has in its hands, such as one that is being closed, are waited for for a second, and count as leases if they are still there.
    ///
    /// Cancel safety: the pool stays closed; nothing is aborted by a future that is dropped before its limit.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn shut_down<D: pool_core::Driver>(pool: pool_core::Pool<D>) {
    /// let left = pool.close_within(std::time::Duration::from_secs(10)).await;
    /// if left > 0 {
    ///     eprintln!("{left} connections are still in use");
    /// }
    /// # }
    /// ```
    pub async fn close_within(&self, limit: Duration) -> usize {
        close_within(&self.engine, limit).await
    }

    /// Whether the pool has been closed. Connections may still be in use.
    pub fn is_closed(&self) -> bool {
        self.engine.is_closed()
    }
}
