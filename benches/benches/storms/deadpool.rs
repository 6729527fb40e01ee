//! deadpool, as it comes, which is without timeouts: a caller whose connection cannot be opened fails at once.

use std::sync::Arc;

use deadpool::managed::{Metrics, Object, RecycleResult};
use tokio::task::yield_now;

use super::backend::{Backend, Connection, Refused};
use super::pool::{CONNECTIONS, Pool};

#[derive(Clone)]
pub(crate) struct Deadpool(deadpool::managed::Pool<Manager>);

impl Pool for Deadpool {
    const NAME: &'static str = "deadpool";
    type Lease<'a> = Object<Manager>;

    async fn new(backend: Arc<Backend>) -> Self {
        let pool = deadpool::managed::Pool::builder(Manager(backend)).max_size(CONNECTIONS).build();
        Self(pool.expect("the settings are in range"))
    }

    async fn acquire(&self) -> Option<Object<Manager>> {
        self.0.get().await.ok()
    }
}

pub(crate) struct Manager(Arc<Backend>);

impl deadpool::managed::Manager for Manager {
    type Type = Connection;
    type Error = Refused;

    async fn create(&self) -> Result<Connection, Refused> {
        self.0.connect().await
    }

    async fn recycle(&self, _: &mut Connection, _: &Metrics) -> RecycleResult<Refused> {
        yield_now().await;
        Ok(())
    }
}
