//! A driver without a backend, which fails exactly as it is told, and a ledger of everything it did.
//!
//! ```
//! use pool_core::Pool;
//! use pool_testkit::fake::{Call, FakeDriver, Step};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let driver = FakeDriver::new();
//! driver.script(Call::Connect, [Step::Fail, Step::Panic, Step::Ok]); // and `Ok` from then on
//! let pool = Pool::builder(driver.clone()).min_size(0).build().unwrap();
//! drop(pool.acquire().await.unwrap());
//! pool.close().await;
//! driver.ledger().settle(&pool.stats());
//! # }
//! ```

mod connection;
mod driver;
mod journal;
mod ledger;
mod numbers;
mod proof;
mod script;

pub use connection::{FakeConnection, InHand, Part};
pub use driver::{FakeDriver, FakeError};
pub use journal::{Answer, Ending, Entry, Event};
pub use ledger::{Door, Ledger};
pub use numbers::Numbers;
pub use proof::{prove_nothing_lost, prove_whole, quiet};
pub use script::{Call, Odds, Step};
