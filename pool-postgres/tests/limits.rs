//! What bounds requests, against a real PostgreSQL.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "real/common.rs"]
mod common;

#[path = "limits/abandoned.rs"]
mod abandoned;
#[path = "limits/batches.rs"]
mod batches;
#[path = "limits/copying.rs"]
mod copying;
#[path = "limits/dropped.rs"]
mod dropped;
#[path = "limits/leisure.rs"]
mod leisure;
#[path = "limits/rude.rs"]
mod rude;
#[path = "limits/shared.rs"]
mod shared;
#[path = "limits/slow.rs"]
mod slow;
#[path = "limits/startup.rs"]
mod startup;
#[path = "limits/tagged.rs"]
mod tagged;
#[path = "limits/timeouts.rs"]
mod timeouts;
#[path = "limits/traced.rs"]
mod traced;
