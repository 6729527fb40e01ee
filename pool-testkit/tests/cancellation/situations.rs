//! What a pool may be doing when one of its futures is dropped.

use std::time::Duration;

use pool_core::{Config, OwnedLease};
use pool_testkit::fake::FakeDriver;
use tokio::time::{Instant, sleep, timeout};

use crate::world::{AGES, Job, SOON, World, turns};

/// One of the things that it may be doing.
pub(crate) struct Situation {
    pub(crate) name: &'static str,
    pub(crate) max_size: usize,
    pub(crate) config: fn(&mut Config),
    /// Brings it about, with a driver that does everything right: the leases that are out.
    pub(crate) arrange: fn(World) -> Job<Vec<OwnedLease<FakeDriver>>>,
    /// What happens meanwhile, beginning in the moment when the future is polled first.
    pub(crate) meanwhile: fn(World, Vec<OwnedLease<FakeDriver>>) -> Job<Option<Duration>>,
}

/// A few turns: some of a future's polls are before, and some are after.
const A_FEW: usize = 3;

fn as_it_is(_: &mut Config) {}

/// So many connections, all leased.
async fn lease(world: &World, number: usize) -> Vec<OwnedLease<FakeDriver>> {
    let mut leases = Vec::new();
    for _ in 0..number {
        leases.push(world.pool.acquire_owned().await.unwrap());
    }
    leases
}

/// Somebody else who waits, and keeps the connection for a moment. How long the wait was, if it ended well.
async fn bystander(world: World) -> Option<Duration> {
    let came = Instant::now();
    let lease = world.pool.acquire_owned_timeout(AGES).await;
    let waited = came.elapsed();
    turns(1).await;
    lease.is_ok().then_some(waited)
}

async fn give_back(leases: Vec<OwnedLease<FakeDriver>>) {
    for lease in leases {
        turns(A_FEW).await;
        drop(lease);
    }
}

/// All of them.
pub(crate) const SITUATIONS: [Situation; 13] = [
    Situation {
        name: "a connection is idle",
        max_size: 2,
        config: as_it_is,
        arrange: |world| {
            Box::pin(async move {
                drop(lease(&world, 1).await);
                Vec::new()
            })
        },
        meanwhile: |_, _| Box::pin(async { None }),
    },
    Situation {
        name: "an idle connection has broken",
        max_size: 1,
        config: as_it_is,
        arrange: |world| {
            Box::pin(async move {
                world.driver.break_after(2);
                drop(lease(&world, 1).await);
                Vec::new()
            })
        },
        meanwhile: |_, _| Box::pin(async { None }),
    },
    Situation {
        name: "nothing is open",
        max_size: 2,
        config: as_it_is,
        arrange: |_| Box::pin(async { Vec::new() }),
        meanwhile: |_, _| Box::pin(async { None }),
    },
    Situation {
        name: "all are leased and one comes back",
        max_size: 1,
        config: as_it_is,
        arrange: |world| Box::pin(async move { lease(&world, 1).await }),
        meanwhile: |_, leases| {
            Box::pin(async move {
                give_back(leases).await;
                None
            })
        },
    },
    Situation {
        name: "all are leased and one comes back late and dirty",
        max_size: 1,
        config: as_it_is,
        arrange: |world| Box::pin(async move { lease(&world, 1).await }),
        meanwhile: |_, leases| {
            Box::pin(async move {
                sleep(SOON).await;
                leases[0].make_dirty();
                give_back(leases).await;
                None
            })
        },
    },
    Situation {
        name: "another one waits before",
        max_size: 1,
        config: as_it_is,
        arrange: |world| Box::pin(async move { lease(&world, 1).await }),
        meanwhile: |world, leases| {
            Box::pin(async move {
                let other = tokio::spawn(bystander(world));
                turns(1).await;
                give_back(leases).await;
                other.await.unwrap()
            })
        },
    },
    Situation {
        name: "another one waits behind",
        max_size: 1,
        config: as_it_is,
        arrange: |world| Box::pin(async move { lease(&world, 1).await }),
        meanwhile: |world, leases| {
            Box::pin(async move {
                turns(1).await;
                let other = tokio::spawn(bystander(world));
                give_back(leases).await;
                other.await.unwrap()
            })
        },
    },
    Situation {
        name: "a pause, which ends",
        max_size: 2,
        config: as_it_is,
        arrange: |world| {
            Box::pin(async move {
                let mut leases = lease(&world, 2).await;
                leases.pop();
                world.pool.pause();
                leases
            })
        },
        meanwhile: |world, leases| {
            Box::pin(async move {
                give_back(leases).await;
                sleep(SOON).await;
                world.pool.resume();
                None
            })
        },
    },
    Situation {
        name: "it is being closed",
        max_size: 2,
        config: as_it_is,
        arrange: |world| {
            Box::pin(async move {
                let mut leases = lease(&world, 2).await;
                leases.pop();
                leases
            })
        },
        meanwhile: |world, leases| {
            Box::pin(async move {
                turns(A_FEW).await;
                let closing = tokio::spawn(async move { timeout(AGES, world.pool.close()).await.is_ok() });
                sleep(SOON).await;
                give_back(leases).await;
                assert!(closing.await.unwrap(), "close does not end");
                None
            })
        },
    },
    Situation {
        name: "it is made smaller, and larger again",
        max_size: 3,
        config: as_it_is,
        arrange: |world| Box::pin(async move { lease(&world, 3).await }),
        meanwhile: |world, leases| {
            Box::pin(async move {
                let mut config = (*world.pool.config()).clone();
                turns(A_FEW).await;
                config.max_size = 1;
                world.pool.reconfigure(config.clone()).unwrap();
                give_back(leases).await;
                sleep(SOON).await;
                config.max_size = 2;
                world.pool.reconfigure(config).unwrap();
                None
            })
        },
    },
    Situation {
        name: "a check before the hand-over",
        max_size: 2,
        config: |config| config.check_after_idle = Some(Duration::from_secs(1)),
        arrange: |world| {
            Box::pin(async move {
                drop(lease(&world, 2).await);
                sleep(10 * Duration::from_secs(1)).await;
                Vec::new()
            })
        },
        meanwhile: |world, _| Box::pin(async move { bystander(world).await }),
    },
    Situation {
        name: "all are replaced",
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
        meanwhile: |world, leases| {
            Box::pin(async move {
                world.pool.retire_all_over(SOON);
                turns(A_FEW).await;
                give_back(leases).await;
                sleep(2 * SOON).await;
                world.pool.retire_all();
                None
            })
        },
    },
    Situation {
        name: "one is taken out, and one put in",
        max_size: 1,
        config: as_it_is,
        arrange: |world| Box::pin(async move { lease(&world, 1).await }),
        meanwhile: |world, mut leases| {
            Box::pin(async move {
                turns(A_FEW).await;
                drop(leases.pop().unwrap().detach());
                let state = world.pool.state();
                if !state.closed && state.size < state.max_size {
                    world.pool.adopt(world.driver.open()).unwrap();
                }
                None
            })
        },
    },
];
