//! What it is good for. Printed with `--nocapture`, and not judged: the machine may have other things to do.

use std::time::Instant;

use crate::as_one::{INSERT, numbers, table};

const COUNT: i32 = 100;

#[tokio::test]
async fn a_hundred_inserts() {
    let (_database, pool) = table(1).await;
    let values: Vec<i32> = (0..COUNT).collect();
    // Each after the answer to the one before; in a transaction; together, each for itself; and as one.
    let mut best = [f64::MAX; 4];
    for _ in 0..5 {
        for (way, best) in best.iter_mut().enumerate() {
            pool.batch().add("TRUNCATE t", &[]).execute_all().await.unwrap();
            let began = Instant::now();
            match way {
                0 => {
                    for value in &values {
                        pool.execute(INSERT, &[value]).await.unwrap();
                    }
                }
                1 => {
                    let transaction = pool.begin().await.unwrap();
                    for value in &values {
                        pool_postgres::Queries::execute(&transaction, INSERT, &[value]).await.unwrap();
                    }
                    transaction.commit().await.unwrap();
                }
                _ => {
                    let mut batch = if way == 2 { pool.batch().one_by_one() } else { pool.batch() };
                    for value in &values {
                        batch.push(INSERT, &[value]);
                    }
                    batch.execute_all().await.unwrap();
                }
            }
            *best = best.min(began.elapsed().as_secs_f64() * 1e3);
            assert_eq!(numbers(&pool).await, values);
        }
    }
    let [awaited, inside, each, one] = best;
    println!(
        "{COUNT} inserts: awaited {awaited:.1} ms, in a transaction {inside:.1} ms, one by one {each:.1} ms, as one {one:.1} ms"
    );
}
