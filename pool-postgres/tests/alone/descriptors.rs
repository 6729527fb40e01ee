//! F076, F115: descriptors.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;

use crate::asking::{LIMIT, eventually};
use crate::common::{all_answer, alone, config, open_files};

/// Opens files until there is no descriptor left.
fn exhaust() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(24), "EMFILE");
                return files;
            }
        }
    }
}

#[test]
fn f076_whoever_finds_no_descriptor_is_served_by_what_there_is() {
    alone("ulimit -n 128;", async || {
        let server = EphemeralPostgres::start().unwrap();
        let pool = PostgresPool::connect(config(&server, 4)).await.unwrap();
        pool.warm_up(2, Duration::ZERO, LIMIT).await.unwrap();
        let files = exhaust();
        let mut leases = vec![pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        all_answer(&leases).await;
        let error = pool.acquire_timeout(Duration::from_millis(200)).await.map(drop).unwrap_err();
        assert!(error.to_string().contains("Too many open files"), "{error}");
        let failed = pool.stats().open_failures;
        let freed = async {
            eventually("it is tried", async || pool.stats().open_failures >= failed + 3).await;
            drop(files);
        };
        let (third, ()) = tokio::join!(pool.acquire_timeout(LIMIT), freed);
        leases.push(third.expect("there are descriptors again"));
        leases.push(pool.acquire().await.unwrap());
        all_answer(&leases).await;
        drop(leases);
        let stats = pool.stats();
        assert_eq!((stats.broken, stats.opened, stats.state.waiting), (0, 4, 0), "{stats:?}");
        pool.disconnect().await;
    });
}

fn sockets(files: &[String]) -> usize {
    files.iter().filter(|file| file.contains("socket:")).count()
}

/// A process that forks and goes on with a pool, which Rust calls unsafe, is not supported. One that starts programs, by a fork and an exec, gives them none of its connections.
#[test]
fn f115_a_program_that_is_started_inherits_no_connection() {
    alone("", async || {
        let server = EphemeralPostgres::start().unwrap();
        let pool = PostgresPool::connect(config(&server, 3)).await.unwrap();
        let leases = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        assert!(sockets(&open_files()) >= 3);
        let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        let listed: Vec<String> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
        assert!(listed.len() > 3, "a list: {listed:?}");
        assert_eq!(sockets(&listed), 0, "{listed:?}");
        all_answer(&leases).await;
    });
}
