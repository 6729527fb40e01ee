//! A lock-free, driver-agnostic async connection pool.
//!
//! Implement [`Driver`] for a backend, build a [`Pool`], [`acquire`](Pool::acquire) connections from it.
//!
#![cfg_attr(feature = "loom", doc = "```ignore")]
#![cfg_attr(not(feature = "loom"), doc = "```")]
//! use pool_core::{Attempt, Driver, ErrorClass, Pool, SessionState};
//!
//! struct Counting(std::sync::atomic::AtomicU64);
//!
//! impl Driver for Counting {
//!     type Connection = u64;
//!     type Error = std::io::Error;
//!
//!     async fn connect(&self, _: &Attempt) -> Result<u64, std::io::Error> {
//!         Ok(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
//!     }
//!     fn inspect(&self, _: &mut u64) -> SessionState {
//!         SessionState::Clean
//!     }
//!     fn classify(&self, _: &std::io::Error) -> ErrorClass {
//!         ErrorClass::Transient
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = Pool::builder(Counting(0.into())).max_size(4).build()?;
//! let connection = pool.acquire().await?;
//! assert!(*connection < 4);
//! drop(connection);
//! pool.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | brings |
//! | --- | --- |
//! | `http` | health, metrics, the state of pools and a page over HTTP, as an `axum` router; with it, `prometheus` |
//! | `prometheus` | metrics as text for Prometheus |
//! | `opentelemetry` | metrics for a meter of OpenTelemetry |
//!
//! (`loom` is for the models of this repository alone: with it, there is no pool.)
//!
//! # What is where
//!
//! | to | there is |
//! | --- | --- |
//! | wait for a connection | [`Pool::acquire`], [`Pool::acquire_timeout`]; for a task or a stream [`Pool::acquire_owned`] |
//! | take one without waiting | [`Pool::try_acquire`] |
//! | have a certain one | [`Pool::acquire_preferring`], with a [`Preference`] |
//! | use one together with others | [`Pool::share`] |
//! | keep one for what lasts | [`OwnedLease::keep`] |
//! | order callers, and turn some away | [`Pool::schedule`], with keys, priorities and deadlines |
//! | start | [`PoolBuilder`], [`Pool::ready`], [`Pool::warm_up`], [`Pool::adopt`] |
//! | change settings | [`Pool::reconfigure`]; the size by the demand: [`Pool::adapt`] |
//! | do something with each connection | [`Hooks`] |
//! | replace connections | [`Pool::retire_all`], [`Pool::retire_all_over`], [`Pool::retire_host`], [`Pool::evict`] |
//! | fail over | [`Pool::pause`], [`Pool::drained`], [`Pool::resume`] |
//! | see it | [`Pool::state`], [`Pool::stats`], [`Pool::holders`], [`Pool::observe`] |
//! | check its health | [`Pool::monitor`] |
//! | bound several pools together | [`Budget`]; a pool for each tenant: [`Tenants`] |
//! | end | [`Pool::close`], [`Pool::close_within`] |
//!
//! # Runtime
//!
//! The pool runs on tokio. Background tasks are on the runtime that first needed them; while nobody drives that one, nothing is opened, closed or checked, and when it ends, the next caller that waits starts another. To take an idle
//! connection and to give one back no runtime is needed, and a lease may be dropped anywhere.
//!
//! # Cancel safety
//!
//! Every future may be dropped at any time, and no connection is lost from the pool by that; each says what else it comes to. Do not leave one aside that is neither polled nor dropped: see [`Pool::acquire`].
//!
//! # Panics
//!
//! A panic in a driver, a hook, a waker or a destructor is caught, logged, and costs one connection at most. That takes panics that unwind: with `panic = "abort"` the first one ends the process.
//!
//! # How it is layered
//!
//! A file uses its own layer or lower ones only; a test keeps it so.
//!
//! | layer | what | files |
//! | --- | --- | --- |
//! | 5 | windows: HTTP endpoints and a page | `http/` |
//! | 4 | handles | `pool`, `control`, `builder`, `lease`, `share`, `kept`, `prefer`, `monitor/`, `observe/`, `prometheus`, `opentelemetry/`, `scheduler/`, `adapter/`, `tenants/` |
//! | 3 | protocols: acquire, release, open, maintain, rotate, retire, pause, reconfigure, close | `engine/`, `budget` |
//! | 2 | policy: pure decisions | `config`, `reconfigured`, `sizes`, `lifetime`, `rotation`, `retirement`, `warmth`, `backoff`, `breaker`, `health`, `schedule/`, `adapt/`, `shares/` |
//! | 1 | lock-free: slots, gate, capacity, hand-over; every atomic ordering, all `unsafe` | `slot/`, `gate`, `capacity`, `counters`, `queue/`, `chunks`, `place`, `sharing`, `handoff` |
//! | 0 | seams | `sync`, `foreign`, `driver`, `attempt`, `connection`, `recorder`, `metric`, `tag`, `hooks`, `preference`, `failure`, `situation`, `shed`, `error`, `stats`, `times`, `trace`, `brief`, `wall` |
#![deny(missing_docs)]
#![cfg_attr(feature = "loom", allow(clippy::exhaustive_enums))] // as below: the models match on all outcomes
#![allow(unreachable_pub)] // layer 1 is public to the models, with the feature `loom` alone

mod capacity;
mod chunks;
mod counters;
mod foreign;
mod gate;
mod handoff;
mod place;
mod queue;
mod sharing;
mod slot;
mod sync;

/// Layer 1, for the models alone.
#[cfg(feature = "loom")]
#[doc(hidden)]
pub mod internals {
    pub use crate::capacity::{Capacity, Room};
    pub use crate::counters::{Alarm, Counter, Figure, Flag, Mark, Moments, Permits, Seat, Throttle};
    pub use crate::gate::{Gate, Generation, Joined};
    pub use crate::handoff::{Core, Denial, Denied, Entry, Found, Grant, Left, Offered, Parted, Usher};
    pub use crate::queue::{Cancelled, Entered, Fifo, Heard, Resumed, Stay, Ticket};
    pub use crate::sharing::Party;
    pub use crate::slot::{Claim, IdleOrder, SharedClaim, Table, Vacancy};
    pub use crate::sync::order;
}

// Everything that needs a runtime, a clock or a driver is not part of a build for the models.
#[cfg(not(feature = "loom"))]
mod adapt;
#[cfg(not(feature = "loom"))]
mod adapter;
#[cfg(not(feature = "loom"))]
mod attempt;
#[cfg(not(feature = "loom"))]
mod backoff;
#[cfg(not(feature = "loom"))]
mod breaker;
#[cfg(not(feature = "loom"))]
mod brief;
#[cfg(not(feature = "loom"))]
mod budget;
#[cfg(not(feature = "loom"))]
mod builder;
#[cfg(not(feature = "loom"))]
mod config;
#[cfg(not(feature = "loom"))]
mod connection;
#[cfg(not(feature = "loom"))]
mod control;
#[cfg(not(feature = "loom"))]
mod driver;
#[cfg(not(feature = "loom"))]
mod engine;
#[cfg(not(feature = "loom"))]
mod error;
#[cfg(not(feature = "loom"))]
mod failure;
#[cfg(not(feature = "loom"))]
mod health;
#[cfg(not(feature = "loom"))]
mod hooks;
#[cfg(all(feature = "http", not(feature = "loom")))]
pub mod http;
#[cfg(not(feature = "loom"))]
mod kept;
#[cfg(not(feature = "loom"))]
mod lease;
#[cfg(not(feature = "loom"))]
mod lifetime;
#[cfg(not(feature = "loom"))]
mod metric;
#[cfg(not(feature = "loom"))]
mod monitor;
#[cfg(not(feature = "loom"))]
mod observe;
#[cfg(all(feature = "opentelemetry", not(feature = "loom")))]
pub mod opentelemetry;
#[cfg(not(feature = "loom"))]
mod pool;
#[cfg(not(feature = "loom"))]
mod prefer;
#[cfg(not(feature = "loom"))]
mod preference;
#[cfg(all(feature = "prometheus", not(feature = "loom")))]
pub mod prometheus;
#[cfg(not(feature = "loom"))]
mod reconfigured;
#[cfg(not(feature = "loom"))]
mod recorder;
#[cfg(not(feature = "loom"))]
mod retirement;
#[cfg(not(feature = "loom"))]
mod rotation;
#[cfg(not(feature = "loom"))]
mod schedule;
#[cfg(not(feature = "loom"))]
mod scheduler;
#[cfg(not(feature = "loom"))]
mod share;
#[cfg(not(feature = "loom"))]
mod shares;
#[cfg(not(feature = "loom"))]
mod shed;
#[cfg(not(feature = "loom"))]
mod situation;
#[cfg(not(feature = "loom"))]
mod sizes;
#[cfg(not(feature = "loom"))]
mod stats;
#[cfg(not(feature = "loom"))]
mod tag;
#[cfg(not(feature = "loom"))]
mod tenants;
#[cfg(not(feature = "loom"))]
mod times;
#[cfg(not(feature = "loom"))]
pub mod trace;
#[cfg(not(feature = "loom"))]
mod wall;
#[cfg(not(feature = "loom"))]
mod warmth;

#[cfg(not(feature = "loom"))]
pub use crate::{
    adapt::{AdaptConfig, AdaptReason, AdaptReport},
    adapter::Adapter,
    attempt::{Attempt, Progress, Step},
    budget::{Budget, BudgetStats, ShareStats},
    builder::PoolBuilder,
    config::Config,
    connection::{ConnectionId, Holder, JournalEntry, OldestLease, SlotState, SlotView},
    counters::Throttle,
    driver::{Aborter, Driver, ErrorClass, SessionState},
    error::{AcquireError, AdoptError, ConfigError, RefusedSetting, WarmUpError},
    failure::OpenFailure,
    health::{HealthConfig, HealthReason, HealthReport, HealthState, HealthStats},
    hooks::{ConnectionFacts, HandOut, HookError, HookFailure, HookPoint, Hooks},
    kept::{KeepError, KeptLease},
    lease::{Lease, OwnedLease},
    metric::{
        Description, HistogramValue, MetricFamily, MetricKind, MetricSample, MetricUnit, MetricValue, ServerFacts,
        merge_families,
    },
    monitor::HealthChecker,
    observe::{HistoryPoint, ObserveConfig, PoolObserver, Snapshot, Window},
    pool::Pool,
    preference::{ConvertFailure, Fit, Preference},
    reconfigured::Reconfigured,
    recorder::Recorder,
    schedule::{Codel, Priority, Quota, ScheduleConfig},
    scheduler::{KeyStats, Request, ScheduleStats, ScheduledLease, Scheduler, ShedCounts},
    share::{OwnedSharedLease, SharedLease},
    shed::{Key, Shed},
    situation::Situation,
    slot::IdleOrder,
    stats::{BreakerState, Distribution, Errors, PoolState, Stats},
    tag::{Tag, TagError},
    tenants::{TenantError, Tenants, TenantsConfig},
};
