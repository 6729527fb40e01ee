//! A real Alertmanager delivers what amtool gives it to the service, which stores it in a real PostgreSQL.

use pool_testkit::tools::Alertmanager;
use serde_json::Value;

use crate::common::{Service, eventually};

/// What the history has of an alert, the newest first.
async fn statuses(service: &Service, name: &str) -> Vec<Value> {
    service.history(&format!("alertname={name}")).await.into_iter().map(|mut line| line["status"].take()).collect()
}

/// How many queries the pool of the service has seen answered.
async fn queries(service: &Service) -> u64 {
    let text = service.text("/metrics").await;
    let line = text
        .lines()
        .find(|line| line.starts_with("pool_postgres_queries_total") && line.contains("\"answered\""))
        .unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// An amtool that adds an alert, off the threads that serve.
async fn add(alertmanager: &std::sync::Arc<Alertmanager>, arguments: &[&str]) {
    let (alertmanager, arguments) = (alertmanager.clone(), arguments.iter().map(|one| (*one).to_owned()));
    let arguments: Vec<String> = ["alert", "add"].map(str::to_owned).into_iter().chain(arguments).collect();
    let adding = move || alertmanager.amtool(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(adding).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanager_delivers_what_fires_and_what_is_resolved() {
    let (_database, service) = Service::fresh().await;
    let before = queries(&service).await;
    let webhook = format!("http://{}/webhook", service.address);
    let starting =
        tokio::task::spawn_blocking(move || Alertmanager::builder(&webhook).group_by("alertname").start().unwrap());
    let alertmanager = std::sync::Arc::new(starting.await.unwrap());
    let about = "--annotation=summary=callers wait of orders";
    add(&alertmanager, &["PoolWaitersOld", "severity=page", about]).await;
    add(&alertmanager, &["PoolTimeouts", "severity=ticket"]).await;
    for name in ["PoolWaitersOld", "PoolTimeouts"] {
        eventually("it fires", async || statuses(&service, name).await == ["firing"]).await;
    }
    assert!(queries(&service).await > before, "what it stores by is counted by its pool");
    let line = service.history("alertname=PoolWaitersOld").await.remove(0);
    assert_eq!(line["labels"]["severity"], "page", "{line}");
    assert_eq!(line["annotations"]["summary"], "callers wait of orders", "{line}");

    // What has ended is resolved; the other one fires on.
    let started = line["startsAt"].as_str().unwrap();
    let (start, end) = (format!("--start={started}"), format!("--end={started}"));
    add(&alertmanager, &["PoolWaitersOld", "severity=page", about, &start, &end]).await;
    eventually("it is resolved", async || statuses(&service, "PoolWaitersOld").await.contains(&"resolved".into()))
        .await;
    assert!(!statuses(&service, "PoolTimeouts").await.contains(&"resolved".into()));
}
