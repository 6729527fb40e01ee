//! What a pool keeps when it closes a connection: its minima, as far as the moment lets it.

use super::connection::Place;
use super::ensure;
use super::model::{Checked, Model};
use super::scenario::{End, Step};

/// So many milliseconds after the last disturbance nothing is left of it.
const A_WHILE: u64 = 3000;

/// Steps after which a pool goes on as before. Not so if somebody gives up who has been handed a connection: that may be one that should have gone long ago.
fn is_quiet(step: &Step) -> bool {
    let of_users = matches!(step, Step::TryAcquire | Step::Acquire { .. } | Step::Look(_));
    of_users || matches!(step, Step::Sleep(_) | Step::Ready(_) | Step::Drain)
}

/// What may be taken away from a pool that works.
#[derive(Debug, Default)]
pub(super) struct Calm {
    /// The last moment at which something was done to the pool that it has to recover from.
    disturbed_at: u64,
    /// The last moment at which somebody gave a connection back: one that may leave first, because it is leased and has to be replaced, may have been granted that until then, and another leaves
    /// in its place.
    returned_at: u64,
    /// Whether the backend may fail, or take its time.
    faulty: bool,
}

impl Calm {
    /// This is going to be done now.
    pub(super) fn note(&mut self, step: &Step, now: u64) {
        match step {
            Step::Fault(..) | Step::Outage(..) | Step::Storm(..) => self.faulty = true,
            Step::Calm => (self.faulty, self.disturbed_at) = (false, now),
            Step::Jump(time) => self.disturbed_at = now + time,
            Step::Release(_, End::Clean | End::Dirty) => self.returned_at = now,
            step if is_quiet(step) => {}
            _ => self.disturbed_at = now,
        }
    }

    fn since_a_while(&self, at: u64) -> bool {
        !self.faulty && at >= self.disturbed_at + A_WHILE
    }
}

impl Model {
    /// A connection that could still be used is closed for these reasons: the minima are there without it.
    pub(super) fn minima_are_kept(&self, id: u64, at: u64, reasons: &[&str]) -> Checked {
        let (size, config) = (self.size(), &self.config);
        let ready = self.count(&[Place::Ready, Place::Resetting, Place::Pinging]);
        let there = ready + self.count(&[Place::Leased]);
        // One that is missing already is no fault of this.
        let (missed, missed_idle) = (there == config.min_size, ready == config.min_idle);
        let needed = (missed || missed_idle) && reasons == ["idle_timed_out"];
        ensure!(!needed, "connection {id} was idle for long, and is needed: {there}, {ready} idle");
        let missed_in_all = missed && size < config.max_size + config.rotation_headroom;
        // One that is due and in use has its replacement among those that are idle.
        let missed_idle = missed_idle && size < config.max_size && self.count_due_in_use(at) == 0;
        let early = self.leaves_for_another(reasons, at) && (missed_in_all || missed_idle);
        let text = "was closed before another was there, with room for it";
        ensure!(!early, "connection {id} {text}: {there} of {size}, {ready} idle");
        self.nobody_leaves_early_in_a_pause(id, at, reasons, missed)
    }

    fn nobody_leaves_early_in_a_pause(&self, id: u64, at: u64, reasons: &[&str], missed: bool) -> Checked {
        let too_early = missed && reasons == ["expired"] && self.is_paused_before_the_end(id, at);
        ensure!(!too_early, "connection {id} was closed in a pause before its time");
        Ok(())
    }

    fn leaves_for_another(&self, reasons: &[&str], at: u64) -> bool {
        !reasons.is_empty() && reasons.iter().all(|reason| self.leaves_in_time(reason, at))
    }

    fn is_paused_before_the_end(&self, id: u64, at: u64) -> bool {
        let life = self.connections.get(&id).and_then(|connection| connection.life);
        self.paused && self.calm.since_a_while(at) && life.is_some_and(|life| at < life.expires_from)
    }

    /// Whether a connection is replaced first that is to leave for this reason, by a pool that is not held up.
    fn leaves_in_time(&self, reason: &str, at: u64) -> bool {
        let undisturbed = !self.paused && !self.closed && self.calm.since_a_while(at) && at > self.calm.returned_at;
        let in_time = reason == "expired" || reason == "worn" && self.config.max_uses > Some(1);
        undisturbed && in_time && self.config.opener_interval.is_none()
    }
}
