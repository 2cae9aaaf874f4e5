//! The identity provider's port: what is fetched from it, and nothing of how it is judged.

use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::oidc::discovery::Provider;
use portcullis_domain::oidc::request::BackChannel;
use portcullis_domain::secret::SecretText;
use std::future::Future;
use std::sync::Arc;

/// The provider could not be reached, or not in time. Never a refusal by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreachable;

/// What the provider's back channel answered, not yet judged.
pub struct BackAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The body, bounded.
    pub body: Vec<u8>,
}

/// The identity provider.
pub trait IdentityProvider: Send + Sync + 'static {
    /// Its discovery document, judged; nothing until it has been reached for the first time.
    fn discovered(&self) -> Option<Arc<Provider>>;

    /// Sends one request on the back channel.
    ///
    /// # Errors
    /// [`Unreachable`].
    fn send(&self, request: BackChannel) -> impl Future<Output = Result<BackAnswer, Unreachable>> + Send;

    /// Asks its API at this address, with the access token of whoever it is about.
    ///
    /// # Errors
    /// [`Unreachable`].
    fn ask(
        &self,
        url: String,
        access_token: &SecretText,
    ) -> impl Future<Output = Result<BackAnswer, Unreachable>> + Send;

    /// Its keys, from memory where they are recent enough.
    ///
    /// # Errors
    /// [`Unreachable`] if there are none.
    fn keys(&self) -> impl Future<Output = Result<Arc<KeySet>, Unreachable>> + Send;

    /// Its keys after a token has named one that `known` does not hold: fetched anew if that has not been done just now. Callers
    /// that come together share one fetch.
    ///
    /// # Errors
    /// [`Unreachable`] if they cannot be had; the keys that are there stay.
    fn newer_keys(&self, known: &Arc<KeySet>) -> impl Future<Output = Result<Arc<KeySet>, Unreachable>> + Send;
}

/// The keys of the issuers whose tokens are taken beside our own, by their place in the operator's list.
pub trait TrustedKeys: Send + Sync + 'static {
    /// The keys of this issuer, from memory where they are recent enough.
    ///
    /// # Errors
    /// [`Unreachable`] if there are none.
    fn keys(&self, issuer: usize) -> impl Future<Output = Result<Arc<KeySet>, Unreachable>> + Send;

    /// Its keys after a token has named one that `known` does not hold, as [`IdentityProvider::newer_keys`].
    ///
    /// # Errors
    /// [`Unreachable`] if they cannot be had; the keys that are there stay.
    fn newer_keys(
        &self,
        issuer: usize,
        known: &Arc<KeySet>,
    ) -> impl Future<Output = Result<Arc<KeySet>, Unreachable>> + Send;
}
