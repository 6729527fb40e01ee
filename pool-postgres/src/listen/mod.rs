//! Notifications, on a connection that is kept for them.

mod channel;
mod error;
mod hub;
mod inbox;
mod line;
mod listener;
mod pool;
mod worker;

pub use error::ListenError;
pub use listener::{Listener, Subscription};

use std::sync::Arc;

/// What a [`Subscription`] has to tell.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::Event;
///
/// # fn load_all() {}
/// # fn load(_: &str) {}
/// fn handle(event: &Event) {
///     match event {
///         Event::Notification(notification) => load(notification.payload()),
///         // Something may have been missed: look at the tables themselves.
///         _ => load_all(),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Somebody has notified a channel.
    Notification(Notification),
    /// So many notifications have been lost at this place, since the subscriber has read too slowly: its queue keeps the newest.
    Lagged(u64),
    /// The connection that listens was lost or given up, and the server listens on another one by now. What was sent in between is missing at this place, if anything was.
    Gap {
        /// How often that has happened at this place. More than once, if nothing was sent and the subscriber has read nothing in between.
        outages: u64,
    },
}

/// What somebody has sent to a channel. Cheap to clone.
///
/// # Example
///
/// ```no_run
/// # fn log(notification: &pool_postgres::Notification) {
/// println!("{}: {}", notification.channel(), notification.payload());
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Notification(Arc<Sent>);

#[derive(PartialEq, Eq)]
struct Sent {
    channel: String,
    payload: String,
    process_id: i32,
}

impl Notification {
    fn new(channel: &str, payload: &str, process_id: i32) -> Self {
        Self(Arc::new(Sent { channel: channel.to_owned(), payload: payload.to_owned(), process_id }))
    }

    /// The channel.
    pub fn channel(&self) -> &str {
        &self.0.channel
    }

    /// What was sent with it; empty if nothing was.
    pub fn payload(&self) -> &str {
        &self.0.payload
    }

    /// The process at the server of the session that has sent it.
    pub fn process_id(&self) -> i32 {
        self.0.process_id
    }
}

/// Without the payload, which may be a secret.
impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notification")
            .field("channel", &self.0.channel)
            .field("process_id", &self.0.process_id)
            .finish_non_exhaustive()
    }
}
