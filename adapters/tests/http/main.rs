//! The HTTP adapter seen from outside: raw sockets on both sides.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    unreachable_pub,
    reason = "a test that goes wrong should stop"
)]

mod deadlines;
mod framing;
mod hostile;
mod passing;
mod pool;
mod runtime;
mod streams;
mod support;
mod tls;
