//! adapters
#![forbid(unsafe_code)]

pub mod fetch;
pub mod http;
pub mod memory;
pub mod oidc;
pub mod system;
