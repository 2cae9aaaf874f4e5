//! What the operator has decided, in the form in which the rules ask for it.

use crate::oauth::grant::Lifetimes;
use crate::seal::KeyRing;
use std::sync::Arc;

/// The operator's decisions. One per process, shared.
#[derive(Debug)]
pub struct Policy {
    /// The base URL without a trailing slash: the issuer, byte for byte, everywhere.
    pub base_url: String,
    /// The master keys.
    pub ring: Arc<KeyRing>,
    /// How long what is issued lives.
    pub lifetimes: Lifetimes,
}
