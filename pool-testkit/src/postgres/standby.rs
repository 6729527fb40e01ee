//! Servers that follow another one.

use std::fs;
use std::io::Write;

use super::cache::Cache;
use super::client;
use super::error::{During, EphemeralError};
use super::find::output;
use super::server::{EphemeralBuilder, EphemeralPostgres};

impl EphemeralBuilder {
    /// Writes as much to its log as standbys need, and lets them read it.
    pub fn replicated(self) -> Self {
        let settings = self.setting("wal_level", "replica").setting("max_wal_senders", "10");
        // A standby that finds nobody asks again soon.
        settings.setting("wal_keep_size", "64MB").setting("wal_retrieve_retry_interval", "100ms")
    }
}

impl EphemeralPostgres {
    /// Starts a standby that streams from this server, on a copy of its data and with its settings. The server is stopped while it is copied, and runs again then; it has to be
    /// [replicated](EphemeralBuilder::replicated).
    ///
    /// # Errors
    ///
    /// If one of them does not start.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # fn main() -> Result<(), pool_testkit::postgres::EphemeralError> {
    /// use pool_testkit::postgres::EphemeralPostgres;
    ///
    /// let mut primary = EphemeralPostgres::builder().replicated().start()?;
    /// let standby = primary.standby()?;
    /// primary.kill9()?;
    /// standby.promote()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn standby(&mut self) -> Result<Self, EphemeralError> {
        self.stop()?;
        let source = self.data_dir();
        let started = self.builder_of().clone().start_on(|standby: &Self, cache: &Cache| {
            let target = standby.data_dir();
            let mut copy = cache.account.command("cp");
            copy.arg("-R").arg(&source).arg(&target);
            output(&mut copy).map(drop).during(|| format!("copying {} to {}", source.display(), target.display()))?;
            standby.follow(self)
        });
        self.restart()?;
        started
    }

    /// Makes it a standby of another server when it starts the next time. It streams if their histories are the same; if it has gone on after the other was promoted it only reads.
    ///
    /// # Errors
    ///
    /// If its files cannot be written.
    pub fn follow(&self, primary: &Self) -> Result<(), EphemeralError> {
        let (signal, settings) = ("standby.signal", "postgresql.auto.conf");
        let line = format!("primary_conninfo = 'host=127.0.0.1 port={} user=postgres'\n", primary.port());
        let step = || format!("making a standby of {}", self.data_dir().display());
        fs::write(self.data_dir().join(signal), "").during(step)?;
        let mut file = fs::OpenOptions::new().append(true).open(self.data_dir().join(settings)).during(step)?;
        file.write_all(line.as_bytes()).during(step)
    }

    /// Promotes a standby, and returns once it can be written to.
    ///
    /// # Errors
    ///
    /// If it is none, or takes longer than a minute.
    pub fn promote(&self) -> Result<(), EphemeralError> {
        let step = || "promoting a standby".to_owned();
        let done = client::query(self.port(), "postgres", "SELECT pg_catalog.pg_promote(true, 60)").during(step)?;
        if done == ["t"] { Ok(()) } else { Err(EphemeralError::step(step(), "it goes on as one")) }
    }

    /// Waits until a standby has all that its primary has committed, for a minute at most.
    ///
    /// # Errors
    ///
    /// If one of them does not answer, or it takes longer.
    pub fn catch_up(&self, primary: &Self) -> Result<(), EphemeralError> {
        let ask = |server: &Self, what: &str| {
            client::query(server.port(), "postgres", what).during(|| "asking how far a standby is".to_owned())
        };
        let end = ask(primary, "SELECT pg_catalog.pg_current_wal_lsn()")?.join("");
        let reached = format!("SELECT coalesce(pg_catalog.pg_last_wal_replay_lsn() >= '{end}', false)");
        let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
        while ask(self, &reached)? != ["t"] {
            if std::time::Instant::now() > deadline {
                return Err(EphemeralError::step("waiting for a standby", "it does not get further"));
            }
            std::thread::park_timeout(std::time::Duration::from_millis(2));
        }
        Ok(())
    }
}
