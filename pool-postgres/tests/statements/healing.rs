//! What was prepared, and is out of date.

use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::{PostgresConnection, PostgresPool, Queries, Query};

use super::pool;

/// A table of one row, which has been asked for by a statement that is prepared.
async fn asked_before(pool: &PostgresPool) {
    pool.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(pool.query_one("SELECT * FROM t", &[]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_table_that_has_another_column_is_read_as_it_is_now() {
    let (_database, pool) = pool(1, |_| {}).await;
    asked_before(&pool).await;
    pool.batch_execute("ALTER TABLE t ADD b int").await.unwrap();
    assert_eq!(pool.query_one("SELECT * FROM t", &[]).await.unwrap().len(), 2);
    assert_eq!(pool.driver().statements().healed, 1);
    assert_eq!(pool.query_one("SELECT * FROM t", &[]).await.unwrap().len(), 2);
    assert_eq!(pool.driver().statements().healed, 1, "once");
}

#[tokio::test]
async fn in_a_transaction_it_is_an_error_and_afterwards_it_is_not() {
    let (_database, pool) = pool(1, |_| {}).await;
    asked_before(&pool).await;
    let lease = pool.acquire().await.unwrap();
    lease.batch_execute("ALTER TABLE t ADD b int").await.unwrap();
    lease.batch_execute("BEGIN").await.unwrap();
    let error = Queries::query(&*lease, "SELECT * FROM t", &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some(&SqlState::FEATURE_NOT_SUPPORTED), "{error}");
    lease.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(Queries::query_one(&*lease, "SELECT * FROM t", &[]).await.unwrap().len(), 2);
    assert_eq!(pool.driver().statements().healed, 0, "it was prepared anew");
}

#[tokio::test]
async fn statements_that_somebody_has_deallocated_are_prepared_again() {
    let (_database, pool) = pool(1, |_| {}).await;
    let lease = pool.acquire().await.unwrap();
    let ask = async |n: i32| {
        let sql = format!("SELECT {n} + $1::int");
        Queries::query_one(&*lease, sql, &[&n]).await.unwrap().get::<_, i32>(0)
    };
    for (round, forget) in ["DEALLOCATE ALL", "DISCARD ALL", "DISCARD PLANS"].into_iter().enumerate() {
        for n in 0..3 {
            assert_eq!(ask(n).await, 2 * n);
        }
        lease.batch_execute(forget).await.unwrap();
        for n in 0..3 {
            assert_eq!(ask(n).await, 2 * n, "{forget}");
        }
        let healed = pool.driver().statements().healed;
        assert_eq!(healed, [1, 2, 2][round], "one finds out, and all others are prepared anew: {forget}");
    }
}

#[tokio::test]
async fn a_parameter_that_has_another_type_by_now_gets_that() {
    for unprepared in [false, true] {
        let (_database, pool) = pool(1, |_| {}).await;
        pool.batch_execute("CREATE TABLE t (a int)").await.unwrap();
        let insert = || {
            let query = Query::new("INSERT INTO t VALUES ($1)");
            if unprepared { query.unprepared() } else { query }
        };
        pool.execute(insert(), &[&1_i32]).await.unwrap();
        pool.execute(insert(), &[&1_i32]).await.unwrap();
        pool.batch_execute("ALTER TABLE t ALTER a TYPE text").await.unwrap();
        pool.execute(insert(), &[&"three"]).await.unwrap();
        let rows = pool.query("SELECT a FROM t", &[]).await.unwrap();
        let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(rows, ["1", "1", "three"]);
        assert_eq!(pool.driver().statements().healed, 1, "unprepared: {unprepared}");
        // What does not fit is an error each time, and nothing comes of it.
        pool.execute(insert(), &[&4_i32]).await.unwrap_err();
        assert_eq!(pool.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 3);
    }
}

/// How often a function was called that fails like a plan that is out of date, after it has done something that no rollback undoes.
async fn calls(connection: &PostgresConnection) -> i64 {
    connection.query_one("SELECT last_value - 1 FROM calls", &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn nothing_is_executed_twice() {
    let (_database, pool) = pool(1, |_| {}).await;
    let lease = pool.acquire().await.unwrap();
    lease
        .batch_execute(
            "CREATE SEQUENCE calls; SELECT nextval('calls');
             CREATE FUNCTION fail(code text, text text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM nextval('calls');
                 IF code = '' THEN RETURN 1; END IF;
                 RAISE EXCEPTION USING ERRCODE = code, MESSAGE = text;
             END $$",
        )
        .await
        .unwrap();
    let mut expected = 0;
    for query in [Query::new("SELECT fail($1, $2)"), Query::new("SELECT fail($1, $2)").unprepared()] {
        for (code, text) in
            [("", ""), ("0A000", "cached plan must not change result type"), ("26000", "gone"), ("42804", "other")]
        {
            let outcome = Queries::query(&*lease, query.clone(), &[&code, &text]).await;
            expected += 1;
            assert_eq!(outcome.is_ok(), code.is_empty(), "{code}");
            assert_eq!(calls(&lease).await, expected, "{code}: {query:?}");
        }
    }
    assert_eq!(pool.driver().statements().healed, 0);
}
