//! The pool of this project, with its default settings: timeouts, lifetimes, pings and statistics are all on.

use std::convert::Infallible;
use std::future::Future;

use pool_core::{AcquireError, Attempt, Driver, ErrorClass, Lease, Pool, SessionState};

use super::Contender;

#[derive(Clone)]
pub(crate) struct Ours(pub(crate) Pool<Numbers>);

impl Contender for Ours {
    const NAME: &'static str = "ours";
    type Lease<'a> = Lease<'a, Numbers>;
    type Error = AcquireError;

    async fn new(connections: usize) -> Self {
        let pool = Pool::builder(Numbers).max_size(connections).min_size(connections).build();
        Self(pool.expect("the settings are in range"))
    }

    #[inline]
    fn acquire(&self) -> impl Future<Output = Result<Lease<'_, Numbers>, AcquireError>> + Send {
        self.0.acquire()
    }
}

/// Opens numbers. The drivers of the other pools are on it, too.
pub(crate) struct Numbers;

impl Driver for Numbers {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self, _: &Attempt) -> Result<u64, Infallible> {
        Ok(0)
    }

    fn inspect(&self, _: &mut u64) -> SessionState {
        SessionState::Clean
    }

    fn classify(&self, error: &Infallible) -> ErrorClass {
        match *error {}
    }
}
