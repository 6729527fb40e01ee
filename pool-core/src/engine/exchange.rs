//! Exchange: connections that leave the pool open, and connections that come into it open.

use std::sync::Arc;

use super::release::Occasion;
use super::{Engine, ensure_janitor};
use crate::driver::Driver;
use crate::error::AdoptError;
use crate::slot::Claim;

impl<D: Driver> Engine<D> {
    /// Takes a connection out of the pool.
    pub(crate) fn detach(&self, claim: Claim<D::Connection>) -> D::Connection {
        self.time_lease(self.core.table.facts(&claim));
        self.tasks.forget_for_good(self.id(&claim));
        self.forget(&claim);
        self.core.capacity.leaving();
        let (connection, vacancy) = self.core.table.take(claim);
        self.core.table.publish_closed(vacancy);
        self.end_leaving();
        self.events.detached.add(1);
        // There is room now, and a closing pool may be done.
        self.bell.notify_one();
        self.tell();
        connection
    }
}

/// Puts a connection into the pool that somebody else has opened.
pub(crate) fn adopt<D: Driver>(
    engine: &Arc<Engine<D>>,
    connection: D::Connection,
) -> Result<(), AdoptError<D::Connection>> {
    let has_room = engine.core.capacity.reserve(|_| true);
    // One that others wait for is not taken for this, unless it is guaranteed.
    let reserved = has_room && engine.take_share(false);
    if has_room && !reserved {
        engine.core.capacity.open_failed();
    }
    // After it is counted: whoever closes the pool finds the connection, or this finds it closed.
    let sight = engine.core.gate().look_after_publishing();
    if sight.is_closed() {
        if reserved {
            engine.give_up_opening();
            engine.bell.notify_one();
        }
        return Err(AdoptError::Closed { connection });
    }
    if has_room && !reserved {
        return Err(AdoptError::Budget { connection });
    }
    if !reserved {
        return Err(AdoptError::Full { connection, max_size: engine.core.capacity.read().max });
    }
    let vacancy = engine.vacancy();
    engine.events.adopted.add(1);
    let mut claim = engine.settle_in(vacancy, connection, sight.generation());
    // Nobody knows in what state it comes.
    let condition = engine.condition(&mut claim, Occasion::Round);
    engine.set_aside(claim, condition);
    engine.end_opening();
    engine.bell.notify_one();
    engine.tell();
    // The last step, as it may panic: the connection is in the pool.
    ensure_janitor(engine);
    Ok(())
}
