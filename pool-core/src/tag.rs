//! What a service notes on a connection.

use std::fmt;
use std::sync::Arc;

/// Something that a service has noted on a connection under a name: its role, its tenant, its `search_path`, a statement that is prepared on it. A connection has one tag of each name at most, and
/// [sixteen](Tag::MOST) in all; it loses them when it leaves the pool.
///
/// A tag is what somebody has said, and no promise: whoever changes by hand what it stands for has to change it, too. Nor does it keep anybody away who [prefers](crate::Preference) nothing.
///
/// # Example
///
/// ```
/// use pool_core::{Tag, TagError};
///
/// let tag = Tag::new("app.tenant", "7")?;
/// assert_eq!((tag.name(), tag.value()), ("app.tenant", "7"));
/// assert!(matches!(Tag::new("", "7"), Err(TagError::NoName)));
/// # Ok::<_, TagError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    name: Arc<str>,
    value: Arc<str>,
}

impl Tag {
    /// How many bytes a name may have.
    pub const MAX_NAME: usize = 64;
    /// How many bytes a value may have.
    pub const MAX_VALUE: usize = 1024;
    /// How many tags a connection may have.
    pub const MOST: usize = 16;

    /// A tag of this name and value. The value may be empty.
    ///
    /// # Errors
    ///
    /// [`TagError::NoName`] and [`TagError::TooLong`].
    pub fn new(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Result<Self, TagError> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() {
            return Err(TagError::NoName);
        }
        for (part, text, most) in [("name", &name, Self::MAX_NAME), ("value", &value, Self::MAX_VALUE)] {
            if text.len() > most {
                return Err(TagError::TooLong { part, bytes: text.len(), most });
            }
        }
        Ok(Self { name, value })
    }

    /// Under what name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name, self.value)
    }
}

/// Why a tag cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// Its name is empty.
    #[error("a tag needs a name")]
    NoName,
    /// Its name or its value is too long.
    #[error("the {part} of a tag has {bytes} bytes; allowed: {most}")]
    TooLong {
        /// `name` or `value`.
        part: &'static str,
        /// How many bytes that has.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// The connection has as many tags as it may have, and none of this name.
    #[error("the connection has {most} tags already, which is all that it may have")]
    TooMany {
        /// How many it may have.
        most: usize,
    },
}
