//! bb8, as it comes: a caller waits for up to 30 s, and a connection is checked before each hand-over.

use std::sync::Arc;

use bb8::{ManageConnection, PooledConnection};
use tokio::task::yield_now;

use super::backend::{Backend, Connection, Refused};
use super::pool::{CONNECTIONS, Pool};

#[derive(Clone)]
pub(crate) struct Bb8(bb8::Pool<Manager>);

impl Pool for Bb8 {
    const NAME: &'static str = "bb8";
    type Lease<'a> = PooledConnection<'a, Manager>;

    async fn new(backend: Arc<Backend>) -> Self {
        let connections = u32::try_from(CONNECTIONS).expect("not that many");
        Self(bb8::Pool::builder().max_size(connections).build(Manager(backend)).await.expect("nothing is opened yet"))
    }

    async fn acquire(&self) -> Option<PooledConnection<'_, Manager>> {
        self.0.get().await.ok()
    }
}

pub(crate) struct Manager(Arc<Backend>);

impl ManageConnection for Manager {
    type Connection = Connection;
    type Error = Refused;

    async fn connect(&self) -> Result<Connection, Refused> {
        self.0.connect().await
    }

    async fn is_valid(&self, _: &mut Connection) -> Result<(), Refused> {
        yield_now().await;
        Ok(())
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}
