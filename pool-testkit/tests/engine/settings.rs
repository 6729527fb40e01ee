//! Every setting is changed while the pool is in use, in both directions, and shows in what the pool does: the complete list.

use std::cell::Cell;

use pool_core::{Config, Pool, Reconfigured};
use pool_testkit::fake::FakeDriver;

use crate::common::{pool_with, prove_nothing_lost, quiet};
use crate::{breaker, leaks, live_sizes as sizes, live_times as times, slow, uncollected};

/// The setting that a test changes, and nothing else.
pub(crate) struct Setting {
    field: &'static str,
    /// What a change of it is to be answered with.
    answer: Reconfigured,
}

impl Setting {
    /// A pool that is quiet but for this.
    pub(crate) fn begin(self, max_size: usize, given: impl FnOnce(&mut Config)) -> Trial {
        let driver = FakeDriver::new();
        let mut config = quiet(max_size);
        given(&mut config);
        Trial { pool: pool_with(&driver, config), driver, setting: self, changes: Cell::new(0) }
    }
}

/// A pool whose setting is changed.
pub(crate) struct Trial {
    pub(crate) driver: FakeDriver,
    pub(crate) pool: Pool<FakeDriver>,
    setting: Setting,
    changes: Cell<usize>,
}

impl Trial {
    /// Changes the setting, live, and nothing else.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.pool.config()).clone();
        change(&mut config);
        assert_eq!(self.pool.reconfigure(config).unwrap(), self.setting.answer);
        self.changes.set(self.changes.get() + 1);
    }

    async fn end(self) {
        assert!(self.changes.get() >= 2, "{} goes in both directions", self.setting.field);
        prove_nothing_lost(&self.pool, &self.driver).await;
    }
}

/// Each setting: when a change of it counts, and the test that shows it.
macro_rules! live {
    ($($field:ident $when:ident: $place:ident::$test:ident,)*) => {
        const TESTED: &[&str] = &[$(stringify!($field)),*];
        $(
            #[tokio::test(start_paused = true)]
            async fn $test() {
                let mut answer = Reconfigured::default();
                answer.$when.push(stringify!($field));
                $place::$test(Setting { field: stringify!($field), answer }).await.end().await;
            }
        )*
    };
}

live! {
    max_size now: sizes::there_may_be_more_or_fewer,
    min_size now: sizes::more_or_fewer_are_kept,
    min_idle now: sizes::more_or_fewer_are_kept_ready,
    lazy now: sizes::a_pool_that_was_never_used_becomes_lazy_or_eager,
    idle_order now: sizes::another_one_comes_first,
    acquire_timeout now: times::a_caller_waits_for_longer_or_less,
    connect_timeout now: times::an_attempt_takes_longer_or_less,
    idle_timeout now: times::an_idle_connection_stays_for_longer_or_less,
    max_lifetime new_connections: times::a_new_connection_has_another_life,
    rotation_headroom now: sizes::a_replacement_comes_first_or_second,
    max_uses now: sizes::a_connection_is_used_more_or_less_often,
    health_check_interval now: times::idle_connections_are_pinged_more_or_less_often,
    health_check_timeout now: times::a_ping_takes_longer_or_less,
    check_after_idle now: times::a_connection_is_checked_sooner_or_later_or_not_at_all,
    check_timeout now: times::a_check_takes_longer_or_less,
    reset_timeout now: times::a_reset_takes_longer_or_less,
    close_timeout now: times::a_close_takes_longer_or_less,
    max_openers now: sizes::more_or_fewer_are_opened_at_once,
    opener_interval now: times::attempts_begin_in_quicker_or_slower_succession,
    backoff_initial now: times::the_first_pause_is_longer_or_shorter,
    backoff_max now: times::the_longest_pause_is_longer_or_shorter,
    breaker_failures now: breaker::it_opens_after_more_or_fewer_failures,
    breaker_after now: breaker::it_opens_later_or_sooner,
    leak_after now: leaks::a_lease_is_reported_sooner_or_later_or_not_at_all,
    reclaim_after now: leaks::a_lease_is_cut_off_sooner_or_later_or_not_at_all,
    refuse_self_wait now: leaks::a_task_that_waits_for_itself_is_refused_or_not,
    collect_within now: uncollected::a_hand_over_is_taken_back_sooner_or_later_or_not_at_all,
    slow_acquire now: slow::a_wait_is_slow_sooner_or_later_or_never,
}

/// The names of all settings, as they show themselves.
pub(crate) fn all_settings() -> Vec<String> {
    let shown = format!("{:#?}", Config::default());
    let fields = shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    fields.map(|(name, _)| name).filter(|name| !name.starts_with(' ')).map(str::to_owned).collect()
}

#[test]
fn no_setting_is_without_its_test() {
    assert_eq!(all_settings(), TESTED, "in the order of the fields");
}
