//! adapters
#![forbid(unsafe_code)]

mod apart;
pub mod documents;
pub mod exposition;
pub mod fetch;
pub mod gate;
pub mod http;
pub mod memory;
pub mod oidc;
mod pace;
mod seeded;
pub mod system;
pub mod tls;
pub mod valkey;
pub mod watch;
