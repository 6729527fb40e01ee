//! Adaptive size: a pool that grows when callers wait, and shrinks when they have gone.
//!
//! `cargo run -p pool-core --example adaptive_size`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    const SERVICE: Duration = Duration::from_millis(10);
    let pool = toy::pool(2).build()?;
    let adapter = pool.adapt(pool_core::AdaptConfig::default())?;
    let mut sizes = Vec::new();
    for (callers, seconds) in [(2, 20), (16, 60), (1, 300)] {
        let end = Instant::now() + Duration::from_secs(seconds);
        // One request after the other.
        let caller = |_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                while Instant::now() < end {
                    let connection = pool.acquire().await;
                    sleep(SERVICE).await;
                    drop(connection);
                }
            })
        };
        for caller in (0..callers).map(caller).collect::<Vec<_>>() {
            caller.await?;
        }
        println!("{callers} callers, {seconds} s: {}", adapter.report());
        sizes.push(pool.state().max_size);
    }
    assert!(sizes[1] > sizes[0] && sizes[2] < sizes[1], "it follows the demand: {sizes:?}");
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
