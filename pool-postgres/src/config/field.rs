//! One keyword, one field: whatever the source, a value gets in here.

use super::pool::SETTINGS;
use super::{PostgresConfig, PostgresConfigError, keepalive, sslmode};

/// The variables of the environment that libpq knows, and the keywords they stand for.
const VARIABLES: [(&str, &str); 9] = [
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

/// Keywords of libpq for which it has no variable.
const WITHOUT_VARIABLE: [&str; 5] =
    ["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"];

/// All variables of the environment, and the keywords they stand for. A pool's is named as its keyword, in capitals, and so is one that libpq does not have, after `POOL_`.
pub(super) fn variables() -> impl Iterator<Item = (String, &'static str)> {
    let pool = SETTINGS.iter().map(|setting| setting.keyword).filter(|keyword| keyword.starts_with("pool_"));
    let libpq = VARIABLES.into_iter().map(|(variable, keyword)| (variable.to_owned(), keyword));
    let ours = WITHOUT_VARIABLE.into_iter().map(|keyword| (format!("POOL_{}", keyword.to_uppercase()), keyword));
    libpq.chain(ours).chain(pool.map(|keyword| (keyword.to_uppercase(), keyword)))
}

type Outcome = Result<(), PostgresConfigError>;
type Setter = fn(&mut PostgresConfig, &str) -> Outcome;

/// What each keyword sets that is not the pool's. As with libpq, an empty value stands for the default.
const SETTERS: [(&str, Setter); 13] = [
    ("host", |config, value| host(value).map(|host| config.host = host)),
    ("port", |config, value| port(value).map(|port| config.port = port)),
    ("dbname", |config, value| database(value).map(|database| config.database = database)),
    ("user", |config, value| text(value, |text| config.user = text)),
    ("password", |config, value| text(value, |text| config.password = text.map(Into::into))),
    ("sslmode", |config, value| sslmode(value).map(|mode| config.sslmode = mode)),
    ("sslrootcert", |config, value| text(value, |text| config.sslrootcert = text.map(Into::into))),
    ("application_name", |config, value| text(value, |text| config.application_name = text)),
    ("keepalives", |config, value| keepalive::switch("keepalives", value).map(|on| config.keepalives = on)),
    ("keepalives_idle", |config, value| {
        let default = PostgresConfig::default().keepalives_idle;
        keepalive::seconds("keepalives_idle", value, default).map(|time| config.keepalives_idle = time)
    }),
    ("keepalives_interval", |config, value| {
        let default = PostgresConfig::default().keepalives_interval;
        keepalive::seconds("keepalives_interval", value, default).map(|time| config.keepalives_interval = time)
    }),
    ("keepalives_count", |config, value| {
        let default = PostgresConfig::default().keepalives_count;
        keepalive::count("keepalives_count", value, default).map(|count| config.keepalives_count = count)
    }),
    ("tcp_user_timeout", |config, value| {
        keepalive::milliseconds("tcp_user_timeout", value).map(|time| config.tcp_user_timeout = time)
    }),
];

impl PostgresConfig {
    /// Sets what `keyword` stands for.
    pub(super) fn set(&mut self, keyword: &str, value: &str) -> Outcome {
        if let Some((_, set)) = SETTERS.iter().find(|(known, _)| *known == keyword) {
            return set(self, value);
        }
        let setting = SETTINGS.iter().find(|setting| setting.keyword == keyword);
        setting.ok_or_else(|| unknown(keyword))?.apply(&mut self.pool, value)
    }
}

/// All keywords.
pub(super) fn keywords() -> impl Iterator<Item = &'static str> {
    SETTERS.iter().map(|(keyword, _)| *keyword).chain(SETTINGS.iter().map(|setting| setting.keyword))
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
    PostgresConfigError::Unknown { keyword: keyword.to_owned(), allowed: keywords().collect::<Vec<_>>().join(", ") }
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
