//! Every alert fires and resolves: a real Prometheus looks at the real service, whose pool gets into all that there are alerts for. The rules are
//! those of the file, with seconds for minutes. Meanwhile every query of the dashboard has an answer.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::tools::Prometheus;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::common::eventually;
use crate::example::app::App;
use crate::example::http::router;
use crate::pack::{alerts, dashboard_queries, text};
use crate::watch::Watch;

/// What is a minute there is a second here.
fn hastened(text: &str) -> String {
    let mut text = text.replace("pool_leases_oldest_age_seconds > 300", "pool_leases_oldest_age_seconds > 5");
    for (slow, seconds) in
        [("1m", 1), ("2m", 2), ("5m", 5), ("10m", 10), ("15m", 15), ("30m", 30), ("1h", 60), ("6h", 360), ("1d", 1440)]
    {
        text = text.replace(&format!("[{slow}]"), &format!("[{seconds}s]"));
        text = text.replace(&format!("for: {slow}\n"), &format!("for: {seconds}s\n"));
    }
    let slow = |line: &str| {
        line.trim().starts_with("for: ") && !line.ends_with('s')
            || ["m]", "h]", "d]"].iter().any(|end| line.contains(end))
    };
    assert!(!text.lines().any(slow), "it is not known how to hasten all of this:\n{text}");
    text
}

/// The queries of the dashboard, as Grafana would ask them for everything.
fn queries() -> impl Iterator<Item = String> {
    dashboard_queries().into_iter().map(|query| {
        let query = hastened(&query).replace("$__rate_interval", "5s");
        ["$job", "$instance", "$pool"].iter().fold(query, |query, variable| query.replace(variable, ".+"))
    })
}

/// The service's HTTP side, which can go away as with its process: it has a runtime of its own.
struct Front {
    app: Arc<App>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Front {
    fn start(app: Arc<App>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut front = Self { app, address: listener.local_addr().unwrap(), runtime: None };
        front.serve(listener);
        front
    }

    fn serve(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let app = Arc::clone(&self.app);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router(app)).await
        });
        self.runtime = Some(runtime);
    }

    fn stop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    /// Serves again at the same address, as soon as that is free.
    async fn restart(&mut self) {
        let (address, free) = (self.address, Mutex::new(None));
        let is_free = async || free.lock().unwrap().insert(TcpListener::bind(address)).is_ok();
        eventually("its port is free", is_free).await;
        self.serve(free.into_inner().unwrap().unwrap().unwrap());
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Not dropped: that would wait, and the test's own runtime may not.
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

/// More callers than connections, again and again: each has a statement of its own and keeps the server busy for 400 ms.
fn crowd(pool: &PostgresPool) -> JoinSet<()> {
    let mut crowd = JoinSet::new();
    for caller in 0..90 {
        let pool = pool.clone();
        crowd.spawn(async move {
            for round in 0.. {
                let statement = format!("SELECT pg_sleep(0.4), {round} AS column_{caller}");
                let _ = pool.query(statement.as_str(), &[]).await;
            }
        });
    }
    let pool = pool.clone();
    crowd.spawn(async move {
        loop {
            let _ = pool.acquire_timeout(Duration::from_millis(100)).await;
        }
    });
    crowd
}

async fn prometheus(service: SocketAddr) -> Watch {
    let config = format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 500ms }}\n\
         scrape_configs: [{{ job_name: service, static_configs: [{{ targets: ['{service}'] }}] }}]\n"
    );
    let rules = hastened(&text("alerts.yml"));
    let starting = tokio::task::spawn_blocking(move || Prometheus::start(&config, &rules).unwrap());
    Watch::start(starting.await.unwrap(), queries().collect())
}

/// Leases that are reported after a second, and failures that count as soon.
fn make_impatient(pool: &PostgresPool) {
    let mut config = (*pool.config()).clone();
    (config.leak_after, config.breaker_after) = (Some(Duration::from_secs(1)), Duration::from_secs(1));
    config.health_check_interval = Some(Duration::from_secs(1));
    pool.reconfigure(config).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_fires_and_resolves_and_every_panel_has_data() {
    let mut server = EphemeralPostgres::start().unwrap();
    let app = Arc::new(App::start(&server.url(), None, Vec::new()).await.unwrap());
    let pool = app.pool.clone();
    make_impatient(&pool);
    let mut front = Front::start(app);
    let watch = prometheus(front.address).await;
    watch.until("it is scraped", |seen| !seen.unanswered.iter().any(|query| query.starts_with("pool_paused"))).await;

    front.stop();
    watch.fires(&["PoolProcessDown"]).await;
    front.restart().await;
    watch.resolves(&["PoolProcessDown"]).await;

    let kept = pool.acquire_owned_timeout(Duration::from_mins(1)).await.unwrap();
    let mut crowd = crowd(&pool);
    watch.fires(&["PoolWaitersOld", "PoolTimeouts", "PoolSaturated", "PoolWaitsLong", "PoolStatementsMissed"]).await;
    watch.fires(&["PoolLeaseLong", "PoolLeaks"]).await;
    crowd.shutdown().await;
    drop(kept);
    watch.resolves(&["PoolWaitersOld", "PoolSaturated", "PoolLeaseLong"]).await;

    server.kill9().unwrap();
    watch.fires(&["PoolCannotConnect", "PoolBreakerOpen", "PoolUnhealthy", "PoolConnectivityBurnsFast"]).await;
    server.restart().unwrap();
    watch.resolves(&["PoolCannotConnect", "PoolBreakerOpen", "PoolUnhealthy"]).await;

    pool.pause();
    watch.fires(&["PoolPaused"]).await;
    pool.resume();

    watch.until("all have fired", |seen| alerts().iter().all(|alert| seen.fired.contains(alert))).await;
    watch.until("all have resolved", |seen| seen.firing.is_empty()).await;
    // Which has figures only while somebody does.
    let _shared = pool.share().await.unwrap();
    watch.until("all panels have had data", |seen| seen.unanswered.is_empty()).await;
}
