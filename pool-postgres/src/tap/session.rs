//! What is known about a session outside of its task.

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    /// How many commands the server has reported as completed, and in the lowest byte the first letter of the last one's name.
    completed: AtomicU64,
    /// How many of them were a `COMMIT`.
    commits: AtomicU64,
    /// How often the server has been ready outside of a transaction.
    rests: AtomicU64,
    /// What an error has made of the connection: nothing, or one of the two below.
    verdict: AtomicU8,
    /// Whether the server is a standby, and whether it writes only if told to, as it reports it.
    standby: Reported,
    read_only: Reported,
    /// The process at the server, or what somebody in between calls that; none has the number 0.
    process: AtomicU32,
    last_words: Mutex<Option<Words>>,
    remains: Mutex<Remains>,
}

/// What a `COMMIT` is called when it is completed, `COMMIT AND CHAIN` too. No other name begins like this and ends here.
const COMMIT: &[u8] = b"COMMIT\0";
/// So much is kept of a name.
pub(super) const NAME: u64 = COMMIT.len() as u64;

/// So much is kept of a parameter's name and value: more than the names below have.
pub(super) const PARAMETER: u64 = 64;

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
    commits: u64,
    rests: u64,
    at_rest: bool,
}

impl Mark {
    /// Whether no transaction was open and no answer due.
    pub(crate) fn was_at_rest(self) -> bool {
        self.at_rest
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

    /// Whether no answer is due, but a transaction is open.
    pub(crate) fn is_in_transaction(&self) -> bool {
        !matches!(self.status(), Self::IDLE | Self::BUSY)
    }

    /// Whether answers are due.
    pub(crate) fn is_busy(&self) -> bool {
        self.status() == Self::BUSY
    }

    pub(super) fn status(&self) -> u8 {
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
        self.writes.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            writes: self.writes.load(Ordering::Acquire),
            completed: self.completed.load(Ordering::Acquire),
            commits: self.commits.load(Ordering::Acquire),
            rests: self.rests.load(Ordering::Acquire),
            at_rest: self.is_at_rest(),
        }
    }

    /// The server is ready, with this status. Only whoever holds the wire reads.
    pub(super) fn note_ready(&self, status: u8) {
        if status == Self::IDLE {
            self.rests.store(self.rests.load(Ordering::Relaxed) + 1, Ordering::Release);
        }
    }

    /// Whether a transaction that was open at the mark has ended: the server has been ready outside of one since, or has committed. It may have begun another one at once.
    pub(crate) fn has_ended_one_since(&self, mark: Mark) -> bool {
        self.rests.load(Ordering::Acquire) != mark.rests || self.commits.load(Ordering::Acquire) != mark.commits
    }

    /// The server has completed a command, whose name begins like this. Only whoever holds the wire reads.
    pub(super) fn note_completed(&self, name: &[u8]) {
        if name == COMMIT {
            self.commits.store(self.commits.load(Ordering::Relaxed) + 1, Ordering::Release);
        }
        let initial = name.first().copied().unwrap_or(0);
        let before = self.completed.load(Ordering::Relaxed) >> 8;
        self.completed.store((before + 1) << 8 | u64::from(initial), Ordering::Release);
    }

    /// Whether no command has been completed since.
    pub(crate) fn has_completed_nothing_since(&self, mark: Mark) -> bool {
        self.completed.load(Ordering::Acquire) == mark.completed
    }

    /// Whether the last command was a `COMMIT`, given that it was a `COMMIT` or a `ROLLBACK`. A failed transaction cannot be committed: the server answers the one as the other then, and
    /// reports no error.
    pub(crate) fn has_committed(&self) -> bool {
        self.completed.load(Ordering::Acquire) & 0xff == u64::from(b'C')
    }

    /// Whether nothing has been written since.
    pub(crate) fn is_unwritten_since(&self, mark: Mark) -> bool {
        self.writes.load(Ordering::Acquire) == mark.writes
    }

    /// The server reports an error.
    pub(super) fn note_error(&self, words: Words) {
        match Diagnosis::of_sqlstate(&words.code, &words.message).fate {
            // Every error has a code.
            _ if words.code.is_empty() => self.verdict.store(CONDEMNED, Ordering::Release),
            Fate::Close => self.verdict.store(CONDEMNED, Ordering::Release),
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
        match (parts.next(), parts.next()) {
            (Some(b"in_hot_standby"), Some(value)) => self.standby.note(value),
            (Some(b"default_transaction_read_only"), Some(value)) => self.read_only.note(value),
            _ => {}
        }
    }

    /// The server has let the client in, and says which process it is. Only whoever holds the wire reads.
    pub(super) fn note_process(&self, number: &[u8]) {
        if let Ok(number) = number.try_into() {
            self.process.store(u32::from_be_bytes(number), Ordering::Release);
        }
    }

    /// The process at the server, if it has said so.
    pub(crate) fn process(&self) -> Option<u32> {
        Some(self.process.load(Ordering::Acquire)).filter(|process| *process != 0)
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
