//! What moves the messages of a session, and notes how that ends.

use std::fmt;
use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use tokio::task::JoinHandle;
use tokio_postgres::{AsyncMessage, Connection, Notification};

use pool_core::trace::report;

use crate::bell::Bell;
use crate::courtesy;
use crate::encrypted::Encrypted;
use crate::end::{Counts, EndCause, SessionEnd};
use crate::tap::{Session, Tap};

pub(crate) type Wire = Connection<Tap, Encrypted<Tap>>;

/// Where the notifications of a session go. Called with the wire's lock, so it does not wait.
pub(crate) trait Sink: Send {
    fn take(&self, notification: &Notification);
}

/// The wire, moved by its task, and by whoever needs to know that nothing is left to move. Never held across an await.
#[derive(Debug)]
pub(crate) struct Shared {
    driven: Mutex<Driven>,
    /// That of the task, once it has run.
    bell: OnceLock<Arc<Bell>>,
    /// What has the server let go of a session that was cut off.
    dismissal: Mutex<Option<JoinHandle<()>>>,
}

impl Shared {
    pub(crate) fn new(wire: Wire, session: Arc<Session>, counts: Arc<Counts>) -> Self {
        let driven =
            Mutex::new(Driven { wire: Some(wire), ring: None, session, counts, end: None, parted: false, sink: None });
        Self { driven, bell: OnceLock::new(), dismissal: Mutex::default() }
    }

    /// The session was cut off, and this has the server let go of it.
    pub(crate) fn dismissed_by(&self, task: JoinHandle<()>) {
        *self.dismissal() = Some(task);
    }

    /// Returns once the server has let go of a session that was cut off, or that was given up.
    ///
    /// Cancel safety: it goes on in the background.
    pub(crate) async fn dismissed(&self) {
        let dismissal = self.dismissal().take();
        if let Some(dismissal) = dismissal {
            // Owned across the await: a handle, without which the task goes on.
            let _ = dismissal.await;
        }
    }

    fn dismissal(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.dismissal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Bell::silent_at`].
    pub(crate) fn silent_at(&self) -> Option<u64> {
        self.bell.get()?.silent_at()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Driven> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, Driven>> {
        match self.driven.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

pub(crate) struct Driven {
    /// `None` once the session has ended.
    wire: Option<Wire>,
    /// That of the task, once it has run: whoever moves the wire registers the task for what comes next, not itself.
    ring: Option<Ring>,
    session: Arc<Session>,
    counts: Arc<Counts>,
    /// How it ended, unless its client closed it.
    end: Option<SessionEnd>,
    /// Whether its client closes it.
    parted: bool,
    /// Who wants to have its notifications, until it has ended.
    sink: Option<Box<dyn Sink>>,
}

/// A bell, and what rings it.
struct Ring {
    bell: Arc<Bell>,
    waker: Waker,
}

impl Ring {
    fn new(task: &Waker) -> Self {
        let bell = Arc::new(Bell::new(task.clone()));
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }
}

impl fmt::Debug for Driven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driven").field("open", &self.wire.is_some()).field("end", &self.end).finish_non_exhaustive()
    }
}

impl Driven {
    /// Moves all messages that can be moved now. Ready once the session has ended.
    pub(crate) fn advance(&mut self) -> Poll<()> {
        let Some(wire) = &mut self.wire else { return Poll::Ready(()) };
        let mut context = match &self.ring {
            Some(ring) => {
                ring.bell.silence();
                Context::from_waker(&ring.waker)
            }
            None => Context::from_waker(Waker::noop()),
        };
        self.session.expect_read();
        let error = loop {
            match wire.poll_message(&mut context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(message))) => note(&message, self.sink.as_deref()),
                // `None`: the client said goodbye.
                Poll::Ready(end) => break end.and_then(Result::err),
            }
        };
        (self.wire, self.sink) = (None, None);
        self.keep(error.map(|error| SessionEnd::by_error(&error)));
        Poll::Ready(())
    }

    /// As [`advance`](Self::advance), unless nothing has happened since that was done last, as far as the bell tells: then there is nothing to move but what somebody is about to ring for.
    pub(crate) fn catch_up(&mut self) {
        if self.ring.as_ref().is_none_or(|ring| ring.bell.is_rung()) {
            let _ = self.advance();
        }
    }

    /// Whether the client takes what comes, if there is anything to come. After [`advance`](Self::advance).
    pub(crate) fn is_read(&self) -> bool {
        self.wire.is_none() || self.session.is_read()
    }

    /// Notes an end: the server's reason if it gave one, or else this.
    fn keep(&mut self, otherwise: Option<SessionEnd>) {
        let Some(end) = self.session.farewell().map(SessionEnd::by_server).or(otherwise) else { return };
        self.counts.count(&end);
        // Known before it is reported: whoever listens may panic.
        let end = self.end.insert(end);
        report(|| tracing::debug!(cause = end.label(), "a session ended: {end}"));
    }

    /// What happens from now on wakes this task, by a bell that is new if it is not the task that has been woken so far. What has been registered for that one stays so until the wire is moved.
    fn ring_for(&mut self, task: &Waker) -> Option<Arc<Bell>> {
        if self.ring.as_ref().is_some_and(|ring| ring.bell.wakes(task)) {
            return None;
        }
        let ring = Ring::new(task);
        let bell = Arc::clone(&ring.bell);
        if let Some(last) = self.ring.replace(ring) {
            // Nobody silences it any more.
            last.bell.ring();
        }
        Some(bell)
    }

    /// Says who is to have the notifications from now on. Of a session that has ended there are none, so that it is dropped at once.
    pub(crate) fn divert(&mut self, sink: Option<Box<dyn Sink>>) {
        self.sink = sink.filter(|_| self.wire.is_some());
    }

    /// The client goes: what ends the session from now on is the pool's own doing.
    pub(crate) fn part(&mut self) {
        self.parted = true;
    }

    /// Takes the wire out, and with it the task's waker: there is nothing to move any more. The wire is to be dropped without the lock.
    pub(crate) fn take(&mut self, cause: EndCause) -> (Option<Wire>, Option<Waker>) {
        let wire = self.wire.take();
        self.sink = None;
        if wire.is_some() {
            self.keep((!self.parted).then(|| SessionEnd::by_us(cause)));
        }
        let ring = self.ring.take();
        if let Some(ring) = &ring {
            // Nobody silences it any more.
            ring.bell.ring();
        }
        (wire, ring.map(|ring| ring.waker))
    }

    /// How the session has ended, unless its client closed it.
    pub(crate) fn end(&self) -> Option<&SessionEnd> {
        self.end.as_ref()
    }
}

fn note(message: &AsyncMessage, sink: Option<&dyn Sink>) {
    match (message, sink) {
        (AsyncMessage::Notice(notice), _) => {
            report(|| {
                tracing::debug!(severity = notice.severity(), code = notice.code().code(), "{}", notice.message());
            });
        }
        (AsyncMessage::Notification(notification), Some(sink)) => sink.take(notification),
        _ => {}
    }
}

/// Ends the session together with its task, which ends with its runtime.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let wire = self.0.lock().take(EndCause::Runtime);
        drop(wire);
    }
}

/// The task of a session: moves the messages until it has ended. Dropped before that, even unpolled, it ends the session.
pub(crate) fn run(wire: Arc<Shared>, session: Arc<Session>, is_near: bool) -> impl Future<Output = ()> + Send {
    let wire = EndOnDrop(wire);
    async move {
        // Owned across the awaits: the wire. Dropped, the session ends.
        while turn(&wire.0).await.is_continue() {
            // Whoever is about to ask something does so before anything is sent, and all of it leaves together. One who asks alone does not wait for that.
            if session.requests().are_many() {
                if is_near {
                    courtesy::offer();
                }
                give_way().await;
            }
        }
    }
}

/// Returns when the tasks that were ready have had their turn, and those that they have made ready. Unlike tokio's `yield_now`, it leaves the task where another thread can take it, if this one is held up by what it runs next.
async fn give_way() {
    const TURNS: u32 = 2;
    let mut turns = 0;
    // Owned across the await: nothing.
    poll_fn(|context| {
        if turns == TURNS {
            return Poll::Ready(());
        }
        turns += 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Moves all messages that can be moved now, and returns when something has happened since; or at once, if the session has ended.
///
/// Cancel safety: what is moved stays so.
async fn turn(wire: &Shared) -> ControlFlow<()> {
    let mut was_moved = false;
    // Owned across the await: nothing.
    poll_fn(|context| {
        if was_moved {
            return Poll::Ready(ControlFlow::Continue(()));
        }
        was_moved = true;
        let mut driven = wire.lock();
        if let Some(bell) = driven.ring_for(context.waker()) {
            // The first alone, and a task of tokio has only one.
            let _ = wire.bell.set(bell);
        }
        driven.advance().map(ControlFlow::Break)
    })
    .await
}
