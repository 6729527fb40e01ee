//! What the service measures, and how Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use pool_postgres::pool_core::Stats;

/// Upper bounds in microseconds.
const BUCKETS: [u64; 12] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];

/// Durations in microseconds, to three digits.
pub(super) type Durations = Histogram<u64>;

/// Everything the service measures itself; the pool's statistics are read when they are asked for.
#[derive(Debug)]
pub(super) struct Metrics {
    /// What new histograms are copied from.
    blank: Durations,
    acquire: Mutex<Durations>,
    /// By route and status.
    requests: Mutex<BTreeMap<(String, u16), Durations>>,
    alerts_stored: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Metrics {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let blank = Durations::new_with_bounds(1, 60_000_000, 3)?;
        let acquire = Mutex::new(blank.clone());
        Ok(Self { blank, acquire, requests: Mutex::default(), alerts_stored: AtomicU64::new(0) })
    }

    /// A connection was asked for, and came or did not.
    pub(super) fn acquired(&self, took: Duration) {
        locked(&self.acquire).saturating_record(micros(took));
    }

    /// A request was answered.
    pub(super) fn answered(&self, route: &str, status: u16, took: Duration) {
        let mut requests = locked(&self.requests);
        let durations = requests.entry((route.to_owned(), status)).or_insert_with(|| self.blank.clone());
        durations.saturating_record(micros(took));
    }

    /// Alerts were stored.
    pub(super) fn stored(&self, alerts: u64) {
        self.alerts_stored.fetch_add(alerts, Ordering::Relaxed);
    }

    /// The durations of all acquires so far.
    pub(super) fn acquire_durations(&self) -> Durations {
        locked(&self.acquire).clone()
    }

    /// An empty histogram.
    pub(super) fn blank(&self) -> Durations {
        self.blank.clone()
    }

    /// Everything in Prometheus' text format.
    pub(super) fn render(&self, stats: &Stats) -> String {
        let mut page = Page::default();
        pool(&mut page, stats);
        page.head("alert_history_alerts_stored_total", "counter", "Alerts stored.");
        page.sample("alert_history_alerts_stored_total", "", self.alerts_stored.load(Ordering::Relaxed));
        page.head(
            "pool_acquire_duration_seconds",
            "histogram",
            "Time from asking for a connection to having it or giving up.",
        );
        page.histogram("pool_acquire_duration_seconds", "", &locked(&self.acquire));
        let name = "http_request_duration_seconds";
        page.head(name, "histogram", "Time from a request to the first byte of its answer.");
        for ((route, status), durations) in &*locked(&self.requests) {
            // Routes are our own patterns: nothing in them needs escaping.
            page.histogram(name, &format!("route=\"{route}\",status=\"{status}\""), durations);
        }
        page.0
    }
}

#[allow(clippy::cast_precision_loss)] // a pool has a few thousand connections at most
fn pool(page: &mut Page, stats: &Stats) {
    let now = stats.state;
    page.head("pool_connections", "gauge", "Connections by state.");
    let places = [
        ("idle", now.idle),
        ("leased", now.leased),
        ("reserved", now.reserved),
        ("opening", now.opening),
        ("in_maintenance", now.in_maintenance),
    ];
    for (name, count) in places {
        page.sample("pool_connections", &format!("state=\"{name}\""), count);
    }
    page.head("pool_connections_max", "gauge", "The most connections the pool opens.");
    page.sample("pool_connections_max", "", now.max_size);
    page.head("pool_utilisation_ratio", "gauge", "Leased connections as a part of the maximum.");
    page.sample("pool_utilisation_ratio", "", now.leased as f64 / now.max_size.max(1) as f64);
    page.head("pool_waiting", "gauge", "Callers waiting for a connection.");
    page.sample("pool_waiting", "", now.waiting);
    let counters = [
        ("pool_acquired_total", "Connections handed out.", stats.acquired),
        ("pool_waited_total", "Acquires that had to wait.", stats.waited),
        ("pool_timeouts_total", "Acquires that timed out.", stats.timeouts),
        ("pool_cancelled_total", "Acquires given up by their callers.", stats.cancelled),
        ("pool_opened_total", "Connections opened.", stats.opened),
        ("pool_closed_total", "Connections closed.", stats.closed),
        ("pool_open_failures_total", "Attempts to open a connection that failed.", stats.open_failures),
        ("pool_broken_total", "Connections closed because they broke.", stats.broken),
        ("pool_expired_total", "Connections closed because of their age.", stats.expired),
        ("pool_reaped_total", "Connections closed because nobody used them.", stats.reaped),
    ];
    for (name, help, value) in counters {
        page.head(name, "counter", help);
        page.sample(name, "", value);
    }
}

/// The text as it grows. Writing to a string cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value}")
        };
    }

    #[allow(clippy::cast_precision_loss)] // microseconds of some years fit
    fn histogram(&mut self, name: &str, labels: &str, durations: &Durations) {
        let (bucket, comma) = (format!("{name}_bucket"), if labels.is_empty() { "" } else { "," });
        for bound in BUCKETS {
            let seconds = bound as f64 / 1e6;
            self.sample(&bucket, &format!("{labels}{comma}le=\"{seconds}\""), durations.count_between(0, bound));
        }
        self.sample(&bucket, &format!("{labels}{comma}le=\"+Inf\""), durations.len());
        let sum = durations.mean() * durations.len() as f64 / 1e6;
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, durations.len());
    }
}
