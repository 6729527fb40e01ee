//! Many who listen at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use pool_core::http::Status;
use pool_core::{Attempt, Description, Driver, ErrorClass, ObserveConfig, Pool, SessionState};
use pool_testkit::fake::quiet;
use tokio::time::sleep;

use crate::common::SECOND;
use crate::events::{listen, next};

/// As many as may.
const LISTENERS: usize = 64;

/// Counts how often somebody looks.
struct Looked(Arc<AtomicU64>);

impl Driver for Looked {
    type Connection = ();
    type Error = std::io::Error;

    async fn connect(&self, _: &Attempt) -> Result<(), std::io::Error> {
        Ok(())
    }
    fn inspect(&self, (): &mut ()) -> SessionState {
        SessionState::Clean
    }
    fn classify(&self, _: &std::io::Error) -> ErrorClass {
        ErrorClass::Transient
    }
    fn describe(&self, _: &mut Description) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

struct Crowd {
    pool: Pool<Looked>,
    status: Status,
    looks: Arc<AtomicU64>,
    listeners: Vec<Body>,
}

impl Crowd {
    /// All of them have come within the same second, one after the other, and have got their first event.
    async fn listening() -> Self {
        let looks = Arc::<AtomicU64>::default();
        let pool = Pool::builder(Looked(Arc::clone(&looks))).config(quiet(3)).build().unwrap();
        let status = Status::new().pool(pool.observe(ObserveConfig::default()).unwrap());
        let mut listeners = Vec::new();
        for _ in 0..LISTENERS {
            let mut listener = listen(&status).await;
            next(&mut listener).await.unwrap();
            listeners.push(listener);
            sleep(Duration::from_millis(7)).await;
        }
        Self { pool, status, looks, listeners }
    }

    /// How often somebody looked while each got another event; and these.
    async fn next(&mut self) -> (u64, Vec<serde_json::Value>) {
        let before = self.looks.load(Ordering::Relaxed);
        let mut events = Vec::new();
        for listener in &mut self.listeners {
            events.push(next(listener).await.unwrap().1);
        }
        (self.looks.load(Ordering::Relaxed) - before, events)
    }
}

#[tokio::test(start_paused = true)]
async fn one_look_a_second_is_enough_for_all() {
    let mut crowd = Crowd::listening().await;
    let mut times = BTreeSet::new();
    for _ in 0..10 {
        let held = crowd.pool.acquire_owned().await.unwrap();
        let (looks, events) = crowd.next().await;
        assert_eq!(looks, 1, "looks for one event to each of {LISTENERS}");
        assert!(events.iter().all(|event| event["pools"][0] == events[0]["pools"][0]), "all see the same");
        assert_eq!(events[0]["pools"][0]["connections"]["leased"], 1);
        times.insert(events[0]["pools"][0]["at"].to_string());
        drop(held);
    }
    assert_eq!(times.len(), 10, "and each second another one");
}

/// One who was away for a while gets what the others have, with the history that he has missed.
#[tokio::test(start_paused = true)]
async fn one_who_is_slow_costs_no_look_of_his_own() {
    let mut crowd = Crowd::listening().await;
    let mut slow = crowd.listeners.pop().unwrap();
    for _ in 0..25 {
        crowd.next().await;
    }
    let before = crowd.looks.load(Ordering::Relaxed);
    let (_, event) = next(&mut slow).await.unwrap();
    assert_eq!(crowd.looks.load(Ordering::Relaxed), before);
    let missed = event["pools"][0]["history"]["at_unix_seconds"].as_array().unwrap().len();
    assert_eq!(missed, 2, "a point each ten seconds");
    crowd.listeners.push(slow);
    let (looks, events) = crowd.next().await;
    assert_eq!((looks, &events[0]["pools"][0]), (1, &events[LISTENERS - 1]["pools"][0]), "he is with the others again");
}

#[tokio::test(start_paused = true)]
async fn all_see_the_end() {
    let mut crowd = Crowd::listening().await;
    sleep(SECOND / 4).await;
    crowd.next().await;
    crowd.pool.close().await;
    let (looks, events) = crowd.next().await;
    assert!(looks <= 1 && events.iter().all(|event| event["pools"][0]["closed"] == true), "{looks}");
    for listener in &mut crowd.listeners {
        assert!(next(listener).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_shuts_down_looks_once_more() {
    let mut crowd = Crowd::listening().await;
    crowd.next().await;
    crowd.status.end_events();
    assert_eq!(crowd.next().await.0, 1);
    for listener in &mut crowd.listeners {
        assert!(next(listener).await.is_none());
    }
}
