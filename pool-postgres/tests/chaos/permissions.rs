//! F058: a Unix socket that may not be used.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use pool_postgres::ConnectStep;

use crate::again::{again, name_of};
use crate::asking::{answer, eventually};
use crate::invariants;
use crate::refusals::assert_hopeless;
use crate::unix;

/// Runs a test by somebody who may not use everything. Root may: then it runs once more, in a process whose rights are those of the files' owner and no more.
fn unprivileged<F: AsyncFnOnce()>(case: F) {
    if Path::new("/proc/self").metadata().unwrap().uid() == 0 {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-user=1000", "--map-group=1000"]);
        return again(&mut command, name_of::<F>());
    }
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(case());
}

#[test]
fn f058_a_unix_socket_that_may_not_be_used_is_told_at_once() {
    unprivileged(async || {
        let (mut chaos, mut socket) = unix::start().await;
        socket.listen(&chaos);
        let lease = chaos.pool.acquire_owned().await.unwrap();
        fs::set_permissions(socket.path(&chaos), Permissions::from_mode(0o000)).unwrap();
        unix::not_now(&mut chaos, &socket, "Permission denied").await;
        assert_eq!(answer(&lease, 1).await.expect("whoever has a session goes on"), 2);
        lease.discard();
        eventually("there is none any more", async || chaos.pool.state().size == 0).await;
        let error = chaos.refused().await;
        assert_hopeless(&error, ConnectStep::Open);
        fs::set_permissions(socket.path(&chaos), Permissions::from_mode(0o600)).unwrap();
        drop(chaos.working().await);
        invariants::hold(chaos).await;
    });
}
