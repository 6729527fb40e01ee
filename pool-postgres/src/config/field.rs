//! One keyword, one field: whatever the source, a value gets in here.

use std::time::Duration;

use super::{PostgresConfig, PostgresConfigError, duration, sslmode};

/// The variables of the environment and the keywords they stand for.
pub(super) const VARIABLES: [(&str, &str); 9] = [
    ("PGHOST", "host"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGAPPNAME", "application_name"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
];

const KEYWORDS: &str = "host, port, dbname, user, password, sslmode, sslrootcert, application_name, connect_timeout, pool_max_conns, \
                        pool_min_conns, pool_max_conn_lifetime, pool_max_conn_idle_time, pool_health_check_period, pool_acquire_timeout";
const DURATION: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years";
const AGE: &str = "a duration such as 90, 90s, 1m30s or 500ms, or 0 for never";

impl PostgresConfig {
    /// Sets what `keyword` stands for. As with libpq, an empty value stands for the default.
    pub(super) fn set(&mut self, keyword: &str, value: &str) -> Result<(), PostgresConfigError> {
        if keyword.starts_with("pool_") {
            return self.set_pool(keyword, value);
        }
        let text = || Some(value.to_owned()).filter(|text| !text.is_empty());
        match keyword {
            "host" => self.host = host(value)?,
            "port" => self.port = port(value)?,
            "dbname" => self.database = text(),
            "user" => self.user = text(),
            "password" => self.password = text().map(Into::into),
            "sslmode" => self.sslmode = sslmode(value)?,
            "sslrootcert" => self.sslrootcert = text().map(Into::into),
            "application_name" => self.application_name = text(),
            "connect_timeout" => self.connect_timeout = budget("connect_timeout", value)?,
            _ => return Err(unknown(keyword)),
        }
        Ok(())
    }

    fn set_pool(&mut self, keyword: &str, value: &str) -> Result<(), PostgresConfigError> {
        match keyword {
            "pool_max_conns" => self.max_conns = count("pool_max_conns", value, "1 to 65535")?,
            "pool_min_conns" => self.min_conns = count("pool_min_conns", value, "0 to pool_max_conns")?,
            "pool_max_conn_lifetime" => self.max_conn_lifetime = age("pool_max_conn_lifetime", value)?,
            "pool_max_conn_idle_time" => self.max_conn_idle_time = age("pool_max_conn_idle_time", value)?,
            "pool_health_check_period" => self.health_check_period = age("pool_health_check_period", value)?,
            "pool_acquire_timeout" => self.acquire_timeout = budget("pool_acquire_timeout", value)?,
            _ => return Err(unknown(keyword)),
        }
        Ok(())
    }
}

fn wrong(field: &'static str, value: &str, allowed: &'static str) -> PostgresConfigError {
    PostgresConfigError::Value { field, value: value.to_owned(), allowed }
}

fn unknown(keyword: &str) -> PostgresConfigError {
    PostgresConfigError::Unknown { keyword: keyword.to_owned(), allowed: KEYWORDS }
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
