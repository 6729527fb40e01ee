//! For whom connections are wanted, and why a request for one is turned away.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// For whom a connection is wanted: a tenant, a customer, a part of the service. Cheap to clone.
///
/// # Example
///
/// ```
/// let key = pool_core::Key::from("tenant 7");
/// assert_eq!(key.as_str(), "tenant 7");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl Key {
    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<S: Into<Arc<str>>> From<S> for Key {
    fn from(name: S) -> Self {
        Self(name.into())
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Why a request was turned away before its time was over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shed {
    /// As many wait as [may](crate::ScheduleConfig::max_waiting).
    Full {
        /// So many.
        waiting: usize,
    },
    /// As many wait for this key as [may](crate::Quota::max_waiting).
    KeyFull {
        /// Which.
        key: Option<Key>,
        /// So many.
        waiting: usize,
    },
    /// The queue [stands](crate::Codel), and this one had waited for too long.
    Standing,
    /// It could [not be served](crate::ScheduleConfig::foresee) before its deadline.
    Hopeless {
        /// It would have taken so long, at least.
        expected: Duration,
        /// So much was left.
        left: Duration,
    },
    /// As many keys are in use as [may be](crate::ScheduleConfig::max_keys).
    Keys {
        /// So many.
        max: usize,
    },
    /// More connections are wanted at once than there can be.
    Impossible {
        /// So many.
        wanted: usize,
        /// So many there can be, for this key.
        max: usize,
    },
}

impl fmt::Display for Shed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { waiting } => write!(f, "{waiting} wait already, and no more may"),
            Self::KeyFull { key: Some(key), waiting } => write!(f, "{waiting} wait already for {key}, and no more may"),
            Self::KeyFull { key: None, waiting } => write!(f, "{waiting} wait already without a key, and no more may"),
            Self::Standing => f.write_str("the queue stands: nobody has been served soon enough of late"),
            Self::Hopeless { expected, left } => {
                write!(f, "it would take {expected:?} at least, and the deadline is in {left:?}")
            }
            Self::Keys { max } => write!(f, "{max} keys are in use, and no more may be"),
            Self::Impossible { wanted, max } => {
                write!(f, "{wanted} connections are wanted at once, and there can be {max}")
            }
        }
    }
}
