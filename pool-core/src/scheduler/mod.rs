//! Policies in front of a pool: who is served next, and who is turned away.

mod acquire;
mod asked;
mod desk;
mod in_line;
mod lease;
mod line;
mod permit;
mod request;
mod seat;
mod stats;

use std::fmt;
use std::sync::Arc;

use desk::Desk;

use crate::driver::Driver;
use crate::engine::Follower;
use crate::error::ConfigError;
use crate::pool::Pool;
use crate::schedule::ScheduleConfig;
#[cfg(doc)]
use crate::schedule::{Codel, Priority, Quota};

pub use lease::ScheduledLease;
pub use request::Request;
pub use stats::{KeyStats, ScheduleStats, ShedCounts};

/// Decides who gets a connection of a pool next: by [key](Request::key) and [quota](Quota), by [priority](Priority), and by deadline; and turns away whom there is no room or no time for. Made by
/// [`Pool::schedule`]. Cheap to clone; all clones are the same scheduler.
///
/// A request waits in front of the pool until there is a connection for it, or room for another one. The pool itself knows nothing of that, and costs no more for those who do not use it: but they do not wait
/// in this line either, so leave [some](ScheduleConfig::kept) connections for them if there are any.
///
/// Every decision takes a lock for about a microsecond, and for more if very many keys wait at once, or very many pools share a budget.
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
