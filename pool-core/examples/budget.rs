//! A budget: two pools under one cap. Each has what is guaranteed to it whenever it needs that, and what the other one does not use.
//!
//! `cargo run -p pool-core --example budget`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

#[cfg(not(feature = "loom"))]
type Lent = pool_core::OwnedLease<toy::Toy>;

#[cfg(not(feature = "loom"))]
async fn take(pool: pool_core::Pool<toy::Toy>, count: usize) -> Result<Vec<Lent>, pool_core::AcquireError> {
    let mut leases = Vec::new();
    for _ in 0..count {
        leases.push(pool.acquire_owned().await?);
    }
    Ok(leases)
}

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let budget = pool_core::Budget::new(6)?;
    let orders = toy::pool(6).guaranteed(4).budget(&budget).build()?;
    let reports = toy::pool(6).guaranteed(1).budget(&budget).build()?;

    // At night nobody orders anything, and the reports may have it all.
    let mut lent = take(reports.clone(), 6).await?;
    println!("night: {}", budget.stats());

    // In the morning each order is served with the next connection that comes back from a report.
    let morning = tokio::spawn(take(orders.clone(), 4));
    while lent.len() > 2 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        println!(
            "an order waits: {}; the reports owe {:?}",
            budget.stats(),
            reports.budget_share().map(|share| share.owed)
        );
        lent.pop();
    }
    let ordering = morning.await??;
    assert_eq!(budget.stats().pools.iter().map(|pool| pool.held).collect::<Vec<_>>(), [4, 2]);

    // Guarantees are within the cap, whatever happens to that.
    let refused = budget.resize(4);
    println!("with 5 guaranteed: {refused:?}");
    assert!(refused.is_err());
    drop((lent, ordering));
    orders.close().await;
    reports.close().await;
    assert_eq!(budget.stats().held, 0);
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
