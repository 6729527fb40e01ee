//! F136, F136a, F136b: a standby takes over from its primary.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pool_core::ObserveConfig;
use pool_postgres::{Host, PostgresConfig, PostgresPool, PostgresServers, ServerRole};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::proxy::Proxy;
use tokio::task::{JoinSet, spawn_blocking};

use crate::asking::{eventually, in_time};
use crate::common::Chaos;
use crate::invariants;
use crate::users::settings;
use crate::watch::Watch;

const SIZE: usize = 6;
const WRITERS: usize = 6;
const READERS: usize = 4;

const WHERE: &str = "SELECT inet_server_port()";
const WRITE: &str = "INSERT INTO written VALUES (inet_server_port()) RETURNING port";
const READ: &str = "SELECT inet_server_port() FROM (SELECT count(*) FROM written) AS all_of_it";

/// A primary, the standby that will take over, and other standbys. All have a table to write to.
struct Stage {
    old: EphemeralPostgres,
    new: EphemeralPostgres,
    others: Vec<EphemeralPostgres>,
    /// In front of the standby that will take over.
    proxy: Proxy,
    /// What the pools call their sessions.
    name: String,
    servers: PostgresServers,
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(call).await.unwrap()
}

impl Stage {
    async fn set(others: usize, change: impl FnOnce(&mut PostgresConfig)) -> Self {
        let hba = "host all postgres 127.0.0.1/32 trust\nhost replication postgres 127.0.0.1/32 trust\n".to_owned()
            + "host all all 127.0.0.1/32 scram-sha-256\n";
        let mut old = blocking(move || EphemeralPostgres::builder().replicated().hba(&hba).start().unwrap()).await;
        let watch = Watch::start(&old.url()).await;
        watch.run("CREATE TABLE written (port int); GRANT ALL ON written TO chaos").await;
        let name = watch.name().to_owned();
        drop(watch);
        let (old, new, others) = blocking(move || {
            let new = old.standby().unwrap();
            let others: Vec<_> = (0..others).map(|_| old.standby().unwrap()).collect();
            (old, new, others)
        })
        .await;
        let proxy = Proxy::postgres(("127.0.0.1", new.port())).await.unwrap();
        let mut config = settings(old.port(), &name, SIZE);
        let ports = [proxy.address().port()].into_iter().chain(others.iter().map(EphemeralPostgres::port));
        config.hosts.extend(ports.map(|port| Host::new("127.0.0.1", port)));
        config.pool.connect_timeout = config.connect_timeout * 3;
        change(&mut config);
        let servers = PostgresServers::new(config).unwrap();
        Self { old, new, others, proxy, name, servers }
    }

    /// What lasts long, on a thread that may wait.
    async fn direct(self, act: impl FnOnce(&mut Self) + Send + 'static) -> Self {
        let mut stage = self;
        blocking(move || {
            act(&mut stage);
            stage
        })
        .await
    }

    /// The pool of a role, watched on the server that has taken over; those of the other roles are closed. And what has to stay while it is.
    async fn watched(self, role: ServerRole) -> (Chaos, impl Sized) {
        let Self { old, new, others, proxy, name, servers } = self;
        for (other, pool) in servers.pools() {
            if other != role {
                pool.disconnect().await;
            }
        }
        let watch = Watch::on(&new.url(), name).await;
        watch.begin(&proxy, SIZE);
        let pool = servers.pool(role).clone();
        (Chaos { pool, proxy, watch, said: vec![format!("{servers:?}")] }, (old, new, others, servers))
    }
}

/// The port of the server that a pool leads to, where something is done.
async fn port(pool: &PostgresPool, statement: &str) -> Result<u16, String> {
    let lease = pool.acquire().await.map_err(|error| error.to_string())?;
    let row = lease.query_one(statement, &[]).await.map_err(|error| error.to_string())?;
    Ok(u16::try_from(row.get::<_, i32>(0)).unwrap())
}

/// Whether so many connections of a pool lead there.
async fn all_lead_to(pool: &PostgresPool, number: usize, port: u16) -> bool {
    let mut leases = Vec::new();
    for _ in 0..number {
        leases.push(pool.acquire().await.expect("a connection"));
    }
    for lease in &leases {
        let row = in_time("an answer", lease.query_one(WHERE, &[])).await;
        if row.map(|row| row.get::<_, i32>(0)).ok() != Some(i32::from(port)) {
            return false;
        }
    }
    true
}

/// What was done by somebody who does it again and again.
struct Done {
    at: Instant,
    outcome: Result<u16, String>,
}

/// Users of a pool, who do the same again and again.
struct Crowd(JoinSet<Vec<Done>>);

impl Crowd {
    fn start(pool: &PostgresPool, statement: &'static str, number: usize, over: &Arc<AtomicBool>) -> Self {
        let one = |pool: PostgresPool, over: Arc<AtomicBool>| async move {
            let mut all = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let outcome = port(&pool, statement).await;
                all.push(Done { at: Instant::now(), outcome });
            }
            all
        };
        Self((0..number).map(|_| one(pool.clone(), Arc::clone(over))).collect())
    }

    async fn done(self) -> Vec<Done> {
        self.0.join_all().await.into_iter().flatten().collect()
    }
}

/// For how long writers may see errors after the promotion. A machine that is busy with other tests is given time; `.ci/long` allows 2 s.
fn allowed() -> Duration {
    let seconds = std::env::var("POOL_FAILOVER_SECONDS").map(|seconds| seconds.parse().expect("a number of seconds"));
    Duration::from_secs(seconds.unwrap_or(20))
}

/// When what has happened; all but the first since then.
struct Times {
    killed: Instant,
    promoted: Duration,
    followed: Duration,
}

impl Times {
    /// What those who write have seen of it.
    fn judge(&self, writes: &[Done], old: u16) {
        let Self { killed, promoted, followed } = *self;
        let failed: Vec<_> = writes.iter().filter(|done| done.outcome.is_err()).collect();
        let last = failed.iter().map(|done| done.at.saturating_duration_since(killed)).max().unwrap_or_default();
        println!(
            "promoted {promoted:?} after the kill, written to after {followed:?}; {} of {} writes failed, the last {last:?} after the kill",
            failed.len(),
            writes.len()
        );
        let limit = promoted + allowed();
        assert!(last < limit && followed < limit, "errors for {last:?}, written to after {followed:?}");
        let late = |done: &&Done| done.at > killed + promoted && done.outcome == Ok(old);
        assert_eq!(writes.iter().filter(late).count(), 0, "nothing is written to the old one");
    }
}

/// With the pauses and the breaker that a pool has unless it is told otherwise.
fn usual(config: &mut PostgresConfig) {
    let (usual, pool) = (pool_core::Config::default(), &mut config.pool);
    (pool.backoff_initial, pool.backoff_max) = (usual.backoff_initial, usual.backoff_max);
    (pool.breaker_failures, pool.breaker_after) = (usual.breaker_failures, usual.breaker_after);
}

#[tokio::test(flavor = "multi_thread")]
async fn f136_a_primary_is_killed_under_load_and_a_standby_takes_over() {
    let stage = Stage::set(1, usual).await;
    let [old, new, other] = [stage.old.port(), stage.new.port(), stage.others[0].port()];
    let servers = stage.servers.clone();
    let over = Arc::new(AtomicBool::new(false));
    let to_primary = Crowd::start(servers.primary(), WRITE, WRITERS, &over);
    let to_replicas = Crowd::start(servers.replica(), READ, READERS, &over);
    let to_any = Crowd::start(servers.prefer_replica(), READ, READERS, &over);
    for (role, pool) in servers.pools() {
        eventually(&format!("they are at work: {role}"), async || pool.stats().execution.count > 50).await;
    }

    let killed = Instant::now();
    let stage = stage.direct(|stage| stage.old.kill9().and_then(|()| stage.new.promote()).unwrap()).await;
    let promoted = killed.elapsed();
    let written_to = async || while port(servers.primary(), WRITE).await != Ok(new) {};
    in_time("the new one is written to", written_to()).await;
    let followed = killed.elapsed();
    for pool in [servers.replica(), servers.prefer_replica()] {
        eventually("it has left the replicas", async || all_lead_to(pool, SIZE, other).await).await;
    }
    // The old one comes back as a standby.
    let stage = stage.direct(|stage| stage.old.follow(&stage.new).and_then(|()| stage.old.restart()).unwrap()).await;
    servers.primary().retire_all();
    in_time("it is written to", written_to()).await;
    over.store(true, Ordering::Relaxed);

    let times = Times { killed, promoted, followed };
    times.judge(&to_primary.done().await, old);
    let reads: Vec<_> = to_replicas.done().await.into_iter().chain(to_any.done().await).collect();
    println!("{} reads", reads.len());
    let error = reads.iter().find_map(|done| done.outcome.as_ref().err());
    assert_eq!(error, None, "no reader sees an error");
    let (chaos, _kept) = stage.watched(ServerRole::Primary).await;
    invariants::hold(chaos).await;
}

/// Its machine is lost: the sessions stay open, and say nothing.
#[tokio::test(flavor = "multi_thread")]
async fn f136_connections_to_a_primary_that_says_nothing_are_retired_when_there_is_another_one() {
    let soon = |config: &mut PostgresConfig| {
        config.connect_timeout = Duration::from_secs(2);
        config.pool.close_timeout = Duration::from_millis(100);
    };
    let mut stage = Stage::set(0, soon).await;
    let servers = stage.servers.clone();
    let mut leases = Vec::new();
    for _ in 0..3 {
        leases.push(servers.primary().acquire().await.unwrap());
    }
    stage.old.pause().unwrap();
    let mut stage = stage.direct(|stage| stage.new.promote().unwrap()).await;
    assert_eq!(port(servers.primary(), WHERE).await, Ok(stage.new.port()));
    drop(leases);
    assert!(all_lead_to(servers.primary(), 3, stage.new.port()).await);
    stage.old.resume().unwrap();
    let (chaos, _kept) = stage.watched(ServerRole::Primary).await;
    invariants::hold(chaos).await;
}

/// Nobody writes to it, and nobody is told.
#[tokio::test(flavor = "multi_thread")]
async fn f136a_a_standby_that_is_promoted_leaves_the_replicas() {
    let stage = Stage::set(0, |_| {}).await;
    let servers = stage.servers.clone();
    let replicas = servers.replica();
    let observer = replicas.observe(ObserveConfig::default()).unwrap();
    assert!(all_lead_to(replicas, 3, stage.new.port()).await);
    eventually("they are idle", async || replicas.state().idle == 3).await;
    let stage = stage.direct(|stage| stage.new.promote().unwrap()).await;
    assert_eq!(port(replicas, WHERE).await, Ok(stage.new.port()), "they go on to work");
    eventually("all are closed", async || replicas.stats().closed == 3).await;
    let retired: Vec<_> = observer
        .snapshot()
        .journal
        .iter()
        .filter(|entry| entry.message.contains("retired"))
        .map(|entry| entry.kind)
        .collect();
    assert_eq!(retired, ["driver"], "no operator has done that");
    drop(observer);
    let (chaos, _kept) = stage.watched(ServerRole::Replica).await;
    let stats = invariants::close(chaos).await;
    assert_eq!(stats.opened, 3, "there is no standby any more");
}

/// Nothing keeps it from being written to, but that the new one is there.
#[tokio::test(flavor = "multi_thread")]
async fn f136b_an_old_primary_that_comes_back_as_it_was_is_left_alone_while_the_new_one_is_there() {
    let stage = Stage::set(0, |_| {}).await;
    let servers = stage.servers.clone();
    let (primary, old, new) = (servers.primary(), stage.old.port(), stage.new.port());
    let over = Arc::new(AtomicBool::new(false));
    let writers = Crowd::start(primary, WRITE, WRITERS, &over);
    eventually("they are at work", async || primary.stats().execution.count > 50).await;
    let stage = stage.direct(|stage| stage.old.kill9().and_then(|()| stage.new.promote()).unwrap()).await;
    eventually("the new one is written to", async || port(primary, WRITE).await == Ok(new)).await;
    // What was answered before the kill has been noted long ago.
    let restarted = Instant::now();
    let stage = stage.direct(|stage| stage.old.restart().unwrap()).await;
    let on_old = Watch::on(&stage.old.url(), stage.name.clone()).await;
    let rows = async || {
        let row = on_old.client().query_one("SELECT count(*) FROM written", &[]).await.expect("the server counts");
        row.get::<_, i64>(0)
    };
    let before = rows().await;
    // Whoever looks for a standby looks at both, and then it is known that the old one is there, and says that it can be written to.
    drop(servers.prefer_replica().acquire().await.unwrap());
    for _ in 0..3 {
        primary.retire_all();
        assert!(all_lead_to(primary, 3, new).await);
    }
    over.store(true, Ordering::Relaxed);
    let done = writers.done().await;
    let [to_old, to_new] =
        [old, new].map(|port| done.iter().filter(|done| done.outcome == Ok(port)).collect::<Vec<_>>());
    assert!(to_new.len() > 50 && before > 50, "{} writes since, {before} before", to_new.len());
    assert!(to_old.iter().all(|done| done.at < restarted), "nothing is written to the old one when it is back");
    assert_eq!(rows().await, before, "nothing is written to the old one");
    drop(on_old);
    let (chaos, _kept) = stage.watched(ServerRole::Primary).await;
    invariants::hold(chaos).await;
}
