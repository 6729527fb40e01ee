//! Files that change while a pool is open.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pool_postgres::{PostgresConfig, PostgresOwnedLease, PostgresPool};
use pool_testkit::postgres::EphemeralPostgres;

use rcgen::SerialNumber;

use crate::paper::{self, Authority, Folder, Paper};
use crate::world::NAME;

/// Everything that is logged in this process, whoever does it.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn listen() {
    pool_testkit::secrets::listen_too(|line| {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
    });
}

/// The lines in which this is said.
fn said(what: &str, about: &Folder) -> usize {
    let text = String::from_utf8_lossy(&LOG.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    let folder = about.path().display().to_string();
    text.lines().filter(|line| line.contains(what) && line.contains(&folder)).count()
}

/// A server that wants a certificate of its clients, and one of these.
struct World {
    folder: Folder,
    authority: Authority,
    server: EphemeralPostgres,
    /// Of the server's certificate.
    serial: SerialNumber,
}

impl World {
    fn start() -> Self {
        listen();
        let (folder, authority) = (Folder::new(), Authority::new("the authority"));
        let params = paper::draft(NAME);
        let Paper { certificate, key } = authority.sign(&params);
        let file = folder.share("clients.crt", &authority.certificate);
        let hba = "local all all trust\nhostssl all all 127.0.0.1/32 trust clientcert=verify-ca\nhostnossl all all 127.0.0.1/32 trust\n";
        let builder = EphemeralPostgres::builder().tls(&certificate, &key).hba(hba);
        let server = builder.setting("ssl_ca_file", &file.display().to_string()).start().unwrap();
        folder.write("root.crt", &authority.certificate);
        let world = Self { folder, authority, server, serial: params.serial_number.unwrap() };
        world.write(&world.authority.issue("client"));
        world
    }

    /// The client has this from now on.
    fn write(&self, paper: &Paper) {
        self.folder.write("client.key", &paper.key);
        self.folder.write("client.crt", &paper.certificate);
    }

    async fn pool(&self, more: &str) -> PostgresPool {
        let (port, folder) = (self.server.port(), self.folder.path().display());
        let text = format!(
            "host={NAME} port={port} user=postgres dbname=postgres sslmode=verify-full sslrootcert={folder}/root.crt \
             sslcert={folder}/client.crt sslkey={folder}/client.key pool_max_conns=4 pool_min_conns=0 {more}"
        );
        PostgresPool::connect(text.parse::<PostgresConfig>().unwrap()).await.unwrap()
    }
}

/// The number of the certificate that a session has shown.
async fn serial(lease: &PostgresOwnedLease) -> String {
    let asked = "SELECT client_serial::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    lease.query_one(asked, &[]).await.unwrap().get(0)
}

/// What the server knows of all sessions but this one.
async fn serials(lease: &PostgresOwnedLease) -> Vec<String> {
    let asked = "SELECT client_serial::text FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()";
    lease.query(asked, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Time goes by, for the pool.
pub(crate) async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// By the clock of the machine: the test's own may be moved meanwhile.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_certificate_of_the_client_that_is_exchanged_is_used_from_then_on_by_every_session() {
    let world = World::start();
    let pool = world.pool("pool_health_check_period=0 pool_max_conn_idle_time=0 pool_max_conn_lifetime=0").await;
    let (one, two) = (pool.acquire_owned().await.unwrap(), pool.acquire_owned().await.unwrap());
    let first = serial(&one).await;
    assert_eq!(serials(&one).await, vec![first.clone()]);
    // The certificate comes before its key, as it may: the pair from before stays in use.
    let next = world.authority.issue("client");
    world.folder.write("client.crt", &next.certificate);
    let three = pool.acquire_owned().await.unwrap();
    assert_eq!(serial(&three).await, first);
    assert_eq!(pool.stats().outdated, 0);
    world.folder.write("client.key", &next.key);
    let four = pool.acquire_owned().await.unwrap();
    let second = serial(&four).await;
    assert_ne!(second, first);
    assert_eq!(serials(&four).await, [first.clone(), first.clone(), first.clone()], "they stay with their users");
    drop((one, two, three));
    eventually("the pool has heard of it", async || {
        pass(Duration::from_secs(61)).await;
        pool.stats().outdated == 3
    })
    .await;
    let fresh = pool.acquire_owned().await.unwrap();
    assert_eq!(serial(&fresh).await, second);
    eventually("the others have gone", async || serials(&fresh).await == vec![second.clone()]).await;
    drop((four, fresh));
    pool.disconnect().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_those_from_before_in_use_and_a_warning() {
    let world = World::start();
    let pool = world.pool("").await;
    let good = std::fs::read_to_string(world.folder.path().join("client.crt")).unwrap();
    let lease = pool.acquire_owned().await.unwrap();
    let first = serial(&lease).await;
    let warned = || said("those from before stay in use", &world.folder);
    let wrong = [("client.crt", &good[..good.len() / 2]), ("client.crt", ""), ("root.crt", "nonsense")];
    for (count, (file, text)) in wrong.into_iter().enumerate() {
        world.folder.write(file, text);
        // Told once, however many connections are opened.
        for _ in 0..2 {
            let another = pool.acquire_owned().await.unwrap();
            assert_eq!(serial(&another).await, first);
            another.discard();
        }
        assert_eq!(warned(), count + 1, "{file}");
    }
    world.folder.write("root.crt", &world.authority.certificate);
    world.write(&world.authority.issue("client"));
    assert_ne!(serial(&pool.acquire_owned().await.unwrap()).await, first);
    drop(lease);
    pool.disconnect().await;
}

#[tokio::test]
async fn a_change_is_found_by_a_ping_where_nothing_is_opened() {
    let world = World::start();
    let pool = world.pool("pool_health_check_period=1").await;
    let first = serial(&pool.acquire_owned().await.unwrap()).await;
    world.write(&world.authority.issue("client"));
    eventually("it is found", async || said("are used from now on", &world.folder) == 1).await;
    assert_eq!(pool.stats().opened, 1);
    pool.acquire_owned().await.unwrap().discard();
    assert_ne!(serial(&pool.acquire_owned().await.unwrap()).await, first);
    pool.disconnect().await;
}

#[tokio::test]
async fn an_authority_that_changes_and_a_certificate_that_is_revoked_count_from_then_on() {
    let world = World::start();
    let list = world.folder.path().join("root.crl");
    let pool = world.pool(&format!("sslcrl={}", list.display())).await;
    pool.acquire().await.unwrap().discard();
    // Of a server that nobody knows any more.
    world.folder.write("root.crt", &Authority::new("another one").certificate);
    let refused = pool.acquire().await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("the TLS handshake"), "{refused}");
    world.folder.write("root.crt", &world.authority.certificate);
    eventually("it is known again", async || pool.acquire().await.is_ok()).await;
    pool.acquire().await.unwrap().discard();
    world.folder.write("root.crl", &world.authority.revoke(&[&world.serial], 2100));
    let refused = pool.acquire().await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("Revoked"), "{refused}");
    std::fs::remove_file(list).unwrap();
    eventually("that it is gone", async || {
        assert!(pool.acquire().await.is_err(), "it stays revoked");
        said("root.crl is gone, or empty", &world.folder) == 1
    })
    .await;
    pool.disconnect().await;
}

#[tokio::test]
async fn a_folder_that_is_emptied_lets_in_nobody_whom_its_lists_have_revoked() {
    let world = World::start();
    let lists = world.folder.path().join("lists");
    std::fs::create_dir_all(&lists).unwrap();
    let list = |from, number, serials: &[_]| world.authority.revoke_between(serials, [from, 2100], number);
    world.folder.write("lists/one", &list(2020, 1, &[]));
    let pool = world.pool(&format!("sslcrldir={} pool_acquire_timeout=10", lists.display())).await;
    pool.acquire().await.unwrap().discard();
    world.folder.write("lists/two", &list(2021, 2, &[&world.serial]));
    let fails = async || {
        let refused = pool.acquire().await.map(drop).unwrap_err().to_string();
        assert!(refused.contains("Revoked"), "{refused}");
    };
    fails().await;
    for name in ["one", "two"] {
        std::fs::remove_file(lists.join(name)).unwrap();
    }
    eventually("it is empty", async || {
        fails().await;
        said("lists is gone, or empty", &world.folder) == 1
    })
    .await;
    std::fs::remove_dir_all(&lists).unwrap();
    eventually("it is gone", async || {
        fails().await;
        said("lists is gone, or empty", &world.folder) == 2
    })
    .await;
    pool.disconnect().await;
}
