//! What the tests share: a pool that is looked at.

use std::collections::BTreeMap;

use pool_core::{HealthConfig, MetricFamily, MetricSample, MetricValue, ObserveConfig};
use pool_postgres::{PostgresConfig, PostgresDriver, PostgresPool};

/// One who looks at a pool.
pub(crate) type Observer = pool_core::PoolObserver<PostgresDriver>;

/// Looks at a pool, with its monitor.
pub(crate) fn observe(pool: &PostgresPool) -> Observer {
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    pool.observe(ObserveConfig::default()).unwrap().with_health(checker.into())
}

pub(crate) async fn observed(config: PostgresConfig) -> (PostgresPool, Observer) {
    let pool = PostgresPool::connect(config).await.expect("the pool connects");
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    (pool, observer)
}

pub(crate) fn family(observer: &Observer, name: &str) -> MetricFamily {
    let found = observer.families().into_iter().find(|family| family.name == name);
    found.unwrap_or_else(|| panic!("there is no {name}"))
}

pub(crate) fn count(sample: &MetricSample) -> u64 {
    match sample.value {
        MetricValue::Count(count) => count,
        ref other => panic!("{other:?} is no count"),
    }
}

/// The numbers of a family by the values of their last label.
pub(crate) fn by_label(observer: &Observer, name: &str) -> BTreeMap<String, u64> {
    let family = family(observer, name);
    let last = |sample: &MetricSample| sample.labels.last().unwrap().1.to_string();
    let by_label: BTreeMap<_, _> = family.samples.iter().map(|sample| (last(sample), count(sample))).collect();
    assert_eq!(by_label.len(), family.samples.len(), "each once");
    by_label
}

/// The number of a family that has one.
pub(crate) fn only(observer: &Observer, name: &str) -> u64 {
    let family = family(observer, name);
    assert_eq!(family.samples.len(), 1, "{name}");
    count(&family.samples[0])
}

/// The same, as it is written down for a comparison: what is zero is left out.
pub(crate) fn told(observer: &Observer, name: &str) -> String {
    let told = by_label(observer, name).into_iter().filter(|(_, count)| *count > 0);
    told.map(|(label, count)| format!("{label} {count}")).collect::<Vec<_>>().join(", ")
}
