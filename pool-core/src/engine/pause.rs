//! Pause: those who ask for a connection wait, and what is given back rests, until somebody resumes.

use std::sync::Arc;

use super::Engine;
use super::changes::watch;
use crate::driver::Driver;

impl<D: Driver> Engine<D> {
    pub(crate) fn pause(&self) {
        let was_paused = self.core.gate().glance().is_paused();
        self.core.gate().pause();
        self.lose_sight();
        if !was_paused {
            self.write_down("control", &"the pool has been paused");
        }
        self.tell();
    }

    pub(crate) fn resume(&self) {
        if self.core.gate().glance().is_paused() {
            self.lose_sight();
        }
        let resumed = self.core.resume(|claim| self.serve(claim));
        self.admit();
        if resumed {
            self.write_down("control", &"the pool has been resumed");
            // The attempts that failed are from before.
            self.fresh_starts.add(1);
            self.bell.notify_one();
            self.tell();
        }
    }
}

/// Waits until no connection is leased. `false` if the pool is not paused any more, or never was.
pub(crate) async fn drained<D: Driver>(engine: &Arc<Engine<D>>) -> bool {
    watch(engine, || {
        if !engine.core.gate().drain() {
            return Some(false);
        }
        // Nor gets anybody one who passed the gate before the pause.
        engine.core.table.nobody_has_one().then_some(true)
    })
    .await
}
