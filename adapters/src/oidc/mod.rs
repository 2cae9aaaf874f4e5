//! The identity provider as it is: its discovery document, its keys and its back channel, over the guarded outbound client.
//!
//! OpenID Connect Discovery section 4, RFC 7517 section 5. What comes back is judged in the domain; here is only when to
//! ask. [`Oidc::run`] reads document and keys in the background: soon again after a failure, rarely after a success. A
//! document or a key set that is no good changes nothing: the last good one stays, the keys for a bounded time (T199), the
//! document for as long as nothing better comes (T193). Nothing of a login waits for the document.

mod issuers;
mod keys;
mod patience;

pub use issuers::Issuers;

use crate::exposition::Exposition;
use crate::fetch::{Caps, Fetch, Method, Refusal, Request, Resolver, SystemResolver};
use crate::pace::jittered;
use keys::{Cache, Source};
use patience::Patience;
use portcullis_domain::jose::jwk::{self, KeySet};
use portcullis_domain::limits;
use portcullis_domain::oidc::discovery::{self, Provider};
use portcullis_domain::oidc::issuer::Issuer;
use portcullis_domain::oidc::request::BackChannel;
use portcullis_domain::secret::SecretText;
use portcullis_domain::wire::uri::Uri;
use portcullis_ports::{BackAnswer, IdentityProvider, Unreachable};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// When the provider is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// One call.
    pub deadline: Duration,
    /// After a first failure; doubles with every further one.
    pub retry_first: Duration,
    /// After many failures.
    pub retry_max: Duration,
    /// After a success.
    pub again: Duration,
    /// Between two readings of the keys because of a token.
    pub refetch_pause: Duration,
    /// How long keys are used that could not be read again.
    pub keys_kept: Duration,
    /// How long nobody is let through who would wait, after so many have waited in vain.
    pub left_alone: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            deadline: limits::PROVIDER_DEADLINE,
            retry_first: limits::PROVIDER_RETRY_FIRST,
            retry_max: limits::PROVIDER_RETRY_MAX,
            again: limits::PROVIDER_AGAIN,
            refetch_pause: limits::KEYS_REFETCH_PAUSE,
            keys_kept: limits::KEYS_KEPT,
            left_alone: limits::PROVIDER_LEFT_ALONE,
        }
    }
}

/// The host of an issuer, as the outbound client wants it named: its authority.
///
/// The endpoints of a large provider on other hosts need no naming: they are public, and are vetted as such.
#[must_use]
pub fn named_host(issuer: &str) -> Option<String> {
    Uri::parse(issuer).ok()?.authority().map(str::to_owned)
}

/// The identity provider of this issuer. Clones share what is known of it.
pub struct Oidc<R = SystemResolver> {
    shared: Arc<Shared<R>>,
}

struct Shared<R> {
    issuer: Issuer,
    fetch: Fetch<R>,
    pace: Pace,
    provider: RwLock<Option<Arc<Provider>>>,
    keys: Cache,
    patience: Patience,
}

/// Why a document or a key set was not taken: for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Call(Refusal),
    Status(u16),
    Document(discovery::Refused),
    Keys(jwk::Malformed),
    NoUsableKey,
    NotDiscovered,
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(refusal) => refusal.fmt(out),
            Self::Status(status) => write!(out, "it answers with status {status}"),
            Self::Document(refused) => write!(out, "its discovery document {refused}"),
            Self::Keys(malformed) => write!(out, "its key set {malformed}"),
            Self::NoUsableKey => out.write_str("its key set holds no key that can be used"),
            Self::NotDiscovered => out.write_str("it has not been reached"),
        }
    }
}

impl<R: Resolver> Oidc<R> {
    /// Knows nothing yet: [`Oidc::run`] finds out. `fetch` is one that may reach the issuer.
    #[must_use]
    pub fn new(issuer: Issuer, fetch: Fetch<R>, pace: Pace) -> Self {
        let keys = Cache::new(pace.refetch_pause, pace.keys_kept);
        let patience = Patience::new(pace.left_alone);
        Self { shared: Arc::new(Shared { issuer, fetch, pace, provider: RwLock::default(), keys, patience }) }
    }

    /// One that publishes neither document nor keys: it is as the configuration says.
    #[must_use]
    pub fn known(provider: Provider, fetch: Fetch<R>, pace: Pace) -> Self {
        let oidc = Self::new(provider.issuer.clone(), fetch, pace);
        *oidc.shared.provider.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(provider));
        oidc
    }

    /// Keeps document and keys up to date, for ever. One of these runs per process.
    pub async fn run(self) -> Infallible {
        let pace = self.shared.pace;
        let mut retry = pace.retry_first;
        loop {
            let pause = match self.shared.look().await {
                Ok(()) => {
                    retry = pace.retry_first;
                    pace.again
                }
                Err(cause) => {
                    let known = self.discovered().is_some();
                    tracing::warn!(%cause, known, "the identity provider gave no usable document or keys");
                    let pause = retry;
                    retry = retry.saturating_mul(2).min(pace.retry_max);
                    pause
                }
            };
            tokio::time::sleep(jittered(pause)).await;
        }
    }

    /// Writes how it answers.
    pub fn write_metrics(&self, page: &mut Exposition) {
        self.shared.patience.write_metrics(page);
    }

    /// Reads document and keys once, for whoever checks a configuration.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn probe(&self) -> Result<Arc<Provider>, String> {
        self.shared.look().await.map_err(|cause| cause.to_string())?;
        self.shared.provider().ok_or_else(|| Trouble::NotDiscovered.to_string())
    }
}

impl<R: Resolver> IdentityProvider for Oidc<R> {
    fn discovered(&self) -> Option<Arc<Provider>> {
        self.shared.provider()
    }

    async fn send(&self, request: BackChannel) -> Result<BackAnswer, Unreachable> {
        let request = Request {
            method: Method::Post,
            url: request.url,
            accept: Some(BackChannel::ACCEPT),
            content_type: Some(BackChannel::CONTENT_TYPE),
            authorization: request.authorization,
            further: Vec::new(),
            body: Some(request.body),
        };
        self.shared.call(request).await
    }

    async fn ask(&self, url: String, access_token: &SecretText) -> Result<BackAnswer, Unreachable> {
        let authorization = SecretText::new(["Bearer ", access_token.expose()].concat());
        let request = Request { authorization: Some(authorization), ..Request::get(url, BackChannel::ACCEPT) };
        self.shared.call(request).await
    }

    async fn keys(&self) -> Result<Arc<KeySet>, Unreachable> {
        keys::keys(&self.shared).await
    }

    async fn newer_keys(&self, known: &Arc<KeySet>) -> Result<Arc<KeySet>, Unreachable> {
        keys::newer_keys(&self.shared, known).await
    }
}

impl<R: Resolver> Shared<R> {
    /// One call of a login or a renewal.
    async fn call(&self, request: Request) -> Result<BackAnswer, Unreachable> {
        let call = self.patience.enter(Instant::now()).map_err(|refused| {
            tracing::debug!(?refused, "the identity provider is not asked");
            Unreachable
        })?;
        let answer = self.fetch.fetch(request, self.caps()).await;
        let is_answer = match &answer {
            // Somebody in between who heard nothing of it, or it is overrun: asking it for one person after the other does not help.
            Ok(answer) => !matches!(answer.status, 502..=504),
            Err(cause) => {
                tracing::warn!(%cause, "the identity provider's back channel gave no answer");
                cause.is_of_the_answer()
            }
        };
        if !is_answer {
            if call.unanswered(Instant::now()) {
                let pause = self.pace.left_alone;
                tracing::warn!(?pause, "the identity provider does not answer, and is left alone for a while");
            }
        } else if call.answered() {
            tracing::info!("the identity provider answers again");
        }
        let answer = answer.map_err(|_| Unreachable)?;
        Ok(BackAnswer { status: answer.status, content_type: answer.content_type, body: answer.body })
    }
}

impl<R: Resolver> Source for Shared<R> {
    fn cache(&self) -> &Cache {
        &self.keys
    }

    async fn read_keys(&self) -> Result<Arc<KeySet>, Trouble> {
        let provider = self.provider().ok_or(Trouble::NotDiscovered)?;
        let uri = provider.jwks_uri.clone().ok_or(Trouble::NoUsableKey)?;
        Ok(self.keys.keep(key_set(&self.fetch, uri, self.pace).await?))
    }
}

/// Reads a key set.
async fn key_set<R: Resolver>(fetch: &Fetch<R>, url: String, pace: Pace) -> Result<KeySet, Trouble> {
    let body = get(fetch, url, "application/jwk-set+json, application/json", pace).await?;
    let found = KeySet::read(&body).map_err(Trouble::Keys)?;
    if found.keys().is_empty() { Err(Trouble::NoUsableKey) } else { Ok(found) }
}

async fn get<R: Resolver>(fetch: &Fetch<R>, url: String, accept: &'static str, pace: Pace) -> Result<Vec<u8>, Trouble> {
    let caps = Caps { deadline: pace.deadline, answer_max: limits::PROVIDER_ANSWER_MAX };
    let answer = fetch.fetch(Request::get(url, accept), caps).await.map_err(Trouble::Call)?;
    if answer.status == 200 { Ok(answer.body) } else { Err(Trouble::Status(answer.status)) }
}

impl<R: Resolver> Shared<R> {
    fn provider(&self) -> Option<Arc<Provider>> {
        self.provider.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    const fn caps(&self) -> Caps {
        Caps { deadline: self.pace.deadline, answer_max: limits::PROVIDER_ANSWER_MAX }
    }

    /// One reading of everything.
    async fn look(&self) -> Result<(), Trouble> {
        if let Some(api) = self.provider().and_then(|provider| provider.api.clone()) {
            let caps = self.caps();
            let answer =
                self.fetch.fetch(Request::get(api.url, BackChannel::ACCEPT), caps).await.map_err(Trouble::Call)?;
            // What it says to nobody in particular is of no interest; that it says something is.
            return if answer.status < 500 { Ok(()) } else { Err(Trouble::Status(answer.status)) };
        }
        self.discover().await?;
        // Whoever wants keys meanwhile waits for these.
        let _turn = self.keys.turn().await;
        self.read_keys().await.map(|_| ())
    }

    async fn discover(&self) -> Result<(), Trouble> {
        let body = get(&self.fetch, discovery::document_url(&self.issuer), "application/json", self.pace).await?;
        // Whoever configures an issuer in plain http has it so, on a host that the configuration names; https is never
        // taken down to http by a document.
        let plain_http = Uri::parse(self.issuer.home()).is_ok_and(|uri| uri.has_scheme("http"));
        let found = discovery::judge(&body, &self.issuer, plain_http).map_err(Trouble::Document)?;
        match self.provider() {
            Some(known) if *known == found => return Ok(()),
            Some(_) => tracing::warn!(issuer = self.issuer.home(), "the identity provider's document has changed"),
            None => tracing::info!(issuer = self.issuer.home(), "the identity provider is known"),
        }
        *self.provider.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(found));
        Ok(())
    }
}

impl<R> Clone for Oidc<R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<R> fmt::Debug for Oidc<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Oidc").field("issuer", &self.shared.issuer.home()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_host_of_an_issuer_is_its_authority() {
        for (issuer, host) in [
            ("https://id.example/dex", Some("id.example")),
            ("http://127.0.0.1:5556", Some("127.0.0.1:5556")),
            ("https://[::1]:8443/", Some("[::1]:8443")),
            ("not a URI", None),
        ] {
            assert_eq!(named_host(issuer).as_deref(), host);
        }
    }
}
