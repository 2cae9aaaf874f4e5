//! adapters

pub mod fetch;
pub mod memory;
pub mod system;
pub mod http;
