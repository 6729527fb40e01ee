//! The task of a listener: has a connection while somebody is subscribed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use pool_core::AcquireError;
use pool_core::trace::report;
use tokio::time::{Instant, timeout_at};

use super::ListenError;
use super::hub::Hub;
use super::line::Line;
use crate::random::random;

/// How often somebody who pauses looks whether the pool is closed.
const LOOK: Duration = Duration::from_millis(250);

/// The task.
pub(super) struct Worker {
    hub: Arc<Hub>,
    /// Failures in a row.
    failures: u32,
    /// Whether it ends because there is nothing to do.
    ended: bool,
}

impl Worker {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self { hub, failures: 0, ended: false }
    }

    /// Listens until nobody is subscribed any more.
    ///
    /// Cancel safety: whoever is subscribed starts another one.
    pub(super) async fn run(mut self) {
        while self.goes_on() {
            // Owned across the awaits: the connection, by the call. Dropped, it is closed.
            if self.listen().await {
                self.failures = 0;
            } else {
                self.pause().await;
            }
        }
    }

    fn goes_on(&mut self) -> bool {
        if self.hub.pool.is_closed() {
            self.hub.close();
        }
        self.ended = self.hub.let_worker_go();
        !self.ended
    }

    /// Has a connection for as long as that lasts. `false` if it is better to pause before there is another one.
    async fn listen(&mut self) -> bool {
        // Before it waits for one; whether there still is room then is seen when it has one.
        if let Err(error) = self.hub.room() {
            return self.go_without(&error);
        }
        // Owned across the await: a place in the queue. Dropped, it is left.
        let lease = match first(self.hub.pool.acquire_owned(), self.until_deserted()).await {
            First::One(Ok(lease)) => lease,
            First::One(Err(error)) => return self.go_without(&error.into()),
            First::Other(()) => return true,
        };
        let began = Instant::now();
        let mut line = match Line::of(&self.hub, lease) {
            Ok(line) => line,
            Err(error) => return self.go_without(&error),
        };
        // Owned across the await: the connection. Dropped, it is closed.
        let Err(why) = line.serve().await else {
            // Owned across the await: the same.
            line.give_back().await;
            return true;
        };
        self.hub.note_loss(&why);
        report(|| tracing::warn!(host = line.host(), "a connection that listens is lost: {why}"));
        // What has lasted for a while is no reason to wait for long.
        if began.elapsed() > self.hub.pool.config().backoff_max {
            self.failures = 0;
        }
        false
    }

    /// No connection could be had: whoever waits to be subscribed is told so, and those who are wait on.
    fn go_without(&self, error: &ListenError) -> bool {
        // As the pool does for attempts that fail: the first, second, fourth, eighth in a row.
        let is_notable = self.failures.saturating_add(1).is_power_of_two();
        if is_notable && !matches!(error, ListenError::Acquire(AcquireError::Closed)) {
            report(|| tracing::warn!("nobody listens for those who are subscribed: {error}"));
        }
        self.hub.refuse(None, error);
        false
    }

    async fn until_deserted(&self) {
        while !self.hub.is_deserted() {
            // Owned across the await: nothing.
            self.hub.bell.notified().await;
        }
    }

    /// As the pool pauses between attempts to open a connection: for a random part of a time that doubles with each failure in a row. Ends before that if the pool is closed or nobody is subscribed.
    async fn pause(&mut self) {
        let config = self.hub.pool.config();
        let ends = Instant::now() + length(config.backoff_initial, config.backoff_max, self.failures, random());
        self.failures = self.failures.saturating_add(1);
        while Instant::now() < ends && !self.hub.pool.is_closed() {
            let look = ends.min(Instant::now() + LOOK);
            // Owned across the await: nothing.
            if timeout_at(look, self.until_deserted()).await.is_ok() {
                return;
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.ended {
            self.hub.lose_worker();
        }
    }
}

/// How long to pause after so many failures before: a tenth at least, so that there is no tight loop.
fn length(initial: Duration, longest: Duration, failures: u32, random: u64) -> Duration {
    let ceiling = initial.saturating_mul(1 << failures.min(31)).min(longest);
    ceiling.mul_f64(0.1 + 0.9 * f64::from(u32::try_from(random >> 32).unwrap_or(0)) / f64::from(u32::MAX))
}

/// Which of two futures was ready first.
pub(super) enum First<A, B> {
    One(A),
    Other(B),
}

/// What comes of the one that is ready first. The other one is dropped.
pub(super) async fn first<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> First<A, B> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    // Owned across the await: both.
    poll_fn(|context| {
        if let Poll::Ready(one) = one.as_mut().poll(context) {
            return Poll::Ready(First::One(one));
        }
        other.as_mut().poll(context).map(First::Other)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit() {
        let [initial, longest] = [50, 2000].map(Duration::from_millis);
        let all = [0, 1, 2, 5, 6, 100, u32::MAX].map(|failures| length(initial, longest, failures, u64::MAX));
        assert_eq!(all.map(|pause| pause.as_millis()), [50, 100, 200, 1600, 2000, 2000, 2000]);
        assert_eq!(length(initial, longest, 0, 0).as_millis(), 5, "a tenth at least");
    }
}
