//! Aim: every store keeps the contract of the store port, and the engine keeps its promises on a store that fails.
//!
//! Method: each clause of the contract is a function over any store, run on all of them; whole scenarios are run with the n-th
//! call of the store failing, for every n.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "a test may fail by panicking"
)]

#[path = "../engine/mod.rs"]
mod engine;
#[path = "../valkey/mod.rs"]
#[allow(unreachable_pub, reason = "other suites share it")]
mod valkey;

mod clauses;
mod memory;
mod near;
mod near_cluster;
mod outcomes;
mod servers;
mod stores;
mod sweep;
mod transact;
mod upstream;
mod ways;
