//! One keyword, one field: whatever the source, a value gets in here, and comes out.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::pool::SETTINGS;
use super::{PostgresConfig, PostgresConfigError, RootCertificates, TlsVersion, duration, keepalive, number, own};

type Outcome = Result<(), PostgresConfigError>;

/// A keyword of libpq that sets one field.
pub(super) struct Field {
    pub(super) keyword: &'static str,
    pub(super) set: fn(&mut PostgresConfig, &str) -> Outcome,
    /// As it is written; `None` for what has no value.
    pub(super) get: fn(&PostgresConfig) -> Option<String>,
}

pub(super) const fn field(
    keyword: &'static str,
    set: fn(&mut PostgresConfig, &str) -> Outcome,
    get: fn(&PostgresConfig) -> Option<String>,
) -> Field {
    Field { keyword, set, get }
}

/// A field that is one of a few words.
macro_rules! choice {
    ($field:ident) => {
        field(
            stringify!($field),
            |config, value| put(&mut config.$field, value.parse()),
            |config| Some(config.$field.to_string()),
        )
    };
}

/// A field with any text. As with libpq, an empty value stands for the default.
macro_rules! text {
    ($keyword:literal, $field:ident) => {
        field(
            $keyword,
            |config, value| {
                config.$field = Some(value.to_owned()).filter(|text| !text.is_empty());
                Ok(())
            },
            |config| config.$field.clone(),
        )
    };
}

/// As text, for a file or folder.
macro_rules! path {
    ($field:ident) => {
        field(
            stringify!($field),
            |config, value| {
                config.$field = Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
                Ok(())
            },
            |config| config.$field.as_ref().map(|path| path.display().to_string()),
        )
    };
}

/// All but those of the lists of hosts, and the password, which is never written.
pub(super) const FIELDS: [Field; 27] = [
    text!("user", user),
    path!(passfile),
    choice!(channel_binding),
    field(
        "connect_timeout",
        |config, value| put(&mut config.connect_timeout, connect_timeout(value)),
        |config| Some(duration::show(config.connect_timeout)),
    ),
    text!("dbname", database),
    text!("options", options),
    text!("application_name", application_name),
    field(
        "keepalives",
        |config, value| put(&mut config.keepalives, keepalive::switch(value)),
        |config| Some(u8::from(config.keepalives).to_string()),
    ),
    field(
        "keepalives_idle",
        |config, value| put(&mut config.keepalives_idle, keepalive::seconds(value, default().keepalives_idle)),
        |config| Some(time(config.keepalives_idle)),
    ),
    field(
        "keepalives_interval",
        |config, value| put(&mut config.keepalives_interval, keepalive::seconds(value, default().keepalives_interval)),
        |config| Some(time(config.keepalives_interval)),
    ),
    field(
        "keepalives_count",
        |config, value| put(&mut config.keepalives_count, keepalive::count(value, default().keepalives_count)),
        |config| Some(config.keepalives_count.unwrap_or(0).to_string()),
    ),
    field(
        "tcp_user_timeout",
        |config, value| put(&mut config.tcp_user_timeout, keepalive::milliseconds(value)),
        |config| Some(time(config.tcp_user_timeout)),
    ),
    choice!(sslmode),
    choice!(sslnegotiation),
    path!(sslcert),
    path!(sslkey),
    choice!(sslcertmode),
    field(
        "sslrootcert",
        |config, value| put(&mut config.sslrootcert, Ok(RootCertificates::named(value))),
        |config| config.sslrootcert.as_ref().map(ToString::to_string),
    ),
    path!(sslcrl),
    path!(sslcrldir),
    field(
        "sslsni",
        |config, value| put(&mut config.sslsni, switch(value)),
        |config| Some(u8::from(config.sslsni).to_string()),
    ),
    text!("requirepeer", requirepeer),
    field(
        "require_auth",
        |config, value| put(&mut config.require_auth, optional(value)),
        |config| config.require_auth.as_ref().map(ToString::to_string),
    ),
    field(
        "ssl_min_protocol_version",
        |config, value| put(&mut config.ssl_min_protocol_version, version(value, true).map(Option::unwrap_or_default)),
        |config| Some(config.ssl_min_protocol_version.to_string()),
    ),
    field(
        "ssl_max_protocol_version",
        |config, value| put(&mut config.ssl_max_protocol_version, version(value, false)),
        |config| config.ssl_max_protocol_version.map(|version| version.to_string()),
    ),
    choice!(target_session_attrs),
    choice!(load_balance_hosts),
];

fn default() -> PostgresConfig {
    PostgresConfig::default()
}

pub(super) fn put<T>(place: &mut T, value: Result<T, PostgresConfigError>) -> Outcome {
    *place = value?;
    Ok(())
}

fn optional<T: FromStr<Err = PostgresConfigError>>(value: &str) -> Result<Option<T>, PostgresConfigError> {
    if value.is_empty() { Ok(None) } else { value.parse().map(Some) }
}

const CONNECT: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years, or 0 for 10 years";

/// As for libpq, 0 and less is as long as it may take.
fn connect_timeout(value: &str) -> Result<Duration, PostgresConfigError> {
    let time = match number::integer(value) {
        _ if value.is_empty() => Some(default().connect_timeout),
        Some(..=0) => Some(LONGEST),
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
        None => duration::parse(value),
    };
    time.filter(is_limit).ok_or_else(|| PostgresConfigError::value("connect_timeout", value, CONNECT))
}

/// Ten years, as long as any setting of the pool may be.
pub(super) const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

fn is_limit(time: &Duration) -> bool {
    (Duration::from_millis(1)..=LONGEST).contains(time)
}

/// What is wrong with a value that a program has set.
pub(super) fn check(config: &PostgresConfig) -> Outcome {
    let time = &config.connect_timeout;
    if is_limit(time) {
        Ok(())
    } else {
        Err(PostgresConfigError::value("connect_timeout", format!("{time:?}"), CONNECT))
    }
}

fn time(time: Option<Duration>) -> String {
    duration::show(time.unwrap_or_default())
}

fn switch(value: &str) -> Result<bool, PostgresConfigError> {
    match value {
        "" | "1" => Ok(true),
        "0" => Ok(false),
        other => Err(PostgresConfigError::value("sslsni", other, "1 (on), 0 (off)")),
    }
}

/// In any letters; the oldest ones, which nobody speaks any more, will do as the least version.
fn version(value: &str, is_least: bool) -> Result<Option<TlsVersion>, PostgresConfigError> {
    match value.to_lowercase().as_str() {
        "" => Ok(None),
        "tlsv1" | "tlsv1.1" if is_least => Ok(Some(TlsVersion::V1_2)),
        "tlsv1.2" => Ok(Some(TlsVersion::V1_2)),
        "tlsv1.3" => Ok(Some(TlsVersion::V1_3)),
        _ => Err(PostgresConfigError::value("version", value, TlsVersion::ALLOWED)),
    }
}

/// The keywords of the pool that libpq does not have.
pub(super) fn pool_keywords() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.keyword).chain(own::fields().map(|field| field.keyword))
}

/// All that set a field of the configuration itself.
pub(super) fn fields() -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().chain(own::fields())
}

/// The variables for what libpq has none: named as the keyword, in capitals, after `POOL_`.
pub(super) fn own_variables() -> impl Iterator<Item = (&'static str, String)> {
    let libpqs = ["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"];
    let named =
        |keyword: &'static str| (keyword, format!("POOL_{}", keyword.trim_start_matches("pool_").to_uppercase()));
    libpqs.into_iter().chain(pool_keywords()).map(named)
}
