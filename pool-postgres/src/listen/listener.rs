//! The handles: who subscribes, and what it gets.

use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::channel::checked;
use super::hub::{Hub, Joined};
use super::inbox::Inbox;
use super::{Event, ListenError};
use crate::pool::PostgresPool;

/// How many notifications a subscription keeps that nobody has read.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Listens for notifications, for any number of subscribers on one connection. Made by [`PostgresPool::listener`]; cheap to clone, and all clones share the connection.
///
/// **The connection** is acquired from the pool when the first subscriber comes, in turn as any other, and kept within [`max_size`](pool_core::Config::max_size): it shows as [reserved](pool_core::PoolState::reserved). When nobody is
/// subscribed any more it goes back. A second listener has a second one.
///
/// **When it is lost**, another one is acquired and the server is asked to listen for all that it listened for, as often as it takes, with the pauses of the pool
/// ([`backoff_initial`](pool_core::Config::backoff_initial), [`backoff_max`](pool_core::Config::backoff_max)). Each subscriber finds an [`Event::Gap`] between what came before and what comes after. That goes for a server that
/// restarts, a session that is terminated, a failover, and for a network or a server that says nothing any more: the connection is pinged each
/// [`health_check_interval`](pool_core::Config::health_check_interval), and has [`health_check_timeout`](pool_core::Config::health_check_timeout) to answer. It is given up, and replaced in the same way, if somebody
/// [retires](pool_core::Pool::retire_all) or [evicts](pool_core::Pool::evict) it. Its age alone is no reason.
///
/// **While the pool is paused** the connection is given back, so that the pool can be drained; afterwards there is a gap. **When it is closed** all subscriptions end.
///
/// It keeps the pool open, as any handle on the pool does, and so does a subscription.
///
/// # Example
///
/// ```no_run
/// use pool_postgres::{Event, PostgresPool};
///
/// # fn load_all() {}
/// # fn load(_: &str) {}
/// # async fn follow(pool: &PostgresPool) -> Result<(), pool_postgres::ListenError> {
/// let listener = pool.listener();
/// let mut alerts = listener.subscribe("alerts").await?;
/// // Nothing that is sent from now on is missed, so this is complete together with what comes.
/// load_all();
/// while let Some(event) = alerts.recv().await {
///     match event {
///         Event::Notification(notification) => load(notification.payload()),
///         _ => load_all(),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Listener {
    hub: Arc<Hub>,
    kept: NonZeroUsize,
}

impl Listener {
    pub(super) fn new(pool: PostgresPool) -> Self {
        Self { hub: Arc::new(Hub::new(pool)), kept: KEPT }
    }

    /// A handle on the same connection, whose subscriptions keep so many notifications that nobody has read; the oldest are lost then. 1024 otherwise. Each has up to 8 kB, which all
    /// subscriptions of the listener share.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn follow(pool: &pool_postgres::PostgresPool) -> Result<(), pool_postgres::ListenError> {
    /// // For one who looks at everything whenever something has happened, one is enough.
    /// let one = std::num::NonZeroUsize::MIN;
    /// let mut changes = pool.listener().keeping(one).subscribe("changes").await?;
    /// # drop(changes);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn keeping(&self, notifications: NonZeroUsize) -> Self {
        Self { hub: Arc::clone(&self.hub), kept: notifications }
    }

    /// Subscribes to a channel. Returns when the server has confirmed: what is sent from then on is received.
    ///
    /// The name is taken as it is: `subscribe("Alerts")` hears `NOTIFY "Alerts"` and `pg_notify('Alerts', ...)`, and not `NOTIFY Alerts`, which is `alerts`.
    ///
    /// Waits for up to the [acquire timeout](pool_core::Config::acquire_timeout) and the [health check timeout](pool_core::Config::health_check_timeout) together. Cancel safety: dropping the future unsubscribes.
    ///
    /// # Errors
    ///
    /// [`ListenError`]: a name that is none, a connection that cannot be had, a server that refuses. A failure after that is none: the subscription goes on.
    ///
    /// # Panics
    ///
    /// In a tokio runtime without a timer.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn follow(listener: &pool_postgres::Listener) -> Result<(), pool_postgres::ListenError> {
    /// let mut alerts = listener.subscribe("alerts").await?;
    /// let first = alerts.recv().await;
    /// # drop(first);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription, ListenError> {
        // Owned across the await: the subscription, by the call. Dropped, it ends.
        self.subscribe_all([channel]).await
    }

    /// As [`subscribe`](Self::subscribe), to several channels at once, whose notifications come in the order in which the server sends them.
    ///
    /// Cancel safety: as [`subscribe`](Self::subscribe).
    ///
    /// # Errors
    ///
    /// As [`subscribe`](Self::subscribe), and [`ListenError::NoChannel`]. All of them or none.
    ///
    /// # Panics
    ///
    /// As [`subscribe`](Self::subscribe).
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn follow(listener: &pool_postgres::Listener) -> Result<(), pool_postgres::ListenError> {
    /// let mut both = listener.subscribe_all(["alerts", "silences"]).await?;
    /// # drop(both);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn subscribe_all<N: AsRef<str>>(
        &self,
        channels: impl IntoIterator<Item = N> + Send,
    ) -> Result<Subscription, ListenError> {
        let mut channels = channels.into_iter().map(|name| checked(name.as_ref())).collect::<Result<Vec<_>, _>>()?;
        channels.sort_unstable();
        channels.dedup();
        if channels.is_empty() {
            return Err(ListenError::NoChannel);
        }
        let runtime = Handle::try_current().map_err(|_| ListenError::NoRuntime)?;
        let config = self.hub.pool.config();
        // The task looks itself, and does not count what is its own.
        if !self.hub.has_worker() {
            self.hub.room()?;
        }
        let inbox = Arc::new(Inbox::new(self.kept));
        let name = self.hub.enter(&channels, &inbox);
        let subscription = Subscription { hub: Arc::clone(&self.hub), channels, inbox, name };
        let limit = config.acquire_timeout + config.health_check_timeout;
        // Owned across the await: the subscription. Dropped, it ends.
        match timeout(limit, subscription.join(&runtime)).await {
            Ok(joined) => joined.map(|()| subscription),
            Err(_) => Err(ListenError::Late { limit, last: self.hub.last_loss() }),
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("pool", &self.hub.pool).field("kept", &self.kept).finish_non_exhaustive()
    }
}

/// Somebody who is subscribed to channels; made by [`Listener::subscribe`]. A [`Stream`] of [`Event`]s, which ends when the pool is closed.
///
/// What nobody has read is kept, up to [a number](Listener::keeping); of more, the oldest are lost, and [counted](Event::Lagged). So a subscriber that is slow or stands still holds up nobody else.
///
/// Dropped, it ends; if nobody else is subscribed to a channel of it, the server is asked to listen for that no longer.
#[must_use = "it ends when it is dropped"]
pub struct Subscription {
    hub: Arc<Hub>,
    channels: Vec<Arc<str>>,
    inbox: Arc<Inbox>,
    /// As the hub knows it.
    name: u64,
}

impl Subscription {
    /// What comes next, in order; `None` when the pool has been closed and everything has been read. It may be awaited in any runtime.
    ///
    /// Cancel safety: nothing is lost.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn follow(mut alerts: pool_postgres::Subscription) {
    /// while let Some(event) = alerts.recv().await {
    ///     println!("{event:?}");
    /// }
    /// # }
    /// ```
    pub async fn recv(&mut self) -> Option<Event> {
        // Owned across the await: nothing. What comes is taken when the future is ready, and not before.
        poll_fn(|context| self.poll_event(context)).await
    }

    /// The channels, in alphabetical order.
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.channels.iter().map(|channel| &**channel)
    }

    /// Waits until the server has confirmed.
    async fn join(&self, runtime: &Handle) -> Result<(), ListenError> {
        loop {
            let mut news = pin!(self.hub.news.notified());
            // Listening before looking: what changes in between is noticed.
            news.as_mut().enable();
            match self.hub.has_joined(&self.channels, self.name, &self.inbox) {
                Joined::Yes => return Ok(()),
                Joined::Never(error) => return Err(error),
                Joined::NotYet => self.hub.ensure_worker(runtime),
            }
            // Owned across the await: nothing but what `self` has.
            news.await;
        }
    }

    fn poll_event(&self, context: &Context<'_>) -> Poll<Option<Event>> {
        let polled = self.inbox.poll(context.waker());
        // The runtime has ended in which the task was: this one will do.
        if polled.is_pending()
            && self.inbox.is_orphaned()
            && let Ok(runtime) = Handle::try_current()
        {
            self.inbox.adopt();
            self.hub.ensure_worker(&runtime);
        }
        polled
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(&self.channels, self.name);
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_event(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("channels", &self.channels).finish_non_exhaustive()
    }
}
