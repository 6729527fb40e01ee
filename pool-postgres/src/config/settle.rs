//! What was given becomes a configuration; all that is wrong with it is told at once.

use std::time::Duration;

use pool_core::trace::report;

use super::error::Problems;
use super::field::{self, LONGEST, fields};
use super::given::{Given, Value};
use super::keyword::{KEYWORDS, Role};
use super::pool::SETTINGS;
use super::{
    PostgresConfig, PostgresConfigError, RootCertificates, SslMode, SslNegotiation, host, keepalive, limits,
    multiplexing, release, suspect,
};

/// Settles on values.
pub(super) fn settle(given: &Given) -> Result<PostgresConfig, PostgresConfigError> {
    let (mut config, mut problems) = (PostgresConfig::default(), given.problems.clone());
    let hosts = host::all(given, &mut problems);
    for (keyword, value) in given.iter() {
        let outcome = set(&mut config, keyword, value);
        problems.keep(outcome.map_err(|problem| problem.of(keyword, &value.origin)));
    }
    config.hosts = hosts;
    if config.sslrootcert == Some(RootCertificates::System) && !given.has("sslmode") {
        config.sslmode = SslMode::VerifyFull;
    }
    config.untouched.0 = (!given.has("pool_connect_timeout")).then_some(config.pool.connect_timeout);
    let config = config.in_step();
    // What does not go together may do so with what could not be read.
    if given.is_whole() {
        check(&config, &mut problems);
    }
    problems.into_error().map_or(Ok(config), Err)
}

/// How long all servers together have, as far as that follows from how long each one has; `None` if it has been said. No part of what a configuration is.
#[derive(Clone, Debug)]
pub(crate) struct Untouched(Option<Duration>);

impl Default for Untouched {
    fn default() -> Self {
        Self(Some(pool_core::Config::default().connect_timeout))
    }
}

impl PartialEq for Untouched {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Untouched {}

impl PostgresConfig {
    /// The database of its sessions, as far as that is known without the server: the one of the user's name if there is no other.
    pub(crate) fn namespace(&self) -> Option<&str> {
        [&self.database, &self.user].into_iter().flatten().map(String::as_str).find(|name| !name.is_empty())
    }

    /// With as much time for all servers as each one has, unless somebody has said how much.
    pub(crate) fn in_step(mut self) -> Self {
        if self.untouched.0 == Some(self.pool.connect_timeout) {
            self.pool.connect_timeout = for_all_servers(&self);
            self.untouched.0 = Some(self.pool.connect_timeout);
        }
        self
    }
}

impl PostgresConfig {
    /// Settings for a pool of this configuration, with as much time for all servers as each one has if it is what a pool has by default, and nobody has said how much here.
    pub(crate) fn keep_in_step(&self, mut pool: pool_core::Config) -> pool_core::Config {
        let is_derived = self.untouched.0 == Some(self.pool.connect_timeout);
        if is_derived && pool.connect_timeout == pool_core::Config::default().connect_timeout {
            pool.connect_timeout = self.pool.connect_timeout;
        }
        pool
    }
}

/// How long all servers together have, if nothing else is said.
pub(super) fn for_all_servers(config: &PostgresConfig) -> Duration {
    let servers = u32::try_from(config.hosts.len()).unwrap_or(u32::MAX);
    config.connect_timeout.saturating_mul(servers.max(1)).min(LONGEST)
}

fn set(config: &mut PostgresConfig, keyword: &'static str, value: &Value) -> Result<(), PostgresConfigError> {
    let text = value.text.as_str();
    if let Some(field) = fields().find(|field| field.keyword == keyword) {
        suspect::check(keyword, text)?;
        return (field.set)(config, text);
    }
    if text.contains('\0') {
        return Err(PostgresConfigError::Malformed { part: keyword, problem: "there is a zero byte in it" });
    }
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.keyword == keyword) {
        return setting.apply(&mut config.pool, text);
    }
    if let Some(field) = super::own::fields().find(|field| field.keyword == keyword) {
        return (field.set)(config, text);
    }
    match keyword {
        "password" => config.password = Some(text).filter(|text| !text.is_empty()).map(Into::into),
        "fallback_application_name" if config.application_name.is_none() => {
            config.application_name = Some(text.to_owned()).filter(|text| !text.is_empty());
        }
        other => return accept(other, value),
    }
    Ok(())
}

/// A keyword that sets nothing.
fn accept(keyword: &'static str, value: &Value) -> Result<(), PostgresConfigError> {
    let role = KEYWORDS.iter().find(|known| known.name == keyword).map(|known| known.role);
    match role {
        Some(Role::Only { values, why }) if !values.contains(&value.text.as_str()) => {
            let words: Vec<_> = values.iter().filter(|word| !word.is_empty()).copied().collect();
            let allowed = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
            Err(PostgresConfigError::unsupported(keyword, value, why, allowed))
        }
        Some(Role::Ignored { why }) => {
            report(|| tracing::debug!(keyword, "a keyword is accepted and ignored: {why}"));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Checks what belongs together, and what a program may have set.
pub(super) fn check(config: &PostgresConfig, problems: &mut Problems) {
    problems.keep(config.pool.validate().map_err(PostgresConfigError::from));
    keepalive::check(config, problems);
    limits::check(config, problems);
    multiplexing::check(config, problems);
    problems.keep(field::check(config));
    config.statements.problems().for_each(|problem| problems.add(problem));
    check_tls(config, problems);
    release::check(config, problems);
    for (keyword, text) in fields().filter_map(|field| Some((field.keyword, (field.get)(config)?))) {
        problems.keep(suspect::check(keyword, &text));
    }
    for host in &config.hosts {
        problems.keep(suspect::check_host(&host.name));
        if host.port == 0 {
            problems.add(PostgresConfigError::value("port", "0", host::PORTS));
        }
        if host.name.contains(',') {
            let allowed = "a name or an address without a comma, for each host";
            problems.add(PostgresConfigError::value("host", &host.name, allowed));
        }
    }
    if config.hosts.is_empty() {
        problems.add(PostgresConfigError::Missing { field: "host" });
    }
}

fn check_tls(config: &PostgresConfig, problems: &mut Problems) {
    let mut conflict =
        |one: String, other: String, why| problems.add(PostgresConfigError::Conflict { one, other, why });
    let mode = format!("sslmode={}", config.sslmode);
    let insists = matches!(config.sslmode, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull);
    if config.sslnegotiation == SslNegotiation::Direct && !insists {
        conflict(
            "sslnegotiation=direct".to_owned(),
            mode.clone(),
            "it may end without TLS; require, verify-ca and verify-full will do",
        );
    }
    if config.sslrootcert == Some(RootCertificates::System) && config.sslmode != SslMode::VerifyFull {
        conflict(
            "sslrootcert=system".to_owned(),
            mode,
            "any server has a certificate of these authorities; verify-full will do",
        );
    }
    if let Some(most) = config.ssl_max_protocol_version.filter(|most| *most < config.ssl_min_protocol_version) {
        let least = format!("ssl_min_protocol_version={}", config.ssl_min_protocol_version);
        conflict(least, format!("ssl_max_protocol_version={most}"), "there is no version between them");
    }
}
