//! adapters

pub mod fetch;
