//! What the tests share: a process of their own, and in it a pool with a server and somebody who watches it.

use std::fs;
use std::process::Command;

use pool_postgres::{PostgresConfig, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;
use tokio_postgres::Client;

use crate::again::{again, name_of};
use crate::asking::{answer, in_time};
use crate::users::settings;
use crate::watch::{NAME, Watch};

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

/// A pool and its server, in a process to which anything may happen.
pub(crate) struct Chaos {
    pub(crate) pool: PostgresPool,
    pub(crate) watch: Watch,
    /// What errors and debug texts have said.
    pub(crate) said: Vec<String>,
    /// Lives as long as this.
    _server: EphemeralPostgres,
}

impl Chaos {
    /// A pool of at most `max_size` connections, that keeps none and is quick to try again. Nothing is open yet.
    pub(crate) async fn start(max_size: usize) -> Self {
        Self::with(max_size, |_| {}).await
    }

    /// As [`start`](Self::start), with other settings.
    pub(crate) async fn with(max_size: usize, change: impl FnOnce(&mut PostgresConfig)) -> Self {
        let hba =
            "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        let server = EphemeralPostgres::builder().hba(hba).start().expect("a real server");
        let watch = Watch::start(&server).await;
        let mut config = settings(server.port(), NAME, max_size);
        change(&mut config);
        // What the server has, the pool has: it waits for the end of what it closes, and nothing is cut here.
        watch.begin(config.pool.max_size, || None);
        let mut said = vec![format!("{config:?}")];
        let pool = PostgresPool::connect_lazy(config).expect("settings that work");
        said.push(format!("{pool:?} {:?}", pool.driver()));
        Self { pool, watch, said, _server: server }
    }

    /// Whatever the test did to the process is over.
    pub(crate) async fn heal(&self) {
        in_time("the server is there", self.watch.sessions()).await;
    }
}

/// What this process has open, as the system names it.
pub(crate) fn open_files() -> Vec<String> {
    let entries = fs::read_dir("/proc/self/fd").expect("a list of descriptors").flatten();
    entries.filter_map(|entry| fs::read_link(entry.path()).ok()).map(|path| path.display().to_string()).collect()
}

/// How much memory this process has, in bytes.
pub(crate) fn memory() -> usize {
    let text = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Each is another session, and answers.
pub(crate) async fn all_answer<L: std::ops::Deref<Target: std::ops::Deref<Target = Client>>>(leases: &[L]) {
    for lease in leases {
        assert_eq!(answer(lease, 1).await.expect("an answer"), 2);
    }
}
