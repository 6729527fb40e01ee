//! A test runs once more, alone, in a process inside of a network of its own.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::again::{again, name_of};
use crate::network::{self, Network};

/// Names the network outside. It is set inside.
const OUTSIDE: &str = "POOL_TEST_OUTSIDE";
/// What makes the network and what happens in it, with the packages of Debian that have them.
const TOOLS: [(&str, &str); 3] = [("unshare", "util-linux"), ("ip", "iproute2"), ("nft", "nftables")];
/// An ordinary user may not have these in the path.
const FOLDERS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Runs a test in a network of its own: outside of one, starts this program again inside of one for this test alone, which has to be where `case` was written.
pub(crate) fn sealed<F: AsyncFnOnce(Network)>(case: F) {
    match std::env::var(OUTSIDE) {
        Ok(outside) => inside(case, &outside),
        Err(_) => outside(name_of::<F>()),
    }
}

fn inside(case: impl AsyncFnOnce(Network), outside: &str) {
    let network = Network::sealed(outside);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(case(network));
}

/// Whoever is root may make a network; everybody else first becomes the owner of a namespace of users, in which they may do the same.
fn outside(test: &str) {
    let path = format!("{}:{FOLDERS}", std::env::var("PATH").unwrap_or_default());
    refuse_without_tools(&path);
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]);
    if Path::new("/proc/self").metadata().unwrap().uid() != 0 {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    command.args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sealed"]);
    again(command.env("PATH", path).env(OUTSIDE, network::own()), test);
}

fn refuse_without_tools(path: &str) {
    let found = |tool: &str| std::env::split_paths(path).any(|folder| folder.join(tool).is_file());
    let missing: Vec<&str> = TOOLS.iter().filter(|(tool, _)| !found(tool)).map(|(_, package)| *package).collect();
    assert!(missing.is_empty(), "networks of their own need more: apt-get install {}", missing.join(" "));
}
