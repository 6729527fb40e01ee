//! A place on a connection, for one query.

use std::time::Duration;

use pool_core::{AcquireError, SharedLease};
use tokio::runtime::Handle;
use tokio::sync::SemaphorePermit;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use super::apart::Stay;
use super::queries::At;
use crate::config::ReleaseMode;
use crate::connection::PostgresConnection;
use crate::driver::PostgresDriver;
use crate::limits::limited;
use crate::pool::PostgresPool;
use crate::query::{Query, QueryError};
use crate::statements::{Ask, Params, run};

/// How often others have a turn before it is looked again at leisure whether they have left: those who are answered take microseconds.
const TURNS: u32 = 10;
/// How long after that.
const LEISURE: Duration = Duration::from_millis(1);
/// For how long it is looked at all.
const LONGEST: Duration = Duration::from_millis(250);

/// A place on a connection, for one query. Dropped, it makes room, and what has been seen of the query's statement is noted.
pub(super) struct Place<'a> {
    lease: SharedLease<'a, PostgresDriver>,
    pool: &'a PostgresPool,
    sql: &'a str,
    /// If nothing is to be sent behind the query.
    stay: Option<Stay>,
    _permit: Option<SemaphorePermit<'a>>,
    /// How often something has taken long on the connection before the query was asked.
    exceeded: Option<u64>,
    is_answered: bool,
}

type Shared<'a> = Result<SharedLease<'a, PostgresDriver>, AcquireError>;

impl<'a> Place<'a> {
    /// Takes a place for a query: the last on its connection, if its statement is kept apart.
    ///
    /// Cancel safety: a place in a queue is lost, and nothing else.
    pub(super) async fn take(pool: &'a PostgresPool, query: &'a Query<'_>, at: At) -> Result<Self, QueryError> {
        let mut stay = pool.driver().apart().stay(query.sql());
        // Owned across the awaits: the stay, and a place in a queue.
        let (lease, permit) = if stay.is_some() {
            Box::pin(Self::take_last(pool, &mut stay, at)).await
        } else {
            (pool.share_at(None, at).await, None)
        };
        let lease = lease.map_err(|error| QueryError::of_acquire(query, error))?;
        Ok(Self { lease, pool, sql: query.sql(), stay, _permit: permit, exceeded: None, is_answered: false })
    }

    /// The last place on a connection, within the time that there is for acquiring. Of statements that are known to take long there are never so many that no connection is left for others.
    async fn take_last(
        pool: &'a PostgresPool,
        stay: &mut Option<Stay>,
        at: At,
    ) -> (Shared<'a>, Option<SemaphorePermit<'a>>) {
        let (began, apart) = (Instant::now(), pool.driver().apart());
        let (limit, most) = {
            let config = pool.config();
            (config.acquire_timeout, (config.max_size / 2).max(1))
        };
        // Owned across the awaits: the permit, and a place in a queue.
        let is_slow = stay.as_ref().is_some_and(Stay::is_slow);
        let permit = if is_slow { apart.enter(most, limit).await } else { apart.try_enter(most) };
        // It is tried another time, if so many are under way.
        *stay = stay.take().filter(|stay| stay.is_slow() || permit.is_some());
        let lease = pool.share_at(Some(limit.saturating_sub(began.elapsed())), at).await;
        if let (Ok(lease), Some(_)) = (&lease, &stay) {
            lease.shut();
            // Owned across the await: the place, and the permit. Whoever goes on with another step would be behind it. One that goes on for long is not waited for, nor another one who waits for this.
            alone(lease, limit.saturating_sub(began.elapsed()).min(LONGEST)).await;
        }
        (lease, permit)
    }

    /// Asks something.
    ///
    /// Cancel safety: what is under way is cancelled on the server if that hits nobody else.
    pub(super) async fn ask<A: Ask>(mut self, query: &Query<'_>, params: Params<'_>) -> Result<A::Answer, QueryError> {
        self.exceeded = Some(self.lease.session().pace().exceeded());
        let connection: &PostgresConnection = &self.lease;
        // Owned across the await: the request, and the place, which is dropped after it.
        let answer = limited(connection, query, || run::<A>(connection, query, params)).await;
        self.is_answered = !answer.as_ref().is_err_and(QueryError::is_timeout);
        answer
    }
}

/// Returns once nobody else uses a connection that nobody joins any more, or that takes too long. Only where somebody keeps the time.
///
/// Cancel safety: nothing is lost.
async fn alone(lease: &SharedLease<'_, PostgresDriver>, limit: Duration) {
    let began = Instant::now();
    let mut turns = 0;
    while lease.users() > 1 && began.elapsed() < limit && Handle::try_current().is_ok() {
        turns += 1;
        // Owned across the awaits: nothing.
        if turns < TURNS { yield_now().await } else { sleep(LEISURE).await }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(exceeded) = self.exceeded else { return };
        let (session, apart) = (self.lease.session(), self.pool.driver().apart());
        let is_under_way = !self.is_answered && session.is_held_up();
        match self.stay.take() {
            Some(stay) => apart.judge(stay, is_under_way || session.pace().has_just_been_exceeded()),
            None if is_under_way || session.pace().exceeded() != exceeded => apart.suspect(self.sql),
            None => {}
        }
        if self.lease.is_to_be_undone() {
            self.lease.shut();
        }
    }
}

impl PostgresConnection {
    /// Whether something is left in the session that the pool has to undo before anybody else uses it.
    fn is_to_be_undone(&self) -> bool {
        !self.session().changes().is_none() && self.server().settings.config.release.mode != ReleaseMode::Fast
    }

    /// Whether another one may ask something who shares it: it goes on and is to be kept, nothing has been changed, nothing is held back, nothing takes long, and there is not too much under way, which nobody may wait for any more.
    pub(crate) fn takes_another(&self, most: usize) -> bool {
        let session = self.session();
        !self.client_waited_for().is_closed()
            && !self.is_to_be_undone()
            && !self.is_condemned(false)
            && self.left_its_role().is_none()
            && !session.requests().is_held()
            && session.in_flight() < most
            && !session.is_held_up()
    }
}
