//! Cancellation, enumerated: every future of the public API is dropped after every number of polls, in every situation, under each fault of the driver; and so are
//! the futures of the driver, which the pool drops when a budget is over, when it is closed without mercy, and when a runtime ends. Nothing may be lost.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "cancellation/calls.rs"]
mod calls;
#[path = "cancellation/complete.rs"]
mod complete;
#[path = "cancellation/count.rs"]
mod count;
#[path = "cancellation/deadline.rs"]
mod deadline;
#[path = "cancellation/endings.rs"]
mod endings;
#[path = "cancellation/matrix.rs"]
mod matrix;
#[path = "cancellation/methods.rs"]
mod methods;
#[path = "cancellation/situations.rs"]
mod situations;
#[path = "cancellation/world.rs"]
mod world;
