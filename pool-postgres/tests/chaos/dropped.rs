//! Every future of this crate, dropped after every number of polls, under every fault of a network: what is left is looked at each time.
//!
//! How often a future is polled depends on how the bytes arrive, so each is dropped a poll later until it ends before.

use std::collections::BTreeSet;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pool_core::{Attempt, Driver, HealthConfig, Preference, Tag};
use pool_postgres::retry::{Retrier, RetryPolicy, TransactionOptions};
use pool_postgres::{Credentials, PostgresConfig, PostgresDriver, PostgresOwnedLease, PostgresPool, PostgresServers};
use pool_testkit::cancel::{Cut, for_each_cancellation};
use pool_testkit::proxy::{Admission, Direction, End, Toxic};
use tokio::runtime::Builder;

use crate::asking::{LIMIT, answer, eventually, in_time};
use crate::common::Chaos;
use crate::dropped_batch::BATCHES;
use crate::dropped_listen::LISTEN;
use crate::dropped_multiplexed::MULTIPLEXED;
use crate::dropped_queries::QUERIES;
use crate::dropped_results::RESULTS;
use crate::dropped_transactions::TRANSACTIONS;
use crate::invariants::{self, everything_can_be_had};
use crate::users::{PASSWORD, impatient, settings};

/// How long anything may take before it is given up, where answers may never come.
const SHORT: Duration = Duration::from_millis(60);

const MOST: usize = 2;

pub(crate) type Job<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A pool, and what is done with it and beside it.
pub(crate) struct Stage {
    pub(crate) chaos: Chaos,
    retrier: Retrier,
    pub(crate) table: String,
    pub(crate) fault: Fault,
}

/// Something that goes wrong.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    /// How long anything may take while it does.
    pub(crate) patience: Duration,
    strike: for<'a> fn(&'a Chaos) -> Job<'a, ()>,
}

impl Fault {
    /// One that costs time and no connection.
    const fn of_time(strike: for<'a> fn(&'a Chaos) -> Job<'a, ()>) -> Self {
        Self { patience: LIMIT, strike }
    }

    /// One that costs connections.
    const fn of_connections(strike: for<'a> fn(&'a Chaos) -> Job<'a, ()>) -> Self {
        Self { patience: SHORT, strike }
    }

    pub(crate) fn is_gentle(self) -> bool {
        self.patience == LIMIT
    }

    fn hurry(self, config: &mut PostgresConfig) {
        impatient(config);
        let pool = &mut config.pool;
        (pool.connect_timeout, pool.acquire_timeout) = (self.patience, 2 * self.patience);
        (pool.reset_timeout, pool.close_timeout, pool.health_check_timeout) =
            (self.patience, self.patience, self.patience);
    }
}

/// One of the futures, by its name; whether it has ended before it was dropped.
pub(crate) type Case = (&'static str, for<'a> fn(&'a Stage, Cut) -> Job<'a, bool>);

impl Stage {
    async fn start(fault: Fault) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let chaos = Chaos::with(MOST, |config| fault.hurry(config)).await;
        let table = format!("dropped_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        chaos.watch.run(&format!("CREATE TABLE {table} (n int); GRANT ALL ON {table} TO chaos")).await;
        let mut policy = RetryPolicy::default();
        (policy.attempts, policy.pause_initial, policy.pause_max) = (2, SHORT / 60, SHORT / 30);
        policy.deadline = 4 * fault.patience;
        let retrier = chaos.pool.retrying(policy).unwrap();
        Self { chaos, retrier, table, fault }
    }

    pub(crate) async fn strike(&self) {
        (self.fault.strike)(&self.chaos).await;
    }

    /// The settings of whoever connects beside the pool, in the same way.
    fn beside(&self) -> PostgresConfig {
        let mut config = settings(self.chaos.proxy.address().port(), &self.name_beside(), MOST);
        self.fault.hurry(&mut config);
        config
    }

    fn name_beside(&self) -> String {
        format!("beside {}", self.table)
    }

    fn driver(&self) -> PostgresDriver {
        PostgresDriver::new(self.beside()).unwrap()
    }

    /// Two rows in one statement, and so none or both.
    pub(crate) fn insert(&self) -> String {
        format!("INSERT INTO {} VALUES (1), (-1)", self.table)
    }

    async fn rows(&self) -> i64 {
        let counting = format!("SELECT count(*) FROM {}", self.table);
        self.chaos.watch.client().query_one(&counting, &[]).await.unwrap().get(0)
    }

    /// Nothing of a future is left, neither of one that has ended nor of one that was dropped.
    async fn look(&self) {
        self.chaos.heal().await;
        drop(everything_can_be_had(&self.chaos).await);
        assert_eq!(self.rows().await % 2, 0, "all of it or nothing");
        let counting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
        let name = self.name_beside();
        let none = async || {
            let row = self.chaos.watch.client().query_one(counting, &[&name]).await.unwrap();
            row.get::<_, i64>(0) == 0
        };
        eventually("no session is left beside the pool", none).await;
    }
}

/// Other futures that this crate has of its own.
const OTHERS: [Case; 8] = [
    ("close_within", |stage, cut| {
        Box::pin(async move {
            let servers = PostgresServers::new(stage.beside()).unwrap();
            let [primary, any] = [servers.primary(), servers.prefer_replica()].map(|pool| pool.acquire_timeout(LIMIT));
            drop((primary.await.unwrap(), any.await.unwrap()));
            stage.strike().await;
            let ended = cut.apply(servers.close_within(stage.fault.patience)).await.is_some();
            in_time("they are closed", servers.disconnect()).await;
            assert!(servers.pools().all(|(_, pool)| pool.stats().opened == pool.stats().closed));
            ended
        })
    }),
    ("connect", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            cut.apply(PostgresPool::connect(stage.beside())).await.is_some()
        })
    }),
    ("disconnect", |stage, cut| {
        Box::pin(async move {
            let pool = PostgresPool::connect_lazy(stage.beside()).unwrap();
            let idle = pool.acquire().await;
            let leased = pool.acquire_owned().await;
            drop((idle, leased));
            stage.strike().await;
            let ended = cut.apply(pool.disconnect()).await.is_some();
            // What nobody waited for has happened all the same, once it had begun.
            in_time("it is closed", pool.disconnect()).await;
            assert_eq!(pool.stats().opened, pool.stats().closed);
            ended
        })
    }),
    ("health", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            cut.apply(stage.chaos.pool.health()).await.is_some()
        })
    }),
    ("idempotent", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let insert = stage.insert();
            let work = async |lease: Arc<PostgresOwnedLease>| lease.execute(&insert, &[]).await;
            cut.apply(stage.retrier.idempotent(work)).await.is_some()
        })
    }),
    ("once", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let insert = stage.insert();
            let work = async |lease: Arc<PostgresOwnedLease>| lease.execute(&insert, &[]).await;
            cut.apply(stage.retrier.once(work)).await.is_some()
        })
    }),
    ("transaction", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let insert = stage.insert();
            let work = async |lease: Arc<PostgresOwnedLease>| lease.execute(&insert, &[]).await;
            cut.apply(stage.retrier.transaction(work)).await.is_some()
        })
    }),
    ("transaction_with", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let one = format!("INSERT INTO {} VALUES (1)", stage.table);
            let work = async |lease: Arc<PostgresOwnedLease>| {
                lease.execute(&one, &[]).await?;
                lease.execute(&one, &[]).await
            };
            cut.apply(stage.retrier.transaction_with(TransactionOptions::default(), work)).await.is_some()
        })
    }),
];

/// All futures that this crate has of its own.
fn own() -> impl Iterator<Item = Case> {
    OTHERS.into_iter().chain(QUERIES).chain(TRANSACTIONS).chain(RESULTS).chain(BATCHES).chain(LISTEN).chain(MULTIPLEXED)
}

/// Those of pool-core, which come to something on a connection of this crate.
const ON_IT: [Case; 9] = [
    ("Driver::connect with credentials", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let provider = async |_| {
                tokio::task::yield_now().await;
                Ok(Credentials::new(PASSWORD))
            };
            let (driver, attempt) = (stage.driver().with_credentials(provider), Attempt::default());
            cut.apply(tokio::time::timeout(stage.fault.patience, driver.connect(&attempt))).await.is_some()
        })
    }),
    ("a query", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let asking = async {
                let lease = stage.chaos.pool.acquire().await.ok()?;
                tokio::time::timeout(stage.fault.patience, answer(&lease, 41)).await.ok()?.ok()
            };
            let ended = cut.apply(asking).await;
            assert!(ended.flatten().is_none_or(|answer| answer == 42), "the answer to its own question");
            ended.is_some()
        })
    }),
    ("check_health", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let mut health = HealthConfig::default();
            (health.timeout, health.tries) = (stage.fault.patience, 1);
            let checker = stage.chaos.pool.monitor(health).unwrap();
            cut.apply(checker.check_health()).await.is_some()
        })
    }),
    ("Driver::connect", |stage, cut| {
        Box::pin(async move {
            stage.strike().await;
            let (driver, attempt) = (stage.driver(), Attempt::default());
            cut.apply(tokio::time::timeout(stage.fault.patience, driver.connect(&attempt))).await.is_some()
        })
    }),
    ("Driver::reset", |stage, cut| {
        Box::pin(async move {
            let driver = stage.driver();
            let mut connection = driver.connect(&Attempt::default()).await.unwrap();
            connection.batch_execute("BEGIN").await.unwrap();
            stage.strike().await;
            cut.apply(tokio::time::timeout(stage.fault.patience, driver.reset(&mut connection))).await.is_some()
        })
    }),
    ("Driver::ping", |stage, cut| {
        Box::pin(async move {
            let driver = stage.driver();
            let mut connection = driver.connect(&Attempt::default()).await.unwrap();
            stage.strike().await;
            cut.apply(tokio::time::timeout(stage.fault.patience, driver.ping(&mut connection))).await.is_some()
        })
    }),
    ("Driver::convert", |stage, cut| {
        Box::pin(async move {
            let (driver, tag) = (stage.driver(), Tag::new("app.tenant", "7").unwrap());
            let mut connection = driver.connect(&Attempt::default()).await.unwrap();
            stage.strike().await;
            cut.apply(tokio::time::timeout(stage.fault.patience, driver.convert(&mut connection, &tag))).await.is_some()
        })
    }),
    // Each converts the connection to another tenant.
    ("acquire_preferring", |stage, cut| {
        Box::pin(async move {
            static NEXT: AtomicU64 = AtomicU64::new(1);
            stage.strike().await;
            let tenant = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
            let preference = Preference::tag(Tag::new("app.tenant", tenant.as_str()).unwrap());
            let asking = async {
                let (lease, _) = stage.chaos.pool.acquire_preferring(&preference).await.ok()?;
                let asked = lease.query_one("SELECT current_setting('app.tenant')", &[]);
                let row = tokio::time::timeout(stage.fault.patience, asked).await.ok()?.ok()?;
                Some(row.get::<_, String>(0))
            };
            let ended = cut.apply(asking).await;
            let answered = ended.as_ref().is_none_or(|answer| answer.as_ref().is_none_or(|answer| *answer == tenant));
            assert!(answered, "{ended:?} is not {tenant}");
            ended.is_some()
        })
    }),
    ("Driver::close", |stage, cut| {
        Box::pin(async move {
            let driver = stage.driver();
            let connection = driver.connect(&Attempt::default()).await.unwrap();
            stage.strike().await;
            cut.apply(tokio::time::timeout(stage.fault.patience, driver.close(connection))).await.is_some()
        })
    }),
];

/// Drops each of the futures at each of its polls, while this goes wrong.
fn whatever_is_dropped(what: &str, fault: Fault) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let mut all = 0;
    for (name, case) in own().chain(ON_IT) {
        let stage = runtime.block_on(Stage::start(fault));
        let cases = for_each_cancellation(|cut| {
            runtime.block_on(async {
                let ended = case(&stage, cut).await;
                stage.look().await;
                ended
            })
        });
        let rows = runtime.block_on(stage.rows());
        assert!(
            rows <= 2 * i64::try_from(cases).unwrap() || name == "idempotent",
            "{name}: {rows} rows in {cases} cases"
        );
        let stats = runtime.block_on(invariants::hold(stage.chaos));
        // A connection that was being converted is closed.
        let lost = stats.missed - stats.converted;
        assert!(
            !fault.is_gentle() || (stats.broken, stats.opened) == (lost, 2 + lost),
            "{name} has cost a connection: {stats:?}"
        );
        assert!(cases >= 3, "{name} is polled: {cases}");
        all += cases;
    }
    println!("{what}: {all} cases");
    assert!(all >= 150, "{what}: only {all} cases");
}

#[test]
fn while_nothing_goes_wrong() {
    whatever_is_dropped("nothing goes wrong", Fault::of_time(|_| Box::pin(async {})));
}

#[test]
fn while_answers_are_late() {
    whatever_is_dropped(
        "answers are late",
        Fault::of_time(|chaos| {
            Box::pin(async {
                let time = Duration::from_millis(1);
                chaos.proxy.set(Direction::ToClient, Toxic::Delay { time, jitter: time, seed: 7 });
            })
        }),
    );
}

#[test]
fn while_answers_come_in_pieces() {
    whatever_is_dropped(
        "answers come in pieces",
        Fault::of_time(|chaos| {
            Box::pin(async { chaos.proxy.set(Direction::ToClient, Toxic::Slice { bytes: 16, pause: Duration::ZERO }) })
        }),
    );
}

#[test]
fn while_requests_are_swallowed() {
    whatever_is_dropped(
        "requests are swallowed",
        Fault::of_connections(|chaos| Box::pin(async { chaos.proxy.set(Direction::ToServer, Toxic::Drop) })),
    );
}

#[test]
fn while_answers_are_swallowed() {
    whatever_is_dropped(
        "answers are swallowed",
        Fault::of_connections(|chaos| Box::pin(async { chaos.proxy.set(Direction::ToClient, Toxic::Drop) })),
    );
}

#[test]
fn while_answers_are_cut_off() {
    whatever_is_dropped(
        "answers are cut off",
        Fault::of_connections(|chaos| {
            Box::pin(async { chaos.proxy.set(Direction::ToClient, Toxic::CutAfter { bytes: 7, end: End::Reset }) })
        }),
    );
}

#[test]
fn while_the_server_ends_its_side() {
    whatever_is_dropped(
        "the server ends its side",
        Fault::of_connections(|chaos| Box::pin(async { chaos.proxy.set(Direction::ToClient, Toxic::HalfClose) })),
    );
}

#[test]
fn while_nobody_is_let_in() {
    whatever_is_dropped(
        "nobody is let in",
        Fault::of_connections(|chaos| {
            Box::pin(async {
                chaos.proxy.admit(Admission::Refuse).await;
                chaos.proxy.cut_all(End::Reset).await;
            })
        }),
    );
}

#[test]
fn while_nothing_is_said() {
    whatever_is_dropped(
        "nothing is said",
        Fault::of_connections(|chaos| {
            Box::pin(async {
                chaos.proxy.admit(Admission::Silence).await;
                chaos.proxy.cut_all(End::Silence).await;
            })
        }),
    );
}

#[test]
fn while_sessions_are_ended() {
    whatever_is_dropped(
        "sessions are ended",
        Fault::of_connections(|chaos| {
            Box::pin(async {
                // Those beside the pool, too.
                let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'chaos' AND client_port = ANY($1)";
                let ports: Vec<i32> = chaos.proxy.seen().ports().into_iter().map(i32::from).collect();
                chaos.watch.client().query(all, &[&ports]).await.unwrap();
            })
        }),
    );
}

/// The names of the functions in a text that give a future to whoever calls them.
fn futures(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("pub ").filter_map(|(at, word)| {
        let head = text[at + word.len()..].split('{').next()?;
        let plain = head.strip_prefix("fn ").filter(|head| head.contains("-> impl Future<"));
        head.strip_prefix("async fn ").or(plain)?.split(['(', '<']).next()
    })
}

#[test]
fn no_future_is_missing() {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                found.extend(futures(&fs::read_to_string(path).unwrap()).map(str::to_owned));
            }
        }
    }
    assert_eq!(found, own().map(|(name, _)| name.to_owned()).collect());
}
