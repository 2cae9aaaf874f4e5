//! JSON Object Signing: signed tokens, key sets and the claims inside.

pub mod claims;
pub mod jwk;
pub mod jws;
pub mod sign;
