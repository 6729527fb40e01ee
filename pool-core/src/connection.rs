//! What a connection is called.

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::time::{Duration, SystemTime};

use crate::brief::Brief;

/// Names one connection of one pool for as long as it is open; no other connection in this process ever has the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    /// The pool, by its table.
    pub(crate) pool: u64,
    /// The place in the table.
    pub(crate) slot: usize,
    /// How many connections had been closed there before.
    pub(crate) life: u64,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.pool, self.slot, self.life)
    }
}

/// A connection by its name, and by the number of its session if that is known.
pub(crate) struct Named(pub(crate) ConnectionId, pub(crate) Option<u64>);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(connection, session) = self;
        write!(f, "connection {connection}")?;
        session.map_or(Ok(()), |session| write!(f, " (session {session})"))
    }
}

/// Who has a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// Which.
    pub connection: ConnectionId,
    /// The number by which the server knows its session, if the driver [says it](crate::Driver::session_id): of PostgreSQL the `pid` in `pg_stat_activity`. Never that of another connection;
    /// `None`, too, while a connection is being opened or closed.
    pub session: Option<u64>,
    /// For how long, at least: seen to within a second, or exactly while leases are [watched](crate::Config::leak_after). `None` if nobody has looked yet.
    pub held: Option<Duration>,
    /// Where it was acquired; known while leases are watched, as is what follows.
    pub place: Option<&'static Location<'static>>,
    /// By which task; `None` if it was not one.
    pub task: Option<tokio::task::Id>,
    /// The name of the `tracing` span in which it was acquired, if there was one.
    pub span: Option<&'static str>,
    /// What its user has [said last](crate::Lease::note_activity) that it does.
    pub activity: Option<Cow<'static, str>>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Named(self.connection, self.session))?;
        self.held.map_or(Ok(()), |held| write!(f, " has been leased for {}", Brief(held)))?;
        self.place.map_or(Ok(()), |place| write!(f, ", acquired at {place}"))?;
        self.task.map_or(Ok(()), |task| write!(f, " by task {task}"))?;
        self.span.map_or(Ok(()), |span| write!(f, " in {span}"))?;
        self.activity.as_ref().map_or(Ok(()), |activity| write!(f, ", doing {activity}"))
    }
}

/// The lease that has been out for longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OldestLease {
    /// Its connection, under which its user knows it, too: [`Lease::connection_id`](crate::Lease::connection_id).
    pub connection: ConnectionId,
    /// For how long, at least: seen to within a second.
    pub held: Duration,
}

impl fmt::Display for OldestLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} has been leased for {}", self.connection, Brief(self.held))
    }
}

/// What is in a slot of a pool: a connection, or one that is about to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlotState {
    /// A connection is being opened.
    Opening,
    /// It can be acquired.
    Idle,
    /// A caller has it.
    Leased,
    /// [Several callers](crate::Pool::share) have it.
    Shared,
    /// It is [kept](crate::PoolState::reserved) for checks, or for something else that lasts.
    Reserved,
    /// It is being reset or pinged.
    Resetting,
    /// It is being closed.
    Closing,
}

impl SlotState {
    /// The state in a word.
    ///
    /// # Example
    ///
    /// ```
    /// assert_eq!(pool_core::SlotState::Leased.label(), "leased");
    /// ```
    pub fn label(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Idle => "idle",
            Self::Leased => "leased",
            Self::Shared => "shared",
            Self::Reserved => "reserved",
            Self::Resetting => "resetting",
            Self::Closing => "closing",
        }
    }
}

/// A slot of a pool, as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotView {
    /// Its number, from 0; vacant slots are not shown.
    pub index: usize,
    /// The connection in it, or the one that is about to be.
    pub connection: ConnectionId,
    /// The number by which the server knows its session: as [`Holder::session`].
    pub session: Option<u64>,
    /// What is in it.
    pub state: SlotState,
    /// For how long it is idle or leased, as far as that is known: to within a second.
    pub since: Option<Duration>,
    /// How many callers share it.
    pub users: usize,
}

/// Something that has gone wrong in a pool, or has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalEntry {
    /// When, by the wall clock; of several, the last time.
    pub at: SystemTime,
    /// How often, since it was written down first; what is told with other figures each time is the same.
    pub times: u64,
    /// The first time.
    pub since: SystemTime,
    /// What it is about: `open`, `ping`, `reset`, `breaker`, `health`, `leak`, `acquire`; `control`, if an operator has done it; `driver`, if its driver has connections replaced.
    pub kind: &'static str,
    /// What has happened, on one line.
    pub message: String,
}
