//! Quotas: two tenants, one of which wants everything at once. Neither starves, and what each may have changes while they wait.
//!
//! `cargo run -p pool-core --example quotas`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/service.rs"]
mod service;
#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{Key, Quota, Request, ScheduleConfig};
    use std::time::Duration;

    const SERVICE: Duration = Duration::from_millis(10);
    let pool = toy::pool(4).build()?;
    let mut config = ScheduleConfig::default();
    let mut large = Quota::default();
    large.max = Some(3);
    config.quotas.insert(Key::from("large"), large);
    let scheduler = pool.schedule(config)?;
    let one = |tenant| service::serve(scheduler.clone(), Request::new().key(tenant), SERVICE);

    // One tenant has 200 requests at once.
    let crowd: Vec<_> = (0..200).map(|_| tokio::spawn(one("large"))).collect();
    tokio::time::sleep(SERVICE / 2).await;
    for (turn, most) in [Duration::ZERO, Duration::ZERO, SERVICE, SERVICE].into_iter().enumerate() {
        if turn == 2 {
            println!("from now on the large one may have all four");
            scheduler.reconfigure(ScheduleConfig::default())?;
        }
        let waited = one("small").await?;
        println!("the small one waited for {waited:?}; {:?}", scheduler.keys());
        // While the large one has a maximum there is always a connection left. Otherwise the next that comes back is for whoever has least.
        assert!(waited <= most);
    }
    for one in crowd {
        assert!(one.await?.is_ok(), "the large one is served, too");
    }
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
