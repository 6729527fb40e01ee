//! Trying operations again: opt-in, bounded by attempts, time and a budget, and never twice what must be done once.
//!
//! [`PostgresPool::retrying`](crate::PostgresPool::retrying) makes a [`Retrier`] with a [`RetryPolicy`]. It runs three kinds of work, each on a lease of its own for every attempt:
//!
//! | | tried again after | for |
//! | --- | --- | --- |
//! | [`transaction`](Retrier::transaction) | 40001, 40P01, and whatever else may pass before `COMMIT` was sent | what must be done once, as a whole |
//! | [`once`](Retrier::once) | what was not sent, or was refused by the server, and may pass | one statement that must not be done twice |
//! | [`idempotent`](Retrier::idempotent) | whatever may pass, a lost session included | what may be done twice |
//!
//! Whether something may pass is what [`diagnosis`](crate::diagnosis) says. Between attempts there is a pause that doubles, of which a random part is waited; no connection is held meanwhile. A
//! [`RetryBudget`] bounds the retries of all operations together, so that they do not add to an outage.
//!
//! An operation succeeds, or fails with a [`RetryError`] that says why it was not tried again, and whether it may have been done: nothing is lost silently.
//!
//! # Example
//!
//! ```no_run
//! use pool_postgres::PostgresPool;
//! use pool_postgres::retry::{RetryPolicy, TransactionOptions};
//! use pool_postgres::tokio_postgres::{Error, IsolationLevel};
//!
//! # async fn buy(pool: &PostgresPool, seat: i64) -> Result<(), Box<dyn std::error::Error>> {
//! let retrier = pool.retrying(RetryPolicy::default())?;
//! let mut serializable = TransactionOptions::default();
//! serializable.isolation_level = Some(IsolationLevel::Serializable);
//! let sold = retrier
//!     .transaction_with(serializable, async |lease| {
//!         let taken = lease.execute("UPDATE seat SET taken = true WHERE id = $1 AND NOT taken", &[&seat]).await?;
//!         lease.execute("UPDATE sales SET seats = seats + $1", &[&i64::try_from(taken).unwrap_or(0)]).await?;
//!         Ok::<_, Error>(taken > 0)
//!     })
//!     .await?;
//! println!("sold: {sold}");
//! # Ok(())
//! # }
//! ```

mod attempt;
mod budget;
mod error;
mod policy;
mod retrier;
mod stats;

pub use budget::RetryBudget;
pub use error::{AttemptError, GaveUp, Outcome, RetryError};
pub use policy::RetryPolicy;
pub use retrier::Retrier;
pub use stats::{RetryReason, RetryStats};

pub use crate::transactions::TransactionOptions;
