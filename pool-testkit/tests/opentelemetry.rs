//! What a meter of OpenTelemetry tells of a pool: collected by the real SDK, and compared with the families.
#![cfg(not(feature = "loom"))]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "opentelemetry/common.rs"]
mod common;

#[path = "opentelemetry/ends.rs"]
mod ends;
#[path = "opentelemetry/families.rs"]
mod families;
#[path = "opentelemetry/histograms.rs"]
mod histograms;
#[path = "opentelemetry/readers.rs"]
mod readers;
