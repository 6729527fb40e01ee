//! PostgreSQL on [`pool_core`], over [`tokio_postgres`].
//!
#![cfg_attr(feature = "loom", doc = "```ignore")]
#![cfg_attr(not(feature = "loom"), doc = "```no_run")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use pool_postgres::{PostgresConfig, PostgresPool};
//!
//! let config: PostgresConfig = "postgres://app@localhost/app?sslmode=prefer&pool_max_conns=10".parse()?;
//! let pool = PostgresPool::connect(config).await?;
//! let row = pool.acquire().await?.query_one("SELECT 6 * $1::int", &[&7]).await?;
//! assert_eq!(row.get::<_, i32>(0), 42);
//! pool.disconnect().await;
//! # Ok(())
//! # }
//! ```
//!
//! A lease derefs to [`tokio_postgres::Client`]. When it is dropped inside a transaction, or while a query still runs, the session is put
//! back in order in the background before anybody else gets it: the pool watches the messages of the protocol and knows.
//!
//! [`diagnosis`] says what an error means: whether to try again, and what the pool does with the connection.
//! [`PostgresConnection::ended`] says why a session has ended, which the error of a request often does not.
//!
//! [`retry`] runs operations that are tried again where that helps and does no harm: transactions, statements that may be repeated, and some that may not.
//!
//! Connections are described as for libpq; [`libpq`] has every keyword, what is verified of a server, and what is different.
//!
//! PostgreSQL 15 and newer are supported.
#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg(not(feature = "loom"))]

mod chain;
mod cluster;
mod config;
mod connection;
mod credentials;
pub mod diagnosis;
mod driver;
mod encrypt;
mod encrypted;
mod end;
mod error;
mod follow;
pub mod libpq;
mod limits;
mod listen;
mod login;
mod memory;
mod pool;
mod query;
mod random;
pub mod retry;
mod role;
mod search;
mod server;
mod servers;
mod socket;
mod statements;
mod tap;
mod tls;
mod wire;

#[cfg(feature = "serde")]
pub use config::Keywords;
pub use config::{
    AuthMethod, ChannelBinding, Host, LoadBalanceHosts, Origin, Password, PostgresConfig, PostgresConfigBuilder,
    PostgresConfigError, RequireAuth, RootCertificates, SslCertMode, SslMode, SslNegotiation, TargetSessionAttrs,
    TlsVersion,
};
pub use connection::PostgresConnection;
pub use credentials::{Credentials, CredentialsError, CredentialsFailure, CredentialsProvider, CredentialsRequest};
pub use driver::PostgresDriver;
pub use end::{EndCause, Ends, SessionEnd};
pub use error::{ConnectError, ConnectStep, PostgresError};
pub use listen::{Event, ListenError, Listener, Notification, Subscription};
pub use pool::{Health, PostgresHealthChecker, PostgresLease, PostgresOwnedLease, PostgresPool};
pub use query::{Queries, Query, QueryError, QueryStep};
pub use servers::{PostgresServers, PostgresServersBuilder, ServerRole};
pub use tap::Mark;
pub use tls::{TlsConnector, TlsSession, TlsSocket};
pub use {pool_core, tokio_postgres};

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
