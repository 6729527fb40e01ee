//! Batches: several connections or none. Two that want three of four each would wait for each other for ever if they took them one by one.
//!
//! `cargo run -p pool-core --example batches`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/service.rs"]
mod service;
#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{AcquireError, Request, ScheduleConfig, Shed};
    use std::time::Duration;

    let pool = toy::pool(4).build()?;
    let scheduler = pool.schedule(ScheduleConfig::default())?;
    let batch = |worker| {
        let scheduler = scheduler.clone();
        tokio::spawn(async move {
            let batch = scheduler.acquire_many(Request::new(), 3).await;
            println!("worker {worker} has {batch:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
            batch.map(|leases| leases.len())
        })
    };
    // Those who want one do not keep a batch from its turn.
    let single = |_| tokio::spawn(service::serve(scheduler.clone(), Request::new(), Duration::from_millis(7)));
    let batches: Vec<_> = (0..8).map(batch).collect();
    let singles: Vec<_> = (0..50).map(single).collect();
    for batch in batches {
        assert_eq!(batch.await?.ok(), Some(3));
    }
    for single in singles {
        single.await??;
    }

    let outcome = scheduler.acquire_many(Request::new(), 5).await;
    println!("five of four: {outcome:?}");
    let impossible = Shed::Impossible { wanted: 5, max: 4 };
    assert!(matches!(outcome, Err(AcquireError::Shed { why, .. }) if *why == impossible));
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
