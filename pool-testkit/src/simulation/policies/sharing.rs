//! Connections that several use at a time.

use std::collections::BTreeSet;
use std::time::Duration;

use pool_core::{AcquireError, ConnectionId, OwnedSharedLease};

use super::super::ensure;
use super::super::model::Checked;
use super::super::scenario::End;
use super::Policy;
use super::stage::Stage;
use super::users::Got;
use crate::fake::{FakeDriver, Part};
use crate::random::Random;

/// Somebody shares a connection.
pub(super) struct Sharer {
    pub(super) id: u64,
    name: ConnectionId,
    lease: OwnedSharedLease<FakeDriver>,
    part: Part,
}

struct Sharing {
    /// How many may share a connection.
    by: usize,
}

pub(super) fn draw(random: &mut Random) -> Box<dyn Policy> {
    Box::new(Sharing { by: random.pick(&[1, 2, 2, 3, 8]) })
}

impl Stage {
    fn try_share(&mut self) -> Checked {
        match self.pool.try_share_owned() {
            Ok(lease) => {
                self.books.acquired += 1;
                self.join(lease);
                Ok(())
            }
            Err(AcquireError::Closed) if self.closed => {
                self.books.refused += 1;
                Ok(())
            }
            Err(AcquireError::Unavailable { .. }) if !self.closed => {
                self.books.shed += 1;
                Ok(())
            }
            Err(error) => Err(format!("one who shares and does not wait: {error}")),
        }
    }

    fn share(&mut self, limit: u64, slow: bool) -> Checked {
        let pool = self.pool.clone();
        let share = async move { pool.share_owned_timeout(Duration::from_millis(limit)).await.map(Got::Part) };
        self.begin(share, limit, slow, true)
    }

    /// Somebody shares a connection from now on. The ledger sees who has it beside him.
    pub(super) fn join(&mut self, lease: OwnedSharedLease<FakeDriver>) {
        let (id, name, part) = (lease.id(), lease.connection_id(), lease.take_part());
        self.sharers.push(Sharer { id, name, lease, part });
    }

    pub(super) fn part(&mut self, place: usize, end: End) {
        let Some(place) = place.checked_rem(self.sharers.len()) else { return };
        let Sharer { lease, part, .. } = self.sharers.remove(place);
        drop(part);
        match end {
            End::Dirty => lease.make_dirty(),
            End::Broken => lease.break_it(),
            End::Discarded => return lease.discard(),
            _ => {}
        }
        drop(lease);
    }

    /// How many connections are in the hands of users, who know it.
    pub(super) fn in_use(&self) -> usize {
        self.held.len() + self.sharers.iter().map(|sharer| sharer.id).collect::<BTreeSet<_>>().len()
    }

    /// Whether the one who has waited for longest shares, as far as that is known.
    fn shares_next(&self) -> bool {
        let waits = || self.waiters.iter().filter(|waiter| waiter.acquire.woken().is_none());
        let known = self.pool.state().waiting == waits().count() && !waits().any(|waiter| waiter.rejoined);
        known && waits().min_by_key(|waiter| waiter.joined).is_some_and(|waiter| waiter.shares)
    }
}

impl Policy for Sharing {
    fn prepare(&mut self, driver: &FakeDriver) {
        driver.share_by(self.by);
    }

    fn act(&mut self, stage: &mut Stage, random: &mut Random) -> Checked {
        match random.below(12) {
            0..5 => return stage.share(random.below(4000) + 1, random.once_in(5)),
            5 => return stage.try_share(),
            6 if !stage.sharers.is_empty() => {
                let place = random.size(stage.sharers.len() as u64);
                stage.pool.evict(stage.sharers[place].name);
            }
            7 => stage.part(random.size(16), random.pick(&[End::Dirty, End::Broken, End::Discarded])),
            _ => stage.part(random.size(16), End::Clean),
        }
        Ok(())
    }

    fn check(&mut self, stage: &mut Stage, _: u64) -> Checked {
        let (seen, users) = (stage.pool.state(), stage.sharers.len());
        let woken = stage.waiters.iter().filter(|waiter| waiter.shares && waiter.acquire.woken().is_some()).count();
        ensure!((users..=users + woken).contains(&seen.users), "{users} share, and {woken} may: {seen:?}");
        ensure!(seen.users <= seen.shared * self.by, "{} may share one: {seen:?}", self.by);
        let forgotten = seen.room > 0 && stage.shares_next() && !stage.paused && !stage.closed;
        ensure!(!forgotten, "somebody waits beside room: {seen:?}");
        Ok(())
    }
}
