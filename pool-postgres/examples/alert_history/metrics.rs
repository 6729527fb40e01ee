//! What the service measures itself; its pool is measured by the pool's observer.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pool_postgres::pool_core::{HistogramValue, MetricFamily, MetricKind, MetricUnit};

/// Upper bounds in microseconds.
const BOUNDS: [u64; 12] = [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];

/// The methods that are told apart: anybody may make up others.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    requests: Mutex<BTreeMap<Kind, Times>>,
    alerts_stored: AtomicU64,
}

/// What requests are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    route: String,
    method: &'static str,
    status: u16,
}

/// How long requests took.
#[derive(Debug, Default)]
struct Times {
    /// How many took no longer than each bound.
    up_to: [u64; BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Times {
    fn add(&mut self, took: Duration) {
        let counts = BOUNDS.iter().zip(&mut self.up_to).filter(|(bound, _)| took <= Duration::from_micros(**bound));
        counts.for_each(|(_, count)| *count += 1);
        self.count += 1;
        self.sum += took;
    }

    fn value(&self) -> HistogramValue {
        let seconds = |bound: u64| Duration::from_micros(bound).as_secs_f64();
        let mut value = HistogramValue::default();
        value.buckets = BOUNDS.iter().zip(self.up_to).map(|(bound, count)| (seconds(*bound), count)).collect();
        (value.count, value.sum) = (self.count, self.sum.as_secs_f64());
        value
    }
}

impl Metrics {
    /// A request was answered.
    pub(super) fn answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("_OTHER");
        let kind = Kind { route: route.to_owned(), method, status };
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default().add(took);
    }

    /// Alerts were stored.
    pub(super) fn stored(&self, alerts: u64) {
        self.alerts_stored.fetch_add(alerts, Ordering::Relaxed);
    }

    /// All of it, as OpenTelemetry names it.
    pub(super) fn families(&self) -> [MetricFamily; 2] {
        let stored = MetricFamily::new(
            "alert_history.alerts.stored",
            MetricKind::Counter,
            MetricUnit::Events,
            "Alerts that were stored.",
        );
        let stored = stored.with([], self.alerts_stored.load(Ordering::Relaxed));
        let help = "Time from a request to the first byte of its answer.";
        let mut requests =
            MetricFamily::new("http.server.request.duration", MetricKind::Histogram, MetricUnit::Seconds, help);
        for (Kind { route, method, status }, times) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let labels = vec![
                ("http.request.method", (*method).into()),
                ("http.route", route.clone().into()),
                ("http.response.status_code", status.to_string().into()),
            ];
            requests = requests.with_labels(labels, times.value());
        }
        [stored, requests]
    }
}
