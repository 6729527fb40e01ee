//! The engine on virtual time, against a backend that fails as it is told.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "engine/common.rs"]
mod common;

#[path = "engine/abort.rs"]
mod abort;
#[path = "engine/adaptive.rs"]
mod adaptive;
#[path = "engine/ages.rs"]
mod ages;
#[path = "engine/attach.rs"]
mod attach;
#[path = "engine/breaker.rs"]
mod breaker;
#[path = "engine/budget.rs"]
mod budget;
#[path = "engine/budget_chaos.rs"]
mod budget_chaos;
#[path = "engine/cancel.rs"]
mod cancel;
#[path = "engine/checks.rs"]
mod checks;
#[path = "engine/close.rs"]
mod close;
#[path = "engine/conversions.rs"]
mod conversions;
#[path = "engine/crowds.rs"]
mod crowds;
#[path = "engine/exchange.rs"]
mod exchange;
#[path = "engine/extremes.rs"]
mod extremes;
#[path = "engine/fairness.rs"]
mod fairness;
#[path = "engine/faults.rs"]
mod faults;
#[path = "engine/foreign.rs"]
mod foreign;
#[path = "engine/headroom.rs"]
mod headroom;
#[path = "engine/health.rs"]
mod health;
#[path = "engine/hooks.rs"]
mod hooks;
#[path = "engine/idle_order.rs"]
mod idle_order;
#[path = "engine/in_line.rs"]
mod in_line;
#[path = "engine/janitor.rs"]
mod janitor;
#[path = "engine/journal.rs"]
mod journal;
#[path = "engine/kept.rs"]
mod kept;
#[path = "engine/leaks.rs"]
mod leaks;
#[path = "engine/live_sizes.rs"]
mod live_sizes;
#[path = "engine/live_times.rs"]
mod live_times;
#[path = "engine/log.rs"]
mod log;
#[path = "engine/monitors.rs"]
mod monitors;
#[path = "engine/observe.rs"]
mod observe;
#[path = "engine/order.rs"]
mod order;
#[path = "engine/own_checks.rs"]
mod own_checks;
#[path = "engine/pause.rs"]
mod pause;
#[path = "engine/pressed.rs"]
mod pressed;
#[path = "engine/promises.rs"]
mod promises;
#[path = "engine/reach.rs"]
mod reach;
#[path = "engine/refused.rs"]
mod refused;
#[path = "engine/repeated.rs"]
mod repeated;
#[path = "engine/resize.rs"]
mod resize;
#[path = "engine/retire.rs"]
mod retire;
#[path = "engine/rude.rs"]
mod rude;
#[path = "engine/runtimes.rs"]
mod runtimes;
#[path = "engine/scarce.rs"]
mod scarce;
#[path = "engine/schedule.rs"]
mod schedule;
#[path = "engine/sessions.rs"]
mod sessions;
#[path = "engine/settings.rs"]
mod settings;
#[path = "engine/sharing.rs"]
mod sharing;
#[path = "engine/shutdown.rs"]
mod shutdown;
#[path = "engine/situations.rs"]
mod situations;
#[path = "engine/sizes.rs"]
mod sizes;
#[path = "engine/slow.rs"]
mod slow;
#[path = "engine/spans.rs"]
mod spans;
#[path = "engine/statistics.rs"]
mod statistics;
#[path = "engine/tags.rs"]
mod tags;
#[path = "engine/tenants.rs"]
mod tenants;
#[path = "engine/turns.rs"]
mod turns;
#[path = "engine/uncollected.rs"]
mod uncollected;
