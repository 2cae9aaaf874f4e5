//! Valkey and Redis: the store that replicas share.

pub mod resp;
