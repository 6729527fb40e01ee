//! A pool in a few lists, without threads and without waiting: the rules of the documentation, and nothing else.

use super::operation::{End, Sizes};

/// A connection: its id, and the generation that it was opened for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) id: Option<u64>,
    pub(crate) generation: u64,
}

/// What a waiter will hear when it looks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    Waits,
    Has(Connection),
    Expired,
    Dismissed,
}

#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) fate: Fate,
    pub(crate) started: u64,
    pub(crate) deadline: u64,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) acquired: u64,
    pub(crate) waited: u64,
    pub(crate) wait_time: u64,
    pub(crate) timeouts: u64,
    pub(crate) cancelled: u64,
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) broken: u64,
}

/// Calls to the backend that are under way, and whether the next ones will stand still.
#[derive(Debug, Default)]
pub(crate) struct Line {
    pub(crate) stands: bool,
    pub(crate) inside: Vec<Connection>,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) now: u64,
    pub(crate) sizes: Sizes,
    pub(crate) closed: bool,
    pub(crate) generation: u64,
    /// How many are idle. Which ones is the business of the idle order.
    pub(crate) idle: usize,
    pub(crate) leases: Vec<Connection>,
    pub(crate) waiters: Vec<Waiter>,
    pub(crate) connecting: Line,
    pub(crate) resetting: Line,
    pub(crate) closing: Line,
    pub(crate) counts: Counts,
}

impl Model {
    pub(crate) fn new(sizes: Sizes) -> Self {
        Self {
            now: 0,
            sizes,
            closed: false,
            generation: 0,
            idle: 0,
            leases: Vec::new(),
            waiters: Vec::new(),
            connecting: Line::default(),
            resetting: Line::default(),
            closing: Line::default(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn leased(&self) -> usize {
        let has = |waiter: &&Waiter| matches!(waiter.fate, Fate::Has(_));
        self.leases.len() + self.waiters.iter().filter(has).count()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiters.iter().filter(|waiter| matches!(waiter.fate, Fate::Waits)).count()
    }

    pub(crate) fn in_maintenance(&self) -> usize {
        self.resetting.inside.len() + self.closing.inside.len()
    }

    pub(crate) fn size(&self) -> usize {
        self.idle + self.leased() + self.connecting.inside.len() + self.in_maintenance()
    }

    /// Connections above the maximum, those on their way out not counted.
    fn excess(&self) -> usize {
        (self.size() - self.closing.inside.len()).saturating_sub(self.sizes.max)
    }

    /// A connection in nobody's hands goes to the oldest waiter, or becomes idle. The caller has taken it from where it was, but it counts.
    fn offer(&mut self, connection: Connection) {
        let one_too_many = self.size() + 1 - self.closing.inside.len() > self.sizes.max;
        if self.closed || connection.generation != self.generation || one_too_many {
            return self.retire(connection);
        }
        match self.waiters.iter_mut().find(|waiter| matches!(waiter.fate, Fate::Waits)) {
            Some(oldest) => oldest.fate = Fate::Has(connection),
            None => self.idle += 1,
        }
    }

    pub(crate) fn retire(&mut self, connection: Connection) {
        self.closing.inside.push(connection);
        if !self.closing.stands {
            self.close_one();
        }
    }

    pub(crate) fn retire_idle(&mut self, count: usize) {
        self.idle -= count;
        let nameless = Connection { id: None, generation: self.generation };
        (0..count).for_each(|_| self.retire(nameless));
    }

    /// An idle connection for somebody who does not wait.
    pub(crate) fn claim(&mut self, id: u64) {
        self.idle -= 1;
        self.counts.acquired += 1;
        self.leases.push(Connection { id: Some(id), generation: self.generation });
    }

    /// What an acquire that waited has cost, however it ended.
    pub(crate) fn count_wait(&mut self, started: u64) {
        self.counts.waited += 1;
        self.counts.wait_time += self.now - started;
    }

    pub(crate) fn cancel(&mut self, place: usize) {
        let waiter = self.waiters.remove(place);
        self.counts.cancelled += 1;
        self.count_wait(waiter.started);
        if let Fate::Has(connection) = waiter.fate {
            self.offer(connection);
        }
    }

    pub(crate) fn release(&mut self, connection: Connection, end: End) {
        match end {
            End::Clean => self.offer(connection),
            End::Dirty => {
                self.resetting.inside.push(connection);
                if !self.resetting.stands {
                    self.reset_one();
                }
            }
            End::Broken | End::Discarded => {
                self.counts.broken += 1;
                self.retire(connection);
            }
        }
    }

    pub(crate) fn resize(&mut self, sizes: Sizes) {
        self.sizes = sizes;
        self.retire_idle(self.excess().min(self.idle));
    }

    pub(crate) fn replace(&mut self) {
        self.generation += 1;
        self.retire_idle(self.idle);
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.retire_idle(self.idle);
        let waiting = self.waiters.iter_mut().filter(|waiter| matches!(waiter.fate, Fate::Waits));
        waiting.for_each(|waiter| waiter.fate = Fate::Dismissed);
    }

    /// The opener that began first has its connection.
    pub(crate) fn open_one(&mut self) {
        let generation = self.connecting.inside.remove(0).generation;
        self.counts.opened += 1;
        self.offer(Connection { id: Some(self.counts.opened - 1), generation });
    }

    pub(crate) fn reset_one(&mut self) {
        let connection = self.resetting.inside.remove(0);
        self.offer(connection);
    }

    pub(crate) fn close_one(&mut self) {
        self.closing.inside.remove(0);
        self.counts.closed += 1;
    }

    /// Connections are opened: one for each waiter, and up to the minimum.
    pub(crate) fn open(&mut self) {
        while self.wants_another() {
            self.connecting.inside.push(Connection { id: None, generation: self.generation });
            if !self.connecting.stands {
                self.open_one();
            }
        }
    }

    fn wants_another(&self) -> bool {
        let opening = self.connecting.inside.len();
        let wanted = opening < self.waiting() || self.size() < self.sizes.min;
        wanted && !self.closed && self.size() < self.sizes.max && opening < self.sizes.openers
    }

    pub(crate) fn pass(&mut self, time: u64) {
        self.now += time;
        let waiting = self.waiters.iter_mut().filter(|waiter| matches!(waiter.fate, Fate::Waits));
        waiting.filter(|waiter| waiter.deadline <= self.now).for_each(|waiter| waiter.fate = Fate::Expired);
    }
}
