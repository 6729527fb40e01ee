//! Slots: fixed places for connections, each owned by whoever moved its state word.
//!
//! What the `unsafe` in here relies on, in one sentence: a [`Claim`] or a [`Vacancy`] exists for a slot only
//! while its holder alone may touch the slot's connection (invariant I2), and nothing here creates a second one.

#![allow(unsafe_code)] // see the module's documentation

mod claim;
mod idle;
mod table;
mod word;

pub use claim::{Claim, Vacancy};
pub use idle::IdleOrder;

#[cfg(not(feature = "loom"))]
pub use table::Counts;
pub use table::{Facts, Table};
