//! An attempt to open a connection: how far it has come, told by the driver.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::OneLine;

/// What stands between a caller and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// None is being opened or checked: the caller waits until one comes back.
    Queued,
    /// What is needed for opening one is being fetched, and not from the backend: credentials, say.
    Preparing,
    /// One is being opened.
    Opening,
    /// One is being opened, and the backend is about to decide whether it lets the client in.
    Authenticating,
    /// One has been opened, and is being set up.
    Hook,
    /// An idle one is being [checked](crate::Config::check_after_idle).
    Check,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Opening => "opening",
            Self::Authenticating => "authenticating",
            Self::Hook => "setting up",
            Self::Check => "checking",
        })
    }
}

/// One attempt to open a connection, for [`Driver::connect`](crate::Driver::connect): the driver says there how far it has come, and whoever waits too long is told.
/// Saying it takes a lock that hardly anybody else wants, and never waits for I/O.
///
/// A new one, from [`Default`], belongs to no pool: for calling a driver without one.
///
/// # Example
///
/// ```
/// use pool_core::{Attempt, Step};
///
/// let attempt = Attempt::default();
/// attempt.authenticating("logging in at db:5432");
/// assert_eq!(attempt.progress().to_string(), "authenticating: logging in at db:5432");
/// assert_eq!(attempt.progress().step, Step::Authenticating);
/// assert_eq!(attempt.time_left(), None);
/// ```
#[derive(Debug)]
pub struct Attempt {
    began: Instant,
    /// When the pool gives it up; not set if no clock can count to it, or there is no pool.
    ends: OnceLock<Instant>,
    progress: Mutex<Progress>,
}

/// How far an attempt has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The step.
    pub step: Step,
    /// In words of the driver; empty if it has said nothing.
    pub doing: Cow<'static, str>,
}

impl Default for Attempt {
    fn default() -> Self {
        let progress = Progress { step: Step::Opening, doing: Cow::Borrowed("") };
        Self { began: Instant::now(), ends: OnceLock::new(), progress: Mutex::new(progress) }
    }
}

impl Attempt {
    /// The driver is fetching what it needs before it opens the connection, and not from the backend: credentials, say. An attempt that fails in this step says nothing about the backend, and is left out of the metric
    /// `pool.connectivity.time`.
    pub fn preparing(&self, doing: impl Into<Cow<'static, str>>) {
        self.enter(Step::Preparing, doing.into());
    }

    /// The driver is opening the connection: looking up a name, opening a socket, agreeing on encryption.
    pub fn opening(&self, doing: impl Into<Cow<'static, str>>) {
        self.enter(Step::Opening, doing.into());
    }

    /// The driver is logging in.
    pub fn authenticating(&self, doing: impl Into<Cow<'static, str>>) {
        self.enter(Step::Authenticating, doing.into());
    }

    /// The driver, or somebody that it calls, is setting the new connection up.
    pub fn hook(&self, doing: impl Into<Cow<'static, str>>) {
        self.enter(Step::Hook, doing.into());
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// How much of its time is left before the pool gives it up, which is [`connect_timeout`](crate::Config::connect_timeout) from when it began: for a driver that has several
    /// ways to try, and divides it among them. `None` if there is no limit, as for one from [`Default`].
    pub fn time_left(&self) -> Option<Duration> {
        self.ends.get().map(|ends| ends.saturating_duration_since(Instant::now()))
    }

    /// It has so long, from now on. Once.
    pub(crate) fn begin(&self, budget: Duration) {
        if let Some(ends) = Instant::now().checked_add(budget) {
            let _ = self.ends.set(ends);
        }
    }

    /// For how long it has been under way.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn enter(&self, step: Step, doing: Cow<'static, str>) {
        *self.lock() = Progress { step, doing };
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, doing } = self;
        if doing.is_empty() { write!(f, "{step}") } else { write!(f, "{step}: {}", OneLine(doing)) }
    }
}
