//! Why a tenant has no pool.

use crate::error::ConfigError;

/// Why there is no pool for a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// There are as many pools as may be, and all of them are used.
    #[error("all {max_pools} pools are in use; max_pools = {max_pools}")]
    Full {
        /// The most that there may be.
        max_pools: usize,
    },
    /// The closure that puts pools together says so.
    #[error("no pool can be made for this key: {0}")]
    Make(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Its settings are refused, or the budget cannot guarantee what they ask for.
    #[error("the pool for this key is refused: {0}")]
    Refused(#[source] ConfigError),
    /// All pools have been [closed](crate::Tenants::close_all).
    #[error("the pools are closed")]
    Closed,
}
