//! The tasks: each runs one operation after the other, and gives up now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pool_postgres::retry::{Outcome, RetryError};
use pool_testkit::books::Told;
use pool_testkit::random::Random;
use tokio::time::timeout;

use super::phase::Phase;
use super::site::{CONNECTIONS, Site};
use super::tally::{End, Tally};
use super::work::Work;

/// Of a hundred operations, so many may be dropped before they end.
const HASTY: u64 = 2;
/// The longest that somebody in a hurry waits, for each caller that a connection has.
const PATIENCE: u64 = 5_000;

/// What they share.
pub(crate) struct Callers {
    pub(crate) site: Site,
    phase: Phase,
    until: Instant,
    /// How many operations have begun.
    begun: AtomicU64,
    tally: Mutex<Tally>,
}

impl Callers {
    pub(crate) fn new(site: Site, phase: Phase, until: Instant) -> Self {
        Self { site, phase, until, begun: AtomicU64::new(0), tally: Mutex::default() }
    }

    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Lets all of them work until the time is over.
    pub(crate) async fn work(self: &Arc<Self>) -> Tally {
        let mut random = Random::new(self.phase.tasks() as u64);
        let one = |random| {
            let callers = Arc::clone(self);
            async move { callers.one(random).await }
        };
        let tasks: Vec<_> = (0..self.phase.tasks()).map(|_| tokio::spawn(one(random.split()))).collect();
        for task in tasks {
            task.await.expect("it does not panic");
        }
        std::mem::take(&mut *self.tally())
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn one(&self, mut random: Random) {
        while Instant::now() < self.until {
            let (operation, work) = (self.begun.fetch_add(1, Ordering::Relaxed) + 1, Work::draw(&mut random));
            let (patience, started) = (self.patience(&mut random), Instant::now());
            let running = work.run(&self.site, operation);
            let end = match patience {
                Some(patience) => timeout(patience, running).await.map_or(End::Dropped, told),
                None => told(running.await),
            };
            self.tally().note(operation, work, end, started.elapsed());
        }
    }

    /// After what time a caller gives up, if ever.
    fn patience(&self, random: &mut Random) -> Option<Duration> {
        let longest = PATIENCE * (self.phase.tasks() / CONNECTIONS) as u64;
        (random.below(100) < HASTY).then(|| Duration::from_micros(random.below(longest)))
    }
}

fn told(outcome: Result<(), RetryError>) -> End {
    End::Told(match outcome.map_err(|error| error.outcome) {
        Ok(()) => Told::Done,
        Err(Outcome::NotDone) => Told::NotDone,
        Err(Outcome::Unknown) => Told::Unknown,
    })
}
