//! Those who wait for the pool as a whole: until it is ready, drained, or closed.

use std::task::Poll;
use std::time::Duration;

use pool_core::WarmUpError;

use super::ensure;
use super::model::Checked;
use super::signal::Polled;
use super::world::World;

/// What somebody has heard.
pub(super) enum News {
    /// Connections were opened, or not.
    Opened(Result<(), WarmUpError>),
    Drained(bool),
    Closed,
    /// The pool was closed, and so many leases are out.
    Left(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Connections,
    Drain,
    Close,
    End,
}

pub(super) struct Watcher {
    watch: Polled<News>,
    what: Awaited,
    began: u64,
    deadline: u64,
    steps_late: u32,
}

impl World {
    pub(super) fn ready(&mut self, limit: u64) -> Checked {
        let pool = self.pool.clone();
        let ready = async move { News::Opened(pool.ready(Duration::from_millis(limit)).await) };
        self.watch(Awaited::Connections, limit, ready)
    }

    pub(super) fn warm_up(&mut self, size: usize, interval: u64, limit: u64) -> Checked {
        let (pool, interval, time) = (self.pool.clone(), Duration::from_millis(interval), Duration::from_millis(limit));
        let warm_up = async move { News::Opened(pool.warm_up(size, interval, time).await) };
        self.watch(Awaited::Connections, limit, warm_up)
    }

    pub(super) fn drain(&mut self) -> Checked {
        let pool = self.pool.clone();
        self.watch(Awaited::Drain, u64::MAX, async move { News::Drained(pool.drained().await) })
    }

    pub(super) fn close(&mut self) -> Checked {
        self.model.closed = true;
        let pool = self.pool.clone();
        self.watch(Awaited::Close, u64::MAX, async move {
            pool.close().await;
            News::Closed
        })
    }

    pub(super) fn close_within(&mut self, limit: u64) -> Checked {
        self.model.closed = true;
        let (pool, time) = (self.pool.clone(), Duration::from_millis(limit));
        self.watch(Awaited::End, limit, async move { News::Left(pool.close_within(time).await) })
    }

    fn watch(&mut self, what: Awaited, limit: u64, future: impl Future<Output = News> + 'static) -> Checked {
        let (began, deadline) = (self.model.sequence.next(), self.model.clock.now().saturating_add(limit));
        let watch = Polled::new(&self.model.sequence, future);
        let mut watcher = Watcher { watch, what, began, deadline, steps_late: 0 };
        match watcher.watch.poll() {
            Poll::Ready(news) => self.hear_news(&watcher, &news),
            Poll::Pending => {
                self.watchers.push(watcher);
                Ok(())
            }
        }
    }

    /// Everybody who watches and was woken looks.
    pub(super) fn watch_all(&mut self) -> Checked {
        let mut place = 0;
        while place < self.watchers.len() {
            place += usize::from(!self.watch_one(place)?);
        }
        Ok(())
    }

    /// `true` if this one has heard what it waited for, and is gone.
    fn watch_one(&mut self, place: usize) -> Result<bool, String> {
        let watcher = &mut self.watchers[place];
        if watcher.watch.woken().is_none() {
            return Ok(false);
        }
        self.model.aborted |= watcher.what == Awaited::End && watcher.deadline <= self.model.clock.now();
        let Poll::Ready(news) = watcher.watch.poll() else { return Ok(false) };
        let watcher = self.watchers.remove(place);
        self.hear_news(&watcher, &news)?;
        Ok(true)
    }

    fn hear_news(&mut self, watcher: &Watcher, news: &News) -> Checked {
        let (now, model, state) = (self.model.clock.now(), &self.model, self.pool.state());
        let true_news = match news {
            News::Opened(outcome) => outcome.as_ref().err().is_none_or(|error| self.is_true(watcher, error)),
            News::Drained(true) => model.paused && state.leased == 0,
            News::Drained(false) => !model.paused || model.resumed > watcher.began,
            News::Closed | News::Left(0) => model.closed && state.size == 0,
            News::Left(leases) => now >= watcher.deadline && [*leases, state.size] == [state.leased; 2],
        };
        ensure!(true_news, "{:?} ended, with the pool {state:?}", watcher.what);
        Ok(())
    }

    fn is_true(&self, watcher: &Watcher, error: &WarmUpError) -> bool {
        match error {
            WarmUpError::Late { .. } => self.model.clock.now() >= watcher.deadline,
            WarmUpError::OpenFailed { .. } => self.model.failed_for_good > watcher.began,
            WarmUpError::Closed => self.model.closed,
            _ => false,
        }
    }

    /// Nobody waits for what is there.
    pub(super) fn nobody_watches_in_vain(&mut self) -> Checked {
        let (now, state, paused) = (self.model.clock.now(), self.pool.state(), self.model.paused);
        for watcher in &mut self.watchers {
            let over = watcher.deadline < now;
            watcher.steps_late += u32::from(over);
            let in_vain = match watcher.what {
                Awaited::Connections => over,
                Awaited::Drain => !paused || state.leased == 0,
                Awaited::Close => state.size == 0,
                // What was aborted has to end first.
                Awaited::End => state.size == 0 || watcher.steps_late > 2,
            };
            ensure!(!in_vain, "{:?} goes on, with the pool {state:?}", watcher.what);
        }
        Ok(())
    }
}
