//! The servers, as the lists of hosts, addresses and ports name them.

use std::fmt;
use std::net::IpAddr;

use super::error::{PostgresConfigError, Problems};
use super::given::Given;
use super::number;

/// Where Debian's libpq looks for the sockets of a server that nobody has named.
pub(crate) const SOCKETS: &str = "/var/run/postgresql";

const PORT: u16 = 5432;

pub(super) const PORTS: &str = "1 to 65535";

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Host {
    /// Its name, or its address; the folder of its Unix socket if it starts with `/`; the name of an abstract one if it starts with `@` (Linux). Empty if there is an `address`. Certificates and passwords
    /// are looked up by it.
    pub name: String,
    /// Where to connect to instead of looking the name up. Default `None`.
    pub address: Option<IpAddr>,
    /// Its port, also part of the name of a Unix socket. Default 5432.
    pub port: u16,
}

impl Default for Host {
    /// The one on this machine, by its Unix socket in `/var/run/postgresql`.
    fn default() -> Self {
        Self::new(SOCKETS, PORT)
    }
}

impl Host {
    /// A server by its name.
    ///
    /// # Example
    ///
    /// ```
    /// let mut config = pool_postgres::PostgresConfig::default();
    /// config.hosts = vec![pool_postgres::Host::new("db1.example", 5432), pool_postgres::Host::new("db2.example", 5432)];
    /// assert_eq!(config.hosts[1].to_string(), "db2.example:5432");
    /// ```
    pub fn new(name: impl Into<String>, port: u16) -> Self {
        Self { name: name.into(), address: None, port }
    }

    /// Whether it is reached by a Unix socket.
    pub fn is_socket(&self) -> bool {
        self.address.is_none() && self.name.starts_with(['/', '@'])
    }

    /// Whether it is that of the sockets of this machine, which a password file calls `localhost`.
    pub(crate) fn is_local_default(&self) -> bool {
        self.name == SOCKETS
    }

    /// The name by which certificates and passwords are looked up.
    pub(crate) fn peer(&self) -> String {
        match self.address {
            Some(address) if self.name.is_empty() => address.to_string(),
            _ => self.name.clone(),
        }
    }

    /// The path of its Unix socket, or the name of an abstract one after its `@`.
    pub(crate) fn socket(&self) -> String {
        format!("{}/.s.PGSQL.{}", self.name, self.port)
    }
}

/// Name and port, or the path of the Unix socket.
impl Host {
    /// Its name or address without the port, or the path of its socket.
    pub(crate) fn told_address(&self) -> String {
        if self.is_socket() { self.socket() } else { self.peer() }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer() {
            _ if self.is_socket() => f.write_str(&self.socket()),
            address if address.contains(':') => write!(f, "[{address}]:{}", self.port),
            name => write!(f, "{name}:{}", self.port),
        }
    }
}

/// The servers that were given; one that is none if the lists do not fit: of `host` and `hostaddr` as many, and of ports as many or one for all.
pub(super) fn all(given: &Given, problems: &mut Problems) -> Vec<Host> {
    let list = |keyword: &str| {
        let text = given.get(keyword).filter(|text| !text.is_empty());
        text.map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>())
    };
    let mut none_of = |one, count, other, others| {
        if given.is_whole() {
            problems.add(PostgresConfigError::Lists { one, count, other, others });
        }
        vec![Host::default()]
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = addresses.as_ref().or(names.as_ref()).map_or(1, Vec::len);
    if let (Some(names), Some(addresses)) = (&names, &addresses)
        && names.len() != addresses.len()
    {
        return none_of("host", names.len(), "hostaddr", addresses.len());
    }
    let many = ports.as_ref().map_or(1, Vec::len);
    if many != 1 && many != count {
        return none_of("port", many, "host", count);
    }
    let item = |list: &Option<Vec<String>>, at: usize| {
        list.as_ref().map_or("", |list| list[at.min(list.len() - 1)].as_str()).to_owned()
    };
    (0..count)
        .map(|at| {
            let number = port(&item(&ports, at)).map_err(|problem| problem.of("port", &given.origin("port")));
            let address =
                address(&item(&addresses, at)).map_err(|problem| problem.of("hostaddr", &given.origin("hostaddr")));
            let (number, address) = (problems.keep(number).unwrap_or(PORT), problems.keep(address).flatten());
            let name = item(&names, at);
            let name = if name.is_empty() && address.is_none() { SOCKETS.to_owned() } else { name };
            Host { name, address, port: number }
        })
        .collect()
}

fn port(text: &str) -> Result<u16, PostgresConfigError> {
    if text.is_empty() {
        return Ok(PORT);
    }
    number::port(text).ok_or_else(|| PostgresConfigError::value("port", text, PORTS))
}

fn address(text: &str) -> Result<Option<IpAddr>, PostgresConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = text.parse().map(Some);
    parsed.map_err(|_| PostgresConfigError::value("hostaddr", text, "an IP address for each host, or nothing"))
}
