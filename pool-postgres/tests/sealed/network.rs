//! The network inside, and what happens to it.

use std::fs;
use std::process::Command;

/// Proves that this process is in a network of its own: whatever does something to a network needs one.
#[derive(Debug)]
pub(crate) struct Network {
    /// Of the server, to which the faults happen.
    port: u16,
    /// What tells this network from others.
    name: String,
}

/// What tells networks apart.
pub(crate) fn own() -> String {
    fs::read_link("/proc/self/ns/net").expect("this network has a name").display().to_string()
}

/// The devices of this network.
fn devices() -> Vec<String> {
    let table = fs::read_to_string("/proc/net/dev").expect("a list of devices");
    table.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim().to_owned()).collect()
}

/// Local ports of connections that a process of this network has, to a port, whatever they are up to.
pub(crate) fn connections_to(port: u16) -> Vec<u16> {
    let table = fs::read_to_string("/proc/net/tcp").expect("a list of connections");
    table.lines().skip(1).filter_map(|line| connection(line, port)).collect()
}

/// The local port, if the connection is one to this port and has an owner: one that was closed and still has something to send has none.
fn connection(line: &str, port: u16) -> Option<u16> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let port_of = |address: &str| u16::from_str_radix(address.split_once(':')?.1, 16).ok();
    let has_owner = fields.get(9).is_some_and(|inode| *inode != "0");
    (port_of(fields.get(2)?)? == port && has_owner).then(|| port_of(fields[1])).flatten()
}

impl Network {
    /// Fails unless this process is in another network than the one named, with nothing in it but itself.
    pub(crate) fn sealed(outside: &str) -> Self {
        let network = Self { port: 0, name: own() };
        assert_ne!(network.name, outside, "not in a network of its own");
        network.run("nft", &["add table inet faults"]);
        network.run("nft", &["add chain inet faults input { type filter hook input priority 0; policy accept; }"]);
        network
    }

    /// Nothing is done to any other network than this one.
    fn check(&self) {
        assert_eq!((own(), devices()), (self.name.clone(), vec!["lo".to_owned()]), "in a network of its own");
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        self.check();
        let output =
            Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {} {said}", output.status);
    }

    /// The port of the server, to which the faults happen.
    pub(crate) fn attend(&mut self, port: u16) {
        self.port = port;
    }

    /// From now on this happens to packets for the server that are like that.
    pub(crate) fn to_server(&self, packets: &str, verdict: &str) {
        self.rule("dport", packets, verdict);
    }

    /// From now on this happens to packets of the server that are like that.
    pub(crate) fn to_client(&self, packets: &str, verdict: &str) {
        self.rule("sport", packets, verdict);
    }

    fn rule(&self, direction: &str, packets: &str, verdict: &str) {
        assert_ne!(self.port, 0, "a server is attended");
        self.run("nft", &[&format!("add rule inet faults input tcp {direction} {} {packets} {verdict}", self.port)]);
    }

    /// Nothing passes between the pool and the server, and nobody is told.
    pub(crate) fn swallow(&self) {
        self.to_server("", "drop");
        self.to_client("", "drop");
    }

    /// Everything passes.
    pub(crate) fn heal(&self) {
        self.run("nft", &["flush chain inet faults input"]);
    }

    /// Takes the only link down, or up again.
    pub(crate) fn link(&self, state: &str) {
        self.run("ip", &["link", "set", "lo", state]);
    }

    /// The ports that connections may go out from.
    pub(crate) fn ports(&self, first: u16, last: u16) {
        self.check();
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", format!("{first} {last}")).expect("a range of ports");
    }
}
