//! F076, F115: descriptors.

use std::fs::File;
use std::process::Command;

use crate::asking::{LIMIT, eventually};
use crate::common::{Chaos, all_answer, alone, open_files};
use crate::invariants;
use crate::users::{SHORT, impatient};

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
        let mut chaos = Chaos::with(4, impatient).await;
        chaos.fill(2).await;
        chaos.hurry(SHORT, 2 * SHORT);
        let files = exhaust();
        let mut leases = vec![chaos.pool.acquire_owned().await.unwrap(), chaos.pool.acquire_owned().await.unwrap()];
        all_answer(&leases).await;
        let error = chaos.told().await;
        assert!(error.to_string().contains("Too many open files"), "{error}");
        let timeouts = chaos.pool.stats().timeouts;
        all_answer(&leases).await;
        leases.pop();
        drop(chaos.working().await);
        leases.push(chaos.pool.acquire_owned().await.unwrap());
        chaos.hurry(LIMIT, LIMIT);
        let failed = chaos.pool.stats().open_failures;
        let freed = async {
            eventually("it is tried", async || chaos.pool.stats().open_failures >= failed + 3).await;
            drop(files);
        };
        let (third, ()) = tokio::join!(chaos.pool.acquire_owned(), freed);
        leases.push(third.expect("there are descriptors again"));
        leases.push(chaos.pool.acquire_owned().await.unwrap());
        all_answer(&leases).await;
        drop(leases);
        let stats = invariants::hold(chaos).await;
        assert_eq!((stats.broken, stats.opened, stats.timeouts), (0, 4, timeouts), "{stats:?}");
    });
}

fn sockets(files: &[String]) -> usize {
    files.iter().filter(|file| file.contains("socket:")).count()
}

/// A process that forks and goes on with a pool, which Rust calls unsafe, is not supported. One that starts programs, by a fork and an exec, gives them none of its connections.
#[test]
fn f115_a_program_that_is_started_inherits_no_connection() {
    alone("", async || {
        let chaos = Chaos::start(3).await;
        let leases = [chaos.working().await, chaos.working().await, chaos.working().await];
        assert!(sockets(&open_files()) >= 3);
        let listed = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        let listed: Vec<String> = String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect();
        assert!(listed.len() > 3, "a list: {listed:?}");
        assert_eq!(sockets(&listed), 0, "{listed:?}");
        all_answer(&leases).await;
        drop(leases);
        let stats = invariants::hold(chaos).await;
        assert_eq!((stats.broken, stats.opened), (0, 3), "{stats:?}");
    });
}
