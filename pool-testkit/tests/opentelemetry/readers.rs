//! Who collects, and what that asks of the pool.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality};
use pool_core::opentelemetry::api::metrics::MeterProvider;
use pool_core::{Attempt, Description, Driver, ErrorClass, ObserveConfig, Pool, SessionState};
use pool_testkit::fake::FakeDriver;

use crate::common::{Metered, Reader, Told, compare, expected, observer, pool_of, told};

/// Counts how often it is asked to describe itself, which it is once for each reading.
#[derive(Clone, Default)]
struct Asked(Arc<AtomicU64>);

impl Driver for Asked {
    type Connection = ();
    type Error = std::io::Error;

    async fn connect(&self, _: &Attempt) -> Result<(), std::io::Error> {
        Ok(())
    }

    fn inspect(&self, (): &mut ()) -> SessionState {
        SessionState::Clean
    }

    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }

    fn describe(&self, _: &mut Description) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Asked {
    fn times(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn a_collection_reads_the_pool_once_and_anew() {
    let driver = Asked::default();
    let pool = Pool::builder(driver.clone()).max_size(2).build().unwrap();
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    let metered = Metered::new();
    let _export = observer.export_to(&metered.meter());
    driver.times();
    // One after the other at once, each with what is so now.
    for acquires in 0..3 {
        assert_eq!(metered.collected()["pool.acquires"].samples.values().count(), 7);
        assert_eq!(driver.times(), 1);
        drop(pool.acquire().await.unwrap());
        let wanted = expected(&observer.families())["pool.acquires"].clone();
        driver.times();
        assert_eq!(metered.collected()["pool.acquires"], wanted, "after {acquires}");
        assert_eq!(driver.times(), 1);
    }
}

/// A view may leave out the instruments that are asked first.
#[tokio::test(start_paused = true)]
async fn what_a_view_leaves_out_is_not_missed() {
    let driver = Asked::default();
    let pool = Pool::builder(driver.clone()).max_size(2).build().unwrap();
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    let reader = Reader::new(Temporality::Cumulative);
    let kept = ["pool.acquires", "pool.closed", "db.client.connection.wait_time"];
    let view = move |instrument: &Instrument| {
        let drops = || Stream::builder().with_aggregation(Aggregation::Drop).build().unwrap();
        (!kept.contains(&instrument.name())).then(drops)
    };
    let provider = SdkMeterProvider::builder().with_reader(reader.clone()).with_view(view).build();
    let _export = observer.export_to(&provider.meter("pool"));
    driver.times();
    for count in 1..4 {
        drop(pool.acquire().await.unwrap());
        let (told, asked) = (reader.collected(), driver.times());
        let mut wanted = expected(&observer.families());
        wanted.retain(|name, _| kept.contains(&name.as_str()));
        driver.times();
        compare(&told, &wanted);
        assert_eq!((told["db.client.connection.wait_time"].times().count, asked), (count, 1));
    }
}

/// Keeps what was exported last.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<Told>>);

impl PushMetricExporter for Last {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        *self.0.lock().unwrap() = told(metrics);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

/// As services have it: readers with threads of their own, while the pool is in use on others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_that_collect_while_the_pool_is_in_use_agree_with_it_at_the_end() {
    let driver = FakeDriver::new();
    let pool = pool_of(&driver, 3);
    let observer = observer(&pool, "main");
    let exporters = [Last::default(), Last::default()];
    let readers = exporters
        .clone()
        .map(|exporter| PeriodicReader::builder(exporter).with_interval(Duration::from_millis(1)).build());
    let [one, other] = readers;
    let provider = SdkMeterProvider::builder().with_reader(one).with_reader(other).build();
    let export = observer.export_to(&provider.meter("pool"));
    let users = [(); 4].map(|()| {
        let pool = pool.clone();
        tokio::spawn(async move {
            for _ in 0..500 {
                drop(pool.acquire().await.unwrap());
                tokio::task::yield_now().await;
            }
        })
    });
    for user in users {
        user.await.unwrap();
    }
    provider.force_flush().unwrap();
    let wanted = expected(&observer.families());
    for exporter in exporters {
        let told = exporter.0.lock().unwrap().clone();
        for name in ["pool.acquires", "pool.connections.opened", "db.client.connection.wait_time"] {
            assert_eq!(told[name], wanted[name], "{name}");
        }
        let held = told["db.client.connection.use_time"].times();
        assert_eq!(held.each, wanted["db.client.connection.use_time"].times().each);
    }
    drop(export);
    provider.shutdown().unwrap();
}
