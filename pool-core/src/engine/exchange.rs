//! Exchange: connections that leave the pool open, and connections that come into it open.

use std::sync::Arc;

use super::{Engine, ensure_janitor};
use crate::driver::Driver;
use crate::error::AdoptError;
use crate::slot::Claim;

impl<D: Driver> Engine<D> {
    /// Takes a connection out of the pool.
    pub(crate) fn detach(&self, claim: Claim<D::Connection>) -> D::Connection {
        self.tasks.forget(self.id(&claim));
        self.core.capacity.leaving();
        let (connection, vacancy) = self.core.table.take(claim);
        self.core.table.publish_closed(vacancy);
        self.core.capacity.closed();
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
    ensure_janitor(engine);
    let reserved = engine.core.capacity.reserve(|_| true);
    // After it is counted: whoever closes the pool finds the connection, or this finds it closed.
    let sight = engine.core.gate().look_after_publishing();
    if !reserved {
        return Err(AdoptError::Full { connection, max_size: engine.core.capacity.read().max });
    }
    if sight.is_closed() {
        engine.core.capacity.open_failed();
        engine.bell.notify_one();
        return Err(AdoptError::Closed { connection });
    }
    let vacancy = engine.vacancy();
    engine.events.adopted.add(1);
    engine.settle_in(vacancy, connection, sight.generation());
    engine.bell.notify_one();
    engine.tell();
    Ok(())
}
