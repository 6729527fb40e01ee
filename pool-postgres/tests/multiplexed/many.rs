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
