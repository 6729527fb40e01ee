//! Other pools, as they come.

use bb8::ManageConnection;
use bb8_postgres::PostgresConnectionManager;
use deadpool_postgres::{ManagerConfig, RecyclingMethod};
use pool_postgres::tokio_postgres::{Error, NoTls};

use super::contenders::Prepared;

/// deadpool-postgres, which does not check a connection that it hands out.
pub(crate) type Deadpool = deadpool_postgres::Pool;

pub(crate) fn deadpool(url: &str, connections: usize) -> Deadpool {
    let config = url.parse().expect("a URI");
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = deadpool_postgres::Manager::from_config(config, NoTls, manager);
    Deadpool::builder(manager).max_size(connections).build().expect("a pool")
}

/// bb8-postgres, which checks each connection that it hands out by a round trip.
pub(crate) type Bb8 = bb8::Pool<Manager>;

pub(crate) async fn bb8(url: &str, connections: usize) -> Bb8 {
    let size = u32::try_from(connections).expect("not that many");
    let manager = Manager(PostgresConnectionManager::new_from_stringlike(url, NoTls).expect("a URI"));
    let pool = Bb8::builder().max_size(size).min_idle(size);
    pool.build(manager).await.expect("all of them open")
}

/// It has no cache of statements, so a connection brings them along.
pub(crate) struct Manager(PostgresConnectionManager<NoTls>);

impl ManageConnection for Manager {
    type Connection = Prepared;
    type Error = Error;

    async fn connect(&self) -> Result<Prepared, Error> {
        Prepared::new(self.0.connect().await?).await
    }

    async fn is_valid(&self, connection: &mut Prepared) -> Result<(), Error> {
        self.0.is_valid(&mut connection.client).await
    }

    fn has_broken(&self, connection: &mut Prepared) -> bool {
        self.0.has_broken(&mut connection.client)
    }
}
