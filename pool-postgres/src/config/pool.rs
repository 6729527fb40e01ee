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
    kind: Kind,
}

/// How a value is read, and where it goes.
enum Kind {
    Count(fn(&mut Config) -> &mut usize),
    Budget(fn(&mut Config) -> &mut Duration),
    /// 0 stands for none.
    Age(fn(&mut Config) -> &mut Option<Duration>),
    /// `None` if it cannot be read.
    Other(fn(&mut Config, &str) -> Option<()>, fn(&Config) -> String),
}

use Kind::{Age, Budget, Count, Other};

const FEW: &str = "0 to pool_max_conns";
const HEADROOM: &str = "0 to 65535 - pool_max_conns";
const OPENERS: &str = "1 to 255, or to pool_max_conns if that is more";
const ORDERS: &str = "recent, fifo, least_recently_used";
const TIME: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years";
const TIME_OR_NEVER: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years, or 0 for never";
const TIME_OR_NONE: &str = "a duration such as 90, 90s, 1m30s or 500ms, 1 ms to 10 years, or 0 for none";
const LONGEST: &str = "a duration such as 90, 90s, 1m30s or 500ms, pool_backoff_initial to 10 years";

/// All of them, in the order of the fields. Where pgxpool has a name, it is that one.
pub(super) const SETTINGS: [Setting; 28] = [
    setting("pool_max_conns", "max_size", "1 to 65535", Other(max_size, |pool| pool.max_size.to_string())),
    setting("pool_min_conns", "min_size", FEW, Count(|pool| &mut pool.min_size)),
    setting("pool_min_idle_conns", "min_idle", FEW, Count(|pool| &mut pool.min_idle)),
    setting(
        "pool_lazy",
        "lazy",
        "true, false",
        Other(|pool, value| put(&mut pool.lazy, parsed(value)), |pool| pool.lazy.to_string()),
    ),
    setting(
        "pool_idle_order",
        "idle_order",
        ORDERS,
        Other(|pool, value| put(&mut pool.idle_order, order(value)), |pool| name_of(pool.idle_order).to_owned()),
    ),
    setting("pool_acquire_timeout", "acquire_timeout", TIME, Budget(|pool| &mut pool.acquire_timeout)),
    setting("pool_connect_timeout", "connect_timeout", TIME, Budget(|pool| &mut pool.connect_timeout)),
    setting("pool_max_conn_idle_time", "idle_timeout", TIME_OR_NEVER, Age(|pool| &mut pool.idle_timeout)),
    setting("pool_max_conn_lifetime", "max_lifetime", TIME_OR_NEVER, Age(|pool| &mut pool.max_lifetime)),
    setting("pool_rotation_headroom", "rotation_headroom", HEADROOM, Count(|pool| &mut pool.rotation_headroom)),
    setting(
        "pool_max_uses",
        "max_uses",
        "1 and more, or 0 for any number",
        Other(max_uses, |pool| pool.max_uses.unwrap_or(0).to_string()),
    ),
    setting(
        "pool_health_check_period",
        "health_check_interval",
        TIME_OR_NEVER,
        Age(|pool| &mut pool.health_check_interval),
    ),
    setting("pool_health_check_timeout", "health_check_timeout", TIME, Budget(|pool| &mut pool.health_check_timeout)),
    setting("pool_check_after_idle", "check_after_idle", TIME_OR_NEVER, Age(|pool| &mut pool.check_after_idle)),
    setting("pool_check_timeout", "check_timeout", TIME, Budget(|pool| &mut pool.check_timeout)),
    setting("pool_reset_timeout", "reset_timeout", TIME, Budget(|pool| &mut pool.reset_timeout)),
    setting("pool_close_timeout", "close_timeout", TIME, Budget(|pool| &mut pool.close_timeout)),
    setting("pool_max_openers", "max_openers", OPENERS, Count(|pool| &mut pool.max_openers)),
    setting("pool_opener_interval", "opener_interval", TIME_OR_NONE, Age(|pool| &mut pool.opener_interval)),
    setting("pool_backoff_initial", "backoff_initial", TIME, Budget(|pool| &mut pool.backoff_initial)),
    setting("pool_backoff_max", "backoff_max", LONGEST, Budget(|pool| &mut pool.backoff_max)),
    setting(
        "pool_breaker_failures",
        "breaker_failures",
        "1 and more, or 0 for no breaker",
        Other(breaker_failures, |pool| pool.breaker_failures.unwrap_or(0).to_string()),
    ),
    setting("pool_breaker_after", "breaker_after", TIME, Budget(|pool| &mut pool.breaker_after)),
    setting("pool_leak_after", "leak_after", TIME_OR_NEVER, Age(|pool| &mut pool.leak_after)),
    setting("pool_reclaim_after", "reclaim_after", TIME_OR_NEVER, Age(|pool| &mut pool.reclaim_after)),
    setting(
        "pool_refuse_self_wait",
        "refuse_self_wait",
        "true, false",
        Other(|pool, value| put(&mut pool.refuse_self_wait, parsed(value)), |pool| pool.refuse_self_wait.to_string()),
    ),
    setting("pool_collect_within", "collect_within", TIME_OR_NEVER, Age(|pool| &mut pool.collect_within)),
    setting("pool_slow_acquire", "slow_acquire", TIME_OR_NEVER, Age(|pool| &mut pool.slow_acquire)),
];

const fn setting(keyword: &'static str, field: &'static str, allowed: &'static str, kind: Kind) -> Setting {
    Setting { keyword, field, allowed, kind }
}

impl Setting {
    pub(super) fn apply(&self, pool: &mut Config, value: &str) -> Result<(), PostgresConfigError> {
        let done = match self.kind {
            Count(place) => put(place(pool), parsed(value)),
            Budget(place) => put(place(pool), duration::parse(value).filter(|budget| !budget.is_zero())),
            Age(place) => put(place(pool), duration::parse(value).map(unless_zero)),
            Other(set, _) => set(pool, value),
        };
        done.ok_or_else(|| self.refuse(value))
    }

    /// As it is written.
    pub(super) fn show(&self, pool: &Config) -> String {
        let mut copy = pool.clone();
        match self.kind {
            Count(place) => place(&mut copy).to_string(),
            Budget(place) => duration::show(*place(&mut copy)),
            Age(place) => duration::show(place(&mut copy).unwrap_or_default()),
            Other(_, show) => show(pool),
        }
    }

    fn refuse(&self, value: &str) -> PostgresConfigError {
        PostgresConfigError::value(self.keyword, value, self.allowed)
    }
}

/// What a pool says about a field, said about its keyword.
pub(super) fn refused(setting: pool_core::RefusedSetting) -> PostgresConfigError {
    let pool_core::RefusedSetting { field, value, allowed, .. } = setting;
    match SETTINGS.iter().find(|known| known.field == field) {
        Some(known) => known.refuse(&value),
        None => PostgresConfigError::value(field, value, allowed),
    }
}

fn put<T>(place: &mut T, value: Option<T>) -> Option<()> {
    *place = value?;
    Some(())
}

fn parsed<T: FromStr>(value: &str) -> Option<T> {
    value.parse().ok()
}

fn unless_zero<T: Default + PartialEq>(value: T) -> Option<T> {
    Some(value).filter(|value| *value != T::default())
}

/// A small maximum takes the default minimum down with it; a minimum that is set is checked against it.
fn max_size(pool: &mut Config, value: &str) -> Option<()> {
    put(&mut pool.max_size, parsed(value))?;
    if pool.min_size == Config::default().min_size {
        pool.min_size = pool.min_size.min(pool.max_size);
    }
    Some(())
}

fn max_uses(pool: &mut Config, value: &str) -> Option<()> {
    put(&mut pool.max_uses, parsed(value).map(unless_zero))
}

fn breaker_failures(pool: &mut Config, value: &str) -> Option<()> {
    put(&mut pool.breaker_failures, parsed(value).map(unless_zero))
}

fn name_of(order: IdleOrder) -> &'static str {
    match order {
        IdleOrder::Fifo => "fifo",
        IdleOrder::LeastRecentlyUsed => "least_recently_used",
        _ => "recent",
    }
}

fn order(value: &str) -> Option<IdleOrder> {
    match value {
        "recent" => Some(IdleOrder::Recent),
        "fifo" => Some(IdleOrder::Fifo),
        "least_recently_used" => Some(IdleOrder::LeastRecentlyUsed),
        _ => None,
    }
}
