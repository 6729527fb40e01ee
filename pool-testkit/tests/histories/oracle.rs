//! A pool that is easy to believe: a list of free connections and a queue.
//!
//! As many waiters as there are free connections, the oldest ones, can have one; whoever comes without waiting can have what is left. A positive
//! answer must fit that exactly. A negative one may be stale, but only while another call is under way that moves connections about.

use pool_core::PoolState;

use super::history::{Answer, Call, Waiter};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Oracle {
    free: Vec<u64>,
    queue: Vec<Waiter>,
    /// Those who wait and may be told that the pool is closed.
    dismissed: Vec<Waiter>,
    /// Connections that are not on their way out.
    size: usize,
    max: usize,
    /// Connections opened so far; their ids are the numbers below.
    opened: u64,
    /// As many of them, the first ones, are to be replaced.
    outdated: u64,
    closed: bool,
}

impl Oracle {
    pub(crate) fn new(idle: &[u64], size: usize, max: usize) -> Self {
        Self {
            free: idle.to_vec(),
            queue: Vec::new(),
            dismissed: Vec::new(),
            size,
            max,
            opened: size as u64,
            outdated: 0,
            closed: false,
        }
    }

    /// What the pool may be like after this call with this answer; nothing if it cannot have been. `disturbed`: another call was under way.
    pub(crate) fn after(&self, call: Call, disturbed: bool) -> Vec<Self> {
        match call {
            Call::TryAcquire(answer) => self.arrive(answer, disturbed, None),
            Call::Join(waiter, answer) => self.arrive(answer, disturbed, Some(waiter)),
            Call::Look(waiter, answer) => self.look(waiter, answer, disturbed),
            Call::Cancel(waiter) => self.cancel(waiter, disturbed),
            Call::Release(connection) => vec![self.release(connection)],
            Call::Discard(_) => vec![self.with(|pool| pool.size -= 1)],
            Call::Rest(state) => self.rest(state),
            command => self.obey(command, disturbed),
        }
    }

    /// A call that is about the pool as a whole.
    fn obey(&self, command: Call, disturbed: bool) -> Vec<Self> {
        match command {
            Call::Resize(max) => self.resize(max, disturbed),
            Call::Replace => self.replace(disturbed),
            _ => vec![self.close(disturbed)],
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    /// Free connections that nobody in the queue has a right to.
    fn spare(&self) -> usize {
        self.free.len().saturating_sub(self.queue.len())
    }

    /// Free connections that may leave: one that has reached its waiter stays with it, one that is still on the way there need not.
    fn loose(&self, disturbed: bool) -> usize {
        if disturbed { self.free.len() } else { self.spare() }
    }

    fn excess(&self) -> usize {
        self.size.saturating_sub(self.max)
    }

    /// Whether a free connection is this waiter's. Those who may have been sent away do not count as being before it.
    fn is_served(&self, waiter: Waiter) -> bool {
        let ahead = self.queue.iter().take_while(|other| **other != waiter);
        let stay = ahead.filter(|other| !self.dismissed.contains(other)).count();
        self.queue.contains(&waiter) && stay < self.free.len()
    }

    /// Somebody who does not wait yet, and queues if told nothing and if it is a waiter.
    fn arrive(&self, answer: Answer, disturbed: bool, waiter: Option<Waiter>) -> Vec<Self> {
        let possible = match answer {
            Answer::Connection(connection) => !self.closed && self.spare() > 0 && self.free.contains(&connection),
            Answer::Nothing => !self.closed && (disturbed || self.spare() == 0),
            Answer::Closed => self.closed,
        };
        let next = || self.arrived(answer, waiter);
        possible.then(next).into_iter().collect()
    }

    fn arrived(&self, answer: Answer, waiter: Option<Waiter>) -> Self {
        self.with(|pool| match answer {
            Answer::Connection(connection) => pool.free.retain(|free| *free != connection),
            Answer::Nothing => pool.queue.extend(waiter),
            Answer::Closed => {}
        })
    }

    fn look(&self, waiter: Waiter, answer: Answer, disturbed: bool) -> Vec<Self> {
        let dismissed = self.dismissed.contains(&waiter);
        let possible = match answer {
            Answer::Connection(connection) => self.is_served(waiter) && self.free.contains(&connection),
            Answer::Nothing => disturbed || !(self.is_served(waiter) || dismissed),
            Answer::Closed => dismissed,
        };
        let next = match answer {
            Answer::Connection(connection) => {
                self.without(waiter).with(|pool| pool.free.retain(|free| *free != connection))
            }
            Answer::Nothing => self.clone(),
            Answer::Closed => self.without(waiter),
        };
        possible.then_some(next).into_iter().collect()
    }

    fn without(&self, waiter: Waiter) -> Self {
        self.with(|pool| {
            pool.queue.retain(|other| *other != waiter);
            pool.dismissed.retain(|other| *other != waiter);
        })
    }

    /// What was a waiter's goes to the next one, unless there are too many connections or the pool is closed.
    fn cancel(&self, waiter: Waiter, disturbed: bool) -> Vec<Self> {
        let left = self.without(waiter);
        if !self.is_served(waiter) {
            return vec![left];
        }
        // Which of the connections was its, nobody knows.
        let (go, stay): (Vec<u64>, Vec<u64>) = self.free.iter().partition(|connection| self.is_unwanted(**connection));
        let mut next: Vec<_> = go.into_iter().map(|connection| left.leave(connection)).collect();
        // One that may have been sent away need not have had any.
        if !stay.is_empty() || disturbed || self.dismissed.contains(&waiter) {
            next.push(left);
        }
        next
    }

    fn release(&self, connection: u64) -> Self {
        self.with(|pool| {
            if self.is_unwanted(connection) {
                pool.size -= 1;
            } else {
                pool.free.push(connection);
                pool.free.sort_unstable();
            }
        })
    }

    /// Whether a connection leaves when it is given back.
    fn is_unwanted(&self, connection: u64) -> bool {
        self.closed || self.excess() > 0 || connection < self.outdated
    }

    /// A free connection leaves.
    fn leave(&self, connection: u64) -> Self {
        self.with(|pool| {
            pool.free.retain(|free| *free != connection);
            pool.size -= 1;
        })
    }

    /// This many of the free connections leave, any of them.
    fn lose(&self, count: usize) -> Vec<Self> {
        if count == 0 {
            return vec![self.clone()];
        }
        self.free.iter().flat_map(|connection| self.leave(*connection).lose(count - 1)).collect()
    }

    /// Spare connections leave at once if there are too many.
    fn resize(&self, max: usize, disturbed: bool) -> Vec<Self> {
        let resized = self.with(|pool| pool.max = max);
        let surplus = resized.excess().min(resized.loose(disturbed));
        // Others may have made room, or raised the maximum again, before this call came to all of them.
        let least = if disturbed { 0 } else { surplus };
        (least..=surplus).flat_map(|count| resized.lose(count)).collect()
    }

    fn replace(&self, disturbed: bool) -> Vec<Self> {
        let replaced = self.with(|pool| pool.outdated = pool.opened);
        (self.spare()..=self.loose(disturbed)).flat_map(|count| replaced.lose(count)).collect()
    }

    fn close(&self, disturbed: bool) -> Self {
        self.with(|pool| {
            pool.closed = true;
            // Whom a connection has reached keeps it. While others are giving, nobody can say whom theirs will reach.
            let keep = if disturbed { 0 } else { pool.free.len() };
            pool.dismissed.extend(self.queue.iter().skip(keep));
            if !disturbed {
                pool.queue.truncate(keep);
            }
        })
    }

    /// Nobody is on the way any more: connections are opened for those who wait, and the pool has to say so.
    fn rest(&self, state: PoolState) -> Vec<Self> {
        if self.closed {
            let at_rest = state.closed && (state.idle, state.waiting, state.opening) == (0, 0, 0);
            return if at_rest { vec![self.clone()] } else { Vec::new() };
        }
        let rested = self.with(|pool| {
            let wanted = pool.queue.len().saturating_sub(pool.free.len());
            let new = wanted.min(pool.max.saturating_sub(pool.size));
            pool.free.extend(pool.opened..pool.opened + new as u64);
            pool.opened += new as u64;
            pool.size += new;
        });
        let waiting = rested.queue.len().saturating_sub(rested.free.len());
        let expected = (rested.size, rested.spare(), waiting, rested.max);
        let agrees = (state.size, state.idle, state.waiting, state.max_size) == expected;
        let surplus = rested.excess() > 0 && rested.spare() > 0;
        if agrees && !surplus { vec![rested] } else { Vec::new() }
    }
}
