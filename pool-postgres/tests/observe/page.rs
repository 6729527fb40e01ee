//! What is exported, and the page that says so: `docs/metrics.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pool_core::{MetricFamily, MetricKind, ObserveConfig, merge_families, prometheus};
use pool_postgres::Host;

use crate::common::{config, database};
use crate::stage::{Observer, observe, observed};

/// The label that every sample has.
const NAME: &str = "db.client.connection.pool.name";
/// How many series one pool makes at most, with one server; and how many more for each other server.
const MOST: usize = 300;
const MORE: usize = 3;
/// Of a histogram.
const TIMES: usize = 25;
/// Their values are those of the configuration.
const CONFIGURED: [&str; 3] = ["server.address", "server.port", "db.namespace"];

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    std::fs::read_to_string(path).unwrap()
}

/// A line that is not a comment is a series.
fn series(families: &[MetricFamily]) -> usize {
    prometheus::text(families).lines().filter(|line| !line.starts_with('#')).count()
}

/// The name that a family has in Prometheus' text.
fn prometheus_name(family: &MetricFamily) -> String {
    let text = prometheus::text(std::slice::from_ref(family));
    let declared = text.lines().find_map(|line| line.strip_prefix("# TYPE ")).unwrap();
    declared.split(' ').next().unwrap().to_owned()
}

fn labels(family: &MetricFamily) -> String {
    let mut values = BTreeMap::<&str, Vec<String>>::new();
    let mut order = Vec::new();
    for sample in &family.samples {
        let [(NAME, _), others @ ..] = &sample.labels[..] else { panic!("{}: whose is it? {sample:?}", family.name) };
        for (label, value) in others {
            let known = values.entry(label).or_default();
            if !order.contains(label) {
                order.push(label);
            }
            if !known.iter().any(|known| known == value) {
                known.push(value.to_string());
            }
        }
    }
    let show = |label: &&str| {
        let shown = if CONFIGURED.contains(label) { "as configured".to_owned() } else { values[label].join(", ") };
        format!("`{label}`: {shown}")
    };
    order.iter().map(show).collect::<Vec<_>>().join("; ")
}

/// The line of a family in the tables of the page.
fn line(family: &MetricFamily) -> String {
    let kind = match family.kind {
        MetricKind::Gauge => "gauge",
        MetricKind::UpDownCounter => "up-down counter",
        MetricKind::Counter => "counter",
        MetricKind::Histogram => "histogram",
        other => panic!("the page has no word for {other:?}"),
    };
    let (name, unit) = (prometheus_name(family), family.unit.ucum());
    format!("| `{}` | `{name}` | {kind}, `{unit}` | {} | {} |", family.name, labels(family), family.help)
}

async fn everything() -> (pool_testkit::postgres::TestDatabase, pool_postgres::PostgresPool, Observer) {
    let database = database();
    let (pool, _) = observed(config(database.url(), 3)).await;
    let observer = observe(&pool);
    (database, pool, observer)
}

#[tokio::test]
async fn the_page_has_every_metric_and_no_other() {
    let (_database, _pool, observer) = everything().await;
    let page = page();
    let told: BTreeSet<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let real: Vec<_> = observer.families().iter().map(line).collect();
    let missing: Vec<_> = real.iter().filter(|line| !told.contains(line.as_str())).map(String::as_str).collect();
    let gone: Vec<_> = told.iter().filter(|line| !real.iter().any(|real| real == *line)).copied().collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "docs/metrics.md lacks\n{}\nand has\n{}",
        missing.join("\n"),
        gone.join("\n")
    );
}

/// What a scraper would refuse.
#[tokio::test]
async fn each_name_is_there_once_and_each_line_can_be_read() {
    let (_database, _pool, observer) = everything().await;
    let (mut declared, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let text = prometheus::text(&observer.families());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap().to_owned();
            assert_eq!(name.ends_with("_total"), rest.ends_with(" counter"), "{line}");
            assert!(declared.insert(name), "declared twice: {line}");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(series), "twice: {line}");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "no number: {line}");
        let name = series.split('{').next().unwrap();
        let endings = ["_bucket", "_sum", "_count"];
        let family =
            endings.iter().filter_map(|ending| name.strip_suffix(ending)).find(|name| declared.contains(*name));
        assert!(declared.contains(family.unwrap_or(name)), "not declared: {line}");
    }
    assert_eq!(declared.len(), observer.families().len());
    assert!(prometheus::openmetrics(&observer.families()).ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_pool_makes_no_more_series_than_the_page_says() {
    let (database, _pool, observer) = everything().await;
    let one = series(&observer.families());
    assert!(one <= MOST, "{one}");
    let mut settings = config(database.url(), 1);
    let first = settings.hosts[0].clone();
    settings.hosts.extend((1..=4).map(|port| Host::new(first.name.clone(), port)));
    let (pool, _) = observed(settings).await;
    let other = observe(&pool);
    assert_eq!(series(&other.families()), one + 4 * MORE);
    for text in ["SELECT 1 / 0", "SELECT nothing", "SELECT 1"] {
        let _ = pool.query_one(text, &[]).await;
    }
    assert_eq!(series(&other.families()), one + 4 * MORE + 2 * TIMES, "one for each class of errors");
    for text in ["SELECT 2 / 0", "SELECT nobody", "SELECT 2"] {
        let _ = pool.query_one(text, &[]).await;
    }
    assert_eq!(series(&other.families()), one + 4 * MORE + 2 * TIMES, "whatever else is asked");
    let page = page();
    for said in [
        format!("at most **{MOST} series**"),
        format!("**{MORE} more** for each"),
        format!("**{TIMES} more** for each"),
    ] {
        assert!(page.contains(&said), "the page does not say {said:?}");
    }
}

/// As a service with several pools does it.
#[tokio::test]
async fn two_pools_are_told_apart_by_their_names() {
    let (_database, pool, observer) = everything().await;
    let mut look = ObserveConfig::default();
    "reports".clone_into(&mut look.name);
    let other = pool.observe(look).unwrap();
    let merged = merge_families(observer.families().into_iter().chain(other.families()));
    let names: BTreeSet<_> = merged.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), merged.len());
    let text = prometheus::text(&merged);
    for name in ["pool", "reports"] {
        let wanted = format!("pool_postgres_statements_cached{{db_client_connection_pool_name=\"{name}\"}} 0\n");
        assert!(text.contains(&wanted), "{wanted} is not in\n{text}");
    }
}
