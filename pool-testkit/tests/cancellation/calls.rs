//! What the pool has its driver do, with somebody who waits for it or nobody.

use std::time::Duration;

use pool_core::{Config, OwnedLease};
use pool_testkit::fake::FakeDriver;
use tokio::time::{advance, sleep};

use crate::world::{AGES, Job, SOON, World, turns};

/// Calls of the driver that are under way together.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) max_size: usize,
    pub(crate) config: fn(&mut Config),
    /// Brings it about, with a driver that does everything right: the leases that are out.
    pub(crate) arrange: fn(World) -> Job<Vec<OwnedLease<FakeDriver>>>,
    /// Sets the calls off.
    pub(crate) begin: fn(World, Vec<OwnedLease<FakeDriver>>) -> Job<()>,
}

const SECOND: Duration = Duration::from_secs(1);

/// A task that acquires, leaves a dirty session behind, and releases.
fn user(world: &World) {
    let pool = world.pool.clone();
    drop(tokio::spawn(async move {
        if let Ok(lease) = pool.acquire_owned_timeout(AGES).await {
            lease.make_dirty();
            turns(1).await;
        }
    }));
}

async fn lease(world: &World, number: usize) -> Vec<OwnedLease<FakeDriver>> {
    let mut leases = Vec::new();
    for _ in 0..number {
        leases.push(world.pool.acquire_owned().await.unwrap());
    }
    leases
}

pub(crate) const SCENES: [Scene; 7] = [
    Scene {
        name: "connections are opened for those who wait",
        max_size: 2,
        config: |_| {},
        arrange: |_| Box::pin(async { Vec::new() }),
        begin: |world, _| {
            Box::pin(async move {
                user(&world);
                user(&world);
            })
        },
    },
    Scene {
        name: "a session is reset",
        max_size: 1,
        config: |_| {},
        arrange: |world| Box::pin(async move { lease(&world, 1).await }),
        begin: |world, leases| {
            Box::pin(async move {
                user(&world);
                for lease in leases {
                    lease.make_dirty();
                }
            })
        },
    },
    Scene {
        name: "idle connections are checked before they are handed over",
        max_size: 2,
        config: |config| config.check_after_idle = Some(SECOND),
        arrange: |world| {
            Box::pin(async move {
                drop(lease(&world, 2).await);
                sleep(10 * SECOND).await;
                Vec::new()
            })
        },
        begin: |world, _| {
            Box::pin(async move {
                user(&world);
                user(&world);
            })
        },
    },
    Scene {
        name: "idle connections are pinged",
        max_size: 2,
        config: |config| config.health_check_interval = Some(SECOND),
        arrange: |world| {
            Box::pin(async move {
                drop(lease(&world, 2).await);
                Vec::new()
            })
        },
        begin: |_, _| Box::pin(advance(2 * SECOND)),
    },
    Scene {
        name: "a connection is closed to make room",
        max_size: 1,
        config: |_| {},
        arrange: |world| Box::pin(async move { lease(&world, 1).await }),
        begin: |world, mut leases| {
            Box::pin(async move {
                user(&world);
                leases.pop().unwrap().discard();
            })
        },
    },
    Scene {
        name: "connections are replaced",
        max_size: 2,
        config: |config| config.rotation_headroom = 1,
        arrange: |world| {
            world.driver.limit(3);
            Box::pin(async move {
                let mut leases = lease(&world, 2).await;
                leases.pop();
                leases
            })
        },
        begin: |world, leases| {
            Box::pin(async move {
                world.pool.retire_all_over(SOON);
                advance(SOON).await;
                user(&world);
                drop(leases);
            })
        },
    },
    Scene {
        name: "the pool is closed",
        max_size: 2,
        config: |_| {},
        arrange: |world| Box::pin(async move { lease(&world, 2).await }),
        begin: |world, mut leases| {
            Box::pin(async move {
                leases.pop();
                let pool = world.pool.clone();
                drop(tokio::spawn(async move { pool.close().await }));
                turns(1).await;
                drop(leases);
            })
        },
    },
];
