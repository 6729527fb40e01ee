//! How statements get to the server: prepared once for each connection, or with their text each time.

mod ask;
mod cache;
mod describe;
mod knowledge;
mod prepare;
mod run;
mod settings;
mod stats;
mod warm;

pub(crate) use ask::{All, Ask, Count, One, Optional, Params};
pub(crate) use knowledge::Knowledge;
pub(crate) use prepare::prepare_as;
pub(crate) use run::{Ready, forget_stale, is_outdated, note_healed, ready, run, run_batch};
pub(crate) use settings::{CACHE, PREPARE_AFTER, WARM};
pub use settings::{StatementMode, StatementSettings};
pub use stats::StatementStats;
pub(crate) use warm::warm;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_postgres::Statement;
use tokio_postgres::types::Type;

use crate::connection::PostgresConnection;
use crate::limits::{Counters, Item};
use crate::query::{Query, QueryError};
use cache::{Cache, Found};

/// The statements of one connection.
#[derive(Debug)]
pub(crate) struct Statements {
    settings: StatementSettings,
    knowledge: Arc<Knowledge>,
    counters: Arc<Counters>,
    /// Held for a look into it, and never while anything is sent.
    cache: Mutex<Cache>,
}

/// In which way a statement is executed.
enum Way {
    /// It is prepared.
    Prepared(Statement),
    /// It is to be prepared, and kept.
    Prepare,
    /// With its text and these types.
    Typed(Arc<[Type]>),
    /// With its text, once its types are known.
    Describe,
}

impl Statements {
    pub(crate) fn new(settings: &StatementSettings, knowledge: &Arc<Knowledge>, counters: Arc<Counters>) -> Self {
        let capacity = if settings.mode == StatementMode::Prepared { settings.cache } else { 0 };
        let cache = Mutex::new(Cache::new(capacity, settings.prepare_after));
        Self { settings: settings.clone(), knowledge: Arc::clone(knowledge), counters, cache }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is kept, and counts that. What is of no use any more is dropped without the lock.
    fn change<T>(&self, change: impl FnOnce(&mut Cache) -> T) -> T {
        let mut cache = self.cache();
        let gone = change(&mut cache);
        self.counters.keep(cache.len());
        gone
    }

    /// Whether what is prepared may be gone at the next statement, since another server answers that.
    pub(crate) fn is_proxied(&self) -> bool {
        self.settings.mode == StatementMode::Unprepared
    }

    fn way(&self, query: &Query<'_>) -> Way {
        if query.is_unprepared() {
            return self.unprepared(query);
        }
        let key = key(query);
        let found = self.cache().find(&key, self.settings.prepare_after);
        match found {
            Found::Prepared { statement, news } => {
                self.counters.add(Item::Hits);
                if let Some(uses) = news {
                    self.knowledge.note_uses(&key, uses);
                }
                Way::Prepared(statement)
            }
            Found::Due => Way::Prepare,
            Found::Rare => self.unprepared(query),
        }
    }

    fn unprepared(&self, query: &Query<'_>) -> Way {
        // A client that does not know the type of a column asks for it in the middle of the answer, and may wait for ever.
        let Some(known) = self.knowledge.types(query.sql()) else { return Way::Describe };
        Way::Typed(query.types().map_or(known, Into::into))
    }

    /// A statement has been prepared, and is kept.
    fn keep(&self, query: &Query<'_>, statement: &Statement) {
        let key = key(query);
        self.knowledge.counts.prepared.add(1);
        if query.types().is_none() && query.terms.tags().is_empty() {
            self.knowledge.learn(&key, statement.params(), is_plain(statement));
        }
        let gone = self.change(|cache| cache.keep(&key, statement.clone()));
        self.knowledge.counts.evicted.add(u64::from(gone.is_some()));
    }

    /// What is prepared or known of a statement is wrong.
    pub(crate) fn forget(&self, query: &Query<'_>) {
        self.knowledge.forget(query.sql());
        let gone = self.change(|cache| cache.forget(&key(query)));
        drop(gone);
    }

    /// The server does not know what was prepared: everything else is gone, too.
    fn forget_all(&self) {
        let gone = self.change(Cache::forget_all);
        drop(gone);
    }
}

/// Whether all columns have types that every client knows.
fn is_plain(statement: &Statement) -> bool {
    statement.columns().iter().all(|column| Type::from_oid(column.type_().oid()).is_some())
}

/// By what a statement is found: its text, and the types of its parameters and the tags if they are said.
pub(crate) fn key<'a>(query: &'a Query<'_>) -> Cow<'a, str> {
    let tags = query.terms.tags();
    if query.types().is_none() && tags.is_empty() {
        return Cow::Borrowed(query.sql());
    }
    let types: Vec<_> = query.types().unwrap_or_default().iter().map(Type::oid).collect();
    // No statement has a zero in it.
    Cow::Owned(format!("{}\0{types:?}\0{tags:?}", query.sql()))
}

impl PostgresConnection {
    /// The statement as this connection has it prepared, for the methods of [`tokio_postgres::Client`]: prepared at the first use and kept, as far as the [settings](StatementSettings) have it.
    ///
    /// It is one of those that make room for others: whoever executes it later than the next calls here may have to ask again, and gets an error that it does not exist if somebody has had the server
    /// forget all of them. The [queries](crate::Queries) of this crate see to that by themselves.
    ///
    /// Cancel safety: nothing is lost; it may be prepared in vain, and is forgotten when the connection comes back to its pool, unless it cannot be told from others or a proxy stands in between.
    ///
    /// # Errors
    ///
    /// [`QueryError`] if the server refuses it, or the connection has ended.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn name(lease: &pool_postgres::PostgresLease<'_>, id: i64) -> Result<String, Box<dyn std::error::Error>> {
    /// let statement = lease.prepare_cached("SELECT name FROM account WHERE id = $1").await?;
    /// Ok(lease.query_one(&statement, &[&id]).await?.get(0))
    /// # }
    /// ```
    pub async fn prepare_cached<'q>(&self, query: impl Into<Query<'q>> + Send) -> Result<Statement, QueryError> {
        let query = query.into();
        // Owned across the await: nothing.
        run::statement(self, &query).await
    }

    /// How many statements it keeps prepared.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn count(pool: &pool_postgres::PostgresPool) -> Result<usize, pool_postgres::pool_core::AcquireError> {
    /// Ok(pool.acquire().await?.prepared_statements())
    /// # }
    /// ```
    pub fn prepared_statements(&self) -> usize {
        self.statements().cache().len()
    }
}
