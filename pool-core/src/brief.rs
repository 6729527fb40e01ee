//! Durations for those who read them.

use std::fmt;
use std::time::Duration;

/// To three digits: what is behind them is noise in a sentence.
pub(crate) struct Brief(pub(crate) Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = format!("{:?}", self.0);
        let digits = whole.find(|one: char| !one.is_ascii_digit()).unwrap_or(whole.len());
        let places = 3_usize.saturating_sub(digits);
        let text = format!("{:.places$?}", self.0);
        let end = text.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
        write!(f, "{number}{}", if self.0.is_zero() { "s" } else { unit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_three_digits_or_fewer() {
        let of = |nanos| Brief(Duration::from_nanos(nanos)).to_string();
        assert_eq!([0, 7, 1_500, 881_139_158, 10_000_000].map(of), ["0s", "7ns", "1.5µs", "881ms", "10ms"]);
        assert_eq!([1_996_000_000, 20_001_300_000, 345_678_000_000].map(of), ["2s", "20s", "346s"]);
        assert_eq!(Brief(Duration::from_hours(2)).to_string(), "7200s");
    }
}
