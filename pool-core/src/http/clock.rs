//! Times and durations as they are written.

use std::time::{Duration, SystemTime};

use serde_json::Value;

/// Seconds, to the microsecond.
pub(super) fn seconds(time: Duration) -> Value {
    ratio(time.as_secs_f64())
}

pub(super) fn maybe_seconds(time: Option<Duration>) -> Value {
    time.map_or(Value::Null, seconds)
}

/// To six digits after the point.
pub(super) fn ratio(number: f64) -> Value {
    Value::from((number * 1e6).round() / 1e6)
}

/// Seconds since 1970, to the millisecond.
pub(super) fn unix_seconds(at: SystemTime) -> Value {
    Value::from((since_1970(at).as_secs_f64() * 1e3).round() / 1e3)
}

fn since_1970(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// As RFC 3339 has it, in UTC and to the millisecond.
pub(super) fn rfc3339(at: SystemTime) -> String {
    let since = since_1970(at);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second, millis) = (second / 3600, second / 60 % 60, second % 60, since.subsec_millis());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// The date so many days after the first of January 1970. Counted in years that begin in March, in eras of 400 of them, so that the day of a leap year is the last
/// one of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| rfc3339(SystemTime::UNIX_EPOCH + Duration::from_millis(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199_001), "2024-02-29T23:59:59.001Z");
        assert_eq!(at(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(at(1_798_761_599_000), "2026-12-31T23:59:59.000Z");
    }

    #[test]
    fn durations_are_numbers_of_seconds() {
        assert_eq!(seconds(Duration::from_nanos(1_500_700)).to_string(), "0.001501");
        assert_eq!(maybe_seconds(None), Value::Null);
    }
}
