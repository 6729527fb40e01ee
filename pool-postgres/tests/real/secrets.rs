//! A password is in nothing that the pool says, whatever happens to it.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pool_core::HealthConfig;
use pool_postgres::retry::{RetryError, RetryPolicy};
use pool_postgres::{Password, PostgresConfig, PostgresPool, SslMode};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::literal;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::common::{config, eventually};

/// What is looked for. It needs no escapes, in no notation.
const CANARY: &str = "s3cr3tcanary5550199";
const SHORT: Duration = Duration::from_millis(300);
/// What it takes to connect, however busy the machine is.
const LONG: Duration = Duration::from_secs(4);

/// Everything that was said: logged, or shown by something.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Said {
    /// Listens to everything that is logged by this thread, at all levels, until what it gives is dropped.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish()
            .set_default()
    }

    fn show(&self, what: &impl Debug) {
        write!(self.clone(), "{what:?}\n{what:#?}\n").unwrap();
    }

    /// An error, and all that is below it.
    fn blame(&self, error: &(dyn StdError + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            write!(self.clone(), "{error}\n{error:#}\n{error:?}\n{error:#?}\n").unwrap();
            next = error.source();
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Fails if the password is among it, and if one of these is not: so it is known that it would have been heard.
    fn assert_no_secret(&self, said: &[&str]) {
        let text = self.text();
        let told: Vec<_> = text.lines().filter(|line| line.contains("canary")).collect();
        assert!(told.is_empty(), "{told:#?}");
        for word in said {
            assert!(text.contains(word), "nothing says {word:?}:\n{text}");
        }
    }
}

/// A server that asks for the password, and settings that know it.
async fn server() -> (EphemeralPostgres, PostgresConfig) {
    let hba = "host all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
    let server = EphemeralPostgres::builder().hba(hba).start().unwrap();
    let admin = PostgresPool::connect(config(&server.url(), 1)).await.unwrap();
    let create = format!("CREATE ROLE ann LOGIN SUPERUSER PASSWORD {}", literal(CANARY));
    admin.acquire().await.unwrap().batch_execute(&create).await.unwrap();
    admin.disconnect().await;
    let mut config = config(&server.url(), 2);
    (config.user, config.password) = (Some("ann".to_owned()), Some(Password::from(CANARY)));
    (config.pool.acquire_timeout, config.pool.connect_timeout) = (LONG, LONG);
    (server, config)
}

/// Everything that there is to be seen of a pool.
fn look_at(said: &Said, pool: &PostgresPool) {
    said.show(pool);
    said.show(pool.driver());
    said.show(&pool.config());
    said.show(&pool.stats());
    said.show(&*pool.breaker().borrow());
    let state = pool.state();
    writeln!(said.clone(), "{state}").unwrap();
}

#[tokio::test]
async fn p9_no_password_is_told_by_a_pool_that_works_and_whose_users_make_mistakes() {
    let (_server, config) = server().await;
    let said = Said::default();
    let listening = said.listen();
    said.show(&config);
    said.show(&config.password);
    let pool = PostgresPool::connect(config).await.unwrap();
    let checker = pool.monitor(HealthConfig::default()).unwrap();
    said.show(&checker.check_health().await);
    let retrier = pool.retrying(RetryPolicy::default()).unwrap();
    let one = retrier.idempotent(async |lease| lease.query_one("SELECT 1", &[]).await).await.unwrap();
    said.show(&one);
    let failed: RetryError = retrier.once(async |lease| lease.batch_execute("SELECT 1/0").await).await.unwrap_err();
    said.blame(&failed);
    let lease = pool.acquire().await.unwrap();
    said.show(&lease);
    said.show(&*lease);
    said.blame(&lease.batch_execute("nonsense").await.unwrap_err());
    said.blame(&pool.try_acquire().map(drop).unwrap_err());
    said.blame(&pool.acquire_timeout(SHORT).await.map(drop).unwrap_err());
    said.blame(&lease.batch_execute("SELECT pg_terminate_backend(pg_backend_pid())").await.unwrap_err());
    said.show(&lease.ended());
    drop(lease);
    look_at(&said, &pool);
    said.show(&(retrier.clone(), retrier.stats(), retrier.budget(), checker.stats(), &checker));
    let mut wrong = (*pool.config()).clone();
    wrong.max_size = 0;
    said.blame(&pool.reconfigure(wrong).unwrap_err());
    pool.disconnect().await;
    said.blame(&pool.acquire().await.map(drop).unwrap_err());
    said.blame(&pool.health().await.unwrap_err());
    look_at(&said, &pool);
    drop(listening);
    said.assert_no_secret(&["(secret)", "division by zero", "57P01", "no idle connection", "no connection within"]);
}

#[tokio::test]
async fn p9_no_password_is_told_by_a_pool_that_cannot_connect() {
    let (mut server, good) = server().await;
    let said = Said::default();
    let listening = said.listen();
    let changed = |change: fn(&mut PostgresConfig)| {
        let mut config = good.clone();
        change(&mut config);
        config
    };
    let wrong = [
        changed(|config| config.password = Some(Password::from(format!("{CANARY}x")))),
        changed(|config| config.user = Some("nobody".to_owned())),
        changed(|config| config.database = Some("nowhere".to_owned())),
        changed(|config| config.sslmode = SslMode::VerifyFull),
        changed(|config| {
            (config.sslmode, config.sslrootcert) = (SslMode::VerifyFull, Some("/nonexistent.pem".into()));
        }),
        changed(|config| config.hosts[0].name = "host.invalid".to_owned()),
        changed(|config| config.hosts[0].name = "/nonexistent".to_owned()),
        changed(|config| config.pool.max_size = 0),
    ];
    for config in wrong {
        said.blame(&PostgresPool::connect(config).await.unwrap_err());
    }
    let mut settings = good;
    (settings.pool.breaker_failures, settings.pool.breaker_after) = (Some(1), Duration::from_millis(1));
    let pool = PostgresPool::connect(settings).await.unwrap();
    let mut health = HealthConfig::default();
    (health.tries, health.timeout) = (1, SHORT);
    let checker = pool.monitor(health).unwrap();
    said.show(&checker.check_health().await);
    server.kill9().unwrap();
    eventually("the breaker opens", async || {
        if let Err(error) = pool.acquire().await.map(drop) {
            said.blame(&error);
        }
        pool.state().breaker.is_open()
    })
    .await;
    said.blame(&pool.acquire().await.map(drop).unwrap_err());
    let report = checker.check_health().await;
    said.show(&report);
    writeln!(said.clone(), "{report}").unwrap();
    said.blame(&pool.ready(SHORT).await.unwrap_err());
    let retrier = pool.retrying(RetryPolicy::default()).unwrap();
    said.blame(&retrier.idempotent(async |lease| lease.query_one("SELECT 1", &[]).await).await.unwrap_err());
    look_at(&said, &pool);
    pool.close_within(SHORT).await;
    drop(listening);
    said.assert_no_secret(&[
        "28P01",
        "3D000",
        "the breaker is open",
        "breaker has opened",
        "unhealthy",
        "host.invalid",
    ]);
}

#[test]
fn p9_no_password_is_told_about_settings_that_cannot_be_read() {
    let said = Said::default();
    let texts = [
        "postgres://ann:CANARY@host:port/db",
        "postgres://ann:CANARY@host:99999/db",
        "postgres://ann:CANARY@ho st/db",
        "postgres://ann:CANARY%zz@host/db",
        "postgres://ann:CANARY%ff@host/db",
        "postgres://ann:CANARY@host/db?nonsense=1",
        "postgres://ann:CANARY@host/db?sslmode=maybe",
        "postgres://ann:CANARY@host/db?pool_max_conns=many",
        "postgres://ann:CANARY@host/db?pool_max_conns",
        "postgres://ann:CANARY@[::1/db",
        "postgres://ann:a@CANARY@host:x/db",
        "postgres://ann:x/CANARY@host:x/db",
        "postgres://ann:/CANARY@host/db",
        "postgres://ann:12/CANARY@host:5432/db",
        "postgres://ann:1?dbname=CANARY@host/db",
        "postgres://ann:12?CANARY=x@host/db",
        "host=h password=one CANARY=two user=ann",
        "postgres://ann@host/db?password=CANARY&port=x",
        "postgres://ann@host/db?password=CANARY%zz",
        "postgres://ann@host/db?passwort=CANARY",
        "postgress://ann:CANARY@host/db",
        "ann:CANARY@host/db",
        "host=h port=x password=CANARY",
        "host=h password='CANARY",
        "host=h password=CANARY\\",
        "host=h password = CANARY nonsense",
        "host=h password='CANARY'x'",
        "host=h password=one CANARY",
        "password=CANARY password=CANARY pool_max_conns=0",
        "postgresql+asyncpg://ann:CANARY@host/db?ssl=require",
        "jdbc:postgresql://ann:CANARY@host/db?x=y",
        "jdbc:postgresql://host/db?user=ann&password=CANARY",
        "\"postgres://ann:CANARY@host/db?sslmode=require\"",
        "'postgres://ann:CANARY@host/db?sslmode=require'",
        "postgres:ann:CANARY@host/db?x=y",
        "postgres://host/db?user=ann&password=ab&CANARY=x",
        "postgres://ann:a@b?CANARY=x@host/db",
        "postgres://ann:a@CANARY/b@host/db",
        "host=postgres://ann:CANARY@host/db",
        "host=ann:CANARY@host",
        "host=h;port=5432;password=CANARY",
        "user=postgres://ann:CANARY@host/db",
        "sslmode=postgres://ann:CANARY@host/db",
        "sslmode= passwort=CANARY",
        "service=postgres://ann:CANARY@host/db",
        "scram_client_key=CANARY",
    ];
    let mut refused = 0;
    for text in texts {
        match text.replace("CANARY", CANARY).parse::<PostgresConfig>() {
            Ok(config) => said.show(&config),
            Err(error) => {
                refused += 1;
                said.blame(&error);
            }
        }
    }
    let variables = [("PGPASSWORD", CANARY), ("PGPORT", "many")];
    let found = |name: &str| variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).into());
    said.blame(&PostgresConfig::resolve_from("", found).unwrap_err());
    assert!(refused >= 32, "{refused} of {} are refused", texts.len());
    said.assert_no_secret(&["pool_max_conns", "sslmode = ", "port = "]);
}
