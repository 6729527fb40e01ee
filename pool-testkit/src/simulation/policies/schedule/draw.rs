//! Settings of a scheduler, drawn at random.

use std::time::Duration;

use pool_core::{Codel, Key, Priority, Quota, ScheduleConfig};

use super::super::stage::Tenant;
use crate::random::Random;

/// So many keys have quotas of their own at most; there are a few more.
const KEYS: u64 = 3;
/// The shortest wait that is no cause for concern.
pub(super) const LEAST_TARGET: Duration = Duration::from_millis(5);

/// Whom a request is for.
pub(super) fn tenant(random: &mut Random) -> Tenant {
    let key = random.below(KEYS + 2);
    (!random.once_in(4)).then_some(key)
}

pub(super) fn key(number: u64) -> Key {
    Key::from(format!("tenant {number}"))
}

pub(super) fn priority(random: &mut Random) -> Priority {
    random.pick(&[Priority::High, Priority::Normal, Priority::Normal, Priority::Low])
}

fn quota(random: &mut Random) -> Quota {
    let mut quota = Quota::default();
    quota.max = random.maybe(2, &[1, 2, 3, 4]);
    quota.reserved = random.size(3).min(quota.max.unwrap_or(2));
    quota.weight = random.pick(&[1, 1, 2, 5]);
    quota.max_waiting = random.maybe(4, &[0, 1, 3]);
    quota
}

fn times(config: &mut ScheduleConfig, random: &mut Random) {
    let mut codel = Codel::default();
    codel.target = random.pick(&[LEAST_TARGET, Duration::from_millis(20), Duration::from_millis(50)]);
    codel.interval = Duration::from_millis(random.pick(&[50, 200, 1000]));
    config.codel = random.maybe(3, &[codel]);
    config.newest_first = config.codel.is_some() && random.once_in(2);
    config.aging = Duration::from_millis(random.pick(&[20, 200, 1000]));
}

/// Any settings that are valid, with small numbers.
pub(super) fn config(random: &mut Random) -> ScheduleConfig {
    let mut config = ScheduleConfig::default();
    config.max_waiting = random.maybe(4, &[1, 3, 6]);
    config.foresee = !random.once_in(4);
    (config.normal_share, config.low_share) = (random.pick(&[0, 20, 50]), random.pick(&[0, 5, 40]));
    config.quota.max = random.maybe(4, &[1, 2, 3]);
    config.quota.max_waiting = random.maybe(6, &[1, 4]);
    for number in (0..KEYS).filter(|_| random.once_in(3)).collect::<Vec<_>>() {
        config.quotas.insert(key(number), quota(random));
    }
    config.max_keys = random.pick(&[1, 3, 8]).max(config.quotas.len());
    config.kept = random.maybe(4, &[1, 2]).unwrap_or(0);
    times(&mut config, random);
    config
}
