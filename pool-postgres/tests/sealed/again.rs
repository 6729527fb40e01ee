//! A test runs once more, alone, in a process inside of a network of its own.

use std::any::type_name;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};

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

/// The name of the test that a closure was written in.
fn name_of<F>() -> &'static str {
    let path = type_name::<F>().split("::{{closure}}").next().unwrap_or_default();
    path.split_once("::").expect("a crate and a path in it").1
}

fn inside(case: impl AsyncFnOnce(Network), outside: &str) {
    let network = Network::sealed(outside);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(case(network));
}

fn outside(test: &str) {
    let path = format!("{}:{FOLDERS}", std::env::var("PATH").unwrap_or_default());
    refuse_without_tools(&path);
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]);
    // Whoever is not root becomes the owner of a namespace in which they may do the same.
    if Path::new("/proc/self").metadata().unwrap().uid() != 0 {
        command.args(["--user", "--map-current-user", "--keep-caps"]);
    }
    command.args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sealed"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("PATH", path).env(OUTSIDE, network::own());
    let Output { status, stdout, stderr } = command.output().expect("unshare runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let passed = status.success() && stdout.contains("test result: ok. 1 passed");
    assert!(
        passed,
        "inside of a network of its own, which root can make or who may make user namespaces: {status}\n{stdout}\n{stderr}"
    );
    // Figures are for whoever wants to see them.
    stderr.lines().filter(|line| line.starts_with("measured: ")).for_each(|line| eprintln!("{line}"));
}

fn refuse_without_tools(path: &str) {
    let found = |tool: &str| std::env::split_paths(path).any(|folder| folder.join(tool).is_file());
    let missing: Vec<&str> = TOOLS.iter().filter(|(tool, _)| !found(tool)).map(|(_, package)| *package).collect();
    assert!(missing.is_empty(), "networks of their own need more: apt-get install {}", missing.join(" "));
}
