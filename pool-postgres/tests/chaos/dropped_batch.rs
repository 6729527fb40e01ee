//! The futures of statements that are sent together.

use futures_util::StreamExt;

use crate::dropped::Case;

pub(crate) const BATCHES: [Case; 2] = [
    ("execute_all", |stage, cut| {
        Box::pin(async move {
            let insert = format!("INSERT INTO {} VALUES ($1)", stage.table);
            let batch = stage.chaos.pool.batch().add(&insert, &[&1]).add("SELECT 1", &[]).add(&insert, &[&-1]);
            stage.cut_off(cut, async { batch.execute_all().await.map(drop) }).await
        })
    }),
    ("send", |stage, cut| {
        Box::pin(async move {
            let insert = stage.insert();
            let batch = stage.chaos.pool.batch().one_by_one().add("SELECT 1", &[]).add(&insert, &[]);
            stage
                .cut_off(cut, async {
                    let mut answers = batch.send().await?;
                    while answers.next().await.transpose()?.is_some() {}
                    Ok(())
                })
                .await
        })
    }),
];
