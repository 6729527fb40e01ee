//! Metrics for a meter of OpenTelemetry, without a collector that scrapes them.
//!
//! [`PoolObserver::export_to`] makes an instrument of each family of [`families`](PoolObserver::families), under its own name, and with its unit and its description. Counters and gauges are
//! observable instruments. OpenTelemetry has no observable histogram: each time that a reader collects, what has been counted since then is recorded in an ordinary one, in the same buckets.
//!
//! # Stability
//!
//! The crate `opentelemetry` (here: 0.33) breaks its interface about twice a year. This module follows it and is outside of the promise of stability that the rest of this crate gives. It exports
//! the crate as [`api`], so that a service can use the same version; its SDK has to be of that version, too.
//!
//! # Example
//!
//! ```no_run
//! use pool_core::opentelemetry::{Export, api};
//!
//! fn export<D: pool_core::Driver>(observer: &pool_core::PoolObserver<D>) -> Export {
//!     // Of the provider that the service has set up.
//!     observer.export_to(&api::global::meter("alerts"))
//! }
//! ```

mod instruments;
mod spread;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ::opentelemetry::metrics::Meter;

use crate::counters::Throttle;
use crate::driver::Driver;
use crate::engine::report;
use crate::metric::{MetricFamily, MetricKind, MetricValue};
use crate::observe::PoolObserver;

pub use ::opentelemetry as api;

use instruments::Times;

/// So many times are recorded in a histogram by one collection, and up to one more for each bucket; what is beyond that is left to the next.
const MOST: u64 = 2_000_000;
/// No reading is used that is older, whatever the order is in which instruments are asked.
const FRESH: Duration = Duration::from_secs(1);
/// It is not said more often that histograms lag behind.
const QUIET: Duration = Duration::from_mins(1);

/// Metrics of a pool as they are exported to a meter, by [`PoolObserver::export_to`]. They are until this is dropped.
///
/// It keeps the pool as a clone of the [`PoolObserver`] would, and the meter keeps nothing of it: when this has been dropped, its callbacks find nothing to tell. A pool that is closed, and that this
/// still is of, is told of as before, with `pool.closed` 1.
#[must_use = "metrics are exported until this is dropped"]
pub struct Export {
    /// Nobody else has it but for a moment.
    _exporting: Arc<Exporting>,
}

impl<D: Driver> PoolObserver<D> {
    /// Has a meter of OpenTelemetry tell whatever [`families`](Self::families) does, from now on and until what is returned is dropped. Once for each meter: a second time, also after the first has
    /// ended, all that is in the histograms would be counted again. Pools on one meter are told apart by their [names](crate::ObserveConfig::name).
    ///
    /// * A collection reads the families once, for all instruments. It is the first of them to be asked that does: numbers are never from before the collection.
    /// * Each bucket of a histogram has as many as the family says. The values are chosen such that their sum is that of the family, too, if the buckets allow it; those near a bound may be off
    ///   by 1 %. The least and the greatest value, which OpenTelemetry adds to them, are as exact as the buckets.
    /// * One collection records at most 2,000,000 times for each histogram, at some 200 ns each; if more have been counted since the last one, all buckets have their part of that, the rest
    ///   comes with the next ones, and a warning says so, once a minute at most. That is enough for 200,000 acquires a second if a reader collects each 10 s, and for 33,000 at 60 s.
    /// * Histograms are recorded when another instrument of the pool is asked: views may leave out whatever they like, but not all of the others.
    /// * A family that is not there yet has its instrument after the first collection that sees it. A short-lived thread makes it, for during a collection a meter makes none.
    ///
    /// Nothing here takes a lock that anybody takes who acquires. A panic in a callback is caught and logged.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn look<D: pool_core::Driver>(observer: &pool_core::PoolObserver<D>) {
    /// let meter = pool_core::opentelemetry::api::global::meter("alerts");
    /// let export = observer.export_to(&meter);
    /// // And when the service ends:
    /// drop(export);
    /// # }
    /// ```
    pub fn export_to(&self, meter: &Meter) -> Export {
        let observer = self.clone();
        let exporting = Arc::new(Exporting {
            families: Box::new(move || observer.families()),
            meter: meter.clone(),
            began: Instant::now(),
            warnings: Throttle::new(QUIET, 1),
            state: Mutex::default(),
        });
        let wanted = exporting.locked().not_known(&self.families());
        exporting.make(wanted);
        Export { _exporting: exporting }
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export").finish_non_exhaustive()
    }
}

/// What the callbacks share. They know it weakly: a meter cannot be made to forget them.
struct Exporting {
    families: Box<dyn Fn() -> Vec<MetricFamily> + Send + Sync>,
    meter: Meter,
    began: Instant,
    warnings: Throttle,
    /// Locked by readers that collect, and not while an instrument is made: who makes one waits for collections to end.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reading: Option<Reading>,
    /// The names of the families that have an instrument, or will have one in a moment.
    known: HashSet<&'static str>,
    histograms: HashMap<&'static str, Times>,
}

/// What one collection tells.
struct Reading {
    families: Arc<Vec<MetricFamily>>,
    taken: Instant,
    /// The instrument that was shown it last.
    last: Place,
}

/// Instruments are asked in the order in which they were made.
type Place = usize;

/// A family that is to have an instrument.
struct Wanted {
    place: Place,
    family: MetricFamily,
}

impl State {
    /// Families without an instrument; from now on they count as having one. Of a histogram nothing can be made before there are times in it: they tell its buckets.
    fn not_known(&mut self, families: &[MetricFamily]) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for family in families.iter().filter(|family| can_be_made(family)) {
            let place = self.known.len();
            if self.known.insert(family.name) {
                wanted.push(Wanted { place, family: family.clone() });
            }
        }
        wanted
    }

    /// The reading that the instrument at this place has not seen yet, unless it is old. Collections ask for places in order, so the first one of a collection finds none: whoever was asked last
    /// came later, or was itself. Of several collections at the same time, each may use what another one has read since it began.
    fn unseen(&mut self, place: Place) -> Option<Arc<Vec<MetricFamily>>> {
        let reading =
            self.reading.as_mut().filter(|reading| place > reading.last && reading.taken.elapsed() < FRESH)?;
        reading.last = place;
        Some(Arc::clone(&reading.families))
    }
}

fn can_be_made(family: &MetricFamily) -> bool {
    let has_times = || family.samples.iter().any(|sample| matches!(sample.value, MetricValue::Histogram(_)));
    family.kind != MetricKind::Histogram || has_times()
}

impl Exporting {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the instrument at this place is to tell.
    fn reading(self: &Arc<Self>, place: Place) -> Arc<Vec<MetricFamily>> {
        let mut state = self.locked();
        if let Some(families) = state.unseen(place) {
            return families;
        }
        let families = Arc::new((self.families)());
        self.record(&mut state, &families);
        state.reading = Some(Reading { families: Arc::clone(&families), taken: Instant::now(), last: place });
        let wanted = state.not_known(&families);
        if !wanted.is_empty() {
            self.make_later(&mut state, wanted);
        }
        families
    }

    /// Has the histograms follow.
    fn record(&self, state: &mut State, families: &[MetricFamily]) {
        for family in families {
            let Some(times) = state.histograms.get_mut(family.name) else { continue };
            let behind = times.record(family, MOST);
            if behind > 0 {
                self.warn(family.name, behind);
            }
        }
    }

    fn warn(&self, metric: &str, behind: u64) {
        let Some(left_out) = self.warnings.ask(self.began.elapsed()) else { return };
        report(|| {
            let suppressed = left_out;
            tracing::warn!(metric, behind, suppressed, "a histogram lags behind: more is counted than is collected");
        });
    }

    /// A meter makes no instrument while it is collected from.
    fn make_later(self: &Arc<Self>, state: &mut State, wanted: Vec<Wanted>) {
        let names: Vec<_> = wanted.iter().map(|wanted| wanted.family.name).collect();
        let exporting = Arc::downgrade(self);
        let make = move || {
            if let Some(exporting) = exporting.upgrade() {
                exporting.make(wanted);
            }
        };
        let begun = thread::Builder::new().name("pool-metrics".to_owned()).spawn(make);
        if begun.is_err() {
            // The next collection tries again.
            state.known.retain(|name| !names.contains(name));
        }
    }
}
