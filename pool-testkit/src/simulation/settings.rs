//! Settings, drawn at random.

use std::time::Duration;

use pool_core::{Config, IdleOrder};
use proptest::prelude::*;

/// The largest `max_size`.
pub(super) const MOST: usize = 6;

fn time(choices: &'static [u64]) -> impl Strategy<Value = Duration> {
    prop::sample::select(choices).prop_map(Duration::from_millis)
}

fn maybe(choices: &'static [u64]) -> impl Strategy<Value = Option<Duration>> {
    prop::option::weighted(0.4, time(choices))
}

fn sizes() -> impl Strategy<Value = Config> {
    let order = prop_oneof![Just(IdleOrder::Recent), Just(IdleOrder::Fifo), Just(IdleOrder::LeastRecentlyUsed)];
    (1..=MOST).prop_flat_map(move |max| {
        let minima = (prop_oneof![3 => Just(0), 2 => 0..=max], prop_oneof![3 => Just(0), 1 => 0..=max]);
        let openers = (1..=max, prop::option::weighted(0.2, 10..300_u64), prop::bool::weighted(0.2));
        (minima, openers, order.clone()).prop_map(move |((min, idle), (openers, interval, lazy), order)| {
            let mut config = Config::default();
            (config.max_size, config.min_size, config.min_idle) = (max, min, idle);
            (config.max_openers, config.opener_interval) = (openers, interval.map(Duration::from_millis));
            (config.lazy, config.idle_order) = (lazy, order);
            config
        })
    })
}

fn with_ages(config: Config) -> impl Strategy<Value = Config> {
    let idle = maybe(&[300, 3000, 60_000]);
    let life = (maybe(&[400, 5000, 600_000]), prop_oneof![2 => Just(0), 1 => 1..3_usize]);
    let uses = prop::option::weighted(0.2, 1..6_u64);
    let pings = (maybe(&[200, 2000, 30_000]), maybe(&[50, 1000, 10_000]));
    (idle, life, uses, pings).prop_map(move |(idle, (life, headroom), uses, (ping, check))| {
        let mut config = config.clone();
        (config.idle_timeout, config.max_lifetime, config.rotation_headroom) = (idle, life, headroom);
        (config.max_uses, config.health_check_interval, config.check_after_idle) = (uses, ping, check);
        config
    })
}

fn with_budgets(config: Config) -> impl Strategy<Value = Config> {
    let budget = || time(&[10, 50, 500]);
    let backoff = (1..20_u64, 1..200_u64);
    let breaker = (prop::option::weighted(0.5, 1..5_u32), time(&[1, 100, 1000]));
    (budget(), budget(), budget(), budget(), budget(), backoff, breaker).prop_map(
        move |(connect, ping, check, reset, close, (first, more), breaker)| {
            let mut config = config.clone();
            (config.connect_timeout, config.health_check_timeout, config.check_timeout) = (connect, ping, check);
            (config.reset_timeout, config.close_timeout) = (reset, close);
            let millis = Duration::from_millis;
            (config.breaker_failures, config.breaker_after) = breaker;
            (config.backoff_initial, config.backoff_max) = (millis(first), millis(first + more));
            config
        },
    )
}

/// Any settings that are valid, with small numbers.
pub(super) fn settings() -> impl Strategy<Value = Config> {
    sizes().prop_flat_map(with_ages).prop_flat_map(with_budgets)
}
