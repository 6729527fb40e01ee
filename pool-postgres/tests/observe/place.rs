//! Where a lease was acquired is where the caller has asked, and not a line of this library.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use pool_core::ObserveConfig;
use pool_core::http::Status;
use pool_postgres::retry::RetryPolicy;
use pool_postgres::{PostgresPool, Queries, QueryError, TransactionOptions};
use pool_testkit::spans::Spans;
use serde_json::Value;
use tracing::subscriber::set_default;

use crate::common::{config, database, eventually};

const SLOW: &str = "SELECT pg_sleep(60)";
/// Nothing for a connection that others use, too.
const ALONE: &str = "SELECT pg_sleep(60), set_config('app.mine', '1', false)";

fn places(status: &Status) -> Vec<String> {
    let json: Value = serde_json::from_str(&status.json()).unwrap();
    let holders = json["pools"][0]["holders"].as_array().into_iter().flatten();
    holders.filter_map(|holder| holder["place"].as_str().map(str::to_owned)).collect()
}

/// Begins it and gives it up as soon as there is a holder, who has to be here.
async fn is_here<T>(status: &Status, name: &str, doing: impl Future<Output = T>) {
    let holding = pin!(async {
        let _kept = doing.await;
        pending::<()>().await;
    });
    tokio::select! {
        () = holding => {}
        () = eventually(name, || async { !places(status).is_empty() }) => {}
    }
    let places = places(status);
    assert!(places.iter().all(|place| place.contains(file!())), "{name}: {places:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_of_a_lease_is_the_callers() {
    let database = database();
    let mut config = config(database.url(), 1);
    config.pool.leak_after = Some(Duration::from_mins(1));
    let pool = PostgresPool::connect(config).await.unwrap();
    let status = Status::new().pool(pool.observe(ObserveConfig::default()).unwrap());
    let retrier = pool.retrying(RetryPolicy::default()).unwrap();
    let adaptive = pool.multiplexed().adaptive();
    macro_rules! check {
        ($($name:literal: $doing:expr;)*) => {$(
            is_here(&status, $name, $doing).await;
            eventually("it is back", || async { places(&status).is_empty() }).await;
        )*};
    }
    check! {
        "query": pool.query(SLOW, &[]);
        "query_one": pool.query_one(SLOW, &[]);
        "query_opt": pool.query_opt(SLOW, &[]);
        "execute": pool.execute(SLOW, &[]);
        "batch_execute": pool.batch_execute(SLOW);
        "Queries::query": Queries::query(&pool, SLOW, &[]);
        "Queries::execute": Queries::execute(&pool, SLOW, &[]);
        "Multiplexed::query": adaptive.query(ALONE, &[]);
        "Multiplexed::execute": adaptive.execute(ALONE, &[]);
        "begin": pool.begin();
        "begin_with": pool.begin_with(TransactionOptions::default());
        "transaction": pool.transaction(async |tx| tx.execute(SLOW, &[]).await);
        "transaction_with": pool.transaction_with(TransactionOptions::default(), async |tx| tx.execute(SLOW, &[]).await);
        "stream": pool.stream("SELECT generate_series(1, 1000000)", &[]);
        "fetch_in_batches": pool.fetch_in_batches("SELECT generate_series(1, 1000000)", &[], 10);
        "copy_out": pool.copy_out("COPY (SELECT generate_series(1, 1000000)) TO STDOUT");
        "idempotent": retrier.idempotent(async |lease| Queries::execute(&**lease, SLOW, &[]).await);
        "once": retrier.once(async |lease| Queries::execute(&**lease, SLOW, &[]).await);
        "Retrier::transaction": retrier.transaction(async |lease| Queries::execute(&**lease, SLOW, &[]).await);
        "Retrier::transaction_with": retrier.transaction_with(TransactionOptions::default(), async |lease| {
            Queries::execute(&**lease, SLOW, &[]).await.map(drop)?;
            Ok::<_, QueryError>(())
        });
    }
}

#[tokio::test]
async fn the_place_of_an_acquire_is_that_of_whoever_asks_beside_others() {
    let (database, spans) = (database(), Spans::default());
    let _listening = set_default(spans.clone());
    let pool = PostgresPool::connect(config(database.url(), 1)).await.unwrap();
    let beside = pool.multiplexed();
    beside.query("SELECT 1", &[]).await.unwrap();
    beside.query_one("SELECT 1", &[]).await.unwrap();
    beside.query_opt("SELECT 1", &[]).await.unwrap();
    beside.execute("SELECT 1", &[]).await.unwrap();
    let acquires = spans.named("pool.acquire");
    assert_eq!(acquires.len(), 5, "the first is that of `connect`: {acquires:#?}");
    assert!(acquires.iter().all(|acquire| acquire.field("place").contains(file!())), "{acquires:#?}");
}
