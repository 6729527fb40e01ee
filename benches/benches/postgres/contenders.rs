//! Who asks.

use std::sync::Arc;
use std::time::Duration;

use pool_postgres::tokio_postgres::{Client, Error, NoTls, Statement, connect};
use pool_postgres::{Multiplexed, PostgresConfig, PostgresPool};

use super::peers::{self, Bb8, Deadpool};

/// What is asked, with a number, which comes back: at once, or after 50 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Fast,
    Slow,
}

impl Question {
    const ALL: [Self; 2] = [Self::Fast, Self::Slow];

    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Fast => "SELECT $1::int",
            Self::Slow => "SELECT $1::int FROM pg_sleep(0.05)",
        }
    }
}

/// Their names; the last one is in a process of its own.
pub(crate) const NAMES: [&str; 7] =
    ["ours_exclusive", "ours_multiplexed", "bare_pipelined", "bare_per_connection", "deadpool", "bb8", "sqlx"];

/// One of those who take turns, with its connections open.
#[derive(Clone)]
pub(crate) enum Contender {
    /// This pool, as it comes: a query has a connection to itself.
    Exclusive(PostgresPool),
    /// Another one, as it comes: queries share connections.
    Multiplexed(Multiplexed),
    /// The clients of so many connections, and no pool: caller after caller is given one of them in turn, and shares it for good. What the client does if nobody looks after anything.
    Pipelined(Arc<Vec<Prepared>>),
    /// The same with a caller for each client, who shares it with nobody, and no callers besides: as many queries at a time as a pool has that gives a connection to each, and nobody who waits for one.
    PerConnection(Arc<Vec<Prepared>>),
    Deadpool(Deadpool),
    Bb8(Bb8),
}

impl Contender {
    /// One that runs in this process, by its name.
    pub(crate) async fn open(name: &str, url: &str, connections: usize) -> Self {
        match name {
            "ours_exclusive" => Self::Exclusive(ours(url, connections).await),
            "ours_multiplexed" => Self::Multiplexed(ours(url, connections).await.multiplexed()),
            "bare_pipelined" => Self::Pipelined(bare(url, connections).await),
            "bare_per_connection" => Self::PerConnection(bare(url, connections).await),
            "deadpool" => Self::Deadpool(peers::deadpool(url, connections)),
            "bb8" => Self::Bb8(peers::bb8(url, connections).await),
            other => unreachable!("{other} does not run in this process"),
        }
    }

    /// How many of so many callers ask.
    pub(crate) fn callers(&self, callers: usize) -> usize {
        match self {
            Self::PerConnection(clients) => callers.min(clients.len()),
            _ => callers,
        }
    }

    /// Asks, from wanting to until the answer is there.
    pub(crate) async fn ask(&self, caller: usize, question: Question, n: i32) -> i32 {
        let sql = question.sql();
        match self {
            Self::Exclusive(pool) => pool.query_one(sql, &[&n]).await.expect("an answer").get(0),
            Self::Multiplexed(pool) => pool.query_one(sql, &[&n]).await.expect("an answer").get(0),
            Self::Pipelined(clients) | Self::PerConnection(clients) => {
                clients[caller % clients.len()].ask(question, n).await.expect("an answer")
            }
            Self::Deadpool(pool) => {
                let client = pool.get().await.expect("a connection");
                let statement = client.prepare_cached(sql).await.expect("a statement");
                client.query_one(&statement, &[&n]).await.expect("an answer").get(0)
            }
            Self::Bb8(pool) => pool.get().await.expect("a connection").ask(question, n).await.expect("an answer"),
        }
    }
}

/// A client with its statements.
pub(crate) struct Prepared {
    pub(crate) client: Client,
    statements: [Statement; 2],
}

impl Prepared {
    pub(crate) async fn new(client: Client) -> Result<Self, Error> {
        let [fast, slow] = Question::ALL.map(Question::sql);
        let statements = [client.prepare(fast).await?, client.prepare(slow).await?];
        Ok(Self { client, statements })
    }

    pub(crate) async fn ask(&self, question: Question, n: i32) -> Result<i32, Error> {
        let [fast, slow] = &self.statements;
        let statement = if question == Question::Fast { fast } else { slow };
        Ok(self.client.query_one(statement, &[&n]).await?.get(0))
    }
}

async fn bare(url: &str, connections: usize) -> Arc<Vec<Prepared>> {
    let mut clients = Vec::new();
    for _ in 0..connections {
        let (client, connection) = connect(url, NoTls).await.expect("a connection");
        tokio::spawn(connection);
        clients.push(Prepared::new(client).await.expect("statements"));
    }
    Arc::new(clients)
}

async fn ours(url: &str, connections: usize) -> PostgresPool {
    let mut config: PostgresConfig = url.parse().expect("a URI");
    (config.pool.max_size, config.pool.min_size) = (connections, connections);
    let pool = PostgresPool::connect(config).await.expect("a pool");
    pool.ready(Duration::from_secs(30)).await.expect("all of them open");
    pool
}
