//! A connection to nowhere that notices when two parties use it at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pool_core::{Aborter, Tag};

use super::journal::Event;
use super::ledger::Ledger;

/// One connection. Dropping it closes it, and the ledger knows.
#[derive(Debug)]
pub struct FakeConnection {
    id: u64,
    ledger: Ledger,
    in_hand: Arc<AtomicBool>,
    /// How many use it together.
    users: Arc<AtomicU64>,
    dirty: AtomicBool,
    broken: Arc<AtomicBool>,
    host: Option<String>,
    inspections_left: AtomicU64,
    converted: Mutex<BTreeMap<String, String>>,
}

impl FakeConnection {
    pub(super) fn open(id: u64, ledger: Ledger, inspections_left: u64, host: Option<String>) -> Self {
        {
            let mut books = ledger.books();
            books.opened += 1;
            if !books.live.insert(id) {
                books.violation(format!("connection {id} opened twice"));
            }
            books.note_peak();
        }
        ledger.note(Event::Opened(id));
        Self {
            id,
            ledger,
            in_hand: Arc::default(),
            users: Arc::default(),
            dirty: AtomicBool::new(false),
            broken: Arc::default(),
            host,
            inspections_left: AtomicU64::new(inspections_left),
            converted: Mutex::default(),
        }
    }

    /// Counts up from 0 with each connection the driver opens.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Leaves something behind in the session, so that it needs a reset.
    pub fn make_dirty(&self) {
        self.dirty.store(true, Ordering::SeqCst);
    }

    /// Breaks the connection, as a backend that goes away does.
    pub fn break_it(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    /// Whether it has been broken, by its user or by the pool that aborted it.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    pub(super) fn convert(&self, wanted: &Tag) {
        let mut converted = self.converted.lock().unwrap_or_else(PoisonError::into_inner);
        converted.insert(wanted.name().to_owned(), wanted.value().to_owned());
    }

    /// What it was converted to last, under this name.
    pub fn converted(&self, name: &str) -> Option<String> {
        self.converted.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    pub(super) fn aborter(&self) -> Aborter {
        let broken = Arc::clone(&self.broken);
        Box::new(move || broken.store(true, Ordering::SeqCst))
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::SeqCst)
    }

    pub(super) fn clean(&self) {
        self.dirty.store(false, Ordering::SeqCst);
    }

    /// Whether it works no more. Counts as one of the inspections after which it breaks.
    pub(super) fn wear(&self) -> bool {
        let spend = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(1));
        let left = self.inspections_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend);
        self.is_broken() || left == Ok(0)
    }

    /// Uses the connection until the guard is dropped. A second user at the same time is a violation in the ledger.
    pub fn take_in_hand(&self) -> InHand {
        if self.in_hand.swap(true, Ordering::SeqCst) || self.users.load(Ordering::SeqCst) > 0 {
            self.ledger.books().violation(format!("connection {} was in two hands", self.id));
        }
        InHand(Arc::clone(&self.in_hand))
    }

    /// Uses the connection together with others until the guard is dropped. More users than the driver [allows](super::FakeDriver::share_by), or one that has it
    /// [in hand](Self::take_in_hand), are a violation in the ledger.
    pub fn take_part(&self) -> Part {
        let users = self.users.fetch_add(1, Ordering::SeqCst) + 1;
        let mut books = self.ledger.books();
        if self.in_hand.load(Ordering::SeqCst) {
            books.violation(format!("connection {} was shared while somebody had it in hand", self.id));
        }
        if users > books.shared_by.max(1) {
            books.violation(format!("connection {} was shared by {users}", self.id));
        }
        Part(Arc::clone(&self.users))
    }
}

impl Drop for FakeConnection {
    fn drop(&mut self) {
        self.ledger.note(Event::Closed(self.id));
        let used = self.in_hand.load(Ordering::SeqCst) || self.users.load(Ordering::SeqCst) > 0;
        let mut books = self.ledger.books();
        books.closed += 1;
        if !books.live.remove(&self.id) {
            books.violation(format!("connection {} closed twice", self.id));
        }
        if used {
            books.violation(format!("connection {} closed in somebody's hand", self.id));
        }
    }
}

/// Somebody uses a connection.
#[derive(Debug)]
#[must_use = "the use ends when this is dropped"]
pub struct InHand(Arc<AtomicBool>);

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Somebody uses a connection together with others.
#[derive(Debug)]
#[must_use = "the use ends when this is dropped"]
pub struct Part(Arc<AtomicU64>);

impl Drop for Part {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
