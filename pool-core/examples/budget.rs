//! A budget: two pools under one cap. Each has what is guaranteed to it whenever it needs that, and what the other one does not use.
//!
//! `cargo run -p pool-core --example budget`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::Budget;
    use std::time::Duration;

    let budget = Budget::new(6)?;
    let orders = toy::pool(6).guaranteed(4).budget(&budget).build()?;
    let reports = toy::pool(6).guaranteed(1).budget(&budget).build()?;

    // At night nobody orders anything, and the reports may have it all.
    let mut lent = Vec::new();
    for _ in 0..6 {
        lent.push(reports.acquire_owned().await?);
    }
    println!("night: {}", budget.stats());
    assert_eq!(budget.stats().held, 6);

    // In the morning each order is served with the next connection that comes back from a report.
    let mut ordering = Vec::new();
    for _ in 0..4 {
        let morning = tokio::spawn({
            let orders = orders.clone();
            async move { orders.acquire_owned().await }
        });
        tokio::time::sleep(Duration::from_millis(10)).await;
        println!("an order waits: {}; the reports owe {:?}", budget.stats(), reports.share().map(|share| share.owed));
        drop(lent.pop());
        ordering.push(tokio::time::timeout(Duration::from_secs(1), morning).await???);
    }
    assert_eq!(budget.stats().pools.iter().map(|pool| pool.held).collect::<Vec<_>>(), [4, 2]);

    // Guarantees are within the cap, whatever happens to that.
    let error = budget.resize(4).expect_err("5 are guaranteed");
    println!("refused: {error}");
    budget.resize(8)?;
    drop((lent, ordering));
    orders.close().await;
    reports.close().await;
    assert_eq!(budget.stats().held, 0);
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
