//! Portcullis: an OAuth 2.1 gate in front of MCP servers.
//!
//! [`config::Config`] says what is wanted, [`Running::start`] makes it so. A program that brings its own service along lets the gate
//! stand before it with [`Running::start_with`]; `docs/embedding.md` tells how.
//!
//! ```no_run
//! use portcullis::config::{Config, Process};
//! use portcullis::embed::{AnswerBody, Embedded, ProtectedEndpoint, RequestBody, Visitor};
//! use portcullis::{Running, wait_for_signal};
//! use hyper::{Request, Response};
//! use std::sync::Arc;
//!
//! struct Tools;
//!
//! impl ProtectedEndpoint for Tools {
//!     type Request = Request<RequestBody>;
//!     type Response = Response<AnswerBody>;
//!
//!     async fn answer(&self, _request: Self::Request, visitor: Arc<Visitor>) -> Self::Response {
//!         Response::new(AnswerBody::from(format!("You are {}.", visitor.claims.subject)))
//!     }
//! }
//!
//! let config = Config::load("portcullis.json".as_ref(), &Process).unwrap_or_else(|wrong| panic!("{wrong}"));
//! let running = Running::start_with(config, vec![("/mcp".to_owned(), Embedded::new(Tools))])
//!     .unwrap_or_else(|why| panic!("{why}"));
//! wait_for_signal().unwrap();
//! running.stop();
//! running.join();
//! ```
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod embed;
mod running;
mod sessions;
pub mod telemetry;
mod wiring;

pub use running::{NotStarted, Running, wait_for_signal};
pub use wiring::{NotTakenOver, TakenOver};
