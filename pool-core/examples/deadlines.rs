//! Deadlines: who cannot be served in time is told at once, and not when the time is over.
//!
//! `cargo run -p pool-core --example deadlines`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{AcquireError, Request, ScheduleConfig, Shed};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    const SERVICE: Duration = Duration::from_millis(100);
    let pool = toy::pool(2).build()?;
    let scheduler = pool.schedule(ScheduleConfig::default())?;
    // One request that takes 100 ms.
    let serve = |request: Request| {
        let scheduler = scheduler.clone();
        async move {
            let lease = scheduler.acquire(request).await?;
            sleep(SERVICE).await;
            drop(lease);
            Ok::<_, AcquireError>(())
        }
    };
    // By now it is known how long connections are held.
    for _ in 0..16 {
        serve(Request::new()).await?;
    }

    // Two have the connections, and ten wait: the last of these for half a second.
    let crowd: Vec<_> = (0..12).map(|_| tokio::spawn(serve(Request::new()))).collect();
    tokio::task::yield_now().await;
    let began = Instant::now();
    let error = serve(Request::new().within(3 * SERVICE)).await.err().ok_or("in 300 ms that cannot be")?;
    println!("after {:?}: {error}", began.elapsed());
    assert!(matches!(&error, AcquireError::Shed { why, .. } if matches!(**why, Shed::Hopeless { .. })));
    assert_eq!(began.elapsed(), Duration::ZERO);
    serve(Request::new().until(began + 10 * SERVICE)).await?;
    println!("one that had a second was served in {:?}", began.elapsed());

    for one in crowd {
        one.await??;
    }
    assert_eq!(scheduler.stats().shed.hopeless, 1);
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
