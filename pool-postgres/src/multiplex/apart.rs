//! Statements that take long, and are kept apart from others.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

/// So many statements are known at most. If there are more, as where each has its values in its text, all are forgotten and found anew.
const MOST: usize = 256;
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
}

/// The statements that are, or were, suspected to take long. Whoever executes one looks here before that, and so it takes no lock.
pub(crate) struct Apart {
    /// Whether there are any.
    any: AtomicBool,
    known: ArcSwap<HashMap<Box<str>, Arc<Known>>>,
    /// How many may be executed at a time.
    lane: Semaphore,
    /// So many permits has the lane by now.
    permits: AtomicUsize,
}

impl Apart {
    pub(crate) fn new() -> Self {
        let (any, known) = (AtomicBool::new(false), ArcSwap::default());
        Self { any, known, lane: Semaphore::new(0), permits: AtomicUsize::new(0) }
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
            _ => return None,
        };
        Some(Stay { known: Arc::clone(known), is_trial })
    }

    /// A statement was under way where something has taken long.
    pub(super) fn suspect(&self, sql: &str) {
        match self.known.load().get(sql) {
            Some(known) => known.suspect(),
            None => self.add(sql),
        }
    }

    #[cold]
    fn add(&self, sql: &str) {
        self.known.rcu(|known| {
            let mut known = if known.len() < MOST { HashMap::clone(known) } else { HashMap::new() };
            known.entry(sql.into()).or_insert_with(Known::suspected);
            known
        });
        self.any.store(true, Ordering::Relaxed);
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
        timeout(limit, self.lane.acquire()).await.ok()?.ok()
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
        Arc::new(Self { state: AtomicU8::new(SUSPECTED), quick: AtomicU32::new(0), suspicions: AtomicU32::new(1) })
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
    pub(super) fn judge(mut self, is_slow: bool) {
        let known = &self.known;
        if is_slow {
            known.quick.store(0, Ordering::Relaxed);
            known.state.store(SLOW, Ordering::Relaxed);
        } else if self.is_trial || known.quick.fetch_add(1, Ordering::Relaxed) + 1 >= QUICK {
            known.quick.store(0, Ordering::Relaxed);
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
        let apart = Apart::new();
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
        apart.stay("a").expect("nothing was found out").judge(true);
        assert_eq!(apart.all(), ["a"]);
        for _ in 1..QUICK {
            apart.stay("a").unwrap().judge(false);
        }
        apart.stay("a").unwrap().judge(true);
        for _ in 0..QUICK {
            assert!(apart.stay("a").unwrap().is_slow());
            apart.stay("a").unwrap().judge(false);
        }
        assert!(apart.stay("a").is_none() && apart.all().is_empty(), "it has been quick so often in a row");
    }

    #[test]
    fn one_who_is_cleared_is_suspected_ever_more_rarely() {
        let apart = suspected();
        apart.stay("a").unwrap().judge(false);
        let mut tried = Vec::new();
        for suspicions in 2..=40 {
            apart.suspect("a");
            if let Some(stay) = apart.stay("a") {
                stay.judge(false);
                tried.push(suspicions);
            }
        }
        assert_eq!(tried, [2, 4, 8, 16, 32]);
    }

    #[test]
    fn no_more_are_known_than_so_many() {
        let apart = Apart::new();
        for number in 0..=MOST {
            apart.suspect(&number.to_string());
        }
        assert!(apart.stay("0").is_none() && apart.stay(&MOST.to_string()).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_lane_is_as_wide_as_is_said() {
        let apart = Apart::new();
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
