//! The futures of results that come bit by bit, and of data that goes so.

use futures_util::TryStreamExt;
use pool_postgres::{Queries, QueryError};
use pool_testkit::cancel::Cut;
use tokio::time::timeout;
use tokio_postgres::types::Type;

use crate::dropped::{Case, Stage};

const MANY: &str = "SELECT generate_series(1, 100)";
/// As many bytes as there is room for once.
const PIECE: usize = 65_536;

impl Stage {
    fn copy_in(&self, options: &str) -> String {
        format!("COPY {} FROM STDIN {options}", self.table)
    }

    /// Drops the work, or gives it up where answers may never come. Whether it has ended.
    pub(crate) async fn cut_off(&self, cut: Cut, work: impl Future<Output = Result<(), QueryError>>) -> bool {
        self.strike().await;
        cut.apply(timeout(self.fault.patience, work)).await.is_some()
    }
}

pub(crate) const RESULTS: [Case; 12] = [
    ("stream", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let rows = stage.chaos.pool.stream(MANY, &[]).await?;
            rows.try_for_each(async |_| Ok(())).await
        }))
    }),
    ("fetch_in_batches", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let rows = stage.chaos.pool.fetch_in_batches(MANY, &[], 40).await?.rows();
            rows.try_for_each(async |_| Ok(())).await
        }))
    }),
    ("fetch", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let mut cursor = stage.chaos.pool.fetch_in_batches(MANY, &[], 40).await?;
            while cursor.fetch().await?.is_some() {}
            Ok(())
        }))
    }),
    ("close", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let mut cursor = stage.chaos.pool.fetch_in_batches(MANY, &[], 40).await?;
            cursor.fetch().await?;
            cursor.close().await
        }))
    }),
    ("cursor", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let Ok(lease) = stage.chaos.pool.acquire().await else { return Ok(()) };
            Queries::batch_execute(&*lease, "BEGIN").await?;
            let mut cursor = lease.cursor(MANY, &[], 40).await?;
            cursor.fetch().await?;
            cursor.close().await?;
            Queries::batch_execute(&*lease, "COMMIT").await
        }))
    }),
    ("copy_in", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let mut copy = stage.chaos.pool.copy_in(stage.copy_in("")).await?;
            copy.send("1\n-1\n").await?;
            copy.finish().await.map(drop)
        }))
    }),
    ("send", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let Ok(mut lease) = stage.chaos.pool.acquire().await else { return Ok(()) };
            let mut copy = lease.copy_in(stage.copy_in("")).await?;
            for _ in 0..20 {
                copy.send("1\n".repeat(PIECE / 2)).await?;
            }
            Ok(())
        }))
    }),
    ("finish", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let Ok(mut lease) = stage.chaos.pool.acquire().await else { return Ok(()) };
            let mut copy = lease.copy_in(stage.copy_in("")).await?;
            copy.send("1\n-1\n").await?;
            copy.finish().await?;
            Queries::query(&*lease, "SELECT 1", &[]).await.map(drop)
        }))
    }),
    ("copy_in_rows", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let mut rows = stage.chaos.pool.copy_in_rows(stage.copy_in("(FORMAT binary)"), &[Type::INT4]).await?;
            rows.write(&[&1]).await?;
            rows.write(&[&-1]).await?;
            rows.finish().await.map(drop)
        }))
    }),
    ("write", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let mut rows = stage.chaos.pool.copy_in_rows(stage.copy_in("(FORMAT binary)"), &[Type::INT4]).await?;
            for _ in 0..20_000 {
                rows.write(&[&1]).await?;
            }
            Ok(())
        }))
    }),
    ("copy_out", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let data = stage.chaos.pool.copy_out(format!("COPY ({MANY}) TO STDOUT")).await?;
            data.try_for_each(async |_| Ok(())).await
        }))
    }),
    ("copy_out_rows", |stage, cut| {
        Box::pin(stage.cut_off(cut, async move {
            let copy = format!("COPY ({MANY}) TO STDOUT (FORMAT binary)");
            let rows = stage.chaos.pool.copy_out_rows(copy, &[Type::INT4]).await?;
            rows.try_for_each(async |_| Ok(())).await
        }))
    }),
];
