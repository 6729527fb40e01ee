//! Tenants: a pool for each, made when it is first asked for, under one cap, and closed when nobody has used it for a while.
//!
//! `cargo run -p pool-core --example tenants`; the clock stands still while everybody waits, so it takes no time.

#[cfg(not(feature = "loom"))]
#[path = "common/toy.rs"]
mod toy;

/// One request of a tenant.
#[cfg(not(feature = "loom"))]
async fn serve(tenants: &Tenants, tenant: &'static str) -> Result<(), Box<dyn std::error::Error>> {
    let pool = tenants.pool(&tenant)?;
    println!("{tenant} has {}", *pool.acquire().await?);
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    Ok(())
}

#[cfg(not(feature = "loom"))]
type Tenants = pool_core::Tenants<&'static str, toy::Toy>;

#[cfg(not(feature = "loom"))]
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use pool_core::{Budget, TenantsConfig};

    let budget = Budget::new(4)?;
    let mut config = TenantsConfig::default();
    (config.max_pools, config.reap_after) = (3, std::time::Duration::from_mins(1));
    let make = |tenant: &&str| {
        println!("the first request of {tenant}");
        // A service would connect to the tenant's own database here.
        Ok(toy::pool(4))
    };
    let tenants = Tenants::new(&budget, config, make)?;

    // Each has what it needs, as long as all together keep to the cap.
    for tenant in ["ann", "bob", "cid", "ann", "bob"] {
        serve(&tenants, tenant).await?;
    }
    println!("{:?}; {}", tenants.keys(), budget.stats());

    // A fourth one takes the place of the one that has rested for longest.
    serve(&tenants, "dan").await?;
    assert!(!tenants.keys().contains(&"cid"));

    // Nobody comes for a while, but for one.
    for _ in 0..8 {
        serve(&tenants, "bob").await?;
    }
    println!("left: {:?}; {}", tenants.keys(), budget.stats());
    assert_eq!((tenants.keys(), budget.stats().held), (vec!["bob"], 1));
    tenants.close_all().await;
    Ok(())
}

/// With the feature `loom` only models are built.
#[cfg(feature = "loom")]
fn main() {}
