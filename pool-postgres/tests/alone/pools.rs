//! F119: very many pools, one after the other.

use pool_core::{Config, Pool};
use pool_postgres::PostgresPool;
use pool_testkit::fake::{FakeDriver, prove_nothing_lost};
use tokio::runtime::Handle;

use crate::asking::{answer, eventually};
use crate::common::{Chaos, alone, memory, open_files};
use crate::invariants;

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Whatever had to end has ended, and perhaps what was about to end before.
async fn at_rest(tasks_before: usize) {
    eventually("no task is left", async || tasks() <= tasks_before).await;
}

async fn use_one(driver: &FakeDriver, number: u32) {
    let mut config = Config::default();
    (config.max_size, config.min_size) = (4, 1);
    let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
    drop(pool.acquire().await.unwrap());
    match number % 3 {
        0 => prove_nothing_lost(&pool, driver).await,
        1 => drop(pool.acquire_owned().await.unwrap()),
        _ => {}
    }
}

#[test]
fn f119_ten_thousand_pools_one_after_the_other_leave_nothing_behind() {
    alone("", async || {
        let tasks_before = tasks();
        let mut after_a_thousand = 0;
        for number in 1..=10_000 {
            // A new one each time: it keeps a journal.
            let driver = FakeDriver::new();
            use_one(&driver, number).await;
            if number % 1_000 == 0 {
                at_rest(tasks_before).await;
                assert_eq!(driver.ledger().live(), 0, "the last one has closed what it had");
            }
            if number == 1_000 {
                after_a_thousand = memory();
            }
        }
        let more = memory().saturating_sub(after_a_thousand);
        eprintln!("measured: 9,000 more pools left {more} bytes more");
        assert!(more < 4 << 20, "{more} bytes more, for 9,000 pools");
    });
}

/// The one that is watched was there before, and is as it was.
#[test]
fn f119_two_hundred_pools_on_a_server_leave_no_session_and_no_descriptor() {
    alone("", async || {
        let chaos = Chaos::start(2).await;
        let mut config = chaos.pool.driver().config().clone();
        config.application_name = Some("one of many".to_owned());
        // Let in without a password, which takes a while to be checked.
        config.user = Some("postgres".to_owned());
        let (files_before, tasks_before) = (open_files().len(), tasks());
        for _ in 0..200 {
            let pool = PostgresPool::connect(config.clone()).await.unwrap();
            let (one, two) = (pool.acquire().await.unwrap(), pool.acquire_owned().await.unwrap());
            assert_eq!(answer(&one, 1).await.unwrap(), 2);
            drop(one);
            drop(pool);
            assert_eq!(answer(&two, 1).await.unwrap(), 2);
        }
        at_rest(tasks_before).await;
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
        let alone = async || chaos.watch.client().query_one(sessions, &[]).await.unwrap().get::<_, i64>(0) == 1;
        eventually("no session is left but that of the watch", alone).await;
        assert_eq!(open_files().len(), files_before);
        invariants::hold(chaos).await;
    });
}
