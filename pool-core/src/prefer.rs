//! Acquiring a certain connection, if it is to be had.

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::Driver;
use crate::engine::prefer;
use crate::error::AcquireError;
use crate::lease::{Lease, OwnedLease};
use crate::pool::Pool;
use crate::preference::{Fit, Preference};

/// # Acquiring a certain one
impl<D: Driver> Pool<D> {
    /// Takes a connection that somebody would like to have, or another one, and says which it is.
    ///
    /// If one that fits is idle, it is that. Otherwise this waits for the [grace](Preference::grace), and then takes any, in turn and within what is left of its time; that one is
    /// [converted](crate::Driver::convert) to a [tag](Preference::tag). Nobody is overtaken: while others wait, this queues behind them, and has what comes.
    ///
    /// Checks and [hooks](crate::Hooks::before_hand_out) before a hand-out are made in this future, within its time. Cancel safety: a connection that is being checked, prepared or converted is closed when the future is
    /// dropped; otherwise nothing is lost.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Convert`] if the connection could not be converted, in which case it has been closed; otherwise as [`acquire`](Pool::acquire).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn serve<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), Box<dyn std::error::Error>> {
    /// use pool_core::{Preference, Tag};
    ///
    /// let preference = Preference::sticky(Tag::new("user", "7")?);
    /// let (connection, fit) = pool.acquire_preferring(&preference).await?;
    /// if fit.fits() {
    ///     println!("the one that user 7 had last");
    /// }
    /// # drop(connection);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn acquire_preferring<'a>(
        &'a self,
        preference: &'a Preference<D::Connection>,
    ) -> impl Future<Output = Result<(Lease<'a, D>, Fit), AcquireError>> + Send + use<'a, D> {
        let place = Location::caller();
        async move {
            // Owned across the await: what the engine says.
            let (claim, fit) = prefer(&self.engine, preference, preference.limit, None, place).await?;
            Ok((Lease::new(&self.engine, claim), fit))
        }
    }

    /// As [`acquire_preferring`](Pool::acquire_preferring), for a lease that does not borrow the pool.
    ///
    /// Cancel safety: as [`acquire_preferring`](Pool::acquire_preferring).
    ///
    /// # Errors
    ///
    /// As [`acquire_preferring`](Pool::acquire_preferring).
    #[track_caller]
    pub fn acquire_owned_preferring<'a>(
        &'a self,
        preference: &'a Preference<D::Connection>,
    ) -> impl Future<Output = Result<(OwnedLease<D>, Fit), AcquireError>> + Send + use<'a, D> {
        self.prefer_at(preference, preference.limit, None, Location::caller())
    }

    /// As `acquire_owned_preferring`, for somebody else, who has waited in a line since then, if it has, and for so long.
    pub(crate) async fn prefer_at(
        &self,
        preference: &Preference<D::Connection>,
        limit: Option<Duration>,
        since: Option<u64>,
        place: &'static Location<'static>,
    ) -> Result<(OwnedLease<D>, Fit), AcquireError> {
        // Owned across the await: what the engine says.
        let (claim, fit) = prefer(&self.engine, preference, limit, since, place).await?;
        Ok((OwnedLease::new(Arc::clone(&self.engine), claim), fit))
    }
}
