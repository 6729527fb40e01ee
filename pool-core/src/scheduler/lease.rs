//! Connections that were scheduled.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};

use super::permit::Permit;
use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::lease::OwnedLease;
use crate::tag::{Tag, TagError};

/// A connection that a [`Scheduler`](super::Scheduler) has given. It goes back when dropped, as an [`OwnedLease`] does, and the next one is served.
#[must_use = "a lease that is dropped at once gives the connection straight back"]
pub struct ScheduledLease<D: Driver> {
    // In this order: whoever is served next finds the connection.
    lease: OwnedLease<D>,
    _permit: Permit<D>,
}

impl<D: Driver> ScheduledLease<D> {
    pub(super) fn new(lease: OwnedLease<D>, permit: Permit<D>) -> Self {
        Self { lease, _permit: permit.used() }
    }

    /// The name of the connection.
    pub fn connection_id(&self) -> ConnectionId {
        self.lease.connection_id()
    }

    /// Gives the connection back to be closed, as [`OwnedLease::discard`].
    pub fn discard(self) {
        self.lease.discard();
    }

    /// Takes the connection out of the pool, as [`OwnedLease::detach`], and the next one is served.
    pub fn detach(self) -> D::Connection {
        self.lease.detach()
    }

    /// Says what the connection is used for, as [`OwnedLease::note_activity`].
    pub fn note_activity(&self, activity: impl Into<Cow<'static, str>>) {
        self.lease.note_activity(activity);
    }

    /// Notes a tag on the connection, as [`OwnedLease::tag`].
    ///
    /// # Errors
    ///
    /// As [`OwnedLease::tag`].
    pub fn tag(&self, tag: Tag) -> Result<(), TagError> {
        self.lease.tag(tag)
    }

    /// Takes the tag of this name off the connection.
    pub fn untag(&self, name: &str) -> Option<Tag> {
        self.lease.untag(name)
    }

    /// The tags of the connection, the oldest first.
    pub fn tags(&self) -> Vec<Tag> {
        self.lease.tags()
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
