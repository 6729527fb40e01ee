//! A subscriber that keeps the spans and the events that it is told of.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// One span.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its number, 1 for the first one.
    pub id: u64,
    /// The name of its kind.
    pub name: &'static str,
    /// Its target.
    pub target: &'static str,
    /// What was said of it, as text.
    pub fields: BTreeMap<&'static str, String>,
    /// The one that it is inside of.
    pub parent: Option<u64>,
    /// Those that it follows from.
    pub follows: Vec<u64>,
    /// How often it was entered.
    pub entered: u64,
    /// Whether nobody has it any more.
    pub is_closed: bool,
    handles: u64,
}

impl Seen {
    /// What a field says, without quotes; empty if it says nothing.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.trim_matches('"'))
    }
}

/// One event.
#[derive(Clone, Debug)]
pub struct Told {
    /// How grave it is.
    pub level: Level,
    /// Its target.
    pub target: &'static str,
    /// What was said, as text; the words themselves are `message`.
    pub fields: BTreeMap<&'static str, String>,
}

impl Told {
    /// What a field says, without quotes; empty if it says nothing.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value.trim_matches('"'))
    }
}

/// Keeps what is said of spans, and events.
///
/// # Example
///
/// ```
/// let spans = pool_testkit::spans::Spans::default();
/// tracing::subscriber::with_default(spans.clone(), || drop(tracing::debug_span!("asking", rows = 7).entered()));
/// let [asking] = &spans.named("asking")[..] else { panic!("there is one") };
/// assert_eq!((asking.field("rows"), asking.entered, asking.is_closed), ("7", 1, true));
///
/// tracing::subscriber::with_default(spans.clone(), || tracing::warn!(rows = 7, "too many"));
/// assert_eq!(spans.events("too many")[0].field("rows"), "7");
/// ```
#[derive(Clone, Debug)]
pub struct Spans(Arc<Mutex<Kept>>);

impl Default for Spans {
    fn default() -> Self {
        never_alone();
        Self(Arc::default())
    }
}

/// Has a subscriber listen in this process for ever, to nothing. For tests that give a thread a subscriber of its own: if that is the only one that there is, and another thread, which has none, is the
/// first to come to an event, `tracing` takes it that nobody wants to hear of that event, in whatever thread.
///
/// # Example
///
/// ```
/// pool_testkit::spans::never_alone();
/// ```
pub fn never_alone() {
    static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
    ANOTHER.get_or_init(|| Dispatch::new(Spans(Arc::default())));
}

#[derive(Debug, Default)]
struct Kept {
    spans: Vec<Seen>,
    events: Vec<Told>,
    inside: HashMap<ThreadId, Vec<u64>>,
}

impl Kept {
    fn of(&mut self, id: &Id) -> Option<&mut Seen> {
        usize::try_from(id.into_u64() - 1).ok().and_then(|index| self.spans.get_mut(index))
    }

    fn inside(&mut self) -> &mut Vec<u64> {
        self.inside.entry(thread::current().id()).or_default()
    }
}

impl Spans {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them, in the order in which they began.
    pub fn all(&self) -> Vec<Seen> {
        self.kept().spans.clone()
    }

    /// Those of a name.
    pub fn named(&self, name: &str) -> Vec<Seen> {
        self.all().into_iter().filter(|span| span.name == name).collect()
    }

    /// The events that have this in their words, in their order.
    pub fn events(&self, words: &str) -> Vec<Told> {
        self.kept().events.iter().filter(|event| event.field("message").contains(words)).cloned().collect()
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Spans {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // Another test may want to know.
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut kept = self.kept();
        let id = kept.spans.len() as u64 + 1;
        let parent = match attributes.parent() {
            Some(parent) => Some(parent.into_u64()),
            None if attributes.is_contextual() => kept.inside().last().copied(),
            None => None,
        };
        let metadata = attributes.metadata();
        let mut seen = Seen {
            id,
            name: metadata.name(),
            target: metadata.target(),
            fields: BTreeMap::new(),
            parent,
            follows: Vec::new(),
            entered: 0,
            is_closed: false,
            handles: 1,
        };
        attributes.record(&mut seen);
        kept.spans.push(seen);
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        self.kept().of(id).into_iter().for_each(|seen| values.record(seen));
    }

    fn record_follows_from(&self, id: &Id, cause: &Id) {
        self.kept().of(id).into_iter().for_each(|seen| seen.follows.push(cause.into_u64()));
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut told = Told { level: *metadata.level(), target: metadata.target(), fields: BTreeMap::new() };
        event.record(&mut told);
        self.kept().events.push(told);
    }

    fn enter(&self, id: &Id) {
        let mut kept = self.kept();
        kept.inside().push(id.into_u64());
        kept.of(id).into_iter().for_each(|seen| seen.entered += 1);
    }

    fn exit(&self, id: &Id) {
        self.kept().inside().retain(|inside| *inside != id.into_u64());
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.kept().of(id).into_iter().for_each(|seen| seen.handles += 1);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        self.kept().of(&id).is_some_and(|seen| {
            seen.handles -= 1;
            seen.is_closed = seen.handles == 0;
            seen.is_closed
        })
    }
}
