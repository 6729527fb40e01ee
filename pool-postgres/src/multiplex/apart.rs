//! Statements that take long, and are kept apart from others.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// So many statements are known at most. If there are more, as where each has its values in its text, those that are not slow are forgotten, or else all.
const MOST: usize = 256;
/// How many times as long as is allowed a trial may take before it is over for others.
const TRIAL: u64 = 5;
/// After so many quick executions in a row a statement is not slow any more.
const QUICK: u32 = 8;

/// It was under way where something took long.
const SUSPECTED: u8 = 0;
/// Somebody executes it by itself, to see whether it was that.
const TRIED: u8 = 1;
/// It takes long.
const SLOW: u8 = 2;
/// It was something else.
const CLEARED: u8 = 3;

/// What is known of a statement.
#[derive(Debug)]
struct Known {
    state: AtomicU8,
    /// How often in a row it has been quick, since it is slow.
    quick: AtomicU32,
    /// How often it has been suspected.
    suspicions: AtomicU32,
    /// When it was tried last, in microseconds since the beginning.
    tried_at: AtomicU64,
    /// Whether it has taken long when it was tried last. Once may be chance, as on a machine that is busy.
    was_slow: AtomicBool,
}

/// The statements that are, or were, suspected to take long. Whoever executes one looks here before that, and so it takes no lock.
pub(crate) struct Apart {
    /// Whether there are any that are not cleared.
    any: AtomicBool,
    began: Instant,
    /// A trial that takes longer than this has found out enough, in microseconds.
    enough: u64,
    known: ArcSwap<HashMap<Box<str>, Arc<Known>>>,
    /// How many may be executed at a time.
    lane: Semaphore,
    /// So many permits has the lane by now.
    permits: AtomicUsize,
}

impl Apart {
    /// For statements that take longer than this, and the way to the server.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        let enough = limit.map_or(u64::MAX, |limit| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
        let (any, known, began) = (AtomicBool::new(false), ArcSwap::default(), Instant::now());
        let (lane, permits) = (Semaphore::new(0), AtomicUsize::new(0));
        Self { any, began, enough: enough.saturating_mul(TRIAL), known, lane, permits }
    }

    /// How a statement is to be executed: by itself, or as all others, if this is `None`.
    pub(super) fn stay(&self, sql: &str) -> Option<Stay> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let known = self.known.load();
        let known = known.get(sql)?;
        let is_trial = match known.state.load(Ordering::Relaxed) {
            SLOW => false,
            SUSPECTED => known.swap(SUSPECTED, TRIED).then_some(true)?,
            TRIED if self.now().saturating_sub(known.tried_at.load(Ordering::Relaxed)) >= self.enough => false,
            _ => return None,
        };
        if is_trial {
            known.tried_at.store(self.now(), Ordering::Relaxed);
        }
        Some(Stay { known: Arc::clone(known), is_trial })
    }

    /// A statement was under way where something has taken long.
    pub(super) fn suspect(&self, sql: &str) {
        match self.known.load().get(sql) {
            Some(known) => known.suspect(),
            None => self.add(sql),
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// A statement has been executed by itself, and has taken long or not.
    pub(super) fn judge(&self, stay: Stay, is_slow: bool) {
        stay.judge(is_slow);
        if !is_slow {
            self.any.store(false, Ordering::Relaxed);
            // One that is suspected meanwhile, and overlooked here, is looked up after the next suspicion.
            if self.known.load().values().any(|known| known.state.load(Ordering::Relaxed) != CLEARED) {
                self.any.store(true, Ordering::Relaxed);
            }
        }
    }

    #[cold]
    fn add(&self, sql: &str) {
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            if known.len() >= MOST {
                known.retain(|_, known| known.state.load(Ordering::Relaxed) == SLOW);
            }
            if known.len() >= MOST {
                known.clear();
            }
            known.entry(sql.into()).or_insert_with(Known::suspected);
            known
        });
    }

    /// Those that are kept apart.
    pub(super) fn all(&self) -> Vec<String> {
        let known = self.known.load();
        let slow = known.iter().filter(|(_, known)| known.state.load(Ordering::Relaxed) == SLOW);
        let mut all: Vec<_> = slow.map(|(sql, _)| sql.to_string()).collect();
        all.sort_unstable();
        all
    }

    /// Waits until fewer than so many of them are under way, for as long as that may take. `None` if it has taken longer: then one goes ahead, or nobody would ever get an error that says why.
    ///
    /// Cancel safety: the place in the queue is lost, and nothing else.
    pub(super) async fn enter(&self, most: usize, limit: Duration) -> Option<SemaphorePermit<'_>> {
        self.resize(most);
        // Owned across the await: the place in the queue.
        if Handle::try_current().is_err() {
            // Nobody keeps the time.
            return self.lane.acquire().await.ok();
        }
        timeout(limit, self.lane.acquire()).await.ok()?.ok()
    }

    /// As `enter`, for one who does not wait.
    pub(super) fn try_enter(&self, most: usize) -> Option<SemaphorePermit<'_>> {
        self.resize(most);
        self.lane.try_acquire().ok()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn resize(&self, most: usize) {
        let before = self.permits.swap(most, Ordering::Relaxed);
        if before < most {
            self.lane.add_permits(most - before);
        } else if before > most {
            // Those that are in use are not given up before they come back; then the lane is a little wider for a while.
            let taken = self.lane.forget_permits(before - most);
            self.permits.fetch_add(before - most - taken, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Apart").field("known", &self.known.load().len()).finish_non_exhaustive()
    }
}

impl Known {
    fn suspected() -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU8::new(SUSPECTED),
            quick: AtomicU32::new(0),
            suspicions: AtomicU32::new(1),
            tried_at: AtomicU64::new(u64::MAX),
            was_slow: AtomicBool::new(false),
        })
    }

    fn swap(&self, from: u8, to: u8) -> bool {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// One that was cleared is suspected again, but ever more rarely.
    fn suspect(&self) {
        let suspicions = self.suspicions.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if suspicions.is_power_of_two() {
            self.swap(CLEARED, SUSPECTED);
        }
    }
}

/// A statement that is executed by itself: nothing is sent behind it.
#[derive(Debug)]
pub(super) struct Stay {
    known: Arc<Known>,
    /// Whether this is to find out whether it takes long.
    is_trial: bool,
}

impl Stay {
    /// Whether it is known to take long.
    pub(super) fn is_slow(&self) -> bool {
        !self.is_trial
    }

    /// It has been executed, and taken long or not.
    fn judge(mut self, is_slow: bool) {
        let known = &self.known;
        if is_slow && self.is_trial && !known.was_slow.swap(true, Ordering::Relaxed) {
            // It is tried once more.
            return;
        }
        if is_slow {
            known.quick.store(0, Ordering::Relaxed);
            known.state.store(SLOW, Ordering::Relaxed);
        } else if self.is_trial || known.quick.fetch_add(1, Ordering::Relaxed) + 1 >= QUICK {
            known.quick.store(0, Ordering::Relaxed);
            known.was_slow.store(false, Ordering::Relaxed);
            known.state.store(CLEARED, Ordering::Relaxed);
        }
        self.is_trial = false;
    }
}

/// Nothing has been found out.
impl Drop for Stay {
    fn drop(&mut self) {
        if self.is_trial {
            self.known.swap(TRIED, SUSPECTED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspected() -> Apart {
        // No trial is over here because the machine was busy.
        let apart = Apart::new(Some(Duration::from_hours(1)));
        assert!(apart.stay("a").is_none());
        apart.suspect("a");
        apart
    }

    #[test]
    fn one_who_is_suspected_is_tried_once_and_slow_if_found_so() {
        let apart = suspected();
        let stay = apart.stay("a").unwrap();
        assert!(!stay.is_slow() && apart.stay("a").is_none() && apart.stay("b").is_none(), "others go on as they do");
        drop(stay);
        apart.judge(apart.stay("a").expect("nothing was found out"), true);
        assert!(apart.all().is_empty(), "once may be chance");
        apart.judge(apart.stay("a").expect("it is tried once more"), true);
        assert_eq!(apart.all(), ["a"]);
        for _ in 1..QUICK {
            apart.judge(apart.stay("a").unwrap(), false);
        }
        apart.judge(apart.stay("a").unwrap(), true);
        for _ in 0..QUICK {
            assert!(apart.stay("a").unwrap().is_slow());
            apart.judge(apart.stay("a").unwrap(), false);
        }
        assert!(apart.stay("a").is_none() && apart.all().is_empty(), "it has been quick so often in a row");
        assert!(!apart.any.load(Ordering::Relaxed), "there is nothing to look up");
    }

    #[test]
    fn one_who_is_cleared_is_suspected_ever_more_rarely() {
        let apart = suspected();
        apart.judge(apart.stay("a").unwrap(), false);
        let mut tried = Vec::new();
        for suspicions in 2..=40 {
            apart.suspect("a");
            if let Some(stay) = apart.stay("a") {
                apart.judge(stay, false);
                tried.push(suspicions);
            }
        }
        assert_eq!(tried, [2, 4, 8, 16, 32]);
    }

    #[test]
    fn no_more_are_known_than_so_many() {
        let apart = Apart::new(Some(Duration::from_millis(10)));
        for number in 0..=MOST {
            apart.suspect(&number.to_string());
        }
        assert!(apart.stay("0").is_none() && apart.stay(&MOST.to_string()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_lane_is_as_wide_as_is_said() {
        let apart = Apart::new(Some(Duration::from_millis(10)));
        let second = Duration::from_secs(1);
        let (one, two) = (apart.enter(2, second).await, apart.enter(2, second).await);
        assert!(one.is_some() && two.is_some() && apart.enter(2, second).await.is_none());
        let three = apart.enter(3, second).await;
        assert!(three.is_some(), "it is wider now");
        assert!(apart.enter(1, second).await.is_none());
        drop(one);
        assert!(apart.enter(1, second).await.is_none(), "two are in it");
        drop((two, three));
        let one = apart.enter(1, second).await;
        assert!(one.is_some() && apart.enter(1, second).await.is_none());
    }
}
