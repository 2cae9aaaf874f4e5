//! JSON Object Signing: signed tokens, key sets and the claims inside.

use crate::wire::json::{self, Json, Malformed};

pub mod algorithm;
pub mod claims;
pub mod jwk;
pub mod jws;
pub mod operator_key;
pub mod sign;
#[cfg(test)]
pub(crate) mod testing;

/// Reads a document that must be one JSON object.
pub(crate) fn object(document: &[u8], max: usize) -> Result<Json, Malformed> {
    let value = json::parse(document, max)?;
    if value.members().is_err() { Err(Malformed::Syntax) } else { Ok(value) }
}
