//! The futures of the public API.

use std::panic::Location;
use std::time::Duration;

use pool_core::{Budget, HealthConfig, Pool, Preference, Request, ScheduleConfig, Tag, Tenants, TenantsConfig};
use pool_testkit::cancel::Cut;
use pool_testkit::fake::{FakeDriver, quiet};
use tokio::time::sleep;

use crate::world::{Job, PATIENT, SOON};

/// One of them.
pub(crate) struct Method {
    pub(crate) name: &'static str,
    /// Calls it, and drops it when it is time to. Whether it has ended before; what it gave is dropped, too.
    pub(crate) call: fn(Pool<FakeDriver>, Cut) -> Job<bool>,
}

/// What somebody prefers.
fn tag() -> Tag {
    Tag::new("tenant", "7").unwrap()
}

/// All of them; `complete.rs` sees to it.
pub(crate) const METHODS: [Method; 23] = [
    Method { name: "acquire", call: |pool, cut| Box::pin(async move { cut.apply(pool.acquire()).await.is_some() }) },
    // Its time is over in the instant when things happen.
    Method {
        name: "acquire_timeout",
        call: |pool, cut| Box::pin(async move { cut.apply(pool.acquire_timeout(SOON)).await.is_some() }),
    },
    Method {
        name: "acquire_owned",
        call: |pool, cut| Box::pin(async move { cut.apply(pool.acquire_owned()).await.is_some() }),
    },
    Method {
        name: "acquire_owned_timeout",
        call: |pool, cut| Box::pin(async move { cut.apply(pool.acquire_owned_timeout(PATIENT)).await.is_some() }),
    },
    Method {
        name: "acquire_owned_at",
        call: |pool, cut| {
            let place = Location::caller();
            Box::pin(async move { cut.apply(pool.acquire_owned_at(PATIENT, place)).await.is_some() })
        },
    },
    // Beside another one, who may have the last place there is, and leaves it.
    Method {
        name: "share",
        call: |pool, cut| {
            Box::pin(async move {
                let other = pool.try_share_owned().ok();
                let leaving = async move {
                    tokio::task::yield_now().await;
                    drop(other);
                };
                tokio::join!(cut.apply(pool.share()), leaving).0.is_some()
            })
        },
    },
    // With one behind it, and its time is over in the instant when things happen.
    Method {
        name: "share_timeout",
        call: |pool, cut| {
            Box::pin(async move {
                let behind = async {
                    tokio::task::yield_now().await;
                    drop(pool.share_timeout(PATIENT).await);
                };
                tokio::join!(cut.apply(pool.share_timeout(SOON)), behind).0.is_some()
            })
        },
    },
    Method {
        name: "share_at",
        call: |pool, cut| {
            let place = Location::caller();
            Box::pin(async move { cut.apply(pool.share_at(Some(PATIENT), place)).await.is_some() })
        },
    },
    // Behind one who wants a connection for itself.
    Method {
        name: "share_owned",
        call: |pool, cut| {
            Box::pin(async move {
                let others = (pool.try_share_owned(), pool.try_share_owned());
                let before = pool.acquire_timeout(PATIENT);
                let own = async {
                    tokio::task::yield_now().await;
                    drop(others.0);
                    cut.apply(pool.share_owned()).await.is_some()
                };
                tokio::join!(async { drop(before.await) }, async { (own.await, drop(others.1)).0 }).1
            })
        },
    },
    // Of no use to those who come after it.
    Method {
        name: "share_owned_timeout",
        call: |pool, cut| {
            Box::pin(async move {
                let lease = cut.apply(pool.share_owned_timeout(PATIENT)).await;
                let ended = lease.is_some();
                if let Some(Ok(lease)) = lease {
                    lease.discard();
                }
                ended
            })
        },
    },
    // None has the tag: each is converted.
    Method {
        name: "acquire_preferring",
        call: |pool, cut| {
            Box::pin(async move {
                let preference = Preference::tag(tag()).grace(SOON / 2);
                cut.apply(pool.acquire_preferring(&preference)).await.is_some()
            })
        },
    },
    // One that somebody else has, and gives back.
    Method {
        name: "acquire_owned_preferring",
        call: |pool, cut| {
            Box::pin(async move {
                let preference = Preference::tag(tag()).grace(SOON);
                let other = pool.try_acquire().ok();
                let tagged = other.as_ref().map(|lease| lease.tag(tag()));
                assert!(tagged.is_none_or(|tagged| tagged.is_ok()));
                let giving_back = async move {
                    tokio::task::yield_now().await;
                    drop(other);
                };
                tokio::join!(cut.apply(pool.acquire_owned_preferring(&preference)), giving_back).0.is_some()
            })
        },
    },
    Method { name: "ready", call: |pool, cut| Box::pin(async move { cut.apply(pool.ready(PATIENT)).await.is_some() }) },
    Method {
        name: "warm_up",
        call: |pool, cut| {
            Box::pin(async move { cut.apply(pool.warm_up(3, Duration::from_millis(1), PATIENT)).await.is_some() })
        },
    },
    Method { name: "drained", call: |pool, cut| Box::pin(async move { cut.apply(pool.drained()).await.is_some() }) },
    Method { name: "close", call: |pool, cut| Box::pin(async move { cut.apply(pool.close()).await.is_some() }) },
    // Its mercy ends before things happen.
    Method {
        name: "close_within",
        call: |pool, cut| Box::pin(async move { cut.apply(pool.close_within(SOON / 2)).await.is_some() }),
    },
    // The monitor that makes the check is dropped with the future that waits for it.
    Method {
        name: "check_health",
        call: |pool, cut| {
            Box::pin(async move {
                let checker = pool.monitor(HealthConfig::default()).unwrap();
                let ended = cut.apply(checker.check_health()).await.is_some();
                drop(checker);
                // It is gone when its task has been dropped.
                tokio::task::yield_now().await;
                ended
            })
        },
    },
    // One that is kept until all are retired, which is at once.
    Method {
        name: "wanted_back",
        call: |pool, cut| {
            Box::pin(async move {
                let Ok(lease) = pool.acquire_owned().await else { return true };
                // Of a pool of one none is kept.
                let Ok(mut kept) = lease.keep() else { return pool.config().max_size == 1 };
                let retiring = tokio::spawn({
                    let pool = pool.clone();
                    async move { pool.retire_all() }
                });
                let ended = cut.apply(kept.wanted_back()).await.is_some();
                retiring.await.unwrap();
                kept.give_back();
                ended
            })
        },
    },
    // Of pools with a backend of their own, one of which is in use.
    Method {
        name: "close_all",
        call: |_, cut| {
            Box::pin(async move {
                let (driver, budget) = (FakeDriver::new(), Budget::new(3).unwrap());
                let of = driver.clone();
                let make = move |_: &u32| Ok(Pool::builder(of.clone()).config(quiet(2)));
                let tenants = Tenants::new(&budget, TenantsConfig::default(), make).unwrap();
                let lease = tenants.pool(&1).unwrap().acquire_owned().await.unwrap();
                drop(tenants.pool(&2).unwrap().acquire_owned().await.unwrap());
                let later = tokio::spawn(async move { drop((sleep(SOON).await, lease)) });
                let ended = cut.apply(tenants.close_all()).await.is_some();
                later.await.unwrap();
                // Whatever became of the call. A close waits for the rest.
                assert!(tenants.pool(&1).is_err() || !ended);
                tenants.close_all().await;
                assert_eq!((driver.ledger().live(), budget.stats().held), (0, 0));
                ended
            })
        },
    },
    Method {
        name: "Scheduler::acquire",
        call: |pool, cut| {
            Box::pin(async move {
                let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
                cut.apply(scheduler.acquire(Request::new().within(PATIENT))).await.is_some()
            })
        },
    },
    // One that is not what is wished, and is made that.
    Method {
        name: "Scheduler::acquire_preferring",
        call: |pool, cut| {
            Box::pin(async move {
                let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
                let wish = Preference::tag(Tag::new("tenant", "7").unwrap());
                let ended = cut.apply(scheduler.acquire_preferring(Request::new().within(PATIENT), &wish)).await;
                ended.is_some()
            })
        },
    },
    // One that wants two waits for one that wants one, in front of the pool.
    Method {
        name: "Scheduler::acquire_many",
        call: |pool, cut| {
            Box::pin(async move {
                let scheduler = pool.schedule(ScheduleConfig::default()).unwrap();
                let two = pool.config().max_size.min(2);
                let beside = tokio::spawn({
                    let scheduler = scheduler.clone();
                    async move { drop(scheduler.acquire(Request::new().within(PATIENT)).await) }
                });
                let ended = cut.apply(scheduler.acquire_many(Request::new().within(PATIENT), two)).await.is_some();
                beside.await.unwrap();
                let stats = scheduler.stats();
                assert_eq!((stats.waiting, stats.in_use), (0, 0), "{stats:?}");
                ended
            })
        },
    },
];
