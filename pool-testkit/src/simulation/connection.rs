//! What the model knows about one connection.

use pool_core::Config;

use super::clock::{interval_of, millis};

/// Where a connection is, as far as one can see from outside of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the pool: idle, or on its way to a waiter that has not taken it yet.
    Ready,
    /// In somebody's hands.
    Leased,
    /// Being reset.
    Resetting,
    /// Being pinged.
    Pinging,
    /// Being closed.
    Closing,
    /// Not in the pool: closed, or in somebody's hands for good.
    Gone,
}

/// The end of a connection's life: it may leave from the first of these moments on, and has to by the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) from: u64,
    /// From this one on it may be too old.
    pub(super) expires_from: u64,
    pub(super) until: u64,
}

impl Life {
    /// Of a connection that is opened now. The documentation says: up to a tenth is taken off at random, and it may be replaced before.
    fn of(config: &Config, now: u64, lag: u64) -> Option<Self> {
        let lifetime = millis(config.max_lifetime?);
        let most_early = (lifetime / 10).max((50 * config.max_size as u64).min(lifetime / 3));
        let expires_from = (now + lifetime - lifetime / 10).saturating_sub(lag);
        Some(Self { from: expires_from.saturating_sub(most_early), expires_from, until: now + lifetime })
    }
}

/// For how many milliseconds a check is relied on at the most, and a few to notice.
const MOMENT: u64 = 105;

/// One connection. Times are in milliseconds, numbers those of the [sequence](super::clock::Sequence).
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is so or not, whatever the others are
pub(super) struct Connection {
    pub(super) place: Place,
    /// When the attempt to open it began: a number.
    pub(super) begun: u64,
    pub(super) released_at: u64,
    pub(super) checked_at: u64,
    /// How long before that moment the pool may believe that it was released: it looks at a clock that it moves now and then.
    pub(super) slack: u64,
    /// When the last call to the backend for it began.
    pub(super) called_at: u64,
    pub(super) uses: u64,
    pub(super) life: Option<Life>,
    pub(super) dirty: bool,
    pub(super) broken: bool,
    pub(super) worn: bool,
    pub(super) evicted: bool,
}

impl Connection {
    pub(super) fn opened(config: &Config, begun: u64, now: u64, jumped: u64) -> Self {
        let lag = interval_of(config) + jumped;
        Self {
            place: Place::Ready,
            begun,
            released_at: now,
            checked_at: now,
            slack: lag,
            called_at: now,
            uses: 0,
            life: Life::of(config, now, lag),
            dirty: false,
            broken: false,
            worn: false,
            evicted: false,
        }
    }

    /// Whether nobody is to have it any more.
    pub(super) fn is_spoilt(&self) -> bool {
        self.dirty || self.broken || self.worn || self.evicted
    }

    /// Whether the pool counts it, and does not close it.
    pub(super) fn is_live(&self) -> bool {
        !matches!(self.place, Place::Closing | Place::Gone)
    }

    /// Whether those who wait may rely on its check: it has begun no longer ago than a moment.
    pub(super) fn is_promising(&self, now: u64) -> bool {
        self.place == Place::Pinging && now - self.called_at <= MOMENT
    }

    /// How long nobody has used it, at the most.
    pub(super) fn idle_for(&self, now: u64) -> u64 {
        now.saturating_sub(self.released_at) + self.slack
    }

    /// How long nobody has seen it work, at the most.
    pub(super) fn unseen_for(&self, now: u64) -> u64 {
        now.saturating_sub(self.released_at.max(self.checked_at)) + self.slack
    }
}
