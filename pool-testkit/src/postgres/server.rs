//! One server.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::client;
use super::error::{During, EphemeralError};
use super::find::{Binaries, find};
use super::shared::{SharedPostgres, TestDatabase};
use super::template;
use super::warden::Warden;

/// A port can be taken between finding and using it.
pub(crate) const PORT_ATTEMPTS: u32 = 5;
/// A server on a busy machine, after a crash, is ready well before.
pub(crate) const START_LIMIT: Duration = Duration::from_mins(1);

/// A PostgreSQL server that belongs to this process alone. Dropping it stops it and removes its files.
#[derive(Debug)]
pub struct EphemeralPostgres {
    warden: Warden,
    folder: PathBuf,
    port: u16,
    binaries: Binaries,
    builder: EphemeralBuilder,
}

/// What a server is started with.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing happens until `start`"]
pub struct EphemeralBuilder {
    version: Option<u32>,
    settings: Vec<(String, String)>,
    certificate: Option<(String, String)>,
    hba: Option<String>,
}

impl EphemeralBuilder {
    /// Wants a server of this major version, such as 18, whatever else is on this machine. Without it, any from 15 on will do, or the one of `POOL_PG_VERSION`.
    pub fn with_version(mut self, major: u32) -> Self {
        self.version = Some(major);
        self
    }

    /// Adds a setting, as `-c name=value` does.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes the server offer TLS with this certificate and key, both PEM.
    pub fn tls(mut self, certificate: &str, key: &str) -> Self {
        self.certificate = Some((certificate.to_owned(), key.to_owned()));
        self
    }

    /// Replaces `pg_hba.conf`, which trusts everybody on this machine.
    pub fn hba(mut self, text: &str) -> Self {
        self.hba = Some(text.to_owned());
        self
    }

    /// Starts the server and waits until it takes connections, for a minute at most.
    ///
    /// # Errors
    ///
    /// If no server can be found or provisioned, or it does not start; then with the end of its log.
    pub fn start(self) -> Result<EphemeralPostgres, EphemeralError> {
        self.start_on(|server, cache| {
            template::copy_to(&server.data_dir(), &server.binaries, cache)?;
            server.builder.write_files(cache, &server.data_dir())
        })
    }

    /// Starts it on the data that `fill` puts into its folder.
    pub(super) fn start_on(
        self,
        fill: impl Fn(&EphemeralPostgres, &Cache) -> Result<(), EphemeralError>,
    ) -> Result<EphemeralPostgres, EphemeralError> {
        let lookup = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let cache = Cache::open(lookup)?;
        let binaries = find(&cache, self.version, lookup)?;
        for attempt in 1.. {
            match self.attempt(&cache, &binaries, &fill) {
                Err(error) if attempt < PORT_ATTEMPTS && error.to_string().contains("Address already in use") => {}
                outcome => return outcome,
            }
        }
        unreachable!("the loop above returns")
    }

    fn attempt(
        &self,
        cache: &Cache,
        binaries: &Binaries,
        fill: impl Fn(&EphemeralPostgres, &Cache) -> Result<(), EphemeralError>,
    ) -> Result<EphemeralPostgres, EphemeralError> {
        let folder = make_folder(cache)?;
        let port = free_port()?;
        let server = self.command_line(binaries, &folder, port);
        // From here on the warden owns the folder.
        let warden = Warden::new(cache.account, &folder, &server, binaries.libraries.as_deref())?;
        let (binaries, builder) = (binaries.clone(), self.clone());
        let mut server = EphemeralPostgres { warden, folder, port, binaries, builder };
        fill(&server, cache)?;
        server.launch()?;
        Ok(server)
    }

    fn command_line(&self, binaries: &Binaries, folder: &Path, port: u16) -> Vec<String> {
        let fixed = [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("port", port.to_string()),
            ("unix_socket_directories", folder.display().to_string()),
            // Nobody needs these files after a power failure; what is committed outlives a killed server all the same.
            ("fsync", "off".to_owned()),
            ("full_page_writes", "off".to_owned()),
            ("shared_buffers", "32MB".to_owned()),
            ("max_connections", "100".to_owned()),
            ("max_wal_senders", "0".to_owned()),
            ("wal_level", "minimal".to_owned()),
            ("autovacuum", "off".to_owned()),
            // In the data directory, which goes away: a killed server leaves its shared memory behind.
            ("dynamic_shared_memory_type", "mmap".to_owned()),
            // An unpacked server has no compiler with it.
            ("jit", "off".to_owned()),
        ];
        let mut line = vec![binaries.folder.join("postgres").display().to_string()];
        line.extend(["-D".to_owned(), folder.join("data").display().to_string()]);
        let tls = self.certificate.iter().map(|_| ("ssl", "on"));
        let fixed = fixed.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in
            fixed.chain(tls).chain(self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        {
            line.extend(["-c".to_owned(), format!("{name}={value}")]);
        }
        line
    }

    fn write_files(&self, cache: &Cache, data: &Path) -> Result<(), EphemeralError> {
        let certificate = self.certificate.iter();
        let files = certificate.flat_map(|(certificate, key)| [("server.crt", certificate), ("server.key", key)]);
        for (name, text) in files.chain(self.hba.iter().map(|text| ("pg_hba.conf", text))) {
            let path = data.join(name);
            let step = || format!("writing {}", path.display());
            fs::write(&path, text).during(step)?;
            fs::set_permissions(&path, Permissions::from_mode(0o600)).during(step)?;
            cache.account.own(&path)?;
        }
        Ok(())
    }
}

impl EphemeralPostgres {
    /// Starts a server with nothing special about it.
    ///
    /// # Errors
    ///
    /// As [`EphemeralBuilder::start`].
    pub fn start() -> Result<Self, EphemeralError> {
        Self::builder().start()
    }

    /// Starts to put a server together.
    pub fn builder() -> EphemeralBuilder {
        EphemeralBuilder::default()
    }

    /// The one server that the tests of this process share; `POOL_TEST_URL` names another one.
    ///
    /// # Errors
    ///
    /// As [`EphemeralBuilder::start`], and the same one each time.
    pub fn shared() -> Result<&'static SharedPostgres, EphemeralError> {
        SharedPostgres::get()
    }

    /// Where it listens, as a connection URI.
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    pub(super) fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its Unix socket.
    pub fn socket_dir(&self) -> &Path {
        &self.folder
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What it was started with.
    pub(super) fn builder_of(&self) -> &EphemeralBuilder {
        &self.builder
    }

    /// Its major version.
    pub fn version(&self) -> u32 {
        self.binaries.major
    }

    /// Makes a database of its own for one test.
    ///
    /// # Errors
    ///
    /// If the server does not do it.
    pub fn create_database(&self) -> Result<TestDatabase, EphemeralError> {
        TestDatabase::create(self.port, |name| self.url_of(name))
    }

    /// Kills the server and all its processes, as a crash of the machine would.
    ///
    /// # Errors
    ///
    /// If the shell that watches the server has gone.
    pub fn kill9(&mut self) -> Result<(), EphemeralError> {
        self.warden.order("kill").map(drop)
    }

    /// Stops the server in an orderly way: it ends its sessions and shuts down.
    ///
    /// # Errors
    ///
    /// If the shell that watches the server has gone.
    pub fn stop(&mut self) -> Result<(), EphemeralError> {
        self.warden.order("stop").map(drop)
    }

    /// Starts the server again, on the same port and data, after [`kill9`](Self::kill9) or [`stop`](Self::stop); stops it first if it runs.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self) -> Result<(), EphemeralError> {
        if self.warden.order("alive")? == "yes" {
            self.stop()?;
        }
        self.launch()
    }

    /// Freezes the server and all its processes: connections stay open and nobody answers.
    ///
    /// # Errors
    ///
    /// If the shell that watches the server has gone.
    pub fn pause(&mut self) -> Result<(), EphemeralError> {
        self.warden.order("pause").map(drop)
    }

    /// Ends [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If the shell that watches the server has gone.
    pub fn resume(&mut self) -> Result<(), EphemeralError> {
        self.warden.order("resume").map(drop)
    }

    fn launch(&mut self) -> Result<(), EphemeralError> {
        let deadline = Instant::now() + START_LIMIT;
        let mut pid = self.warden.order("start")?;
        while !self.is_ready(&pid) {
            let dead = self.warden.order("alive")? != "yes";
            if Instant::now() > deadline || dead && !self.is_haunted() {
                return Err(EphemeralError::step(format!("starting {}", self.binaries.version), self.end_of_log()));
            }
            pid = if dead { self.warden.order("start")? } else { pid };
            std::thread::park_timeout(Duration::from_millis(2));
        }
        self.answers()
    }

    fn answers(&self) -> Result<(), EphemeralError> {
        client::query(self.port, "postgres", "SELECT 1").map(drop).during(|| "asking the new server".to_owned())
    }

    /// The eighth line of `postmaster.pid` says `ready` once the server takes connections, or `standby` if it is one; the first is its process.
    fn is_ready(&self, pid: &str) -> bool {
        let text = fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines();
        lines.next() == Some(pid) && lines.nth(6).is_some_and(|status| matches!(status.trim(), "ready" | "standby"))
    }

    /// Whether processes of a killed server still hold on to its memory, which passes.
    fn is_haunted(&self) -> bool {
        self.end_of_log().contains("pre-existing shared memory block")
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(10)..].join("\n  ");
        format!("it is not ready; its log ends with\n  {end}")
    }
}

/// A folder for one server, short enough for a socket's name, owned by the server's user.
pub(crate) fn make_folder(cache: &Cache) -> Result<PathBuf, EphemeralError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("pool-pg-{}-{number}", std::process::id()));
    // A process of the same number may have been killed together with its warden.
    let _ = fs::remove_dir_all(&folder);
    DirBuilder::new().mode(0o700).create(&folder).during(|| format!("making {}", folder.display()))?;
    cache.account.own(&folder)?;
    Ok(folder)
}

/// Below the ports that systems give to outgoing connections, one of which could take the port of a server that is stopped. And none that this process has had before: whoever is stopped may come back, and whoever
/// has gone is not to be found.
pub(crate) fn free_port() -> Result<u16, EphemeralError> {
    const PORTS: std::ops::Range<u16> = 20_000..32_000;
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let random = RandomState::new().build_hasher().finish();
    let offset = u16::try_from(random % u64::from(PORTS.end - PORTS.start)).unwrap_or(0);
    let mut ports = PORTS.cycle().skip(usize::from(offset)).take(PORTS.len());
    let free = ports.find(|port| !given.contains(port) && TcpListener::bind(("127.0.0.1", *port)).is_ok());
    given.extend(free);
    free.ok_or_else(|| EphemeralError::step("looking for a free port", format!("none of {PORTS:?} is free")))
}
