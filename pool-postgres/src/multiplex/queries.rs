//! Whom one asks.

use std::panic::Location;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::params::{Careful, Caught};
use super::place::Place;
use super::refused::{check, many_statements};
use crate::limits::limited;
use crate::pool::PostgresPool;
use crate::query::{Queries, Query, QueryError};
use crate::statements::{All, Ask, Count, One, Optional, Params, StatementMode, run};

/// How often a query is sent at most whose connection has ended before it was.
const TRIES: u32 = 16;

/// The line that asks.
pub(super) type At = &'static Location<'static>;

/// Asks on connections that others use at the same time: many callers on few connections. Made by [`PostgresPool::multiplexed`].
///
/// The server answers what it is asked on a connection one after the other, and whoever asks need not wait until the connection is his: queries are sent behind each other, and those that are asked together leave together. So a few connections
/// serve hundreds of callers, and the way to the server costs each of them once, however many there are.
///
/// **What may be asked** leaves nothing behind in the session: `SELECT`, `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `WITH`, `VALUES`, `TABLE`, `SHOW`, `EXPLAIN` and `NOTIFY`, each a transaction of its own. Anything else, as well as a function that is known to change the session such as
/// `set_config` or `pg_advisory_lock`, is refused before it is sent, by an error that says what has a connection for it ([`NeedsSession`](crate::NeedsSession)); or it gets a connection of its own if this is [`adaptive`](Self::adaptive). What a function changes all the same, and the server
/// reports or the name of a command tells, is undone when all have left the connection, and nobody new comes to it before that. What neither tells, such as a parameter of your own that a function sets for the session, others see: functions that do that are for a connection of one's own. The [policies](crate::ReleaseMode) that undo more than what is seen do
/// so when the last user has left, and not between those who share.
///
/// **Who waits for whom**: a query waits for those that were sent before it on its connection. It is sent on the connection with the fewest, and never on one where the server has been at one query for longer than [`apart_after`](crate::Multiplexing::apart_after). A statement that takes so long is
/// found out and kept apart from then on: nothing is sent behind it, and half of the connections at most are for such statements. Whoever asks has to take his answer: a future that is polled no more while a large
/// result comes holds up those behind it until it is dropped.
///
/// **What is cancelled**: a query whose future is dropped, or that takes longer than its [limit](crate::Limits::query_timeout), is cancelled on the server if it alone is under way on its connection; nothing is sent there until that is through. It may come to that when those before it have been answered, but if something
/// has been sent behind it, it goes on: nobody else is hit, ever.
///
/// **Failures**: an error that the server reports is about one query. When a connection ends, each of its callers gets an error of his own. What was not sent is sent on another connection, and nobody notices; what was sent fails, and [`QueryError::outcome`] says whether it may have been done.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::{PostgresPool, QueryError};
///
/// # async fn ask(pool: &PostgresPool) -> Result<(), QueryError> {
/// let database = pool.multiplexed();
/// let (firing, resolved) = tokio::try_join!(
///     database.query_one("SELECT count(*) FROM alert WHERE status = $1", &[&"firing"]),
///     database.query_one("SELECT count(*) FROM alert WHERE status = $1", &[&"resolved"]),
/// )?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is asked something"]
pub struct Multiplexed {
    pool: PostgresPool,
    is_adaptive: bool,
}

impl PostgresPool {
    /// For queries on connections that others use at the same time.
    ///
    /// Up to [`max_in_flight`](crate::Multiplexing::max_in_flight) callers use a connection. They wait in one line with those who acquire one for themselves. The pool opens another connection when more than half of the places of all are taken; one that should
    /// spread its callers from the beginning has a [`min_size`](pool_core::Config::min_size).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn count(pool: &pool_postgres::PostgresPool) -> Result<i64, pool_postgres::QueryError> {
    /// Ok(pool.multiplexed().query_one("SELECT count(*) FROM alert", &[]).await?.get(0))
    /// # }
    /// ```
    pub fn multiplexed(&self) -> Multiplexed {
        Multiplexed { pool: self.clone(), is_adaptive: false }
    }
}

impl Multiplexed {
    /// As it is, with a connection of its own for what cannot be asked on a shared one, instead of an error: as [`PostgresPool::execute`] and its kin do. What it changes in the session is undone afterwards.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn work(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// let database = pool.multiplexed().adaptive();
    /// database.execute("UPDATE alert SET status = 'resolved' WHERE id = $1", &[&7_i64]).await?; // beside others
    /// database.execute("REFRESH MATERIALIZED VIEW alerts_by_day", &[]).await?; // by itself
    /// # Ok(())
    /// # }
    /// ```
    pub fn adaptive(self) -> Self {
        Self { is_adaptive: true, ..self }
    }

    /// The statements that are kept apart for now, since they take long. They are shown as they are, with their literals.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn show(pool: &pool_postgres::PostgresPool) {
    /// for sql in pool.multiplexed().kept_apart() {
    ///     println!("nothing is sent behind {sql}");
    /// }
    /// # }
    /// ```
    pub fn kept_apart(&self) -> Vec<String> {
        self.pool.driver().apart().all()
    }

    /// All rows of a query.
    ///
    /// Cancel safety: the query is cancelled on the server if that hits nobody else, and may have been done.
    ///
    /// # Errors
    ///
    /// [`QueryError`], also if no connection could be had, or the query [needs a session](QueryError::needs_session).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn show(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::QueryError> {
    /// let database = pool.multiplexed();
    /// for row in database.query("SELECT name FROM alert WHERE status = $1", &[&"firing"]).await? {
    ///     println!("{}", row.get::<_, &str>(0));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn query<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Vec<Row>, QueryError>> + Send {
        let place = Location::caller();
        // Owned across the await: what `run` owns.
        async move { self.run::<All>(query.into(), params, place).await }
    }

    /// The one row of a query; it is an error if there is none, or more than one.
    ///
    /// Cancel safety: as [`query`](Self::query).
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn count(pool: &pool_postgres::PostgresPool) -> Result<i64, pool_postgres::QueryError> {
    /// Ok(pool.multiplexed().query_one("SELECT count(*) FROM alert", &[]).await?.get(0))
    /// # }
    /// ```
    #[track_caller]
    pub fn query_one<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Row, QueryError>> + Send {
        let place = Location::caller();
        // Owned across the await: what `run` owns.
        async move { self.run::<One>(query.into(), params, place).await }
    }

    /// The row of a query, if there is one; it is an error if there are more.
    ///
    /// Cancel safety: as [`query`](Self::query).
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn name(pool: &pool_postgres::PostgresPool, id: i64) -> Result<Option<String>, pool_postgres::QueryError> {
    /// let row = pool.multiplexed().query_opt("SELECT name FROM account WHERE id = $1", &[&id]).await?;
    /// Ok(row.map(|row| row.get(0)))
    /// # }
    /// ```
    #[track_caller]
    pub fn query_opt<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<Option<Row>, QueryError>> + Send {
        let place = Location::caller();
        // Owned across the await: what `run` owns.
        async move { self.run::<Optional>(query.into(), params, place).await }
    }

    /// Executes a statement; how many rows were inserted, updated, deleted, or returned and thrown away.
    ///
    /// Cancel safety: as [`query`](Self::query).
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn resolve(pool: &pool_postgres::PostgresPool, id: i64) -> Result<bool, pool_postgres::QueryError> {
    /// let resolve = "UPDATE alert SET status = 'resolved' WHERE id = $1";
    /// Ok(pool.multiplexed().execute(resolve, &[&id]).await? > 0)
    /// # }
    /// ```
    #[track_caller]
    pub fn execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> impl Future<Output = Result<u64, QueryError>> + Send {
        let place = Location::caller();
        // Owned across the await: what `run` owns.
        async move { self.run::<Count>(query.into(), params, place).await }
    }

    async fn run<A: Ask>(&self, mut query: Query<'_>, params: Params<'_>, at: At) -> Result<A::Answer, QueryError> {
        if let Err(refused) = check(query.sql()) {
            let may = self.is_adaptive && !refused.is_of_a_transaction();
            // Owned across the await: what it owns. Rare, and large.
            return if may { self.alone::<A>(&query, params, at).await } else { Err(refused.into_error(&query)) };
        }
        query.terms.is_shared = true;
        let caught = Caught::default();
        let answer = {
            let careful = caught.wrap(params);
            // Owned across the await: what it owns.
            self.share::<A>(&query, &Careful::all(&careful), at).await
        };
        caught.go_on();
        if let Some(answer) = answer {
            return answer;
        }
        query.terms.is_shared = false;
        // Owned across the await: what it owns.
        self.alone::<A>(&query, params, at).await
    }

    /// Beside others. `None` if that is not possible for now.
    async fn share<A: Ask>(
        &self,
        query: &Query<'_>,
        params: Params<'_>,
        at: At,
    ) -> Option<Result<A::Answer, QueryError>> {
        for tries in 1.. {
            if self.is_to_be_described(query, params) {
                break;
            }
            // Owned across the awaits: the place. Dropped, it makes room.
            let place = match Place::take(&self.pool, query, at).await {
                Ok(place) => place,
                Err(error) => return Some(Err(error)),
            };
            // It may have been forgotten meanwhile.
            if self.is_to_be_described(query, params) {
                break;
            }
            match place.ask::<A>(query, params).await {
                Err(error) if error.was_not_sent() && tries < TRIES => {}
                outcome => return Some(outcome),
            }
        }
        None
    }

    /// Behind a proxy the types of a statement are asked for in a transaction.
    fn is_to_be_described(&self, query: &Query<'_>, params: Params<'_>) -> bool {
        let driver = self.pool.driver();
        let is_proxied = driver.config().statements.mode == StatementMode::Unprepared;
        is_proxied && !driver.knowledge.has_types(query.sql(), params.len())
    }

    /// On a connection that is nobody else's meanwhile.
    async fn alone<A: Ask>(&self, query: &Query<'_>, params: Params<'_>, at: At) -> Result<A::Answer, QueryError> {
        // Owned across the awaits: a place in the queue, and then the lease. Dropped, it goes back and is put in order.
        let limit = self.pool.config().acquire_timeout;
        let lease = PostgresPool::lease_for(query, self.pool.acquire_owned_at(limit, at)).await?;
        let connection = &*lease;
        Box::pin(limited(connection, query, || run::<A>(connection, query, params))).await
    }
}

impl Queries for Multiplexed {
    async fn query<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, QueryError> {
        Multiplexed::query(self, query, params).await
    }

    async fn query_one<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, QueryError> {
        Multiplexed::query_one(self, query, params).await
    }

    async fn query_opt<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, QueryError> {
        Multiplexed::query_opt(self, query, params).await
    }

    async fn execute<'q>(
        &self,
        query: impl Into<Query<'q>> + Send,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, QueryError> {
        Multiplexed::execute(self, query, params).await
    }

    /// Refused, since what is sent without being prepared may be many statements and begin a transaction in the middle; if this is adaptive, on a connection of its own.
    async fn batch_execute<'q>(&self, query: impl Into<Query<'q>> + Send) -> Result<(), QueryError> {
        let query = query.into();
        // Owned across the await: what it owns.
        if self.is_adaptive { self.pool.batch_execute(query).await } else { Err(many_statements().into_error(&query)) }
    }
}
