//! Other settings, or other connections, for a pool that is in use.

use std::sync::Arc;

use super::Engine;
use super::clock::nanos;
use crate::config::Config;
use crate::driver::Driver;
use crate::error::ConfigError;

impl<D: Driver> Engine<D> {
    /// Puts other settings in force, all of them or none.
    pub(crate) fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        config.validate()?;
        self.config.store(config.into());
        self.apply();
        if self.core.gate().glance().is_oversize() {
            self.offer_all_idle();
        }
        // The janitor may have to open more, or to look after what there is more often.
        self.reconfigured.add(1);
        self.bell.notify_one();
        Ok(())
    }

    /// Makes the lock-free layer follow the settings, those of whoever changes them at the same time included.
    fn apply(&self) {
        loop {
            let config = self.config.load_full();
            self.core.resize(config.max_size);
            self.core.set_idle_order(config.idle_order);
            self.acquire_timeout.set(nanos(config.acquire_timeout));
            if Arc::ptr_eq(&config, &self.config.load()) {
                return;
            }
        }
    }

    /// Replaces all connections.
    pub(crate) fn retire_all(&self) {
        self.core.gate().begin_generation();
        self.offer_all_idle();
    }
}
