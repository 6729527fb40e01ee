//! Who is subscribed to what, and what the server listens for.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::inbox::Inbox;
use super::worker::Worker;
use super::{ListenError, Notification};
use crate::pool::PostgresPool;
use crate::wire::Sink;

/// What the handles of a listener, its subscriptions and its task share. The lock is held for a look at the table, never across an await and never while anybody is woken.
pub(super) struct Hub {
    pub(super) pool: PostgresPool,
    state: Mutex<State>,
    /// Rings when there is something to do for the task.
    pub(super) bell: Notify,
    /// Told to those who wait to be subscribed.
    pub(super) news: Notify,
}

#[derive(Default)]
struct State {
    channels: BTreeMap<Arc<str>, Channel>,
    /// Those of which what the server listens for may not be what is wanted.
    unsettled: BTreeSet<Arc<str>>,
    /// How many members all of them have.
    members: usize,
    /// The number of the connection that listens, or has last.
    line: u64,
    /// Whether it is still there.
    alive: bool,
    /// How many notifications have come on it.
    heard: u64,
    /// A channel on which something is to come, until it has.
    awaited: Option<Arc<str>>,
    /// Whether the task is there.
    running: bool,
    closed: bool,
    next_member: u64,
    /// What became of the last connection that was lost.
    last: Option<Arc<str>>,
}

#[derive(Default)]
struct Channel {
    members: BTreeMap<u64, Member>,
    /// Whether the server listens for it.
    listened: bool,
}

struct Member {
    inbox: Arc<Inbox>,
    /// Whether the server has confirmed, so that nothing is to be missed from then on.
    joined: bool,
}

/// What there is to do on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// The connection is lost.
    Lost,
    /// Nobody is subscribed, or the pool is closed.
    Nothing,
    /// What was listened for before the connection was lost: all at once, so that there is one moment at which the gap ends.
    Again(Vec<Arc<str>>),
    Listen(Vec<Arc<str>>),
    Unlisten(Vec<Arc<str>>),
    Rest,
}

/// How far somebody has come who is to be subscribed.
pub(super) enum Joined {
    Yes,
    NotYet,
    Never(ListenError),
}

impl Hub {
    pub(super) fn new(pool: PostgresPool) -> Self {
        Self { pool, state: Mutex::default(), bell: Notify::new(), news: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts somebody on the lists of these channels. The name that it has there.
    pub(super) fn enter(&self, channels: &[Arc<str>], inbox: &Arc<Inbox>) -> u64 {
        let name = {
            let mut state = self.lock();
            state.next_member += 1;
            let name = state.next_member;
            for channel in channels {
                let entry = state.channels.entry(Arc::clone(channel)).or_default();
                entry.members.insert(name, Member { inbox: Arc::clone(inbox), joined: entry.listened });
                state.unsettled.insert(Arc::clone(channel));
            }
            state.members += channels.len();
            name
        };
        self.bell.notify_one();
        name
    }

    /// Takes it off them.
    pub(super) fn leave(&self, channels: &[Arc<str>], name: u64) {
        // Dropped without the lock.
        let mut gone = Vec::new();
        {
            let mut state = self.lock();
            for channel in channels {
                let entry = state.channels.get_mut(channel);
                gone.extend(entry.and_then(|entry| entry.members.remove(&name)));
                state.unsettled.insert(Arc::clone(channel));
            }
            state.members -= gone.len();
        }
        self.bell.notify_one();
    }

    /// Whether the server listens for all of them.
    pub(super) fn has_joined(&self, channels: &[Arc<str>], name: u64, inbox: &Inbox) -> Joined {
        if let Some(error) = inbox.take_refusal() {
            return Joined::Never(error);
        }
        let state = self.lock();
        if state.closed {
            return Joined::Never(pool_core::AcquireError::Closed.into());
        }
        let is_in = |channel| {
            let entry: Option<&Channel> = state.channels.get(channel);
            entry.and_then(|entry| entry.members.get(&name)).is_some_and(|member| member.joined)
        };
        if channels.iter().all(is_in) { Joined::Yes } else { Joined::NotYet }
    }

    /// Starts the task if it is not there.
    pub(super) fn ensure_worker(self: &Arc<Self>, runtime: &Handle) {
        let starts = {
            let mut state = self.lock();
            let starts = !state.running && !state.closed;
            state.running |= starts;
            starts
        };
        if starts {
            // Dropped at once by a runtime that has ended: then the task is gone as in any other way.
            drop(runtime.spawn(Worker::new(Arc::clone(self)).run()));
        }
    }

    /// Whether the task may end, which it has to then: nobody is subscribed, or nothing comes any more.
    pub(super) fn let_worker_go(&self) -> bool {
        let mut state = self.lock();
        let ends = state.closed || state.is_deserted();
        if ends {
            state.running = false;
            state.forget();
        }
        ends
    }

    /// The task is gone before its time, with its runtime. Whoever waits starts another one.
    pub(super) fn lose_worker(&self) {
        let wakers = {
            let mut state = self.lock();
            state.running = false;
            state.inboxes().filter_map(|inbox| inbox.orphan()).collect()
        };
        wake(wakers);
        self.news.notify_waiters();
    }

    /// Another connection is there. Its number.
    pub(super) fn begin_line(&self) -> u64 {
        let mut state = self.lock();
        state.end_line();
        state.line += 1;
        (state.alive, state.heard, state.awaited) = (true, 0, None);
        state.line
    }

    /// A connection is lost, or is given up: those who were subscribed on it miss what is sent until there is another one.
    pub(super) fn end_line(&self, line: u64) {
        {
            let mut state = self.lock();
            if state.line != line {
                return;
            }
            state.end_line();
        }
        self.bell.notify_one();
    }

    /// Why it was lost.
    pub(super) fn note_loss(&self, why: &str) {
        self.lock().last = Some(why.into());
    }

    pub(super) fn last_loss(&self) -> Option<Arc<str>> {
        self.lock().last.clone()
    }

    /// What there is to do next on a connection.
    pub(super) fn next_task(&self, line: u64) -> Task {
        let mut state = self.lock();
        if state.line != line || !state.alive {
            return Task::Lost;
        }
        if state.closed || state.is_deserted() {
            // Whoever comes from now on waits for another connection.
            state.forget();
            return Task::Nothing;
        }
        state.settle()
    }

    /// The server listens for these.
    pub(super) fn confirm(&self, line: u64, channels: &[Arc<str>]) {
        let wakers = {
            let mut state = self.lock();
            if state.line != line || !state.alive {
                return;
            }
            let mut wakers = Vec::new();
            for name in channels {
                // Also if nobody is there any more: then it is to be ended.
                let channel = state.channels.entry(Arc::clone(name)).or_default();
                channel.listened = true;
                for member in channel.members.values_mut() {
                    member.joined = true;
                    wakers.extend(member.inbox.end_gap());
                }
                state.unsettled.insert(Arc::clone(name));
            }
            wakers
        };
        wake(wakers);
        self.news.notify_waiters();
    }

    /// Whoever waits for one of these channels waits in vain; for any, without a name.
    pub(super) fn refuse(&self, channel: Option<&Arc<str>>, error: &ListenError) {
        let mut refused = Vec::new();
        {
            let mut state = self.lock();
            for (name, entry) in &mut state.channels {
                if channel.is_none_or(|channel| channel == name) {
                    refused.extend(entry.members.extract_if(.., |_, member| !member.joined));
                }
            }
            state.members -= refused.len();
        }
        for (_, member) in refused {
            member.inbox.refuse(error.clone());
        }
        self.news.notify_waiters();
    }

    /// Nothing comes any more: the pool is closed.
    pub(super) fn close(&self) {
        let wakers = {
            let mut state = self.lock();
            state.closed = true;
            state.inboxes().filter_map(|inbox| inbox.close()).collect()
        };
        wake(wakers);
        self.news.notify_waiters();
    }

    /// Whether there is nobody to listen for.
    pub(super) fn is_deserted(&self) -> bool {
        self.lock().is_deserted()
    }

    /// Whether the task is there, which may have a connection.
    pub(super) fn has_worker(&self) -> bool {
        self.lock().running
    }

    /// Whether the pool has a connection to spare: one at least is left for callers.
    pub(super) fn room(&self) -> Result<(), ListenError> {
        let (max_size, kept) = (self.pool.config().max_size, self.pool.state().reserved);
        if kept + 1 < max_size { Ok(()) } else { Err(ListenError::PoolTooSmall { max_size, kept }) }
    }

    /// How many notifications have come on this connection.
    pub(super) fn heard(&self) -> u64 {
        self.lock().heard
    }

    /// Something is to come on this channel, to which nobody is subscribed.
    pub(super) fn await_on(&self, channel: &Arc<str>) {
        self.lock().awaited = Some(Arc::clone(channel));
    }

    /// Whether it has.
    pub(super) fn has_come(&self) -> bool {
        self.lock().awaited.is_none()
    }

    fn deliver(&self, line: u64, notification: &Notification) {
        let wakers = {
            let mut state = self.lock();
            if state.line != line || !state.alive {
                return;
            }
            state.heard += 1;
            if state.awaited.as_deref() == Some(notification.channel()) {
                state.awaited = None;
                self.bell.notify_one();
            }
            let channel = state.channels.get(notification.channel());
            let members = channel.into_iter().flat_map(|channel| channel.members.values());
            members.filter_map(|member| member.inbox.push(notification)).collect()
        };
        wake(wakers);
    }
}

impl State {
    fn is_deserted(&self) -> bool {
        self.members == 0
    }

    /// What was listened for is not any more, or not for long.
    fn forget(&mut self) {
        (self.members, self.channels, self.unsettled) = (0, BTreeMap::new(), BTreeSet::new());
    }

    fn end_line(&mut self) {
        if !mem::take(&mut self.alive) {
            return;
        }
        self.channels.retain(|_, channel| !channel.members.is_empty());
        for channel in self.channels.values_mut() {
            channel.listened = false;
            channel.members.values().filter(|member| member.joined).for_each(|member| member.inbox.begin_gap());
        }
        self.unsettled = self.channels.keys().cloned().collect();
    }

    /// What there is to do so that the server listens for what is wanted, and for nothing else.
    fn settle(&mut self) -> Task {
        let Self { channels, unsettled, .. } = self;
        let (mut again, mut new, mut old) = (Vec::new(), Vec::new(), Vec::new());
        unsettled.retain(|name| {
            let Some(channel) = channels.get(name) else { return false };
            let list = match (channel.listened, channel.members.is_empty()) {
                (true, false) => return false,
                (_, true) => &mut old,
                (false, false) if channel.members.values().any(|member| member.joined) => &mut again,
                (false, false) => &mut new,
            };
            list.push(Arc::clone(name));
            true
        });
        // From here on they count as not listened for: whoever comes meanwhile waits for another confirmation.
        let unwanted = old.into_iter().filter_map(|name| channels.remove(&name)?.listened.then_some(name));
        let old: Vec<_> = unwanted.collect();
        first_of(again, new, old)
    }

    /// Of all who are subscribed; of those to several channels, as often.
    fn inboxes(&self) -> impl Iterator<Item = &Arc<Inbox>> {
        self.channels.values().flat_map(|channel| channel.members.values()).map(|member| &member.inbox)
    }
}

/// What is done first: what is not wanted any more comes before what is.
fn first_of(again: Vec<Arc<str>>, new: Vec<Arc<str>>, old: Vec<Arc<str>>) -> Task {
    match (again.is_empty(), new.is_empty(), old.is_empty()) {
        (_, _, false) => Task::Unlisten(old),
        (false, ..) => Task::Again(again),
        (_, false, _) => Task::Listen(new),
        _ => Task::Rest,
    }
}

/// Wakes them, whatever one of them does: it is foreign code.
fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
    }
}

/// Takes the notifications of one connection off its wire. Dropped when that has ended.
pub(super) struct Ear {
    pub(super) hub: Arc<Hub>,
    pub(super) line: u64,
}

impl Sink for Ear {
    fn take(&self, notification: &tokio_postgres::Notification) {
        let (channel, payload) = (notification.channel(), notification.payload());
        self.hub.deliver(self.line, &Notification::new(channel, payload, notification.process_id()));
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.hub.end_line(self.line);
    }
}
