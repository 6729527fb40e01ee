//! Metrics that are no pool's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::counters::Throttle;
use crate::engine::caught;
use crate::metric::MetricFamily;
use crate::trace::report;

type Families = dyn Fn() -> Vec<MetricFamily> + Send + Sync;

/// Whoever measures something beside the pools. Foreign code: one that panics is left out, and hides nobody else's.
#[derive(Clone)]
pub(super) struct Others {
    all: Vec<Arc<Families>>,
    began: Instant,
    warnings: Arc<Throttle>,
}

impl Default for Others {
    fn default() -> Self {
        let warnings = Arc::new(Throttle::new(Duration::from_secs(10), 1));
        Self { all: Vec::new(), began: Instant::now(), warnings }
    }
}

impl Others {
    pub(super) fn add(&mut self, families: impl Fn() -> Vec<MetricFamily> + Send + Sync + 'static) {
        self.all.push(Arc::new(families));
    }

    pub(super) fn families(&self) -> impl Iterator<Item = MetricFamily> {
        self.all.iter().flat_map(|families| caught(|| families()).unwrap_or_else(|message| self.left_out(&message)))
    }

    fn left_out(&self, message: &str) -> Vec<MetricFamily> {
        if let Some(suppressed) = self.warnings.ask(self.began.elapsed()) {
            report(|| tracing::error!(panic = message, suppressed, "the metrics of an application panicked"));
        }
        Vec::new()
    }
}
