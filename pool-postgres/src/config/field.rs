//! One keyword, one field: whatever the source, a value gets in here.

use std::time::Duration;

use super::{PostgresConfig, PostgresConfigError, duration, sslmode};

/// The variables of the environment and the keywords they stand for.
pub(super) const VARIABLES: [(&str, &str); 15] = [
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGAPPNAME", "application_name"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("POOL_MAX_CONNS", "pool_max_conns"),
    ("POOL_MIN_CONNS", "pool_min_conns"),
    ("POOL_MAX_CONN_LIFETIME", "pool_max_conn_lifetime"),
    ("POOL_MAX_CONN_IDLE_TIME", "pool_max_conn_idle_time"),
    ("POOL_HEALTH_CHECK_PERIOD", "pool_health_check_period"),
    ("POOL_ACQUIRE_TIMEOUT", "pool_acquire_timeout"),
];

const DURATION: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years";
const AGE: &str = "a duration such as 90, 90s, 1m30s or 500ms, or 0 for never";

type Outcome = Result<(), PostgresConfigError>;
type Setter = fn(&mut PostgresConfig, &str) -> Outcome;

/// What each keyword sets. As with libpq, an empty value stands for the default.
const SETTERS: [(&str, Setter); 15] = [
    ("host", |config, value| host(value).map(|host| config.host = host)),
    ("port", |config, value| port(value).map(|port| config.port = port)),
    ("dbname", |config, value| database(value).map(|database| config.database = database)),
    ("user", |config, value| text(value, |text| config.user = text)),
    ("password", |config, value| text(value, |text| config.password = text.map(Into::into))),
    ("sslmode", |config, value| sslmode(value).map(|mode| config.sslmode = mode)),
    ("sslrootcert", |config, value| text(value, |text| config.sslrootcert = text.map(Into::into))),
    ("application_name", |config, value| text(value, |text| config.application_name = text)),
    ("connect_timeout", |config, value| budget("connect_timeout", value).map(|time| config.connect_timeout = time)),
    ("pool_max_conns", |config, value| max_conns(config, value)),
    ("pool_min_conns", |config, value| {
        count("pool_min_conns", value, "0 to pool_max_conns").map(|n| config.min_conns = n)
    }),
    ("pool_max_conn_lifetime", |config, value| {
        age("pool_max_conn_lifetime", value).map(|age| config.max_conn_lifetime = age)
    }),
    ("pool_max_conn_idle_time", |config, value| {
        age("pool_max_conn_idle_time", value).map(|age| config.max_conn_idle_time = age)
    }),
    ("pool_health_check_period", |config, value| {
        age("pool_health_check_period", value).map(|age| config.health_check_period = age)
    }),
    ("pool_acquire_timeout", |config, value| {
        budget("pool_acquire_timeout", value).map(|time| config.acquire_timeout = time)
    }),
];

impl PostgresConfig {
    /// Sets what `keyword` stands for.
    pub(super) fn set(&mut self, keyword: &str, value: &str) -> Outcome {
        match SETTERS.iter().find(|(known, _)| *known == keyword) {
            Some((_, set)) => set(self, value),
            None => Err(unknown(keyword)),
        }
    }
}

/// A value that may be left empty.
#[allow(clippy::unnecessary_wraps)] // fits among the others
fn text(value: &str, set: impl FnOnce(Option<String>)) -> Outcome {
    set(Some(value.to_owned()).filter(|text| !text.is_empty()));
    Ok(())
}

fn wrong(field: &'static str, value: &str, allowed: &'static str) -> PostgresConfigError {
    PostgresConfigError::Value { field, value: value.to_owned(), allowed }
}

fn unknown(keyword: &str) -> PostgresConfigError {
    let keywords: Vec<_> = SETTERS.iter().map(|(keyword, _)| *keyword).collect();
    PostgresConfigError::Unknown { keyword: keyword.to_owned(), allowed: keywords.join(", ") }
}

fn database(value: &str) -> Result<Option<String>, PostgresConfigError> {
    // libpq takes a whole connection string here. Taken for a name, it would be shown, with the password in it.
    if value.contains("://") {
        return Err(PostgresConfigError::Malformed {
            part: "dbname",
            problem: "a name is allowed, not a connection string",
        });
    }
    Ok(Some(value.to_owned()).filter(|name| !name.is_empty()))
}

fn host(value: &str) -> Result<String, PostgresConfigError> {
    match value {
        "" => Ok(PostgresConfig::default().host),
        list if list.contains(',') => Err(wrong("host", list, "one host")),
        one => Ok(one.to_owned()),
    }
}

fn port(value: &str) -> Result<u16, PostgresConfigError> {
    match value.parse() {
        _ if value.is_empty() => Ok(PostgresConfig::default().port),
        Ok(port) if port > 0 => Ok(port),
        _ => Err(wrong("port", value, "1 to 65535")),
    }
}

fn sslmode(value: &str) -> Result<super::SslMode, PostgresConfigError> {
    if value.is_empty() {
        return Ok(super::SslMode::default());
    }
    value.parse().map_err(|()| wrong("sslmode", value, sslmode::ALLOWED))
}

/// A small maximum takes the default minimum down with it; a minimum that is set is checked against it.
fn max_conns(config: &mut PostgresConfig, value: &str) -> Outcome {
    config.max_conns = count("pool_max_conns", value, "1 to 65535")?;
    if config.min_conns == PostgresConfig::default().min_conns {
        config.min_conns = config.min_conns.min(config.max_conns);
    }
    Ok(())
}

fn count(field: &'static str, value: &str, allowed: &'static str) -> Result<usize, PostgresConfigError> {
    value.parse().map_err(|_| wrong(field, value, allowed))
}

fn budget(field: &'static str, value: &str) -> Result<Duration, PostgresConfigError> {
    duration::parse(value).filter(|budget| !budget.is_zero()).ok_or_else(|| wrong(field, value, DURATION))
}

fn age(field: &'static str, value: &str) -> Result<Option<Duration>, PostgresConfigError> {
    let age = duration::parse(value).ok_or_else(|| wrong(field, value, AGE))?;
    Ok(Some(age).filter(|age| !age.is_zero()))
}
