//! What the tests share.

use std::fs;
use std::process::Command;

use pool_postgres::{PostgresConfig, PostgresLease};
use pool_testkit::postgres::EphemeralPostgres;

use crate::again::{again, name_of};
use crate::asking::answer;

/// Is set in a process that has one test.
const ALONE: &str = "POOL_TEST_ALONE";

/// Runs a test in a process of its own, which has to be where `case` was written, after what a shell does to that process first.
pub(crate) fn alone<F: AsyncFnOnce()>(first: &str, case: F) {
    if std::env::var_os(ALONE).is_none() {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{first} exec \"$@\""), "alone"]).env(ALONE, "1");
        return again(&mut command, name_of::<F>());
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(case());
}

/// A pool's settings: it keeps no connections, and is quick to try again.
pub(crate) fn config(server: &EphemeralPostgres, max_size: usize) -> PostgresConfig {
    let mut config: PostgresConfig = server.url().parse().expect("the server's URI parses");
    let pool = &mut config.pool;
    (pool.max_size, pool.min_size) = (max_size, 0);
    (pool.backoff_initial, pool.backoff_max) =
        (std::time::Duration::from_millis(1), std::time::Duration::from_millis(20));
    // Who waits is meant to be served in the end.
    pool.breaker_failures = None;
    config
}

/// What this process has open, as the system names it.
pub(crate) fn open_files() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("a list of descriptors").flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).map(|path| path.display().to_string()).collect()
}

/// Each is another session, and answers.
pub(crate) async fn all_answer(leases: &[PostgresLease<'_>]) {
    for lease in leases {
        assert_eq!(answer(lease, 1).await.expect("an answer"), 2);
    }
}
