//! What a connection keeps.

use pool_postgres::tokio_postgres::error::SqlState;
use pool_postgres::tokio_postgres::types::Type;
use pool_postgres::{Queries, Query, QueryStep};

use super::{on_server, pool};

#[tokio::test]
async fn a_statement_is_prepared_once_for_each_connection() {
    let (_database, pool) = pool(1, |_| {}).await;
    for n in 1..=5_i32 {
        let row = pool.query_one("SELECT $1::int * 2", &[&n]).await.unwrap();
        assert_eq!(row.get::<_, i32>(0), 2 * n);
    }
    let lease = pool.acquire().await.unwrap();
    assert_eq!((on_server(&lease).await, lease.prepared_statements()), (1, 1));
    let stats = pool.driver().statements();
    assert_eq!((stats.prepared, stats.hits, stats.unprepared), (1, 4, 0));
    // Of all kinds of answers.
    let rows = lease.prepare_cached("SELECT $1::int * 2").await.unwrap();
    assert_eq!(rows.params(), [Type::INT4]);
    assert_eq!(Queries::query(&*lease, "SELECT generate_series(1, $1::int)", &[&3]).await.unwrap().len(), 3);
    assert!(Queries::query_opt(&*lease, "SELECT 1 WHERE $1", &[&false]).await.unwrap().is_none());
    assert_eq!(Queries::execute(&*lease, "SELECT generate_series(1, $1::int)", &[&3]).await.unwrap(), 3);
    assert_eq!(lease.prepared_statements(), 3, "however it is asked");
}

#[tokio::test]
async fn no_more_are_kept_than_there_is_room_for() {
    let (_database, pool) = pool(1, |statements| (statements.cache, statements.warm) = (10, 0)).await;
    let lease = pool.acquire().await.unwrap();
    let often = "SELECT 'often'";
    for n in 0..500 {
        Queries::execute(&*lease, format!("SELECT {n}"), &[]).await.unwrap();
        Queries::execute(&*lease, often, &[]).await.unwrap();
    }
    assert_eq!((on_server(&lease).await, lease.prepared_statements()), (10, 10));
    let stats = pool.driver().statements();
    assert_eq!((stats.prepared, stats.evicted, stats.hits), (501, 491, 499), "what is used often stays");
}

#[tokio::test]
async fn a_statement_is_prepared_at_the_use_that_is_set() {
    let (_database, pool) = pool(1, |statements| statements.prepare_after = 3).await;
    let lease = pool.acquire().await.unwrap();
    let mut seen = Vec::new();
    for n in 0..4_i32 {
        // A row keeps its statement.
        let sum: i32 = Queries::query_one(&*lease, "SELECT $1::int + 1", &[&n]).await.unwrap().get(0);
        assert_eq!(sum, n + 1);
        seen.push(on_server(&lease).await);
    }
    assert_eq!(seen, [0, 0, 1, 1]);
    let stats = pool.driver().statements();
    assert_eq!((stats.described, stats.unprepared, stats.prepared, stats.hits), (1, 1, 1, 1));
}

#[tokio::test]
async fn what_is_used_most_is_prepared_when_a_connection_is_opened() {
    let (_database, pool) = pool(2, |statements| statements.warm = 2).await;
    let first = pool.acquire().await.unwrap();
    for (sql, times) in [("SELECT 1", 1), ("SELECT $1::int", 40), ("SELECT $1::text", 20)] {
        for _ in 0..times {
            let known: Vec<&(dyn pool_postgres::tokio_postgres::types::ToSql + Sync)> = match sql {
                "SELECT $1::int" => vec![&7_i32],
                "SELECT $1::text" => vec![&"x"],
                _ => vec![],
            };
            Queries::query(&*first, sql, &known).await.unwrap();
        }
    }
    let second = pool.acquire().await.unwrap();
    assert_eq!((second.prepared_statements(), on_server(&second).await), (2, 2));
    let before = pool.driver().statements();
    assert_eq!((before.warmed, before.prepared), (2, 3));
    Queries::query(&*second, "SELECT $1::int", &[&1_i32]).await.unwrap();
    Queries::query(&*second, "SELECT $1::text", &[&"y"]).await.unwrap();
    let after = pool.driver().statements();
    assert_eq!((after.prepared, after.hits), (before.prepared, before.hits + 2), "nobody waits for that any more");
    assert_eq!(
        pool.stats().execution.count,
        64,
        "what the pool prepares is no execution, and what the test asks is one"
    );
}

#[tokio::test]
async fn what_the_server_refuses_by_now_does_not_keep_a_connection_from_being_opened() {
    let (_database, pool) = pool(2, |_| {}).await;
    let first = pool.acquire().await.unwrap();
    first.batch_execute("CREATE TABLE t (a int)").await.unwrap();
    for _ in 0..2 {
        Queries::query(&*first, "SELECT a FROM t", &[]).await.unwrap();
        Queries::query(&*first, "SELECT 1", &[]).await.unwrap();
    }
    first.batch_execute("DROP TABLE t").await.unwrap();
    let second = pool.acquire().await.unwrap();
    assert_eq!((second.prepared_statements(), pool.driver().statements().warmed), (1, 1));
}

#[tokio::test]
async fn a_query_says_how_it_is_sent() {
    let (_database, pool) = pool(1, |_| {}).await;
    let lease = pool.acquire().await.unwrap();
    let sql = "SELECT $1 + 1";
    let typed = Query::new(sql).with_types(&[Type::INT8]);
    assert_eq!(Queries::query_one(&*lease, typed.clone(), &[&1_i64]).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!(Queries::query_one(&*lease, sql, &[&1_i32]).await.unwrap().get::<_, i32>(0), 2);
    assert_eq!(on_server(&lease).await, 2, "with these types and with the server's own");
    let once = typed.unprepared();
    assert_eq!(Queries::query_one(&*lease, once, &[&1_i64]).await.unwrap().get::<_, i64>(0), 2);
    let once = Query::new("SELECT 5").unprepared();
    assert_eq!(Queries::query_one(&*lease, once, &[]).await.unwrap().get::<_, i32>(0), 5);
    assert_eq!(on_server(&lease).await, 2);
    assert_eq!(pool.driver().statements().described, 1, "what is known of the one is not asked again");
}

#[tokio::test]
async fn none_is_kept_if_there_is_no_room_at_all() {
    let (_database, pool) = pool(1, |statements| (statements.cache, statements.warm) = (0, 0)).await;
    let lease = pool.acquire().await.unwrap();
    for n in 0..3_i32 {
        assert_eq!(Queries::query_one(&*lease, "SELECT $1::int", &[&n]).await.unwrap().get::<_, i32>(0), n);
    }
    assert_eq!((on_server(&lease).await, lease.prepared_statements()), (0, 0));
}

#[tokio::test]
async fn an_error_says_what_was_done_and_tells_no_secret() {
    let (_database, pool) = pool(1, |_| {}).await;
    let error = pool.query("SELECT nothing FROM nowhere WHERE x = 'hidden'", &[]).await.unwrap_err();
    assert_eq!((error.step(), error.sqlstate()), (QueryStep::Prepare, Some(&SqlState::UNDEFINED_TABLE)));
    assert_eq!(error.outcome(), pool_postgres::retry::Outcome::NotDone);
    let text = error.to_string();
    for part in ["preparing \"SELECT nothing FROM nowhere WHERE x = ?\" on ", "nothing was done", "(SQLSTATE 42P01)"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("hidden"), "{text}");
    let secret = "hidden, and no number";
    let error = pool.query_one("SELECT $1::text::int", &[&secret]).await.unwrap_err();
    assert_eq!((error.step(), error.sqlstate()), (QueryStep::Execute, Some(&SqlState::INVALID_TEXT_REPRESENTATION)));
    let few = pool.query_one("SELECT 1 WHERE $1", &[&false]).await.unwrap_err();
    assert!(few.to_string().contains("unexpected number of rows"), "{few}");
    let count = pool.execute("SELECT $1::int", &[]).await.unwrap_err();
    assert!(count.to_string().contains("expected 1 parameters but got 0"), "{count}");
    let lease = pool.acquire().await.unwrap();
    assert_eq!(Queries::query_one(&*lease, "SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1, "it goes on");
}
