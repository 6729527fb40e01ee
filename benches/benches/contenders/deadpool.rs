//! deadpool, as it comes, and with a limit of time on everything that it does.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleResult, Timeouts};

use super::{Contender, Numbers};

#[derive(Clone)]
pub(crate) struct Deadpool(Pool<Numbers>);

impl Contender for Deadpool {
    const NAME: &'static str = "deadpool";
    type Lease<'a> = Object<Numbers>;
    type Error = PoolError<Infallible>;

    async fn new(connections: usize) -> Self {
        Self(Pool::builder(Numbers).max_size(connections).build().expect("the settings are in range"))
    }

    fn acquire(&self) -> impl Future<Output = Result<Object<Numbers>, PoolError<Infallible>>> + Send {
        self.0.get()
    }
}

#[derive(Clone)]
pub(crate) struct DeadpoolTimeouts(Pool<Numbers>);

impl Contender for DeadpoolTimeouts {
    const NAME: &'static str = "deadpool_timeouts";
    type Lease<'a> = Object<Numbers>;
    type Error = PoolError<Infallible>;

    async fn new(connections: usize) -> Self {
        // The limits that this project's pool has by default.
        let limit = |seconds| Some(Duration::from_secs(seconds));
        let timeouts = Timeouts { wait: limit(30), create: limit(5), recycle: limit(5) };
        let pool = Pool::builder(Numbers).max_size(connections).timeouts(timeouts).runtime(Runtime::Tokio1).build();
        Self(pool.expect("the settings are in range"))
    }

    fn acquire(&self) -> impl Future<Output = Result<Object<Numbers>, PoolError<Infallible>>> + Send {
        self.0.get()
    }
}

impl Manager for Numbers {
    type Type = u64;
    type Error = Infallible;

    async fn create(&self) -> Result<u64, Infallible> {
        Ok(0)
    }

    async fn recycle(&self, _: &mut u64, _: &Metrics) -> RecycleResult<Infallible> {
        Ok(())
    }
}
