//! What can go wrong, in a form that a program can match and a person can act on.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use crate::brief::Brief;
use crate::failure::OpenFailure;
use crate::hooks::HookFailure;
use crate::preference::ConvertFailure;
use crate::shed::Shed;
use crate::situation::Situation;
use crate::stats::{BreakerState, PoolState};

/// Why a connection could not be acquired.
///
/// Its message tells everything on one line: how long the caller waited and for what, where the connections were, who has had one for longest, and the last failure to open one
/// with all that is below it. [`source`](StdError::source) leads to that failure and on to the driver's error and its causes, for programs; a report that prints every
/// source tells them a second time.
///
/// Small, because the compiler copies room for it on the way of every success.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The acquire timeout passed. Names the last attempt to open a connection that failed, unless one has succeeded since.
    #[error("no connection within {}, {situation}{}", Brief(situation.waited), Because(.failure.as_ref()))]
    Timeout {
        /// The caller and the pool at the moment of giving up.
        situation: Box<Situation>,
        /// The last failed attempt to open a connection, unless one has succeeded since.
        #[source]
        failure: Option<Arc<OpenFailure>>,
    },
    /// The pool has no connection and opening one failed in a way that waiting does not cure. Whoever waits is told, and whoever comes before the next attempt is due, which is at most
    /// [`backoff_max`](crate::Config::backoff_max) later.
    #[error("no connection after {}, the pool cannot open any ({}): {failure}", Brief(situation.waited), situation.state)]
    OpenFailed {
        /// The caller and the pool at the moment of failing.
        situation: Box<Situation>,
        /// The failed attempt.
        #[source]
        failure: Arc<OpenFailure>,
    },
    /// The pool has no connection, and its [breaker](crate::Config::breaker_failures) is open: attempts to open one have failed for a while, and nobody has to wait to learn it. The
    /// pool goes on trying by itself.
    #[error("no connection after {}, {} ({}); last failure: {failure}", Brief(situation.waited), WasOpen(situation.state.breaker), situation.state)]
    BreakerOpen {
        /// The caller and the pool at the moment of failing; `situation.state.breaker` has the time of the next attempt.
        situation: Box<Situation>,
        /// The last failed attempt.
        #[source]
        failure: Arc<OpenFailure>,
    },
    /// `try_acquire` found no idle connection, or somebody else is already waiting for one.
    #[error("no idle connection ({state})")]
    Unavailable {
        /// The pool at that moment.
        state: Box<PoolState>,
    },
    /// The [hook](crate::Hooks::before_hand_out) before the hand-out does not let the caller have the connection.
    #[error("no connection after {}: {failure} ({})", Brief(situation.waited), situation.state)]
    Hook {
        /// The caller and the pool at the moment of failing.
        situation: Box<Situation>,
        /// Why not.
        #[source]
        failure: Arc<HookFailure>,
    },
    /// A connection was there, and could not be made what the caller [prefers](crate::Preference::tag). It has been closed. The caller is told instead of given another one, as that
    /// might fail in the same way: what was wished may not exist.
    #[error("no connection after {}: {failure} ({})", Brief(situation.waited), situation.state)]
    Convert {
        /// The caller and the pool at the moment of failing.
        situation: Box<Situation>,
        /// Why not.
        #[source]
        failure: Arc<ConvertFailure>,
    },
    /// A [`Scheduler`](crate::Scheduler) has turned the request away before its time was over.
    #[error("turned away after {}: {why} ({})", Brief(situation.waited), situation.state)]
    Shed {
        /// Why.
        why: Box<Shed>,
        /// The caller and the pool at that moment.
        situation: Box<Situation>,
    },
    /// The task has a connection and would have to wait for another one, because the pool is full: it may wait for itself, or for one that waits for it. Only with [`Config::refuse_self_wait`](crate::Config::refuse_self_wait).
    #[error("a task that has a connection, acquired at {held_at}, would have to wait for another one ({})", situation.state)]
    SelfWait {
        /// The caller and the pool at that moment.
        situation: Box<Situation>,
        /// Where the task has acquired the connection that it has had for longest.
        held_at: &'static Location<'static>,
    },
    /// The pool is closed, or was closed while the caller waited.
    #[error("the pool is closed")]
    Closed,
    /// The caller has to wait but there is no tokio runtime to wait on.
    #[error("acquire has to wait ({state}) but was called outside of a tokio runtime")]
    NoRuntime {
        /// The pool at that moment.
        state: Box<PoolState>,
    },
}

impl AcquireError {
    /// What is known about the wait, if there was one that came to nothing.
    pub fn situation(&self) -> Option<&Situation> {
        match self {
            Self::Timeout { situation, .. }
            | Self::OpenFailed { situation, .. }
            | Self::Shed { situation, .. }
            | Self::Hook { situation, .. }
            | Self::Convert { situation, .. }
            | Self::SelfWait { situation, .. }
            | Self::BreakerOpen { situation, .. } => Some(situation),
            _ => None,
        }
    }

    /// The attempt to open a connection that this is about, or the last one that failed, if none has succeeded since. Its [`source`](StdError::source) is the driver's error.
    pub fn failure(&self) -> Option<&OpenFailure> {
        match self {
            Self::Timeout { failure, .. } => failure.as_deref(),
            Self::OpenFailed { failure, .. } | Self::BreakerOpen { failure, .. } => Some(failure),
            _ => None,
        }
    }
}

/// Why a pool is not [ready](crate::Pool::ready), or a [warm-up](crate::Pool::warm_up) has not come to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarmUpError {
    /// The time is over. Names the last attempt to open a connection that failed, unless one has succeeded since.
    #[error("{open} of {wanted} connections are open after {} ({state}){}", Brief(*.waited), Because(.failure.as_ref()))]
    Late {
        /// How many are open, those left out that are on their way out.
        open: usize,
        /// How many were to be: within the maximum that is in force.
        wanted: usize,
        /// How long the caller waited.
        waited: Duration,
        /// The pool at the moment of giving up.
        state: Box<PoolState>,
        /// The last failed attempt to open a connection, unless one has succeeded since.
        #[source]
        failure: Option<Arc<OpenFailure>>,
    },
    /// The pool has no connection and opening one failed in a way that waiting does not cure.
    #[error("the pool cannot open connections ({state}): {failure}")]
    OpenFailed {
        /// The pool at the moment of failing.
        state: Box<PoolState>,
        /// The failed attempt.
        #[source]
        failure: Arc<OpenFailure>,
    },
    /// The pool is closed, or was closed while the caller waited.
    #[error("the pool is closed")]
    Closed,
}

/// The breaker, for one who was sent away by it. It may have closed before that one heard of it.
struct WasOpen(BreakerState);

impl fmt::Display for WasOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_open() { write!(f, "{}", self.0) } else { f.write_str("the breaker was open") }
    }
}

struct Because<'a>(Option<&'a Arc<OpenFailure>>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |failure| write!(f, "; last failure: {failure}"))
    }
}

/// Why a connection could not be [adopted](crate::Pool::adopt). It comes back.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError<C> {
    /// There are as many connections as there may be, those being opened and closed included.
    #[error("the pool has no room for another connection; max_size = {max_size}")]
    Full {
        /// The connection.
        connection: C,
        /// The maximum in force.
        max_size: usize,
    },
    /// The [budget](crate::Budget) of the pool has none to spare.
    #[error("the budget of the pool has no connection to spare")]
    Budget {
        /// The connection.
        connection: C,
    },
    /// The pool is closed.
    #[error("the pool is closed")]
    Closed {
        /// The connection.
        connection: C,
    },
}

impl<C> AdoptError<C> {
    /// The connection.
    pub fn into_connection(self) -> C {
        match self {
            Self::Full { connection, .. } | Self::Budget { connection } | Self::Closed { connection } => connection,
        }
    }
}

// By hand: a connection need not be `Debug`, and may have secrets to show.
impl<C> fmt::Debug for AdoptError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full { .. } => "Full",
            Self::Budget { .. } => "Budget",
            Self::Closed { .. } => "Closed",
        })
    }
}

/// A configuration that the pool refuses, with every field to change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The settings that are out of their range; at least one.
    pub refused: Vec<RefusedSetting>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refused.iter().enumerate().try_for_each(|(place, setting)| {
            let between = if place == 0 { "" } else { "; " };
            write!(f, "{between}{setting}")
        })
    }
}

impl StdError for ConfigError {}

/// A setting that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} = {value} is not allowed; allowed: {allowed}")]
#[non_exhaustive]
pub struct RefusedSetting {
    /// The field of [`Config`](crate::Config).
    pub field: &'static str,
    /// The value it had.
    pub value: String,
    /// The values it may have.
    pub allowed: &'static str,
}
