//! A real PostgreSQL for tests, demos and benchmarks, started from cargo alone.
//!
//! ```no_run
//! # fn main() -> Result<(), pool_testkit::postgres::EphemeralError> {
//! use pool_testkit::postgres::EphemeralPostgres;
//!
//! let database = EphemeralPostgres::shared()?.create_database()?; // one server per process, one database per test
//! let mut server = EphemeralPostgres::start()?; // a server of one's own, to kill and restart
//! server.kill9()?;
//! server.restart()?;
//! # Ok(())
//! # }
//! ```
//!
//! The server binaries are looked for in this order; what takes seconds is told on standard error while it happens:
//!
//! 1. `POOL_TEST_URL`: a server that already runs, for [`EphemeralPostgres::shared`] alone;
//! 2. `POOL_PG_BIN`: a folder with `initdb` and `postgres`;
//! 3. `pg_config --bindir`, `PATH` and the usual places, newest first, from PostgreSQL 15 on; with `POOL_PG_VERSION=18`, those of that version alone;
//! 4. what an earlier run has provisioned into the user's cache;
//! 5. provisioning into that cache, without touching the system: `apt-get download`, else npm, else pip;
//! 6. an error with the command that installs PostgreSQL on this system. Nothing is ever skipped.
//!
//! A test that is about what one version does has [`EphemeralBuilder::with_version`]: then a server of another version in `POOL_PG_BIN` is passed over, and `POOL_PG_VERSION` does not count.
//!
//! [`PgBouncer`] stands in front of a server: that of `POOL_PGBOUNCER`, or of `PATH`, or one fetched into the cache with `apt-get download`.
//!
//! Each server runs on a copy of a template data directory, which takes a tenth of a second, listens on 127.0.0.1 alone, and trusts
//! everybody there. A shell that holds a pipe to this process stops it and removes its files when the process ends, even by
//! `SIGKILL`. Run as root, everything drops to the user `postgres` or `nobody`, because the server refuses to run as root.

pub(crate) mod account;
mod bouncer;
pub(crate) mod cache;
mod client;
pub(crate) mod error;
pub(crate) mod find;
pub(crate) mod program;
pub(crate) mod provision;
pub(crate) mod server;
mod shared;
mod standby;
mod template;
pub(crate) mod warden;

pub use bouncer::{PgBouncer, PgBouncerBuilder};
pub use error::EphemeralError;
pub use server::{EphemeralBuilder, EphemeralPostgres};
pub use shared::{SharedPostgres, TestDatabase};
