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
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
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
}
