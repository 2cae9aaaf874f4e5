//! jwk
