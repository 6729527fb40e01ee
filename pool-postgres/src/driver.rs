//! The driver: PostgreSQL behind the pool's seam.

use std::sync::{Arc, OnceLock};

use pool_core::trace::report;
use pool_core::{Aborter, Attempt, Description, Driver, ErrorClass, Recorder, SessionState, Tag};
use tokio_postgres::types::Type;

use crate::cluster::Cluster;
use crate::config::PostgresConfig;
use crate::connection::PostgresConnection;
use crate::credentials::{Cache, CredentialsProvider};
use crate::end::{Counts, Ends};
use crate::error::{ConnectError, ConnectStep, PostgresError};
use crate::follow::{Follow, look};
use crate::memory::Memory;
use crate::multiplex::Apart;
use crate::release::{settled, tell};
use crate::report::describe;
use crate::search::Search;
use crate::server::Settings;
use crate::statements::{Knowledge, StatementStats, warm};
use crate::tls::{AnyConnector, TlsConnector};

/// Opens sessions with PostgreSQL: with the first server of the [list](PostgresConfig::hosts) that can be reached and will do.
///
/// **Between users**, open transactions are rolled back and queries that nobody waits for are cancelled. What outlives a
/// transaction, such as `SET`, `SET ROLE`, `LISTEN`, temporary tables, is undone as far as the names of commands tell; [`ReleasePolicy`](crate::ReleasePolicy) has other ways.
///
/// **Hosts**, for [`Pool::retire_host`](pool_core::Pool::retire_host), are named as [`ConnectError::target`] names them: host and port as configured, such as
/// `db.example:5432` or `[::1]:5432`, or the path of the Unix socket, such as `/run/postgresql/.s.PGSQL.5432`. Of a name with several addresses, one may be named as well: `10.0.0.7:5432`.
///
/// **Tags**, for [`Pool::acquire_preferring`](pool_core::Pool::acquire_preferring), are parameters of the session: a connection is converted by `set_config(name, value, false)`, as `SET` does. So a tag may be a `role`,
/// a `search_path`, or a parameter of your own such as `app.tenant`; `none` is the role that is none. What was set stays set, for those who prefer nothing, too, until something is undone; and what a function sets by hand, the pool does not hear of.
///
/// **Errors**: after some that a server reports, its session is closed when its user gives it back; [`diagnosis`](crate::diagnosis) says which. Those of a session that has ended are
/// counted by the reason, in [`ends`](Self::ends).
///
/// **Sessions in use that are cut off**, by [`PostgresPool::close_within`](crate::PostgresPool::close_within): what the user waits for fails at once, with an error that
/// [is about a closed connection](tokio_postgres::Error::is_closed). In the background, and for up to [`close_timeout`](pool_core::Config::close_timeout), the server is asked
/// to cancel what it is doing for the session, since a server that is busy does not notice that nobody is there. That is waited for; if the runtime ends before, the server finishes the query. As
/// whenever a connection breaks: if that was a `COMMIT`, nobody knows whether it has happened.
///
/// **Certificates**, keys and lists of revoked certificates that the configuration names are looked at whenever a connection is opened or pinged, and read again if their files are others: what is opened from then on uses the new ones, and all other
/// sessions are replaced, one after the other within a minute. Files that cannot be used, such as half a file or a key that belongs to another certificate, change nothing but that there is a warning; they are tried again the next time. The
/// certificates of the operating system (`sslrootcert=system`) are read once.
///
/// **Executions**, for [`Stats::execution`](pool_core::Stats::execution), are timed on the wire: from the first request that is sent when the session has nothing to do, to the
/// answer after which it has nothing to do again. So requests that are sent without waiting for each other count as one. One whose answer is an error counts, and so does
/// one that nobody waits for any more, until it is answered or cancelled. To prepare a statement does not count, nor what the pool asks for itself: logging in, resets, and
/// pings. Of each session the first 256 are timed, then one of 16, which counts for as many. A session that was opened by the [`connect`](Driver::connect) of another pool's
/// driver goes on to count there, and one that was [detached](pool_core::Lease::detach) goes on to count here.
pub struct PostgresDriver {
    pub(crate) cluster: Cluster,
    /// Since there is a pool.
    pub(crate) recorder: OnceLock<Recorder>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) knowledge: Arc<Knowledge>,
    apart: Apart,
    follower: Option<Arc<dyn Follow>>,
}

impl PostgresDriver {
    /// Prepares to connect; reads the certificates if the configuration needs any.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Config`] if the configuration is not [in order](PostgresConfig::validate), or there is no user; [`PostgresError::Tls`] if the certificates cannot be used.
    pub fn new(config: PostgresConfig) -> Result<Self, PostgresError> {
        config.validate()?;
        Self::of(Settings::new(config.in_step())?)
    }

    /// As [`new`](Self::new), with another TLS library: it is that which verifies servers and shows certificates, so nothing is read of the files that the configuration names for it. [`sslmode`](PostgresConfig::sslmode) says as ever whether there
    /// is TLS, and whether a server may be without; `verify-ca` and `verify-full` are as good as `require`.
    ///
    /// # Errors
    ///
    /// [`PostgresError::Config`] if the configuration is not [in order](PostgresConfig::validate), or there is no user.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use pool_postgres::{PostgresConfig, PostgresDriver, PostgresPool, TlsConnector};
    ///
    /// fn build(config: PostgresConfig, tls: impl TlsConnector) -> Result<PostgresPool, Box<dyn std::error::Error>> {
    ///     let driver = PostgresDriver::with_tls(config, tls)?;
    ///     Ok(PostgresPool::builder_of(driver).build()?.into())
    /// }
    /// ```
    pub fn with_tls(config: PostgresConfig, tls: impl TlsConnector) -> Result<Self, PostgresError> {
        Self::with_connector(config, Arc::new(tls))
    }

    pub(crate) fn with_connector(config: PostgresConfig, tls: Arc<dyn AnyConnector>) -> Result<Self, PostgresError> {
        config.validate()?;
        Self::of(Settings::with_tls(Some(tls), config.in_step()))
    }

    fn of(settings: Settings) -> Result<Self, PostgresError> {
        let knowledge = Arc::new(Knowledge::new(settings.config.statements.cache));
        let cluster = Cluster::new(settings)?;
        let (recorder, counts) = (OnceLock::new(), Arc::default());
        let apart = Apart::new(cluster.settings.config.multiplexing.apart_after);
        Ok(Self { cluster, recorder, counts, knowledge, apart, follower: None })
    }

    /// As it is, with somebody who says what to log in with whenever a connection is opened; then the password and the password file of the configuration do not count.
    ///
    /// # Example
    ///
    /// ```
    /// use pool_postgres::{Credentials, CredentialsRequest, PostgresConfig, PostgresDriver};
    ///
    /// # fn make(config: PostgresConfig) -> Result<PostgresDriver, pool_postgres::PostgresError> {
    /// let driver = PostgresDriver::new(config)?.with_credentials(async |_: CredentialsRequest| {
    ///     Ok(Credentials::new(std::fs::read_to_string("/run/secrets/app")?))
    /// });
    /// # Ok(driver)
    /// # }
    /// ```
    #[must_use]
    pub fn with_credentials(self, provider: impl CredentialsProvider) -> Self {
        self.with_cache(Arc::new(Cache::new(provider)))
    }

    pub(crate) fn with_cache(mut self, cache: Arc<Cache>) -> Self {
        self.cluster = self.cluster.with_provider(cache);
        self
    }

    pub(crate) fn with_memory(mut self, memory: Arc<Memory>) -> Self {
        self.cluster = self.cluster.with_memory(memory);
        self
    }

    pub(crate) fn with_follower(mut self, follower: Arc<dyn Follow>) -> Self {
        self.follower = Some(follower);
        self
    }

    /// The statements that take long.
    pub(crate) fn apart(&self) -> &Apart {
        &self.apart
    }

    /// The configuration.
    pub fn config(&self) -> &PostgresConfig {
        &self.cluster.settings.config
    }

    /// How many sessions have ended that nobody had closed, and why. They are counted when they end; the pool notices when it looks at them next.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn show(pool: &pool_postgres::PostgresPool) {
    /// println!("{} sessions were ended by an administrator", pool.driver().ends().count("57P01"));
    /// # }
    /// ```
    pub fn ends(&self) -> Ends {
        self.counts.snapshot()
    }

    /// What has become of statements so far, on all connections.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn show(pool: &pool_postgres::PostgresPool) {
    /// println!("{} statements were prepared", pool.driver().statements().prepared);
    /// # }
    /// ```
    pub fn statements(&self) -> StatementStats {
        self.knowledge.stats(&self.cluster.settings.ledger.totals())
    }
}

impl std::fmt::Debug for PostgresDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresDriver").field("config", self.config()).finish_non_exhaustive()
    }
}

/// Why nobody wants a session that works.
fn unwanted(connection: &PostgresConnection, settled: bool) -> Option<&'static str> {
    if connection.is_condemned(settled) {
        Some("of what the server has reported on it")
    } else if connection.left_its_role().is_some() {
        Some("its server is not what is wanted any more")
    } else {
        None
    }
}

#[cold]
fn report_end(connection: &PostgresConnection) {
    if let Some(end) = connection.ended() {
        report(|| tracing::info!(host = connection.host(), cause = end.label(), "a session has ended: {end}"));
    }
}

impl Driver for PostgresDriver {
    type Connection = PostgresConnection;
    type Error = ConnectError;

    fn attach(&self, recorder: Recorder) {
        // Once: a driver has one pool.
        let _ = self.cluster.settings.recorder.set(recorder.clone());
        let _ = self.recorder.set(recorder);
    }

    async fn connect(&self, attempt: &Attempt) -> Result<PostgresConnection, ConnectError> {
        // Owned across the await: what has been opened so far. Dropping the future closes it.
        let mut connection = Search::new(self, attempt).run().await?;
        if let Some(follower) = &self.follower {
            follower.on_found(connection.server());
        }
        // Owned across the await: the session.
        warm(&connection).await;
        // It has been asked for that, and perhaps what it is.
        connection.note_order();
        Ok(connection)
    }

    fn inspect(&self, connection: &mut PostgresConnection) -> SessionState {
        // A panic in the middle of a request, such as one in a `ToSql`, leaves half a message in the client's buffer.
        if std::thread::panicking() {
            return SessionState::Broken;
        }
        if connection.is_untouched() {
            return SessionState::Clean;
        }
        let settled = connection.settle_alone();
        // What happens from now on is not seen below, or not all of it.
        let silent_at = connection.silent_at();
        if connection.client_waited_for().is_closed() {
            report_end(connection);
            SessionState::Broken
        } else if let Some(why) = unwanted(connection, settled) {
            report(|| tracing::info!(host = connection.host(), "a session is closed: {why}"));
            SessionState::Broken
        } else if settled && self.is_in_order(connection) {
            connection.found_in_order(silent_at);
            SessionState::Clean
        } else if let (true, Some(reason)) = (settled, self.beyond_repair(connection)) {
            tell(connection, reason);
            SessionState::Broken
        } else {
            SessionState::Dirty
        }
    }

    /// Waits for the answers that are due, cancels what does not answer soon, rolls an open transaction back, and undoes what the [policy](crate::ReleasePolicy) has undone.
    async fn reset(&self, connection: &mut PostgresConnection) -> Result<(), ConnectError> {
        let session = connection.share_session();
        let _duty = session.on_duty();
        // Owned across the awaits: nothing. The pool closes the connection of a reset that is dropped.
        self.put_in_order(connection).await
    }

    /// What it has changed stays, as far as that can be: see [`ReleasePolicy`](crate::ReleasePolicy).
    fn approve(&self, connection: &mut PostgresConnection) {
        connection.take_turn();
        connection.keep_changes();
    }

    /// An empty query: the cheapest round trip that a session can make.
    async fn ping(&self, connection: &mut PostgresConnection) -> Result<(), ConnectError> {
        let session = connection.share_session();
        let _duty = session.on_duty();
        let before = connection.usage();
        // Owned across the awaits: nothing.
        let answer = connection.batch_execute("").await;
        settled(connection).await;
        connection.restore(before);
        if connection.peer().is_encrypted {
            // Beside it: the server has answered, however long it takes to read files.
            let settings = Arc::clone(&self.cluster.settings);
            tokio::spawn(async move { settings.renew().await });
        }
        answer.map_err(|error| connection.server().error(ConnectStep::Session, error))
    }

    /// Sets the parameter of the tag's name for the session: one round trip.
    async fn convert(&self, connection: &mut PostgresConnection, wanted: &Tag) -> Result<(), ConnectError> {
        let session = connection.share_session();
        let _duty = session.on_duty();
        let before = connection.usage();
        let (name, value) = (wanted.name(), wanted.value());
        let setting = "SELECT pg_catalog.set_config($1, $2, false)";
        // Owned across the awaits: nothing. The pool closes the connection of a conversion that is dropped.
        let set = connection.query_typed(setting, &[(&name, Type::TEXT), (&value, Type::TEXT)]).await;
        settled(connection).await;
        connection.restore(before);
        set.map(drop).map_err(|error| connection.server().error(ConnectStep::Session, error))
    }

    async fn close(&self, connection: PostgresConnection) {
        // Owned across the awaits: the session. Dropping the future closes it.
        look(self.follower.as_ref(), &connection).await;
        connection.end().await;
    }

    fn host<'a>(&'a self, connection: &'a PostgresConnection) -> Option<&'a str> {
        Some(connection.host())
    }

    fn address<'a>(&'a self, connection: &'a PostgresConnection) -> Option<&'a str> {
        Some(&connection.server().address)
    }

    /// The server's process, as `pg_backend_pid()` and `pg_stat_activity` have it; that of [`SessionActivity::process`](crate::SessionActivity::process). A proxy between them, such as PgBouncer, says a number of its own, by which
    /// no session of the server is found.
    fn session_id(&self, connection: &PostgresConnection) -> Option<u64> {
        connection.session().process().map(u64::from)
    }

    fn aborter(&self, connection: &PostgresConnection) -> Option<Aborter> {
        let (limit, line) = (self.config().pool.close_timeout, connection.line());
        Some(Box::new(move || line.cut_soon(limit)))
    }

    /// As many as [`Multiplexing::max_in_flight`](crate::Multiplexing::max_in_flight) says. Whoever shares a connection by [`Pool::share`](pool_core::Pool::share) himself sees to it that he leaves nothing behind in its session, as
    /// [`Multiplexed`](crate::Multiplexed) does.
    fn shared_by(&self) -> usize {
        self.config().multiplexing.max_in_flight
    }

    /// Not while the server is at one query for [too long](crate::Multiplexing::apart_after), or is asked to cancel one; nor if more is under way than may be, since some of it was dropped.
    fn takes_another(&self, connection: &PostgresConnection) -> bool {
        connection.takes_another(self.config().multiplexing.max_in_flight)
    }

    /// What it measures is in `docs/metrics.md`. It reads counters, and locks what is locked when a connection begins or ends, but nothing that a query waits for.
    fn describe(&self, description: &mut Description) {
        describe(self, description);
    }

    fn classify(&self, error: &ConnectError) -> ErrorClass {
        error.class()
    }
}
