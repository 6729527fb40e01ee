//! Policies in front of a pool: who is served next, and who is turned away.

mod desk;
mod lease;
mod request;
mod stats;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use desk::Desk;
use request::Limit;

use crate::driver::Driver;
use crate::engine::Follower;
use crate::error::{AcquireError, ConfigError};
use crate::pool::Pool;
#[cfg(doc)]
use crate::schedule::{Codel, Priority, Quota};
use crate::schedule::{Demand, ScheduleConfig, nanos};

pub use lease::ScheduledLease;
pub use request::Request;
pub use stats::{KeyStats, ScheduleStats, ShedCounts};

/// Decides who gets a connection of a pool next: by [key](Request::key) and [quota](Quota), by [priority](Priority), and by deadline; and turns away whom there is no room or no time for. Made by
/// [`Pool::schedule`]. Cheap to clone; all clones are the same scheduler.
///
/// A request waits in front of the pool until there is a connection for it, or room for another one. The pool itself knows nothing of that, and costs no more for those who do not use it: but they do not wait
/// in this line either, so leave [some](ScheduleConfig::kept) connections for them if there are any.
///
/// Every decision takes a lock for less than a microsecond, and more if very many keys wait at once.
///
/// # Example
///
/// ```no_run
/// # async fn serve<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), Box<dyn std::error::Error>> {
/// use pool_core::{Priority, Request, ScheduleConfig};
///
/// let mut config = ScheduleConfig::default();
/// config.quota.max = Some(5);
/// let scheduler = pool.schedule(config)?;
/// let connection = scheduler.acquire(Request::new().key("tenant 7").priority(Priority::High)).await?;
/// # drop(connection);
/// # Ok(())
/// # }
/// ```
pub struct Scheduler<D: Driver> {
    pool: Pool<D>,
    desk: Arc<Desk<D>>,
}

impl<D: Driver> Pool<D> {
    /// Puts a scheduler in front of the pool. It keeps the pool alive as a clone of it does.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn schedule<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::ConfigError> {
    /// let mut config = pool_core::ScheduleConfig::default();
    /// config.max_waiting = Some(1_000);
    /// let scheduler = pool.schedule(config)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn schedule(&self, config: ScheduleConfig) -> Result<Scheduler<D>, ConfigError> {
        config.validate()?;
        let desk = Desk::new(&self.engine, config);
        let follower: Arc<dyn Follower> = desk.clone();
        self.engine.be_followed(Arc::downgrade(&follower));
        // What has changed in between.
        follower.changed();
        Ok(Scheduler { pool: self.clone(), desk })
    }
}

impl<D: Driver> Scheduler<D> {
    /// Takes a connection when it is the turn of the request.
    ///
    /// Cancel safety: dropping the future leaves the line and loses nothing.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Shed`] if the request is turned away; otherwise as [`Pool::acquire`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with a timer, if it has to wait.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn serve<D: pool_core::Driver>(scheduler: &pool_core::Scheduler<D>) -> Result<(), pool_core::AcquireError> {
    /// let request = pool_core::Request::new().key("tenant 7").within(std::time::Duration::from_millis(200));
    /// let connection = scheduler.acquire(request).await?;
    /// # drop(connection);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn acquire(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<ScheduledLease<D>, AcquireError>> + Send + use<'_, D> {
        let place = Location::caller();
        async move {
            let (demand, deadline) = self.demand(&request, 1);
            // Owned across the awaits: a place in the line, then the permit. Dropped, it is the next one's turn.
            let permit = self.desk.admit(demand).await?;
            let lease = self.pool.acquire_at(self.left(deadline), place).await?;
            Ok(ScheduledLease::new(lease, permit))
        }
    }

    /// Takes several connections, all or none: nobody waits for one while it keeps others from those who need them, so two that want several do not wait for each other.
    ///
    /// Cancel safety: as [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); with [`Shed::Impossible`](crate::Shed::Impossible) if there are never so many.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn copy<D: pool_core::Driver>(scheduler: &pool_core::Scheduler<D>) -> Result<(), pool_core::AcquireError> {
    /// let both = scheduler.acquire_many(pool_core::Request::new(), 2).await?;
    /// # drop(both);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn acquire_many(
        &self,
        request: Request,
        count: usize,
    ) -> impl Future<Output = Result<Vec<ScheduledLease<D>>, AcquireError>> + Send + use<'_, D> {
        let place = Location::caller();
        async move {
            let (demand, deadline) = self.demand(&request, count);
            // Owned across the awaits: a place in the line, then the permits, the turn to collect, and the leases so far. Dropped, they go back, and it is the next one's turn.
            let permits = self.desk.admit(demand).await?.split();
            let _turn = self.desk.collect(deadline).await?;
            let mut leases = Vec::with_capacity(count);
            for permit in permits {
                let lease = self.pool.acquire_at(self.left(deadline), place).await?;
                leases.push(ScheduledLease::new(lease, permit));
            }
            Ok(leases)
        }
    }

    fn demand<'a>(&self, request: &'a Request, passes: usize) -> (Demand<'a>, u64) {
        let engine = &self.desk.engine;
        let now = engine.now();
        let deadline = match request.limit {
            Limit::OfThePool => now.saturating_add(engine.acquire_timeout()),
            Limit::Within(limit) => now.saturating_add(nanos(limit)),
            Limit::Until(deadline) => engine.at(deadline),
        };
        (Demand { key: request.key.as_ref(), priority: request.priority, passes, deadline }, deadline)
    }

    fn left(&self, deadline: u64) -> Duration {
        Duration::from_nanos(deadline.saturating_sub(self.desk.engine.now()))
    }

    /// What has come of requests so far.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn log<D: pool_core::Driver>(scheduler: &pool_core::Scheduler<D>) {
    /// let stats = scheduler.stats();
    /// println!("{} wait, {} were turned away because the queue stood", stats.waiting, stats.shed.standing);
    /// # }
    /// ```
    pub fn stats(&self) -> ScheduleStats {
        let (waiting, in_use, limit) = self.desk.figures();
        self.desk.counts.snapshot(waiting, in_use, limit)
    }

    /// The keys that are known, in no order.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn busiest<D: pool_core::Driver>(scheduler: &pool_core::Scheduler<D>) -> Option<pool_core::KeyStats> {
    /// scheduler.keys().into_iter().max_by_key(|key| key.in_use)
    /// # }
    /// ```
    pub fn keys(&self) -> Vec<KeyStats> {
        self.desk.keys()
    }

    /// The settings in force.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn most<D: pool_core::Driver>(scheduler: &pool_core::Scheduler<D>) -> Option<usize> {
    /// scheduler.config().max_waiting
    /// # }
    /// ```
    pub fn config(&self) -> Arc<ScheduleConfig> {
        self.desk.config.load_full()
    }

    /// Puts other settings in force, all of them or none. Those who wait stay in the line, and go by the new ones.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names every setting that is out of its range.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn block<D: pool_core::Driver>(scheduler: &pool_core::Scheduler<D>) -> Result<(), pool_core::ConfigError> {
    /// let mut config = (*scheduler.config()).clone();
    /// config.quotas.entry("tenant 7".into()).or_default().max = Some(1);
    /// scheduler.reconfigure(config)
    /// # }
    /// ```
    pub fn reconfigure(&self, config: ScheduleConfig) -> Result<(), ConfigError> {
        config.validate()?;
        self.desk.follow(config);
        Ok(())
    }

    /// The pool behind it.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn close<D: pool_core::Driver>(scheduler: pool_core::Scheduler<D>) {
    /// scheduler.pool().close().await;
    /// # }
    /// ```
    pub fn pool(&self) -> &Pool<D> {
        &self.pool
    }
}

impl<D: Driver> Clone for Scheduler<D> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), desk: Arc::clone(&self.desk) }
    }
}

impl<D: Driver> fmt::Debug for Scheduler<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
