//! The keywords of how connections are shared.

use std::time::Duration;

use super::error::Problems;
use super::field::{Field, LONGEST, field};
use super::{PostgresConfig, PostgresConfigError, duration};

const MOST: usize = 65_535;
const IN_FLIGHT: &str = "0 to 65535";
const TIME_OR_NONE: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years, or 0 for never";

/// All of them, in the order of the fields.
pub(super) const MULTIPLEXING: [Field; 2] = [
    field(
        "pool_max_in_flight",
        |config, value| {
            let most = value.parse();
            config.multiplexing.max_in_flight = most.map_err(|_| refused("pool_max_in_flight", value, IN_FLIGHT))?;
            Ok(())
        },
        |config| Some(config.multiplexing.max_in_flight.to_string()),
    ),
    field(
        "pool_apart_after",
        |config, value| {
            let time = duration::parse(value).ok_or_else(|| refused("pool_apart_after", value, TIME_OR_NONE))?;
            config.multiplexing.apart_after = Some(time).filter(|time| !time.is_zero());
            Ok(())
        },
        |config| Some(duration::show(config.multiplexing.apart_after.unwrap_or_default())),
    ),
];

fn refused(keyword: &'static str, value: &str, allowed: &'static str) -> PostgresConfigError {
    PostgresConfigError::value(keyword, value, allowed)
}

/// What is wrong with what a program has set.
pub(super) fn check(config: &PostgresConfig, problems: &mut Problems) {
    let multiplexing = &config.multiplexing;
    if multiplexing.max_in_flight > MOST {
        problems.add(refused("pool_max_in_flight", &multiplexing.max_in_flight.to_string(), IN_FLIGHT));
    }
    let is_fine = |time: &Duration| (Duration::from_millis(1)..=LONGEST).contains(time);
    if let Some(time) = multiplexing.apart_after.filter(|time| !is_fine(time)) {
        problems.add(refused("pool_apart_after", &format!("{time:?}"), TIME_OR_NONE));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, parse};
    use super::*;

    #[test]
    fn how_connections_are_shared_is_said_in_words() {
        let multiplexing = parse("pool_max_in_flight=0 pool_apart_after=0").multiplexing;
        assert_eq!((multiplexing.max_in_flight, multiplexing.apart_after), (0, None));
        let multiplexing = parse("pool_max_in_flight=7 pool_apart_after=1m30s").multiplexing;
        assert_eq!((multiplexing.max_in_flight, multiplexing.apart_after), (7, Some(Duration::from_secs(90))));
        for text in ["pool_max_in_flight=7 pool_apart_after=500ms", "pool_apart_after=0"] {
            let config = parse(text);
            assert_eq!(parse(&config.to_string()), config, "{config}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for text in
            ["pool_max_in_flight=65536", "pool_max_in_flight=-1", "pool_apart_after=999us", "pool_apart_after=3651d"]
        {
            let keyword = text.split('=').next().unwrap();
            assert!(error(text).starts_with(&format!("{keyword} = ")), "{}", error(text));
        }
    }
}
