//! F026, F077: what runs out beside the pool.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use pool_postgres::diagnosis::{Diagnosis, Fate};
use tokio_postgres::error::SqlState;

use crate::asking::answer;
use crate::common::{Chaos, mount};
use crate::inside::sealed;
use crate::invariants;

#[test]
fn f077_whoever_finds_no_port_is_served_by_what_there_is() {
    sealed(async |network| {
        let mut chaos = Chaos::start(network, 6).await;
        chaos.network.ports(50_000, 50_003);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(chaos.pool.acquire_owned().await.unwrap());
        }
        chaos.in_a_hurry();
        let error = chaos.told().await;
        assert!(error.to_string().contains("Cannot assign requested address"), "{error}");
        for lease in &held {
            assert_eq!(answer(lease, 1).await.unwrap(), 2);
        }
        held.pop();
        drop(chaos.working().await);
        assert_eq!(chaos.pool.state().size, 4);
        chaos.network.ports(32_768, 60_999);
        drop(held);
        let stats = invariants::hold(chaos).await;
        assert_eq!((stats.broken, stats.opened), (0, 6), "{stats:?}");
    });
}

/// A disk of its own, which nobody sees outside.
struct Disk(PathBuf);

impl Disk {
    fn mount(chaos: &Chaos) -> Self {
        let folder = chaos.server.socket_dir().join("disk");
        std::fs::create_dir(&folder).unwrap();
        let owner = chaos.server.data_dir().metadata().unwrap();
        let options = format!("size=4m,mode=0700,uid={},gid={}", owner.uid(), owner.gid());
        mount(&["-t", "tmpfs", "-o", &options, "tmpfs", folder.to_str().unwrap()]);
        Self(folder)
    }

    fn grow(&self) {
        mount(&["-o", "remount,size=64m", self.0.to_str().unwrap()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whatever the server still has open there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn f026_a_full_disk_costs_no_connection() {
    sealed(async |network| {
        let mut chaos = Chaos::start(network, 2).await;
        let disk = Disk::mount(&chaos);
        let tables = format!(
            "CREATE TABLESPACE small LOCATION '{}'; CREATE TABLE lines (line text) TABLESPACE small; GRANT ALL ON lines TO chaos",
            disk.0.display()
        );
        for statement in tables.split("; ") {
            chaos.watch.client().batch_execute(statement).await.unwrap();
        }
        let insert = "INSERT INTO lines SELECT repeat('x', 1000) FROM generate_series(1, 10000)";
        for _ in 0..3 {
            let lease = chaos.pool.acquire_owned().await.unwrap();
            let error = lease.batch_execute(insert).await.unwrap_err();
            assert_eq!(error.code(), Some(&SqlState::DISK_FULL), "{error:?}");
            assert_eq!(Diagnosis::of(&error).fate, Fate::Keep);
            assert_eq!(answer(&lease, 1).await.unwrap(), 2);
            chaos.note(&error);
        }
        disk.grow();
        chaos.working().await.batch_execute(insert).await.expect("there is room again");
        drop(disk);
        let stats = invariants::hold(chaos).await;
        assert_eq!((stats.broken, stats.opened), (0, 2), "{stats:?}");
    });
}
