//! One attempt to connect: which of the servers it is, and whether that will do.

use std::time::Duration;

use pool_core::Attempt;
use tokio::time::{Instant, timeout_at};

use crate::cluster::{Failure, Failures, Turn};
use crate::config::{Host, PostgresConfig, TargetSessionAttrs};
use crate::connection::PostgresConnection;
use crate::driver::PostgresDriver;
use crate::error::{ConnectError, ConnectStep};
use crate::memory::Rank;
use crate::role::{Unsuitable, role_of};
use crate::socket::Place;

/// The part of the time of an attempt that is left for what there is to fall back on.
const FOR_SPARE: u32 = 10;
/// The part that is left for telling what has failed before the pool drops the attempt, and how much that is at least, if it is no more than a quarter.
const FOR_WORDS: u32 = 50;
const WORDS: Duration = Duration::from_millis(250);
/// More than any attempt needs, and less than any clock counts to.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);
/// For how long a server is waited for that is told goodbye, while somebody waits for another one.
const GOODBYE: Duration = Duration::from_millis(100);

/// How much time an attempt has, and for how many servers it has to do.
struct Time {
    ends: Instant,
    each: Duration,
    servers_left: u32,
}

impl Time {
    /// What is left of an attempt.
    fn of(attempt: &Attempt, config: &PostgresConfig, part: u32) -> Self {
        let budget = attempt.time_left().unwrap_or(config.pool.connect_timeout).min(FOR_EVER);
        let reserve = (budget / part).max(WORDS).min(budget / 4);
        let ends = Instant::now() + budget.saturating_sub(reserve);
        Self { ends, each: config.connect_timeout, servers_left: 0 }
    }

    /// For one place of the server that is tried now: no more than each may have, and no more than leaves the same for the others.
    fn share(&self, places_left: usize) -> Instant {
        let now = Instant::now();
        let shares = self.servers_left.saturating_add(u32::try_from(places_left).unwrap_or(u32::MAX)).max(1);
        now + self.each.min(self.ends.saturating_duration_since(now) / shares)
    }
}

/// An attempt under way. Dropped, it closes what it has opened so far.
pub(crate) struct Search<'a> {
    driver: &'a PostgresDriver,
    wanted: TargetSessionAttrs,
    attempt: &'a Attempt,
    time: Time,
    failures: Failures,
    /// Whether a session with any other server will do if there is none that is what is wanted.
    prefers: bool,
    spare: Option<PostgresConnection>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(driver: &'a PostgresDriver, attempt: &'a Attempt) -> Self {
        let config = driver.config();
        let prefers = config.target_session_attrs == TargetSessionAttrs::PreferStandby;
        let wanted = if prefers { TargetSessionAttrs::Standby } else { config.target_session_attrs };
        let time = Time::of(attempt, config, if prefers { FOR_SPARE } else { FOR_WORDS });
        Self { driver, wanted, attempt, time, failures: Failures::default(), prefers, spare: None }
    }

    /// A session with the first server that can be reached and is what is wanted.
    ///
    /// Cancel safety: dropping the future closes what has been opened so far.
    pub(crate) async fn run(mut self) -> Result<PostgresConnection, ConnectError> {
        let hosts = self.driver.cluster.order(self.wanted);
        self.time.servers_left = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        let mut hosts = hosts.into_iter();
        while let Some((index, host)) = hosts.next() {
            self.time.servers_left -= 1;
            self.failures.begin_host();
            // Owned across the awaits: what has been opened so far, and what there is to fall back on.
            match self.try_host(index, host).await {
                Ok(Some(connection)) => return Ok(self.settle_on(connection).await),
                Ok(None) => {}
                Err(error) => {
                    self.failures.add(error);
                    // One that is not tried, since it was not there a moment ago, may say otherwise.
                    let mut left = hosts.map(|(index, _)| self.driver.cluster.memory().rank(index, self.wanted));
                    self.failures.may_pass(left.any(|rank| rank == Rank::Down));
                    break;
                }
            }
        }
        self.spare.take().ok_or_else(|| self.failures.into_error())
    }

    async fn settle_on(&mut self, connection: PostgresConnection) -> PostgresConnection {
        if let Some(spare) = self.spare.take() {
            // Owned across the await: both. Dropped, the sessions are closed.
            self.part_from(spare).await;
        }
        connection
    }

    /// Ends a session that is not what is wanted.
    ///
    /// Cancel safety: dropping the future closes it.
    async fn part_from(&self, connection: PostgresConnection) {
        // Owned across the await: the session, which is closed if its server takes too long to take note.
        let _ = timeout_at(self.time.share(1).min(Instant::now() + GOODBYE), connection.end()).await;
    }

    /// When it is the next one's turn. `None`: there is none, nor anything to tell of another, and the pool sees to that.
    fn share(&self, places_left: usize) -> Option<Instant> {
        let share = self.time.share(places_left);
        let has_more = self.prefers || self.failures.is_any() || share < self.time.ends;
        has_more.then_some(share)
    }

    /// `None` if it may be another one; an error if none will do.
    async fn try_host(&mut self, index: usize, host: &Host) -> Result<Option<PostgresConnection>, ConnectError> {
        self.attempt.opening(format!("{} of {host}", ConnectStep::Resolve));
        let cluster = &self.driver.cluster;
        // Owned across the await: nothing.
        let looked_up = until(self.share(1), cluster.places(host)).await;
        let places = looked_up.unwrap_or_else(|| Err(late(host))).unwrap_or_else(|error| {
            self.failures.add(error);
            Vec::new()
        });
        if !places.is_empty() {
            cluster.memory().locate(index, &places);
        }
        let (count, mut is_there) = (places.len(), false);
        for (at, place) in places.into_iter().enumerate() {
            // Owned across the await: what has been opened so far, by the call.
            match self.try_place(index, host, place, count - at).await {
                Ok(connection) => return Ok(Some(connection)),
                Err(Failure::Last(error)) => return Err(error),
                Err(failure) => {
                    is_there |= matches!(failure, Failure::Unfit(_));
                    self.failures.add(failure.into_error());
                }
            }
        }
        if !is_there {
            cluster.memory().suspect(index);
        }
        Ok(None)
    }

    async fn try_place(
        &mut self,
        index: usize,
        host: &Host,
        place: Place,
        left: usize,
    ) -> Result<PostgresConnection, Failure> {
        let (driver, deadline, ends) = (self.driver, self.share(left), self.time.ends);
        let turn = Turn { host, place, deadline, ends, attempt: self.attempt, recorder: driver.recorder.get() };
        // Owned across the await: the session. Dropping the future closes it.
        let begun = driver.cluster.begin(&turn).await.inspect_err(|failure| {
            if matches!(failure, Failure::Next(error) if error.step != ConnectStep::Credentials) {
                driver.cluster.memory().miss(index, &turn.place);
            }
        })?;
        let connection = PostgresConnection::new(begun, &driver.counts, &driver.knowledge);
        // Owned across the await: the session.
        let is_fit = until(deadline, self.judge(index, &connection)).await;
        match is_fit.unwrap_or_else(|| Err(Failure::Next(late_role(&connection)))) {
            Ok(()) => Ok(connection.accepted_as(self.wanted)),
            Err(Failure::Unfit(error)) if self.prefers && self.spare.is_none() => {
                self.spare = Some(connection);
                Err(Failure::Unfit(error))
            }
            Err(failure) => {
                // Owned across the await: the session.
                self.part_from(connection).await;
                Err(failure)
            }
        }
    }

    /// Whether the server is what is wanted; remembers what it is.
    async fn judge(&self, index: usize, connection: &PostgresConnection) -> Result<(), Failure> {
        let memory = self.driver.cluster.memory();
        if self.wanted == TargetSessionAttrs::Any {
            memory.trust(index);
            return Ok(());
        }
        // Owned across the await: nothing.
        let asked = role_of(connection).await;
        let role = asked.map_err(|error| Failure::Next(connection.server().error(ConnectStep::Role, error)))?;
        memory.note(index, &connection.server().place, role);
        let Some(is) = role.unsuitable(self.wanted) else {
            memory.prefer(index, self.wanted);
            return Ok(());
        };
        let error = Unsuitable { is, wanted: self.driver.config().target_session_attrs };
        Err(Failure::Unfit(ConnectError::new(ConnectStep::Role, connection.host(), error)))
    }
}

/// What comes of a future before the deadline, if there is one.
pub(crate) async fn until<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    // Owned across the await: the future.
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

fn late(host: &Host) -> ConnectError {
    let cause = std::io::Error::new(std::io::ErrorKind::TimedOut, "it took too long");
    ConnectError::new(ConnectStep::Resolve, &host.to_string(), cause)
}

fn late_role(connection: &PostgresConnection) -> ConnectError {
    let cause = std::io::Error::new(std::io::ErrorKind::TimedOut, "it took longer than connect_timeout");
    ConnectError::new(ConnectStep::Role, connection.host(), cause)
}
