//! Batches: several connections or none. Two that want three of four each would wait for each other for ever if they took them one by one.
//!
//! `cargo run -p pool-core --example batches`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{AcquireError, Request, ScheduleConfig, Shed};
    use std::time::Duration;
    use tokio::time::sleep;

    let pool = toy::pool(4).build()?;
    let scheduler = pool.schedule(ScheduleConfig::default())?;
    let workers: Vec<_> = (0..8)
        .map(|worker| (worker, scheduler.clone()))
        .map(|(worker, scheduler)| {
            tokio::spawn(async move {
                let batch = scheduler.acquire_many(Request::new(), 3).await?;
                println!("{worker} has {}, {} and {}", *batch[0], *batch[1], *batch[2]);
                sleep(Duration::from_millis(10)).await;
                Ok::<_, AcquireError>(batch.len())
            })
        })
        .collect();
    // Those who want one do not keep a batch from its turn.
    let single = {
        let scheduler = scheduler.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                drop(scheduler.acquire(Request::new()).await?);
                sleep(Duration::from_millis(1)).await;
            }
            Ok::<_, AcquireError>(())
        })
    };
    for worker in workers {
        assert_eq!(worker.await??, 3);
    }
    single.await??;

    let error = scheduler.acquire_many(Request::new(), 5).await.err().ok_or("there are four")?;
    println!("{error}");
    assert!(matches!(&error, AcquireError::Shed { why, .. } if **why == Shed::Impossible { wanted: 5, max: 4 }));
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
