//! A future dropped after every number of polls that it may get.
//!
//! Whoever waits for a future can be dropped at any of its polls: a `select!` that another branch wins, a timeout, a client that hangs up. [`for_each_cancellation`]
//! plays one scenario again and again, and each time the future is dropped a poll later, until it is not dropped at all.
//!
//! # Example
//!
//! ```
//! use pool_testkit::cancel::for_each_cancellation;
//! use pool_testkit::fake::{FakeDriver, prove_nothing_lost, quiet};
//! use tokio::runtime::Builder;
//!
//! let cases = for_each_cancellation(|cut| {
//!     let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
//!     runtime.block_on(async {
//!         let driver = FakeDriver::new();
//!         let pool = pool_core::Pool::builder(driver.clone()).config(quiet(1)).build().unwrap();
//!         let ended = cut.apply(pool.acquire()).await.is_some();
//!         prove_nothing_lost(&pool, &driver).await;
//!         ended
//!     })
//! });
//! assert!(cases > 6, "{cases}");
//! ```

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

/// When a future is dropped: after so many polls, in a certain manner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// How often it is polled before.
    pub polls: usize,
    /// How it is polled, and dropped.
    pub manner: Manner,
}

/// How a future that is to be dropped is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Manner {
    /// When it is woken; it is dropped right after its last poll, before anything else happens.
    AtOnce,
    /// When it is woken; it is dropped in place of the next poll, when what it waits for has come and it has not taken it.
    Late,
    /// When it is woken, and [`PATIENCE`] times after that without having been, with a turn of everybody else between two polls; it is dropped right after its last poll,
    /// in the middle of what others do for it.
    Restless,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AtOnce, Self::Late, Self::Restless];
}

/// How often a [restless](Manner::Restless) future is polled for nothing.
pub const PATIENCE: usize = 6;

/// More polls than any scenario needs.
const TOO_MANY: usize = 10_000;

impl Cut {
    /// Polls a future until it ends, or until the time has come to drop it. Its output if it has ended; then it has been dropped, too.
    ///
    /// Cancel safety: dropping this drops the future.
    pub async fn apply<F: Future>(self, future: F) -> Option<F::Output> {
        let mut left = Left { polls: self.polls, for_nothing: 0, manner: self.manner };
        // In here, so that it is gone when this is ready.
        let mut future = pin!(future);
        poll_fn(|context| match left.poll(context, |context| future.as_mut().poll(context)) {
            Turn::Ended(output) => Poll::Ready(Some(output)),
            Turn::Over => Poll::Ready(None),
            Turn::Waits => Poll::Pending,
        })
        .await
    }
}

/// What is left of the life of a future.
struct Left {
    polls: usize,
    /// How many polls without a reason follow each other from now on.
    for_nothing: usize,
    manner: Manner,
}

enum Turn<T> {
    Ended(T),
    Over,
    Waits,
}

impl Left {
    fn poll<T>(&mut self, context: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Turn<T> {
        if self.polls == 0 {
            return Turn::Over;
        }
        self.polls -= 1;
        if let Poll::Ready(output) = poll(context) {
            return Turn::Ended(output);
        }
        if self.polls == 0 && self.manner != Manner::Late {
            return Turn::Over;
        }
        if self.manner == Manner::Restless {
            self.come_again(context);
        }
        Turn::Waits
    }

    /// One poll that nothing has called for: it calls for the next one, until there were enough.
    fn come_again(&mut self, context: &Context<'_>) {
        if self.for_nothing == 0 {
            // This one was called for, by whatever it was that the future waited for.
            self.for_nothing = PATIENCE + 1;
        }
        self.for_nothing -= 1;
        if self.for_nothing > 0 {
            context.waker().wake_by_ref();
        }
    }
}

/// Calls `case` with one cut after the other: in each [`Manner`] with no poll at all, with one, and so on, until it answers that the future has not been dropped but ended. It
/// counts on nothing but that: the number of polls may vary. Returns how often `case` was called.
///
/// # Panics
///
/// If a future is polled 10,000 times and does not end.
pub fn for_each_cancellation(mut case: impl FnMut(Cut) -> bool) -> usize {
    let mut cases = 0;
    for manner in Manner::ALL {
        // The others begin with one that is never polled.
        let first = usize::from(manner != Manner::AtOnce);
        let needed = (first..TOO_MANY).find(|&polls| case(Cut { polls, manner }));
        let last = needed.unwrap_or_else(|| panic!("it does not end within {TOO_MANY} polls"));
        cases += last + 1 - first;
    }
    cases
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    /// Pending so many times.
    async fn pending_for(times: usize) {
        let mut left = times;
        poll_fn(|_| {
            let over = left == 0;
            left = left.saturating_sub(1);
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How many polls it takes until it is decided, each as if the future had been woken, and whether the future has ended.
    fn polls(cut: Cut, pending: usize) -> (usize, bool) {
        let mut future = Box::pin(cut.apply(pending_for(pending)));
        for polls in 1.. {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return (polls, output.is_some());
            }
        }
        unreachable!()
    }

    #[test]
    fn every_number_of_polls_has_its_turn() {
        let mut seen = Vec::new();
        let cases = for_each_cancellation(|cut| {
            let (_, ended) = polls(cut, 2);
            seen.push((cut.manner, cut.polls, ended));
            ended
        });
        let expected = [
            (Manner::AtOnce, 0, false),
            (Manner::AtOnce, 1, false),
            (Manner::AtOnce, 2, false),
            (Manner::AtOnce, 3, true),
            (Manner::Late, 1, false),
            (Manner::Late, 2, false),
            (Manner::Late, 3, true),
            (Manner::Restless, 1, false),
            (Manner::Restless, 2, false),
            (Manner::Restless, 3, true),
        ];
        assert_eq!((cases, seen.as_slice()), (expected.len(), &expected[..]));
    }

    #[test]
    fn one_that_is_dropped_late_is_dropped_in_place_of_a_poll() {
        assert_eq!(polls(Cut { polls: 1, manner: Manner::AtOnce }, 2), (1, false));
        assert_eq!(polls(Cut { polls: 1, manner: Manner::Late }, 2), (2, false));
    }

    #[test]
    fn a_restless_one_comes_again_and_then_rests() {
        let (count, cut) = (Arc::<Wakes>::default(), Cut { polls: 100, manner: Manner::Restless });
        let (woken, mut future) = (Waker::from(Arc::clone(&count)), pin!(cut.apply(pending::<()>())));
        let mut poll = || future.as_mut().poll(&mut Context::from_waker(&woken)).is_pending();
        for round in 1..=2 {
            (0..=PATIENCE).for_each(|_| assert!(poll()));
            assert_eq!(count.0.load(Ordering::SeqCst), round * PATIENCE, "and the last one rests");
        }
    }
}
