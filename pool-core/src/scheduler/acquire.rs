//! Requests for connections.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use super::Scheduler;
use super::lease::ScheduledLease;
use super::request::{Limit, Request};
use crate::driver::Driver;
use crate::error::AcquireError;
#[cfg(doc)]
use crate::pool::Pool;
use crate::preference::{Fit, Preference};
use crate::schedule::{Demand, nanos};

/// # Acquiring
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
            let permit = self.desk.admit(demand, false, place).await?;
            let lease = self.pool.acquire_owned_at(self.left(deadline), place).await?;
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
            let permits = self.desk.admit(demand, false, place).await?.split();
            let _turn = self.desk.collect(deadline).await?;
            let mut leases = Vec::with_capacity(count);
            for permit in permits {
                let lease = self.pool.acquire_owned_at(self.left(deadline), place).await?;
                leases.push(ScheduledLease::new(lease, permit));
            }
            Ok(leases)
        }
    }

    /// Takes a connection that somebody would like to have, or another one, when it is the turn of the request; and says which it is, as [`Pool::acquire_preferring`]. The time of the request counts, and not that of the preference.
    ///
    /// Cancel safety: as [`acquire`](Self::acquire) and [`Pool::acquire_preferring`].
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire) and [`Pool::acquire_preferring`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn serve<D: pool_core::Driver>(scheduler: &pool_core::Scheduler<D>) -> Result<(), Box<dyn std::error::Error>> {
    /// use pool_core::{Preference, Request, Tag};
    ///
    /// let preference = Preference::tag(Tag::new("search_path", "tenant_7")?);
    /// let (connection, fit) = scheduler.acquire_preferring(Request::new().key("tenant 7"), &preference).await?;
    /// # drop((connection, fit));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn acquire_preferring<'a>(
        &'a self,
        request: Request,
        preference: &'a Preference<D::Connection>,
    ) -> impl Future<Output = Result<(ScheduledLease<D>, Fit), AcquireError>> + Send + use<'a, D> {
        let place = Location::caller();
        async move {
            let (demand, deadline) = self.demand(&request, 1);
            // Owned across the awaits: a place in the line, then the permit. Dropped, it is the next one's turn.
            let permit = self.desk.admit(demand, preference.wanted.tag().is_some(), place).await?;
            let (lease, fit) = self.pool.prefer_at(preference, Some(self.left(deadline)), place).await?;
            Ok((ScheduledLease::new(lease, permit), fit))
        }
    }

    /// Takes an idle connection without waiting, if nobody who waits comes before the request.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Unavailable`] if the request would have to wait; otherwise as [`Pool::try_acquire`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn serve<D: pool_core::Driver>(scheduler: &pool_core::Scheduler<D>) {
    /// if let Ok(connection) = scheduler.try_acquire(pool_core::Request::new().key("tenant 7")) {
    ///     drop(connection);
    /// }
    /// # }
    /// ```
    #[track_caller]
    pub fn try_acquire(&self, request: Request) -> Result<ScheduledLease<D>, AcquireError> {
        let (demand, _) = self.demand(&request, 1);
        let permit = self.desk.admit_at_once(&demand).ok_or_else(|| self.pool.unavailable())?;
        let lease = self.pool.try_acquire_at(Location::caller())?;
        self.desk.count_at_once(request.priority);
        Ok(ScheduledLease::new(lease, permit))
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
}
