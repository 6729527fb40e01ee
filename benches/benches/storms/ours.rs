//! The pool of this project.

use std::sync::Arc;

use pool_core::{Attempt, Driver, ErrorClass, Lease, SessionState};
use tokio::task::yield_now;

use super::backend::{Backend, Connection, Refused};
use super::pool::{CONNECTIONS, Pool};

#[derive(Clone)]
pub(crate) struct Ours(pool_core::Pool<Seam>);

impl Pool for Ours {
    const NAME: &'static str = "ours";
    type Lease<'a> = Lease<'a, Seam>;

    async fn new(backend: Arc<Backend>) -> Self {
        let pool = pool_core::Pool::builder(Seam(backend)).max_size(CONNECTIONS).min_size(0).build();
        Self(pool.expect("the settings are in range"))
    }

    async fn acquire(&self) -> Option<Lease<'_, Seam>> {
        self.0.acquire().await.ok()
    }
}

pub(crate) struct Seam(Arc<Backend>);

impl Driver for Seam {
    type Connection = Connection;
    type Error = Refused;

    async fn connect(&self, _: &Attempt) -> Result<Connection, Refused> {
        self.0.connect().await
    }

    fn inspect(&self, _: &mut Connection) -> SessionState {
        SessionState::Clean
    }

    async fn ping(&self, _: &mut Connection) -> Result<(), Refused> {
        yield_now().await;
        Ok(())
    }

    fn classify(&self, _: &Refused) -> ErrorClass {
        ErrorClass::Transient
    }
}
