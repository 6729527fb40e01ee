//! What becomes of a session when its user gives it back.

mod driver;
mod settle;
mod statements;

pub(crate) use driver::tell;
pub(crate) use settle::settled;

use crate::config::{OpenTransaction, ReleaseMode};

/// What is done with a session between two users. `docs/sessions.md` has what each mode sees, what it does not, and what it costs.
///
/// Whatever the mode: what still runs is cancelled on the server, a transaction that has failed is rolled back, and a session that cannot be put in order within
/// [`reset_timeout`](pool_core::Config::reset_timeout) is closed. Whoever waits gets it, or another one, only afterwards.
///
/// # Example
///
/// ```
/// use pool_postgres::{OpenTransaction, PostgresConfig, ReleaseMode, ReleasePolicy};
///
/// let config: PostgresConfig = "host=db.example pool_release=clean pool_on_open_transaction=close".parse()?;
/// assert_eq!(config.release.mode, ReleaseMode::Clean);
/// assert_eq!(config.release.open_transaction, OpenTransaction::Close);
/// assert_eq!(PostgresConfig::default().release, ReleasePolicy::default());
/// # Ok::<(), pool_postgres::PostgresConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReleasePolicy {
    /// How much of what a user leaves behind is cleared away. Default [`ReleaseMode::Changed`].
    pub mode: ReleaseMode,
    /// What becomes of a session whose user has left a transaction open that has not failed. Default [`OpenTransaction::RollBack`].
    pub open_transaction: OpenTransaction,
    /// What [`ReleaseMode::Custom`] has the server do: statements without parameters, separated by semicolons. Neither `DISCARD ALL` nor `DEALLOCATE ALL`: they take the
    /// statements with them that the client has prepared for itself. Default none.
    pub sql: Option<String>,
}
