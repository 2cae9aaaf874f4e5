//! Portcullis: an OAuth 2.1 gate in front of MCP servers.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
