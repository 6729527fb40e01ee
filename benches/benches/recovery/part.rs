//! What all parts come to.

use std::future::Future;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::claim::Claim;

/// How soon after a server is back everybody has been served: within a second and the longest pause between two attempts, as it is unless the pool is told otherwise.
pub(crate) fn soon() -> f64 {
    1.0 + pool_core::Config::default().backoff_max.as_secs_f64()
}

/// What came of a part: its figures for programs, and the claims about them.
pub(crate) struct Part {
    pub(crate) figures: Value,
    pub(crate) claims: Vec<Claim>,
}

impl Part {
    pub(crate) fn new(figures: &impl Serialize, claims: Vec<Claim>) -> Self {
        Self { figures: serde_json::to_value(figures).expect("names and numbers"), claims }
    }
}

/// Those who have waited for a connection, each with the moment when it was served, if it was.
pub(crate) struct Crowd(Vec<JoinHandle<Option<Instant>>>);

impl Crowd {
    pub(crate) fn of<F: Future<Output = Option<Instant>> + Send + 'static>(size: usize, one: impl Fn() -> F) -> Self {
        Self((0..size).map(|_| tokio::spawn(one())).collect())
    }

    /// How many were served, and how long after this moment the last of them was, in seconds.
    pub(crate) async fn all_served(self, since: Instant) -> (usize, f64) {
        let (mut served, mut last) = (0, Duration::ZERO);
        for one in self.0 {
            if let Some(moment) = one.await.expect("it does not panic") {
                served += 1;
                last = last.max(moment.saturating_duration_since(since));
            }
        }
        (served, last.as_secs_f64())
    }
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[allow(clippy::cast_precision_loss)] // nobody counts to 2^52 here
pub(crate) fn count(number: usize) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss)] // as above
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}
