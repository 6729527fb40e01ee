//! F119: very many pools, one after the other.

use pool_core::{Config, Pool};
use pool_postgres::PostgresPool;
use pool_testkit::fake::FakeDriver;
use pool_testkit::postgres::EphemeralPostgres;
use tokio::runtime::Handle;

use crate::asking::{answer, eventually};
use crate::common::{alone, config, open_files};

/// How much memory this process has, in bytes.
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Whatever had to end has ended.
async fn at_rest(tasks_before: usize) {
    eventually("no task is left", async || tasks() == tasks_before).await;
}

async fn use_one(driver: &FakeDriver, number: u32) {
    let mut config = Config::default();
    (config.max_size, config.min_size) = (4, 1);
    let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
    drop(pool.acquire().await.unwrap());
    match number % 3 {
        0 => pool.close().await,
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
            use_one(&FakeDriver::new(), number).await;
            if number == 1_000 {
                at_rest(tasks_before).await;
                after_a_thousand = memory();
            }
        }
        at_rest(tasks_before).await;
        let more = memory().saturating_sub(after_a_thousand);
        eprintln!("measured: 9,000 more pools left {more} bytes more");
        assert!(more < 4 << 20, "{more} bytes more, for 9,000 pools");
    });
}

#[test]
fn f119_two_hundred_pools_on_a_server_leave_no_session_and_no_descriptor() {
    alone("", async || {
        let server = EphemeralPostgres::start().unwrap();
        let watch = PostgresPool::connect(config(&server, 1)).await.unwrap();
        let watch = watch.acquire_owned().await.unwrap();
        let (files_before, tasks_before) = (open_files().len(), tasks());
        for _ in 0..200 {
            let pool = PostgresPool::connect(config(&server, 2)).await.unwrap();
            let (one, two) = (pool.acquire().await.unwrap(), pool.acquire_owned().await.unwrap());
            assert_eq!(answer(&one, 1).await.unwrap(), 2);
            drop(one);
            drop(pool);
            assert_eq!(answer(&two, 1).await.unwrap(), 2);
        }
        at_rest(tasks_before).await;
        let sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
        let alone = async || watch.query_one(sessions, &[]).await.unwrap().get::<_, i64>(0) == 1;
        eventually("no session is left but this", alone).await;
        assert_eq!(open_files().len(), files_before);
    });
}
