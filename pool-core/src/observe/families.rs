//! The metrics of a pool.

use std::time::Duration;

use super::window::utilisation;
use super::{PoolObserver, Steady, locked};
use crate::driver::Driver;
use crate::engine::{Engine, Timed};
use crate::health::HealthState;
use crate::metric::MetricKind::{self, Counter, Gauge, Histogram, UpDownCounter};
use crate::metric::MetricUnit::{self, Callers, Connections, Events, Ratio, Requests, Seconds, Timeouts, Truth};
use crate::metric::{HistogramValue, MetricFamily, MetricValue};
use crate::stats::{BreakerState, PoolState, Stats};
use crate::times::Counted;

/// The label by which pools are told apart.
const NAME: &str = "db.client.connection.pool.name";
/// Upper bounds of the histograms in microseconds: from the time of a claim to that of a slow query.
const BOUNDS: [u64; 22] = [
    10,
    25,
    50,
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

impl<D: Driver> PoolObserver<D> {
    /// Everything that is measured, the driver's part included, under OpenTelemetry's names; each number with the name of the pool. `docs/metrics.md` has them all.
    ///
    /// It reads counters and the words of the slots, and takes no lock that anybody takes who acquires: exporters may ask as often as they like.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn look<D: pool_core::Driver>(observer: &pool_core::PoolObserver<D>) {
    /// let families = observer.families();
    /// assert!(families.iter().any(|family| family.name == "db.client.connection.count"));
    /// # }
    /// ```
    pub fn families(&self) -> Vec<MetricFamily> {
        let engine = &self.pool.engine;
        let (stats, timed, driver) = (engine.counts(), engine.timed(), engine.describe_driver());
        let (config, waiting) = (self.pool.config(), stats.state.callers());
        let mut families = conventional(&stats, waiting, (config.min_idle, config.max_size));
        let steady = locked(&self.shared.memory).shown.steady(&stats);
        families.extend(times(&timed, steady.immediate));
        families.push(executions(engine, driver.system, driver.namespace.as_deref()));
        families.extend(connections(&stats));
        families.extend(callers(&stats, steady, waiting));
        families.push(seconds(
            "pool.waiters.oldest.age",
            "How long the one waits who came first; 0 if nobody waits.",
            engine.oldest_waiter(),
        ));
        let oldest_lease = engine.oldest_lease().map(|oldest| oldest.held);
        families.push(seconds(
            "pool.leases.oldest.age",
            "How old the oldest lease is, seen to within a second; 0 if nobody has one.",
            oldest_lease,
        ));
        families.extend(self.utilisation(&stats.state));
        families.extend(troubles(&stats));
        families.push(breaker(&stats.state));
        families.extend(self.health_families());
        families.extend(driver.families);
        let name = self.name.as_ref();
        families.iter_mut().flat_map(|family| &mut family.samples).for_each(|sample| {
            sample.labels.insert(0, (NAME, name.to_owned().into()));
        });
        families
    }

    /// How much is in use, now and at the highest of the last interval.
    fn utilisation(&self, state: &PoolState) -> [MetricFamily; 2] {
        let now = utilisation(state);
        let last = locked(&self.shared.memory).latest(self.shared.config.interval).map(|point| point.peak);
        let last = last.filter(|_| !state.closed);
        let ratio = |name, help, value: f64| one(name, Gauge, Ratio, help, value);
        [
            ratio(
                "pool.utilisation",
                "Leased connections, as a part of those that callers may have; 1 at most. A shared one counts by the part of its places that are taken.",
                now,
            ),
            ratio(
                "pool.utilisation.peak",
                "The same at the highest that was seen in the last interval of samples.",
                last.unwrap_or(now),
            ),
        ]
    }

    /// What the monitor has found, and for how long the backend could be reached at all.
    fn health_families(&self) -> Vec<MetricFamily> {
        let checks = self.health.as_ref().map(|checker| checker.stats());
        let (reached, missed) = self.pool.engine.reach();
        let mut families = vec![
            MetricFamily::new(
                "pool.connectivity.time",
                Counter,
                Seconds,
                "How long the server could be reached and could not, as far as that is known, by what it was asked last.",
            )
            .with_each("outcome", [("succeeded", reached), ("failed", missed)]),
        ];
        if let Some(checks) = checks {
            let outcomes = [("succeeded", checks.succeeded), ("failed", checks.failed), ("busy", checks.busy)];
            families.push(
                events("pool.health.checks", "Health checks, by what came of them.").with_each("outcome", outcomes),
            );
        }
        if let Some(checker) = &self.health {
            let now = checker.report().state;
            let each = HEALTH.map(|state| (health_label(state), state == now));
            families.push(
                MetricFamily::new("pool.health.state", Gauge, Truth, "How the pool is: 1 for the state that it is in.")
                    .with_each("state", each),
            );
        }
        families
    }
}

const HEALTH: [HealthState; 5] =
    [HealthState::Starting, HealthState::Healthy, HealthState::Degraded, HealthState::Unhealthy, HealthState::Closing];

fn health_label(state: HealthState) -> &'static str {
    match state {
        HealthState::Starting => "starting",
        HealthState::Healthy => "healthy",
        HealthState::Degraded => "degraded",
        HealthState::Unhealthy => "unhealthy",
        HealthState::Closing => "closing",
    }
}

fn one(
    name: &'static str,
    kind: MetricKind,
    unit: MetricUnit,
    help: &'static str,
    value: impl Into<MetricValue>,
) -> MetricFamily {
    MetricFamily::new(name, kind, unit, help).with([], value)
}

fn events(name: &'static str, help: &'static str) -> MetricFamily {
    MetricFamily::new(name, Counter, Events, help)
}

fn seconds(name: &'static str, help: &'static str, time: Option<Duration>) -> MetricFamily {
    one(name, Gauge, Seconds, help, time.unwrap_or_default())
}

/// Those of OpenTelemetry's conventions. What is not idle is used; what is being opened is neither.
fn conventional(stats: &Stats, waiting: usize, (idle_min, most): (usize, usize)) -> Vec<MetricFamily> {
    let PoolState { size, idle, opening, .. } = stats.state;
    let used = size.saturating_sub(idle + opening);
    let connections = |name, help| MetricFamily::new(name, UpDownCounter, Connections, help);
    vec![
        connections(
            "db.client.connection.count",
            "The number of connections that are currently in state described by the state attribute.",
        )
        .with_each("db.client.connection.state", [("idle", idle), ("used", used)]),
        connections("db.client.connection.max", "The maximum number of open connections allowed.").with([], most),
        connections("db.client.connection.idle.max", "The maximum number of idle open connections allowed.")
            .with([], most),
        connections("db.client.connection.idle.min", "The minimum number of idle open connections allowed.")
            .with([], idle_min),
        one(
            "db.client.connection.pending_requests",
            UpDownCounter,
            Requests,
            "The number of current pending requests for an open connection.",
            waiting,
        ),
        one(
            "db.client.connection.timeouts",
            Counter,
            Timeouts,
            "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
            stats.timeouts,
        ),
    ]
}

/// How long things took. Acquires that did not wait are not timed: they count among those of no time at all.
fn times(timed: &Timed, immediate: u64) -> Vec<MetricFamily> {
    let family = |name, help| MetricFamily::new(name, Histogram, Seconds, help);
    vec![
        family("db.client.connection.wait_time", "The time it took to obtain an open connection from the pool.")
            .with([], histogram(&timed.wait, immediate)),
        family(
            "db.client.connection.use_time",
            "The time between borrowing a connection and returning it to the pool.",
        )
        .with([], histogram(&timed.hold, 0)),
        family("db.client.connection.create_time", "The time it took to create a new connection.")
            .with([], histogram(&timed.open, 0)),
        family("pool.check.time", "How long pings took, whatever came of them.").with([], histogram(&timed.check, 0)),
    ]
}

/// By the kind of the error, for those that have failed.
fn executions(engine: &Engine<impl Driver>, system: &'static str, namespace: Option<&str>) -> MetricFamily {
    let family = MetricFamily::new(
        "db.client.operation.duration",
        Histogram,
        Seconds,
        "Duration of database client operations.",
    );
    let (well, failed) = engine.executions();
    let named = || {
        let system = (!system.is_empty()).then(|| ("db.system.name", system.into()));
        system.into_iter().chain(namespace.map(|namespace| ("db.namespace", namespace.to_owned().into())))
    };
    let all = std::iter::once((None, well)).chain(failed.into_iter().map(|(kind, counted)| (Some(kind), counted)));
    all.fold(family, |family, (kind, counted)| {
        let labels = named().chain(kind.map(|kind| ("error.type", kind.into())));
        family.with_labels(labels.collect(), histogram(&counted, 0))
    })
}

/// With so many more that took no time.
fn histogram(counted: &Counted, at_once: u64) -> HistogramValue {
    let counts = counted.up_to(&BOUNDS.map(Duration::from_micros));
    let seconds = |bound: u64| Duration::from_micros(bound).as_secs_f64();
    HistogramValue {
        buckets: BOUNDS.iter().zip(counts).map(|(bound, count)| (seconds(*bound), count + at_once)).collect(),
        count: counted.count() + at_once,
        sum: counted.total().as_secs_f64(),
    }
}

fn connections(stats: &Stats) -> Vec<MetricFamily> {
    let PoolState { idle, leased, reserved, opening, in_maintenance, shared, users, room, paused, closed, .. } =
        stats.state;
    let places = [
        ("idle", idle),
        ("leased", leased),
        ("reserved", reserved),
        ("opening", opening),
        ("in_maintenance", in_maintenance),
    ];
    let gauge = |name, unit, help, value: usize| one(name, Gauge, unit, help, value);
    vec![
        MetricFamily::new(
            "pool.connections",
            UpDownCounter,
            Connections,
            "Connections by state; their sum is the size of the pool.",
        )
        .with_each("state", places),
        one(
            "pool.connections.opened",
            Counter,
            Connections,
            "Connections opened, the adopted ones included.",
            stats.opened,
        ),
        MetricFamily::new("pool.connections.closed", Counter, Connections, "Connections closed, by reason.")
            .with_each("reason", stats.closes()),
        gauge("pool.shared.connections", Connections, "Leased connections that several callers may share.", shared),
        gauge("pool.shared.users", Callers, "Callers who share them.", users),
        gauge("pool.shared.room", Callers, "How many more may join them.", room),
        // Nobody can resume it once it is closed.
        one("pool.paused", Gauge, Truth, "1 while the pool is paused.", paused && !closed),
        one("pool.closed", Gauge, Truth, "1 once the pool has been closed.", closed),
    ]
}

fn callers(stats: &Stats, steady: Steady, waiting: usize) -> Vec<MetricFamily> {
    let outcomes = [
        ("immediate", steady.immediate),
        ("waited", steady.served_late),
        ("timeout", stats.timeouts),
        ("cancelled", stats.cancelled),
        ("shed", stats.shed),
        ("failed", stats.failed),
        ("refused", stats.refused),
    ];
    vec![
        MetricFamily::new("pool.acquires", Counter, Requests, "Acquires that have ended, by what came of them.")
            .with_each("outcome", outcomes),
        one("pool.waiters", Gauge, Callers, "Callers that wait for a connection.", waiting),
    ]
}

fn troubles(stats: &Stats) -> Vec<MetricFamily> {
    let errors = &stats.errors;
    let classes = [
        ("open_transient", errors.open_transient),
        ("open_permanent", errors.open_permanent),
        ("open_timeout", errors.open_timeouts),
        ("open_panic", errors.open_panics),
        ("open_hook", errors.open_hooks),
        ("open_abandoned", errors.open_abandoned),
        ("reset", errors.resets),
        ("ping", errors.pings),
        ("inspection", errors.inspections),
        ("conversion", errors.conversions),
    ];
    let count = |name, help, value: u64| events(name, help).with([], value);
    vec![
        events("pool.errors", "What has gone wrong between the pool and its driver, by class.")
            .with_each("class", classes),
        count("pool.breaker.openings", "How often the breaker has opened.", stats.breaker_openings),
        count("pool.slow_acquires", "Acquires that took longer than the setting slow_acquire.", stats.slow_acquires),
        count("pool.leaks", "Leases that were reported because they were held for so long.", stats.leaks),
        count("pool.leases.reclaimed", "Leases that were cut off.", stats.reclaimed),
        count("pool.self_waits", "Callers that had to wait while their own task had a connection.", stats.self_waits),
        count("pool.uncollected", "Connections taken back from waiters that did not come for them.", stats.uncollected),
    ]
}

/// That of a pool that is closed spares nobody anything, and is moved by nobody any more: it counts as closed.
fn breaker(pool: &PoolState) -> MetricFamily {
    let state = if pool.closed { BreakerState::Closed } else { pool.breaker };
    let stands = [
        ("closed", state == BreakerState::Closed),
        ("open", matches!(state, BreakerState::Open { .. })),
        ("half_open", state == BreakerState::HalfOpen),
    ];
    MetricFamily::new("pool.breaker.state", Gauge, Truth, "Where the breaker stands: 1 for that.")
        .with_each("state", stands)
}
