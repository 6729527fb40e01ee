//! Many callers at a time.

use futures_util::future::try_join_all;

use crate::common::pool;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_use_one_connection_and_each_gets_its_own_answer() {
    let (database, pool) = pool(1).await;
    let multiplexed = pool.multiplexed();
    let asking = (0..200_i32).map(|number| {
        let multiplexed = multiplexed.clone();
        async move {
            for turn in 0..20 {
                let row = multiplexed.query_one("SELECT $1::int + $2::int", &[&number, &turn]).await?;
                assert_eq!(row.get::<_, i32>(0), number + turn);
            }
            Ok::<_, pool_postgres::QueryError>(())
        }
    });
    let tasks = asking.map(tokio::spawn);
    for outcome in try_join_all(tasks).await.unwrap() {
        outcome.unwrap();
    }
    assert_eq!(pool.stats().opened, 1);
    pool.disconnect().await;
    drop(database);
}

/// An error of the client that comes after the answer: the statement has been executed, and is not once more.
#[tokio::test]
async fn what_has_been_done_is_not_done_again_though_the_client_does_not_like_the_answer() {
    let (database, pool) = pool(1).await;
    pool.batch_execute("CREATE TABLE counted (n int); INSERT INTO counted VALUES (0), (0)").await.unwrap();
    let multiplexed = pool.multiplexed();
    let count = "UPDATE counted SET n = n + 1 RETURNING n";
    multiplexed.execute(count, &[]).await.unwrap();
    for _ in 0..5 {
        assert!(multiplexed.query_one(count, &[]).await.unwrap_err().as_db_error().is_none(), "there are two rows");
    }
    let row = multiplexed.query_one("SELECT min(n), max(n) FROM counted", &[]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i32>(1)), (6, 6));
    pool.disconnect().await;
    drop(database);
}
