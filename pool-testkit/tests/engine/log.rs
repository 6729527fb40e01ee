//! Those who listen to what the pool logs.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

type Hears = Box<dyn Fn(&str, &dyn Debug) + Send + Sync>;

/// A subscriber that passes each field of each event on.
pub(crate) struct Listener {
    hears: Hears,
    is_rude: bool,
}

impl Listener {
    pub(crate) fn new(hears: impl Fn(&str, &dyn Debug) + Send + Sync + 'static) -> Self {
        pool_testkit::spans::never_alone();
        Self { hears: Box::new(hears), is_rude: false }
    }

    /// Hears nothing, and panics when it is asked for the present span.
    pub(crate) fn rude() -> Self {
        Self { is_rude: true, ..Self::new(|_, _| {}) }
    }
}

impl tracing::field::Visit for &Listener {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        (self.hears)(field.name(), value);
    }
}

impl tracing::Subscriber for Listener {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut &*self);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}

    fn current_span(&self) -> tracing_core::span::Current {
        assert!(!self.is_rude, "the subscriber was told to panic");
        tracing_core::span::Current::none()
    }
}

/// Keeps what is logged.
#[derive(Default)]
pub(crate) struct Log(Arc<Mutex<String>>);

impl Log {
    /// What has to listen.
    pub(crate) fn listener(&self) -> Listener {
        let kept = Arc::clone(&self.0);
        Listener::new(move |field, value| {
            let _ = writeln!(kept.lock().unwrap(), "{field}={value:?}");
        })
    }

    /// All of it: a line for each field of an event.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().clone()
    }
}
