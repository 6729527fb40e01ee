//! Histograms follow the families, bucket by bucket.

use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use pool_core::opentelemetry::api::metrics::MeterProvider;
use pool_core::{MetricFamily, MetricKind, MetricUnit};
use pool_testkit::fake::FakeDriver;

use crate::common::{Metered, Reader, compare, describe, expected, observer, pool_of, tea, times};

#[tokio::test(start_paused = true)]
async fn each_bucket_has_as_many_and_the_sum_is_the_same() {
    let driver = FakeDriver::new();
    let pool = pool_of(&driver, 1);
    describe(&driver, [tea(times([0; 4], 0.0))]);
    let observer = observer(&pool, "main");
    let metered = Metered::new();
    let _export = observer.export_to(&metered.meter());
    let cases =
        [([0; 4], 0.0), ([1, 0, 0, 0], 1.0), ([1, 0, 0, 0], 1.0), ([9, 4, 0, 3], 2_000.0), ([9, 4, 7, 3], 2_300.5)];
    for (each, sum) in cases {
        describe(&driver, [tea(times(each, sum))]);
        let told = metered.collected();
        compare(&told, &expected(&observer.families()));
        if each != [0; 4] {
            let tea = told["fake.tea"].times();
            assert_eq!(tea.each, each);
            assert!((tea.sum - sum).abs() < 1e-6, "closer than 1 %: {tea:?}");
        }
    }
    // A sum that the buckets do not allow is told as near to it as they do, and is made good.
    describe(&driver, [tea(times([9, 14, 7, 3], 2_305.0))]);
    let low = metered.collected()["fake.tea"].times().clone();
    assert!(low.each == [9, 14, 7, 3] && (low.sum - 2_310.5).abs() < 1e-6, "{low:?}");
    describe(&driver, [tea(times([9, 24, 7, 3], 2_340.0))]);
    let good = metered.collected()["fake.tea"].times().clone();
    assert!(good.each == [9, 24, 7, 3] && (good.sum - 2_340.0).abs() < 1e-6, "{good:?}");
}

/// Each set of labels is a histogram of its own.
#[tokio::test(start_paused = true)]
async fn times_of_different_labels_are_not_mixed() {
    let driver = FakeDriver::new();
    let pool = pool_of(&driver, 1);
    let observer = observer(&pool, "main");
    let metered = Metered::new();
    let cups = |green, black| {
        let family =
            MetricFamily::new("fake.cups", MetricKind::Histogram, MetricUnit::Seconds, "How long it was drawn.");
        family.with_each("tea", [("green", green), ("black", black)])
    };
    describe(&driver, [cups(times([1, 2, 0, 0], 4.5), times([0; 4], 0.0))]);
    let _export = observer.export_to(&metered.meter());
    for (round, part) in [(1, 1.0), (2, 2.0), (3, 3.0)] {
        let (green, black) =
            (times([round, 2 * round, 0, round], 200.0 * part), times([7, 2 * round, 3, round], 999.0 * part));
        describe(&driver, [cups(green, black)]);
        let told = metered.collected();
        compare(&told, &expected(&observer.families()));
        assert_eq!(told["fake.cups"].samples.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_for_one_collection_comes_with_the_next_ones() {
    let driver = FakeDriver::new();
    let pool = pool_of(&driver, 1);
    let all = times([4_400_000, 99_000, 999, 1], 250_000.0);
    describe(&driver, [tea(all.clone())]);
    let observer = observer(&pool, "main");
    let metered = Metered::new();
    let _export = observer.export_to(&metered.meter());
    let mut counts = Vec::new();
    for _ in 0..3 {
        let began = std::time::Instant::now();
        let before = counts.last().copied().unwrap_or_default();
        let tea = metered.collected()["fake.tea"].times().clone();
        counts.push(tea.count);
        println!("{} times recorded in {:.0?}", tea.count - before, began.elapsed());
        assert!(tea.each.iter().all(|count| *count > 0), "every bucket has its part: {tea:?}");
    }
    assert!((2_000_000..=2_000_004).contains(&counts[0]), "{counts:?}");
    assert!((4_000_000..=4_000_008).contains(&counts[1]), "{counts:?}");
    assert_eq!(counts[2], all.count);
    compare(&metered.collected(), &expected(&observer.families()));
}

/// Whoever collects has all of it: what one reader has recorded, the others have, too.
#[tokio::test(start_paused = true)]
async fn several_readers_have_the_same_whole_or_in_parts() {
    let driver = FakeDriver::new();
    let pool = pool_of(&driver, 1);
    let (whole, parts) = (Reader::new(Temporality::Cumulative), Reader::new(Temporality::Delta));
    let provider = SdkMeterProvider::builder().with_reader(whole.clone()).with_reader(parts.clone()).build();
    let observer = observer(&pool, "main");
    let _export = observer.export_to(&provider.meter("pool"));
    let mut told = 0;
    for round in 1..=4 {
        for _ in 0..round {
            drop(pool.acquire().await.unwrap());
        }
        compare(&whole.collected(), &expected(&observer.families()));
        if round % 2 == 0 {
            let part = parts.collected();
            let (waits, acquires) = (&part["db.client.connection.wait_time"], &part["pool.acquires"]);
            told += waits.times().count;
            assert_eq!(waits.times().count, [0, 0, 3, 0, 7][round], "since it has collected last");
            assert_eq!(acquires.samples.len(), 7);
        }
    }
    assert_eq!(told, 10);
}
