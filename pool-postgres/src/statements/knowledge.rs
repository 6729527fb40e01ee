//! What all connections of a pool know of statements together.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio_postgres::types::Type;

use super::stats::{Counts, StatementStats};
use crate::limits::{Item, Totals};

/// What is known of a statement.
#[derive(Debug)]
struct Known {
    types: Arc<[Type]>,
    /// Whether all columns have types that every client knows.
    is_plain: bool,
    /// How often it has been used, on all connections together: a connection tells when it has done so twice as often as when it last told.
    uses: u64,
}

/// What all connections of a pool know of statements together: the types of their parameters, and how much they are used.
#[derive(Debug)]
pub(crate) struct Knowledge {
    known: Mutex<LruCache<Box<str>, Known>>,
    pub(super) counts: Counts,
}

impl Knowledge {
    /// Of so many statements at most, and of one at least.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self { known: Mutex::new(LruCache::new(capacity)), counts: Counts::default() }
    }

    fn known(&self) -> MutexGuard<'_, LruCache<Box<str>, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The types of a statement's parameters, if they are known and no type of a column has to be asked for.
    pub(super) fn types(&self, sql: &str) -> Option<Arc<[Type]>> {
        self.known().get(sql).filter(|known| known.is_plain).map(|known| Arc::clone(&known.types))
    }

    /// Whether the types of a statement's parameters are known, as for [`types`](Self::types), and are so many.
    pub(crate) fn has_types(&self, sql: &str, count: usize) -> bool {
        self.known().peek(sql).is_some_and(|known| known.is_plain && known.types.len() == count)
    }

    /// A statement has been prepared somewhere, with parameters of these types.
    pub(super) fn learn(&self, sql: &str, types: &[Type], is_plain: bool) {
        let mut known = self.known();
        if let Some(known) = known.get_mut(sql) {
            known.is_plain = is_plain;
            if *known.types != *types {
                known.types = types.into();
            }
        } else {
            drop(known.push(sql.into(), Known { types: types.into(), is_plain, uses: 0 }));
        }
    }

    /// What is known of a statement is wrong.
    pub(super) fn forget(&self, sql: &str) {
        drop(self.known().pop(sql));
    }

    /// A statement has been used so often more.
    pub(super) fn note_uses(&self, sql: &str, uses: u64) {
        if let Some(known) = self.known().get_mut(sql) {
            known.uses = known.uses.saturating_add(uses);
        }
    }

    /// The statements that are used most.
    pub(super) fn hottest(&self, count: usize) -> Vec<Box<str>> {
        let known = self.known();
        // Those that nobody has prepared to use again are not worth it.
        let used = known.iter().filter(|(_, known)| known.uses > 0);
        let mut all: Vec<_> = used.map(|(sql, known)| (known.uses, sql)).collect();
        all.sort_by(|a, b| b.cmp(a));
        all.into_iter().take(count).map(|(_, sql)| sql.clone()).collect()
    }

    /// What has become of statements so far; hits are counted with each connection.
    pub(crate) fn stats(&self, totals: &Totals) -> StatementStats {
        self.counts.snapshot(totals.items[Item::Hits as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_most_comes_first() {
        let knowledge = Knowledge::new(3);
        for (sql, uses) in [("a", 1), ("b", 5), ("c", 3)] {
            knowledge.learn(sql, &[Type::INT4], true);
            knowledge.note_uses(sql, uses);
        }
        assert_eq!(knowledge.hottest(2), ["b".into(), "c".into()]);
        assert_eq!(knowledge.types("a").as_deref(), Some(&[Type::INT4][..]));
        knowledge.learn("d", &[], true);
        assert_eq!(knowledge.types("b"), None, "no more than so many are known");
        knowledge.learn("c", &[Type::INT8], true);
        assert_eq!(knowledge.types("c").as_deref(), Some(&[Type::INT8][..]), "what is newer counts");
        assert_eq!(knowledge.hottest(1), ["c".into()], "and how much it is used stays");
        knowledge.learn("c", &[Type::INT8], false);
        assert_eq!(knowledge.types("c"), None, "a type is to be asked for");
        knowledge.forget("c");
        assert_eq!(knowledge.types("c"), None);
    }
}
