//! Quotas: two tenants, one of which wants everything at once. Neither starves, and what each may have changes while they wait.
//!
//! `cargo run -p pool-core --example quotas`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{Key, Quota, Request, ScheduleConfig};
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

    const SERVICE: Duration = Duration::from_millis(10);
    let pool = toy::pool(4).build()?;
    let mut config = ScheduleConfig::default();
    let mut large = Quota::default();
    large.max = Some(3);
    config.quotas.insert(Key::from("large"), large);
    let scheduler = pool.schedule(config)?;

    // 200 requests at once, each of which takes 10 ms.
    let crowd: Vec<_> = (0..200)
        .map(|_| scheduler.clone())
        .map(|scheduler| {
            tokio::spawn(async move {
                let lease = scheduler.acquire(Request::new().key("large")).await;
                sleep(SERVICE).await;
                lease.is_ok()
            })
        })
        .collect();
    sleep(SERVICE / 2).await;
    for turn in 0..4 {
        if turn == 2 {
            println!("from now on the large one may have all four");
            scheduler.reconfigure(ScheduleConfig::default())?;
        }
        let began = Instant::now();
        let lease = scheduler.acquire(Request::new().key("small")).await?;
        println!("small: {} after {:?}; all: {:?}", *lease, began.elapsed(), scheduler.keys());
        // With a quota for the other one there is always a connection left; without, the next that comes back is for whoever has least.
        assert!(began.elapsed() <= if turn < 2 { Duration::ZERO } else { SERVICE });
        sleep(SERVICE).await;
    }
    for one in crowd {
        assert!(one.await?, "the large one is served, too");
    }
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
