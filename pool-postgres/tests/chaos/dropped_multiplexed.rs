//! The futures of queries on connections that others use at the same time: beside each there is another one, which is answered if anything is.

use std::future::Future;

use futures_util::future::select;
use pool_postgres::{Queries, QueryError};

use crate::dropped::{Case, Stage};
use pool_testkit::cancel::Cut;

/// Until it has ended, or has taken as long as it may while something goes wrong. Another one is under way on the same connection, and is given up after it.
async fn asked<T>(stage: &Stage, cut: Cut, asking: impl Future<Output = Result<T, QueryError>>) -> bool {
    let beside = stage.chaos.pool.multiplexed();
    let beside = tokio::spawn(async move { beside.query_one("SELECT 41 + $1::int", &[&1]).await });
    let ended = cut.apply(tokio::time::timeout(stage.fault.patience, asking)).await.is_some();
    let beside = std::pin::pin!(async { beside.await.unwrap() });
    let patience = std::pin::pin!(tokio::time::sleep(stage.fault.patience));
    if let futures_util::future::Either::Left((outcome, _)) = select(beside, patience).await {
        match outcome {
            Ok(row) => assert_eq!(row.get::<_, i32>(0), 42, "the answer to its own question"),
            Err(error) => assert!(!stage.fault.is_gentle(), "it is hit: {error}"),
        }
    }
    ended
}

pub(crate) const MULTIPLEXED: [Case; 6] = [
    ("query", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            asked(stage, cut, stage.chaos.pool.multiplexed().query("SELECT generate_series(1, $1::int)", &[&3])).await
        })
    }),
    ("query_one", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            asked(stage, cut, stage.chaos.pool.multiplexed().query_one("SELECT $1::int", &[&3])).await
        })
    }),
    ("query_opt", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            asked(stage, cut, stage.chaos.pool.multiplexed().query_opt("SELECT 1 WHERE $1", &[&false])).await
        })
    }),
    ("execute", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            asked(stage, cut, stage.chaos.pool.multiplexed().execute(stage.insert(), &[])).await
        })
    }),
    ("execute", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let setting = "SET search_path = nowhere";
            asked(stage, cut, stage.chaos.pool.multiplexed().adaptive().execute(setting, &[])).await
        })
    }),
    ("batch_execute", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let (one, adaptive) =
                (format!("INSERT INTO {} VALUES (1)", stage.table), stage.chaos.pool.multiplexed().adaptive());
            asked(stage, cut, adaptive.batch_execute(format!("{one}; {one}"))).await
        })
    }),
];
