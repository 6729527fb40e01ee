//! What the tests share: a reader that collects when it is told to, on the thread and the clock of the test; and what is told, in a form that can be compared.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality};
use pool_core::opentelemetry::api::KeyValue;
use pool_core::opentelemetry::api::metrics::{Meter, MeterProvider};
use pool_core::{
    Description, HistogramValue, MetricFamily, MetricKind, MetricUnit, MetricValue, ObserveConfig, Pool, PoolObserver,
};
use pool_testkit::fake::{FakeDriver, quiet};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A reader that several may have.
#[derive(Clone, Debug)]
pub(crate) struct Reader(Arc<ManualReader>);

impl Reader {
    pub(crate) fn new(temporality: Temporality) -> Self {
        Self(Arc::new(ManualReader::builder().with_temporality(temporality).build()))
    }

    /// What is told now.
    pub(crate) fn collected(&self) -> Told {
        let mut metrics = ResourceMetrics::default();
        self.0.collect(&mut metrics).unwrap();
        told(&metrics)
    }
}

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// A meter, and who reads from it.
pub(crate) struct Metered {
    pub(crate) provider: SdkMeterProvider,
    pub(crate) reader: Reader,
}

impl Metered {
    pub(crate) fn new() -> Self {
        let reader = Reader::new(Temporality::Cumulative);
        Self { provider: SdkMeterProvider::builder().with_reader(reader.clone()).build(), reader }
    }

    pub(crate) fn meter(&self) -> Meter {
        self.provider.meter("pool")
    }

    pub(crate) fn collected(&self) -> Told {
        self.reader.collected()
    }
}

/// All instruments by their names.
pub(crate) type Told = BTreeMap<String, Instrument>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Instrument {
    pub(crate) help: String,
    pub(crate) unit: String,
    pub(crate) kind: MetricKind,
    /// The type of its numbers.
    pub(crate) number: &'static str,
    /// By their attributes.
    pub(crate) samples: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Number(f64),
    Times(Times),
}

#[derive(Clone, Debug)]
pub(crate) struct Times {
    pub(crate) bounds: Vec<f64>,
    /// By bucket, the one without a bound included.
    pub(crate) each: Vec<u64>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
}

/// Sums may be off by 1 %, bounds and counts may not.
impl PartialEq for Times {
    fn eq(&self, other: &Self) -> bool {
        let exact = (&self.bounds, &self.each, self.count) == (&other.bounds, &other.each, other.count);
        exact && (self.sum - other.sum).abs() <= 0.01 * self.sum.abs().max(other.sum.abs())
    }
}

impl Instrument {
    /// The only number.
    pub(crate) fn only(&self) -> &Value {
        assert_eq!(self.samples.len(), 1, "{self:?}");
        self.samples.values().next().unwrap()
    }

    pub(crate) fn number(&self) -> f64 {
        match self.only() {
            Value::Number(number) => *number,
            Value::Times(times) => panic!("{times:?}"),
        }
    }

    /// Of what is 1 if it is so, and 0 if not.
    pub(crate) fn is_true(&self) -> bool {
        self.number() > 0.5
    }

    pub(crate) fn times(&self) -> &Times {
        match self.only() {
            Value::Times(times) => times,
            Value::Number(number) => panic!("{number}"),
        }
    }
}

pub(crate) fn told(metrics: &ResourceMetrics) -> Told {
    let all = metrics.scope_metrics().flat_map(opentelemetry_sdk::metrics::data::ScopeMetrics::metrics);
    all.map(|metric| (metric.name().to_owned(), instrument(metric))).collect()
}

#[allow(clippy::cast_precision_loss)] // of small whole numbers
fn instrument(metric: &Metric) -> Instrument {
    let (number, kind, samples) = match metric.data() {
        AggregatedMetrics::F64(data) => with("f64", data, |number| number),
        AggregatedMetrics::U64(data) => with("u64", data, |number| number as f64),
        AggregatedMetrics::I64(data) => with("i64", data, |number| number as f64),
    };
    Instrument { help: metric.description().to_owned(), unit: metric.unit().to_owned(), kind, number, samples }
}

type Samples = BTreeMap<String, Value>;

fn with<T: Copy>(
    number: &'static str,
    data: &MetricData<T>,
    real: impl Fn(T) -> f64,
) -> (&'static str, MetricKind, Samples) {
    let one = |value| Value::Number(real(value));
    let (kind, samples): (_, Vec<_>) = match data {
        MetricData::Gauge(gauge) => {
            let points = gauge.data_points();
            (MetricKind::Gauge, points.map(|point| (sorted(point.attributes()), one(point.value()))).collect())
        }
        MetricData::Sum(sum) => {
            let kind = if sum.is_monotonic() { MetricKind::Counter } else { MetricKind::UpDownCounter };
            (kind, sum.data_points().map(|point| (sorted(point.attributes()), one(point.value()))).collect())
        }
        MetricData::Histogram(histogram) => {
            let times = histogram.data_points().map(|point| {
                let (bounds, each) = (point.bounds().collect(), point.bucket_counts().collect());
                let times = Times { bounds, each, count: point.count(), sum: real(point.sum()) };
                (sorted(point.attributes()), Value::Times(times))
            });
            (MetricKind::Histogram, times.collect())
        }
        MetricData::ExponentialHistogram(_) => panic!("nothing is of that kind"),
    };
    let count = samples.len();
    let samples: BTreeMap<_, _> = samples.into_iter().collect();
    assert_eq!(samples.len(), count, "each set of attributes once");
    (number, kind, samples)
}

fn sorted<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    written(attributes.map(|pair| (pair.key.to_string(), pair.value.to_string())))
}

fn written(pairs: impl Iterator<Item = (String, String)>) -> String {
    let sorted: BTreeMap<_, _> = pairs.collect();
    sorted.into_iter().flat_map(|(name, value)| [name, "=".to_owned(), value, ";".to_owned()]).collect()
}

/// What is to be told of families. Those without a number do not appear, and a histogram appears with the first time.
pub(crate) fn expected(families: &[MetricFamily]) -> Told {
    let mut told = Told::new();
    for family in families {
        let samples: BTreeMap<_, _> = family
            .samples
            .iter()
            .map(|sample| {
                let labels = sample.labels.iter().map(|(name, value)| ((*name).to_owned(), value.to_string()));
                (written(labels), value(&sample.value))
            })
            .filter(|(_, value)| !matches!(value, Value::Times(Times { count: 0, .. })))
            .collect();
        if samples.is_empty() {
            continue;
        }
        let number = match (family.kind, family.unit) {
            (MetricKind::Histogram, _) | (_, MetricUnit::Seconds | MetricUnit::Ratio) => "f64",
            (MetricKind::Counter, _) => "u64",
            _ => "i64",
        };
        let (help, unit) = (family.help.to_owned(), family.unit.ucum().to_owned());
        let before = told.insert(family.name.to_owned(), Instrument { help, unit, kind: family.kind, number, samples });
        assert!(before.is_none(), "{} is there twice", family.name);
    }
    told
}

#[allow(clippy::cast_precision_loss)] // of small whole numbers
fn value(value: &MetricValue) -> Value {
    match value {
        MetricValue::Count(count) => Value::Number(*count as f64),
        MetricValue::Number(number) => Value::Number(*number),
        MetricValue::Histogram(times) => Value::Times(buckets(times)),
        other => panic!("{other:?}"),
    }
}

fn buckets(times: &HistogramValue) -> Times {
    let (bounds, up_to): (Vec<_>, Vec<_>) = times.buckets.iter().copied().unzip();
    let mut each = up_to;
    each.push(times.count);
    for bucket in (1..each.len()).rev() {
        each[bucket] -= each[bucket - 1];
    }
    Times { bounds, each, count: times.count, sum: times.sum }
}

/// Says which instruments differ, and how.
pub(crate) fn compare(told: &Told, expected: &Told) {
    let names: Vec<_> = told.keys().collect();
    assert_eq!(names, expected.keys().collect::<Vec<_>>(), "told, and expected");
    for (name, instrument) in told {
        assert_eq!(instrument, &expected[name], "{name}: told, and expected");
    }
}

pub(crate) fn pool_of(driver: &FakeDriver, most: usize) -> Pool<FakeDriver> {
    Pool::builder(driver.clone()).config(quiet(most)).build().unwrap()
}

pub(crate) fn observer(pool: &Pool<FakeDriver>, name: &str) -> PoolObserver<FakeDriver> {
    let mut config = ObserveConfig::default();
    name.clone_into(&mut config.name);
    pool.observe(config).unwrap()
}

/// Has the driver tell of these.
pub(crate) fn describe(driver: &FakeDriver, families: impl IntoIterator<Item = MetricFamily>) {
    let mut description = Description::default();
    description.system = "fake";
    description.families = families.into_iter().collect();
    driver.describe_as(Some(description));
}

/// Of buckets up to 1 s, 10 s and 100 s.
pub(crate) fn times([a, b, c, d]: [u64; 4], sum: f64) -> HistogramValue {
    let mut times = HistogramValue::default();
    times.buckets = vec![(1.0, a), (10.0, a + b), (100.0, a + b + c)];
    (times.count, times.sum) = (a + b + c + d, sum);
    times
}

pub(crate) fn tea(times: HistogramValue) -> MetricFamily {
    MetricFamily::new("fake.tea", MetricKind::Histogram, MetricUnit::Seconds, "How long tea was drawn.").with([], times)
}
