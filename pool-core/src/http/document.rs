//! What is shown, as JSON.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::clock::{maybe_seconds, ratio, rfc3339, seconds, unix_seconds};
use super::settings;
use super::source::{Readiness, Source};
use crate::connection::{Holder, JournalEntry, SlotState, SlotView};
use crate::health::HealthConfig;
use crate::metric::ServerFacts;
use crate::observe::{HistoryPoint, Snapshot};
use crate::stats::{BreakerState, Distribution, Stats};
use crate::wall;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// The slots, the holders and the servers that are listed, at most each; the rest is a number.
    pub(super) rows: usize,
    /// The points of the history, at most: the latest.
    pub(super) points: usize,
    /// The entries of the journal, at most: the latest.
    pub(super) entries: usize,
    /// The longest text, in characters: what is longer is cut off.
    pub(super) text: usize,
}

impl Extent {
    /// For programs.
    pub(super) const WHOLE: Self = Self { rows: 1000, points: usize::MAX, entries: usize::MAX, text: usize::MAX };

    /// For the page, which has no place for more.
    pub(super) const PAGE: Self = Self { rows: 300, points: 360, entries: 64, text: 1024 };

    /// So many times less of everything.
    pub(super) fn divided(self, by: usize) -> Self {
        let of = |most: usize, least: usize| (most / by).max(least);
        Self {
            rows: of(self.rows, 4),
            points: of(self.points, 4),
            entries: of(self.entries, 4),
            text: of(self.text, 32),
        }
    }
}

/// What a pool was at one moment, without its history.
pub(super) struct Look {
    pub(super) snapshot: Snapshot,
    readiness: Readiness,
    leak_after: Option<Duration>,
    checks: Option<HealthConfig>,
}

impl Look {
    pub(super) fn at(source: &dyn Source) -> Self {
        Self {
            snapshot: source.snapshot(),
            readiness: source.readiness(),
            leak_after: source.leak_after(),
            checks: source.checks(),
        }
    }
}

/// Several pools.
pub(super) fn document(pools: Vec<Value>) -> Value {
    json!({ "at": rfc3339(wall::now()), "pools": pools })
}

/// The same, of what is JSON already, and the states of others if there is any news of them.
pub(super) fn document_of_texts(pools: &[Arc<str>], others: Option<&str>) -> String {
    let at = Value::from(rfc3339(wall::now()));
    let others = others.map(|others| format!(",\"others\":[{others}]")).unwrap_or_default();
    format!("{{\"at\":{at},\"pools\":[{}]{others}}}", pools.join(","))
}

/// Of a pool that is not shown, how it is.
pub(super) fn in_short(source: &dyn Source) -> Value {
    let (readiness, pool) = (source.readiness(), source.state());
    json!({
        "name": source.name(), "paused": pool.paused, "closed": pool.closed,
        "health": { "state": readiness.state.to_string() },
    })
}

/// Cuts off what is longer than so many characters.
fn shorten(value: &mut Value, most: usize) {
    match value {
        Value::String(text) => {
            if let Some((end, _)) = text.char_indices().nth(most) {
                text.truncate(end);
                text.push('…');
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(|part| shorten(part, most)),
        Value::Object(parts) => parts.values_mut().for_each(|part| shorten(part, most)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A pool, with these points of its history.
pub(super) fn describe(look: &Look, extent: Extent, points: &[HistoryPoint]) -> Value {
    let Look { snapshot, readiness, leak_after, checks } = look;
    let leak_after = *leak_after;
    let leaks = snapshot.holders.iter().filter(|one| is_leak(one, leak_after)).count();
    let mut parts = state(snapshot);
    parts.extend([
        ("health".to_owned(), health(snapshot, readiness)),
        ("leak_after_seconds".to_owned(), maybe_seconds(leak_after)),
        ("leaks".to_owned(), leaks.into()),
        ("counters".to_owned(), counters(&snapshot.stats)),
        ("times".to_owned(), times(&snapshot.stats)),
        ("slots".to_owned(), snapshot.slots.iter().take(extent.rows).map(slot).collect()),
        ("slots_left_out".to_owned(), snapshot.slots.len().saturating_sub(extent.rows).into()),
        ("holders".to_owned(), snapshot.holders.iter().take(extent.rows).map(|one| holder(one, leak_after)).collect()),
        ("holders_left_out".to_owned(), snapshot.holders.len().saturating_sub(extent.rows).into()),
        ("servers".to_owned(), snapshot.servers.iter().take(extent.rows).map(server).collect()),
        ("servers_left_out".to_owned(), snapshot.servers.len().saturating_sub(extent.rows).into()),
        ("settings".to_owned(), settings::read(&snapshot.config)),
        ("health_settings".to_owned(), checks.as_ref().map(check_settings).into()),
        ("driver_settings".to_owned(), snapshot.driver_settings.iter().map(setting).collect()),
        ("journal".to_owned(), snapshot.journal.iter().take(extent.entries).map(entry).collect()),
        ("history".to_owned(), history(points, extent.points)),
    ]);
    let mut shown = Value::Object(parts);
    if extent.text < usize::MAX {
        shorten(&mut shown, extent.text);
        // By this one it is asked for, and told from others: it is no text.
        shown["name"] = Value::from(&*snapshot.name);
    }
    shown
}

fn state(snapshot: &Snapshot) -> Map<String, Value> {
    let pool = &snapshot.stats.state;
    let lease = snapshot.oldest_lease.as_ref();
    let closing = snapshot.slots.iter().filter(|slot| slot.state == SlotState::Closing).count();
    let value = json!({
        "name": &*snapshot.name,
        "at": rfc3339(snapshot.at),
        "uptime_seconds": seconds(snapshot.uptime),
        "observed_since": rfc3339(snapshot.observed_since),
        "utilisation": ratio(snapshot.utilisation),
        "paused": pool.paused,
        "closed": pool.closed,
        "budget_exhausted": pool.budget_exhausted,
        "connections": {
            "max": pool.max_size, "size": pool.size, "idle": pool.idle, "leased": pool.leased, "shared": pool.shared,
            "users": pool.users, "room": pool.room, "reserved": pool.reserved, "opening": pool.opening,
            "in_maintenance": pool.in_maintenance, "closing": closing, "checking": pool.checking,
        },
        "waiting": { "callers": pool.callers(), "in_line": pool.in_line, "longest_seconds": maybe_seconds(snapshot.oldest_waiter) },
        "oldest_lease": lease.map(|one| json!({
            "connection": one.connection.to_string(), "held_seconds": seconds(one.held),
        })),
        "breaker": {
            "state": breaker(pool.breaker),
            "next_attempt_seconds": maybe_seconds(next_attempt(pool.breaker)),
            "openings": snapshot.stats.breaker_openings,
        },
    });
    match value {
        Value::Object(parts) => parts,
        _ => Map::new(),
    }
}

/// The breaker's state in one word.
pub(super) fn breaker(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::Open { .. } => "open",
        BreakerState::HalfOpen => "half_open",
    }
}

fn next_attempt(state: BreakerState) -> Option<Duration> {
    match state {
        BreakerState::Open { next_probe } => Some(next_probe.saturating_duration_since(tokio::time::Instant::now())),
        BreakerState::Closed | BreakerState::HalfOpen => None,
    }
}

/// Whether callers can be sent there.
pub(super) fn readiness(readiness: &Readiness) -> Map<String, Value> {
    let Readiness { ready, state, reasons } = readiness;
    [
        ("ready".to_owned(), (*ready).into()),
        ("state".to_owned(), state.to_string().into()),
        ("reasons".to_owned(), reasons.clone().into()),
    ]
    .into_iter()
    .collect()
}

fn health(snapshot: &Snapshot, found: &Readiness) -> Value {
    let mut parts = readiness(found);
    let report = snapshot.health.as_ref();
    parts.insert("latency_seconds".to_owned(), maybe_seconds(report.and_then(|report| report.latency)));
    parts.insert("age_seconds".to_owned(), maybe_seconds(report.map(|report| report.at.elapsed())));
    let checks = snapshot
        .checks
        .map(|checks| json!({ "succeeded": checks.succeeded, "failed": checks.failed, "busy": checks.busy }));
    parts.insert("checks".to_owned(), checks.into());
    Value::Object(parts)
}

fn counters(stats: &Stats) -> Value {
    let closed: Map<String, Value> =
        stats.closes().into_iter().map(|(reason, count)| (reason.to_owned(), count.into())).collect();
    json!({
        "acquired": stats.acquired, "immediate": stats.immediate, "waited": stats.waited, "timeouts": stats.timeouts,
        "cancelled": stats.cancelled, "shed": stats.shed, "failed": stats.failed, "refused": stats.refused,
        "opened": stats.opened, "adopted": stats.adopted, "closed": stats.closed, "closed_by_reason": closed,
        "open_failures": stats.open_failures, "leaks": stats.leaks, "reclaimed": stats.reclaimed,
        "self_waits": stats.self_waits, "uncollected": stats.uncollected,
        "errors": errors(stats),
    })
}

fn errors(stats: &Stats) -> Value {
    let errors = &stats.errors;
    json!({
        "open_transient": errors.open_transient, "open_permanent": errors.open_permanent,
        "open_timeout": errors.open_timeouts, "open_panic": errors.open_panics, "open_hook": errors.open_hooks, "open_abandoned": errors.open_abandoned,
        "reset": errors.resets, "ping": errors.pings, "inspection": errors.inspections,
        "conversion": errors.conversions,
    })
}

fn times(stats: &Stats) -> Value {
    json!({
        "wait": distribution(&stats.wait), "hold": distribution(&stats.hold), "open": distribution(&stats.open),
        "check": distribution(&stats.check), "execution": distribution(&stats.execution),
    })
}

fn distribution(times: &Distribution) -> Value {
    let known = |time| maybe_seconds((times.count > 0).then_some(time));
    json!({
        "count": times.count, "mean_seconds": known(times.mean), "p50_seconds": known(times.p50),
        "p90_seconds": known(times.p90), "p99_seconds": known(times.p99), "p999_seconds": known(times.p999),
        "max_seconds": known(times.max),
    })
}

fn slot(slot: &SlotView) -> Value {
    json!({
        "index": slot.index, "session": slot.session, "state": slot.state.label(), "since_seconds": maybe_seconds(slot.since),
        "users": slot.users,
    })
}

/// Whether a lease is out for longer than it should be.
pub(super) fn is_leak(holder: &Holder, leak_after: Option<Duration>) -> bool {
    holder.held.zip(leak_after).is_some_and(|(held, limit)| held >= limit)
}

fn holder(holder: &Holder, leak_after: Option<Duration>) -> Value {
    json!({
        "connection": holder.connection.to_string(), "session": holder.session, "held_seconds": maybe_seconds(holder.held),
        "place": holder.place.map(ToString::to_string), "task": holder.task.map(|task| task.to_string()),
        "span": holder.span, "activity": holder.activity.as_deref(), "leak": is_leak(holder, leak_after),
    })
}

fn server(server: &ServerFacts) -> Value {
    json!({ "host": server.host, "address": server.address, "role": server.role, "note": server.note })
}

fn check_settings(config: &HealthConfig) -> Value {
    json!({
        "interval_seconds": seconds(config.interval), "retry_interval_seconds": seconds(config.retry_interval),
        "timeout_seconds": seconds(config.timeout), "tries": config.tries, "successes": config.successes,
        "utilisation": config.utilisation, "leak_after_seconds": maybe_seconds(config.leak_after),
        "reserve": config.reserve,
    })
}

fn setting((name, value): &(String, String)) -> Value {
    json!({ "name": name, "value": value })
}

fn entry(entry: &JournalEntry) -> Value {
    json!({
        "at": rfc3339(entry.at), "since": rfc3339(entry.since), "times": entry.times, "kind": entry.kind,
        "message": entry.message,
    })
}

/// By columns, which is a quarter as long as by points.
fn history(points: &[HistoryPoint], most: usize) -> Value {
    let shown = &points[points.len().saturating_sub(most)..];
    let column = |(name, cell): (&str, Cell)| (name.to_owned(), shown.iter().map(cell).collect());
    Value::Object(COLUMNS.into_iter().map(column).collect())
}

type Cell = fn(&HistoryPoint) -> Value;

const COLUMNS: [(&str, Cell); 21] = [
    ("sequence", |point| point.sequence.into()),
    ("at_unix_seconds", |point| unix_seconds(point.at)),
    ("over_seconds", |point| seconds(point.over)),
    ("acquired", |point| point.acquired.into()),
    ("timeouts", |point| point.timeouts.into()),
    ("opened", |point| point.opened.into()),
    ("closed", |point| point.closed.into()),
    ("open_failures", |point| point.open_failures.into()),
    ("executions", |point| point.execution.count.into()),
    ("execution_p99_seconds", |point| quantile(&point.execution, |times| times.p99)),
    ("waited", |point| point.wait.count.into()),
    ("wait_p50_seconds", |point| quantile(&point.wait, |times| times.p50)),
    ("wait_p99_seconds", |point| quantile(&point.wait, |times| times.p99)),
    ("hold_p50_seconds", |point| quantile(&point.hold, |times| times.p50)),
    ("hold_p99_seconds", |point| quantile(&point.hold, |times| times.p99)),
    ("utilisation", |point| ratio(point.utilisation)),
    ("utilisation_peak", |point| ratio(point.peak)),
    ("waiting", |point| point.waiting.into()),
    ("oldest_waiter_seconds", |point| seconds(point.oldest_waiter)),
    ("breaker", |point| breaker(point.breaker).into()),
    ("health", |point| point.health.map(|state| state.to_string()).into()),
];

/// Nothing if there was nothing.
fn quantile(times: &Distribution, which: fn(&Distribution) -> Duration) -> Value {
    maybe_seconds((times.count > 0).then(|| which(times)))
}
