//! Errors that a server reports on a session: what they mean, and what the pool does with the session then. `fNNN` are the faults of the catalogue.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::join;
use pool_postgres::diagnosis::{Advice, Diagnosis, Fate};
use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::tokio_postgres::{Client, Error, NoTls};
use pool_postgres::{PostgresLease, PostgresPool};

use crate::asking::{eventually, in_time};
use crate::common::{Chaos, process, server};
use crate::invariants;

/// A pool of one connection that may set what is set here, and a schema of the test's own for its role.
async fn stage() -> (Chaos, String) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let (chaos, schema) = (Chaos::start(1).await, format!("errors_{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    chaos.watch.run(&format!("CREATE SCHEMA {schema} AUTHORIZATION chaos")).await;
    // Many at a time get into each other's way, and one is enough.
    let grant = "DO $$ BEGIN GRANT SET ON PARAMETER deadlock_timeout, temp_file_limit TO chaos; EXCEPTION WHEN OTHERS THEN NULL; END $$";
    let granted = "SELECT has_parameter_privilege('chaos', 'deadlock_timeout', 'SET') AND has_parameter_privilege('chaos', 'temp_file_limit', 'SET')";
    let is_granted = async || chaos.watch.client().query_one(granted, &[]).await.unwrap().get::<_, bool>(0);
    while !is_granted().await {
        chaos.watch.run(grant).await;
    }
    (chaos, schema)
}

/// A connection that looks into that schema.
async fn lease<'a>(chaos: &'a Chaos, schema: &str) -> PostgresLease<'a> {
    let lease = chaos.working().await;
    lease.batch_execute(&format!("SET search_path = {schema}")).await.unwrap();
    lease
}

/// Checks what an error is said to mean.
fn assert_means(error: &Error, code: &str, advice: Advice, fate: Fate) {
    assert_eq!(error.code().map_or("none", SqlState::code), code, "{error:?}");
    let diagnosis = Diagnosis::of(error);
    assert_eq!((diagnosis.advice, diagnosis.fate, diagnosis.safe_to_retry), (advice, fate, false), "{code}");
}

/// Gives a session back, and tells whether the pool goes on with it. The pool has no other.
async fn is_kept(pool: &PostgresPool, lease: PostgresLease<'_>) -> bool {
    let session = lease.connection_id();
    drop(lease);
    let next = pool.acquire().await.unwrap();
    next.batch_execute("SELECT 1").await.unwrap();
    next.connection_id() == session
}

/// Has one session run a statement that fails, and checks that the pool keeps it.
async fn kept_after(before: &str, statement: &str, code: &str, advice: Advice, fate: Fate) {
    kept(true, before, statement, code, advice, fate).await;
}

async fn kept(kept: bool, before: &str, statement: &str, code: &str, advice: Advice, fate: Fate) {
    let (mut chaos, schema) = stage().await;
    let lease = lease(&chaos, &schema).await;
    lease.batch_execute(before).await.unwrap();
    let error = lease.batch_execute(statement).await.unwrap_err();
    assert_means(&error, code, advice, fate);
    assert_eq!(is_kept(&chaos.pool, lease).await, kept, "{code}");
    assert_eq!(chaos.pool.driver().ends().total(), 0, "the server has ended nothing");
    chaos.note(&error);
    invariants::hold(chaos).await;
}

/// Two sessions in turn, in a table `t` with rows 1 and 2. The second is given back after its error, and has to be kept.
async fn between_two(code: &str, advice: Advice, play: impl AsyncFn(&Client, &Client) -> Error) {
    let (mut chaos, schema) = stage().await;
    let other = other(&schema).await;
    let lease = lease(&chaos, &schema).await;
    lease
        .batch_execute("CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)")
        .await
        .unwrap();
    let error = in_time("an error", play(&other, &lease)).await;
    assert_means(&error, code, advice, Fate::Keep);
    assert!(is_kept(&chaos.pool, lease).await, "{code}");
    drop(other);
    chaos.note(&error);
    invariants::hold(chaos).await;
}

/// A session beside the pool, in the same schema.
async fn other(schema: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(&server().url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path = {schema}")).await.unwrap();
    client
}

/// Whether a process of the server waits for a lock, as it is at this moment, also inside of a transaction.
async fn is_blocked(client: &Client, process: i32) -> bool {
    client.query_one("SELECT cardinality(pg_blocking_pids($1)) > 0", &[&process]).await.unwrap().get(0)
}

async fn refused(statement: impl Future<Output = Result<(), Error>>) -> Error {
    statement.await.unwrap_err()
}

#[tokio::test]
async fn f019_a_statement_timeout_keeps_the_connection() {
    // It holds of the reset, too, until that has undone it.
    kept_after("SET statement_timeout = '500ms'", "SELECT pg_sleep(600)", "57014", Advice::Never, Fate::Keep).await;
}

#[tokio::test]
async fn f020_a_lock_timeout_keeps_the_connection() {
    between_two("55P03", Advice::RetryLater, async |other, ours| {
        other.batch_execute("BEGIN; LOCK TABLE t").await.unwrap();
        ours.batch_execute("SET lock_timeout = '50ms'; BEGIN").await.unwrap();
        let error = refused(ours.batch_execute("LOCK TABLE t")).await;
        other.batch_execute("ROLLBACK").await.unwrap();
        error
    })
    .await;
}

#[tokio::test]
async fn f021_a_deadlock_keeps_the_connection() {
    between_two("40P01", Advice::RetryTransaction, async |other, ours| {
        let waiting = process(other).await;
        // The one that notices is the one that loses.
        other.batch_execute("SET deadlock_timeout = '1h'; BEGIN; UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
        ours.batch_execute("SET deadlock_timeout = '50ms'; BEGIN; UPDATE t SET n = 1 WHERE id = 2").await.unwrap();
        let theirs = other.batch_execute("UPDATE t SET n = 1 WHERE id = 2");
        let ours = async {
            // It looks for a deadlock once, so there has to be one by then.
            eventually("the other one waits", async || is_blocked(ours, waiting).await).await;
            refused(ours.batch_execute("UPDATE t SET n = 1 WHERE id = 1")).await
        };
        let (theirs, ours) = join!(theirs, ours);
        theirs.unwrap();
        other.batch_execute("ROLLBACK").await.unwrap();
        ours
    })
    .await;
}

#[tokio::test]
async fn f022_a_serialization_failure_at_a_statement_keeps_the_connection() {
    between_two("40001", Advice::RetryTransaction, async |other, ours| {
        ours.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t").await.unwrap();
        other.batch_execute("UPDATE t SET n = 1").await.unwrap();
        refused(ours.batch_execute("UPDATE t SET n = 2")).await
    })
    .await;
}

#[tokio::test]
async fn f022_a_serialization_failure_at_commit_keeps_the_connection() {
    between_two("40001", Advice::RetryTransaction, async |other, ours| {
        for session in [other, ours] {
            session.batch_execute("BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(n) FROM t").await.unwrap();
        }
        other.batch_execute("UPDATE t SET n = 1 WHERE id = 1").await.unwrap();
        ours.batch_execute("UPDATE t SET n = 1 WHERE id = 2").await.unwrap();
        other.batch_execute("COMMIT").await.unwrap();
        refused(ours.batch_execute("COMMIT")).await
    })
    .await;
}

#[tokio::test]
async fn f023_a_deferred_constraint_keeps_the_connection() {
    let before = "CREATE TABLE t (n int UNIQUE DEFERRABLE INITIALLY DEFERRED); BEGIN; INSERT INTO t VALUES (1), (1)";
    kept_after(before, "COMMIT", "23505", Advice::Never, Fate::Keep).await;
}

#[tokio::test]
async fn a_failed_transaction_is_rolled_back_and_its_connection_kept() {
    let (chaos, _) = stage().await;
    let lease = chaos.working().await;
    assert!(lease.batch_execute("BEGIN; SELECT 1/0").await.is_err());
    let error = lease.batch_execute("SELECT 1").await.unwrap_err();
    assert_means(&error, "25P02", Advice::Never, Fate::Reset);
    assert!(is_kept(&chaos.pool, lease).await);
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f026_a_limit_on_temporary_files_keeps_the_connection() {
    let before = "SET temp_file_limit = '100kB'; SET work_mem = '64kB'";
    let sort = "SELECT count(*) FROM (SELECT g FROM generate_series(1, 200000) g ORDER BY 1 OFFSET 0) s";
    kept_after(before, sort, "53400", Advice::RetryLater, Fate::Keep).await;
}

#[tokio::test]
async fn f027_a_read_only_transaction_of_ones_own_keeps_the_connection() {
    kept(true, "BEGIN READ ONLY", "CREATE TABLE t (n int)", "25006", Advice::RetryLater, Fate::EvictHost).await;
}

#[tokio::test]
async fn f027_a_server_that_does_not_write_loses_the_connection() {
    let before = "SET default_transaction_read_only = on";
    kept(false, before, "CREATE TABLE t (n int)", "25006", Advice::RetryLater, Fate::EvictHost).await;
}

#[tokio::test]
async fn an_error_of_the_machine_below_closes_the_connection() {
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '58030'; END $$";
    kept(false, "", raise, "58030", Advice::RetryLater, Fate::Close).await;
}

#[tokio::test]
async fn a_prepared_statement_that_is_not_there_keeps_the_connection() {
    kept_after("", "EXECUTE nothing", "26000", Advice::RetryNow, Fate::Keep).await;
    kept_after("PREPARE p AS SELECT 1", "PREPARE p AS SELECT 2", "42P05", Advice::Never, Fate::Keep).await;
}

/// Statements that have to be prepared again, outside of a transaction, and then work.
#[tokio::test]
async fn a_stale_prepared_statement_is_prepared_again() {
    let (chaos, schema) = stage().await;
    let lease = chaos.working().await;
    let all = format!("SELECT * FROM {schema}.t");
    lease.batch_execute(&format!("CREATE TABLE {schema}.t (n int)")).await.unwrap();
    for (code, change) in [("0A000", format!("ALTER TABLE {schema}.t ADD m int")), ("26000", "DISCARD ALL".to_owned())]
    {
        let statement = lease.prepare(&all).await.unwrap();
        lease.query(&statement, &[]).await.unwrap();
        lease.batch_execute(&change).await.unwrap();
        let error = lease.query(&statement, &[]).await.unwrap_err();
        assert_means(&error, code, Advice::RetryNow, Fate::Keep);
        assert!(Diagnosis::of(&error).prepare_again);
        lease.query(&lease.prepare(&all).await.unwrap(), &[]).await.unwrap();
    }
    // What the client has prepared for itself is gone as well.
    assert!(!is_kept(&chaos.pool, lease).await);
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn what_the_client_refuses_keeps_the_connection() {
    let (chaos, _) = stage().await;
    let lease = chaos.working().await;
    let row = lease.query_one("SELECT 1", &[]).await.unwrap();
    for error in [
        lease.query_one("SELECT $1::int", &[&"text"]).await.unwrap_err(),
        lease.query_one("SELECT generate_series(1, 2)", &[]).await.unwrap_err(),
        row.try_get::<_, String>(0).unwrap_err(),
        row.try_get::<_, i32>("nothing").unwrap_err(),
    ] {
        assert_means(&error, "none", Advice::Never, Fate::Keep);
    }
    assert!(is_kept(&chaos.pool, lease).await);
    invariants::hold(chaos).await;
}

#[tokio::test]
async fn f002_a_session_that_is_ended_inside_a_query_leaves_the_outcome_unknown() {
    let (mut chaos, _) = stage().await;
    let lease = chaos.working().await;
    let mark = lease.mark();
    let killing = async {
        while !chaos.watch.works_on("SELECT pg_sleep(600)").await {
            tokio::task::yield_now().await;
        }
        assert_eq!(chaos.watch.terminate().await, 1);
    };
    let (error, ()) =
        in_time("its end", async { join!(refused(lease.batch_execute("SELECT pg_sleep(600)")), killing) }).await;
    assert_means(&error, "57P01", Advice::OutcomeUnknown, Fate::Close);
    assert!(!lease.diagnose(&error, mark).safe_to_retry);
    assert!(!is_kept(&chaos.pool, lease).await);
    assert_eq!(chaos.pool.driver().ends().count("57P01"), 1, "though its task has heard nothing of it");
    chaos.note(&error);
    invariants::hold(chaos).await;
}
