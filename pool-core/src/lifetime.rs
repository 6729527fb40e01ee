//! When a connection is too old, idle for too long, or due for a ping.

use std::time::Duration;

use crate::config::Config;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetireReason {
    /// It no longer works, or failed a reset or a ping, or its user discarded it.
    Broken,
    /// It has reached its maximum lifetime, or has been replaced shortly before.
    Expired,
    /// It has been leased as often as it may be.
    Worn,
    /// Nobody has used it for the idle timeout.
    Idle,
    /// The pool is closed.
    Closed,
    /// There are more connections than the maximum, which has been lowered.
    Excess,
    /// All connections of its generation are to be replaced, or all to its host.
    Outdated,
    /// Somebody wanted this one to go.
    Evicted,
    /// It was due, and has been replaced, or is going to be. It was counted as leaving when that was allowed.
    Replaced(Due),
}

/// Why a connection is to be replaced while it can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its lifetime is nearly over.
    Aged,
    /// It has been leased nearly as often as it may be.
    Wearing,
    /// All connections are to be replaced, one after the other.
    Outdated,
}

impl Due {
    /// What the close of the connection is counted under.
    pub(crate) fn reason(self) -> RetireReason {
        match self {
            Self::Aged => RetireReason::Expired,
            Self::Wearing => RetireReason::Worn,
            Self::Outdated => RetireReason::Outdated,
        }
    }
}

/// What to do with an idle connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    Ping,
    Retire(RetireReason),
}

/// What the verdict on an idle connection rests on; times are epochs in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleFacts {
    pub(crate) released_at: u64,
    pub(crate) checked_at: u64,
    pub(crate) expires_at: u64,
    /// Whether the pool has more connections than it keeps in any case.
    pub(crate) surplus: bool,
}

/// Judges an idle connection.
pub(crate) fn judge(facts: IdleFacts, now: u64, config: &Config) -> Verdict {
    if facts.expires_at <= now {
        Verdict::Retire(RetireReason::Expired)
    } else if facts.surplus && reached(facts.released_at, now, config.idle_timeout) {
        Verdict::Retire(RetireReason::Idle)
    } else if reached(facts.checked_at.max(facts.released_at), now, config.health_check_interval) {
        Verdict::Ping
    } else {
        Verdict::Keep
    }
}

/// The lease from which on a connection is to be replaced that may be leased so often: when a tenth of them is left, one at least. `None` if there is no such.
pub(crate) fn wears_from(max_uses: Option<u64>) -> Option<u64> {
    let max_uses = max_uses.filter(|uses| *uses > 1)?;
    Some(max_uses - (max_uses / 10).max(1))
}

/// Whether so much time has passed since an epoch.
pub(crate) fn reached(since: u64, now: u64, limit: Option<Duration>) -> bool {
    limit.is_some_and(|limit| now.saturating_sub(since) >= millis(limit))
}

/// The epoch at which a connection opened now is too old. `random` takes up to a tenth off, or connections opened
/// together, such as after a restart of the server, would all be closed together for ever after.
pub(crate) fn expires_at(now: u64, max_lifetime: Option<Duration>, random: u64) -> u64 {
    let Some(lifetime) = max_lifetime.map(millis) else { return u64::MAX };
    now.saturating_add(lifetime - random % (lifetime / 10 + 1))
}

/// How often the janitor looks after the idle connections and advances the epoch: a second, or often enough for shorter limits.
pub(crate) fn maintenance_interval(config: &Config) -> Duration {
    // A connection is replaced in the last part of its life, which has to be seen in time.
    let lifetime = config.max_lifetime.map(|lifetime| lifetime / 5);
    let limits =
        [config.idle_timeout, lifetime, config.health_check_interval, config.check_after_idle, config.collect_within];
    let shortest = limits.into_iter().flatten().min().unwrap_or(Duration::MAX);
    (shortest / 4).clamp(Duration::from_millis(5), Duration::from_secs(1))
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: IdleFacts = IdleFacts { released_at: 1_000_000, checked_at: 0, expires_at: u64::MAX, surplus: true };

    #[test]
    fn a_fresh_connection_is_kept() {
        assert_eq!(judge(FRESH, 1_000_000, &Config::default()), Verdict::Keep);
        assert_eq!(judge(FRESH, 0, &Config::default()), Verdict::Keep, "a clock that went back harms nobody");
    }

    #[test]
    fn an_idle_connection_is_pinged_and_later_retired_if_it_is_surplus() {
        let config = Config::default();
        assert_eq!(judge(FRESH, 1_030_000, &config), Verdict::Ping);
        assert_eq!(judge(IdleFacts { checked_at: 1_030_000, ..FRESH }, 1_030_001, &config), Verdict::Keep);
        assert_eq!(judge(FRESH, 1_300_000, &config), Verdict::Retire(RetireReason::Idle));
        assert_eq!(judge(IdleFacts { surplus: false, ..FRESH }, 1_300_000, &config), Verdict::Ping);
    }

    #[test]
    fn age_counts_even_when_nothing_is_surplus() {
        let old = IdleFacts { expires_at: 1_000_001, surplus: false, ..FRESH };
        assert_eq!(judge(old, 1_000_000, &Config::default()), Verdict::Keep);
        assert_eq!(judge(old, 1_000_001, &Config::default()), Verdict::Retire(RetireReason::Expired));
    }

    #[test]
    fn lifetimes_are_spread_over_a_tenth() {
        let hour = Some(Duration::from_hours(1));
        let spread = (0..10_000).map(|random| expires_at(7, hour, random * 7919));
        assert!(spread.clone().all(|at| (3_240_007..=3_600_007).contains(&at)));
        assert!(spread.clone().min() < Some(3_250_000) && spread.max() > Some(3_590_000));
        assert_eq!(expires_at(7, None, 42), u64::MAX);
    }

    #[test]
    fn the_last_leases_are_left_for_the_time_of_a_replacement() {
        let from = [1, 2, 10, 19, 20, 1000].map(|uses| wears_from(Some(uses)));
        assert_eq!(from, [None, Some(1), Some(9), Some(18), Some(18), Some(900)]);
        assert_eq!(wears_from(None), None);
    }

    #[test]
    fn maintenance_follows_the_shortest_limit() {
        let mut config = Config::default();
        assert_eq!(maintenance_interval(&config), Duration::from_secs(1));
        config.idle_timeout = Some(Duration::from_millis(100));
        assert_eq!(maintenance_interval(&config), Duration::from_millis(25));
        config.idle_timeout = Some(Duration::from_millis(1));
        assert_eq!(maintenance_interval(&config), Duration::from_millis(5));
    }
}
