//! What is left when an export ends, a pool does, or something fails.

use pool_testkit::fake::{FakeDriver, prove_nothing_lost};

use tokio::time::sleep;

use crate::common::{Metered, SECOND, Value, compare, describe, expected, observer, pool_of, tea, times};

#[tokio::test(start_paused = true)]
async fn a_meter_does_not_keep_a_pool_whose_export_has_been_dropped() {
    let driver = FakeDriver::new();
    let pool = pool_of(&driver, 2);
    let metered = Metered::new();
    let export = observer(&pool, "main").export_to(&metered.meter());
    drop(pool.acquire().await.unwrap());
    drop(pool);
    assert!(!metered.collected()["pool.closed"].is_true(), "the export keeps it, as an observer does");
    assert_eq!(driver.ledger().live(), 1);
    drop(export);
    // The last handle is gone: the pool closes what it has.
    for _ in 0..100 {
        sleep(SECOND).await;
    }
    assert_eq!(driver.ledger().live(), 0);
    let told = metered.collected();
    let names: Vec<_> = told.keys().map(String::as_str).collect();
    let histograms = ["db.client.connection.create_time", "db.client.connection.use_time"];
    assert_eq!(names, [&histograms[..], &["db.client.connection.wait_time"]].concat(), "what an SDK keeps for good");
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_is_told_of_as_long_as_its_export_is_there() {
    let driver = FakeDriver::new();
    let pool = pool_of(&driver, 2);
    let observer = observer(&pool, "main");
    let metered = Metered::new();
    let export = observer.export_to(&metered.meter());
    prove_nothing_lost(&pool, &driver).await;
    let told = metered.collected();
    compare(&told, &expected(&observer.families()));
    assert_eq!(told["pool.closed"].only(), &Value::Number(1.0));
    drop(export);
    assert!(!metered.collected().contains_key("pool.closed"));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_when_it_is_asked_costs_its_own_part_alone() {
    let driver = FakeDriver::new();
    let pool = pool_of(&driver, 2);
    describe(&driver, [tea(times([1, 0, 0, 0], 0.5))]);
    let observer = observer(&pool, "main");
    let metered = Metered::new();
    let _export = observer.export_to(&metered.meter());
    assert_eq!(metered.collected()["fake.tea"].times().count, 1);
    driver.describe_as(None);
    assert!(metered.collected().contains_key("pool.acquires"));
    describe(&driver, [tea(times([1, 1, 0, 0], 5.5))]);
    compare(&metered.collected(), &expected(&observer.families()));
}
