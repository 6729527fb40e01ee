//! Priorities: high before normal before low, and nobody starves. One that has waited for a second has its share of the turns.
//!
//! `cargo run -p pool-core --example priorities`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/service.rs"]
mod service;
#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{Priority, Request, ScheduleConfig};
    use std::time::Duration;

    const SERVICE: Duration = Duration::from_millis(20);
    let pool = toy::pool(1).build()?;
    let mut config = ScheduleConfig::default();
    (config.normal_share, config.low_share) = (20, 5);
    let scheduler = pool.schedule(config)?;

    // All want the only connection, which somebody has; the low ones come first, and the high ones last.
    let held = scheduler.acquire(Request::new()).await?;
    let of = |priority, count| std::iter::repeat_n(priority, count);
    let all = of(Priority::Low, 5).chain(of(Priority::Normal, 20)).chain(of(Priority::High, 100));
    let one = |priority| service::serve(scheduler.clone(), Request::new().priority(priority), SERVICE);
    let tasks: Vec<_> = all.map(|priority| (priority, tokio::spawn(one(priority)))).collect();
    tokio::task::yield_now().await;
    drop(held);
    let mut served = Vec::new();
    for (priority, task) in tasks {
        served.push((task.await??, priority));
    }
    served.sort_unstable();

    let count = |turns: &[(Duration, Priority)], wanted| turns.iter().filter(|(_, of)| *of == wanted).count();
    assert_eq!(count(&served[..50], Priority::High), 50, "nobody has waited for a second yet");
    // From then on every fifth turn is of a normal one, and every twentieth of a low one.
    let (normal, low) = (count(&served[50..100], Priority::Normal), count(&served[50..100], Priority::Low));
    println!("of turns 51 to 100: {} high, {normal} normal, {low} low", 50 - normal - low);
    assert!((9..=11).contains(&normal));
    assert!((2..=3).contains(&low));
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
