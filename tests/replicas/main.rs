//! Aim: however many gates stand before one Valkey, nobody can tell which of them answered, whatever happens to it.
//!
//! Method: real servers of all three makes, and real processes of the gate.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests may panic and say what they have measured, and their rooms are nobody's library"
)]

#[path = "../black_box/harness/mod.rs"]
mod harness;
#[path = "../valkey/mod.rs"]
mod valkey;

mod crashes;
mod drill;
mod failover;
mod fleet;
mod flows;
mod lifecycle;
mod revocation;
mod servers;
mod trouble;
