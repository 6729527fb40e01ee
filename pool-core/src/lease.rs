//! Guards of acquired connections.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::connection::ConnectionId;
use crate::driver::Driver;
use crate::engine::Engine;
use crate::slot::Claim;
use crate::tag::{Tag, TagError};

/// An acquired connection that borrows the pool; it goes back when dropped.
///
/// Dropping it waits for no I/O and no task, never spawns, and works anywhere: outside of a runtime, on any thread, during a panic. A connection that is in order goes
/// back without a lock, unless that has to wake somebody, it has [tags](Lease::tag), or leases are [watched](crate::Config::leak_after); one that is to be closed or reset is left to a background task, which takes a lock for some
/// instructions.
#[must_use = "a lease that is dropped at once gives the connection straight back"]
pub struct Lease<'a, D: Driver> {
    engine: &'a Engine<D>,
    claim: Claim<D::Connection>,
}

/// An acquired connection that keeps the pool's engine alive; it goes back when dropped, as a [`Lease`] does.
///
/// It can be moved into a task or a stream. When the last [`Pool`](crate::Pool) is gone, it is closed instead of reused.
#[must_use = "a lease that is dropped at once gives the connection straight back"]
pub struct OwnedLease<D: Driver> {
    engine: Arc<Engine<D>>,
    claim: Claim<D::Connection>,
}

impl<'a, D: Driver> Lease<'a, D> {
    #[inline]
    pub(crate) fn new(engine: &'a Engine<D>, claim: Claim<D::Connection>) -> Self {
        Self { engine, claim }
    }
}

impl<D: Driver> OwnedLease<D> {
    pub(crate) fn new(engine: Arc<Engine<D>>, claim: Claim<D::Connection>) -> Self {
        Self { engine, claim }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine<D>> {
        &self.engine
    }

    /// Whether one who keeps it has to give it back.
    pub(crate) fn is_wanted_back(&self) -> bool {
        self.engine.is_wanted_back(&self.claim)
    }

    /// As `discard`, for one who has it in a place that is about to be dropped.
    pub(crate) fn discard_now(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.engine.discard(claim);
        }
    }
}

macro_rules! guard {
    ($name:literal, $lease:ty) => {
        impl<D: Driver> $lease {
            /// Gives the connection back to be closed, whatever [`Driver::inspect`] would say about it.
            pub fn discard(mut self) {
                if let Some(claim) = self.claim.take() {
                    self.engine.discard(claim);
                }
            }
        }

        impl<D: Driver> $lease {
            /// The name of the connection, under which it can be [evicted](crate::Pool::evict).
            pub fn connection_id(&self) -> ConnectionId {
                self.engine.id(&self.claim)
            }

            /// Says what the connection is used for from now on, such as the name of a statement: [`Pool::holders`](crate::Pool::holders) shows what was said last, and so do
            /// the reports about a lease that is held for very long. Not for secrets. It is kept while leases are [watched](crate::Config::leak_after), which takes a lock
            /// for an instant; otherwise it is dropped, and costs nothing but what it took to make it.
            ///
            /// # Example
            ///
            /// ```no_run
            /// # async fn find<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
            /// let lease = pool.acquire().await?;
            /// lease.note_activity("users by name");
            /// // Here it is asked for.
            /// # drop(lease);
            /// # Ok(())
            /// # }
            /// ```
            pub fn note_activity(&self, activity: impl Into<Cow<'static, str>>) {
                self.engine.note_activity(&self.claim, activity);
            }

            /// Takes the connection out of the pool, for good: the pool counts it as closed, may open another one in its place, and does not
            /// know of it any more.
            ///
            /// # Example
            ///
            /// ```no_run
            /// # async fn keep<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), pool_core::AcquireError> {
            /// let connection = pool.acquire().await?.detach();
            /// # drop(connection);
            /// # Ok(())
            /// # }
            /// ```
            pub fn detach(mut self) -> D::Connection {
                match self.claim.take() {
                    Some(claim) => self.engine.detach(claim),
                    None => unreachable!("a lease has its claim until it is dropped"),
                }
            }
        }

        impl<D: Driver> $lease {
            /// Notes a tag on the connection, in the place of another one of its name, for those who [prefer](crate::Preference) a connection that has it.
            ///
            /// A connection that has tags costs a lock for an instant whenever it is acquired or given back; the others do not.
            ///
            /// # Errors
            ///
            /// [`TagError::TooMany`] if it has [as many](Tag::MOST) of other names.
            ///
            /// # Example
            ///
            /// ```no_run
            /// # async fn prepare<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), Box<dyn std::error::Error>> {
            /// use pool_core::Tag;
            ///
            /// let connection = pool.acquire().await?;
            /// // Here a statement is prepared on it.
            /// connection.tag(Tag::new("statement", "accounts")?)?;
            /// # Ok(())
            /// # }
            /// ```
            pub fn tag(&self, tag: Tag) -> Result<(), TagError> {
                self.engine.tag(&self.claim, tag)
            }

            /// Takes the tag of this name off the connection.
            pub fn untag(&self, name: &str) -> Option<Tag> {
                self.engine.untag(&self.claim, name)
            }

            /// The tags of the connection, the oldest first.
            pub fn tags(&self) -> Vec<Tag> {
                self.engine.tags_of(&self.claim)
            }
        }

        impl<D: Driver> Deref for $lease {
            type Target = D::Connection;

            #[inline]
            fn deref(&self) -> &D::Connection {
                self.engine.connection(&self.claim)
            }
        }

        impl<D: Driver> DerefMut for $lease {
            #[inline]
            fn deref_mut(&mut self) -> &mut D::Connection {
                self.engine.connection_mut(&mut self.claim)
            }
        }

        impl<D: Driver> Drop for $lease {
            #[inline]
            fn drop(&mut self) {
                if let Some(claim) = self.claim.take() {
                    self.engine.release(claim);
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

guard!("Lease", Lease<'_, D>);
guard!("OwnedLease", OwnedLease<D>);
