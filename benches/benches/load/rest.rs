//! What is left when all callers have gone: the books, and the pool at rest.

use std::time::Duration;

use pool_postgres::{PostgresLease, PostgresPool};
use pool_testkit::books::{Balance, Told, settle};

use super::site::{CONNECTIONS, NAME, Site};
use crate::database::{sessions, within};

/// How long the pool, and a server that has to notice what was cut, have to come to rest.
const LIMIT: Duration = Duration::from_secs(10);

/// What was found.
pub(crate) struct Rest {
    pub(crate) balance: Balance,
    /// What should hold and does not.
    pub(crate) unclean: Vec<&'static str>,
}

impl Rest {
    /// Looks, and closes the pool.
    pub(crate) async fn of(site: Site, told: &[(u64, Told)]) -> Self {
        site.proxy.calm().await;
        let mut unclean = Vec::new();
        let mut check = |holds: bool, what| {
            if !holds {
                unclean.push(what);
            }
        };
        check(within(LIMIT, async || is_at_rest(&site.pool)).await, "the pool comes to rest");
        let leases = all(&site.pool).await;
        check(leases.len() == CONNECTIONS, "all connections can be had at once, and answer");
        let as_many = async || sessions(&site.own, NAME).await == CONNECTIONS;
        check(within(LIMIT, as_many).await, "the server has as many sessions as the pool");
        drop(leases);
        check(within(LIMIT, async || site.pool.state().idle == CONNECTIONS).await, "all are idle, and nobody waits");
        let stats = site.pool.stats();
        check(stats.opened == stats.closed + stats.state.size as u64, "opened = closed + live");
        let reasons: u64 = stats.closes().iter().map(|(_, closed)| closed).sum();
        check(reasons == stats.closed, "each that was closed has a reason");
        let balance = settle(told.to_vec(), done(&site).await);
        check(site.pool.close_within(LIMIT).await == 0, "the close ends");
        check(within(LIMIT, async || sessions(&site.own, NAME).await == 0).await, "the server has no session left");
        let stats = site.pool.stats();
        check((stats.opened, stats.state.size) == (stats.closed, 0), "nothing is open");
        Self { balance, unclean }
    }
}

fn is_at_rest(pool: &PostgresPool) -> bool {
    let state = pool.state();
    state.leased + state.opening + state.in_maintenance + state.waiting == 0
}

/// All connections, each of which has answered. One that was cut while it was idle is none, and another one takes its place.
async fn all(pool: &PostgresPool) -> Vec<PostgresLease<'_>> {
    let mut leases = Vec::new();
    while leases.len() < CONNECTIONS {
        let Ok(lease) = pool.acquire_timeout(LIMIT).await else { break };
        if lease.batch_execute("SELECT 1").await.is_ok() {
            leases.push(lease);
        }
    }
    leases
}

/// The operations that were done, each as often as it was. Whoever is at work still, on a session that was cut, is waited for.
async fn done(site: &Site) -> Vec<u64> {
    const ALL: &str = "
        BEGIN;
        LOCK TABLE done, kept IN EXCLUSIVE MODE;
        DECLARE all_done CURSOR FOR SELECT operation FROM done UNION ALL SELECT operation FROM kept";
    site.own.batch_execute(ALL).await.expect("a cursor");
    let mut done = Vec::new();
    loop {
        // Not all at once: that would be what takes most memory in all of this.
        let rows = site.own.query("FETCH 1000 FROM all_done", &[]).await.expect("rows");
        if rows.is_empty() {
            break;
        }
        done.extend(rows.iter().map(|row| u64::try_from(row.get::<_, i64>(0)).expect("a number of an operation")));
    }
    site.own.batch_execute("COMMIT").await.expect("the end");
    done
}
