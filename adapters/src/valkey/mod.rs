//! Valkey and Redis: the store that replicas share.

pub mod near_cache;
pub mod resp;
