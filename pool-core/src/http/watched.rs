//! A pool that is shown, and what those see of it who listen: all of them the same, so that many cost it no more than one.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::document::{Extent, Look, describe, in_short};
use super::source::Source;

/// The moment of an event, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// For one who has just come.
    Now,
    /// For all who listen in this second.
    Step(u64),
    /// The last one, since the streams end.
    End,
}

/// A pool, and what was seen of it last.
pub(super) struct Watched {
    source: Box<dyn Source>,
    /// Locked by those who listen, while one of them looks: no acquire takes it.
    frame: Mutex<Option<Frame>>,
    /// How it was at a moment, as JSON for those who listen to another one.
    in_short: Mutex<Option<(Moment, Arc<str>)>>,
}

/// A look at the pool, and what it is as JSON for those who have the same part of its history.
struct Frame {
    moment: Moment,
    look: Look,
    texts: Vec<(Option<SystemTime>, Arc<str>)>,
}

/// What one listener gets, and the last point of the history that he has then.
pub(super) struct Shown {
    pub(super) text: Arc<str>,
    pub(super) last: Option<SystemTime>,
}

impl Watched {
    pub(super) fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::new(source), frame: Mutex::default(), in_short: Mutex::default() }
    }

    /// What there is to be seen at that moment, for one who has the history up to another one. Whoever comes first looks, and the others get the same.
    pub(super) fn show(&self, moment: Moment, after: Option<SystemTime>) -> Shown {
        if moment == Moment::Now {
            return Frame::new(moment, &*self.source).show(after);
        }
        let mut frame = self.frame.lock().unwrap_or_else(PoisonError::into_inner);
        // What was seen before the pool was closed is not the last that there is to be seen.
        let known = frame.take().filter(|frame| frame.moment == moment && frame.is_closed() == self.source.is_closed());
        frame.insert(known.unwrap_or_else(|| Frame::new(moment, &*self.source))).show(after)
    }
}

impl Watched {
    /// How it is at that moment. Whoever comes first looks, here, too.
    pub(super) fn in_short(&self, moment: Moment) -> Arc<str> {
        let mut seen = self.in_short.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.take().filter(|(at, _)| *at == moment && moment != Moment::Now);
        let (_, text) = seen.insert(known.unwrap_or_else(|| (moment, in_short(&*self.source).to_string().into())));
        Arc::clone(text)
    }
}

impl Deref for Watched {
    type Target = dyn Source;

    fn deref(&self) -> &Self::Target {
        &*self.source
    }
}

impl Frame {
    fn new(moment: Moment, source: &dyn Source) -> Self {
        Self { moment, look: Look::at(source), texts: Vec::new() }
    }

    fn is_closed(&self) -> bool {
        self.look.snapshot.stats.state.closed
    }

    /// Those who are not behind have all the same history.
    fn show(&mut self, after: Option<SystemTime>) -> Shown {
        let last = self.look.snapshot.history.last().map(|point| point.at).or(after);
        let known = self.texts.iter().find(|(known, _)| *known == after).map(|(_, text)| Arc::clone(text));
        let text = known.unwrap_or_else(|| {
            let text: Arc<str> = describe(&self.look, Extent::PAGE, after).to_string().into();
            self.texts.push((after, Arc::clone(&text)));
            text
        });
        Shown { text, last }
    }
}
