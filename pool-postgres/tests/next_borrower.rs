//! What one borrower leaves behind does not reach the next, in every mode of the release policy, and what the pool knows of a session is what the server says of it.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "real/common.rs"]
mod common;

#[path = "next_borrower/frozen.rs"]
mod frozen;
#[path = "next_borrower/hooks.rs"]
mod hooks;
#[path = "next_borrower/leftovers.rs"]
mod leftovers;
#[path = "next_borrower/load.rs"]
mod load;
#[path = "next_borrower/modes.rs"]
mod modes;
#[path = "next_borrower/notices.rs"]
mod notices;
#[path = "next_borrower/session.rs"]
mod session;
#[path = "next_borrower/state.rs"]
mod state;
#[path = "next_borrower/table.rs"]
mod table;
#[path = "next_borrower/turns.rs"]
mod turns;
#[path = "next_borrower/unreadable.rs"]
mod unreadable;

/// Hears every line that is logged.
fn hear(line: &[u8]) {
    notices::hear(line);
    turns::hear(line);
}
