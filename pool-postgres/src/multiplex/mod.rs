//! Many callers on few connections.

mod apart;
mod place;
mod queries;
mod refused;
mod settings;

pub(crate) use apart::Apart;
pub use queries::Multiplexed;
pub use refused::NeedsSession;
pub use settings::Multiplexing;
