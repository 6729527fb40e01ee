//! What the fake backend saw, counted on its own side and not by the pool.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pool_core::Stats;
use tokio::time::Instant;

use super::journal::{Entry, Event};

/// Whether others may join who share a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Door {
    /// They may.
    #[default]
    Open,
    /// They may not.
    Shut,
    /// To ask panics, and so does to ask how many may.
    Broken,
}

impl Door {
    pub(super) fn is_open(self) -> bool {
        assert_ne!(self, Self::Broken, "the door is broken");
        self == Self::Open
    }
}

/// The books. Violations are written down instead of panicking: the pool would catch the panic.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) limit: Option<usize>,
    /// How many may share a connection.
    pub(super) shared_by: u64,
    pub(super) door: Door,
    pub(super) connecting: usize,
    pub(super) live: HashSet<u64>,
    pub(super) peak: usize,
    pub(super) opened: u64,
    pub(super) closed: u64,
    pub(super) violations: Vec<String>,
    journal: Option<Vec<Entry>>,
}

impl Books {
    pub(super) fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    pub(super) fn note_peak(&mut self) {
        let now = self.connecting + self.live.len();
        self.peak = self.peak.max(now);
        if let Some(limit) = self.limit.filter(|limit| now > *limit) {
            self.violation(format!("{now} connections at once, {limit} are allowed"));
        }
    }
}

/// A view of the books, shared with the driver and its connections.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Books>>);

impl Ledger {
    pub(super) fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a journal from now on.
    pub fn keep_journal(&self) {
        self.books().journal.get_or_insert_default();
    }

    /// What has happened since this was asked last. Nothing if no journal is [kept](Self::keep_journal).
    pub fn take_journal(&self) -> Vec<Entry> {
        self.books().journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(crate) fn note(&self, event: Event) {
        if let Some(journal) = &mut self.books().journal {
            journal.push(Entry { at: Instant::now(), event });
        }
    }

    /// What must not have happened and did.
    pub fn violations(&self) -> Vec<String> {
        self.books().violations.clone()
    }

    /// Connections opened so far.
    pub fn opened(&self) -> u64 {
        self.books().opened
    }

    /// Connections closed so far.
    pub fn closed(&self) -> u64 {
        self.books().closed
    }

    /// Connections open now.
    pub fn live(&self) -> usize {
        self.books().live.len()
    }

    /// The most connections that were open or being opened at the same time.
    pub fn peak(&self) -> usize {
        self.books().peak
    }

    /// Checks everything that holds at any time: nobody shared a connection (I2), there were never too many (I1), opened = closed + live.
    ///
    /// # Panics
    ///
    /// If something did not hold, with all of it.
    pub fn check(&self) {
        let books = self.books();
        assert!(books.violations.is_empty(), "the fake backend saw: {:#?}", books.violations);
        assert_eq!(books.opened, books.closed + books.live.len() as u64, "opened = closed + live");
    }

    /// Checks the books and compares them with what a pool at rest says.
    ///
    /// # Panics
    ///
    /// If something did not hold or the pool says something else.
    pub fn settle(&self, stats: &Stats) {
        self.check();
        let books = self.books();
        assert_eq!((stats.opened, stats.closed), (books.opened, books.closed), "the pool and the backend disagree");
        assert_eq!(stats.state.size, books.live.len() + books.connecting, "slots in use and connections that exist");
    }
}
