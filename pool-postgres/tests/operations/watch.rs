//! Somebody who looks at a Prometheus all the time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pool_testkit::tools::Prometheus;
use serde_json::Value;
use tokio::sync::watch;

/// What has been seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// Alerts that fire now.
    pub(crate) firing: BTreeSet<String>,
    /// Alerts that have fired.
    pub(crate) fired: BTreeSet<String>,
    /// Queries that have not been answered with a number yet.
    pub(crate) unanswered: BTreeSet<String>,
}

/// A thread that asks for what fires, and asks queries until each has been answered with a number.
pub(crate) struct Watch {
    prometheus: Arc<Prometheus>,
    seen: watch::Receiver<Seen>,
}

impl Watch {
    pub(crate) fn start(prometheus: Prometheus, queries: BTreeSet<String>) -> Self {
        let prometheus = Arc::new(prometheus);
        let (sender, seen) = watch::channel(Seen { unanswered: queries, ..Seen::default() });
        let asked = Arc::clone(&prometheus);
        std::thread::spawn(move || {
            while !sender.is_closed() {
                let firing: BTreeSet<String> = asked.firing().unwrap().into_iter().collect();
                let mut unanswered = sender.borrow().unanswered.clone();
                unanswered.retain(|query| !has_number(&asked.query(query).unwrap()));
                sender.send_modify(|seen| {
                    seen.fired.extend(firing.iter().cloned());
                    (seen.firing, seen.unanswered) = (firing, unanswered);
                });
                // From one scrape to the next there is nothing new.
                std::thread::park_timeout(Duration::from_millis(250));
            }
        });
        Self { prometheus, seen }
    }

    /// Waits until it holds.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.clone();
        let waiting = tokio::time::timeout(Duration::from_mins(2), seen.wait_for(holds));
        let held = matches!(waiting.await, Ok(Ok(_)));
        assert!(held, "never: {what}; seen: {:?}\n{}", *self.seen.borrow(), self.prometheus.log());
    }

    /// Waits until all of these have fired.
    pub(crate) async fn fires(&self, alerts: &[&str]) {
        self.until(&format!("{alerts:?} fire"), |seen| alerts.iter().all(|alert| seen.fired.contains(*alert))).await;
    }

    /// Waits until none of these fires.
    pub(crate) async fn resolves(&self, alerts: &[&str]) {
        self.until(&format!("{alerts:?} resolve"), |seen| !alerts.iter().any(|alert| seen.firing.contains(*alert)))
            .await;
    }
}

/// Whether any of the samples in an answer is a number.
fn has_number(answer: &Value) -> bool {
    let samples = answer.as_array().into_iter().flatten();
    samples.filter_map(|sample| sample["value"][1].as_str()).any(|value| value != "NaN")
}
