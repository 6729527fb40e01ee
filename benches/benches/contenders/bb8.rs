//! bb8, as it comes: timeouts, lifetimes and the check of every connection that it hands out are on.

use std::convert::Infallible;
use std::future::Future;

use bb8::{ManageConnection, Pool, PooledConnection, RunError};

use super::{Contender, Numbers};

#[derive(Clone)]
pub(crate) struct Bb8(Pool<Numbers>);

impl Contender for Bb8 {
    const NAME: &'static str = "bb8";
    type Lease<'a> = PooledConnection<'a, Numbers>;
    type Error = RunError<Infallible>;

    async fn new(connections: usize) -> Self {
        let connections = u32::try_from(connections).expect("not that many");
        Self(Pool::builder().max_size(connections).build(Numbers).await.expect("no error is possible"))
    }

    fn acquire(&self) -> impl Future<Output = Result<PooledConnection<'_, Numbers>, RunError<Infallible>>> + Send {
        self.0.get()
    }
}

impl ManageConnection for Numbers {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self) -> Result<u64, Infallible> {
        Ok(0)
    }

    async fn is_valid(&self, _: &mut u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut u64) -> bool {
        false
    }
}
