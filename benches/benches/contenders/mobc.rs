//! mobc, as it comes, but for the number of idle connections that it keeps, which would be two.

use std::convert::Infallible;
use std::future::Future;

use mobc::{Connection, Error, Manager, Pool, async_trait};

use super::{Contender, Numbers};

#[derive(Clone)]
pub(crate) struct Mobc(Pool<Numbers>);

impl Contender for Mobc {
    const NAME: &'static str = "mobc";
    type Lease<'a> = Connection<Numbers>;
    type Error = Error<Infallible>;

    async fn new(connections: usize) -> Self {
        let connections = u64::try_from(connections).expect("not that many");
        Self(Pool::builder().max_open(connections).max_idle(connections).build(Numbers))
    }

    fn acquire(&self) -> impl Future<Output = Result<Connection<Numbers>, Error<Infallible>>> + Send {
        self.0.get()
    }
}

#[async_trait]
impl Manager for Numbers {
    type Connection = u64;
    type Error = Infallible;

    async fn connect(&self) -> Result<u64, Infallible> {
        Ok(0)
    }

    async fn check(&self, connection: u64) -> Result<u64, Infallible> {
        Ok(connection)
    }
}
