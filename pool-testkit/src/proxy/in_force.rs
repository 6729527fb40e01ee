//! The toxics of one direction of one connection, with what they count.

use std::collections::BTreeMap;
use std::time::Duration;

use super::control::{Control, Set};
use super::frame::Frame;
use super::toxic::{End, Place, Toxic};
use crate::random::Random;

/// Bytes that pass together, and whether the connection ends after them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) end: Option<End>,
}

/// A toxic at work.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) set: Set,
    bytes: u64,
    frames: BTreeMap<u8, u64>,
    random: Random,
}

impl InForce {
    pub(super) fn new(set: Set, connection: u64) -> Self {
        let seed = if let Toxic::Delay { seed, .. } = set.toxic { seed } else { 0 };
        let mut random = Random::new(seed ^ connection.rotate_left(32));
        Self { set, bytes: 0, frames: BTreeMap::new(), random: random.split() }
    }

    /// How much later bytes arrive that pass now.
    pub(super) fn delay(&mut self) -> Duration {
        let Toxic::Delay { time, jitter, .. } = self.set.toxic else { return Duration::ZERO };
        let most = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX).saturating_add(1);
        time + Duration::from_nanos(self.random.below(most))
    }

    /// A message passes.
    pub(super) fn on_frame(&mut self, frame: &Frame, passing: &mut Passing, control: &Control) {
        let number = self.frames.entry(frame.kind()).or_default();
        *number += 1;
        match &self.set.toxic {
            Toxic::CutAt { kind, nth, place, end }
                if (*kind, *nth) == (frame.kind(), *number) && self.set.strikes() =>
            {
                passing.end = Some((*place, *end));
            }
            Toxic::Edit(editor) => {
                let edited = editor(&frame.clone().numbered(*number));
                if edited != frame.bytes() && self.set.strikes() {
                    passing.bytes = edited;
                    control.struck();
                }
            }
            _ => {}
        }
    }

    /// Bytes pass.
    pub(super) fn on_bytes(&mut self, batch: &mut Batch, control: &Control) {
        let place = |offset: u64| usize::try_from(offset.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let length = batch.bytes.len();
        match self.set.toxic {
            Toxic::CutAfter { bytes, end } if place(bytes) <= length && self.set.strikes() => {
                batch.bytes.truncate(place(bytes));
                batch.end = Some(end);
            }
            Toxic::Flip { offset, mask } if offset >= self.bytes && place(offset) < length && self.set.strikes() => {
                batch.bytes[place(offset)] ^= mask;
                control.struck();
            }
            _ => {}
        }
        self.bytes += length as u64;
    }
}

/// A message on its way, and where the connection ends if it does.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) bytes: Vec<u8>,
    pub(super) end: Option<(Place, End)>,
}

impl Passing {
    pub(super) fn join(self, batch: &mut Batch) {
        if !matches!(self.end, Some((Place::Before, _))) {
            batch.bytes.extend(self.bytes);
        }
        batch.end = self.end.map(|(_, end)| end);
    }
}
