//! Those who listen to events: only so many, and none who does not take what he is sent keeps others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many may listen to the events of one [`Status`](super::Status) at once.
const MOST: usize = 64;

/// Whoever has not asked for an event for so long, though there is one each second, has lost his place as soon as somebody else wants it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The places. Locked for a moment by each who listens, once a second; nobody who uses a pool does.
#[derive(Debug, Default)]
pub(super) struct Listeners(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    next: u64,
    /// When each has asked last.
    taken: HashMap<u64, Instant>,
}

impl Listeners {
    /// A place, if one is free, or somebody has one who does not listen.
    pub(super) fn sit(self: &Arc<Self>) -> Option<Place> {
        let now = Instant::now();
        let mut places = self.places();
        if places.taken.len() >= MOST {
            let (&idlest, &asked) = places.taken.iter().min_by_key(|(_, asked)| **asked)?;
            if now.saturating_duration_since(asked) < PATIENCE {
                return None;
            }
            places.taken.remove(&idlest);
        }
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, now);
        Some(Place { of: Arc::clone(self), number })
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one who listens, free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    of: Arc<Listeners>,
    number: u64,
}

impl Place {
    /// He has asked for an event. `false` if somebody else has the place.
    pub(super) fn keep(&self) -> bool {
        let mut places = self.of.places();
        places.taken.get_mut(&self.number).map(|asked| *asked = Instant::now()).is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.places().taken.remove(&self.number);
    }
}
