//! Portcullis: an OAuth 2.1 gate in front of MCP servers.
//!
//! [`config::Config`] says what is wanted, [`Running::start`] makes it so.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
mod running;
pub mod telemetry;
mod wiring;

pub use running::{NotStarted, Running, wait_for_signal};
