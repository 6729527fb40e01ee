//! A pool that is shown, and what those see of it who listen: all of them the same, so that many cost it no more than one.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

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
    /// The number of the last point of the history that there was.
    last: u64,
    texts: Vec<(u64, Arc<str>)>,
}

/// What one listener gets, and the number of the last point of the history that he has then.
pub(super) struct Shown {
    pub(super) text: Arc<str>,
    pub(super) last: u64,
}

impl Watched {
    pub(super) fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::new(source), frame: Mutex::default(), in_short: Mutex::default() }
    }

    /// What there is to be seen at that moment, for one who has the history up to the point of that number, or none of it, which is 0. Whoever comes first looks, and the others get the same.
    pub(super) fn show(&self, moment: Moment, after: u64) -> Shown {
        if moment == Moment::Now {
            return Frame::new(moment, &*self.source).show(&*self.source, after);
        }
        let mut frame = self.frame.lock().unwrap_or_else(PoisonError::into_inner);
        // What was seen before the pool was closed is not the last that there is to be seen.
        let known = frame.take().filter(|frame| frame.moment == moment && frame.is_closed() == self.source.is_closed());
        frame.insert(known.unwrap_or_else(|| Frame::new(moment, &*self.source))).show(&*self.source, after)
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
        let look = Look::at(source);
        let last = source.history(0, 1).last().map_or(0, |point| point.sequence);
        Self { moment, look, last, texts: Vec::new() }
    }

    fn is_closed(&self) -> bool {
        self.look.snapshot.stats.state.closed
    }

    /// Those who are not behind have all the same history.
    fn show(&mut self, source: &dyn Source, after: u64) -> Shown {
        let known = self.texts.iter().find(|(known, _)| *known == after).map(|(_, text)| Arc::clone(text));
        let text = known.unwrap_or_else(|| {
            let mut points = source.history(after, Extent::PAGE.points);
            // What has come since then belongs to the next moment.
            points.retain(|point| point.sequence <= self.last);
            let text: Arc<str> = describe(&self.look, Extent::PAGE, &points).to_string().into();
            self.texts.push((after, Arc::clone(&text)));
            text
        });
        Shown { text, last: self.last.max(after) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::attempt::Attempt;
    use crate::driver::{Driver, ErrorClass, SessionState};
    use crate::observe::ObserveConfig;
    use crate::pool::Pool;
    use crate::wall;

    /// Connects to nothing.
    pub(in crate::http) struct Units;

    impl Driver for Units {
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
    }

    fn history(shown: &Shown) -> usize {
        let text: Value = serde_json::from_str(&shown.text).unwrap();
        text["history"]["sequence"].as_array().unwrap().len()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_late_to_a_moment_sees_the_history_as_it_was_then() {
        let pool = Pool::builder(Units).build().unwrap();
        let watched = Watched::new(pool.observe(ObserveConfig::default()).unwrap());
        tokio::time::sleep(Duration::from_secs(31)).await;
        let first = watched.show(Moment::Step(1), 2);
        tokio::time::sleep(Duration::from_secs(10)).await;
        let late = watched.show(Moment::Step(1), 1);
        assert_eq!([history(&first), history(&late)], [1, 2]);
        assert_eq!([first.last, late.last], [3, 3]);
        assert_eq!(history(&watched.show(Moment::Step(2), late.last)), 1, "the rest comes with the next");
    }

    #[tokio::test(start_paused = true)]
    async fn points_are_new_whatever_the_wall_clock_says() {
        let pool = Pool::builder(Units).build().unwrap();
        let watched = Watched::new(pool.observe(ObserveConfig::default()).unwrap());
        let (mut last, mut step) = (0, 0);
        // The times of the points that a listener has not got before.
        let mut listen = || {
            step += 1;
            let shown = watched.show(Moment::Step(step), last);
            last = shown.last;
            let text: Value = serde_json::from_str(&shown.text).unwrap();
            let times = text["history"]["at_unix_seconds"].as_array().unwrap().clone();
            times.iter().map(|at| at.as_f64().unwrap()).collect::<Vec<_>>()
        };
        tokio::time::sleep(Duration::from_secs(31)).await;
        let before = listen();
        wall::set_back(Duration::from_hours(1));
        tokio::time::sleep(Duration::from_secs(20)).await;
        let after = listen();
        assert_eq!((before.len(), after.len()), (3, 2));
        assert!(after[1] < before[0], "the wall clock was set back: {before:?}, {after:?}");
        assert!(listen().is_empty(), "and each comes once");
    }
}
