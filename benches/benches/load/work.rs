//! What an operation does: it reads or writes, at once or for a while, and may be repeated or must not be.

use pool_postgres::retry::{RetryError, TransactionOptions};
use pool_postgres::tokio_postgres::{Error, IsolationLevel};
use pool_testkit::random::Random;

use super::fault::{Lease, Strike};
use super::site::Site;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Reads at once; may be repeated.
    Read,
    /// Reads for 5 ms; may be repeated.
    SlowRead,
    /// Writes one row by one statement that must not be repeated.
    Once,
    /// Writes what is the same each time.
    Keep,
    /// Writes one row in a transaction.
    Transaction,
    /// The same, in a transaction that takes 10 ms.
    SlowTransaction,
}

/// Of a hundred operations.
const SHARES: [(Work, u64); 6] = [
    (Work::Read, 35),
    (Work::SlowRead, 15),
    (Work::Once, 20),
    (Work::Keep, 10),
    (Work::Transaction, 15),
    (Work::SlowTransaction, 5),
];

impl Work {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut left = random.below(SHARES.iter().map(|(_, share)| share).sum());
        let drawn = SHARES.iter().find(|(_, share)| {
            let is_it = left < *share;
            left = left.saturating_sub(*share);
            is_it
        });
        drawn.map_or(Self::Read, |(work, _)| *work)
    }

    /// Whether the server keeps a row of what was done.
    pub(crate) fn is_written(self) -> bool {
        !matches!(self, Self::Read | Self::SlowRead)
    }

    /// Does it, as the operation of this number.
    pub(crate) async fn run(self, site: &Site, operation: u64) -> Result<(), RetryError> {
        let strike = Strike::new(site, operation);
        match self {
            Self::Read => read(site, operation, "SELECT $1::bigint", &strike).await,
            Self::SlowRead => read(site, operation, "SELECT $1::bigint FROM pg_sleep(0.005)", &strike).await,
            Self::Once => once(site, operation, &strike).await,
            Self::Keep => keep(site, operation, &strike).await,
            Self::Transaction => transaction(site, operation, "", &strike).await,
            Self::SlowTransaction => transaction(site, operation, "SELECT pg_sleep(0.01)", &strike).await,
        }
    }
}

fn number(operation: u64) -> i64 {
    i64::try_from(operation).expect("nobody counts that far")
}

async fn read(site: &Site, operation: u64, query: &str, strike: &Strike<'_>) -> Result<(), RetryError> {
    let number = number(operation);
    let work = async |lease: Lease| -> Result<(), Error> {
        strike.fall(&lease, false).await?;
        let row = lease.query_one(query, &[&number]).await?;
        assert_eq!(row.get::<_, i64>(0), number, "the answer to another question");
        Ok(())
    };
    site.retrier.idempotent(work).await
}

async fn once(site: &Site, operation: u64, strike: &Strike<'_>) -> Result<(), RetryError> {
    let insert = format!("INSERT INTO done VALUES ({operation})");
    let work = async |lease: Lease| -> Result<(), Error> {
        strike.fall(&lease, false).await?;
        lease.batch_execute(&insert).await
    };
    site.retrier.once(work).await
}

async fn keep(site: &Site, operation: u64, strike: &Strike<'_>) -> Result<(), RetryError> {
    let number = number(operation);
    let insert = "INSERT INTO kept VALUES ($1) ON CONFLICT (operation) DO NOTHING";
    let work = async |lease: Lease| -> Result<(), Error> {
        strike.fall(&lease, false).await?;
        lease.execute(insert, &[&number]).await.map(drop)
    };
    site.retrier.idempotent(work).await
}

async fn transaction(site: &Site, operation: u64, wait: &str, strike: &Strike<'_>) -> Result<(), RetryError> {
    let mut options = TransactionOptions::default();
    options.isolation_level = Some(IsolationLevel::RepeatableRead);
    let insert = format!("INSERT INTO done VALUES ({operation}); {wait}");
    let work = async |lease: Lease| -> Result<(), Error> {
        strike.fall(&lease, true).await?;
        lease.batch_execute(&insert).await
    };
    site.retrier.transaction_with(options, work).await
}
