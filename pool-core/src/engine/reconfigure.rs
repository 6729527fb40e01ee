//! Other settings for a pool that is in use.

use super::Engine;
use crate::config::Config;
use crate::driver::Driver;
use crate::error::ConfigError;

impl<D: Driver> Engine<D> {
    /// Puts other settings in force, all of them or none.
    pub(crate) fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        config.validate()?;
        let max_size = config.max_size;
        self.config.store(config.into());
        self.core.resize(max_size);
        self.shed_idle();
        // The janitor may have to open more, or to look after what there is more often.
        self.reconfigured.add(1);
        self.bell.notify_one();
        Ok(())
    }

    /// Offers every idle connection once, if there are too many: those that are one too many do not become idle again.
    fn shed_idle(&self) {
        if !self.core.gate.glance().is_oversize() {
            return;
        }
        for index in (0..self.core.table.size()).rev() {
            if let Some(claim) = self.core.table.claim_at(index) {
                self.offer(claim);
            }
        }
    }
}
