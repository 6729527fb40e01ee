//! One session.

use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection};

use crate::server::Server;
use crate::socket::Stream;
use crate::tap::{Session, Tap};

/// One session with PostgreSQL; derefs to [`tokio_postgres::Client`].
#[derive(Debug)]
pub struct PostgresConnection {
    client: Client,
    session: Arc<Session>,
    wire: Arc<Shared>,
    task: JoinHandle<()>,
    /// Where the task runs.
    runtime: Handle,
    host: Arc<str>,
}

pub(crate) type Wire = Connection<Tap, NoTlsStream>;

impl PostgresConnection {
    /// Starts the task that moves the messages of the session. In a runtime only.
    pub(crate) fn new(client: Client, wire: Wire, session: Arc<Session>, host: Arc<str>) -> Self {
        let wire = Arc::new(Shared(Mutex::new(Driven { wire: Some(wire), waker: None })));
        let runtime = Handle::current();
        let task = runtime.spawn(run(EndOnDrop(Arc::clone(&wire))));
        Self { client, session, wire, task, runtime, host }
    }

    /// The server, by the name that errors give it.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What ends the session while somebody uses it.
    pub(crate) fn line(&self) -> Line {
        let (wire, session) = (Arc::clone(&self.wire), Arc::clone(&self.session));
        Line { wire, session, token: self.client.cancel_token(), runtime: self.runtime.clone() }
    }

    /// What the session is doing. Exact only after [`settle`](Self::settle).
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Puts everything on the wire that the client has been asked to send, as far as that works without waiting. A future of the
    /// client that was polled once and dropped has left its request in a queue where nobody else sees it. `false` if the
    /// session's own task is at it and did not get done in a moment.
    pub(crate) fn settle(&self) -> bool {
        /// A few microseconds, which is what one turn of the task takes.
        const ATTEMPTS: u32 = 500;
        for _ in 0..ATTEMPTS {
            if let Some(mut driven) = self.wire.try_lock() {
                let _ = driven.advance();
                return true;
            }
            std::hint::spin_loop();
        }
        false
    }

    /// Ends the session and returns once the server has closed it. What it is doing, and nobody waits for, is cancelled if it takes long.
    ///
    /// Cancel safety: dropping the future closes the socket at once.
    pub(crate) async fn end(self, server: &Server) {
        let quiet = self.settle() && !self.session.is_busy();
        let line = self.line();
        if let Some(stream) = (!quiet).then(|| line.take_stream()).flatten() {
            // Owned across the await: the stream, by the call, and the session without it. Dropping the stream closes it.
            server.dismiss(stream, &line.token, false).await;
        }
        let mut task = AbortOnDrop(self.task);
        // The task says goodbye to the server when its client is gone.
        drop(self.client);
        // Owned across the await: the task. Aborting it drops the socket.
        let _ = (&mut task.0).await;
    }
}

/// A session, for one who does not have it.
pub(crate) struct Line {
    wire: Arc<Shared>,
    session: Arc<Session>,
    token: CancelToken,
    runtime: Handle,
}

impl Line {
    /// Ends the session, in the background: its user's requests fail, and then the server is made to let go of it.
    pub(crate) fn cut(self, server: Arc<Server>) {
        let limit = server.config.pool.close_timeout;
        let runtime = self.runtime.clone();
        // Dropped if the runtime has ended: then the session has, too.
        drop(runtime.spawn(async move {
            let Some(stream) = self.take_stream() else { return };
            // Owned across the await: the stream. Dropping it closes it.
            let _ = timeout(limit, server.dismiss(stream, &self.token, self.session.is_busy())).await;
        }));
    }

    /// Ends the session for its client, but not yet for the server. `None` if it has ended.
    fn take_stream(&self) -> Option<Box<dyn Stream>> {
        let (wire, waker) = {
            let mut driven = self.wire.lock();
            (driven.wire.take(), driven.waker.take())
        };
        let stream = self.session.take_stream_of(wire);
        // The task has nothing to do any more.
        waker.into_iter().for_each(Waker::wake);
        stream
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The wire, moved by its task, and by whoever needs to know that nothing is left to move. Never held across an await.
#[derive(Debug)]
struct Shared(Mutex<Driven>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Driven> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Driven>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

struct Driven {
    /// `None` once the session has ended.
    wire: Option<Wire>,
    /// That of the task: whoever moves the wire registers the task for what comes next, not itself.
    waker: Option<Waker>,
}

impl std::fmt::Debug for Driven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driven").field("open", &self.wire.is_some()).finish_non_exhaustive()
    }
}

impl Driven {
    /// Moves all messages that can be moved now. Ready once the session has ended.
    fn advance(&mut self) -> Poll<()> {
        let mut context = Context::from_waker(self.waker.as_ref().unwrap_or(Waker::noop()));
        while let Some(wire) = &mut self.wire {
            match wire.poll_message(&mut context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(message))) => note(&message),
                Poll::Ready(end) => {
                    if let Some(Err(error)) = end {
                        // The client reports it to whoever uses the connection; `inspect` sees that it is closed.
                        tracing::debug!(%error, "a session ended");
                    }
                    self.wire = None;
                }
            }
        }
        Poll::Ready(())
    }
}

fn note(message: &AsyncMessage) {
    if let AsyncMessage::Notice(notice) = message {
        tracing::debug!(severity = notice.severity(), code = notice.code().code(), "{}", notice.message());
    }
}

/// Ends the session together with its task, which ends with its runtime.
struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let wire = self.0.lock().wire.take();
        drop(wire);
    }
}

async fn run(wire: EndOnDrop) {
    poll_fn(|context| {
        let mut driven = wire.0.lock();
        match &mut driven.waker {
            Some(waker) => waker.clone_from(context.waker()),
            place => *place = Some(context.waker().clone()),
        }
        driven.advance()
    })
    .await;
}

impl Deref for PostgresConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for PostgresConnection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
