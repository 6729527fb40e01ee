//! Deadlines: who cannot be served in time is told at once, and not when the time is over.
//!
//! `cargo run -p pool-core --example deadlines`; the clock stands still while everybody waits, so it takes no time.

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

    const SERVICE: Duration = Duration::from_millis(100);
    let pool = toy::pool(2).build()?;
    let scheduler = pool.schedule(ScheduleConfig::default())?;
    let one = |request| service::serve(scheduler.clone(), request, SERVICE);
    // Then it is known how long connections are held.
    for _ in 0..16 {
        one(Request::new()).await?;
    }

    // Two have the connections, and ten wait: the last of these for half a second.
    let crowd: Vec<_> = (0..12).map(|_| tokio::spawn(one(Request::new()))).collect();
    tokio::task::yield_now().await;
    let began = tokio::time::Instant::now();
    let outcome = one(Request::new().within(3 * SERVICE)).await;
    assert_eq!(began.elapsed(), Duration::ZERO, "at once");
    println!(
        "one that has 300 ms: {}",
        outcome.as_ref().map_or_else(ToString::to_string, |waited| format!("{waited:?}"))
    );
    assert!(matches!(&outcome, Err(AcquireError::Shed { why, .. }) if matches!(**why, Shed::Hopeless { .. })));
    println!("one that has a second waited for {:?}", one(Request::new().until(began + 10 * SERVICE)).await?);

    for one in crowd {
        assert!(one.await?.is_ok());
    }
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
