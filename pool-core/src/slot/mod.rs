//! Slots: fixed places for connections, each owned by whoever moved its state word.
//!
//! All `unsafe` of the project is in this folder. What it relies on, in one sentence: a [`Claim`] or a [`Vacancy`] exists for a slot only
//! while its holder alone may touch the slot's connection (invariant I2), and nothing here creates a second one.

#![allow(unsafe_code)] // denied everywhere else; see the module's documentation

mod cell;
mod claim;
mod table;
mod word;

pub use claim::{Claim, Vacancy};
pub use table::Table;
