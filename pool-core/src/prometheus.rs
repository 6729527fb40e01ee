//! Metrics as text, the way Prometheus reads them.
//!
//! Names are made of OpenTelemetry's by [its rules](https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/): dots become underscores, seconds, bytes and ratios are named at
//! the end, and counters end in `_total`. So `db.client.connection.wait_time` becomes `db_client_connection_wait_time_seconds`. One name is not: `_count` at the end is of histograms alone, and
//! promtool refuses it for others, so `db.client.connection.count` becomes `db_client_connections`.
//!
//! # Example
//!
//! ```no_run
//! # fn page<D: pool_core::Driver>(observer: &pool_core::PoolObserver<D>) -> String {
//! pool_core::prometheus::text(&observer.families())
//! # }
//! ```

use std::fmt::{self, Write};

use crate::metric::{HistogramValue, MetricFamily, MetricKind, MetricSample, MetricUnit, MetricValue};

/// The type of the content of [`text`].
pub const TEXT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The type of the content of [`openmetrics`].
pub const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// In Prometheus' text format, version 0.0.4. Each name may be there once: see [`merge_families`](crate::merge_families).
///
/// # Example
///
/// ```
/// use pool_core::{MetricFamily, MetricKind, MetricUnit};
///
/// let family = MetricFamily::new("pool.waiters", MetricKind::Gauge, MetricUnit::Callers, "Callers that wait.");
/// let text = pool_core::prometheus::text(&[family.with([("pool", "alerts")], 3)]);
/// assert_eq!(text, "# HELP pool_waiters Callers that wait.\n# TYPE pool_waiters gauge\npool_waiters{pool=\"alerts\"} 3\n");
/// ```
pub fn text(families: &[MetricFamily]) -> String {
    let mut page = Page::default();
    for family in families {
        page.family(family, Format::Text);
    }
    page.0
}

/// In the format of OpenMetrics 1.0.
///
/// # Example
///
/// ```
/// use pool_core::{MetricFamily, MetricKind, MetricUnit};
///
/// let family = MetricFamily::new("pool.leaks", MetricKind::Counter, MetricUnit::Events, "Leaks.").with([], 1);
/// let text = pool_core::prometheus::openmetrics(&[family]);
/// assert_eq!(text, "# HELP pool_leaks Leaks.\n# TYPE pool_leaks counter\npool_leaks_total 1\n# EOF\n");
/// ```
pub fn openmetrics(families: &[MetricFamily]) -> String {
    let mut page = Page::default();
    for family in families {
        page.family(family, Format::OpenMetrics);
    }
    page.0.push_str("# EOF\n");
    page.0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    OpenMetrics,
}

/// The text as it grows. Writing to a string cannot fail.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, family: &MetricFamily, format: Format) {
        let base = base_name(family);
        let total = if family.kind == MetricKind::Counter { "_total" } else { "" };
        // OpenMetrics names the family, the other one what is in its lines.
        let head = if format == Format::Text { total } else { "" };
        let kind = match family.kind {
            MetricKind::Counter => "counter",
            MetricKind::Histogram => "histogram",
            MetricKind::Gauge | MetricKind::UpDownCounter => "gauge",
        };
        let _ = writeln!(
            self.0,
            "# HELP {base}{head} {}\n# TYPE {base}{head} {kind}",
            Escaped(family.help, format == Format::OpenMetrics)
        );
        for sample in &family.samples {
            match &sample.value {
                MetricValue::Count(count) => self.sample(&base, total, sample, None, count),
                MetricValue::Number(number) => self.sample(&base, total, sample, None, &Number(*number)),
                MetricValue::Histogram(times) => self.histogram(&base, sample, times),
            }
        }
    }

    fn histogram(&mut self, base: &str, sample: &MetricSample, times: &HistogramValue) {
        for (bound, count) in &times.buckets {
            self.sample(base, "_bucket", sample, Some(*bound), count);
        }
        self.sample(base, "_bucket", sample, Some(f64::INFINITY), &times.count);
        self.sample(base, "_sum", sample, None, &Number(times.sum));
        self.sample(base, "_count", sample, None, &times.count);
    }

    fn sample(
        &mut self,
        base: &str,
        ending: &str,
        sample: &MetricSample,
        up_to: Option<f64>,
        value: &dyn fmt::Display,
    ) {
        let _ = write!(self.0, "{base}{ending}");
        let mut before = '{';
        for (name, value) in &sample.labels {
            let _ = write!(self.0, "{before}{}=\"{}\"", Name(name), Escaped(value, true));
            before = ',';
        }
        if let Some(bound) = up_to {
            let _ = write!(self.0, "{before}le=\"{}\"", Number(bound));
            before = ',';
        }
        let end = if before == '{' { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }
}

/// The name without the ending that says what a line has.
fn base_name(family: &MetricFamily) -> String {
    let unit = match family.unit {
        MetricUnit::Seconds => "_seconds",
        MetricUnit::Bytes => "_bytes",
        MetricUnit::Ratio => "_ratio",
        _ => "",
    };
    let name = Name(family.name).to_string();
    match name.strip_suffix("_count") {
        // What Prometheus keeps for how many a histogram has seen.
        Some(counted) => format!("{counted}s{unit}"),
        // Not said twice.
        None if name.ends_with(unit) => name,
        None => name + unit,
    }
}

/// With what may not be in a name as underscores.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| f.write_char(if c.is_ascii_alphanumeric() { c } else { '_' }))
    }
}

/// On one line; with quotes that do not end anything, if it is in quotes.
struct Escaped<'a>(&'a str, bool);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' if self.1 => f.write_str("\\\""),
            other => f.write_char(other),
        })
    }
}

struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == f64::INFINITY { f.write_str("+Inf") } else { write!(f, "{}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_its_buckets_its_sum_and_its_count() {
        let mut times = HistogramValue::default();
        (times.buckets, times.count, times.sum) = (vec![(0.01, 2), (1.0, 3)], 4, 61.5);
        let family = MetricFamily::new("db.wait_time", MetricKind::Histogram, MetricUnit::Seconds, "Waits.");
        let family = family.with([("db.system.name", "postgresql")], times);
        let wanted = "# HELP db_wait_time_seconds Waits.\n# TYPE db_wait_time_seconds histogram\n\
            db_wait_time_seconds_bucket{db_system_name=\"postgresql\",le=\"0.01\"} 2\n\
            db_wait_time_seconds_bucket{db_system_name=\"postgresql\",le=\"1\"} 3\n\
            db_wait_time_seconds_bucket{db_system_name=\"postgresql\",le=\"+Inf\"} 4\n\
            db_wait_time_seconds_sum{db_system_name=\"postgresql\"} 61.5\n\
            db_wait_time_seconds_count{db_system_name=\"postgresql\"} 4\n";
        assert_eq!(text(std::slice::from_ref(&family)), wanted);
        assert_eq!(openmetrics(&[family]), format!("{wanted}# EOF\n"));
    }

    #[test]
    fn only_a_histogram_has_a_count() {
        let family =
            MetricFamily::new("db.connection.count", MetricKind::UpDownCounter, MetricUnit::Connections, "Now.");
        let wanted = "# HELP db_connections Now.\n# TYPE db_connections gauge\ndb_connections 2\n";
        assert_eq!(text(&[family.with([], 2)]), wanted);
    }

    #[test]
    fn what_is_in_a_label_or_a_help_breaks_nothing() {
        let hostile = "a\"b\\c\nd";
        let family = MetricFamily::new("x", MetricKind::Counter, MetricUnit::Bytes, "one \"line\"\nor two\\");
        let family = family.with_labels(vec![("the host", hostile.into())], 0.5);
        let wanted = "# HELP x_bytes_total one \"line\"\\nor two\\\\\n# TYPE x_bytes_total counter\n\
            x_bytes_total{the_host=\"a\\\"b\\\\c\\nd\"} 0.5\n";
        assert_eq!(text(&[family]), wanted);
    }
}
