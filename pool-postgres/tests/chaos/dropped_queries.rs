//! The futures of queries.

use std::future::Future;

use pool_postgres::QueryError;

use crate::dropped::{Case, Job, Stage};
use pool_testkit::cancel::Cut;

/// Until it has ended, or has taken as long as it may while something goes wrong.
async fn asked<T>(stage: &Stage, cut: Cut, asking: impl Future<Output = Result<T, QueryError>>) -> bool {
    cut.apply(tokio::time::timeout(stage.fault.patience, asking)).await.is_some()
}

pub(crate) const QUERIES: [Case; 6] = [
    ("query", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            asked(stage, cut, stage.chaos.pool.query("SELECT generate_series(1, $1::int)", &[&3])).await
        })
    }),
    ("query_one", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            asked(stage, cut, stage.chaos.pool.query_one("SELECT $1::int", &[&3])).await
        })
    }),
    ("query_opt", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            asked(stage, cut, stage.chaos.pool.query_opt("SELECT 1 WHERE $1", &[&false])).await
        })
    }),
    ("execute", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            asked(stage, cut, stage.chaos.pool.execute(stage.insert(), &[])).await
        })
    }),
    ("batch_execute", |stage, cut| -> Job<'_, bool> {
        Box::pin(async move {
            stage.strike().await;
            let one = format!("INSERT INTO {} VALUES (1)", stage.table);
            asked(stage, cut, stage.chaos.pool.batch_execute(format!("{one}; {one}"))).await
        })
    }),
    ("prepare_cached", |stage, cut| {
        Box::pin(async move {
            let Ok(lease) = stage.chaos.pool.acquire().await else { return true };
            stage.strike().await;
            asked(stage, cut, lease.prepare_cached(format!("SELECT {}", cut.polls))).await
        })
    }),
];
