//! The pool and a real PostgreSQL in a network of their own, to which the faults of networks happen: packets are swallowed, refused and lost by a firewall, the link goes down, there are no
//! ports. Each test runs once more in a process of its own inside such a network (`sealed/inside.rs`), which nothing can leave, and ends with the checker in
//! `chaos/invariants.rs`.
#![cfg(all(not(feature = "loom"), target_os = "linux"))] // namespaces are Linux's
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[path = "alone/again.rs"]
mod again;
#[path = "chaos/asking.rs"]
mod asking;
#[path = "sealed/common.rs"]
mod common;
#[path = "sealed/inside.rs"]
mod inside;
#[path = "chaos/invariants.rs"]
mod invariants;
#[path = "sealed/network.rs"]
mod network;
#[path = "chaos/users.rs"]
mod users;
#[path = "sealed/watch.rs"]
mod watch;

#[path = "sealed/connects.rs"]
mod connects;
#[path = "sealed/established.rs"]
mod established;
#[path = "sealed/idle.rs"]
mod idle;
#[path = "sealed/names.rs"]
mod names;
#[path = "sealed/resources.rs"]
mod resources;
