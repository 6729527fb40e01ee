//! Books of operations that must not be done twice: what their callers were told, beside what was done.

use std::cmp::Ordering;
use std::iter::Peekable;

/// What the caller of an operation was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(clippy::exhaustive_enums)] // there is no fourth
pub enum Told {
    /// It has succeeded: it was done, once.
    Done,
    /// It has failed, and nothing of it was done.
    NotDone,
    /// That nobody knows, or there was no caller any more: it was done, or not, but not twice.
    Unknown,
}

/// Whether what was told and what was done agree. Each list has the numbers of operations, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Balance {
    /// How many were told to be done, and were.
    pub done: u64,
    /// How many of which nobody knew were done after all.
    pub done_after_all: u64,
    /// Done more than once, whatever was told.
    pub repeated: Vec<u64>,
    /// Told to be done, and were not.
    pub lost: Vec<u64>,
    /// Told not to be done, and were.
    pub denied: Vec<u64>,
    /// Done, and nobody was told anything, not even that nobody knows.
    pub untold: Vec<u64>,
    /// Told more than once.
    pub retold: Vec<u64>,
}

impl Balance {
    /// How many operations should not be as they are.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_testkit::books::{Told, settle};
    ///
    /// assert_eq!(settle(vec![(7, Told::Done)], vec![7]).wrong(), 0);
    /// assert_eq!(settle(vec![(7, Told::Done)], vec![7, 7]).wrong(), 1);
    /// ```
    pub fn wrong(&self) -> usize {
        [&self.repeated, &self.lost, &self.denied, &self.untold, &self.retold].iter().map(|list| list.len()).sum()
    }

    fn enter(&mut self, number: u64, told: Option<Told>, times: usize) {
        if times > 1 {
            self.repeated.push(number);
        }
        match (told, times) {
            (Some(Told::Done), 0) => self.lost.push(number),
            (Some(Told::Done), _) => self.done += 1,
            (Some(Told::NotDone), 1..) => self.denied.push(number),
            (Some(Told::Unknown), 1..) => self.done_after_all += 1,
            (None, _) => self.untold.push(number),
            _ => {}
        }
    }
}

/// Compares what was told of operations, by their numbers, with the numbers of those that were done, each as often as it was. The order does not matter.
///
/// # Example
///
/// ```
/// use pool_testkit::books::{Told, settle};
///
/// let balance = settle(vec![(1, Told::Done), (2, Told::NotDone), (3, Told::Unknown)], vec![1, 2]);
/// assert_eq!((balance.done, balance.denied), (1, vec![2]));
/// ```
pub fn settle(mut told: Vec<(u64, Told)>, mut done: Vec<u64>) -> Balance {
    told.sort_unstable();
    done.sort_unstable();
    let mut balance = Balance::default();
    let (mut told, mut done) = (told.into_iter().peekable(), done.into_iter().peekable());
    loop {
        let (number, was_told) = match (told.peek(), done.peek()) {
            (None, None) => return balance,
            (Some((number, what)), next) if next.is_none_or(|next| number.cmp(next) != Ordering::Greater) => {
                (*number, Some(*what))
            }
            (_, next) => (next.copied().unwrap_or_default(), None),
        };
        if take(&mut told, |(other, _)| *other == number) > 1 {
            balance.retold.push(number);
        }
        balance.enter(number, was_told, take(&mut done, |other| *other == number));
    }
}

/// Takes those that come next and are meant; says how many.
fn take<I: Iterator>(from: &mut Peekable<I>, is_meant: impl Fn(&I::Item) -> bool) -> usize {
    std::iter::from_fn(|| from.next_if(&is_meant)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_does_not_agree_is_found() {
        let told = [
            (1, Told::Done),
            (2, Told::Done),
            (3, Told::Done),
            (4, Told::NotDone),
            (5, Told::NotDone),
            (6, Told::Unknown),
            (7, Told::Unknown),
            (8, Told::Unknown),
            (10, Told::NotDone),
            (10, Told::Unknown),
        ];
        let balance = settle(told.to_vec(), vec![9, 1, 3, 8, 5, 8, 3, 7]);
        let expected = Balance {
            done: 2,
            done_after_all: 2,
            repeated: vec![3, 8],
            lost: vec![2],
            denied: vec![5],
            untold: vec![9],
            retold: vec![10],
        };
        assert_eq!((balance.wrong(), balance), (6, expected));
    }

    #[test]
    fn what_agrees_is_in_order() {
        let told = vec![(3, Told::Unknown), (1, Told::Done), (2, Told::NotDone), (4, Told::Unknown)];
        let balance = settle(told, vec![4, 1]);
        assert_eq!((balance.wrong(), balance.done, balance.done_after_all), (0, 1, 1));
        assert_eq!(settle(Vec::new(), Vec::new()), Balance::default());
    }
}
