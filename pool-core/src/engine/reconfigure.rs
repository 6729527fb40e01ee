//! Other settings, or other connections, for a pool that is in use.

use std::sync::{Arc, PoisonError};

use super::Engine;
use super::clock::nanos;
use crate::config::Config;
use crate::driver::Driver;
use crate::error::ConfigError;

impl<D: Driver> Engine<D> {
    /// Puts other settings in force, all of them or none.
    pub(crate) fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        config.validate()?;
        self.put_in_force(config);
        if self.core.gate().glance().is_oversize() {
            self.offer_all_idle();
        }
        // The janitor may have to open more, or to look after what there is more often.
        self.bell.notify_one();
        Ok(())
    }

    /// Makes the lock-free layer follow the settings. One caller after the other: whoever had a number of its own for the maximum could
    /// be late with it, when the next settings are in force already.
    fn put_in_force(&self, config: Config) {
        let config = Arc::new(config);
        let _turn = self.reconfiguring.lock().unwrap_or_else(PoisonError::into_inner);
        self.config.store(config.clone());
        self.core.resize(config.max_size);
        self.core.set_idle_order(config.idle_order);
        self.acquire_timeout.set(nanos(config.acquire_timeout));
        self.reconfigured.add(1);
    }

    /// Replaces all connections.
    pub(crate) fn retire_all(&self) {
        self.core.gate().begin_generation();
        self.offer_all_idle();
    }
}
