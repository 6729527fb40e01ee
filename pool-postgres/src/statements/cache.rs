//! The statements that one connection has prepared.

use std::cell::Cell;
use std::num::NonZeroUsize;

use lru::LruCache;
use tokio_postgres::Statement;

/// A statement that is prepared, and how often it has been used.
#[derive(Debug)]
struct Entry {
    statement: Statement,
    uses: Cell<u64>,
}

impl Entry {
    fn found(&self) -> Found {
        let uses = self.uses.get() + 1;
        self.uses.set(uses);
        let news = uses.is_power_of_two().then(|| (uses / 2).max(1));
        Found::Prepared { statement: self.statement.clone(), news }
    }
}

/// The statements that one connection has prepared, and how often it has been asked for others. What makes room is closed on the server.
#[derive(Debug)]
pub(super) struct Cache {
    /// `None`: none is kept.
    prepared: Option<LruCache<Box<str>, Entry>>,
    /// Those that have not been used often enough to be prepared.
    seen: Option<LruCache<Box<str>, u32>>,
}

/// What to do with a statement.
#[derive(Debug)]
pub(super) enum Found {
    Prepared {
        statement: Statement,
        /// How many uses are to be told to the others.
        news: Option<u64>,
    },
    /// It is time to prepare it.
    Due,
    /// It is not worth that yet.
    Rare,
}

impl Cache {
    pub(super) fn new(capacity: usize, prepare_after: u32) -> Self {
        let capacity = NonZeroUsize::new(capacity);
        let seen = capacity.filter(|_| prepare_after > 1);
        Self { prepared: capacity.map(LruCache::new), seen: seen.map(LruCache::new) }
    }

    /// Somebody wants to execute a statement.
    pub(super) fn find(&mut self, key: &str, prepare_after: u32) -> Found {
        let Some(prepared) = &mut self.prepared else { return Found::Rare };
        // The last one again, for which nothing has to be looked up or moved to the front.
        if let Some((_, entry)) = prepared.peek_mru().filter(|(last, _)| ***last == *key) {
            return entry.found();
        }
        if let Some(entry) = prepared.get(key) {
            return entry.found();
        }
        let Some(seen) = &mut self.seen else { return Found::Due };
        let uses = seen.get(key).copied().unwrap_or(0) + 1;
        if uses < prepare_after {
            drop(seen.push(key.into(), uses));
            return Found::Rare;
        }
        Found::Due
    }

    /// A statement has been prepared. The one that makes room for it, if there is one: it is to be dropped without the lock, since that writes to the server.
    pub(super) fn keep(&mut self, key: &str, statement: Statement) -> Option<Statement> {
        if let Some(seen) = &mut self.seen {
            seen.pop(key);
        }
        let entry = Entry { statement, uses: Cell::new(0) };
        let (_, gone) = self.prepared.as_mut()?.push(key.into(), entry)?;
        Some(gone.statement)
    }

    /// A statement is of no use any more. As above.
    pub(super) fn forget(&mut self, key: &str) -> Option<Statement> {
        self.prepared.as_mut()?.pop(key).map(|entry| entry.statement)
    }

    /// None is of any use any more. As above.
    pub(super) fn forget_all(&mut self) -> Vec<Statement> {
        let all = self.prepared.as_mut().map(|prepared| {
            std::iter::from_fn(|| prepared.pop_lru()).map(|(_, entry)| entry.statement).collect::<Vec<_>>()
        });
        all.unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        self.prepared.as_ref().map_or(0, LruCache::len)
    }
}
