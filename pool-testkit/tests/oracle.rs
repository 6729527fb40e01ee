//! Anything that users, backends and clocks may do to a pool, one after the other, and after every step the pool is where a much simpler one is.
//!
//! `PROPTEST_CASES=N` runs N sequences. Those that failed once are in `oracle.proptest-regressions` and run first.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "oracle/callers.rs"]
mod callers;
#[path = "oracle/model.rs"]
mod model;
#[path = "oracle/operation.rs"]
mod operation;
#[path = "oracle/world.rs"]
mod world;

use proptest::prelude::*;
use tokio::runtime::Builder;

use operation::{operations, sizes};
use world::World;

proptest! {
    #[test]
    fn it_does_what_a_simple_pool_does(sizes in sizes(), operations in operations()) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(sizes).await?;
            for operation in operations {
                world.step(operation).await?;
            }
            world.end().await
        })?;
    }
}
