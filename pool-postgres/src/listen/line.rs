//! The connection that listens.

use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pool_core::{Driver, KeptLease, SessionState};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::SimpleQueryMessage;

use super::ListenError;
use super::channel::statements;
use super::hub::{Ear, Hub, Task};
use super::worker::{First, first};
use crate::diagnosis::{Diagnosis, Fate};
use crate::driver::PostgresDriver;
use crate::pool::PostgresOwnedLease;
use crate::query::{QueryError, QueryStep};
use crate::random::random;

/// The connection that listens, kept within the pool's maximum. Dropped, it is closed, and those who are subscribed have a gap.
pub(super) struct Line {
    hub: Arc<Hub>,
    /// Ends before the connection does.
    number: Number,
    kept: KeptLease<PostgresDriver>,
    /// Whether it has been seen that what is sent arrives, or that nobody is in between.
    is_trusted: bool,
}

/// As the hub knows the connection.
struct Number {
    hub: Arc<Hub>,
    number: u64,
}

impl Drop for Number {
    fn drop(&mut self) {
        self.hub.end_line(self.number);
    }
}

/// Why a request has failed.
enum Failure {
    /// The server has answered with an error.
    Refused(QueryError),
    /// The connection is of no further use.
    Lost(String),
}

/// Why there is something to do.
enum Woken {
    Rung,
    WantedBack,
    PingDue,
}

impl Line {
    /// # Errors
    ///
    /// If the pool has none to spare: others were first. The lease goes back.
    pub(super) fn of(hub: &Arc<Hub>, lease: PostgresOwnedLease) -> Result<Self, ListenError> {
        let kept =
            lease.keep().map_err(|error| ListenError::PoolTooSmall { max_size: error.max_size, kept: error.kept })?;
        let number = Number { hub: Arc::clone(hub), number: hub.begin_line() };
        Ok(Self { hub: Arc::clone(hub), number, kept, is_trusted: false })
    }

    pub(super) fn host(&self) -> &str {
        self.kept.host()
    }

    /// Listens for what is wanted until the pool wants the connection back or nobody is subscribed any more.
    ///
    /// # Errors
    ///
    /// In words, how the connection was lost.
    pub(super) async fn serve(&mut self) -> Result<(), String> {
        // Owned across the await: the connection, by `self`.
        self.begin().await?;
        let mut checked = Instant::now();
        loop {
            // Owned across the awaits: the connection, by `self`.
            match self.hub.next_task(self.number.number) {
                Task::Lost => return Err(self.end()),
                Task::Nothing => return Ok(()),
                Task::Rest => match self.rest(checked).await {
                    Woken::Rung => continue,
                    Woken::WantedBack => return Ok(()),
                    Woken::PingDue => self.ping().await?,
                },
                change => self.carry_out(change).await?,
            }
            checked = Instant::now();
        }
    }

    /// Has the server listen to something else.
    async fn carry_out(&mut self, change: Task) -> Result<(), String> {
        // Owned across the awaits: the connection, by `self`.
        match change {
            Task::Again(channels) => self.listen_again(&channels).await,
            Task::Listen(channels) => self.listen(&channels).await,
            Task::Unlisten(channels) => {
                self.ask(&statements("UNLISTEN", &channels)).await.map(drop).map_err(Failure::into_words)
            }
            Task::Lost | Task::Nothing | Task::Rest => Ok(()),
        }
    }

    /// Stops listening, and gives the connection back if it is in order; if not, it is closed. Those who are subscribed have a gap from then on.
    ///
    /// Cancel safety: it is closed.
    pub(super) async fn give_back(mut self) {
        // Owned across the await: the connection. Dropped, it is closed. What comes until the answer is still heard.
        let is_quiet = self.hub.pool.is_closed() || self.ask("UNLISTEN *").await.is_ok();
        self.hub.end_line(self.number.number);
        if is_quiet {
            self.kept.divert(None);
            self.kept.give_back();
        }
    }

    /// Begins to take what comes, and nothing that somebody else has listened for on this session before: it would come too early.
    async fn begin(&mut self) -> Result<(), String> {
        // Owned across the await: nothing but what `self` has.
        self.ask("UNLISTEN *").await.map_err(Failure::into_words)?;
        let ear = Ear { hub: Arc::clone(&self.hub), line: self.number.number };
        self.kept.divert(Some(Box::new(ear)));
        Ok(())
    }

    /// How the session has ended.
    fn end(&self) -> String {
        self.kept.ended().map_or_else(|| "the session has ended".to_owned(), |end| end.to_string())
    }

    /// Listens for what those had who were subscribed before the last connection was lost.
    async fn listen_again(&mut self, channels: &[Arc<str>]) -> Result<(), String> {
        // Owned across the awaits: nothing but what `self` has.
        let answer = match self.ask(&statements("LISTEN", channels)).await {
            Ok(backend) => self.trust(backend).await,
            Err(failure) => Err(failure.into_words()),
        };
        if answer.is_ok() {
            self.hub.confirm(self.number.number, channels);
        }
        answer
    }

    /// Listens for channels that somebody waits for: if there is one among them that the server refuses, one by one.
    async fn listen(&mut self, channels: &[Arc<str>]) -> Result<(), String> {
        // Owned across the awaits: nothing but what `self` has.
        let backend = match self.ask(&statements("LISTEN", channels)).await {
            Ok(backend) => backend,
            Err(Failure::Refused(error)) if channels.len() == 1 => {
                self.hub.refuse(channels.first(), &ListenError::Refused(Arc::new(error)));
                return self.look();
            }
            Err(Failure::Refused(_)) => {
                for channel in channels {
                    // Boxed, since it is this future again.
                    Box::pin(self.listen(std::slice::from_ref(channel))).await?;
                }
                return Ok(());
            }
            Err(Failure::Lost(why)) => return Err(why),
        };
        self.trust(backend).await?;
        self.hub.confirm(self.number.number, channels);
        Ok(())
    }

    /// Has statements executed. The process at the server that has done it.
    async fn ask(&mut self, sql: &str) -> Result<Option<u32>, Failure> {
        let limit = self.hub.pool.config().health_check_timeout;
        let (connection, mark) = (&*self.kept, self.kept.mark());
        let _duty = connection.session().on_duty();
        let mut whole = sql.to_owned();
        let _ = write!(whole, "; SELECT pg_catalog.pg_backend_pid()");
        let asked = connection.client().simple_query(&whole);
        // Owned across the await: nothing. The connection is closed if the future is dropped.
        match patiently(&self.hub, limit, asked).await {
            Some(Ok(said)) => Ok(said.iter().find_map(process)),
            Some(Err(error)) if error.as_db_error().is_some() && Diagnosis::of(&error).fate != Fate::Close => {
                Err(Failure::Refused(QueryError::of(connection, QueryStep::Listen, sql, mark, error)))
            }
            Some(Err(error)) => Err(Failure::Lost(match connection.ended() {
                Some(end) => end.to_string(),
                None => QueryError::of(connection, QueryStep::Listen, sql, mark, error).to_string(),
            })),
            None => Err(Failure::Lost(format!("the server has not answered within {limit:?}"))),
        }
    }

    /// Waits until there is something to do.
    async fn rest(&mut self, checked: Instant) -> Woken {
        let interval = self.hub.pool.config().health_check_interval;
        let hub = Arc::clone(&self.hub);
        let waiting = first(hub.bell.notified(), self.kept.wanted_back());
        // Owned across the await: nothing but what `self` has.
        let woken = match interval {
            Some(interval) => timeout_at(checked + interval, waiting).await.ok(),
            None => Some(waiting.await),
        };
        match woken {
            Some(First::One(())) => Woken::Rung,
            Some(First::Other(())) => Woken::WantedBack,
            None => Woken::PingDue,
        }
    }

    /// Asks the server for a sign of life, and looks whether it is still what is wanted.
    async fn ping(&mut self) -> Result<(), String> {
        let hub = Arc::clone(&self.hub);
        let limit = hub.pool.config().health_check_timeout;
        // Owned across the await: nothing but what `self` has.
        match patiently(&hub, limit, hub.pool.driver().ping(&mut self.kept)).await {
            Some(Ok(())) => self.look(),
            Some(Err(error)) => Err(error.to_string()),
            None => Err(format!("the server has not answered a ping within {limit:?}")),
        }
    }

    /// Whether the connection is still one to be used, as for any user.
    fn look(&mut self) -> Result<(), String> {
        let hub = Arc::clone(&self.hub);
        match hub.pool.driver().inspect(&mut self.kept) {
            SessionState::Broken if self.kept.ended().is_some() => Err(self.end()),
            SessionState::Broken => Err("it is of no further use, by what the server has said".to_owned()),
            _ => Ok(()),
        }
    }

    /// Looks once whether what is sent arrives, if the process at the server is not the one that has let the client in: then there is a pooler in between, which may have given the session that listens to
    /// somebody else.
    async fn trust(&mut self, backend: Option<u32>) -> Result<(), String> {
        if self.is_trusted || backend == self.kept.session().process() {
            self.is_trusted = true;
            return Ok(());
        }
        let limit = self.hub.pool.config().health_check_timeout;
        let channel: Arc<str> = format!("pool_probe_{:016x}", random()).into();
        let channels = [Arc::clone(&channel)];
        self.hub.await_on(&channel);
        // Owned across the awaits: nothing but what `self` has.
        self.ask(&statements("LISTEN", &channels)).await.map_err(Failure::into_words)?;
        let is_sent = matches!(timeout(limit, self.hub.pool.notify(&channel, "")).await, Ok(Ok(())));
        self.is_trusted = is_sent && self.comes(limit).await;
        self.ask(&statements("UNLISTEN", &channels)).await.map_err(Failure::into_words)?;
        // If it could not be sent, since all connections are in use, say, it is looked at with the next channel.
        if self.is_trusted || !is_sent {
            return Ok(());
        }
        let error = ListenError::NotDelivered { within: limit };
        self.hub.refuse(None, &error);
        Err(error.to_string())
    }

    /// Whether what is awaited comes in time.
    async fn comes(&self, limit: Duration) -> bool {
        let ends = Instant::now() + limit;
        while !self.hub.has_come() {
            // Owned across the await: nothing. What rings for another reason is seen to afterwards.
            if timeout_at(ends, self.hub.bell.notified()).await.is_err() {
                return false;
            }
        }
        true
    }
}

impl Failure {
    fn into_words(self) -> String {
        match self {
            Self::Refused(error) => error.to_string(),
            Self::Lost(why) => why,
        }
    }
}

/// The process that a row names.
fn process(message: &SimpleQueryMessage) -> Option<u32> {
    match message {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    }
}

/// What comes of a request, unless the server says nothing for so long: its answer comes behind the notifications that are on their way.
async fn patiently<T>(hub: &Hub, limit: Duration, request: impl Future<Output = T>) -> Option<T> {
    let mut request = pin!(request);
    loop {
        let heard = hub.heard();
        // Owned across the await: nothing but the request.
        match timeout(limit, &mut request).await {
            Ok(answer) => return Some(answer),
            Err(_) if hub.heard() != heard => {}
            Err(_) => return None,
        }
    }
}
