//! What the handle of a proxy and its connections share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::seen::Seen;
use super::toxic::{Admission, Direction, End, Toxic};

/// A toxic that has been set.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) id: u64,
    pub(super) toxic: Toxic,
    /// If it strikes once: whether it has not yet.
    unused: Option<Arc<AtomicBool>>,
}

impl Set {
    /// Whether it strikes now.
    pub(super) fn strikes(&self) -> bool {
        self.unused.as_ref().is_none_or(|unused| unused.swap(false, Ordering::AcqRel))
    }
}

/// What the proxy has been told.
#[derive(Clone, Debug)]
pub(super) struct Orders {
    /// Where new connections go.
    pub(super) upstream: SocketAddr,
    toxics: [Vec<Set>; 2],
    ids: u64,
    pub(super) admission: Admission,
    /// How often all connections were cut, and how the last time.
    pub(super) cuts: (u64, End),
    /// How often everything has calmed down.
    pub(super) calms: u64,
    injected: [(u64, Arc<[u8]>); 2],
}

impl Orders {
    pub(super) fn new(upstream: SocketAddr) -> Self {
        let injected = Direction::BOTH.map(|_| (0, Arc::default()));
        let (toxics, cuts) = (Default::default(), (0, End::default()));
        Self { upstream, toxics, ids: 0, admission: Admission::default(), cuts, calms: 0, injected }
    }

    pub(super) fn toxics(&self, direction: Direction) -> &[Set] {
        &self.toxics[direction.index()]
    }

    pub(super) fn has(&self, direction: Direction, kind: impl Fn(&Toxic) -> bool) -> bool {
        self.toxics(direction).iter().any(|set| kind(&set.toxic))
    }

    /// How often something was injected, and what the last time.
    pub(super) fn injected(&self, direction: Direction) -> &(u64, Arc<[u8]>) {
        &self.injected[direction.index()]
    }

    pub(super) fn set(&mut self, direction: Direction, toxic: Toxic, once: bool) {
        self.ids += 1;
        let kind = std::mem::discriminant(&toxic);
        let unused = once.then(|| Arc::new(AtomicBool::new(true)));
        let toxics = &mut self.toxics[direction.index()];
        toxics.retain(|set| std::mem::discriminant(&set.toxic) != kind);
        toxics.push(Set { id: self.ids, toxic, unused });
    }

    pub(super) fn inject(&mut self, direction: Direction, bytes: &[u8]) {
        let (times, last) = &mut self.injected[direction.index()];
        *times += 1;
        *last = bytes.into();
    }

    pub(super) fn clear(&mut self, direction: Direction) {
        self.toxics[direction.index()].clear();
    }
}

/// The middle of a proxy.
#[derive(Debug)]
pub(super) struct Control {
    /// Whether the messages of PostgreSQL are followed.
    pub(super) postgres: bool,
    pub(super) orders: watch::Sender<Orders>,
    pub(super) seen: watch::Sender<Seen>,
}

impl Control {
    pub(super) fn note(&self, what: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(what);
    }

    /// A toxic has struck.
    pub(super) fn struck(&self) {
        self.note(|seen| seen.struck += 1);
    }

    /// Returns once the proxy has been told something of which this holds.
    pub(super) async fn told(&self, what: impl FnMut(&Orders) -> bool) {
        // Cannot fail: the sender is here.
        let _ = self.orders.subscribe().wait_for(what).await;
    }
}
