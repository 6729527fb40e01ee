//! A proxy on loopback that does to connections what networks and servers do to them, and a server that follows a script.
//!
//! A [`Proxy`] stands between clients and one server. What it does wrong is a [`Toxic`], set for a [`Direction`] while connections pass, and taken
//! back by [`Proxy::calm`]; what becomes of new connections is an [`Admission`]. Tests wait for what it has [`Seen`], they do not sleep. With
//! [`Proxy::postgres`] it follows the messages of PostgreSQL, the start-up included, and can cut between two of them or edit one. Everything ends when the handle is dropped.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use pool_testkit::proxy::{Direction, End, Place, Proxy, Toxic};
//!
//! let proxy = Proxy::postgres(("127.0.0.1", 5432)).await?;
//! let address = proxy.address(); // where the client connects to
//! // The connection of the next query is lost after its rows and before the server is ready again.
//! proxy.set_once(Direction::ToClient, Toxic::CutAt { kind: b'Z', nth: 1, place: Place::Before, end: End::Reset });
//! proxy.until(|seen| seen.struck == 1).await;
//! proxy.calm().await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`ScriptedServer`] answers without any server behind it: HTTP, or an error that no PostgreSQL would send.

mod connection;
mod control;
mod frame;
mod handle;
mod in_force;
mod intake;
mod listener;
mod outlet;
mod script;
mod seen;
mod toxic;

pub use frame::{Frame, message};
pub use handle::Proxy;
pub use script::{Script, ScriptedServer};
pub use seen::Seen;
pub use toxic::{Admission, Direction, End, Place, Toxic};
