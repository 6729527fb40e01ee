//! The servers of a configuration, and the connections to each.

use std::collections::{BTreeSet, HashMap};

use pool_core::MetricKind::UpDownCounter;
use pool_core::{MetricFamily, MetricUnit, ServerFacts};

use crate::config::Host;
use crate::limits::Account;
use crate::memory::Memory;
use crate::role::Role;

/// What a server may be; the last one if it has not said so.
const ROLES: [&str; 3] = ["primary", "standby", "unknown"];
/// So many addresses of one server are shown.
const SHOWN: usize = 4;

/// The servers that the configuration names, each once: there are no others, whatever name servers say.
pub(super) struct Survey<'a> {
    seen: Vec<Seen<'a>>,
    /// By the name that errors give them.
    places: HashMap<String, usize>,
}

struct Seen<'a> {
    host: &'a Host,
    /// Where it is in the list.
    index: usize,
    /// Its connections, by what the server is.
    connections: [usize; ROLES.len()],
    /// Where they lead to.
    addresses: BTreeSet<String>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(hosts: &'a [Host]) -> Self {
        let (mut seen, mut places) = (Vec::with_capacity(hosts.len()), HashMap::with_capacity(hosts.len()));
        for (index, host) in hosts.iter().enumerate() {
            places.entry(host.to_string()).or_insert_with(|| {
                seen.push(Seen { host, index, connections: [0; ROLES.len()], addresses: BTreeSet::new() });
                seen.len() - 1
            });
        }
        Self { seen, places }
    }

    /// One more connection.
    pub(super) fn add(&mut self, account: &Account) {
        let server = account.server();
        let place = self.places.get(&*server.name).copied();
        let Some(seen) = place.and_then(|place| self.seen.get_mut(place)) else { return };
        let role = role_name(account.session().role());
        let counts = seen.connections.iter_mut().zip(ROLES);
        counts.filter(|(_, name)| *name == role).for_each(|(count, _)| *count += 1);
        if !seen.addresses.contains(&*server.address) {
            seen.addresses.insert(server.address.to_string());
        }
    }

    /// All of them, by what they are.
    pub(super) fn family(&self) -> MetricFamily {
        let help = "Connections, by the server as configured and what it is.";
        let name = "pool.postgres.server.connections";
        let mut family = MetricFamily::new(name, UpDownCounter, MetricUnit::Connections, help);
        for seen in &self.seen {
            let (address, port) = (address_of(seen.host), seen.host.port.to_string());
            for (role, count) in ROLES.into_iter().zip(seen.connections) {
                let labels = vec![
                    ("server.address", address.clone().into()),
                    ("server.port", port.clone().into()),
                    ("role", role.into()),
                ];
                family = family.with_labels(labels, count);
            }
        }
        family
    }

    /// What is known of each.
    pub(super) fn facts(self, memory: &Memory) -> impl Iterator<Item = ServerFacts> {
        self.seen.into_iter().map(move |seen| seen.facts(memory))
    }
}

impl Seen<'_> {
    fn facts(self, memory: &Memory) -> ServerFacts {
        let (failed, remembered) = memory.recall(self.index);
        let mut facts = ServerFacts::of(self.host.to_string());
        facts.address = self.address().filter(|address| *address != facts.host);
        facts.role = self.role().or_else(|| remembered.map(Role::name));
        facts.note = failed.map(|ago| format!("could not be reached {} s ago", ago.as_secs()));
        facts
    }

    /// What it is, if its connections say the same.
    fn role(&self) -> Option<&'static str> {
        let [primary, standby, _] = self.connections;
        match (primary, standby) {
            (1.., 0) => Some("primary"),
            (0, 1..) => Some("standby"),
            (0, 0) => None,
            // A name with several addresses, or one that has changed.
            _ => Some("primary and standby"),
        }
    }

    fn address(&self) -> Option<String> {
        let shown: Vec<_> = self.addresses.iter().take(SHOWN).map(String::as_str).collect();
        let more = self.addresses.len() - shown.len();
        let shown = (!shown.is_empty()).then(|| shown.join(", "))?;
        Some(if more > 0 { format!("{shown} and {more} more") } else { shown })
    }
}

fn role_name(role: Option<Role>) -> &'static str {
    role.map_or(ROLES[2], Role::name)
}

/// As OpenTelemetry has it: the name without its port, or the path of a Unix socket.
fn address_of(host: &Host) -> String {
    if host.is_socket() { host.socket() } else { host.peer() }
}
