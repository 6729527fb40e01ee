//! How the operating system looks after a connection on which nothing comes back.

use std::time::Duration;

use super::{PostgresConfig, PostgresConfigError, duration};

/// What the systems that have these settings can all keep.
const LONGEST: Duration = Duration::from_secs(32_767);
const MOST: u32 = 127;
/// The system counts milliseconds in 31 bits.
const LONGEST_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

const SWITCH: &str = "1 (on), 0 (off)";
const SECONDS: &str = "whole seconds such as 90, 90s or 1m30s, 1 s to 32767 s, or 0 for the operating system's default";
const COUNT: &str = "1 to 127, or 0 for the operating system's default";
const MILLISECONDS: &str =
    "milliseconds, or a duration such as 90s, 1 ms to 2147483647 ms, or 0 for the operating system's default";

fn wrong(field: &'static str, value: &str, allowed: &'static str) -> PostgresConfigError {
    PostgresConfigError::Value { field, value: value.to_owned(), allowed }
}

fn unless_zero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

fn in_seconds(time: Duration) -> bool {
    time.subsec_nanos() == 0 && !time.is_zero() && time <= LONGEST
}

fn in_milliseconds(time: Duration) -> bool {
    time >= Duration::from_millis(1) && time <= LONGEST_TIMEOUT
}

/// `1` or `0`.
pub(super) fn switch(field: &'static str, value: &str) -> Result<bool, PostgresConfigError> {
    match value {
        "" | "1" => Ok(true),
        "0" => Ok(false),
        other => Err(wrong(field, other, SWITCH)),
    }
}

/// A time in seconds; the one of the system if it is 0.
pub(super) fn seconds(
    field: &'static str,
    value: &str,
    default: Option<Duration>,
) -> Result<Option<Duration>, PostgresConfigError> {
    if value.is_empty() {
        return Ok(default);
    }
    let time = duration::parse(value).filter(|time| time.is_zero() || in_seconds(*time));
    time.map(unless_zero).ok_or_else(|| wrong(field, value, SECONDS))
}

/// How many; the system decides if it is 0.
pub(super) fn count(
    field: &'static str,
    value: &str,
    default: Option<u32>,
) -> Result<Option<u32>, PostgresConfigError> {
    if value.is_empty() {
        return Ok(default);
    }
    let count = value.parse().ok().filter(|count| *count <= MOST);
    count.map(|count| Some(count).filter(|count| *count > 0)).ok_or_else(|| wrong(field, value, COUNT))
}

/// A time of which a plain number is milliseconds, as for libpq; the one of the system if it is 0.
pub(super) fn milliseconds(field: &'static str, value: &str) -> Result<Option<Duration>, PostgresConfigError> {
    let time = match value.parse() {
        _ if value.is_empty() => return Ok(None),
        Ok(number) => Some(Duration::from_millis(number)),
        Err(_) => duration::parse(value),
    };
    let time = time.filter(|time| time.is_zero() || in_milliseconds(*time));
    time.map(unless_zero).ok_or_else(|| wrong(field, value, MILLISECONDS))
}

/// What is wrong with values that a program has set.
pub(super) fn refused(config: &PostgresConfig) -> Option<PostgresConfigError> {
    let times = [
        ("keepalives_idle", config.keepalives_idle, in_seconds as fn(Duration) -> bool, SECONDS),
        ("keepalives_interval", config.keepalives_interval, in_seconds, SECONDS),
        ("tcp_user_timeout", config.tcp_user_timeout, in_milliseconds, MILLISECONDS),
    ];
    let time = times.into_iter().find_map(|(field, time, fits, allowed)| {
        let time = time.filter(|time| !fits(*time))?;
        Some(wrong(field, &format!("{time:?}"), allowed))
    });
    let count = config.keepalives_count.filter(|count| !(1..=MOST).contains(count));
    time.or_else(|| count.map(|count| wrong("keepalives_count", &count.to_string(), COUNT)))
}
