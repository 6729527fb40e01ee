//! Which connection somebody would like to have.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::{Chain, OneLine};
use crate::hooks::ConnectionFacts;
use crate::tag::Tag;

/// Which connection somebody would like to have, for [`Pool::acquire_preferring`](crate::Pool::acquire_preferring). It is a wish: who cannot have such a one gets another, and
/// is told so by the [`Fit`].
///
/// # Example
///
/// ```no_run
/// # async fn serve<D: pool_core::Driver>(pool: &pool_core::Pool<D>) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use pool_core::{Preference, Tag};
///
/// let preference = Preference::tag(Tag::new("app.tenant", "7")?).grace(Duration::from_millis(5));
/// let (connection, fit) = pool.acquire_preferring(&preference).await?;
/// println!("{fit:?}");
/// # drop(connection);
/// # Ok(())
/// # }
/// ```
pub struct Preference<C> {
    pub(crate) wanted: Wanted<C>,
    pub(crate) grace: Duration,
    pub(crate) limit: Option<Duration>,
}

pub(crate) type Predicate<C> = Arc<dyn Fn(&ConnectionFacts, &C) -> bool + Send + Sync>;

pub(crate) enum Wanted<C> {
    Tag(Tag),
    Sticky(Tag),
    Matching(Predicate<C>),
}

impl<C> Preference<C> {
    fn new(wanted: Wanted<C>) -> Self {
        Self { wanted, grace: Duration::ZERO, limit: None }
    }

    /// A connection that has this tag. Another one is converted by [`Driver::convert`](crate::Driver::convert), and has the tag then.
    pub fn tag(tag: Tag) -> Self {
        Self::new(Wanted::Tag(tag))
    }

    /// The connection that this key had last. Nothing is done to another one; it is the one to come back to from then on. A connection knows the last [sixteen](Tag::MOST) keys, and a key
    /// is forgotten with its connection. Keys are apart from tags: hooks and [`Lease::tags`](crate::Lease::tags) do not see them.
    pub fn sticky(key: Tag) -> Self {
        Self::new(Wanted::Sticky(key))
    }

    /// A connection for which this is `true`. It is asked of the idle ones, one after the other, lowest first, each of which it has to itself for that moment; so it should be quick. If it panics, that is a `false`.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_core::{ConnectionFacts, Preference};
    ///
    /// let nearby = Preference::<Vec<u8>>::matching(|facts: &ConnectionFacts, _| facts.host.as_deref() == Some("here"));
    /// # drop(nearby);
    /// ```
    pub fn matching(predicate: impl Fn(&ConnectionFacts, &C) -> bool + Send + Sync + 'static) -> Self {
        Self::new(Wanted::Matching(Arc::new(predicate)))
    }

    /// Waits for up to so long for a connection that fits and that somebody else has, before it takes another one. The default is zero.
    ///
    /// The time is part of the caller's. It is not waited if no connection fits, nor while others wait for any: then this queues behind them, as everybody does. A preference that is
    /// [matching](Self::matching) has none, as nobody looks at a connection that is in use.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Waits for up to `limit` in all, instead of the pool's [acquire timeout](crate::Config::acquire_timeout).
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl<C> Clone for Preference<C> {
    fn clone(&self) -> Self {
        let wanted = match &self.wanted {
            Wanted::Tag(tag) => Wanted::Tag(tag.clone()),
            Wanted::Sticky(key) => Wanted::Sticky(key.clone()),
            Wanted::Matching(predicate) => Wanted::Matching(Arc::clone(predicate)),
        };
        Self { wanted, grace: self.grace, limit: self.limit }
    }
}

impl<C> fmt::Debug for Preference<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut preference = f.debug_struct("Preference");
        match &self.wanted {
            Wanted::Tag(tag) => preference.field("tag", tag),
            Wanted::Sticky(key) => preference.field("sticky", key),
            Wanted::Matching(_) => preference.field("matching", &"a predicate"),
        };
        preference.field("grace", &self.grace).field("limit", &self.limit).finish()
    }
}

/// How a connection fits that somebody got who preferred another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fit {
    /// It fits, and was idle.
    AtOnce,
    /// It fits, and was waited for: within the grace, or because it was the one whose turn it was.
    Waited,
    /// It has been made to fit, by [`Driver::convert`](crate::Driver::convert).
    Converted,
    /// It does not fit.
    Other,
}

impl Fit {
    /// Whether the connection is as it was wished, by itself or because it was converted.
    pub fn fits(self) -> bool {
        self != Self::Other
    }
}

/// Why a connection could not be made to fit. Its message has everything below it, on one line, but not the value of the tag.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConvertFailure {
    /// The driver failed.
    Failed {
        /// What the connection was to be.
        tag: Tag,
        /// With what.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// It took longer than it may.
    TimedOut {
        /// What the connection was to be.
        tag: Tag,
        /// How long it might take: as long as a [reset](crate::Config::reset_timeout), or what was left of the caller's time.
        after: Duration,
    },
    /// The driver panicked.
    Panicked {
        /// What the connection was to be.
        tag: Tag,
        /// The message of the panic.
        message: String,
    },
}

impl<C> Wanted<C> {
    /// The tag that is wished, if that is it.
    pub(crate) fn tag(&self) -> Option<&Tag> {
        match self {
            Self::Tag(tag) => Some(tag),
            _ => None,
        }
    }
}

impl fmt::Display for ConvertFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { tag, source } => {
                write!(f, "converting the {} of a connection failed: {}", tag.name(), Chain(source.as_ref()))
            }
            Self::TimedOut { tag, after } => {
                write!(f, "converting the {} of a connection took longer than {after:?}", tag.name())
            }
            Self::Panicked { tag, message } => {
                write!(f, "converting the {} of a connection panicked: {}", tag.name(), OneLine(message))
            }
        }
    }
}

impl StdError for ConvertFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}
