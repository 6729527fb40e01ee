//! What a service does to its connections on their way.

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::time::Duration;

use crate::connection::ConnectionId;
use crate::failure::{Chain, OneLine};
use crate::tag::Tag;

/// Where on the way of a connection a hook is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HookPoint {
    /// [`Hooks::before_open`].
    BeforeOpen,
    /// [`Hooks::after_open`].
    AfterOpen,
    /// [`Hooks::before_hand_out`].
    BeforeHandOut,
    /// [`Hooks::on_release`].
    OnRelease,
    /// [`Hooks::before_close`].
    BeforeClose,
}

impl fmt::Display for HookPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeforeOpen => "before the open",
            Self::AfterOpen => "after the open",
            Self::BeforeHandOut => "before the hand-out",
            Self::OnRelease => "on release",
            Self::BeforeClose => "before the close",
        })
    }
}

/// What a hook fails with.
pub type HookError = Box<dyn StdError + Send + Sync>;

/// What is known about a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionFacts {
    /// Its name.
    pub id: ConnectionId,
    /// How long it has been open, to within a second.
    pub age: Duration,
    /// How often it has been leased.
    pub uses: u64,
    /// How long it has been idle, to within a second; zero if it is not.
    pub idle: Duration,
    /// The [host](crate::Driver::host) that it goes to.
    pub host: Option<String>,
    /// What has been [noted](crate::Lease::tag) on it, the oldest first.
    pub tags: Vec<Tag>,
}

/// What is to become of a connection that was about to be handed out, and of who was about to get it.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandOut {
    /// It is handed out.
    Use,
    /// It goes back to the pool, and the caller is told this error.
    Refuse(HookError),
    /// It is closed, and the caller is told this error.
    CloseAndRefuse(HookError),
    /// It is closed, and the caller gets another one, for as long as there is time. After more than [`max_size`](crate::Config::max_size) of them the caller is told [`HookFailure::LikesNone`].
    CloseAndTryAnother,
}

/// Calls of a service on the way of its connections, for [`PoolBuilder::hooks`](crate::PoolBuilder::hooks). Each is made at the [points](Hooks::points) that are asked for, and nowhere else: what is not asked for costs
/// nothing.
///
/// A hook that takes longer than its [timeout](Hooks::timeout), panics, or is dropped because whoever waited for it has gone, has failed, and its connection is closed, for nobody knows in what state it is. Those
/// around an open and a close run within the budgets of these as well.
///
/// [`Pool::try_acquire`](crate::Pool::try_acquire) does not wait, and so it finds no connection while there is a hook before the hand-out.
///
/// # Example
///
/// ```
/// use pool_core::{HookError, HookPoint, Hooks};
///
/// struct SetUp;
///
/// impl Hooks<Vec<u8>> for SetUp {
///     fn points(&self) -> &[HookPoint] {
///         &[HookPoint::AfterOpen]
///     }
///
///     async fn after_open(&self, connection: &mut Vec<u8>, _: &pool_core::ConnectionFacts) -> Result<(), HookError> {
///         connection.extend(b"hello");
///         Ok(())
///     }
/// }
/// ```
pub trait Hooks<C: Send + 'static>: Send + Sync + 'static {
    /// Where to call. Asked for once, when the pool is built; a hook that is not named here is not called.
    fn points(&self) -> &[HookPoint];

    /// How long a call may take. The default is 5 s for each.
    fn timeout(&self, point: HookPoint) -> Duration {
        let _ = point;
        Duration::from_secs(5)
    }

    /// Before a connection is opened: to wait for a permission, say, or to count.
    ///
    /// # Errors
    ///
    /// Any error fails the attempt, as an error of the driver that may pass by itself.
    fn before_open(&self) -> impl Future<Output = Result<(), HookError>> + Send {
        ready(Ok(()))
    }

    /// When a connection has been opened, before anybody gets it: to set it up.
    ///
    /// # Errors
    ///
    /// Any error closes the connection and fails the attempt, as an error of the driver that may pass by itself.
    fn after_open(
        &self,
        connection: &mut C,
        facts: &ConnectionFacts,
    ) -> impl Future<Output = Result<(), HookError>> + Send {
        let _ = (connection, facts);
        ready(Ok(()))
    }

    /// Before a connection is handed out, in the future of the caller that gets it. What it answers covers what pgxpool's `PrepareConn` can.
    fn before_hand_out(&self, connection: &mut C, facts: &ConnectionFacts) -> impl Future<Output = HandOut> + Send {
        let _ = (connection, facts);
        ready(HandOut::Use)
    }

    /// When a connection has been given back and is in order, before it is idle or goes to the next: in the background.
    ///
    /// # Errors
    ///
    /// Any error closes the connection.
    fn on_release(
        &self,
        connection: &mut C,
        facts: &ConnectionFacts,
    ) -> impl Future<Output = Result<(), HookError>> + Send {
        let _ = (connection, facts);
        ready(Ok(()))
    }

    /// Before a connection is closed by the pool; it may be broken. Not for one that [`after_open`](Hooks::after_open) has refused, for one that is cut off or dropped with its runtime, nor for one that is
    /// [detached](crate::Lease::detach).
    fn before_close(&self, connection: &mut C, facts: &ConnectionFacts) -> impl Future<Output = ()> + Send {
        let _ = (connection, facts);
        ready(())
    }
}

/// Why a hook has not done what it was called for. Its message has everything below it, on one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum HookFailure {
    /// It failed.
    Failed {
        /// Where.
        point: HookPoint,
        /// With what.
        source: HookError,
    },
    /// It took longer than it may.
    TimedOut {
        /// Where.
        point: HookPoint,
        /// How long it may take.
        after: Duration,
    },
    /// It panicked.
    Panicked {
        /// Where.
        point: HookPoint,
        /// The message of the panic.
        message: String,
    },
    /// It answered [`CloseAndTryAnother`](HandOut::CloseAndTryAnother) for more connections than there can be at a time. The bound is pgxpool's.
    LikesNone {
        /// So many.
        refused: usize,
    },
}

impl fmt::Display for HookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { point, source } => write!(f, "the hook {point} failed: {}", Chain(source.as_ref())),
            Self::TimedOut { point, after } => write!(f, "the hook {point} took longer than {after:?}"),
            Self::Panicked { point, message } => write!(f, "the hook {point} panicked: {}", OneLine(message)),
            Self::LikesNone { refused } => {
                write!(f, "the hook {} had {refused} connections closed, one after the other", HookPoint::BeforeHandOut)
            }
        }
    }
}

impl StdError for HookFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

type Called<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Hooks of any type. Each answers with the failure of its own future alone; budgets and panics are for who calls.
pub(crate) trait AnyHooks<C>: Send + Sync {
    fn points(&self) -> &[HookPoint];
    fn timeout(&self, point: HookPoint) -> Duration;
    fn before_open(&self) -> Called<'_, Result<(), HookError>>;
    fn after_open<'a>(&'a self, connection: &'a mut C, facts: &'a ConnectionFacts)
    -> Called<'a, Result<(), HookError>>;
    fn before_hand_out<'a>(&'a self, connection: &'a mut C, facts: &'a ConnectionFacts) -> Called<'a, HandOut>;
    fn on_release<'a>(&'a self, connection: &'a mut C, facts: &'a ConnectionFacts)
    -> Called<'a, Result<(), HookError>>;
    fn before_close<'a>(&'a self, connection: &'a mut C, facts: &'a ConnectionFacts) -> Called<'a, ()>;
}

impl<C: Send + 'static, H: Hooks<C>> AnyHooks<C> for H {
    fn points(&self) -> &[HookPoint] {
        Hooks::points(self)
    }

    fn timeout(&self, point: HookPoint) -> Duration {
        Hooks::timeout(self, point)
    }

    fn before_open(&self) -> Called<'_, Result<(), HookError>> {
        Box::pin(Hooks::before_open(self))
    }

    fn after_open<'a>(
        &'a self,
        connection: &'a mut C,
        facts: &'a ConnectionFacts,
    ) -> Called<'a, Result<(), HookError>> {
        Box::pin(Hooks::after_open(self, connection, facts))
    }

    fn before_hand_out<'a>(&'a self, connection: &'a mut C, facts: &'a ConnectionFacts) -> Called<'a, HandOut> {
        Box::pin(Hooks::before_hand_out(self, connection, facts))
    }

    fn on_release<'a>(
        &'a self,
        connection: &'a mut C,
        facts: &'a ConnectionFacts,
    ) -> Called<'a, Result<(), HookError>> {
        Box::pin(Hooks::on_release(self, connection, facts))
    }

    fn before_close<'a>(&'a self, connection: &'a mut C, facts: &'a ConnectionFacts) -> Called<'a, ()> {
        Box::pin(Hooks::before_close(self, connection, facts))
    }
}
