//! What can go wrong, in a form that a program can match and a person can act on.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::driver::ErrorClass;
use crate::stats::PoolState;

/// Why a connection could not be acquired. A failed attempt to open one is a field, and part of the message with everything below it; it is therefore no
/// `source()`, which reports would print a second time. Small, because the compiler copies room for it on the way of every success.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// The acquire timeout passed. Names the last attempt to open a connection that failed, unless one has succeeded since.
    #[error("no connection within {waited:?} ({state}){}", Because(.failure.as_ref()))]
    Timeout {
        /// How long the caller waited.
        waited: Duration,
        /// The pool at the moment of giving up.
        state: Box<PoolState>,
        /// The last failed attempt to open a connection, unless one has succeeded since.
        failure: Option<Arc<OpenFailure>>,
    },
    /// The pool has no connection and opening one failed in a way that waiting does not cure.
    #[error("the pool cannot open connections ({state}): {failure}")]
    OpenFailed {
        /// The pool at the moment of failing.
        state: Box<PoolState>,
        /// The failed attempt.
        failure: Arc<OpenFailure>,
    },
    /// `try_acquire` found no idle connection, or somebody else is already waiting for one.
    #[error("no idle connection ({state})")]
    Unavailable {
        /// The pool at that moment.
        state: Box<PoolState>,
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

/// Why a pool is not [ready](crate::Pool::ready), or a [warm-up](crate::Pool::warm_up) has not come to its end.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarmUpError {
    /// The time is over. Names the last attempt to open a connection that failed, unless one has succeeded since.
    #[error("{open} of {wanted} connections are open after {waited:?} ({state}){}", Because(.failure.as_ref()))]
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
        failure: Option<Arc<OpenFailure>>,
    },
    /// The pool has no connection and opening one failed in a way that waiting does not cure.
    #[error("the pool cannot open connections ({state}): {failure}")]
    OpenFailed {
        /// The pool at the moment of failing.
        state: Box<PoolState>,
        /// The failed attempt.
        failure: Arc<OpenFailure>,
    },
    /// The pool is closed, or was closed while the caller waited.
    #[error("the pool is closed")]
    Closed,
}

struct Because<'a>(Option<&'a Arc<OpenFailure>>);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |failure| write!(f, "; last failure: {failure}"))
    }
}

/// Why an attempt to open a connection failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenFailure {
    /// The driver reported an error.
    Driver {
        /// What the driver said the error means.
        class: ErrorClass,
        /// The driver's error; downcast it to [`Driver::Error`](crate::Driver::Error) for its details.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// `connect` took longer than the connect timeout.
    TimedOut {
        /// The connect timeout in force.
        after: Duration,
    },
    /// `connect` panicked.
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// The runtime that the attempt ran on ended.
    Abandoned,
}

impl OpenFailure {
    /// What the failure says about the next attempt. Only a driver can call a failure permanent.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Driver { class, .. } => *class,
            _ => ErrorClass::Transient,
        }
    }
}

impl fmt::Display for OpenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Driver { source, .. } => write!(f, "connect failed: {}", Chain(source.as_ref())),
            Self::TimedOut { after } => write!(f, "connect took longer than {after:?}"),
            Self::Panicked { message } => write!(f, "connect panicked: {message}"),
            Self::Abandoned => f.write_str("the runtime that connected ended"),
        }
    }
}

// The driver's error is part of the message, so it is not also a `source()`: reports would print it twice.
impl StdError for OpenFailure {}

/// An error with everything below it, on one line.
struct Chain<'a>(&'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
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
            Self::Full { connection, .. } | Self::Closed { connection } => connection,
        }
    }
}

// By hand: a connection need not be `Debug`, and may have secrets to show.
impl<C> fmt::Debug for AdoptError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full { .. } => "Full",
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
