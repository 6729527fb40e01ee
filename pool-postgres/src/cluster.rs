//! All servers of a configuration, and the way to a session with one of them.

use std::io;
use std::sync::Arc;

use pool_core::{Attempt, Recorder, Step};
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::config::{ChannelBinding, Host, LoadBalanceHosts, PostgresConfig, SslCertMode, SslMode, TargetSessionAttrs};
use crate::credentials::{Cache, CredentialsFailure};
use crate::encrypted::Done;
use crate::error::{ConnectError, ConnectStep, PostgresError};
use crate::limits::UnsupportedLimit;
use crate::login::{Login, Logins};
use crate::memory::Memory;
use crate::random::random;
use crate::search::until;
use crate::server::{Encryption, Peer, Server, Settings};
use crate::socket::{Place, places};
use crate::tap::{Binding, Session, Tap};
use crate::wire::Wire;

/// The part of its time that an attempt waits for credentials; the rest is for logging in.
const PATIENCE: f64 = 0.75;

/// The servers.
pub(crate) struct Cluster {
    pub(crate) settings: Arc<Settings>,
    logins: Logins,
    memory: Arc<Memory>,
}

/// One place of a server whose turn it is in an attempt.
pub(crate) struct Turn<'a> {
    pub(crate) host: &'a Host,
    pub(crate) place: Place,
    /// When it is the next one's turn. `None`: there is none, and the pool sees to that.
    pub(crate) deadline: Option<Instant>,
    /// When the attempt ends.
    pub(crate) ends: Instant,
    pub(crate) attempt: &'a Attempt,
    pub(crate) recorder: Option<&'a Recorder>,
}

/// A session that has begun.
pub(crate) struct Begun {
    pub(crate) client: Client,
    pub(crate) wire: Wire,
    pub(crate) session: Arc<Session>,
    pub(crate) peer: Arc<Peer>,
}

/// What has failed so far, in one attempt.
#[derive(Default)]
pub(crate) struct Failures {
    errors: Vec<ConnectError>,
    /// Where those of the server begin whose turn it is.
    here: usize,
    /// Whether another one failed for a reason that may pass.
    may_pass: bool,
}

impl Failures {
    /// It is the turn of the next server.
    pub(crate) fn begin_host(&mut self) {
        self.may_pass(self.errors[self.here..].iter().any(ConnectError::may_pass));
        self.here = self.errors.len();
    }

    /// Another server than the last one may let one in later.
    pub(crate) fn may_pass(&mut self, may_pass: bool) {
        self.may_pass |= may_pass;
    }

    /// Whether there has been a failure.
    pub(crate) fn is_any(&self) -> bool {
        !self.errors.is_empty()
    }

    pub(crate) fn add(&mut self, error: ConnectError) {
        self.errors.push(error);
    }

    /// All of it, the last one first.
    pub(crate) fn into_error(mut self) -> ConnectError {
        let none = || ConnectError::new(ConnectStep::Resolve, "no server", "there is none");
        let last = self.errors.pop().unwrap_or_else(none);
        last.after(self.errors).after_others(self.may_pass)
    }
}

/// How one attempt goes on after a failure.
pub(crate) enum Failure {
    /// With the next server.
    Next(ConnectError),
    /// With the next one, too: this one is there, and is not what is wanted.
    Unfit(ConnectError),
    /// Not at all: another server would say the same.
    Last(ConnectError),
}

impl Failure {
    /// As it is, after another one.
    fn after(self, first: ConnectError) -> Self {
        match self {
            Self::Next(error) => Self::Next(error.after(vec![first])),
            Self::Unfit(error) => Self::Unfit(error.after(vec![first])),
            Self::Last(error) => Self::Last(error.after(vec![first])),
        }
    }

    pub(crate) fn into_error(self) -> ConnectError {
        match self {
            Self::Next(error) | Self::Unfit(error) | Self::Last(error) => error,
        }
    }
}

impl Cluster {
    /// With all that is made of the configuration once.
    pub(crate) fn new(settings: Settings) -> Result<Self, PostgresError> {
        let logins = Logins::new(&settings.config)?;
        Ok(Self { settings: Arc::new(settings), logins, memory: Arc::default() })
    }

    /// As it is, with somebody who says what to log in with.
    pub(crate) fn with_provider(mut self, provider: Arc<Cache>) -> Self {
        self.logins = self.logins.with(provider);
        self
    }

    /// As it is, with what others remember, too.
    pub(crate) fn with_memory(mut self, memory: Arc<Memory>) -> Self {
        self.memory = memory;
        self
    }

    fn config(&self) -> &PostgresConfig {
        &self.settings.config
    }

    /// The servers in the order in which they are tried now: those that were not what is wanted a moment ago come late, and those that have failed last.
    pub(crate) fn order(&self, wanted: TargetSessionAttrs) -> Vec<(usize, &Host)> {
        let mut hosts: Vec<_> = self.config().hosts.iter().enumerate().collect();
        if self.config().load_balance_hosts == LoadBalanceHosts::Random {
            shuffle(&mut hosts);
        }
        hosts.sort_by_cached_key(|(index, _)| self.memory.rank(*index, wanted));
        hosts
    }

    /// What is remembered of a server.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Where a server listens, each address.
    pub(crate) async fn places(&self, host: &Host) -> Result<Vec<Place>, ConnectError> {
        let found = places(host).await;
        let mut found = found.map_err(|error| ConnectError::new(ConnectStep::Resolve, &host.to_string(), error))?;
        if self.config().load_balance_hosts == LoadBalanceHosts::Random {
            shuffle(&mut found);
        }
        Ok(found)
    }

    /// Begins a session at one place, until the deadline. If the server refuses what a provider has said, it is asked once more.
    ///
    /// Cancel safety: dropping the future closes what has been opened so far.
    pub(crate) async fn begin(&self, turn: &Turn<'_>) -> Result<Begun, Failure> {
        let server = Arc::new(Server::new(&self.settings, turn.host, turn.place.clone()));
        // Owned across the awaits: what has been opened so far, by the calls.
        let login = self.log_in(&server, turn, None).await?;
        match self.begin_in_time(&server, &login, turn).await {
            Err(Failure::Last(error)) if login.is_provided() && error.is_refusal() => {
                match self.log_in(&server, turn, Some(&login)).await {
                    Ok(again) => self.begin_in_time(&server, &again, turn).await.map_err(|last| last.after(error)),
                    Err(last) => Err(last.after(error)),
                }
            }
            outcome => outcome,
        }
    }

    /// What to log in with.
    async fn log_in(&self, server: &Server, turn: &Turn<'_>, refused: Option<&Login>) -> Result<Login, Failure> {
        if self.logins.are_provided() {
            turn.attempt.preparing(server.words(ConnectStep::Credentials));
        }
        let now = Instant::now();
        let after = turn.deadline.unwrap_or(turn.ends).saturating_duration_since(now).mul_f64(PATIENCE);
        let asked = self.logins.at(&server.host, self.config(), refused);
        // Owned across the await: nothing.
        let login = until(Some(now + after), asked).await;
        let login = login.unwrap_or(Err(CredentialsFailure::TimedOut { after }));
        login.map_err(|failure| {
            // Of another server it may know, and in time.
            let is_elsewhere = self.logins.differ_by_host() || matches!(failure, CredentialsFailure::TimedOut { .. });
            let error = ConnectError::new(ConnectStep::Credentials, &server.name, failure);
            if is_elsewhere { Failure::Next(error) } else { Failure::Last(error) }
        })
    }

    async fn begin_in_time(&self, server: &Arc<Server>, login: &Login, turn: &Turn<'_>) -> Result<Begun, Failure> {
        // Boxed, because it is large, and there are several such calls in the future of an attempt.
        let session = Box::pin(self.begin_in_turn(server, login, turn));
        // Owned across the await: what has been opened so far, by the call.
        let begun = until(turn.deadline, session).await;
        begun.unwrap_or_else(|| {
            let is_there = turn.attempt.progress().step == Step::Authenticating;
            let step = if is_there { ConnectStep::Startup } else { ConnectStep::Open };
            let cause = io::Error::new(io::ErrorKind::TimedOut, "it took longer than connect_timeout");
            Err(Failure::Next(ConnectError::new(step, &server.name, cause)))
        })
    }

    /// With encryption or without, as `sslmode` says: one after the other, if it allows both.
    async fn begin_in_turn(&self, server: &Arc<Server>, login: &Login, turn: &Turn<'_>) -> Result<Begun, Failure> {
        let (first, second) = ways(self.config().sslmode, server.is_local());
        // Owned across the awaits: what has been opened so far, by the call.
        let outcome = self.begin_once(server, first, login, turn).await;
        let outcome = match (outcome, second) {
            (Err((error, was_encrypted)), Some(second)) if may_help(&error, was_encrypted, second) => {
                let other = self.begin_once(server, second, login, turn).await;
                other.map_err(|(last, _)| last.after(vec![error]))
            }
            (outcome, _) => outcome.map_err(|(error, _)| error),
        };
        outcome.map_err(judge)
    }

    /// The server does not let the client in.
    fn refused(&self, server: &Server, error: tokio_postgres::Error) -> ConnectError {
        match UnsupportedLimit::of(&self.config().limits, error) {
            Ok(unsupported) => ConnectError::new(ConnectStep::Startup, &server.name, unsupported),
            Err(error) => server.error(ConnectStep::Startup, error),
        }
    }

    /// Whether the login can be bound to its channel.
    fn binding(&self, is_encrypted: bool, done: &Done) -> Binding {
        match done.end_point {
            None if !is_encrypted => Binding::Plain,
            None if self.config().channel_binding != ChannelBinding::Disable => Binding::Unknown,
            _ => Binding::Settled,
        }
    }

    /// If it fails, whether that was with encryption.
    async fn begin_once(
        &self,
        server: &Arc<Server>,
        encryption: Encryption,
        login: &Login,
        turn: &Turn<'_>,
    ) -> Result<Begun, (ConnectError, bool)> {
        let attempt = turn.attempt;
        // Owned across the awaits: the stream. Dropping the future closes it.
        let opened = server.open(encryption, |step| attempt.opening(server.words(step))).await;
        let (stream, done) = opened.map_err(|error| (error, encryption != Encryption::Never))?;
        let (is_encrypted, done) = (done.is_some(), done.unwrap_or_default());
        let sent_certificate = done.sent_certificate;
        attempt.authenticating(server.words(ConnectStep::Startup));
        let session = Arc::new(Session::default());
        let tap = Tap::new(stream, Arc::clone(&session), turn.recorder.cloned());
        let tap = tap.guarded(self.config().require_auth.clone(), self.binding(is_encrypted, &done));
        let mut config = login.config();
        if is_encrypted {
            Done::announce(&mut config);
        }
        let begun = config.connect_raw(tap, done).await;
        let (client, wire) = begun.map_err(|error| (self.refused(server, error), is_encrypted))?;
        if self.config().sslcertmode == SslCertMode::Require && !sent_certificate {
            let problem = "sslcertmode is require, and the server lets the client in without its certificate";
            let cause = io::Error::new(io::ErrorKind::InvalidData, problem);
            return Err((ConnectError::new(ConnectStep::Startup, &server.name, cause), is_encrypted));
        }
        Ok(Begun { client, wire, session, peer: Arc::new(Peer { server: Arc::clone(server), is_encrypted }) })
    }
}

/// With encryption or without: which way first, and which one if that fails. What goes through a Unix socket is never encrypted.
fn ways(mode: SslMode, is_local: bool) -> (Encryption, Option<Encryption>) {
    match mode {
        _ if is_local => (Encryption::Never, None),
        SslMode::Disable => (Encryption::Never, None),
        SslMode::Allow => (Encryption::Never, Some(Encryption::Always)),
        SslMode::Prefer => (Encryption::IfOffered, Some(Encryption::Never)),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Encryption::Always, None),
    }
}

/// Whether it may help to try once more, with encryption instead of without or the other way round.
fn may_help(error: &ConnectError, was_encrypted: bool, second: Encryption) -> bool {
    let wants_encryption = second == Encryption::Always;
    match error.step {
        ConnectStep::TlsHandshake => !wants_encryption,
        ConnectStep::Startup => error.sqlstate().is_some() && was_encrypted != wants_encryption,
        _ => false,
    }
}

/// A server that has looked at who comes and does not let it in has the last word, unless it starts or shuts down.
fn judge(error: ConnectError) -> Failure {
    let is_elsewhere = matches!(error.step, ConnectStep::Resolve | ConnectStep::Open);
    let comes_later = error.sqlstate() == Some(&SqlState::CANNOT_CONNECT_NOW);
    let is_under_way = matches!(error.step, ConnectStep::TlsRequest | ConnectStep::TlsHandshake | ConnectStep::Startup);
    let was_cut = is_under_way && error.sqlstate().is_none() && error.is_of_the_network();
    if is_elsewhere || comes_later || was_cut { Failure::Next(error) } else { Failure::Last(error) }
}

/// As Fisher and Yates do it.
fn shuffle<T>(items: &mut [T]) {
    for end in (1..items.len()).rev() {
        let with = usize::try_from(random() % (end as u64 + 1)).unwrap_or(0);
        items.swap(end, with);
    }
}
