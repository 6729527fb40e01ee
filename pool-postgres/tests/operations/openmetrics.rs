//! A real Prometheus asks for OpenMetrics, gets it, and reads it: of the pool and of the service.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use axum::middleware::map_response;
use axum::response::Response;
use pool_testkit::tools::Prometheus;

use crate::common::{Service, alert, post};
use crate::example::http::router;
use crate::watch::Watch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_asks_for_openmetrics_and_reads_it() {
    let (_database, service) = Service::fresh().await;
    let stored = service.post(post(&[alert("A", "2026-11-01T10:00:00Z")]).to_string()).await;
    assert_eq!(stored.0, 200);
    let kinds = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&kinds);
    let seeing = map_response(move |response: Response| {
        let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
        seen.lock().unwrap().insert((response.status().as_u16(), kind));
        async { response }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = router(Arc::clone(&service.app)).layer(seeing);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let config = format!(
        "scrape_configs: [{{ job_name: service, scrape_interval: 1s, static_configs: [{{ targets: ['{address}'] }}] }}]\n"
    );
    let starting = tokio::task::spawn_blocking(move || Prometheus::start(&config, "").unwrap());
    let queries = [
        "up == 1",
        "alert_history_alerts_stored_total == 1",
        "http_server_request_duration_seconds_count",
        "pool_postgres_queries_total > 0",
    ];
    let watch = Watch::start(starting.await.unwrap(), queries.map(str::to_owned).into());
    watch.until("it has read all of it", |seen| seen.unanswered.is_empty()).await;
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8".to_owned();
    assert_eq!(*kinds.lock().unwrap(), BTreeSet::from([(200, openmetrics)]));
}
