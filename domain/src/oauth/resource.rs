//! Protected resources and how a request names them: RFC 8707, RFC 9728.

use ring::digest;

/// A resource as grants and tokens remember it: 16 bytes of SHA-256 over its identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceHash(pub [u8; 16]);

impl ResourceHash {
    /// Of the resource's identifier, exactly as the configuration makes it.
    #[must_use]
    pub fn of(identifier: &str) -> Self {
        let mut out = [0; 16];
        for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, identifier.as_bytes()).as_ref()) {
            *to = *from;
        }
        Self(out)
    }
}
