//! What needs a session gets one, and nobody else finds anything of it.

use pool_postgres::{Queries, ReleaseMode};

use crate::stage::Stage;

/// What is left in a session by somebody who was not cleared away.
const LEFT: &str = "SELECT current_setting('application_name') || current_setting('search_path')
    || (SELECT count(*) FROM pg_listening_channels()) || (SELECT count(*) FROM pg_cursors WHERE is_holdable)
    || (SELECT count(*) FROM pg_prepared_statements WHERE from_sql) || (SELECT count(*) FROM pg_class WHERE relpersistence = 't')
    || (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())";

/// Statements that need a session, one after the other.
const ALONE: [&str; 15] = [
    "SET application_name = 'other'",
    "SET search_path = nowhere",
    "LISTEN a",
    "PREPARE s AS SELECT 1",
    "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "CREATE TEMP TABLE t (n int)",
    "SELECT 1 AS n INTO TEMP t",
    "DO $$ BEGIN PERFORM set_config('application_name', 'other', false); END $$",
    "RESET ALL",
    "CREATE TABLE here (n int)",
    "VACUUM here",
    "LOCK TABLE here",
    "SELECT set_config('application_name', 'other', false)",
    "SELECT pg_advisory_lock(8)",
    "REINDEX TABLE here",
];

#[tokio::test]
async fn what_needs_a_session_has_one_and_leaves_nothing() {
    for mode in [ReleaseMode::Changed, ReleaseMode::Verified, ReleaseMode::Clean] {
        let stage = Stage::with(1, |config| config.release.mode = mode).await;
        let adaptive = stage.multiplexed.clone().adaptive();
        let before: String = adaptive.query_one(LEFT, &[]).await.unwrap().get(0);
        for sql in ALONE {
            match adaptive.execute(sql, &[]).await {
                Ok(_) => {}
                // It is in no transaction, which is what it is told.
                Err(error) if sql.starts_with("LOCK") => assert_eq!(error.sqlstate().unwrap().code(), "25P01"),
                Err(error) => panic!("{sql}: {error}"),
            }
            let after: String = adaptive.query_one(LEFT, &[]).await.unwrap().get(0);
            // Of what functions do nobody knows but in the mode that clears everything.
            if mode == ReleaseMode::Clean || !sql.contains("pg_advisory_lock") {
                assert_eq!(after, before, "{mode:?}: {sql} has left something");
            } else {
                stage.pool.retire_all();
            }
        }
        stage.end().await;
    }
}

#[tokio::test]
async fn many_statements_go_in_one_text() {
    let stage = Stage::start(2).await;
    let adaptive = stage.multiplexed.clone().adaptive();
    adaptive
        .batch_execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2); SET application_name = 'other'")
        .await
        .unwrap();
    let row = adaptive.query_one("SELECT count(*), current_setting('application_name') FROM t", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, &str>(1)), (2, "shared"));
    stage.end().await;
}

/// It goes beside all others, in any order, and everybody has his answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_kinds_go_on_beside_each_other() {
    let stage = Stage::start(2).await;
    let tasks: Vec<_> = (0..32_i32)
        .map(|task| {
            let adaptive = stage.multiplexed.clone().adaptive();
            tokio::spawn(async move {
                for n in 0..20 {
                    if (task + n) % 8 == 0 {
                        adaptive.execute("SET application_name = 'other'", &[]).await.unwrap();
                    } else {
                        let asked = "SELECT $1::int + $2::int, current_setting('application_name')";
                        let row = adaptive.query_one(asked, &[&task, &n]).await.unwrap();
                        assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (task + n, "shared"));
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let stats = stage.pool.stats();
    assert_eq!((stats.broken, stats.closed), (0, 0), "{stats:?}");
    stage.end().await;
}
