//! Instruments for families.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use ::opentelemetry::KeyValue;
use ::opentelemetry::metrics::{AsyncInstrument, AsyncInstrumentBuilder, Histogram};

use super::spread::Given;
use super::{Exporting, Place, Wanted};
use crate::engine::{caught, report};
use crate::metric::{HistogramValue, MetricFamily, MetricKind, MetricSample, MetricUnit, MetricValue};

type Labels = Vec<(&'static str, Cow<'static, str>)>;

/// A histogram that follows a family.
pub(super) struct Times {
    instrument: Histogram<f64>,
    /// For each set of labels.
    given: HashMap<Labels, Given>,
}

impl Times {
    /// Records what has come to the family, `most` times at most for each set of labels; answers how many are left.
    pub(super) fn record(&mut self, family: &MetricFamily, most: u64) -> u64 {
        let mut behind = 0;
        for sample in &family.samples {
            let MetricValue::Histogram(times) = &sample.value else { continue };
            if !self.given.contains_key(&sample.labels) {
                self.given.insert(sample.labels.clone(), Given::default());
            }
            let Some(given) = self.given.get_mut(&sample.labels) else { continue };
            let attributes = attributes(sample);
            for (value, count) in given.follow(times, most) {
                (0..count).for_each(|_| self.instrument.record(value, &attributes));
            }
            behind += given.behind(times);
        }
        behind
    }
}

impl Exporting {
    /// Makes instruments. Nobody may have locked the state.
    pub(super) fn make(self: &Arc<Self>, wanted: Vec<Wanted>) {
        for Wanted { place, family } in wanted {
            match family.kind {
                MetricKind::Histogram => self.make_histogram(&family),
                _ if is_whole(family.unit) => self.make_whole(place, &family),
                _ => self.make_real(place, &family),
            }
        }
    }

    fn make_histogram(&self, family: &MetricFamily) {
        let times = family.samples.iter().find_map(|sample| match &sample.value {
            MetricValue::Histogram(times) => Some(times),
            _ => None,
        });
        let bounds = times.into_iter().flat_map(HistogramValue::bounds).collect();
        let builder = self.meter.f64_histogram(family.name).with_unit(family.unit.ucum());
        let instrument = builder.with_description(family.help).with_boundaries(bounds).build();
        self.locked().histograms.insert(family.name, Times { instrument, given: HashMap::new() });
    }

    fn make_whole(self: &Arc<Self>, place: Place, family: &MetricFamily) {
        let (meter, name) = (&self.meter, family.name);
        match family.kind {
            MetricKind::Counter => {
                self.prepared(meter.u64_observable_counter(name), place, family, natural).build();
            }
            MetricKind::UpDownCounter => {
                self.prepared(meter.i64_observable_up_down_counter(name), place, family, whole).build();
            }
            MetricKind::Gauge | MetricKind::Histogram => {
                self.prepared(meter.i64_observable_gauge(name), place, family, whole).build();
            }
        }
    }

    fn make_real(self: &Arc<Self>, place: Place, family: &MetricFamily) {
        let (meter, name) = (&self.meter, family.name);
        match family.kind {
            MetricKind::Counter => {
                self.prepared(meter.f64_observable_counter(name), place, family, real).build();
            }
            MetricKind::UpDownCounter => {
                self.prepared(meter.f64_observable_up_down_counter(name), place, family, real).build();
            }
            MetricKind::Gauge | MetricKind::Histogram => {
                self.prepared(meter.f64_observable_gauge(name), place, family, real).build();
            }
        }
    }

    fn prepared<'a, I, M: 'static>(
        self: &Arc<Self>,
        builder: AsyncInstrumentBuilder<'a, I, M>,
        place: Place,
        family: &MetricFamily,
        number: fn(&MetricValue) -> Option<M>,
    ) -> AsyncInstrumentBuilder<'a, I, M> {
        let (exporting, name) = (Arc::downgrade(self), family.name);
        let observe = move |instrument: &dyn AsyncInstrument<M>| {
            // None: the export has ended.
            let Some(exporting) = exporting.upgrade() else { return };
            let observed = caught(move || {
                let families = exporting.reading(place);
                let samples = families.iter().filter(|family| family.name == name).flat_map(|family| &family.samples);
                for sample in samples {
                    if let Some(number) = number(&sample.value) {
                        instrument.observe(number, &attributes(sample));
                    }
                }
            });
            if let Err(message) = observed {
                report(|| tracing::error!(message, metric = name, "the export of metrics panicked"));
            }
        };
        builder.with_unit(family.unit.ucum()).with_description(family.help).with_callback(observe)
    }
}

fn attributes(sample: &MetricSample) -> Vec<KeyValue> {
    sample.labels.iter().map(|(label, value)| KeyValue::new(*label, value.clone())).collect()
}

/// Things are counted in whole numbers.
fn is_whole(unit: MetricUnit) -> bool {
    !matches!(unit, MetricUnit::Seconds | MetricUnit::Ratio)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // what is too large becomes the largest
fn natural(value: &MetricValue) -> Option<u64> {
    match value {
        MetricValue::Count(count) => Some(*count),
        MetricValue::Number(number) => Some(number.round() as u64),
        MetricValue::Histogram(_) => None,
    }
}

#[allow(clippy::cast_possible_truncation)] // what is too large becomes the largest
fn whole(value: &MetricValue) -> Option<i64> {
    match value {
        MetricValue::Count(count) => Some(i64::try_from(*count).unwrap_or(i64::MAX)),
        MetricValue::Number(number) => Some(number.round() as i64),
        MetricValue::Histogram(_) => None,
    }
}

#[allow(clippy::cast_precision_loss)] // of counts beyond 2^53
fn real(value: &MetricValue) -> Option<f64> {
    match value {
        MetricValue::Count(count) => Some(*count as f64),
        MetricValue::Number(number) => Some(*number),
        MetricValue::Histogram(_) => None,
    }
}
