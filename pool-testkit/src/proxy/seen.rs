//! What a proxy has seen.

use std::collections::{BTreeMap, BTreeSet};

use super::toxic::{Admission, Direction};

/// `ReadyForQuery`.
const READY: u8 = b'Z';

/// What has happened so far.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Seen {
    /// Connections that have been accepted, whatever became of them.
    pub accepted: u64,
    /// How often a toxic has changed the course of things: a connection was cut, a byte flipped, a message edited, or something lost for the first time on a connection.
    pub struck: u64,
    /// The most connections at a time that both sides had, and on which the server had not yet said that it is ready, as it does when it has let somebody in; with
    /// [`Proxy::postgres`](super::Proxy::postgres) alone.
    pub most_opening: usize,
    pub(super) bytes: [u64; 2],
    pub(super) frames: [BTreeMap<u8, u64>; 2],
    /// Connections of which both sides are there, by their number, with the port from which the proxy speaks to the server.
    pub(super) live: BTreeMap<u64, u16>,
    /// Of these, connections on which the server has not said that it is ready.
    pub(super) opening: BTreeSet<u64>,
    pub(super) admission: Admission,
}

impl Seen {
    /// A connection has both its sides now.
    pub(super) fn came(&mut self, number: u64, port: u16) {
        self.live.insert(number, port);
        self.opening.insert(number);
        self.most_opening = self.most_opening.max(self.opening.len());
    }

    /// A connection has one of them no longer.
    pub(super) fn gone(&mut self, number: u64) {
        self.live.remove(&number);
        self.opening.remove(&number);
    }

    /// A message has come to the proxy.
    pub(super) fn passes(&mut self, number: u64, direction: Direction, kind: u8) {
        *self.frames[direction.index()].entry(kind).or_default() += 1;
        if direction == Direction::ToClient && kind == READY {
            self.opening.remove(&number);
        }
    }

    /// How many connections have both their sides, and have not been cut.
    pub fn open(&self) -> usize {
        self.live.len()
    }

    /// The ports from which the proxy speaks to the server for connections that are [open](Self::open).
    pub fn ports(&self) -> BTreeSet<u16> {
        self.live.values().copied().collect()
    }

    /// How many bytes have been passed on, over all connections.
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.bytes[direction.index()]
    }

    /// How many messages of this type have come to the proxy, over all connections; with [`Proxy::postgres`](super::Proxy::postgres) alone.
    pub fn frames(&self, direction: Direction, kind: u8) -> u64 {
        self.frames[direction.index()].get(&kind).copied().unwrap_or(0)
    }
}
