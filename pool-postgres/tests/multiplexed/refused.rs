//! What would change a session is refused before anything is sent.

use pool_postgres::retry::Outcome;
use pool_postgres::{Queries, Query, QueryStep};

use crate::stage::Stage;

/// What is refused, by what it is told, and who has a connection for it.
const REFUSED: [(&str, &str, &str); 63] = [
    ("BEGIN", "BEGIN", "begin"),
    ("START TRANSACTION", "START", "begin"),
    ("COMMIT", "COMMIT", "begin"),
    ("END", "END", "begin"),
    ("ROLLBACK", "ROLLBACK", "begin"),
    ("ABORT", "ABORT", "begin"),
    ("SAVEPOINT a", "SAVEPOINT", "begin"),
    ("RELEASE a", "RELEASE", "begin"),
    ("SET application_name = 'x'", "SET", "acquire"),
    ("SET LOCAL application_name = 'x'", "SET", "acquire"),
    ("RESET application_name", "RESET", "acquire"),
    ("LISTEN a", "LISTEN", "listener"),
    ("UNLISTEN *", "UNLISTEN", "listener"),
    ("COPY t FROM STDIN", "COPY", "copy_in"),
    ("COPY t TO STDOUT", "COPY", "copy_in"),
    ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE", "cursor"),
    ("FETCH c", "FETCH", "cursor"),
    ("MOVE c", "MOVE", "cursor"),
    ("CLOSE c", "CLOSE", "cursor"),
    ("LOCK t", "LOCK", "acquire"),
    ("PREPARE s AS SELECT 1", "PREPARE", "acquire"),
    ("EXECUTE s", "EXECUTE", "acquire"),
    ("DEALLOCATE ALL", "DEALLOCATE", "acquire"),
    ("DISCARD ALL", "DISCARD", "acquire"),
    ("CREATE TEMP TABLE t (n int)", "CREATE", "acquire"),
    ("DROP TABLE t", "DROP", "acquire"),
    ("DO $$ BEGIN END $$", "DO", "acquire"),
    ("CALL p()", "CALL", "acquire"),
    ("VACUUM", "VACUUM", "acquire"),
    ("LOAD 'x'", "LOAD", "acquire"),
    ("SECURITY LABEL ON TABLE t IS 'x'", "SECURITY", "acquire"),
    ("", "", "acquire"),
    (" -- nothing\n", "", "acquire"),
    // In front of it.
    ("/* SELECT */ begin", "BEGIN", "begin"),
    ("-- SELECT\nBegin", "BEGIN", "begin"),
    ("/* a /* SELECT */ b */ sEt application_name = 'x'", "SET", "acquire"),
    (" \t\r\n\u{c}set application_name = 'x'", "SET", "acquire"),
    ("; ;SET application_name = 'x'", "SET", "acquire"),
    ("(((LISTEN a", "LISTEN", "listener"),
    // Functions.
    ("SELECT set_config('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT SET_CONFIG ('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT pg_catalog.set_config\n\t('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT \"pg_catalog\" . \"set_config\" ('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT \"SET_CONFIG\"('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT set_config/**/('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT set_config /* a ( b */ ('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT set_config -- here\n('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT set_config -- here\n -- and here\n\n('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT 'set_config(', set_config('application_name', 'x', false)", "set_config", "acquire"),
    ("SELECT length(upper(set_config('application_name', 'x', false)))", "set_config", "acquire"),
    ("WITH a AS (SELECT set_config('application_name', 'x', false)) SELECT 1", "set_config", "acquire"),
    ("INSERT INTO t SELECT 1 WHERE set_config('application_name', 'x', false) = ''", "set_config", "acquire"),
    ("SELECT pg_advisory_lock(1)", "pg_advisory_lock", "acquire"),
    ("SELECT (pg_advisory_lock_shared (1))", "pg_advisory_lock_shared", "acquire"),
    ("SELECT pg_try_advisory_lock(1, 2)", "pg_try_advisory_lock", "acquire"),
    ("SELECT * FROM pg_advisory_unlock_all()", "pg_advisory_unlock_all", "acquire"),
    ("SELECT lastval()", "lastval", "acquire"),
    ("VALUES (setseed(0.5))", "setseed", "acquire"),
    // Tables that are there for as long as the session.
    ("SELECT 1 AS n INTO TEMP t", "INTO", "acquire"),
    ("with a as (select 1 as n) select n into temporary table t from a", "INTO", "acquire"),
    ("EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "CREATE", "acquire"),
    ("EXPLAIN (ANALYZE) SELECT 1 AS n INTO TEMP t", "INTO", "acquire"),
    ("EXPLAIN ANALYZE EXECUTE s", "EXECUTE", "acquire"),
];

/// What looks a little like it.
const SENT: [&str; 29] = [
    "SELECT 1",
    "((SELECT 1))",
    "/* SET */ SELECT 1",
    "-- BEGIN\nselect 1",
    "SELECT 'set_config(''a'', ''b'', false)'",
    "SELECT E'\\'set_config(' AS a",
    "SELECT $$set_config('a', 'b', false)$$",
    "SELECT $a$ pg_advisory_lock(1) $a$",
    "SELECT 1 /* set_config('a', 'b', false) */",
    "SELECT 1 -- set_config('a', 'b', false)",
    "SELECT set_config FROM (SELECT 1 AS set_config) AS a",
    "SELECT set_config FROM (SELECT 1 AS set_config) AS a WHERE set_config IN (1, 2)",
    "SELECT set_config, (1 + 1) FROM (SELECT 1 AS set_config) AS a",
    "SELECT my_set_config(1)",
    "SELECT -- set_config\n(1)",
    "SELECT 1 /* set_config */ + (1)",
    "SELECT pg_advisory_xact_lock(1)",
    "WITH a AS (SELECT 1 AS n) INSERT INTO t SELECT n FROM a",
    "WITH a AS (INSERT INTO t VALUES (1) RETURNING n) SELECT n FROM a",
    "INSERT INTO t VALUES (1)",
    "INSERT /* here */ INTO t VALUES (1)",
    "MERGE INTO t USING (SELECT 1 AS n) AS a ON t.n = a.n WHEN NOT MATCHED THEN INSERT VALUES (1)",
    "UPDATE t SET n = 2",
    "DELETE FROM t",
    "TABLE t",
    "VALUES (1)",
    "SHOW application_name",
    "EXPLAIN INSERT INTO t VALUES (1)",
    "NOTIFY a",
];

/// Not even a statement is prepared: it has never been asked anything but what the pool itself asks.
#[tokio::test]
async fn what_would_change_a_session_is_refused_before_anything_is_sent() {
    let stage = Stage::start(1).await;
    stage.multiplexed.query("SELECT 1", &[]).await.unwrap();
    let asked = async || {
        let seen = "SELECT query, query_start::text, state_change::text FROM pg_stat_activity WHERE application_name = 'shared' AND datname = current_database()";
        let row = stage.watcher.query_one(seen, &[]).await.unwrap();
        [0, 1, 2].map(|column| row.get::<_, String>(column))
    };
    let (before, sent) = (asked().await, stage.pool.acquire().await.unwrap().activity().bytes_sent);
    for (sql, what, instead) in REFUSED {
        let error = stage.multiplexed.execute(sql, &[]).await.expect_err(sql);
        let refused = error.needs_session().unwrap_or_else(|| panic!("{sql} is sent: {error}"));
        assert!(refused.what() == what && refused.instead().contains(instead), "{sql}: {refused:?}");
        assert_eq!((error.step(), error.outcome()), (QueryStep::Share, Outcome::NotDone), "{sql}: {error}");
        assert!(!error.diagnosis().safe_to_retry, "{sql}: trying again does not help");
        let text = error.to_string();
        assert!(text.contains(instead) && text.contains("adaptive") && !text.contains('\n'), "{sql}: {text}");
    }
    assert_eq!(stage.pool.acquire().await.unwrap().activity().bytes_sent, sent, "nothing is sent");
    assert_eq!(asked().await, before);
    stage.end().await;
}

/// By all methods, and before there is a connection.
#[tokio::test]
async fn no_method_sends_it() {
    let stage = Stage::start(1).await;
    let (database, sql) = (&stage.multiplexed, "SET application_name = 'x'");
    let query = || Query::new(sql).unprepared();
    let errors = [
        database.query(query(), &[]).await.unwrap_err(),
        database.query_one(sql, &[]).await.unwrap_err(),
        database.query_opt(query(), &[]).await.unwrap_err(),
        database.execute(sql, &[]).await.unwrap_err(),
        Queries::query(database, sql, &[]).await.unwrap_err(),
        Queries::query_one(database, sql, &[]).await.unwrap_err(),
        Queries::query_opt(database, sql, &[]).await.unwrap_err(),
        Queries::execute(database, sql, &[]).await.unwrap_err(),
        Queries::batch_execute(database, "SELECT 1").await.unwrap_err(),
    ];
    assert!(errors.iter().all(|error| error.needs_session().is_some()), "{errors:?}");
    assert!(errors[8].needs_session().unwrap().instead().contains("batch_execute"));
    assert_eq!(stage.pool.stats().opened, 1, "by connecting, which asks for one");
    stage.end().await;
}

#[tokio::test]
async fn what_looks_like_it_is_sent() {
    let stage = Stage::start(1).await;
    stage
        .run("CREATE TABLE t (n int); CREATE FUNCTION my_set_config(int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        .await;
    for sql in SENT {
        if let Err(error) = stage.multiplexed.query(sql, &[]).await {
            panic!("{sql}: {error}");
        }
    }
    assert_eq!(stage.pool.stats().opened, 1);
    stage.end().await;
}

/// One text is one statement: the server refuses more, and does none of them.
#[tokio::test]
async fn a_second_statement_is_not_carried_out() {
    let stage = Stage::start(1).await;
    for query in [Query::new("SELECT 1; SET application_name = 'x'"), Query::new("SELECT 1; BEGIN").unprepared()] {
        let error = stage.multiplexed.execute(query, &[]).await.unwrap_err();
        assert_eq!((error.outcome(), error.sqlstate().unwrap().code()), (Outcome::NotDone, "42601"), "{error}");
    }
    let row = stage.multiplexed.query_one("SHOW application_name", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), stage.pool.stats().opened), ("shared", 1));
    stage.end().await;
}
