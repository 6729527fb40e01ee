//! What is read or sent bit by bit is one request, and counts as what has come of it in the end.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use pool_postgres::tokio_postgres::types::Type;
use pool_postgres::{PostgresPool, QueryError};
use pool_testkit::postgres::TestDatabase;
use pool_testkit::proxy::{End, Proxy};
use pool_testkit::spans::Spans;
use tracing::subscriber::{DefaultGuard, set_default};

use crate::common::{config, database, eventually};

/// The fifth row is an error, which the server comes to when it has sent some.
const FAILS: &str = "SELECT 1 / (x - 5) FROM generate_series(1, 1000) x";
const READS: &str = "SELECT generate_series(1, 10)";
/// The server is not done with it before it is told to stop.
const MANY: &str = "SELECT generate_series(1, 1000000000)";

/// A pool, and what is told of its requests.
struct Stage {
    pool: PostgresPool,
    spans: Spans,
    _listening: DefaultGuard,
    _database: TestDatabase,
}

impl Stage {
    async fn new() -> Self {
        let database = database();
        let mut config = config(database.url(), 1);
        config.limits.sla = Some(Duration::from_mins(10));
        let pool = PostgresPool::connect(config).await.unwrap();
        pool.batch_execute("CREATE TABLE t (n int UNIQUE)").await.unwrap();
        let spans = Spans::default();
        Self { _listening: set_default(spans.clone()), pool, spans, _database: database }
    }

    /// What is counted: answered, failed, dropped; and in time or not.
    fn counted(&self) -> ([u64; 3], [u64; 2]) {
        let stats = self.pool.driver().query_stats();
        ([stats.queries - stats.failed - stats.dropped, stats.failed, stats.dropped], [stats.sla_met, stats.sla_missed])
    }

    /// That something counts once, as this, and has one span that says so.
    async fn ends(&self, what: &str, outcome: &str, work: impl AsyncFnOnce(&PostgresPool)) {
        let ((before, promised), spans) = (self.counted(), self.spans.named("db.query").len());
        work(&self.pool).await;
        let (counts, sla) = self.counted();
        let more: Vec<_> = counts.iter().zip(before).map(|(now, before)| now - before).collect();
        let wanted = ["answered", "failed", "dropped"].map(|one| u64::from(one == outcome));
        assert_eq!(more, wanted, "{what}");
        // An error is an answer, and what is dropped before the time is over counts as neither.
        assert_eq!((sla[0] - promised[0], sla[1] - promised[1]), (u64::from(outcome != "dropped"), 0), "{what}");
        let told = self.spans.named("db.query").split_off(spans);
        let said: Vec<_> = told.iter().map(|seen| (seen.field("outcome"), seen.is_closed)).collect();
        assert_eq!(said, [(outcome, true)], "{what}: {told:#?}");
        assert_eq!(told[0].field("otel.status_code") == "ERROR", outcome == "failed", "{what}: {told:#?}");
    }
}

#[tokio::test]
async fn a_stream_counts_as_what_has_come_of_it() {
    let it = Stage::new().await;
    it.ends("read", "answered", async |pool| {
        assert_eq!(pool.stream(READS, &[]).await.unwrap().count().await, 10);
    })
    .await;
    it.ends("refused", "failed", async |pool| {
        pool.stream("SELECT nothing", &[]).await.unwrap_err();
    })
    .await;
    it.ends("fails in a row", "failed", async |pool| {
        let rows = pool.stream(FAILS, &[]).await.unwrap();
        rows.try_collect::<Vec<_>>().await.unwrap_err();
    })
    .await;
    it.ends("left halfway", "dropped", async |pool| {
        let mut rows = pool.stream(MANY, &[]).await.unwrap();
        rows.try_next().await.unwrap().unwrap();
    })
    .await;
    let id = it.spans.named("db.query").pop().unwrap().id;
    let is_cancelled = async || it.spans.named("db.cancel").iter().any(|cancel| cancel.follows == [id]);
    eventually("the server is told to stop", is_cancelled).await;
    it.ends("not waited for", "dropped", async |pool| {
        let lease = pool.acquire().await.unwrap();
        let begun = Box::pin(lease.stream("SELECT pg_sleep(300)", &[])).now_or_never();
        assert!(begun.is_none());
    })
    .await;
}

/// It counts when it has ended, and not before.
#[tokio::test]
async fn what_goes_on_is_not_counted_yet() {
    let it = Stage::new().await;
    let before = it.counted();
    let mut rows = it.pool.stream(READS, &[]).await.unwrap();
    rows.try_next().await.unwrap().unwrap();
    assert_eq!(it.counted(), before);
    let seen = it.spans.named("db.query").pop().unwrap();
    assert_eq!((seen.field("outcome"), seen.is_closed), ("", false));
    while rows.try_next().await.unwrap().is_some() {}
    let after = it.counted();
    assert_eq!(after.0[0], before.0[0] + 1);
    drop(rows);
    assert_eq!(it.counted(), after, "once");
}

#[tokio::test]
async fn a_lost_connection_is_no_answer() {
    let database = database();
    let mut config = config(database.url(), 1);
    let proxy = Proxy::postgres(("127.0.0.1", config.hosts[0].port)).await.unwrap();
    config.hosts[0].port = proxy.address().port();
    config.limits.sla = Some(Duration::from_mins(10));
    let pool = PostgresPool::connect(config).await.unwrap();
    let mut rows = pool.stream(MANY, &[]).await.unwrap();
    rows.try_next().await.unwrap().unwrap();
    proxy.cut_all(End::Reset).await;
    let error = loop {
        if let Err(error) = rows.try_next().await {
            break error;
        }
    };
    let stats = pool.driver().query_stats();
    assert_eq!((stats.queries, stats.failed, stats.sla_met, stats.sla_missed), (1, 1, 0, 1), "{error}");
}

#[tokio::test]
async fn what_is_copied_out_counts_as_what_has_come_of_it() {
    let it = Stage::new().await;
    let copy = |sql: &str| format!("COPY ({sql}) TO STDOUT");
    it.ends("read", "answered", async |pool| {
        assert_eq!(pool.copy_out(copy(READS)).await.unwrap().count().await, 10);
    })
    .await;
    it.ends("fails in a row", "failed", async |pool| {
        let data = pool.copy_out(copy(FAILS)).await.unwrap();
        data.try_collect::<Vec<_>>().await.unwrap_err();
    })
    .await;
    it.ends("left halfway", "dropped", async |pool| {
        let mut data = pool.copy_out(copy(MANY)).await.unwrap();
        data.try_next().await.unwrap().unwrap();
    })
    .await;
    it.ends("read as what it is not", "failed", async |pool| {
        let rows = pool.copy_out_rows(copy(READS), &[Type::INT4]).await.unwrap();
        rows.try_collect::<Vec<_>>().await.unwrap_err();
    })
    .await;
    it.ends("no copy", "failed", async |pool| drop(pool.copy_out(READS).await.unwrap_err())).await;
}

#[tokio::test]
async fn what_is_copied_in_counts_as_what_has_come_of_it() {
    const COPY: &str = "COPY t FROM STDIN";
    let it = Stage::new().await;
    it.ends("finished", "answered", async |pool| {
        let mut copy = pool.copy_in(COPY).await.unwrap();
        copy.send("1\n").await.unwrap();
        assert_eq!(copy.finish().await.unwrap(), 1);
    })
    .await;
    it.ends("refused at the end", "failed", async |pool| {
        let mut copy = pool.copy_in(COPY).await.unwrap();
        copy.send("1\n").await.unwrap();
        copy.finish().await.unwrap_err();
    })
    .await;
    let seen = it.spans.named("db.query").pop().unwrap();
    assert_eq!(seen.field("error.type"), "23505", "{seen:?}");
    it.ends("refused while more is sent", "failed", async |pool| {
        let mut copy = pool.copy_in(COPY).await.unwrap();
        copy.send("x\n").await.unwrap();
        let refused: QueryError = loop {
            if let Err(error) = copy.send("2\n".repeat(10_000)).await {
                break error;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(refused.sqlstate().map(tokio_postgres::error::SqlState::code), Some("22P02"));
        // Whatever comes next fails, too, and has been counted.
        copy.send("2\n").await.unwrap_err();
        copy.finish().await.unwrap_err();
    })
    .await;
    it.ends("left", "dropped", async |pool| drop(pool.copy_in(COPY).await.unwrap())).await;
    it.ends("finished as values", "answered", async |pool| {
        let mut rows = pool.copy_in_rows("COPY t FROM STDIN (FORMAT binary)", &[Type::INT4]).await.unwrap();
        // It goes on without this one.
        rows.write(&[&"no number"]).await.unwrap_err();
        rows.write(&[&2]).await.unwrap();
        assert_eq!(rows.finish().await.unwrap(), 1);
    })
    .await;
    it.ends("no such table", "failed", async |pool| {
        let begun = pool.copy_in("COPY nowhere FROM STDIN").await;
        begun.map(drop).unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn a_cursor_counts_once_and_what_begins_its_transaction_does_not() {
    let it = Stage::new().await;
    it.ends("read", "answered", async |pool| {
        let rows = pool.fetch_in_batches(READS, &[], 4).await.unwrap().rows();
        assert_eq!(rows.count().await, 10);
    })
    .await;
    it.ends("read up to where it is enough", "answered", async |pool| {
        pool.fetch_in_batches(MANY, &[], 4).await.unwrap().fetch().await.unwrap().unwrap();
    })
    .await;
    it.ends("closed", "answered", async |pool| {
        pool.fetch_in_batches(MANY, &[], 4).await.unwrap().close().await.unwrap();
    })
    .await;
    it.ends("refused", "failed", async |pool| {
        pool.fetch_in_batches("SELECT nothing", &[], 4).await.unwrap_err();
    })
    .await;
    it.ends("fails in a batch", "failed", async |pool| {
        let mut cursor = pool.fetch_in_batches(FAILS, &[], 3).await.unwrap();
        cursor.fetch().await.unwrap().unwrap();
        cursor.fetch().await.unwrap_err();
        assert!(cursor.fetch().await.unwrap().is_none());
    })
    .await;
    it.ends("left while a batch is waited for", "dropped", async |pool| {
        let mut cursor = pool.fetch_in_batches("SELECT pg_sleep(300)", &[], 1).await.unwrap();
        assert!(Box::pin(cursor.fetch()).now_or_never().is_none());
    })
    .await;
    it.ends("left while it is closed", "dropped", async |pool| {
        let cursor = pool.fetch_in_batches(MANY, &[], 1).await.unwrap();
        assert!(Box::pin(cursor.close()).now_or_never().is_none());
    })
    .await;
    let lease = it.pool.acquire().await.unwrap();
    tokio_postgres::Client::batch_execute(&lease, "BEGIN").await.unwrap();
    it.ends("in a transaction of its user's", "answered", async |_| {
        let mut cursor = lease.cursor(READS, &[], 20).await.unwrap();
        assert_eq!(cursor.fetch().await.unwrap().unwrap().len(), 10);
    })
    .await;
    it.ends("closed in a transaction of its user's", "answered", async |_| {
        let cursor = lease.cursor(READS, &[], 2).await.unwrap();
        cursor.close().await.unwrap();
    })
    .await;
}
