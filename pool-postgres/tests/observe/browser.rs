//! The page while a real server dies and comes back. Pictures of it are written to `target/screenshots`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pool_core::http::Status;
use pool_core::{HealthConfig, ObserveConfig};
use pool_postgres::{PostgresConfig, PostgresPool, ReleaseMode};
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::tools::Browser;
use tokio::runtime::Runtime;

use crate::common::config;

/// The longest that anything may take to be seen.
const PATIENCE: Duration = Duration::from_mins(1);

/// A pool that somebody uses, a page that shows it, and a browser that looks.
struct Watched {
    /// With threads of its own: the calls of the browser block this one.
    runtime: Runtime,
    pool: PostgresPool,
    browser: Browser,
}

impl Watched {
    fn begin(config: PostgresConfig) -> Self {
        let runtime = Runtime::new().unwrap();
        let (pool, address) = runtime.block_on(async {
            let pool = PostgresPool::connect(config).await.unwrap();
            let status = Status::new().pool(observe(&pool));
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = format!("http://{}/pool/ui", listener.local_addr().unwrap());
            tokio::spawn(async move { axum::serve(listener, status.router()).await });
            let user = pool.clone();
            tokio::spawn(async move {
                while !user.is_closed() {
                    // What comes of it is on the page.
                    let _ = user.query("SELECT 'a literal' || pg_sleep(0.01)", &[]).await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
            (pool, address)
        });
        let browser = Browser::start().unwrap();
        browser.goto(&address).unwrap();
        Self { runtime, pool, browser }
    }

    fn text(&self, id: &str) -> String {
        let text = self.browser.execute_with("return document.getElementById(arguments[0]).innerText", &[id.into()]);
        text.unwrap().as_str().unwrap_or_default().to_lowercase()
    }

    fn waits(&self, id: &str, wanted: &[&str], holds: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(&self.text(id)) {
            assert!(Instant::now() < deadline, "{id} has not {wanted:?}: {:?}", self.text(id));
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Waits until somebody has been served once more.
    fn is_used(&self) {
        let (deadline, served) = (Instant::now() + PATIENCE, || self.pool.stats().acquired);
        let before = served();
        while served() == before {
            assert!(Instant::now() < deadline, "nobody is served");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Waits until the element has all of this in it.
    fn shows(&self, id: &str, wanted: &[&str]) {
        self.waits(id, wanted, |text| wanted.iter().all(|part| text.contains(part)));
    }

    /// Waits until this is all that there is in it.
    fn says(&self, id: &str, wanted: &str) {
        self.waits(id, &[wanted], |text| text == wanted);
    }

    fn picture(&self, name: &str) {
        let folder = screenshots();
        std::fs::create_dir_all(&folder).unwrap();
        self.browser.screenshot(folder.join(format!("{name}.png"))).unwrap();
    }
}

fn screenshots() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    target.parent().unwrap_or(target).join("screenshots")
}

fn observe(pool: &PostgresPool) -> crate::stage::Observer {
    let mut checks = HealthConfig::default();
    (checks.interval, checks.retry_interval) = (Duration::from_millis(500), Duration::from_millis(500));
    let mut look = ObserveConfig::default();
    (look.name, look.interval) = ("orders".to_owned(), Duration::from_millis(500));
    pool.observe(look).unwrap().with_health(Arc::new(pool.monitor(checks).unwrap()))
}

fn settings(server: &EphemeralPostgres) -> PostgresConfig {
    let mut settings = config(&server.url(), 4);
    let pool = &mut settings.pool;
    (pool.min_size, pool.acquire_timeout) = (2, Duration::from_secs(20));
    (pool.breaker_failures, pool.breaker_after) = (Some(3), Duration::from_millis(100));
    pool.backoff_max = Duration::from_millis(500);
    settings
}

#[test]
fn the_server_dies_and_comes_back_and_the_page_shows_it() {
    let mut server = EphemeralPostgres::start().unwrap();
    let watched = Watched::begin(settings(&server));
    let address = watched.pool.driver().config().hosts[0].to_string();
    watched.says("pulse", "live");
    watched.says("verdict", "healthy");
    watched.shows("about", &["breaker closed"]);
    watched.shows("t-servers", &[&address, "primary"]);
    watched.picture("postgres-here");

    server.kill9().unwrap();
    watched.says("verdict", "unhealthy");
    watched.shows("reasons", &["the breaker is"]);
    // What it was, of which class, and why.
    watched.shows("t-journal", &["open", "transient", "connection refused"]);
    watched.shows("t-servers", &[&address, "could not be reached"]);
    watched.picture("postgres-gone");

    server.restart().unwrap();
    watched.says("verdict", "healthy");
    watched.shows("about", &["breaker closed"]);
    watched.says("pulse", "live");
    watched.is_used();
    watched.shows("t-servers", &[&address, "primary"]);
    watched.picture("postgres-back");
    let errors = watched.browser.console_errors().unwrap();
    assert!(errors.is_empty(), "{errors:?}");
    watched.runtime.block_on(watched.pool.disconnect());
    watched.shows("banner", &["has been closed"]);
}

/// Where there is something about statements: what is executed at a release, in what way that fails, and who has a connection.
#[test]
fn no_value_of_a_statement_is_on_the_page() {
    let server = EphemeralPostgres::start().unwrap();
    let mut settings = settings(&server);
    settings.pool.leak_after = Some(Duration::from_secs(1));
    let sql = "SELECT set_config('app.note', 'a literal', false); SELECT 'a literal' FROM nowhere";
    (settings.release.mode, settings.release.sql) = (ReleaseMode::Custom, Some(sql.to_owned()));
    let watched = Watched::begin(settings);
    let lease = watched.runtime.block_on(watched.pool.acquire_owned()).unwrap();
    watched.runtime.block_on(lease.batch_execute("SELECT 'a literal'")).unwrap();
    watched.shows("t-holders", &["browser.rs", "leak"]);
    watched.shows("t-journal", &["reset failed", "\"nowhere\" does not exist"]);
    let page = watched.browser.execute("return document.documentElement.outerHTML").unwrap();
    let page = page.as_str().unwrap();
    assert!(page.contains("SELECT set_config(?, ?, false); SELECT ? FROM nowhere"), "{page}");
    assert!(!page.contains("a literal"), "{page}");
    drop(lease);
    watched.runtime.block_on(watched.pool.disconnect());
}
