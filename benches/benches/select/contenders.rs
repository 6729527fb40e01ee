//! Who asks.

use std::sync::Arc;
use std::time::Instant;

use deadpool_postgres::{ManagerConfig, RecyclingMethod};
use pool_postgres::tokio_postgres::{Client, NoTls, Statement, connect};
use pool_postgres::{PostgresConfig, PostgresOwnedLease, PostgresPool};

use crate::args::Choice;

/// What is asked, with a number, which comes back.
const SQL: &str = "SELECT $1::int";

/// Their names.
const NAMES: [&str; 4] = ["tokio-postgres", "kept", "pool", "deadpool-postgres"];

/// What an option picks.
pub(crate) fn choices() -> [Choice; 2] {
    [("only", NAMES.to_vec()), ("with-sqlx", Vec::new())]
}

/// One of those who take turns.
#[derive(Clone)]
pub(crate) enum Contender {
    /// The client alone: each task has a connection and the statement.
    Bare(Arc<Vec<(Client, Statement)>>),
    /// As that, on connections of a pool that nobody gives back: what is left is what follows the wire.
    Kept(Arc<Vec<(PostgresOwnedLease, Statement)>>),
    Ours(PostgresPool),
    Deadpool(deadpool_postgres::Pool),
}

impl Contender {
    /// All of them, with so many connections that have been opened, and on which the statement is prepared.
    pub(crate) async fn all(url: &str, connections: usize) -> Vec<Self> {
        let all = vec![
            bare(url, connections).await,
            kept(url, connections).await,
            ours(url, connections).await,
            deadpool(url, connections),
        ];
        for contender in &all {
            let tasks: Vec<_> = (0..connections).map(|task| tokio::spawn(contender.clone().ask(task, 2_000))).collect();
            for task in tasks {
                task.await.expect("it does not panic");
            }
        }
        all
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Bare(_) => NAMES[0],
            Self::Kept(_) => NAMES[1],
            Self::Ours(_) => NAMES[2],
            Self::Deadpool(_) => NAMES[3],
        }
    }

    /// Asks so many times; how many nanoseconds each took.
    pub(crate) async fn ask(self, task: usize, times: usize) -> Vec<u64> {
        let mut taken = Vec::with_capacity(times);
        for n in 0..i32::try_from(times).expect("not that many") {
            let begun = Instant::now();
            let answer: i32 = self.ask_once(task, n).await;
            taken.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
            assert_eq!(answer, n, "the answer to its own question");
        }
        taken
    }

    async fn ask_once(&self, task: usize, n: i32) -> i32 {
        match self {
            Self::Bare(clients) => {
                let (client, statement) = &clients[task];
                client.query_one(statement, &[&n]).await.expect("an answer").get(0)
            }
            Self::Kept(leases) => {
                let (lease, statement) = &leases[task];
                lease.query_one(statement, &[&n]).await.expect("an answer").get(0)
            }
            Self::Ours(pool) => pool.query_one(SQL, &[&n]).await.expect("an answer").get(0),
            Self::Deadpool(pool) => {
                let client = pool.get().await.expect("a connection");
                let statement = client.prepare_cached(SQL).await.expect("a statement");
                client.query_one(&statement, &[&n]).await.expect("an answer").get(0)
            }
        }
    }
}

async fn bare(url: &str, connections: usize) -> Contender {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let (client, connection) = connect(url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        let statement = client.prepare(SQL).await.expect("a statement");
        clients.push((client, statement));
    }
    Contender::Bare(Arc::new(clients))
}

async fn pool(url: &str, connections: usize) -> PostgresPool {
    let mut config: PostgresConfig = url.parse().expect("a URI");
    (config.pool.max_size, config.pool.min_size) = (connections, connections);
    PostgresPool::connect(config).await.expect("a pool")
}

async fn kept(url: &str, connections: usize) -> Contender {
    let pool = pool(url, connections).await;
    let mut leases = Vec::new();
    for _ in 0..connections {
        let lease = pool.acquire_owned().await.expect("a connection");
        let statement = lease.prepare(SQL).await.expect("a statement");
        leases.push((lease, statement));
    }
    Contender::Kept(Arc::new(leases))
}

async fn ours(url: &str, connections: usize) -> Contender {
    Contender::Ours(pool(url, connections).await)
}

fn deadpool(url: &str, connections: usize) -> Contender {
    let config = url.parse().expect("a URI");
    let manager = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = deadpool_postgres::Manager::from_config(config, NoTls, manager);
    let pool = deadpool_postgres::Pool::builder(manager).max_size(connections).build().expect("a pool");
    Contender::Deadpool(pool)
}
