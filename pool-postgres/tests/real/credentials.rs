//! Providers of credentials, against a server that checks them.

use std::error::Error;
use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pool_core::{AcquireError, ErrorClass, MetricValue, ObserveConfig, OpenFailure};
use pool_postgres::{
    ConnectError, ConnectStep, Credentials, CredentialsError, CredentialsFailure, CredentialsProvider,
    CredentialsRequest, PostgresConfig, PostgresPool,
};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::{MARK, literal};
use tokio::sync::Mutex;

use crate::common::{config, eventually};

/// A server that asks `app` for its password, and a pool of its administrator.
async fn strict() -> (EphemeralPostgres, PostgresPool) {
    let hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    let server = EphemeralPostgres::builder().hba(hba).start().unwrap();
    let admin = PostgresPool::connect(config(&server.url(), 1)).await.unwrap();
    let password = literal("s3cr3t of nobody");
    let role = format!("SET password_encryption = 'scram-sha-256'; CREATE ROLE app LOGIN PASSWORD {password}");
    admin.acquire().await.unwrap().batch_execute(&role).await.unwrap();
    (server, admin)
}

fn as_app(server: &EphemeralPostgres, max_size: usize) -> PostgresConfig {
    let mut config = config(&server.url(), max_size);
    config.user = Some("app".to_owned());
    config
}

fn pool(config: PostgresConfig, provider: impl CredentialsProvider) -> PostgresPool {
    PostgresPool::from(PostgresPool::builder_with_credentials(config, provider).unwrap().build().unwrap())
}

/// Knows the password of the server; while that is changed it lets those wait who ask.
#[derive(Default)]
struct Vault {
    password: Mutex<String>,
    calls: AtomicU64,
}

impl Vault {
    /// Changes the password, and waits until somebody has asked for it.
    async fn rotate(&self, admin: &PostgresPool, password: &str) {
        let mut known = self.password.lock().await;
        let before = self.calls.load(Ordering::Relaxed);
        let change = format!("ALTER ROLE app PASSWORD {}", literal(password));
        admin.acquire().await.unwrap().batch_execute(&change).await.unwrap();
        password.clone_into(&mut known);
        drop(known);
        eventually("it is asked for", async || self.calls.load(Ordering::Relaxed) > before).await;
    }
}

#[derive(Clone)]
struct Ask(Arc<Vault>);

impl CredentialsProvider for Ask {
    async fn credentials(&self, request: CredentialsRequest) -> Result<Credentials, CredentialsError> {
        assert_eq!((request.user.as_str(), request.database.as_str()), ("app", "postgres"));
        let known = self.0.password.lock().await;
        // Counted while it is not changed: whoever is counted after a change has what it was changed to.
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        Ok(Credentials::new(known.clone()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_under_load_and_no_acquire_fails() {
    const ROTATIONS: u64 = 10;
    let (server, admin) = strict().await;
    let vault = Arc::new(Vault::default());
    let mut config = as_app(&server, 8);
    // Each session is soon replaced by another one, which logs in.
    config.pool.max_uses = Some(3);
    let pool = pool(config, Ask(Arc::clone(&vault)));
    let (count, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let first = async {
        vault.rotate(&admin, "s3cr3t 0").await;
    };
    let ((), lease) = tokio::join!(first, pool.acquire());
    drop(lease.unwrap());
    let users: Vec<_> = (0..16)
        .map(|_| {
            let (pool, count, over) = (pool.clone(), Arc::clone(&count), Arc::clone(&over));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let lease = pool.acquire().await.expect("no acquire fails");
                    lease.query_one("SELECT 1", &[]).await.expect("nor does a query");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for number in 1..=ROTATIONS {
        vault.rotate(&admin, &format!("s3cr3t {number}")).await;
        let before = count.load(Ordering::Relaxed);
        eventually("they are served", async || count.load(Ordering::Relaxed) > before + 100).await;
    }
    over.store(true, Ordering::Relaxed);
    for user in users {
        user.await.unwrap();
    }
    let (stats, calls) = (pool.stats(), vault.calls.load(Ordering::Relaxed));
    println!("{ROTATIONS} rotations, {} served, {} opened, {calls} calls", count.load(Ordering::Relaxed), stats.opened);
    assert_eq!(stats.open_failures, 0, "{stats:?}");
    assert!((ROTATIONS + 1..=2 * ROTATIONS + 2).contains(&calls), "{calls} calls for {} sessions", stats.opened);
    let shown = format!("{pool:?} {:?} {stats:?}", pool.driver());
    assert!(!shown.contains(MARK), "{shown}");
}

#[tokio::test]
async fn whoever_is_refused_asks_once_more_and_gives_up_then() {
    let (server, _admin) = strict().await;
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let mut config = as_app(&server, 1);
    // It may pass meanwhile, and another attempt would be made.
    config.pool.backoff_initial = Duration::from_secs(2);
    let pool = pool(config, move |_| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move { Ok(Credentials::new(format!("s3cr3t swordfish {number}"))) }
    });
    let error = pool.acquire().await.expect_err("it is wrong");
    assert!(matches!(error, AcquireError::OpenFailed { .. }), "at once: {error}");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    let text = format!("{error} {error:?}");
    assert!(text.contains("28P01") && !text.contains(MARK), "{text}");
}

/// The password is right, and nobody may log in by it: a provider may know another user by now.
#[tokio::test]
async fn a_user_who_is_refused_is_asked_for_once_more() {
    let (server, admin) = strict().await;
    let known = literal("s3cr3t known");
    let create = format!("CREATE ROLE gone NOLOGIN PASSWORD {known}; CREATE ROLE here LOGIN PASSWORD {known}");
    admin.acquire().await.unwrap().batch_execute(&create).await.unwrap();
    let calls = AtomicU64::new(0);
    let pool = pool(as_app(&server, 1), move |_| {
        let user = ["gone", "here"][usize::try_from(calls.fetch_add(1, Ordering::Relaxed)).unwrap()];
        async move { Ok(Credentials::new("s3cr3t known").user(user)) }
    });
    let row = pool.acquire().await.unwrap().query_one("SELECT current_user::text", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), pool.stats().open_failures), ("here", 0));
}

#[tokio::test]
async fn a_provider_may_know_the_user_too() {
    let (server, admin) = strict().await;
    let create = format!("CREATE ROLE for_an_hour LOGIN PASSWORD {}", literal("s3cr3t leased"));
    admin.acquire().await.unwrap().batch_execute(&create).await.unwrap();
    let pool = pool(as_app(&server, 1), async |_| Ok(Credentials::new("s3cr3t leased").user("for_an_hour")));
    let row = pool.acquire().await.unwrap().query_one("SELECT current_user::text", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "for_an_hour");
}

/// What the driver fails with if its provider is this.
async fn failure(server: &EphemeralPostgres, provider: impl CredentialsProvider) -> AcquireError {
    let mut config = as_app(server, 1);
    (config.connect_timeout, config.pool.connect_timeout) = (Duration::from_secs(2), Duration::from_secs(2));
    config.pool.acquire_timeout = Duration::from_secs(4);
    let pool = pool(config, provider);
    let observer = pool.observe(ObserveConfig::default()).unwrap();
    let error = pool.acquire().await.expect_err("there are no credentials");
    let families = observer.families();
    let reach = families.iter().find(|family| family.name == "pool.connectivity.time").unwrap();
    assert!(reach.samples.iter().all(|sample| sample.value == MetricValue::Number(0.0)), "not asked: {reach:?}");
    error
}

fn of_driver(error: &AcquireError) -> (&ErrorClass, &ConnectError) {
    let AcquireError::Timeout { failure: Some(failure), .. } = error else { panic!("it may pass: {error:?}") };
    let OpenFailure::Driver { class, source } = &**failure else { panic!("not the driver's: {failure:?}") };
    (class, source.downcast_ref().expect("the driver's error"))
}

async fn fails<F, A>(server: &EphemeralPostgres, provider: F, said: &str) -> CredentialsFailure
where
    F: Fn(CredentialsRequest) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Credentials, CredentialsError>> + Send + 'static,
{
    let error = failure(server, provider).await;
    let (class, error) = of_driver(&error);
    assert_eq!((*class, error.step), (ErrorClass::Transient, ConnectStep::Credentials), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("asking for the credentials of 127.0.0.1:") && text.contains(said), "{text}");
    let failure: Option<&CredentialsFailure> = error.source().and_then(|source| source.downcast_ref());
    failure.expect("its failure").clone()
}

#[tokio::test]
async fn a_provider_that_fails_is_told_apart_from_a_server_that_does() {
    let (server, _admin) = strict().await;
    let (failed, late, panicked) = tokio::join!(
        fails(&server, async |_| Err("the vault is sealed".into()), "the vault is sealed"),
        fails(&server, async |_| pending().await, "took longer"),
        fails(&server, async |_| panic!("the vault is on fire"), "the vault is on fire"),
    );
    assert!(matches!(failed, CredentialsFailure::Failed(_)), "{failed:?}");
    assert!(matches!(late, CredentialsFailure::TimedOut { after } if after <= Duration::from_millis(1500)), "{late:?}");
    assert!(matches!(panicked, CredentialsFailure::Panicked { .. }), "{panicked:?}");
}

/// Has a password for the second server alone.
struct OfTheSecond {
    second: u16,
    /// Whether it never says anything of the others.
    hangs: bool,
}

impl CredentialsProvider for OfTheSecond {
    async fn credentials(&self, request: CredentialsRequest) -> Result<Credentials, CredentialsError> {
        match request.host.port == self.second {
            true => Ok(Credentials::new("s3cr3t known")),
            false if self.hangs => pending().await,
            false => Err("nobody knows that server".into()),
        }
    }

    fn differ_by_host(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_provider_that_knows_nothing_of_one_server_may_know_the_next() {
    let ((first, _one), (second, admin)) = (strict().await, strict().await);
    let change = format!("ALTER ROLE app PASSWORD {}", literal("s3cr3t known"));
    admin.acquire().await.unwrap().batch_execute(&change).await.unwrap();
    for hangs in [false, true] {
        let mut config = as_app(&first, 1);
        config.hosts.push(as_app(&second, 1).hosts[0].clone());
        config.pool.connect_timeout = Duration::from_secs(12);
        let pool = pool(config, OfTheSecond { second: second.port(), hangs });
        let row = pool.acquire().await.unwrap().query_one("SELECT inet_server_port()", &[]).await.unwrap();
        assert_eq!((row.get::<_, i32>(0), pool.stats().open_failures), (i32::from(second.port()), 0), "{hangs}");
    }
}
