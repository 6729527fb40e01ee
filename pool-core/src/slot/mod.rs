//! Slots: fixed places for connections, each owned by whoever moved its state word.
//!
//! What the `unsafe` in here relies on, in one sentence: a [`Claim`] or a [`Vacancy`] exists for a slot only
//! while its holder alone may touch the slot's connection (invariant I2), and nothing here creates a second one. Where several use a connection (I26), each has a
//! [`SharedClaim`], which gives out shared references alone, and there is no claim until the last of them leaves.

#![allow(unsafe_code)] // see the module's documentation

mod claim;
mod idle;
mod shared;
mod table;
mod word;

pub use claim::{Claim, Vacancy};
pub use idle::IdleOrder;
pub use shared::SharedClaim;

#[cfg(not(feature = "loom"))]
pub use table::Counts;
pub use table::{Facts, Table};
#[cfg(not(feature = "loom"))]
pub use word::State;
