//! Shedding: three times as many requests as can be served. Few are served late, because the others are turned away, by a limit or by `Codel`.
//!
//! `cargo run -p pool-core --example shedding`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/service.rs"]
mod service;
#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{Codel, Request, ScheduleConfig};
    use std::time::Duration;
    use tokio::time::sleep;

    let mut unbounded = ScheduleConfig::default();
    unbounded.foresee = false;
    let (mut limited, mut codel) = (unbounded.clone(), unbounded.clone());
    limited.max_waiting = Some(20);
    codel.codel = Some(Codel::default());
    let settings =
        [("unbounded", unbounded, 5_000..30_000), ("max_waiting", limited, 40..60), ("codel", codel, 50..150)];
    for (name, config, expected) in settings {
        let pool = toy::pool(4).build()?;
        let scheduler = pool.schedule(config)?;
        // Each takes 10 ms, so 400 a second can be served, and 1,200 come, for ten seconds.
        let one = |number| {
            let scheduler = scheduler.clone();
            tokio::spawn(async move {
                sleep(Duration::from_secs(1) / 1_200 * number).await;
                service::serve(scheduler, Request::new(), Duration::from_millis(10)).await
            })
        };
        let tasks: Vec<_> = (0..12_000).map(one).collect();
        let mut waits = Vec::new();
        // CoDel bears a burst of two seconds, so those of the first four do not count.
        for task in tasks.into_iter().skip(4 * 1_200) {
            waits.extend(task.await?);
        }
        waits.sort_unstable();
        let p99 = waits[waits.len() * 99 / 100];
        println!("{name}: {} served, p99 wait {p99:?}; turned away: {:?}", waits.len(), scheduler.stats().shed);
        assert!(expected.contains(&p99.as_millis()));
        assert!(waits.len() > 2_000, "what there is, is used");
        pool.close().await;
    }
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
