//! The keywords of the pool: one for each field of its settings.

use std::str::FromStr;
use std::time::Duration;

use pool_core::{Config, IdleOrder};

use super::{PostgresConfigError, duration};

/// A keyword, and the one field that it sets.
pub(super) struct Setting {
    pub(super) keyword: &'static str,
    /// Of [`Config`].
    pub(super) field: &'static str,
    /// The values that it may have.
    pub(super) allowed: &'static str,
    /// `None` if the value cannot be read.
    set: Set,
}

type Set = fn(&mut Config, &str) -> Option<()>;

const BUDGET: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years";
const AGE: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years, or 0 for never";
const INTERVAL: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years, or 0 for none";
const LONGEST_PAUSE: &str = "a duration such as 90, 90s, 1m30s or 500ms, pool_backoff_initial to 10 years";
const OPENERS: &str = "1 to 255, or to pool_max_conns if that is more";

/// All of them, in the order of the fields. Where pgxpool has a name, it is that one.
pub(super) const SETTINGS: [Setting; 21] = [
    setting("pool_max_conns", "max_size", "1 to 65535", max_size),
    setting("pool_min_conns", "min_size", "0 to pool_max_conns", |pool, value| put(&mut pool.min_size, parsed(value))),
    setting("pool_min_idle_conns", "min_idle", "0 to pool_max_conns", |pool, value| {
        put(&mut pool.min_idle, parsed(value))
    }),
    setting("pool_lazy", "lazy", "true, false", |pool, value| put(&mut pool.lazy, parsed(value))),
    setting("pool_idle_order", "idle_order", "recent, fifo, least_recently_used", |pool, value| {
        put(&mut pool.idle_order, idle_order(value))
    }),
    setting("pool_acquire_timeout", "acquire_timeout", BUDGET, |pool, value| {
        put(&mut pool.acquire_timeout, budget(value))
    }),
    setting("connect_timeout", "connect_timeout", BUDGET, |pool, value| put(&mut pool.connect_timeout, budget(value))),
    setting("pool_max_conn_idle_time", "idle_timeout", AGE, |pool, value| put(&mut pool.idle_timeout, age(value))),
    setting("pool_max_conn_lifetime", "max_lifetime", AGE, |pool, value| put(&mut pool.max_lifetime, age(value))),
    setting("pool_rotation_headroom", "rotation_headroom", "0 to 65535 - pool_max_conns", |pool, value| {
        put(&mut pool.rotation_headroom, parsed(value))
    }),
    setting("pool_max_uses", "max_uses", "1 and more, or 0 for any parsed", |pool, value| {
        put(&mut pool.max_uses, parsed(value).map(|uses| Some(uses).filter(|uses| *uses > 0)))
    }),
    setting("pool_health_check_period", "health_check_interval", AGE, |pool, value| {
        put(&mut pool.health_check_interval, age(value))
    }),
    setting("pool_health_check_timeout", "health_check_timeout", BUDGET, |pool, value| {
        put(&mut pool.health_check_timeout, budget(value))
    }),
    setting("pool_check_after_idle", "check_after_idle", AGE, |pool, value| {
        put(&mut pool.check_after_idle, age(value))
    }),
    setting("pool_check_timeout", "check_timeout", BUDGET, |pool, value| put(&mut pool.check_timeout, budget(value))),
    setting("pool_reset_timeout", "reset_timeout", BUDGET, |pool, value| put(&mut pool.reset_timeout, budget(value))),
    setting("pool_close_timeout", "close_timeout", BUDGET, |pool, value| put(&mut pool.close_timeout, budget(value))),
    setting("pool_max_openers", "max_openers", OPENERS, |pool, value| put(&mut pool.max_openers, parsed(value))),
    setting("pool_opener_interval", "opener_interval", INTERVAL, |pool, value| {
        put(&mut pool.opener_interval, age(value))
    }),
    setting("pool_backoff_initial", "backoff_initial", BUDGET, |pool, value| {
        put(&mut pool.backoff_initial, budget(value))
    }),
    setting("pool_backoff_max", "backoff_max", LONGEST_PAUSE, |pool, value| put(&mut pool.backoff_max, budget(value))),
];

const fn setting(keyword: &'static str, field: &'static str, allowed: &'static str, set: Set) -> Setting {
    Setting { keyword, field, allowed, set }
}

impl Setting {
    pub(super) fn apply(&self, pool: &mut Config, value: &str) -> Result<(), PostgresConfigError> {
        (self.set)(pool, value).ok_or_else(|| self.refuse(value))
    }

    fn refuse(&self, value: &str) -> PostgresConfigError {
        PostgresConfigError::Value { field: self.keyword, value: value.to_owned(), allowed: self.allowed }
    }
}

/// What a pool says about a field, said about its keyword.
pub(super) fn refused(setting: pool_core::RefusedSetting) -> PostgresConfigError {
    match SETTINGS.iter().find(|known| known.field == setting.field) {
        Some(known) => known.refuse(&setting.value),
        None => PostgresConfigError::Value { field: setting.field, value: setting.value, allowed: setting.allowed },
    }
}

fn put<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

/// A small maximum takes the default minimum down with it; a minimum that is set is checked against it.
fn max_size(pool: &mut Config, value: &str) -> Option<()> {
    put(&mut pool.max_size, parsed(value))?;
    if pool.min_size == Config::default().min_size {
        pool.min_size = pool.min_size.min(pool.max_size);
    }
    Some(())
}

fn parsed<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

fn budget(value: &str) -> Option<Duration> {
    duration::parse(value).filter(|budget| !budget.is_zero())
}

fn age(value: &str) -> Option<Option<Duration>> {
    duration::parse(value).map(|age| Some(age).filter(|age| !age.is_zero()))
}

fn idle_order(value: &str) -> Option<IdleOrder> {
    match value {
        "recent" => Some(IdleOrder::Recent),
        "fifo" => Some(IdleOrder::Fifo),
        "least_recently_used" => Some(IdleOrder::LeastRecentlyUsed),
        _ => None,
    }
}
