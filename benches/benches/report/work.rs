//! What one worker does until the window is over. Each function returns what it did while the window was open. With `TIMED`, the
//! latency of each operation is recorded: that distorts the throughput, so the two are measured in different slices.

use std::time::Instant;

use tokio::task::yield_now;

use super::latency;
use super::window::Window;
use crate::contenders::Contender;
use crate::polled_once::polled_once;

/// Operations between two looks at the window, where one operation is shorter than a look should weigh.
const BATCH: u64 = 64;
/// Acquires given up between two turns of the scheduler.
const CANCELLED_PER_TURN: usize = 16;

/// The moment when an operation begins, if that matters. Only a macro could keep this around an await without making a future of its own,
/// which would be part of what is measured: so it is two calls.
#[inline]
fn begin<const TIMED: bool>() -> Option<Instant> {
    TIMED.then(Instant::now)
}

#[inline]
fn end(begun: Option<Instant>, window: &Window) {
    if let Some(latency) = begun.map(|begun| begun.elapsed())
        && window.is_open()
    {
        latency::record(latency);
    }
}

/// Acquires and releases, with nothing in between.
pub(crate) async fn at_once<C: Contender, const TIMED: bool>(contender: &C, window: &Window) -> u64 {
    let mut done = 0;
    while !window.is_over() {
        for _ in 0..BATCH {
            let begun = begin::<TIMED>();
            let lease = contender.acquire().await.expect("a connection");
            end(begun, window);
            drop(lease);
        }
        done += if window.is_open() { BATCH } else { 0 };
    }
    done
}

/// Acquires several, then releases them all.
pub(crate) async fn in_bursts<C: Contender, const TIMED: bool, const BURST: usize>(
    contender: &C,
    window: &Window,
) -> u64 {
    let mut leases: [Option<C::Lease<'_>>; BURST] = [const { None }; BURST];
    let mut done = 0;
    while !window.is_over() {
        for lease in &mut leases {
            let begun = begin::<TIMED>();
            *lease = Some(contender.acquire().await.expect("a connection"));
            end(begun, window);
        }
        leases = [const { None }; BURST];
        done += if window.is_open() { BURST as u64 } else { 0 };
    }
    done
}

/// Acquires, lets others run, and releases.
pub(crate) async fn over_a_yield<C: Contender, const TIMED: bool>(contender: &C, window: &Window) -> u64 {
    let mut done = 0;
    while !window.is_over() {
        let begun = begin::<TIMED>();
        let lease = contender.acquire().await.expect("a connection");
        end(begun, window);
        yield_now().await;
        drop(lease);
        done += u64::from(window.is_open());
    }
    done
}

/// Begins to acquire, gives up after the first poll, and begins again. Acquires that need not wait are not counted.
pub(crate) async fn giving_up<C: Contender, const TIMED: bool>(contender: &C, window: &Window) -> u64 {
    let mut done = 0;
    while !window.is_over() {
        for _ in 0..CANCELLED_PER_TURN {
            let begun = begin::<TIMED>();
            if polled_once(contender).await {
                end(begun, window);
                done += u64::from(window.is_open());
            }
        }
        yield_now().await;
    }
    done
}
