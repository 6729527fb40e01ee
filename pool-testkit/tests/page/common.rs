//! A pool, a server that shows it, and a browser that looks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pool_core::http::Status;
use pool_core::{Config, HealthConfig, ObserveConfig, Pool, PoolObserver};
use pool_testkit::fake::{FakeDriver, quiet};
use pool_testkit::tools::Browser;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// All of it. The runtime has threads of its own: the calls of the browser block this one.
pub(crate) struct Stage {
    pub(crate) driver: FakeDriver,
    pub(crate) pool: Pool<FakeDriver>,
    pub(crate) status: Status,
    pub(crate) browser: Browser,
    pub(crate) runtime: Runtime,
    pub(crate) address: String,
    service: Service,
}

/// The service that shows the pool, until it is told to go.
struct Service {
    serving: JoinHandle<()>,
    end: Option<oneshot::Sender<()>>,
}

/// Serves it there, as one that shuts down in order does: the streams are ended first, and then the rest is waited for.
fn serve(runtime: &Runtime, status: &Status, listener: TcpListener) -> Service {
    let (router, status) = (axum::Router::new().nest("/internal", status.router()), status.clone());
    let (end, told) = oneshot::channel();
    let serving = runtime.spawn(async move {
        let ending = async move {
            // Of a stage that is dropped, too.
            _ = told.await;
            status.end_events();
        };
        axum::serve(listener, router).with_graceful_shutdown(ending).await.unwrap();
    });
    Service { serving, end: Some(end) }
}

impl Stage {
    /// With a pool of eight connections, whose samples and checks come twice a second.
    pub(crate) fn new() -> Self {
        Self::of(settings(), |_| Vec::new())
    }

    /// With other settings, and more pools.
    pub(crate) fn of(config: Config, others: impl FnOnce(&FakeDriver) -> Vec<PoolObserver<FakeDriver>>) -> Self {
        let runtime = Runtime::new().unwrap();
        let driver = FakeDriver::new();
        let (pool, status) = runtime.block_on(async {
            let pool = Pool::builder(driver.clone()).config(config).build().unwrap();
            let checker = Arc::new(pool.monitor(checks()).unwrap());
            let status = Status::new().pool(observer(&pool, "orders").with_health(checker));
            let status = others(&driver).into_iter().fold(status, Status::pool);
            (pool, status)
        });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = format!("http://{}/internal/pool/ui", listener.local_addr().unwrap());
        let service = serve(&runtime, &status, listener);
        Self { driver, pool, status, browser: Browser::start().unwrap(), runtime, address, service }
    }

    /// The service ends, within a minute, though the page listens to it; there is nobody at its port then.
    pub(crate) fn end_service(&mut self) {
        self.service.end.take().into_iter().for_each(|end| end.send(()).unwrap());
        let serving = &mut self.service.serving;
        let ending = async { tokio::time::timeout(Duration::from_mins(1), serving).await };
        self.runtime.block_on(ending).expect("it ends, though somebody listens").unwrap();
    }

    /// Another one at the same port, which shows the same pool.
    pub(crate) fn restart_service(&mut self) {
        self.restart_service_as("orders");
    }

    /// As [`restart_service`](Self::restart_service), under that name.
    pub(crate) fn restart_service_as(&mut self, name: &str) {
        let address = self.address.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let listener = self.runtime.block_on(TcpListener::bind(address)).unwrap();
        self.status = self.runtime.block_on(async { Status::new().pool(observer(&self.pool, name)) });
        self.service = serve(&self.runtime, &self.status, listener);
    }

    pub(crate) fn open(&self) {
        self.browser.goto(&self.address).unwrap();
    }

    /// What is in the element of this name.
    pub(crate) fn text(&self, id: &str) -> String {
        let text = self.run("return document.getElementById(arguments[0]).innerText", &[id.into()]);
        text.as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn title(&self) -> String {
        self.run("return document.title", &[]).as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.browser.execute_with(script, arguments).unwrap()
    }

    /// Waits until the element shows what is wanted.
    pub(crate) fn shows(&self, id: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let text = self.text(id);
            if wanted(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "{id} shows {text:?}; the console: {:?}", self.browser.console());
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    pub(crate) fn picture(&self, name: &str) {
        let folder = screenshots();
        std::fs::create_dir_all(&folder).unwrap();
        self.browser.screenshot(folder.join(format!("{name}.png"))).unwrap();
    }

    /// No error in the console, and no request but to where the page is from.
    pub(crate) fn assert_undisturbed(&self) {
        let errors = self.browser.console_errors().unwrap();
        assert!(errors.is_empty(), "{errors:?}");
        let own = self.address.split("/internal").next().unwrap();
        let requests = self.browser.requests().unwrap();
        // What begins with `chrome:` is the page that a new window shows.
        let known = [own, "data:", "chrome:"];
        let strange: Vec<_> = requests.iter().filter(|one| !known.iter().any(|own| one.url.starts_with(own))).collect();
        assert!(strange.is_empty(), "{strange:?}");
        assert!(requests.iter().any(|one| one.url.ends_with("/internal/pool/events")), "no request for events");
    }

    /// Callers that take connections and give them back, until the pool is closed.
    pub(crate) fn load(&self, callers: usize) {
        for _ in 0..callers {
            let pool = self.pool.clone();
            self.runtime.spawn(async move {
                while !pool.is_closed() {
                    let lease = pool.acquire().await;
                    if let Ok(lease) = &lease {
                        lease.note_activity("SELECT an order");
                    }
                    // Of those who get none, too: they are told so at once when the breaker is open.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
    }
}

/// With samples twice a second.
pub(crate) fn observer(pool: &Pool<FakeDriver>, name: &str) -> PoolObserver<FakeDriver> {
    let mut config = ObserveConfig::default();
    (config.name, config.interval) = (name.to_owned(), Duration::from_millis(500));
    pool.observe(config).unwrap()
}

fn screenshots() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    target.parent().unwrap_or(&target).join("screenshots")
}

pub(crate) fn settings() -> Config {
    let mut config = quiet(8);
    (config.min_size, config.leak_after) = (2, Some(Duration::from_secs(3)));
    (config.breaker_failures, config.breaker_after) = (Some(3), Duration::from_millis(100));
    (config.acquire_timeout, config.backoff_max) = (Duration::from_secs(20), Duration::from_millis(200));
    config
}

fn checks() -> HealthConfig {
    let mut config = HealthConfig::default();
    (config.interval, config.retry_interval) = (Duration::from_millis(500), Duration::from_millis(500));
    config.leak_after = None;
    config
}
