//! A port for a server that may be stopped and started again.

use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Result};
use std::net::{SocketAddr, TcpListener};

/// One that nobody listens on, below those that systems give to outgoing connections: one of these could take it while the server is stopped.
pub(crate) fn free() -> Result<SocketAddr> {
    let random = RandomState::new().hash_one(0);
    let addresses = (0..1000).map(|number| SocketAddr::from(([127, 0, 0, 1], port(random.wrapping_add(number)))));
    addresses.into_iter().find(|address| TcpListener::bind(address).is_ok()).ok_or(ErrorKind::AddrInUse.into())
}

/// From 10,000 to 19,999.
fn port(number: u64) -> u16 {
    u16::try_from(number % 10_000).map_or(10_000, |number| number + 10_000)
}
