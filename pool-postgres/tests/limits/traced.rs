//! What those see who trace requests and transactions.

use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use pool_postgres::tokio_postgres::IsolationLevel;
use pool_postgres::{PostgresPool, Queries, Query, QueryError, TransactionOptions};
use pool_testkit::postgres::TestDatabase;
use pool_testkit::spans::{Seen, Spans};
use tracing::Instrument;
use tracing::subscriber::{DefaultGuard, set_default};

use crate::common::{config, database, eventually};

async fn traced(size: usize) -> (TestDatabase, PostgresPool, Spans, DefaultGuard) {
    let spans = Spans::default();
    let database = database();
    let mut config = config(database.url(), size);
    // However long the server takes to say what has become of one that was cancelled.
    config.limits.cancel_timeout = Duration::from_mins(1);
    let pool = PostgresPool::connect(config).await.unwrap();
    // After the tests' own listener, which hears everything else.
    let listening = set_default(spans.clone());
    (database, pool, spans, listening)
}

fn last(spans: &Spans) -> Seen {
    spans.named("db.query").pop().unwrap()
}

#[tokio::test]
async fn a_request_has_the_fields_of_opentelemetry_and_no_values() {
    let (_database, pool, spans, _listening) = traced(1).await;
    pool.batch_execute("CREATE TABLE alert (name text UNIQUE)").await.unwrap();
    let insert = "INSERT INTO alert SELECT $1 || 'a literal s3cr3t' FROM generate_series(1, 1)";
    pool.execute(insert, &[&"a parameter s3cr3t"]).await.unwrap();
    let seen = last(&spans);
    let host = &pool.config_of_host();
    let wanted = [
        ("otel.kind", "client"),
        ("otel.name", "INSERT alert SELECT generate_series"),
        ("db.system.name", "postgresql"),
        ("db.namespace", pool.driver().config().database.as_deref().unwrap()),
        ("db.query.summary", "INSERT alert SELECT generate_series"),
        ("db.query.text", "INSERT INTO alert SELECT $1 || ? FROM generate_series(?, ?)"),
        ("server.address", host.0.as_str()),
        ("server.port", host.1.as_str()),
        ("outcome", "answered"),
        ("error.type", ""),
        ("db.response.returned_rows", ""),
    ];
    for (field, value) in wanted {
        assert_eq!(seen.field(field), value, "{field}: {seen:?}");
    }
    assert_eq!((seen.target, seen.is_closed), ("pool_postgres::span", true));
    pool.query("SELECT name FROM alert", &[]).await.unwrap();
    assert_eq!(last(&spans).field("db.response.returned_rows"), "1");
    // The server's words have the value in them, and are not told.
    pool.execute(insert, &[&"a parameter s3cr3t"]).await.unwrap_err();
    let seen = last(&spans);
    let said = ["db.response.status_code", "error.type", "otel.status_code", "outcome"].map(|field| seen.field(field));
    assert_eq!(said, ["23505", "23505", "ERROR", "failed"]);
    let all = format!("{:?}", spans.all());
    assert!(!all.contains("s3cr3t") && !all.contains("literal") && !all.contains("parameter"), "{all}");
}

/// Name and port of the only host.
trait HostOf {
    fn config_of_host(&self) -> (String, String);
}

impl HostOf for PostgresPool {
    fn config_of_host(&self) -> (String, String) {
        let host = &self.driver().config().hosts[0];
        (host.name.clone(), host.port.to_string())
    }
}

#[tokio::test]
async fn every_way_to_ask_is_seen_inside_of_the_span_of_whoever_asks() {
    let (_database, pool, spans, _listening) = traced(2).await;
    let asking = async {
        pool.query("SELECT 1", &[]).await.unwrap();
        pool.multiplexed().query("SELECT 2", &[]).await.unwrap();
        let lease = pool.acquire().await.unwrap();
        Queries::query_opt(&*lease, "SELECT 3", &[]).await.unwrap();
        drop(lease);
        let mut rows = Box::pin(pool.stream("SELECT 4", &[]).await.unwrap());
        while rows.next().await.is_some() {}
        drop(rows);
        pool.batch().add("SELECT 5", &[]).execute_all().await.unwrap();
        pool.fetch_in_batches("SELECT 6", &[], 1).await.unwrap().fetch().await.unwrap();
    };
    asking.instrument(tracing::debug_span!("request")).await;
    let request = spans.named("request").remove(0);
    let asked = spans.named("db.query");
    assert_eq!(asked.len(), 6, "each once: {asked:#?}");
    for seen in &asked {
        let said = ["db.query.text", "outcome"].map(|field| seen.field(field));
        assert_eq!((said, seen.parent), (["SELECT ?", "answered"], Some(request.id)), "{asked:#?}");
    }
    let acquires = spans.named("pool.acquire");
    assert!(acquires.len() >= 4 && acquires.iter().all(|seen| seen.parent == Some(request.id)), "{acquires:#?}");
}

#[tokio::test]
async fn what_is_cancelled_follows_from_what_nobody_waits_for() {
    let (_database, pool, spans, _listening) = traced(1).await;
    let lease = pool.acquire().await.unwrap();
    // Whoever asks is inside of this, and what is done in the background is not.
    let _request = tracing::debug_span!("request").entered();
    let sleeping = Query::new("SELECT pg_sleep(300)").timeout(Duration::from_millis(50));
    Queries::execute(&*lease, sleeping, &[]).await.unwrap_err();
    let seen = last(&spans);
    assert_eq!([seen.field("outcome"), seen.field("error.type")], ["timed out", "57014"], "{seen:?}");
    let cancelling = spans.named("db.cancel").pop().unwrap();
    assert_eq!((cancelling.follows, cancelling.parent), (vec![seen.id], None));
    // Until then the next one is held back, and would be dropped before it has been sent.
    let is_over = async || spans.named("db.cancel").iter().all(|cancel| cancel.is_closed);
    eventually("the first cancellation is over", is_over).await;
    let mut dropped = Box::pin(Queries::execute(&*lease, "SELECT pg_sleep(300)", &[]));
    tokio::time::timeout(Duration::from_millis(50), &mut dropped).await.unwrap_err();
    drop(dropped);
    let seen = last(&spans);
    assert_eq!(seen.field("outcome"), "dropped");
    eventually("the cancellation is over", || async {
        spans.named("db.cancel").iter().any(|cancel| cancel.follows == [seen.id] && cancel.is_closed)
    })
    .await;
}

#[tokio::test]
async fn a_transaction_says_how_it_was_begun_and_what_has_become_of_it() {
    let (_database, pool, spans, _listening) = traced(1).await;
    pool.batch_execute("CREATE TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)").await.unwrap();
    let mut options = TransactionOptions::default();
    options.isolation_level = Some(IsolationLevel::Serializable);
    let done = pool.transaction_with(options, async |mut tx| {
        tx.execute("INSERT INTO t VALUES ($1)", &[&1]).await?;
        let inner = tx.savepoint().await?;
        inner.execute("INSERT INTO t VALUES ($1)", &[&2]).await?;
        inner.rollback().await?;
        Ok::<_, QueryError>(())
    });
    done.await.unwrap();
    let seen = spans.named("db.transaction").remove(0);
    let said = ["isolation", "outcome", "statements", "db.system.name"].map(|field| seen.field(field));
    assert_eq!(said, ["SERIALIZABLE", "committed", "2", "postgresql"], "{seen:?}");
    let (name, port) = pool.config_of_host();
    let said = ["server.address", "server.port", "db.namespace"].map(|field| seen.field(field));
    assert_eq!(said, [&*name, &*port, pool.driver().config().database.as_deref().unwrap()], "{seen:?}");
    assert_eq!(last(&spans).parent, Some(seen.id), "its work is inside of it");
    let outcome = || spans.named("db.transaction").pop().unwrap().field("outcome").to_owned();
    let transaction = pool.begin().await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(outcome(), "rolled_back");
    drop(pool.begin().await.unwrap());
    assert_eq!(outcome(), "rolled_back");
    let transaction = pool.begin().await.unwrap();
    transaction.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
    transaction.commit().await.unwrap_err();
    assert_eq!(outcome(), "rolled_back", "the server has refused it");
    let transaction = pool.begin().await.unwrap();
    let mut committing = Box::pin(transaction.commit());
    assert!(committing.as_mut().now_or_never().is_none());
    drop(committing);
    assert_eq!(outcome(), "unknown", "nobody has waited for the answer");
    assert!(spans.named("db.transaction").iter().all(|seen| seen.is_closed));
}
