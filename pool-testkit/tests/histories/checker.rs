//! Is there an order of the calls, one after the other, that keeps to the clock and that the oracle agrees with?
//!
//! The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993), with Lowe's memory of where it has been: the calls in the
//! order so far, and what the pool is like then.

use std::collections::HashSet;

use super::history::{History, MOST};
use super::oracle::Oracle;

/// # Errors
///
/// The most calls that could be brought into an order, by their places.
pub(crate) fn check(history: &History) -> Result<(), Vec<usize>> {
    assert!(history.events.len() <= MOST);
    let calls = history.events.len();
    let disturbed = (0..calls).map(|event| history.is_disturbed(event)).collect();
    let mut search = Search { history, disturbed, seen: HashSet::new(), order: Vec::new(), best: Vec::new() };
    let oracle = Oracle::new(&history.idle, history.size, history.max);
    if search.go_on(0, &oracle) { Ok(()) } else { Err(search.best) }
}

struct Search<'a> {
    history: &'a History,
    disturbed: Vec<bool>,
    seen: HashSet<(u64, Oracle)>,
    order: Vec<usize>,
    best: Vec<usize>,
}

impl Search<'_> {
    /// `done`: the calls that are in the order already, as bits.
    fn go_on(&mut self, done: u64, pool: &Oracle) -> bool {
        if self.order.len() > self.best.len() {
            self.best.clone_from(&self.order);
        }
        if self.order.len() == self.history.events.len() {
            return true;
        }
        self.seen.insert((done, pool.clone())) && self.next(done).into_iter().any(|event| self.take(event, done, pool))
    }

    fn take(&mut self, event: usize, done: u64, pool: &Oracle) -> bool {
        self.order.push(event);
        let next = pool.after(self.history.events[event].call, self.disturbed[event]);
        let found = next.iter().any(|pool| self.go_on(done | 1 << event, pool));
        self.order.pop();
        found
    }

    /// The calls that may come next: those before which nobody else had an answer.
    fn next(&self, done: u64) -> Vec<usize> {
        let left = || (0..self.history.events.len()).filter(|event| done & 1 << event == 0);
        left().filter(|event| !left().any(|other| self.history.is_before(other, *event))).collect()
    }
}
