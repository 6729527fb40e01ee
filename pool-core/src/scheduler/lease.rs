//! Connections that were scheduled.

use std::fmt;
use std::ops::{Deref, DerefMut};

use super::desk::Permit;
use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::lease::OwnedLease;

/// A connection that a [`Scheduler`](super::Scheduler) has given. It goes back when dropped, as an [`OwnedLease`] does, and the next one is served.
#[must_use = "a lease that is dropped at once gives the connection straight back"]
pub struct ScheduledLease<D: Driver> {
    // In this order: whoever is served next finds the connection.
    lease: OwnedLease<D>,
    _permit: Permit<D>,
}

impl<D: Driver> ScheduledLease<D> {
    pub(super) fn new(lease: OwnedLease<D>, permit: Permit<D>) -> Self {
        Self { lease, _permit: permit }
    }

    /// The name of the connection.
    pub fn connection_id(&self) -> ConnectionId {
        self.lease.connection_id()
    }

    /// Gives the connection back to be closed, as [`OwnedLease::discard`].
    pub fn discard(self) {
        self.lease.discard();
    }
}

impl<D: Driver> Deref for ScheduledLease<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        &self.lease
    }
}

impl<D: Driver> DerefMut for ScheduledLease<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        &mut self.lease
    }
}

impl<D: Driver<Connection: fmt::Debug>> fmt::Debug for ScheduledLease<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScheduledLease").field(&**self).finish()
    }
}
