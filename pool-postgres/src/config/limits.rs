//! The keywords of the limits.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::Problems;
use super::field::{Field, LONGEST, field};
use super::{PostgresConfig, PostgresConfigError, duration};
use crate::limits::{Limits, parse_tags, show_tags};

const TIME: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years";
const TIME_OR_NONE: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years, or 0 for none";
const TIME_OF_SERVER: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 24 days, or 0 for the server's";
const SWITCH: &str = "true, false";
const TAGS: &str = "key=value,key=value, each key once and not empty, with %2C for a comma and %25 for a percent sign";

/// The most milliseconds that the server counts.
const MOST_OF_SERVER: Duration = Duration::from_millis(i32::MAX as u64);

/// A limit that may be none.
macro_rules! time {
    ($keyword:literal, $field:ident, $allowed:ident) => {
        field(
            $keyword,
            |config, value| {
                let time = duration::parse(value).ok_or_else(|| refused($keyword, value, $allowed))?;
                config.limits.$field = Some(time).filter(|time| !time.is_zero());
                Ok(())
            },
            |config| Some(duration::show(config.limits.$field.unwrap_or_default())),
        )
    };
}

/// All of them, in the order of the fields.
pub(super) const LIMITS: [Field; 9] = [
    time!("pool_query_timeout", query_timeout, TIME_OR_NONE),
    field(
        "pool_cancel_timeout",
        |config, value| {
            let time = duration::parse(value);
            config.limits.cancel_timeout = time.ok_or_else(|| refused("pool_cancel_timeout", value, TIME))?;
            Ok(())
        },
        |config| Some(duration::show(config.limits.cancel_timeout)),
    ),
    field(
        "pool_cancel_on_drop",
        |config, value| {
            config.limits.cancel_on_drop = value.parse().map_err(|_| refused("pool_cancel_on_drop", value, SWITCH))?;
            Ok(())
        },
        |config| Some(config.limits.cancel_on_drop.to_string()),
    ),
    time!("pool_slow_query", slow_query, TIME_OR_NONE),
    time!("pool_sla", sla, TIME_OR_NONE),
    time!("pool_statement_timeout", statement_timeout, TIME_OF_SERVER),
    time!("pool_transaction_timeout", transaction_timeout, TIME_OF_SERVER),
    time!("pool_idle_in_transaction_session_timeout", idle_in_transaction_session_timeout, TIME_OF_SERVER),
    field(
        "pool_tags",
        |config, value| {
            config.limits.tags = parse_tags(value).ok_or_else(|| refused("pool_tags", value, TAGS))?;
            Ok(())
        },
        |config| Some(show_tags(&config.limits.tags)),
    ),
];

fn refused(keyword: &'static str, value: &str, allowed: &'static str) -> PostgresConfigError {
    PostgresConfigError::value(keyword, value, allowed)
}

/// What is wrong with limits that a program has set.
pub(super) fn check(config: &PostgresConfig, problems: &mut Problems) {
    let Limits {
        query_timeout,
        cancel_timeout,
        slow_query,
        sla,
        statement_timeout,
        transaction_timeout,
        idle_in_transaction_session_timeout,
        tags,
        ..
    } = &config.limits;
    let idle = idle_in_transaction_session_timeout;
    for (keyword, time, longest, allowed) in [
        ("pool_query_timeout", query_timeout, LONGEST, TIME_OR_NONE),
        ("pool_cancel_timeout", &Some(*cancel_timeout), LONGEST, TIME),
        ("pool_slow_query", slow_query, LONGEST, TIME_OR_NONE),
        ("pool_sla", sla, LONGEST, TIME_OR_NONE),
        ("pool_statement_timeout", statement_timeout, MOST_OF_SERVER, TIME_OF_SERVER),
        ("pool_transaction_timeout", transaction_timeout, MOST_OF_SERVER, TIME_OF_SERVER),
        ("pool_idle_in_transaction_session_timeout", idle, MOST_OF_SERVER, TIME_OF_SERVER),
    ] {
        let is_fine = |time: &Duration| (Duration::from_millis(1)..=longest).contains(time);
        if let Some(time) = time.filter(|time| !is_fine(time)) {
            problems.add(refused(keyword, &format!("{time:?}"), allowed));
        }
    }
    check_tags(tags, problems);
}

fn check_tags(tags: &BTreeMap<String, String>, problems: &mut Problems) {
    if tags.contains_key("") {
        problems.add(refused("pool_tags", &show_tags(tags), TAGS));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{error, parse};
    use super::*;

    /// What the limits look like, one line for each field.
    fn lines(config: &PostgresConfig) -> Vec<String> {
        let shown = format!("{:#?}", config.limits);
        let mut lines: Vec<String> = Vec::new();
        for line in shown.lines().skip(1) {
            // What is in a field is indented further.
            if line.starts_with("    ") && !line.starts_with("     ") && line.contains(": ") {
                lines.push(line.trim().to_owned());
            } else if let Some(last) = lines.last_mut() {
                last.push_str(line.trim());
            }
        }
        lines
    }

    #[test]
    fn every_limit_has_its_keyword() {
        let default = lines(&PostgresConfig::default());
        assert_eq!(default.len(), LIMITS.len(), "{default:?}");
        for (at, limit) in LIMITS.iter().enumerate() {
            let set = |value| format!("{}={value}", limit.keyword).parse::<PostgresConfig>().ok();
            let config = ["77", "false", "a=b"].into_iter().find_map(set).expect(limit.keyword);
            let changed = lines(&config);
            let others = changed.iter().zip(&default).enumerate().filter(|(_, (is, was))| is != was);
            assert_eq!(others.map(|(at, _)| at).collect::<Vec<_>>(), [at], "{}", limit.keyword);
            let refused = error(&format!("{}=never", limit.keyword));
            assert!(refused.starts_with(&format!(r#"{} = "never" is not allowed; allowed: "#, limit.keyword)));
            let document = include_str!("mod.rs");
            let field = changed[at].split(':').next().unwrap();
            assert!(document.contains(&format!("| `{}` | ", limit.keyword)), "{}", limit.keyword);
            assert!(document.contains(&format!("| `limits.{field}` | ")), "{field}");
        }
    }

    #[test]
    fn limits_are_shown_as_they_are_read() {
        for text in [
            "pool_query_timeout=0 pool_sla=0",
            "pool_query_timeout=1m30s pool_cancel_timeout=500ms pool_cancel_on_drop=false pool_slow_query=1s pool_sla=20ms",
            "pool_statement_timeout=5s pool_transaction_timeout=1m pool_idle_in_transaction_session_timeout=10",
            "pool_tags=service=alerts,team=a%2Cb%25,z=",
            "pool_tags=''",
        ] {
            let config = parse(text);
            assert_eq!(parse(&config.to_string()), config, "{config}");
        }
        let tags = parse("pool_tags='b=2, a=%2C,é=x y'").limits.tags;
        let tags: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(tags, [(" a", ","), ("b", "2"), ("é", "x y")]);
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        for text in [
            "pool_cancel_timeout=0",
            "pool_query_timeout=999us",
            "pool_sla=3651d",
            "pool_statement_timeout=25d",
            "pool_transaction_timeout=25d",
            "pool_idle_in_transaction_session_timeout=25d",
            "pool_tags=a",
            "pool_tags==b",
            "pool_tags=a=b,",
            "pool_tags=a=1,a=2",
            "pool_tags=a=%ff",
        ] {
            let keyword = text.split('=').next().unwrap();
            assert!(error(text).starts_with(&format!("{keyword} = ")), "{}", error(text));
        }
        assert!(!error("pool_tags=password=s3cr3t").contains("s3cr3t"), "a password is neither taken nor shown");
        let mut config = PostgresConfig::default();
        config.limits.tags.insert(String::new(), "x".to_owned());
        assert!(config.validate().is_err(), "no key");
    }
}
