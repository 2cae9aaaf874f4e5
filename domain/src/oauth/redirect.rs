//! Redirect URIs: what may be registered, and the one matcher.

use ring::digest;

/// A redirect URI as grants remember it: its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectHash(pub [u8; 32]);

impl RedirectHash {
    /// Of a redirect URI as it stands in requests.
    #[must_use]
    pub fn of(uri: &str) -> Self {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, uri.as_bytes()).as_ref()) {
            *to = *from;
        }
        Self(out)
    }
}
