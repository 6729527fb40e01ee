//! What is measured, for whoever exports it: numbers under OpenTelemetry's names, and no exporter.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

/// Metrics of one name. The names are OpenTelemetry's, with dots; those of its [conventions for database
/// clients](https://opentelemetry.io/docs/specs/semconv/database/database-metrics/) mean what they mean there.
///
/// # Example
///
/// ```
/// use pool_core::{MetricFamily, MetricKind, MetricUnit};
///
/// let family = MetricFamily::new("pool.waiters", MetricKind::Gauge, MetricUnit::Callers, "Callers that wait.").with([], 3);
/// assert_eq!(family.samples.len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MetricFamily {
    /// Its name, such as `db.client.connection.count`.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub help: &'static str,
    /// What its numbers are of.
    pub unit: MetricUnit,
    /// How its numbers go.
    pub kind: MetricKind,
    /// The numbers.
    pub samples: Vec<MetricSample>,
}

/// How the numbers of a [`MetricFamily`] go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// Up and down; several of them cannot be added up.
    Gauge,
    /// Up and down; the sum of several means something.
    UpDownCounter,
    /// Up alone.
    Counter,
    /// Times by how long they are.
    Histogram,
}

/// What the numbers of a [`MetricFamily`] are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricUnit {
    /// Connections.
    Connections,
    /// Callers.
    Callers,
    /// Requests for a connection.
    Requests,
    /// Timeouts.
    Timeouts,
    /// Whatever else is counted.
    Events,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of a whole, from 0 to 1.
    Ratio,
    /// 1 if it is so, 0 if not.
    Truth,
}

impl MetricUnit {
    /// As OpenTelemetry writes it, in the notation of UCUM.
    ///
    /// # Example
    ///
    /// ```
    /// assert_eq!(pool_core::MetricUnit::Connections.ucum(), "{connection}");
    /// ```
    pub fn ucum(self) -> &'static str {
        match self {
            Self::Connections => "{connection}",
            Self::Callers => "{caller}",
            Self::Requests => "{request}",
            Self::Timeouts => "{timeout}",
            Self::Events => "{event}",
            Self::Seconds => "s",
            Self::Bytes => "By",
            Self::Ratio => "1",
            // An annotation, as `1` is what makes a `_ratio` of a gauge.
            Self::Truth => "{truth}",
        }
    }
}

/// One number of a [`MetricFamily`], or one histogram.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MetricSample {
    /// What it is of, by name and value. Values come from small sets: how many there may be does not depend on what is asked of the pool.
    pub labels: Vec<(&'static str, Cow<'static, str>)>,
    /// The number.
    pub value: MetricValue,
}

/// The number of a [`MetricSample`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum MetricValue {
    /// A count.
    Count(u64),
    /// Any number.
    Number(f64),
    /// Times.
    Histogram(HistogramValue),
}

impl From<u64> for MetricValue {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for MetricValue {
    fn from(count: usize) -> Self {
        Self::Count(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

impl From<i32> for MetricValue {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for MetricValue {
    fn from(holds: bool) -> Self {
        Self::Count(holds.into())
    }
}

impl From<f64> for MetricValue {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Duration> for MetricValue {
    fn from(time: Duration) -> Self {
        Self::Number(time.as_secs_f64())
    }
}

impl From<HistogramValue> for MetricValue {
    fn from(times: HistogramValue) -> Self {
        Self::Histogram(times)
    }
}

/// Times by how long they are.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct HistogramValue {
    /// How many took no longer than so many seconds; in order, each with those before it.
    pub buckets: Vec<(f64, u64)>,
    /// How many there are, the longer ones included.
    pub count: u64,
    /// All of them together, in seconds.
    pub sum: f64,
}

impl MetricFamily {
    /// One without numbers.
    pub fn new(name: &'static str, kind: MetricKind, unit: MetricUnit, help: &'static str) -> Self {
        Self { name, help, unit, kind, samples: Vec::new() }
    }

    /// With one more number.
    #[must_use]
    pub fn with<const N: usize>(
        mut self,
        labels: [(&'static str, &'static str); N],
        value: impl Into<MetricValue>,
    ) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name, value.into())).collect();
        self.samples.push(MetricSample { labels, value: value.into() });
        self
    }

    /// With one number for each value of a label.
    ///
    /// # Example
    ///
    /// ```
    /// # use pool_core::{MetricFamily, MetricKind, MetricUnit};
    /// let family = MetricFamily::new("cups", MetricKind::Counter, MetricUnit::Events, "Cups, by what was in them.");
    /// let family = family.with_each("content", [("tea", 3), ("coffee", 7)]);
    /// assert_eq!(family.samples.len(), 2);
    /// ```
    #[must_use]
    pub fn with_each<K: Into<Cow<'static, str>>, V: Into<MetricValue>>(
        mut self,
        label: &'static str,
        values: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let samples = values
            .into_iter()
            .map(|(key, value)| MetricSample { labels: vec![(label, key.into())], value: value.into() });
        self.samples.extend(samples);
        self
    }

    /// With one number more that has several labels.
    #[must_use]
    pub fn with_labels(
        mut self,
        labels: Vec<(&'static str, Cow<'static, str>)>,
        value: impl Into<MetricValue>,
    ) -> Self {
        self.samples.push(MetricSample { labels, value: value.into() });
        self
    }
}

/// The families of several pools as one list, in the order of their names' first appearance: an exporter has to show each name once.
///
/// # Example
///
/// ```
/// # use pool_core::{MetricFamily, MetricKind, MetricUnit};
/// let family = |pool| MetricFamily::new("cups", MetricKind::Counter, MetricUnit::Events, "Cups.").with([("pool", pool)], 1);
/// let merged = pool_core::merge_families([family("one"), family("other")]);
/// assert_eq!((merged.len(), merged[0].samples.len()), (1, 2));
/// ```
pub fn merge_families(families: impl IntoIterator<Item = MetricFamily>) -> Vec<MetricFamily> {
    let (mut merged, mut places) = (Vec::<MetricFamily>::new(), HashMap::new());
    for family in families {
        if let Some(place) = places.get(family.name) {
            let there: &mut MetricFamily = &mut merged[*place];
            there.samples.extend(family.samples);
        } else {
            places.insert(family.name, merged.len());
            merged.push(family);
        }
    }
    merged
}

/// What a driver tells of itself, in [`Driver::describe`](crate::Driver::describe).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// The kind of backend, as OpenTelemetry's `db.system.name` has it: `postgresql`, `redis`. Empty if it has no such name.
    pub system: &'static str,
    /// Which of its databases, as OpenTelemetry's `db.namespace` has it, if it has several and all connections go to the same.
    pub namespace: Option<String>,
    /// What it measures.
    pub families: Vec<MetricFamily>,
    /// How it is set up, each setting by its name; without anything secret.
    pub settings: Vec<(String, String)>,
    /// Where it connects to.
    pub servers: Vec<ServerFacts>,
}

/// A server that connections go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerFacts {
    /// Its name, as [`Driver::host`](crate::Driver::host) gives it.
    pub host: String,
    /// Where that leads to, if it may be something else.
    pub address: Option<String>,
    /// What it is to the others.
    pub role: Option<&'static str>,
    /// Whatever else is to be said about it.
    pub note: Option<String>,
}

impl ServerFacts {
    /// A server of which nothing but its name is known.
    ///
    /// # Example
    ///
    /// ```
    /// let mut server = pool_core::ServerFacts::of("db:5432");
    /// server.role = Some("primary");
    /// assert_eq!(server.to_string(), "db:5432, primary");
    /// ```
    pub fn of(host: impl Into<String>) -> Self {
        Self { host: host.into(), ..Self::default() }
    }
}

impl fmt::Display for ServerFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        let parts = [self.address.as_deref(), self.role, self.note.as_deref()];
        parts.into_iter().flatten().try_for_each(|part| write!(f, ", {part}"))
    }
}
