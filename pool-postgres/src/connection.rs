//! One session.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_postgres::{CancelToken, Client, Error};

use crate::cluster::Begun;
use crate::config::TargetSessionAttrs;
use crate::diagnosis::{Advice, Diagnosis, Fate};
use crate::end::{Counts, EndCause, SessionEnd};
use crate::error::ConnectError;
use crate::limits::Tally;
use crate::role::Role;
use crate::server::{Peer, Server};
use crate::socket::Stream;
use crate::statements::{Knowledge, Statements};
use crate::tap::{Changes, Grip, Hold, Mark, Session, Target};
use crate::wire::{Driven, Shared, Sink, run};

/// One session with PostgreSQL; derefs to [`tokio_postgres::Client`].
#[derive(Debug)]
pub struct PostgresConnection {
    client: Client,
    session: Arc<Session>,
    wire: Arc<Shared>,
    task: JoinHandle<()>,
    /// Where the task runs.
    runtime: Handle,
    peer: Arc<Peer>,
    /// What its server has to be, for as long as it is used.
    wanted: TargetSessionAttrs,
    accepted_at: Instant,
    statements: Statements,
    tally: Tally,
    /// How many requests there had been when it was put in order.
    in_order_at: u64,
    /// What a hook has changed in it, and means to stay.
    kept: Changes,
    /// How often its messages had been moved when it was found to be in order.
    in_order_after: Option<u64>,
    /// Whether something may be in the client's queue that nobody waits for.
    is_loose: AtomicBool,
}

/// Whether a session has been used since it was put in order, and what was changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    is_used: bool,
    changes: Changes,
}

impl PostgresConnection {
    /// Starts the task that moves the messages of the session. In a runtime only.
    pub(crate) fn new(begun: Begun, counts: &Arc<Counts>, knowledge: &Arc<Knowledge>) -> Self {
        let Begun { client, wire, session, peer } = begun;
        let tally = Tally::new(&peer.server, &session);
        let wire = Arc::new(Shared::new(wire, Arc::clone(&session), Arc::clone(counts)));
        let runtime = Handle::current();
        let task = runtime.spawn(run(Arc::clone(&wire), Arc::clone(&session), peer.server.is_near()));
        let (wanted, accepted_at) = (TargetSessionAttrs::Any, Instant::now());
        let (in_order_at, kept, in_order_after, is_loose) = (0, Changes::NONE, None, AtomicBool::new(true));
        let config = &peer.server.settings.config;
        session.pace().set_limit(config.multiplexing.apart_after);
        let statements = Statements::new(&config.statements, knowledge, tally.counters());
        Self {
            client,
            session,
            wire,
            task,
            runtime,
            peer,
            wanted,
            accepted_at,
            statements,
            tally,
            in_order_at,
            kept,
            in_order_after,
            is_loose,
        }
    }

    /// Its server has been found to be this, and has to stay it.
    pub(crate) fn accepted_as(mut self, wanted: TargetSessionAttrs) -> Self {
        (self.wanted, self.accepted_at) = (wanted, Instant::now());
        self
    }

    /// When its server was found to be what is wanted.
    pub(crate) fn accepted_at(&self) -> Instant {
        self.accepted_at
    }

    /// What the server is by now, if it is not what was wanted when the session began. The server tells on its own, after whatever it is asked next (PostgreSQL 14 and later).
    pub(crate) fn left_its_role(&self) -> Option<Role> {
        self.session.role().filter(|role| role.unsuitable(self.wanted).is_some())
    }

    /// The client that it derefs to, for anything: something of what it is asked may stay in its queue.
    pub(crate) fn client(&self) -> &Client {
        self.note_loose();
        &self.client
    }

    /// The same, for one who waits for the answer, and says so if he does not or if it is an error.
    pub(crate) fn client_waited_for(&self) -> &Client {
        &self.client
    }

    /// Something may be in the client's queue that nobody waits for.
    pub(crate) fn note_loose(&self) {
        self.is_loose.store(true, Ordering::Relaxed);
    }

    /// What it has prepared.
    pub(crate) fn statements(&self) -> &Statements {
        &self.statements
    }

    /// How the session has ended; `None` while it goes on. The error that a request fails with often says no more than that the connection is closed.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn ask(lease: &pool_postgres::PostgresLease<'_>) {
    /// if let Err(error) = lease.batch_execute("SELECT 1").await {
    ///     let end = lease.ended().map(|end| end.to_string());
    ///     println!("{error} {}", end.unwrap_or_default());
    /// }
    /// # }
    /// ```
    pub fn ended(&self) -> Option<SessionEnd> {
        self.wire.lock().end().cloned()
    }

    /// Remembers how far the requests have come, for [`diagnose`](Self::diagnose).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn ask(lease: &pool_postgres::PostgresLease<'_>) {
    /// let mark = lease.mark();
    /// let again = match lease.batch_execute("INSERT INTO t VALUES (1)").await {
    ///     Ok(()) => false,
    ///     Err(error) => lease.diagnose(&error, mark).safe_to_retry,
    /// };
    /// # }
    /// ```
    pub fn mark(&self) -> Mark {
        self.session.mark()
    }

    /// What an error means that a request on this session has failed with, which began after the mark was taken.
    ///
    /// It knows more than [`Diagnosis::of`]. If the session has ended and nothing was written since the mark, the request has not been sent: it is
    /// [safe to retry](Diagnosis::safe_to_retry), unless it belonged to a transaction, which is gone. If the server ended the session, it is the server's reason that counts.
    ///
    /// To ask tells the pool: where the session is to be [closed](crate::diagnosis::Fate::Close), it is when it comes back. What this crate asks itself, it has asked what it means.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::PostgresPool;
    /// use pool_postgres::tokio_postgres::Error;
    ///
    /// /// Inserts once, though the first session may have ended unnoticed.
    /// async fn insert(pool: &PostgresPool) -> Result<(), Box<dyn std::error::Error>> {
    ///     loop {
    ///         let lease = pool.acquire().await?;
    ///         let mark = lease.mark();
    ///         match lease.batch_execute("INSERT INTO t VALUES (1)").await {
    ///             Err(error) if lease.diagnose(&error, mark).safe_to_retry => {}
    ///             outcome => return Ok(outcome?),
    ///         }
    ///     }
    /// }
    /// ```
    pub fn diagnose(&self, error: &Error, since: Mark) -> Diagnosis {
        let diagnosis = self.find_out(error, since);
        // The one place where that becomes known which the messages do not tell: that the client cannot read them.
        if diagnosis.fate == Fate::Close {
            self.session.condemn();
        }
        diagnosis
    }

    fn find_out(&self, error: &Error, since: Mark) -> Diagnosis {
        let by_error = Diagnosis::of(error);
        if !error.is_closed() {
            return by_error;
        }
        let Some(end) = self.ended() else { return by_error };
        match (self.is_unsent(error, since), since.was_at_rest() || since.is_shared()) {
            (true, true) => Diagnosis { advice: Advice::RetryNow, ..end.diagnosis() }.unsent(),
            (true, false) => Diagnosis { advice: Advice::RetryTransaction, ..end.diagnosis() },
            (false, _) => end.diagnosis(),
        }
    }

    /// Whether a request that has failed with this error, and began after the mark was taken, was not sent, since the session had ended.
    pub(crate) fn is_unsent(&self, error: &Error, since: Mark) -> bool {
        error.is_closed() && self.ended().is_some() && self.session.is_unwritten_since(since)
    }

    /// Whether nothing has come of all that was asked since the mark, on a session that was at rest then: it was not sent, or has been answered without a command that was completed.
    pub(crate) fn has_done_nothing_since(&self, mark: Mark) -> bool {
        // What is still in the client's queue would be done later.
        if !self.settle() {
            return false;
        }
        let refused = || self.session.is_at_rest() && self.session.has_completed_nothing_since(mark);
        self.session.is_unwritten_since(mark) || (!self.is_closed() && refused())
    }

    /// Whether an error has been reported after which the session is not used any more.
    pub(crate) fn is_condemned(&self, settled: bool) -> bool {
        self.session.is_condemned(settled)
    }

    /// Says who is to have the notifications of the session from now on; they are dropped otherwise.
    pub(crate) fn divert(&self, sink: Option<Box<dyn Sink>>) {
        self.wire.lock().divert(sink);
    }

    /// The server, by the name that errors give it.
    pub(crate) fn host(&self) -> &str {
        &self.peer.server.name
    }

    /// The server.
    pub(crate) fn server(&self) -> &Server {
        &self.peer.server
    }

    /// What is counted of its requests.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Where it runs.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// The way to the server.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// What ends the session while somebody uses it.
    pub(crate) fn line(&self) -> Line {
        let (wire, session) = (Arc::clone(&self.wire), Arc::clone(&self.session));
        let (token, runtime) = (self.client.cancel_token(), self.runtime.clone());
        Line { wire, session, token, runtime, peer: Arc::clone(&self.peer) }
    }

    /// What the session is doing. Exact only after [`settle`](Self::settle).
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The same, for one who needs the connection for something else meanwhile.
    pub(crate) fn share_session(&self) -> Arc<Session> {
        Arc::clone(&self.session)
    }

    /// Whether anything has been asked since the session was put in order.
    pub(crate) fn is_used(&self) -> bool {
        self.session.asked() != self.in_order_at
    }

    /// It is in order: nothing of its user is left.
    pub(crate) fn note_order(&mut self) {
        self.session.set_changes(Changes::NONE);
        self.in_order_at = self.session.asked();
    }

    /// What has been changed since it was put in order stays. To reset a parameter leaves nothing.
    pub(crate) fn keep_changes(&mut self) {
        let changes = self.session.changes();
        self.kept = self.kept.and(changes.but(Changes::UNSET).but(Changes::LOST));
        self.note_order();
        // Nobody can mean that to stay: the client goes on using what is gone.
        self.session.set_changes(changes.common(Changes::LOST));
    }

    /// What stays.
    pub(crate) fn kept(&self) -> Changes {
        self.kept
    }

    /// For whoever asks something that is not the user's.
    pub(crate) fn usage(&self) -> Usage {
        Usage { is_used: self.is_used(), changes: self.session.changes() }
    }

    /// What has been asked since was not the user's.
    pub(crate) fn restore(&mut self, before: Usage) {
        self.session.set_changes(before.changes);
        if !before.is_used {
            self.in_order_at = self.session.asked();
        }
    }

    /// As [`settle`](Self::settle), for one who has it for himself. Mostly there is nothing to do: who has used it has waited for all answers, and the bell is silent.
    pub(crate) fn settle_alone(&mut self) -> bool {
        if *self.is_loose.get_mut() {
            let settled = self.settle();
            *self.is_loose.get_mut() = !settled;
            return settled;
        }
        self.settle_by(Driven::catch_up)
    }

    /// How often its messages have been moved, if there is nothing to move; for [`found_in_order`](Self::found_in_order).
    pub(crate) fn silent_at(&self) -> Option<u64> {
        self.wire.silent_at()
    }

    /// It was in order after its messages had been moved so often. To be asked before it is looked at whether it is.
    pub(crate) fn found_in_order(&mut self, silent_at: Option<u64>) {
        self.in_order_after = silent_at;
    }

    /// Whether nothing has happened on its wire since it was found to be in order, when nothing was in the client's queue but the closing of statements. Says so once, so that one who has had it in the meantime is not believed.
    pub(crate) fn is_untouched(&mut self) -> bool {
        let after = self.in_order_after.take();
        after.is_some() && after == self.silent_at()
    }

    /// Puts everything on the wire that the client has been asked to send, as far as that works without waiting. A future of the
    /// client that was polled once and dropped has left its request in a queue where nobody else sees it. `false` if the
    /// session's own task is at it and did not get done in a moment, or if nothing is sent for now, since the server is being asked to cancel something.
    pub(crate) fn settle(&self) -> bool {
        self.settle_by(|driven| _ = driven.advance())
    }

    fn settle_by(&self, move_messages: impl Fn(&mut Driven)) -> bool {
        /// A few microseconds, which is what one turn of the task takes.
        const SPINS: u32 = 500;
        /// The system may have taken the processor from the task in the middle of its turn.
        const YIELDS: u32 = 100;
        for attempt in 0..SPINS + YIELDS {
            if let Some(mut driven) = self.wire.try_lock() {
                move_messages(&mut driven);
                return !self.session.requests().is_held() && driven.is_read();
            }
            if attempt < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
        false
    }

    /// As [`settle`](Self::settle), for one who cannot come back: after the turn of the session's own task, if that is at it.
    pub(crate) fn take_turn(&self) {
        let _ = self.wire.lock().advance();
    }

    /// Whether the server may be asked to stop the request before which so many have been answered, since nobody wants the rest of the answer. Nothing is sent until it has been told to, so
    /// that this cannot hit what is asked next. It may not if the answer is there, or something has been sent behind the request.
    pub(crate) fn grip(&self, number: u64) -> Grip {
        // Whoever has the wire knows that nobody else writes.
        let _wire = self.wire.lock();
        Hold::grip(&self.session, Target::Numbers(number + 1, number + 1))
    }

    /// Ends the session at once, in the background: it waits for something that nobody can give it.
    pub(crate) fn cut(&self) {
        self.line().cut(self.peer.server.settings.config.pool.close_timeout);
    }

    /// Ends the session and returns once the server has closed it. What it is doing, and nobody waits for, is cancelled if it takes long.
    ///
    /// Cancel safety: dropping the future closes the socket at once.
    pub(crate) async fn end(self) {
        self.wire.lock().part();
        let quiet = self.settle() && !self.session.is_busy();
        let line = self.line();
        if let Some(stream) = (!quiet).then(|| line.take_stream()).flatten() {
            // Owned across the await: the stream, by the call, and the session without it. Dropping the stream closes it.
            line.peer.dismiss(stream, &line.token, false).await;
        }
        // Owned across the await: the session, which was cut off before if there is anything to wait for. It keeps its place until the server has let go of it.
        self.wire.dismissed().await;
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
    peer: Arc<Peer>,
}

impl Line {
    /// As [`cut`](Self::cut), as soon as somebody else has had a turn: a close that is about to drop what is under way does so first.
    pub(crate) fn cut_soon(self, limit: Duration) {
        let (runtime, dismissal) = (self.runtime.clone(), self.peer.server.settings.dismissals.begin());
        drop(runtime.spawn(async move {
            self.cut(limit);
            drop(dismissal);
        }));
    }

    /// Ends the session: its user's requests fail, and then, in the background, the server is made to let go of it.
    pub(crate) fn cut(self, limit: Duration) {
        let Some(stream) = self.take_stream() else { return };
        let (runtime, wire) = (self.runtime.clone(), Arc::clone(&self.wire));
        let dismissal = self.peer.server.settings.dismissals.begin();
        // Dropped if the runtime has ended: then the session has, too.
        wire.dismissed_by(runtime.spawn(async move {
            // Owned across the await: the stream, and that it is being dismissed. Dropping the stream closes it.
            let _ = timeout(limit, self.peer.dismiss(stream, &self.token, self.session.is_busy())).await;
            drop(dismissal);
        }));
    }

    /// Whether the server may be asked to cancel a request for which nobody waits any more. Puts all that can be sent on the wire.
    pub(crate) fn grip(&self, target: Target) -> Grip {
        let mut driven = self.wire.lock();
        let _ = driven.advance();
        Hold::grip(&self.session, target)
    }

    /// How many requests have been answered; `None` if not all of that has been passed on to those who have asked.
    pub(crate) fn heard(&self) -> Option<u64> {
        let mut driven = self.wire.lock();
        let _ = driven.advance();
        let answered = self.session.requests().answered();
        // A client that could not pass something on the first time would not read the second time.
        let _ = driven.advance();
        driven.is_read().then_some(answered)
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Where the session runs.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Asks the server to cancel what the session is doing. As [`Peer::cancel`].
    pub(crate) async fn cancel(&self) -> Result<(), ConnectError> {
        // Owned across the await: nothing. The server may have been asked.
        self.peer.cancel(&self.token).await
    }

    /// Ends the session for its client, but not yet for the server. `None` if it has ended.
    fn take_stream(&self) -> Option<Box<dyn Stream>> {
        let (wire, waker) = self.wire.lock().take(EndCause::CutOff);
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

impl Deref for PostgresConnection {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client()
    }
}

impl DerefMut for PostgresConnection {
    fn deref_mut(&mut self) -> &mut Client {
        self.note_loose();
        &mut self.client
    }
}
