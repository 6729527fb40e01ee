//! Priorities: high before normal before low, and nobody starves. One that has waited for a second has its share of the turns.
//!
//! `cargo run -p pool-core --example priorities`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{Priority, Request, ScheduleConfig};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    let pool = toy::pool(1).build()?;
    let mut config = ScheduleConfig::default();
    (config.normal_share, config.low_share) = (20, 5);
    let scheduler = pool.schedule(config)?;
    let served = Arc::new(Mutex::new(Vec::new()));
    let held = scheduler.acquire(Request::new()).await?;

    // The low ones come first, the high ones last. All want the only connection.
    let mut tasks = Vec::new();
    for (priority, count) in [(Priority::Low, 5), (Priority::Normal, 20), (Priority::High, 100)] {
        for _ in 0..count {
            let (scheduler, served) = (scheduler.clone(), Arc::clone(&served));
            tasks.push(tokio::spawn(async move {
                let lease = scheduler.acquire(Request::new().priority(priority)).await;
                served.lock().map(|mut served| served.push(priority)).ok();
                tokio::time::sleep(Duration::from_millis(20)).await;
                lease.is_ok()
            }));
        }
        tokio::task::yield_now().await;
    }
    drop(held);
    for task in tasks {
        assert!(task.await?, "everybody is served");
    }

    let served = served.lock().map(|served| served.clone()).map_err(|error| error.to_string())?;
    let count = |turns: &[Priority], wanted| turns.iter().filter(|priority| **priority == wanted).count();
    assert_eq!(count(&served[..50], Priority::High), 50, "nobody has waited for a second yet");
    // From then on every fifth turn is of a normal one, and every twentieth of a low one.
    let (normal, low) = (count(&served[50..100], Priority::Normal), count(&served[50..100], Priority::Low));
    println!("of turns 51 to 100: {} high, {normal} normal, {low} low", 50 - normal - low);
    assert!((9..=11).contains(&normal) && (2..=3).contains(&low));
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
