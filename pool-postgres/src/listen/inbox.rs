//! What one subscriber has not read yet.

use std::collections::VecDeque;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::{Event, ListenError, Notification};

/// A queue with a bound. Its lock is held for a few instructions, and never while anybody is woken.
#[derive(Debug)]
pub(super) struct Inbox(Mutex<Queue>);

#[derive(Debug)]
struct Queue {
    most: NonZeroUsize,
    /// Each with what is missing before it.
    held: VecDeque<(Hole, Notification)>,
    /// What is missing after the last one.
    tail: Hole,
    /// Whether an outage goes on, of which the subscriber is told when it is over.
    owes_gap: bool,
    /// Why the server does not listen for this one, until its caller has been told.
    refusal: Option<ListenError>,
    /// Whether nothing comes any more.
    closed: bool,
    /// Whether the task is gone that brings the notifications.
    orphaned: bool,
    waker: Option<Waker>,
}

/// What is missing between two notifications.
#[derive(Clone, Copy, Debug, Default)]
struct Hole {
    lost: u64,
    outages: u64,
}

impl Hole {
    fn next_event(&mut self) -> Option<Event> {
        if self.lost > 0 {
            return Some(Event::Lagged(mem::take(&mut self.lost)));
        }
        (self.outages > 0).then(|| Event::Gap { outages: mem::take(&mut self.outages) })
    }

    fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.outages += other.outages;
    }
}

impl Queue {
    fn next_event(&mut self) -> Option<Event> {
        let Some((hole, _)) = self.held.front_mut() else { return self.tail.next_event() };
        if let Some(event) = hole.next_event() {
            return Some(event);
        }
        self.held.pop_front().map(|(_, notification)| Event::Notification(notification))
    }

    /// Loses the oldest one.
    fn make_room(&mut self) {
        let Some((mut hole, _)) = self.held.pop_front() else { return };
        hole.lost += 1;
        self.held.front_mut().map_or(&mut self.tail, |(next, _)| next).add(hole);
    }

    fn end_gap(&mut self) {
        self.tail.outages += u64::from(mem::take(&mut self.owes_gap));
    }
}

impl Inbox {
    pub(super) fn new(most: NonZeroUsize) -> Self {
        Self(Mutex::new(Queue {
            most,
            held: VecDeque::new(),
            tail: Hole::default(),
            owes_gap: false,
            refusal: None,
            closed: false,
            orphaned: false,
            waker: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a notification in, the oldest one out if there is no room. Who is to be woken.
    #[must_use]
    pub(super) fn push(&self, notification: &Notification) -> Option<Waker> {
        let mut queue = self.lock();
        // It comes from after the outage.
        queue.end_gap();
        if queue.held.len() >= queue.most.get() {
            queue.make_room();
        }
        let hole = mem::take(&mut queue.tail);
        queue.held.push_back((hole, notification.clone()));
        queue.waker.take()
    }

    /// The connection is lost: what is sent from now on may be missed. Once for each outage, whatever is lost during it.
    pub(super) fn begin_gap(&self) {
        self.lock().owes_gap = true;
    }

    /// The server listens again. Who is to be woken.
    #[must_use]
    pub(super) fn end_gap(&self) -> Option<Waker> {
        let mut queue = self.lock();
        if !queue.owes_gap {
            return None;
        }
        queue.end_gap();
        queue.waker.take()
    }

    /// The server does not listen for this one.
    pub(super) fn refuse(&self, error: ListenError) {
        self.lock().refusal = Some(error);
    }

    pub(super) fn take_refusal(&self) -> Option<ListenError> {
        self.lock().refusal.take()
    }

    /// Nothing comes any more. Who is to be woken.
    #[must_use]
    pub(super) fn close(&self) -> Option<Waker> {
        let mut queue = self.lock();
        queue.closed = true;
        queue.waker.take()
    }

    /// The task is gone that brings the notifications. Who is to be woken, to start another one.
    #[must_use]
    pub(super) fn orphan(&self) -> Option<Waker> {
        let mut queue = self.lock();
        queue.orphaned = true;
        queue.waker.take()
    }

    /// Whether it is gone, as far as this one has heard.
    pub(super) fn is_orphaned(&self) -> bool {
        self.lock().orphaned
    }

    /// It is there, or another one.
    pub(super) fn adopt(&self) {
        self.lock().orphaned = false;
    }

    /// What is next; `None` is the end.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Option<Event>> {
        // Another one's is dropped without the lock: it is foreign code.
        let mut before = None;
        let polled = {
            let mut queue = self.lock();
            match queue.next_event() {
                Some(event) => Poll::Ready(Some(event)),
                None if queue.closed => Poll::Ready(None),
                None => {
                    if !queue.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                        before = queue.waker.replace(waker.clone());
                    }
                    Poll::Pending
                }
            }
        };
        drop(before);
        polled
    }
}

#[cfg(test)]
mod tests;
