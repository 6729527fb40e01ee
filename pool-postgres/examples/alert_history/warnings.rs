//! What is logged of requests that fail. In an outage each of them does, and says so to whoever sent it.

use std::fmt::Display;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use pool_postgres::pool_core::Throttle;

/// How long nothing more is said of a kind.
const QUIET: Duration = Duration::from_secs(10);

/// Refused statements: somebody has to mend something.
pub(super) const INTERNAL: &str = "internal";

const KINDS: [&str; 9] = [
    "timeout",
    "open_failed",
    "breaker_open",
    "closed",
    "unavailable",
    "connection_lost",
    "not_now",
    "no_answer",
    INTERNAL,
];

struct Warnings {
    since: Instant,
    kinds: [Throttle; KINDS.len()],
}

static WARNINGS: LazyLock<Warnings> =
    LazyLock::new(|| Warnings { since: Instant::now(), kinds: KINDS.map(|_| Throttle::new(QUIET, 1)) });

/// Says that a request failed, once in ten seconds for each kind of reason, with how many were left out.
pub(super) fn request_failed(reason: &'static str, error: &dyn Display) {
    let Warnings { since, kinds } = &*WARNINGS;
    let kind = KINDS.iter().position(|kind| *kind == reason);
    let Some(left_out) = kind.and_then(|kind| kinds[kind].ask(since.elapsed())) else { return };
    if reason == INTERNAL {
        tracing::error!(reason, %error, left_out, "a request failed");
    } else {
        tracing::warn!(reason, %error, left_out, "a request failed");
    }
}
