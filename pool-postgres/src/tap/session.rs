//! What is known about a session outside of its task.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::changes::Changes;
use super::command::LastCommand;
use super::copying::Copying;
use super::joining::Joining;
use super::pace::Pace;
use super::parameters::Parameters;
use super::prepared::Prepared;
use super::requests::Requests;
use super::traffic::Traffic;
use super::turns::{Ending, Turn, Turns};
use super::words::Words;
use crate::diagnosis::{Diagnosis, Fate};
use crate::role::Role;
use crate::socket::Stream;

/// What a session is doing, as far as messages have passed.
#[derive(Default)]
pub(crate) struct Session {
    /// As `ReadyForQuery` has it, or `BUSY`.
    status: AtomicU8,
    /// Whether the pool itself asks, not a user.
    on_duty: AtomicBool,
    /// How often something was written.
    writes: AtomicU64,
    /// How many commands the server has reported as completed.
    completed: AtomicU64,
    /// How often it has found a statement and its parameters to be in order.
    bound: AtomicU64,
    /// Those that begin and end transactions.
    turns: Turns,
    /// How often a `COMMIT` was sent, as far as the beginnings of simple queries tell.
    commits_asked: AtomicU64,
    /// Whether that is what the server is at.
    committing: AtomicBool,
    /// What an error has made of the connection: nothing, or one of the two below.
    verdict: AtomicU8,
    /// Whether the server is a standby, and whether it writes only if told to, as it reports it.
    standby: Reported,
    read_only: Reported,
    parameters: Parameters,
    /// What may outlive a transaction, as [`Changes`] has it.
    changes: AtomicU8,
    last_command: LastCommand,
    /// The server's process; zero until it has said so.
    process: AtomicU32,
    traffic: Traffic,
    last_words: Mutex<Option<Words>>,
    remains: Mutex<Remains>,
    requests: Requests,
    /// Whether the client has wanted to read when its messages were moved last.
    reads: AtomicBool,
    pub(crate) copying: Copying,
    pub(crate) joining: Joining,
    pub(crate) prepared: Prepared,
}

/// A parameter that is on or off, as the server has reported it last, if it has.
#[derive(Default)]
struct Reported(AtomicU8);

impl Reported {
    const OFF: u8 = 1;
    const ON: u8 = 2;

    fn note(&self, value: &[u8]) {
        self.0.store(if value == b"on" { Self::ON } else { Self::OFF }, Ordering::Release);
    }

    fn get(&self) -> Option<bool> {
        let value = self.0.load(Ordering::Acquire);
        (value != 0).then_some(value == Self::ON)
    }
}

/// An error says that the connection is to be closed.
const CONDEMNED: u8 = 1;
/// An error says that the server does not write.
const READ_ONLY: u8 = 2;

/// How far the requests of a session had come at some moment, by [`PostgresConnection::mark`](crate::PostgresConnection::mark).
///
/// # Example
///
/// ```no_run
/// # async fn ask(lease: &pool_postgres::PostgresLease<'_>) {
/// let mark = lease.mark();
/// if let Err(error) = lease.batch_execute("SELECT 1").await {
///     println!("{:?}", lease.diagnose(&error, mark));
/// }
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    writes: u64,
    completed: u64,
    bound: u64,
    commits_asked: u64,
    turn: Turn,
    at_rest: bool,
    inside: bool,
    shared: bool,
}

impl Mark {
    /// As it is, for what is asked beside others who ask for something else meanwhile: a statement of its own, which is no part of a transaction.
    pub(crate) fn shared(self, shared: bool) -> Self {
        Self { shared, ..self }
    }

    /// Whether others ask for something meanwhile.
    pub(crate) fn is_shared(self) -> bool {
        self.shared
    }

    /// Whether no transaction was open and no answer due.
    pub(crate) fn was_at_rest(self) -> bool {
        self.at_rest
    }

    /// Whether a transaction was open when the server was ready last.
    pub(crate) fn was_inside(self) -> bool {
        self.inside
    }

    /// Whether no `COMMIT` was sent between the two, as far as that is seen.
    pub(crate) fn asks_no_commit_until(self, later: Self) -> bool {
        self.commits_asked == later.commits_asked
    }
}

/// Whether somebody wants the stream when its tap is dropped.
#[derive(Default)]
enum Remains {
    /// It is closed.
    #[default]
    Unwanted,
    Wanted,
    Here(Box<dyn Stream>),
}

impl Session {
    pub(super) const BUSY: u8 = 0;
    const IDLE: u8 = b'I';

    /// Whether no answer is due and no transaction is open.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.status() == Self::IDLE
    }

    /// Whether no answer is due, and a transaction is open that has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.status() == b'E'
    }

    /// Whether no answer is due, but a transaction is open.
    pub(crate) fn is_in_transaction(&self) -> bool {
        !matches!(self.status(), Self::IDLE | Self::BUSY)
    }

    /// Whether answers are due.
    pub(crate) fn is_busy(&self) -> bool {
        self.status() == Self::BUSY
    }

    /// The messages of the session are about to be moved. Only whoever holds the wire says so.
    pub(crate) fn expect_read(&self) {
        self.reads.store(false, Ordering::Relaxed);
    }

    /// The client wants to read.
    pub(super) fn note_read(&self) {
        self.reads.store(true, Ordering::Relaxed);
    }

    /// Whether the client takes what comes. If not, somebody has part of an answer and does not want the rest, and nobody gets another one: for whoever holds the wire, after messages were moved.
    pub(crate) fn is_read(&self) -> bool {
        self.reads.load(Ordering::Relaxed)
    }

    /// Its requests, one by one.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    pub(crate) fn status(&self) -> u8 {
        self.status.load(Ordering::Acquire)
    }

    pub(super) fn set_busy(&self) {
        self.set(Self::BUSY);
    }

    pub(super) fn set(&self, status: u8) {
        self.status.store(status, Ordering::Release);
    }

    /// Something is written, or was perhaps. Only whoever holds the wire writes.
    pub(super) fn note_write(&self) {
        self.writes.store(self.writes.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            writes: self.writes.load(Ordering::Acquire),
            completed: self.completed.load(Ordering::Acquire),
            bound: self.bound.load(Ordering::Acquire),
            commits_asked: self.commits_asked.load(Ordering::Acquire),
            turn: self.turns.now(),
            at_rest: self.is_at_rest(),
            inside: self.turns.is_inside(),
            shared: false,
        }
    }

    /// The server is ready, with this status. Only whoever holds the wire reads.
    pub(super) fn note_ready(&self, status: u8) {
        self.turns.note_ready(status);
    }

    /// Whether the last `BEGIN` has begun a transaction, and was not given inside of one.
    pub(crate) fn has_begun(&self) -> bool {
        self.turns.has_begun()
    }

    /// Whether a transaction that was open at the mark has ended. Another one may have begun at once.
    pub(crate) fn has_ended_one_since(&self, mark: Mark) -> bool {
        mark.turn.has_ended_by(self.turns.now())
    }

    /// How a transaction has ended that was open at the mark, given that the last command was a `COMMIT` or a `ROLLBACK` and has been answered. A failed transaction cannot be committed: the server
    /// answers the one as the other then, and reports no error.
    pub(crate) fn ending_since(&self, mark: Mark) -> Ending {
        mark.turn.ending_by(self.turns.now())
    }

    /// Whether no transaction has been committed since, nor another one begun.
    pub(crate) fn has_committed_nothing_since(&self, mark: Mark) -> bool {
        mark.turn.has_committed_nothing_by(self.turns.now())
    }

    /// A `COMMIT` is sent. Only whoever holds the wire writes.
    pub(super) fn note_commit_asked(&self) {
        self.commits_asked.fetch_add(1, Ordering::Release);
    }

    /// Whether the server is at a `COMMIT`. Only whoever holds the wire says so.
    pub(super) fn set_committing(&self, is_committing: bool) {
        self.committing.store(is_committing, Ordering::Release);
    }

    /// Whether the request that the server is at is a `COMMIT`, as far as its beginning tells.
    pub(crate) fn is_committing(&self) -> bool {
        self.committing.load(Ordering::Acquire)
    }

    /// The server has completed a command of this name. Only whoever holds the wire reads.
    pub(super) fn note_completed(&self, name: &[u8]) {
        self.last_command.note(name);
        self.note_changes(Changes::of(name));
        self.turns.note_completed(name);
        self.completed.store(self.completed.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// The server has found a statement and its parameters to be in order, and executes it next. Only whoever holds the wire reads.
    pub(super) fn note_bound(&self) {
        self.bound.store(self.bound.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Whether only so many statements were found to be in order since: the next one has not been executed, not even in part.
    pub(crate) fn has_bound_only(&self, count: usize, mark: Mark) -> bool {
        self.bound.load(Ordering::Acquire) == mark.bound + count as u64
    }

    /// Whether no statement with parameters has been executed since, not even in part.
    pub(crate) fn has_bound_nothing_since(&self, mark: Mark) -> bool {
        self.bound.load(Ordering::Acquire) == mark.bound
    }

    /// Whether no command has been completed since.
    pub(crate) fn has_completed_nothing_since(&self, mark: Mark) -> bool {
        self.completed.load(Ordering::Acquire) == mark.completed
    }

    /// Whether nothing has been written since.
    pub(crate) fn is_unwritten_since(&self, mark: Mark) -> bool {
        self.writes.load(Ordering::Acquire) == mark.writes
    }

    /// Nobody else can rely on the answers any more.
    pub(crate) fn condemn(&self) {
        self.verdict.store(CONDEMNED, Ordering::Release);
    }

    /// The server reports an error.
    pub(super) fn note_error(&self, words: Words) {
        match Diagnosis::of_sqlstate(&words.code, &words.message).fate {
            // Every error has a code.
            _ if words.code.is_empty() => self.condemn(),
            Fate::Close => self.condemn(),
            Fate::EvictHost => self.verdict.store(READ_ONLY, Ordering::Release),
            Fate::Keep | Fate::Reset => {}
        }
        if words.fatal {
            self.note_notice(words);
        }
    }

    /// The server says something.
    pub(super) fn note_notice(&self, words: Words) {
        if words.is_farewell() {
            *self.last_words() = Some(words);
        }
    }

    /// Why the server ends the session, if it has said so.
    pub(crate) fn farewell(&self) -> Option<Words> {
        self.last_words().clone()
    }

    /// The server reports the value of a parameter: name and value, a zero after each. Only whoever holds the wire reads.
    pub(super) fn note_parameter(&self, body: &[u8]) {
        let mut parts = body.split(|byte| *byte == 0);
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return };
        match name {
            b"in_hot_standby" => self.standby.note(value),
            b"default_transaction_read_only" => self.read_only.note(value),
            _ => {}
        }
        self.parameters.note(name, value);
        // Those of the login come before the server is ready, and nobody can set the one.
        if self.turns.has_rested() && name != b"in_hot_standby" {
            self.note_changes(Changes::SETTINGS);
        }
    }

    /// The server says which process it is: its number, and what it takes to cancel something.
    pub(super) fn note_process(&self, body: &[u8]) {
        if let Some(number) = body.first_chunk() {
            self.process.store(u32::from_be_bytes(*number), Ordering::Release);
        }
    }

    /// The server's process for this session, if it has said that.
    pub(crate) fn process(&self) -> Option<u32> {
        Some(self.process.load(Ordering::Acquire)).filter(|number| *number != 0)
    }

    /// Something may outlive the transaction. Not at every message: hardly any command changes a session.
    pub(super) fn note_changes(&self, changes: Changes) {
        if !changes.is_none() {
            self.changes.fetch_or(changes.bits(), Ordering::AcqRel);
        }
    }

    /// These are undone.
    pub(crate) fn forget_changes(&self, changes: Changes) {
        self.changes.fetch_and(!changes.bits(), Ordering::AcqRel);
    }

    /// What may have been changed since it was put in order.
    pub(crate) fn changes(&self) -> Changes {
        Changes::from_bits(self.changes.load(Ordering::Acquire))
    }

    /// What has been changed by now is this. Only while nobody uses the session.
    pub(crate) fn set_changes(&self, changes: Changes) {
        self.changes.store(changes.bits(), Ordering::Release);
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The name of the command that was completed last.
    pub(crate) fn last_command(&self) -> Option<String> {
        self.last_command.get()
    }

    /// How many requests there have been; to close a statement is none.
    pub(crate) fn asked(&self) -> u64 {
        self.traffic.asked()
    }

    /// How many bytes have been sent and received.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.traffic.sent(), self.traffic.received())
    }

    /// How many requests are not answered.
    pub(crate) fn in_flight(&self) -> usize {
        // The server reads data of a `COPY`, and what it has answered is no end of it.
        self.traffic.in_flight().max(usize::from(self.is_busy()))
    }

    /// How quickly the server answers.
    pub(crate) fn pace(&self) -> &Pace {
        self.traffic.pace()
    }

    /// Whether the server is at a request for longer than one may take that others wait behind.
    pub(crate) fn is_held_up(&self) -> bool {
        self.traffic.is_held_up()
    }

    /// For how long nothing has been sent or received.
    pub(crate) fn quiet_for(&self) -> std::time::Duration {
        self.traffic.quiet_for()
    }

    /// What the server has reported of its parameters.
    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        self.parameters.all()
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.get(name)
    }

    /// What the server is, if it has reported that.
    pub(crate) fn role(&self) -> Option<Role> {
        let (is_standby, is_read_only) = (self.standby.get()?, self.read_only.get()?);
        Some(Role { is_standby, is_read_only: is_read_only || is_standby })
    }

    /// Whether an error has been reported after which the connection is not used any more. If that depends on whether the server writes, it is what the server has said about itself. That comes before
    /// the end of its answer, so that the question is not settled before that is there: `settled` says whether all that has come was looked at.
    pub(crate) fn is_condemned(&self, settled: bool) -> bool {
        match self.verdict.load(Ordering::Acquire) {
            CONDEMNED => true,
            READ_ONLY if [&self.standby, &self.read_only].iter().any(|it| it.get() == Some(true)) => true,
            READ_ONLY if settled && !self.is_busy() => {
                // A transaction was made read-only by its own user, and has ended.
                self.verdict.store(0, Ordering::Release);
                false
            }
            _ => false,
        }
    }

    fn last_words(&self) -> MutexGuard<'_, Option<Words>> {
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the guard is dropped, what begins is asked by the pool itself: nobody wants to know how long it takes.
    pub(crate) fn on_duty(&self) -> Duty<'_> {
        self.on_duty.store(true, Ordering::Release);
        Duty(self)
    }

    pub(super) fn is_on_duty(&self) -> bool {
        self.on_duty.load(Ordering::Acquire)
    }

    /// Takes the stream out of what holds it, by dropping that.
    pub(crate) fn take_stream_of(&self, tap: impl Sized) -> Option<Box<dyn Stream>> {
        *self.remains() = Remains::Wanted;
        drop(tap);
        match mem::take(&mut *self.remains()) {
            Remains::Here(stream) => Some(stream),
            Remains::Unwanted | Remains::Wanted => None,
        }
    }

    /// The tap is dropped.
    pub(super) fn leave(&self, stream: Box<dyn Stream>) {
        let mut remains = self.remains();
        if matches!(*remains, Remains::Wanted) {
            *remains = Remains::Here(stream);
        }
    }

    fn remains(&self) -> MutexGuard<'_, Remains> {
        self.remains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pool asks for itself.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub(crate) struct Duty<'a>(&'a Session);

impl Drop for Duty<'_> {
    fn drop(&mut self) {
        self.0.on_duty.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("status", &char::from(self.status())).finish_non_exhaustive()
    }
}
