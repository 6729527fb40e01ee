//! Other settings for a pool that is in use.

use std::sync::{Arc, PoisonError};

use super::clock::nanos;
use super::{Engine, slow};
use crate::budget::Notice;
use crate::config::Config;
use crate::driver::Driver;
use crate::error::ConfigError;
use crate::reconfigured::Reconfigured;

impl<D: Driver> Engine<D> {
    /// Puts other settings in force, all of them or none. If they were made of some that somebody has seen, `None` if those are not in force any more: then nothing has changed.
    pub(crate) fn reconfigure(
        &self,
        config: Config,
        seen: Option<&Arc<Config>>,
    ) -> Result<Option<Reconfigured>, ConfigError> {
        config.validate()?;
        let Some(reconfigured) = self.put_in_force(config, seen, false)? else { return Ok(None) };
        let changed: Vec<_> = reconfigured.now.iter().chain(&reconfigured.new_connections).copied().collect();
        if !changed.is_empty() {
            self.write_down("control", &format_args!("settings have been changed: {}", changed.join(", ")));
        }
        self.follow(&reconfigured);
        Ok(Some(reconfigured))
    }

    /// As [`reconfigure`](Self::reconfigure), for the adapter, if the settings are in their ranges. Whether they have been put in force.
    pub(crate) fn adapt(&self, seen: &Arc<Config>, config: Config) -> bool {
        let fits = config.validate().is_ok();
        let put = || self.put_in_force(config, Some(seen), true).ok().flatten();
        let reconfigured = if fits { put() } else { None };
        reconfigured.inspect(|reconfigured| self.follow(reconfigured)).is_some()
    }

    /// The settings in force are others.
    fn follow(&self, reconfigured: &Reconfigured) {
        let judged = ["max_uses", "leak_after", "reclaim_after", "refuse_self_wait"];
        if self.core.gate().glance().is_oversize() || judged.iter().any(|field| reconfigured.now.contains(field)) {
            self.offer_all_idle();
        }
        if reconfigured.now.iter().any(|field| field.starts_with("backoff_")) {
            self.fresh_starts.add(1);
        }
        // The janitor may have to open more, or to look after what there is more often.
        self.bell.notify_one();
        self.tell();
        self.tell_followers();
    }

    /// Makes the lock-free layer follow the settings. One caller after the other: whoever had a number of its own for the maximum could
    /// be late with it, when the next settings are in force already. `None` if they are not those that were seen.
    fn put_in_force(
        &self,
        config: Config,
        seen: Option<&Arc<Config>>,
        is_adapted: bool,
    ) -> Result<Option<Reconfigured>, ConfigError> {
        let config = Arc::new(config);
        let turn = self.operator.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.is_some_and(|seen| !Arc::ptr_eq(seen, &self.config.load())) {
            return Ok(None);
        }
        // What is guaranteed is an operator's; an adapter moves the size within that.
        let notice = if is_adapted { Notice::default() } else { self.guarantee(&config)? };
        let before = self.config.swap(config.clone());
        self.core.resize(self.most(&config));
        self.core.set_idle_order(config.idle_order);
        self.acquire_timeout.set(nanos(config.acquire_timeout));
        self.slow_acquire.set(slow(&config));
        self.reconfigured.add(1);
        if !self.is_watched() {
            // What ended while nobody watched was not noted.
            self.notes.forget_leases();
        }
        self.attend(self.wants_to_watch());
        let watches =
            |config: &Config| (config.leak_after.is_some(), config.reclaim_after.is_some(), config.refuse_self_wait);
        if before.max_uses != config.max_uses || watches(&before) != watches(&config) {
            // Each connection is judged once by the new number, now or when it comes back: what was noted about its next look may be far too late.
            self.core.gate().begin_generation();
        }
        drop(turn);
        notice.tell();
        Ok(Some(Reconfigured::between(&before, &config)))
    }
}
