//! PgBouncer in front of a server.

mod find;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::error::{During, EphemeralError};
use super::program::Program;
use super::server::{EphemeralPostgres, PORT_ATTEMPTS, START_LIMIT, free_port, make_folder};
use super::warden::Warden;
use find::PGBOUNCER;

/// A PgBouncer that belongs to this process alone, in front of one server. Dropping it stops it and removes its files.
///
/// # Example
///
/// ```no_run
/// # fn main() -> Result<(), pool_testkit::postgres::EphemeralError> {
/// use pool_testkit::postgres::{EphemeralPostgres, PgBouncer};
///
/// let server = EphemeralPostgres::start()?;
/// let bouncer = PgBouncer::in_front_of(&server).setting("pool_mode", "transaction").start()?;
/// println!("{}", bouncer.url());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PgBouncer {
    warden: Warden,
    folder: PathBuf,
    port: u16,
    program: Program,
}

/// What a PgBouncer is started with.
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `start`"]
pub struct PgBouncerBuilder {
    server: u16,
    settings: Vec<(String, String)>,
    users: Vec<(String, String)>,
    certificate: Option<(String, String)>,
}

impl PgBouncerBuilder {
    /// Adds a line to the section `[pgbouncer]`. Without any, sessions are pooled, and it trusts everybody whom it [knows](Self::user).
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds somebody whom it lets in, with a password that it also logs in with at the server. `postgres` is there already, without one, and may use its console, the database `pgbouncer`.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Has it offer TLS to clients with this certificate and key, both PEM.
    pub fn tls(mut self, certificate: &str, key: &str) -> Self {
        self.certificate = Some((certificate.to_owned(), key.to_owned()));
        self
    }

    /// Starts it and waits until it takes connections, for a minute at most.
    ///
    /// # Errors
    ///
    /// If it can neither be found nor provisioned, or does not start; then with its log.
    pub fn start(self) -> Result<PgBouncer, EphemeralError> {
        let lookup = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let cache = Cache::open(lookup)?;
        let program = PGBOUNCER.find(&cache, lookup)?;
        for attempt in 1.. {
            match self.attempt(&cache, &program) {
                Err(error) if attempt < PORT_ATTEMPTS && error.to_string().contains("Address already in use") => {}
                outcome => return outcome,
            }
        }
        unreachable!("the loop above returns")
    }

    fn attempt(&self, cache: &Cache, program: &Program) -> Result<PgBouncer, EphemeralError> {
        let folder = make_folder(cache)?;
        let port = free_port()?;
        let line = [program.path.display().to_string(), folder.join("pgbouncer.ini").display().to_string()];
        // From here on the warden owns the folder.
        let warden = Warden::new(cache.account, &folder, &line, program.libraries.as_deref())?;
        let mut bouncer = PgBouncer { warden, folder, port, program: program.clone() };
        self.write_files(cache, &bouncer.folder, port)?;
        bouncer.launch()?;
        Ok(bouncer)
    }

    fn write_files(&self, cache: &Cache, folder: &Path, port: u16) -> Result<(), EphemeralError> {
        let certificate = self.certificate.iter();
        let files = certificate.flat_map(|(certificate, key)| [("client.crt", certificate), ("client.key", key)]);
        let (settings, users) = (self.ini(folder, port), self.user_list());
        for (name, text) in files.chain([("pgbouncer.ini", &settings), ("users", &users)]) {
            let path = folder.join(name);
            let step = || format!("writing {}", path.display());
            fs::write(&path, text).during(step)?;
            fs::set_permissions(&path, Permissions::from_mode(0o600)).during(step)?;
            cache.account.own(&path)?;
        }
        Ok(())
    }

    fn ini(&self, folder: &Path, port: u16) -> String {
        let file = |name: &str| folder.join(name).display().to_string();
        let fixed = [
            ("listen_addr", "127.0.0.1".to_owned()),
            ("listen_port", port.to_string()),
            // Without another place it does not start if the port is taken.
            ("unix_socket_dir", String::new()),
            ("auth_type", "trust".to_owned()),
            ("auth_file", file("users")),
            ("admin_users", "postgres".to_owned()),
        ];
        let tls = [
            ("client_tls_sslmode", "allow".to_owned()),
            ("client_tls_cert_file", file("client.crt")),
            ("client_tls_key_file", file("client.key")),
        ];
        let tls = tls.into_iter().filter(|_| self.certificate.is_some());
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let lines = fixed.into_iter().chain(tls).chain(given).map(|(name, value)| format!("{name} = {value}\n"));
        let lines: String = lines.collect();
        format!("[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\n{lines}", self.server)
    }

    /// The last line that names somebody counts.
    fn user_list(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let users = self.users.iter().map(|(name, password)| format!("{} {}\n", quoted(name), quoted(password)));
        users.chain(["\"postgres\" \"\"\n".to_owned()]).collect()
    }
}

impl PgBouncer {
    /// Starts to put one together that passes on to a server, whatever database is asked for.
    pub fn in_front_of(server: &EphemeralPostgres) -> PgBouncerBuilder {
        PgBouncerBuilder { server: server.port(), settings: Vec::new(), users: Vec::new(), certificate: None }
    }

    /// The port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens, as a connection URI.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// What it says of itself, such as `PgBouncer 1.18.0`.
    pub fn version(&self) -> &str {
        &self.program.version
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Kills it.
    ///
    /// # Errors
    ///
    /// If the shell that watches it has gone.
    pub fn kill9(&mut self) -> Result<(), EphemeralError> {
        self.warden.order("kill").map(drop)
    }

    /// Starts it again on the same port; kills it first if it runs.
    ///
    /// # Errors
    ///
    /// If it does not start.
    pub fn restart(&mut self) -> Result<(), EphemeralError> {
        self.kill9()?;
        self.launch()
    }

    fn launch(&mut self) -> Result<(), EphemeralError> {
        let deadline = Instant::now() + START_LIMIT;
        let pid = self.warden.order("start")?;
        // It says so after it has begun to listen; what is there of another process is from before.
        let up = format!("[{pid}] LOG process up: ");
        while !self.log().contains(&up) {
            if self.warden.order("alive")? != "yes" || Instant::now() > deadline {
                return Err(EphemeralError::step(format!("starting {}", self.program.version), self.log()));
            }
            std::thread::park_timeout(Duration::from_millis(2));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_counts_for_more_than_what_is_there() {
        let builder = PgBouncerBuilder { server: 7, settings: Vec::new(), users: Vec::new(), certificate: None }
            .setting("auth_type", "md5")
            .user("an\"n", "x");
        let ini = builder.ini(Path::new("/f"), 8);
        assert!(ini.starts_with("[databases]\n* = host=127.0.0.1 port=7\n[pgbouncer]\n"), "{ini}");
        assert!(ini.find("auth_type = trust") < ini.find("auth_type = md5"), "{ini}");
        assert_eq!(builder.user_list(), "\"an\"\"n\" \"x\"\n\"postgres\" \"\"\n");
    }
}
