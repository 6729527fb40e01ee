//! What came of a change of the settings.

use crate::config::Config;

/// Which settings a [`Pool::reconfigure`](crate::Pool::reconfigure) has changed, by the names of their fields, and when that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconfigured {
    /// In force now: for what begins from now on, and for the connections that are open.
    pub now: Vec<&'static str>,
    /// In force for connections that are opened from now on. Those that are open keep what they were opened with; [`Pool::retire_all`](crate::Pool::retire_all)
    /// replaces them.
    pub new_connections: Vec<&'static str>,
}

macro_rules! compare {
    ($before:ident, $after:ident: $($field:ident),* $(,)?) => {{
        // Without `..`: a new setting has to be named here.
        let Config { $($field: _),* } = $after;
        [$((stringify!($field), $before.$field != $after.$field)),*]
    }};
}

impl Reconfigured {
    /// What is different.
    pub(crate) fn between(before: &Config, after: &Config) -> Self {
        let fields = compare!(before, after:
            max_size, min_size, min_idle, lazy, idle_order, acquire_timeout, connect_timeout, idle_timeout, max_lifetime, rotation_headroom, max_uses,
            health_check_interval, health_check_timeout, check_after_idle, check_timeout, reset_timeout, close_timeout, max_openers,
            opener_interval, backoff_initial, backoff_max, breaker_failures, breaker_after,
            leak_after, reclaim_after, refuse_self_wait, collect_within, slow_acquire,
        );
        let changed = fields.into_iter().filter(|(_, differs)| *differs).map(|(field, _)| field);
        // The end of a connection's life is drawn when it is opened.
        let (new_connections, now) = changed.partition(|field| *field == "max_lifetime");
        Self { now, new_connections }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_once() {
        let before = Config::default();
        assert_eq!(Reconfigured::between(&before, &before), Reconfigured::default());
        let after = Config { max_size: 7, lazy: true, max_lifetime: None, ..before.clone() };
        let changed = Reconfigured::between(&before, &after);
        assert_eq!((changed.now, changed.new_connections), (vec!["max_size", "lazy"], vec!["max_lifetime"]));
    }
}
