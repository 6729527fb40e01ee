//! PostgreSQL on [`pool_core`], over [`tokio_postgres`].
//!
#![cfg_attr(feature = "loom", doc = "```ignore")]
#![cfg_attr(not(feature = "loom"), doc = "```no_run")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use pool_postgres::{PostgresConfig, PostgresPool};
//!
//! let config: PostgresConfig = "postgres://app@localhost/app?sslmode=prefer&pool_max_conns=10".parse()?;
//! let pool = PostgresPool::connect(config).await?;
//! let row = pool.query_one("SELECT 6 * $1::int", &[&7]).await?;
//! assert_eq!(row.get::<_, i32>(0), 42);
//! pool.disconnect().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`acquire`](pool_core::Pool::acquire) gives a lease, for several requests in one session. With [`Queries`] in scope, `lease.query_one(...)` and its kin do what those of the pool do: the client's [`Limits`]
//! count, and a statement is prepared once for each connection. Without it they are the methods of [`tokio_postgres::Client`], to which a lease derefs: these prepare a text each time, and know no limit but the server's.
//!
//! When a lease is dropped inside a transaction, or while a query still runs, the session is put
//! back in order in the background before anybody else gets it: the pool watches the messages of the protocol and knows. So it is after `SET`, `LISTEN` and their like;
//! [`ReleasePolicy`] has what is undone, and [`PostgresConnection::activity`] what is known.
//!
//! [`diagnosis`] says what an error means: whether to try again, and what the pool does with the connection.
//! [`PostgresConnection::ended`] says why a session has ended, which the error of a request often does not.
//!
//! [`PostgresPool::begin`] and [`PostgresPool::transaction`] make transactions that are rolled back when they are dropped, and of which `commit` says whether the server has committed them.
//!
//! [`Limits`] bound how long requests may take. What takes longer, or is dropped, is cancelled on the server, and whoever asks next is not hit by that.
//!
//! Results of any size take a few kilobytes: rows as they come, with [`PostgresPool::stream`], or in batches, and data that is copied out and in, with [`PostgresPool::copy_in`] and its kin.
//!
//! [`PostgresPool::batch`] sends many statements in one go, as one transaction or one by one.
//!
//! [`PostgresPool::multiplexed`] is for many callers on few connections: their queries are sent behind each other, and nobody waits until a connection is his.
//!
//! [`retry`] runs operations that are tried again where that helps and does no harm: transactions, statements that may be repeated, and some that may not.
//!
//! Connections are described as for libpq; [`libpq`] has every keyword, what is verified of a server, and what is different.
//!
//! PostgreSQL 15 and newer are supported.
#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg(not(feature = "loom"))]

mod activity;
mod atomics;
mod batches;
mod bell;
mod chain;
mod cluster;
mod config;
mod connection;
mod courtesy;
mod credentials;
pub mod diagnosis;
mod dismissals;
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
mod multiplex;
mod pool;
mod query;
mod random;
mod release;
mod report;
mod results;
pub mod retry;
mod role;
mod search;
mod server;
mod servers;
mod socket;
mod statements;
mod tap;
mod tls;
mod transactions;
mod wire;

pub use activity::{SessionActivity, SessionChanges, SessionStatus};
pub use batches::{Batch, BatchAnswer, BatchAnswers};
#[cfg(feature = "serde")]
pub use config::Keywords;
pub use config::{
    AuthMethod, ChannelBinding, Host, LoadBalanceHosts, OpenTransaction, Origin, Password, PostgresConfig,
    PostgresConfigBuilder, PostgresConfigError, ReleaseMode, RequireAuth, RootCertificates, SslCertMode, SslMode,
    SslNegotiation, TargetSessionAttrs, TlsVersion,
};
pub use connection::PostgresConnection;
pub use credentials::{Credentials, CredentialsError, CredentialsFailure, CredentialsProvider, CredentialsRequest};
pub use driver::PostgresDriver;
pub use end::{EndCause, Ends, SessionEnd};
pub use error::{ConnectError, ConnectStep, PostgresError};
pub use limits::{Limits, QueryEnd, QueryStats, SlowQuery, TimeLimit, TimedOut, UnsupportedLimit};
pub use listen::{Event, ListenError, Listener, Notification, Subscription};
pub use multiplex::{Multiplexed, Multiplexing, NeedsSession};
pub use pool::{Health, PostgresHealthChecker, PostgresLease, PostgresOwnedLease, PostgresPool};
pub use query::{Queries, Query, QueryError, QueryStep};
pub use release::ReleasePolicy;
pub use results::{CopiedRow, CopyIn, CopyInRows, CopyOut, CopyOutRows, Cursor, CursorRows, RowStream};
pub use servers::{PostgresServers, PostgresServersBuilder, ServerRole};
pub use statements::{StatementMode, StatementSettings, StatementStats};
pub use tap::Mark;
pub use tls::{TlsConnector, TlsSession, TlsSocket};
pub use transactions::{
    PostgresTransaction, TrackId, TransactionError, TransactionId, TransactionOptions, TransactionStatus,
};
pub use {pool_core, tokio_postgres};

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
