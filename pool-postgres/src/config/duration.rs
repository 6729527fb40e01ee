//! Durations as people write them.

use std::time::Duration;

/// `90` (seconds), `90s`, `1m30s`, `1h`, `500ms`.
pub(super) fn parse(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| digits + at);
        sum = sum.checked_add(times(number, &rest[digits..unit_end])?)?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(sum)
}

fn times(number: u64, unit: &str) -> Option<Duration> {
    let seconds = match unit {
        "ns" => return Some(Duration::from_nanos(number)),
        "us" => return Some(Duration::from_micros(number)),
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// As `parse` reads it.
pub(super) fn show(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(nanos / 1_000_000), "ms"),
        (u64::from(nanos / 1_000 % 1_000), "us"),
        (u64::from(nanos % 1_000), "ns"),
    ];
    let text = units
        .iter()
        .filter(|(count, _)| *count > 0)
        .fold(String::new(), |text, (count, unit)| text + &count.to_string() + unit);
    if text.is_empty() { "0".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let millis = |text| parse(text).map(|duration| duration.as_millis());
        assert_eq!(millis("90"), Some(90_000));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("1m500ms"), Some(60_500));
        assert_eq!(millis("0"), Some(0));
        for wrong in ["", "s", "1", "1x", "-1s", "1.5s", " 1s", "99999999999999999999s", "18446744073709551615h"] {
            assert_eq!(millis(wrong), if wrong == "1" { Some(1000) } else { None }, "{wrong:?}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["0", "90ms", "1m30s", "1h", "2d3h4m5s6ms7us8ns"] {
            assert_eq!(parse(text).map(show).as_deref(), Some(text));
        }
        assert_eq!(show(Duration::from_secs(90)), "1m30s");
    }
}
