//! How many connections there are to be.

use crate::config::Config;

/// What there is, and who asks for more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Demand {
    /// Callers to whom nothing is promised.
    pub(crate) waiting: usize,
    /// Connections that nobody uses, those that are being looked after included.
    pub(crate) idle: usize,
    /// Whether the pool has ever had a connection.
    pub(crate) used: bool,
}

impl Demand {
    /// Whether one more is to be opened, when so many exist and so many of these are being opened.
    pub(crate) fn wants_another(self, open: usize, opening: usize, config: &Config) -> bool {
        if opening < self.waiting {
            return true;
        }
        // A lazy pool keeps its minimum from its first connection on.
        let keeps_some = self.used || !config.lazy;
        // Those who wait take what is opened first.
        let spare = self.idle + opening - self.waiting;
        keeps_some && (open < config.min_size || spare < config.min_idle)
    }
}

/// How many of the idle connections the pool does not have to keep.
pub(crate) fn surplus(size: usize, idle: usize, config: &Config) -> usize {
    size.saturating_sub(config.min_size).min(idle.saturating_sub(config.min_idle))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Demand = Demand { waiting: 0, idle: 0, used: true };

    fn config(min_size: usize, min_idle: usize, lazy: bool) -> Config {
        Config { min_size, min_idle, lazy, ..Config::default() }
    }

    #[test]
    fn one_is_opened_for_each_who_waits() {
        let waiting = Demand { waiting: 2, ..NOBODY };
        let none = config(0, 0, false);
        assert_eq!([0, 1, 2].map(|opening| waiting.wants_another(5, opening, &none)), [true, true, false]);
    }

    #[test]
    fn the_minimum_counts_those_in_use_and_the_idle_minimum_does_not() {
        assert!(NOBODY.wants_another(1, 0, &config(2, 0, false)));
        assert!(!NOBODY.wants_another(2, 0, &config(2, 0, false)));
        assert!(NOBODY.wants_another(9, 1, &config(2, 2, false)));
        assert!(!Demand { idle: 1, ..NOBODY }.wants_another(9, 1, &config(2, 2, false)));
        assert!(
            Demand { idle: 1, waiting: 1, ..NOBODY }.wants_another(9, 1, &config(2, 2, false)),
            "one will be taken"
        );
    }

    #[test]
    fn a_lazy_pool_keeps_nothing_until_it_has_been_used() {
        let unused = Demand { used: false, ..NOBODY };
        assert!(!unused.wants_another(0, 0, &config(2, 2, true)));
        assert!(unused.wants_another(0, 0, &config(2, 2, false)) && NOBODY.wants_another(0, 0, &config(2, 2, true)));
        assert!(Demand { waiting: 1, ..unused }.wants_another(0, 0, &config(2, 2, true)), "somebody waits");
    }

    #[test]
    fn what_is_kept_is_not_surplus() {
        assert_eq!(surplus(10, 4, &config(2, 0, false)), 4);
        assert_eq!(surplus(10, 4, &config(8, 0, false)), 2);
        assert_eq!(surplus(10, 4, &config(2, 3, false)), 1);
        assert_eq!(surplus(1, 1, &config(2, 3, false)), 0);
    }
}
