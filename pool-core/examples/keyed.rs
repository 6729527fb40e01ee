//! Keyed acquire: a connection of the right tenant, if there is one; otherwise one that the driver makes so. And a user who comes back to the connection that he had.
//!
//! `cargo run -p pool-core --example keyed`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
async fn tenants(pool: &pool_core::Pool<toy::Toy>) -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{Fit, Preference, Tag};
    use std::time::Duration;

    let of = |tenant: &str| Tag::new("tenant", tenant).map(Preference::tag);
    let (blue, red) = (of("blue")?, of("red")?);
    // Two connections are opened, and made to fit.
    let (first, fit) = pool.acquire_owned_preferring(&blue).await?;
    assert_eq!(fit, Fit::Converted);
    let (second, _) = pool.acquire_owned_preferring(&red).await?;
    println!("{}: {}, {}: {}", *first, first.tags()[0], *second, second.tags()[0]);
    let number = first.number;
    drop((first, second));
    let (again, fit) = pool.acquire_owned_preferring(&blue).await?;
    assert_eq!((again.number, fit), (number, Fit::AtOnce), "whichever was used last");

    // Somebody has it for three milliseconds, and five is what it is worth.
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(3)).await;
        drop(again);
    });
    let patient = blue.clone().grace(Duration::from_millis(5));
    let (same, fit) = pool.acquire_preferring(&patient).await?;
    assert_eq!((same.number, fit), (number, Fit::Waited));
    // Without patience it is the other one, which is converted.
    assert_eq!(pool.acquire_preferring(&blue).await?.1, Fit::Converted);
    Ok(())
}

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = toy::pool(2).build()?;
    tenants(&pool).await?;
    let user = pool_core::Preference::sticky(pool_core::Tag::new("user", "ann")?);
    let number = pool.acquire_preferring(&user).await?.0.number;
    assert_eq!(pool.acquire_preferring(&user).await?.0.number, number);
    let chosen = pool_core::Preference::matching(|facts: &pool_core::ConnectionFacts, _: &_| facts.uses < 4);
    println!("{:?}", pool.acquire_preferring(&chosen).await?);
    pool.close().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
