//! How the operating system looks after a connection on which nothing comes back.

use std::time::Duration;

use super::error::Problems;
use super::{PostgresConfig, PostgresConfigError, duration, number};

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

use PostgresConfigError as Error;

fn unless_zero(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

fn in_seconds(time: Duration) -> bool {
    time.subsec_nanos() == 0 && !time.is_zero() && time <= LONGEST
}

fn in_milliseconds(time: Duration) -> bool {
    time >= Duration::from_millis(1) && time <= LONGEST_TIMEOUT
}

/// Any number but 0 is yes, as for libpq.
pub(super) fn switch(value: &str) -> Result<bool, Error> {
    if value.is_empty() {
        return Ok(true);
    }
    number::integer(value).map(|number| number != 0).ok_or_else(|| Error::value("keepalives", value, SWITCH))
}

/// A time in seconds; the one of the system if it is 0, or less.
pub(super) fn seconds(value: &str, default: Option<Duration>) -> Result<Option<Duration>, Error> {
    if value.is_empty() {
        return Ok(default);
    }
    let time = match number::integer(value) {
        Some(seconds) => Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
        None => duration::parse(value),
    };
    let time = time.filter(|time| time.is_zero() || in_seconds(*time));
    time.map(unless_zero).ok_or_else(|| Error::value("a time", value, SECONDS))
}

/// How many; the system decides if it is 0, or less.
pub(super) fn count(value: &str, default: Option<u32>) -> Result<Option<u32>, Error> {
    if value.is_empty() {
        return Ok(default);
    }
    let count = number::integer(value).map(|count| u32::try_from(count).unwrap_or(0)).filter(|count| *count <= MOST);
    count.map(|count| Some(count).filter(|count| *count > 0)).ok_or_else(|| Error::value("a number", value, COUNT))
}

/// A time of which a plain number is milliseconds, as for libpq; the one of the system if it is 0, or less.
pub(super) fn milliseconds(value: &str) -> Result<Option<Duration>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    let time = match number::integer(value) {
        Some(number) => Some(Duration::from_millis(u64::try_from(number).unwrap_or(0))),
        None => duration::parse(value),
    };
    let time = time.filter(|time| time.is_zero() || in_milliseconds(*time));
    time.map(unless_zero).ok_or_else(|| Error::value("a time", value, MILLISECONDS))
}

/// What is wrong with values that a program has set.
pub(super) fn check(config: &PostgresConfig, problems: &mut Problems) {
    let times = [
        ("keepalives_idle", config.keepalives_idle, in_seconds as fn(Duration) -> bool, SECONDS),
        ("keepalives_interval", config.keepalives_interval, in_seconds, SECONDS),
        ("tcp_user_timeout", config.tcp_user_timeout, in_milliseconds, MILLISECONDS),
    ];
    for (field, time, fits, allowed) in times {
        if let Some(time) = time.filter(|time| !fits(*time)) {
            problems.add(Error::value(field, format!("{time:?}"), allowed));
        }
    }
    if let Some(count) = config.keepalives_count.filter(|count| !(1..=MOST).contains(count)) {
        problems.add(Error::value("keepalives_count", count.to_string(), COUNT));
    }
}
