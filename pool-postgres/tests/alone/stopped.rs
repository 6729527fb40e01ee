//! F080: the whole process stands still for a while.

use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use pool_postgres::PostgresLease;
use tokio::task::spawn_blocking;

use crate::asking::{eventually, in_time};
use crate::common::{Chaos, all_answer, alone};
use crate::invariants;

const SIZE: usize = 8;

fn shell(script: &str) {
    assert!(Command::new("sh").args(["-c", script]).status().unwrap().success(), "{script}");
}

async fn all_leases(chaos: &Chaos) -> Vec<PostgresLease<'_>> {
    in_time("all can be had", join_all((0..SIZE).map(|_| chaos.working()))).await
}

/// The server's processes for all connections, which are idle.
async fn processes(chaos: &Chaos) -> String {
    let mut processes = Vec::new();
    for lease in all_leases(chaos).await {
        let pid: i32 = lease.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        processes.push(pid.to_string());
    }
    eventually("all are idle", async || chaos.pool.state().idle == SIZE).await;
    processes.join(" ")
}

/// Answers that came meanwhile are found together with limits of time that are over by then. They came, so nothing is closed for them.
#[test]
fn f080_a_process_that_stood_still_takes_no_connection_for_a_dead_one() {
    alone("", async || {
        let chaos = Chaos::start(SIZE).await;
        let processes = processes(&chaos).await;
        shell(&format!("kill -s STOP {processes}"));
        chaos.reconfigure(|config| {
            config.health_check_interval = Some(Duration::from_millis(10));
            // Longer than a busy machine takes to start a program, and shorter than that one sleeps.
            config.health_check_timeout = Duration::from_secs(4);
        });
        eventually("all are pinged", async || chaos.pool.state().in_maintenance == SIZE).await;
        let script = format!("kill -s STOP $PPID; kill -s CONT {processes}; sleep 5; kill -s CONT $PPID");
        // The runtime waits for what comes when it is stopped, as it does most of the time.
        spawn_blocking(move || shell(&script)).await.unwrap();
        all_answer(&all_leases(&chaos).await).await;
        let stats = chaos.pool.stats();
        assert_eq!((stats.errors.pings, stats.broken, stats.opened), (0, 0, SIZE as u64), "{stats:?}");
        let stats = invariants::hold(chaos).await;
        assert_eq!((stats.errors.pings, stats.broken, stats.opened), (0, 0, SIZE as u64), "{stats:?}");
    });
}
