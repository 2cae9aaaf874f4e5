//! The key sets of issuers whose tokens are taken beside our own, each at the address that the configuration names.

use super::keys::{self, Cache, Source};
use super::{Pace, Trouble, key_set};
use crate::fetch::{Fetch, Resolver, SystemResolver};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::limits::ISSUER_KEYS_AGE;
use portcullis_ports::{TrustedKeys, Unreachable};
use std::sync::Arc;

/// The key sets, in the operator's order.
#[derive(Default)]
pub struct Issuers<R = SystemResolver>(Vec<Arc<Issuer<R>>>);

struct Issuer<R> {
    jwks_url: String,
    fetch: Fetch<R>,
    pace: Pace,
    keys: Cache,
}

impl<R: Resolver> Issuers<R> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// One more, whose keys are at this address. `fetch` is one that may reach it.
    #[must_use]
    pub fn with(mut self, jwks_url: String, fetch: Fetch<R>, pace: Pace) -> Self {
        let keys = Cache::new(pace.refetch_pause, pace.keys_kept);
        self.0.push(Arc::new(Issuer { jwks_url, fetch, pace, keys }));
        self
    }
}

impl<R: Resolver> TrustedKeys for Issuers<R> {
    async fn keys(&self, issuer: usize) -> Result<Arc<KeySet>, Unreachable> {
        keys::keys_of_late(self.0.get(issuer).ok_or(Unreachable)?, ISSUER_KEYS_AGE).await
    }

    async fn newer_keys(&self, issuer: usize, known: &Arc<KeySet>) -> Result<Arc<KeySet>, Unreachable> {
        keys::newer_keys(self.0.get(issuer).ok_or(Unreachable)?, known).await
    }
}

impl<R: Resolver> Source for Issuer<R> {
    fn cache(&self) -> &Cache {
        &self.keys
    }

    async fn read_keys(&self) -> Result<Arc<KeySet>, Trouble> {
        Ok(self.keys.keep(key_set(&self.fetch, self.jwks_url.clone(), self.pace).await?))
    }
}
