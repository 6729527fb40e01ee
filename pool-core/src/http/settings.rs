//! Settings as JSON: durations as numbers of seconds.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::clock::{maybe_seconds, seconds};
use crate::config::Config;
use crate::error::{ConfigError, RefusedSetting};
use crate::slot::IdleOrder;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) field: String,
    pub(super) value: String,
    pub(super) allowed: String,
}

impl Wrong {
    pub(super) fn new(field: &str, value: &Value, allowed: impl Into<String>) -> Self {
        let mut value = value.to_string();
        // It comes from anybody, and goes into an answer.
        if value.chars().count() > 100 {
            value = value.chars().take(100).chain(['…']).collect();
        }
        Self { field: field.to_owned(), value, allowed: allowed.into() }
    }

    pub(super) fn json(&self) -> Value {
        json!({ "field": self.field, "value": self.value, "allowed": self.allowed })
    }
}

/// Where a field is in the settings, and what it may be.
enum Field {
    Count(fn(&mut Config) -> &mut usize),
    Uses(fn(&mut Config) -> &mut Option<u64>),
    Failures(fn(&mut Config) -> &mut Option<u32>),
    Flag(fn(&mut Config) -> &mut bool),
    Order(fn(&mut Config) -> &mut IdleOrder),
    Time(fn(&mut Config) -> &mut Duration),
    MaybeTime(fn(&mut Config) -> &mut Option<Duration>),
}

use Field::{Count, Failures, Flag, MaybeTime, Order, Time, Uses};

/// All of them, by the names that they have in [`Config`].
const FIELDS: [(&str, Field); 28] = [
    ("max_size", Count(|config| &mut config.max_size)),
    ("min_size", Count(|config| &mut config.min_size)),
    ("min_idle", Count(|config| &mut config.min_idle)),
    ("lazy", Flag(|config| &mut config.lazy)),
    ("idle_order", Order(|config| &mut config.idle_order)),
    ("acquire_timeout", Time(|config| &mut config.acquire_timeout)),
    ("connect_timeout", Time(|config| &mut config.connect_timeout)),
    ("idle_timeout", MaybeTime(|config| &mut config.idle_timeout)),
    ("max_lifetime", MaybeTime(|config| &mut config.max_lifetime)),
    ("rotation_headroom", Count(|config| &mut config.rotation_headroom)),
    ("max_uses", Uses(|config| &mut config.max_uses)),
    ("health_check_interval", MaybeTime(|config| &mut config.health_check_interval)),
    ("health_check_timeout", Time(|config| &mut config.health_check_timeout)),
    ("check_after_idle", MaybeTime(|config| &mut config.check_after_idle)),
    ("check_timeout", Time(|config| &mut config.check_timeout)),
    ("reset_timeout", Time(|config| &mut config.reset_timeout)),
    ("close_timeout", Time(|config| &mut config.close_timeout)),
    ("max_openers", Count(|config| &mut config.max_openers)),
    ("opener_interval", MaybeTime(|config| &mut config.opener_interval)),
    ("backoff_initial", Time(|config| &mut config.backoff_initial)),
    ("backoff_max", Time(|config| &mut config.backoff_max)),
    ("breaker_failures", Failures(|config| &mut config.breaker_failures)),
    ("breaker_after", Time(|config| &mut config.breaker_after)),
    ("leak_after", MaybeTime(|config| &mut config.leak_after)),
    ("reclaim_after", MaybeTime(|config| &mut config.reclaim_after)),
    ("refuse_self_wait", Flag(|config| &mut config.refuse_self_wait)),
    ("collect_within", MaybeTime(|config| &mut config.collect_within)),
    ("slow_acquire", MaybeTime(|config| &mut config.slow_acquire)),
];

/// The name that a field has here: with its unit.
fn shown(name: &str, field: &Field) -> String {
    let unit = if matches!(field, Time(_) | MaybeTime(_)) { "_seconds" } else { "" };
    format!("{name}{unit}")
}

/// The name under which a setting of the pool is known here.
pub(super) fn named(name: &str) -> String {
    FIELDS.iter().find(|(known, _)| *known == name).map_or_else(|| name.to_owned(), |(name, field)| shown(name, field))
}

/// The settings, as [`apply`] takes them.
pub(super) fn read(config: &Config) -> Value {
    let mut config = config.clone();
    let fields = FIELDS.iter().map(|(name, field)| (shown(name, field), get(field, &mut config)));
    Value::Object(fields.collect())
}

fn get(field: &Field, config: &mut Config) -> Value {
    match field {
        Count(place) => (*place(config)).into(),
        Uses(place) => (*place(config)).into(),
        Failures(place) => (*place(config)).into(),
        Flag(place) => (*place(config)).into(),
        Order(place) => order_name(*place(config)),
        Time(place) => seconds(*place(config)),
        MaybeTime(place) => maybe_seconds(*place(config)),
    }
}

/// Puts what was sent into the settings.
///
/// # Errors
///
/// Every field that there is not, and every one that cannot be read, each with what it may be.
pub(super) fn apply(sent: &Map<String, Value>, config: &mut Config) -> Result<(), Vec<Wrong>> {
    let wrong: Vec<Wrong> = sent.iter().filter_map(|(name, value)| apply_one(name, value, config).err()).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

fn apply_one(name: &str, value: &Value, config: &mut Config) -> Result<(), Wrong> {
    let Some((_, field)) = FIELDS.iter().find(|(known, field)| shown(known, field) == name) else {
        let known: Vec<String> = FIELDS.iter().map(|(name, field)| shown(name, field)).collect();
        return Err(Wrong::new(name, value, format!("one of these fields: {}", known.join(", "))));
    };
    let allowed = set(field, value, config).err();
    allowed.map_or(Ok(()), |allowed| Err(Wrong::new(name, value, allowed)))
}

/// Writes one field, or says what it may be.
fn set(field: &Field, value: &Value, config: &mut Config) -> Result<(), &'static str> {
    match field {
        Count(place) => put(place(config), count(value), "a whole number, 0 or more"),
        Uses(place) => put_maybe(place(config), value, Value::as_u64, NUMBER_OR_NULL),
        Failures(place) => put_maybe(place(config), value, failures, NUMBER_OR_NULL),
        Flag(place) => put(place(config), value.as_bool(), "true or false"),
        Order(place) => put(place(config), order(value), "\"recent\", \"fifo\" or \"least_recently_used\""),
        Time(place) => put(place(config), time(value), "a number of seconds, 0.001 to 315360000"),
        MaybeTime(place) => put_maybe(place(config), value, time, "a number of seconds, 0.001 to 315360000, or null"),
    }
}

const NUMBER_OR_NULL: &str = "a whole number, 1 or more, or null";

fn put<T>(place: &mut T, read: Option<T>, allowed: &'static str) -> Result<(), &'static str> {
    *place = read.ok_or(allowed)?;
    Ok(())
}

/// Nothing, for null.
fn put_maybe<T>(
    place: &mut Option<T>,
    value: &Value,
    read: impl Fn(&Value) -> Option<T>,
    allowed: &'static str,
) -> Result<(), &'static str> {
    *place = if value.is_null() { None } else { Some(read(value).ok_or(allowed)?) };
    Ok(())
}

fn count(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

fn failures(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

/// Of a number of seconds. Whether the time is one that a field may have is for [`Config::validate`] to say.
pub(super) fn time(value: &Value) -> Option<Duration> {
    value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

const ORDERS: [(&str, IdleOrder); 3] =
    [("recent", IdleOrder::Recent), ("fifo", IdleOrder::Fifo), ("least_recently_used", IdleOrder::LeastRecentlyUsed)];

fn order(value: &Value) -> Option<IdleOrder> {
    let named = value.as_str()?;
    ORDERS.iter().find(|(name, _)| *name == named).map(|(_, order)| *order)
}

fn order_name(order: IdleOrder) -> Value {
    ORDERS.iter().find(|(_, known)| *known == order).map(|(name, _)| *name).into()
}

/// What the pool refuses, by the names that it has here.
pub(super) fn refused(error: &ConfigError) -> Vec<Wrong> {
    let wrong = |setting: &RefusedSetting| Wrong {
        field: named(setting.field),
        value: setting.value.clone(),
        allowed: setting.allowed.to_owned(),
    };
    error.refused.iter().map(wrong).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconfigured::Reconfigured;

    fn sent(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(fields) => fields,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn every_setting_can_be_changed_and_no_other_is_meant() {
        let other = |field: &Field| match field {
            Count(_) => json!(7),
            Uses(_) | Failures(_) => json!(9),
            Flag(_) => json!(true),
            Order(_) => json!("fifo"),
            Time(_) | MaybeTime(_) => json!(0.25),
        };
        let before = Config::default();
        for (name, field) in FIELDS {
            let mut after = before.clone();
            let fields = sent(json!({ (shown(name, &field)): other(&field) }));
            apply(&fields, &mut after).unwrap();
            let changed = Reconfigured::between(&before, &after);
            assert_eq!([changed.now, changed.new_connections].concat(), [name]);
        }
        // Without `..`: the one with all fields changed differs in as many as there are.
        let mut all = before.clone();
        let every = FIELDS.iter().map(|(name, field)| (shown(name, field), other(field))).collect();
        apply(&every, &mut all).unwrap();
        let changed = Reconfigured::between(&before, &all);
        assert_eq!(changed.now.len() + changed.new_connections.len(), FIELDS.len());
    }

    #[test]
    fn what_cannot_be_read_is_told_with_what_it_may_be() {
        let fields = sent(json!({
            "max_size": -1, "lazy": 1, "idle_order": "lifo", "acquire_timeout_seconds": "2s", "max_uses": 0.5,
            "acquire_timeout": 2, "idle_timeout_seconds": -1, "breaker_failures": 5_000_000_000_u64,
        }));
        let mut config = Config::default();
        let wrong = apply(&fields, &mut config).unwrap_err();
        assert_eq!((wrong.len(), &config), (fields.len(), &Config::default()));
        let unit = wrong.iter().find(|wrong| wrong.field == "acquire_timeout").unwrap();
        assert!(unit.allowed.contains("acquire_timeout_seconds"), "{}", unit.allowed);
    }

    #[test]
    fn what_is_read_can_be_sent_back() {
        let config = Config { idle_order: IdleOrder::LeastRecentlyUsed, max_uses: Some(9), ..Config::default() };
        let Value::Object(told) = read(&config) else { panic!("no object") };
        assert_eq!((told.len(), &told["acquire_timeout_seconds"]), (FIELDS.len(), &json!(30.0)));
        let mut other = Config { max_size: 3, lazy: true, breaker_failures: Some(99), ..Config::default() };
        apply(&told, &mut other).unwrap();
        assert_eq!(other, config);
    }

    #[test]
    fn null_is_none() {
        let mut config = Config::default();
        apply(&sent(json!({ "idle_timeout_seconds": null, "breaker_failures": null })), &mut config).unwrap();
        assert_eq!((config.idle_timeout, config.breaker_failures), (None, None));
    }

    #[test]
    fn a_long_value_is_not_sent_back_whole() {
        let wrong = Wrong::new("x", &Value::from("é".repeat(5000)), "");
        assert_eq!(wrong.value.chars().count(), 101);
    }
}
