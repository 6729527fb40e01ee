//! A batch is judged when its last answer is there, and not when it has been sent.

use std::time::Duration;

use futures_util::StreamExt;
use pool_postgres::{PostgresConfig, PostgresPool, QueryStats};
use pool_testkit::spans::{Seen, Spans};
use tracing::subscriber::set_default;

use crate::common::{config, database};

const SLEEPS: &str = "SELECT pg_sleep(0.1)";

fn promising(mut config: PostgresConfig) -> PostgresConfig {
    config.limits.sla = Some(Duration::from_millis(150));
    config.limits.slow_query = Some(Duration::from_millis(150));
    config
}

fn judged(pool: &PostgresPool) -> (u64, u64, u64) {
    let QueryStats { slow, sla_met, sla_missed, .. } = pool.driver().query_stats();
    (slow, sla_met, sla_missed)
}

fn only(spans: &Spans) -> Seen {
    let all = spans.named("db.query");
    assert_eq!(all.iter().filter(|seen| seen.field("otel.name") == "SELECT").count(), 1, "{all:#?}");
    all.into_iter().find(|seen| seen.field("otel.name") == "SELECT").unwrap()
}

#[tokio::test]
async fn a_batch_is_judged_with_its_last_answer() {
    let database = database();
    let spans = Spans::default();
    let pool = PostgresPool::connect(promising(config(database.url(), 1))).await.unwrap();
    let _listening = set_default(spans.clone());
    let mut answers = pool.batch().add(SLEEPS, &[]).add(SLEEPS, &[]).send().await.unwrap();
    assert_eq!(judged(&pool), (0, 0, 0), "nobody knows");
    assert_eq!((only(&spans).field("outcome"), only(&spans).is_closed), ("", false));
    assert!(answers.next().await.unwrap().is_ok() && answers.next().await.unwrap().is_ok());
    assert_eq!(judged(&pool), (1, 0, 1), "it took 200 ms");
    assert_eq!((only(&spans).field("outcome"), only(&spans).is_closed), ("answered", true));
    assert!(answers.next().await.is_none());
    drop(answers);
    assert_eq!(judged(&pool), (1, 0, 1), "once");
}

#[tokio::test]
async fn a_batch_that_fails_is_seen_to_and_one_that_is_dropped() {
    let database = database();
    let mut config = promising(config(database.url(), 1));
    config.limits.sla = Some(Duration::from_mins(10));
    let pool = PostgresPool::connect(config).await.unwrap();
    let spans = Spans::default();
    let listening = set_default(spans.clone());
    let failing = pool.batch().add("SELECT 1", &[]).add("SELECT 1 / (1 - count(*)) FROM (SELECT 1) x", &[]);
    failing.add("SELECT 3", &[]).execute_all().await.unwrap_err();
    let (slow, met, missed) = judged(&pool);
    assert_eq!((met, missed), (1, 0), "an error is an answer");
    let seen = only(&spans);
    let said = ["outcome", "error.type", "db.response.status_code", "otel.status_code"].map(|field| seen.field(field));
    assert_eq!(said, ["failed", "22012", "22012", "ERROR"], "not that the third was skipped: {seen:?}");
    drop(listening);
    let spans = Spans::default();
    let _listening = set_default(spans.clone());
    let mut answers = pool.batch().add(SLEEPS, &[]).add("SELECT pg_sleep(300)", &[]).one_by_one().send().await.unwrap();
    assert!(answers.next().await.unwrap().is_ok());
    assert!(tokio::time::timeout(Duration::from_millis(100), answers.next()).await.is_err());
    drop(answers);
    assert_eq!(only(&spans).field("outcome"), "dropped");
    assert_eq!(judged(&pool), (slow + 1, 1, 0), "it has taken 200 ms by then");
    let follows = || spans.named("db.cancel").pop().map(|seen| seen.follows);
    crate::common::eventually("it is cancelled", || async { follows() == Some(vec![only(&spans).id]) }).await;
}
