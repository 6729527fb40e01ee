//! What somebody asks a scheduler for.

use std::time::Duration;

use tokio::time::Instant;

use crate::schedule::Priority;
use crate::shed::Key;

/// A request for connections: for whom, how urgently, and until when. By default for nobody in particular, of normal priority, and for as long as [`Config::acquire_timeout`](crate::Config::acquire_timeout).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use pool_core::{Priority, Request};
///
/// let request = Request::new().key("tenant 7").priority(Priority::High).within(Duration::from_millis(200));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a request does nothing until it is made"]
pub struct Request {
    pub(super) key: Option<Key>,
    pub(super) priority: Priority,
    pub(super) limit: Limit,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Limit {
    #[default]
    OfThePool,
    Within(Duration),
    Until(Instant),
}

impl Request {
    /// One like most.
    pub fn new() -> Self {
        Self::default()
    }

    /// For whom: the connection counts against the [`Quota`](crate::Quota) of this key.
    pub fn key(mut self, key: impl Into<Key>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// How urgently.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Waits for so long at most, from when the request is made.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = Limit::Within(limit);
        self
    }

    /// Waits until then at most: the deadline of whatever it is that wants a connection.
    pub fn until(mut self, deadline: Instant) -> Self {
        self.limit = Limit::Until(deadline);
        self
    }
}
