//! Leaks: who has a connection for how long and from where, and what is reported when that is too long.
//!
//! `cargo run -p pool-core --example leaks`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::time::Duration;
    use tokio::time::sleep;

    let pool = toy::pool(2).leak_after(Some(Duration::from_mins(1))).build()?;
    // Somewhere in a service a lease is kept by mistake.
    let kept = tokio::spawn({
        let pool = pool.clone();
        async move { pool.acquire_owned().await }
    });
    let kept = kept.await??;
    sleep(Duration::from_secs(50)).await;
    let work = pool.acquire().await?;
    sleep(Duration::from_secs(15)).await;

    for holder in pool.holders() {
        println!("{holder}");
    }
    let holders = pool.holders();
    assert_eq!(holders.len(), 2);
    assert_eq!((holders[0].connection, holders[1].connection), (kept.connection_id(), work.connection_id()));
    assert!(holders[0].place.is_some_and(|place| place.file().ends_with("leaks.rs")), "with its place");
    // A warning has told it, once; what is held for less than a minute is nobody's concern.
    assert_eq!(pool.stats().leaks, 1);

    drop((kept, work));
    assert!(pool.holders().is_empty());

    // A task that has a connection and waits for another one may be waiting for itself: a warning says so at once.
    let greedy = tokio::spawn({
        let pool = pool.clone();
        async move {
            let both = (pool.acquire_owned().await, pool.acquire_owned().await);
            let waited = pool.acquire_timeout(Duration::from_secs(1)).await.err();
            drop(both);
            waited
        }
    });
    println!("{}", greedy.await?.ok_or("there are two")?);
    assert_eq!(pool.stats().self_waits, 1);
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
