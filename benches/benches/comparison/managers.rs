//! How each engine gets to the backend.

use std::sync::Arc;

use deadpool::managed::{Metrics, RecycleResult};
use pool_core::{Attempt, Config, Driver, ErrorClass, Pool, SessionState};

use super::backend::{Backend, Connection, Refused};

pub(crate) struct Way(pub(crate) Arc<Backend>);

impl Driver for Way {
    type Connection = Connection;
    type Error = Refused;

    async fn connect(&self, _: &Attempt) -> Result<Connection, Refused> {
        self.0.connect()
    }

    fn inspect(&self, _: &mut Connection) -> SessionState {
        SessionState::Clean
    }

    fn classify(&self, _: &Refused) -> ErrorClass {
        ErrorClass::Permanent
    }
}

/// A pool of this project.
pub(crate) fn ours(backend: &Arc<Backend>, change: impl FnOnce(&mut Config)) -> Pool<Way> {
    let mut config = Config::default();
    (config.min_size, config.lazy) = (0, true);
    change(&mut config);
    Pool::builder(Way(Arc::clone(backend))).config(config).build().expect("the settings are in range")
}

impl deadpool::managed::Manager for Way {
    type Type = Connection;
    type Error = Refused;

    async fn create(&self) -> Result<Connection, Refused> {
        self.0.connect()
    }

    async fn recycle(&self, _: &mut Connection, _: &Metrics) -> RecycleResult<Refused> {
        Ok(())
    }
}

impl bb8::ManageConnection for Way {
    type Connection = Connection;
    type Error = Refused;

    async fn connect(&self) -> Result<Connection, Refused> {
        self.0.connect()
    }

    async fn is_valid(&self, _: &mut Connection) -> Result<(), Refused> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Connection) -> bool {
        false
    }
}

#[mobc::async_trait]
impl mobc::Manager for Way {
    type Connection = Connection;
    type Error = Refused;

    async fn connect(&self) -> Result<Connection, Refused> {
        self.0.connect()
    }

    async fn check(&self, connection: Connection) -> Result<Connection, Refused> {
        Ok(connection)
    }
}
