//! What clients publish about themselves, fetched where strangers say that it is: only by the guarded outbound client, one call at a
//! time for one address, rarely for one host, and remembered for as long as its host says, within bounds.
//!
//! OAuth Client ID Metadata Document sections 4 and 6, RFC 9111. Whatever goes wrong is told apart in the log alone.

mod cache;
mod freshness;

use crate::fetch::{Answer, Caps, Fetch, Refusal, Request, Resolver, SystemResolver};
use crate::system::Buckets;
use cache::{Cache, Flight, Found};
use portcullis_domain::bucket::Rate;
use portcullis_domain::hash;
use portcullis_domain::jose::jwk::{self, KeySet};
use portcullis_domain::limits;
use portcullis_domain::oauth::client_document::{Document, DocumentUrl};
use portcullis_domain::oauth::client_keys::KeysUrl;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::redirect::RedirectPolicy;
use portcullis_domain::wire::header;
use portcullis_ports::Documents;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Clients' documents. Its memory is bounded, whoever asks for what.
pub struct ClientDocuments<R = SystemResolver> {
    strangers: Fetch<R>,
    operator: Fetch<R>,
    redirects: RedirectPolicy,
    documents: Cache<Document>,
    keys: Cache<KeySet>,
    hosts: Buckets<[u8; 16]>,
    started: Instant,
}

/// Why there is no document: for the log.
#[derive(Debug)]
enum Trouble {
    Call(Refusal),
    Status(u16),
    ContentType,
    Document(Fault),
    Keys(jwk::Malformed),
    NoUsableKey,
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(refusal) => refusal.fmt(out),
            Self::Status(status) => write!(out, "it is answered with status {status}"),
            Self::ContentType => out.write_str("it is not application/json"),
            Self::Document(fault) => out.write_str(&fault.wire().text()),
            Self::Keys(malformed) => write!(out, "its key set {malformed}"),
            Self::NoUsableKey => out.write_str("it holds no key that signatures can be checked with"),
        }
    }
}

impl<R: Resolver> ClientDocuments<R> {
    /// Nothing is known yet. `strangers` is one that may reach what strangers name, and nothing else; `operator` may reach what the
    /// configuration names. `per_host` is how often one host is called for what was never had from there.
    #[must_use]
    pub fn new(strangers: Fetch<R>, operator: Fetch<R>, redirects: RedirectPolicy, per_host: Rate) -> Self {
        Self {
            strangers,
            operator,
            redirects,
            documents: Cache::default(),
            keys: Cache::default(),
            hosts: Buckets::new(per_host, limits::DOCUMENT_HOSTS_MAX),
            started: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Counts a call to a host for what was never had from there. What is known is asked for again without counting: nobody keeps
    /// it from its clients by asking its host for something else.
    fn count(&self, host: &str) -> Result<(), Fault> {
        let host = hash::first(&hash::sha256(host.as_bytes()));
        self.hosts.count(host, self.now()).map_err(Fault::rate_limited)
    }

    async fn read(&self, url: &DocumentUrl) -> Result<(Document, Duration), Trouble> {
        let answer = get(&self.strangers, url.as_str(), "application/json", limits::CLIENT_DOCUMENT_MAX).await?;
        if !answer.content_type.as_deref().is_some_and(header::is_json) {
            return Err(Trouble::ContentType);
        }
        let document = Document::judge(url, &answer.body, &self.redirects).map_err(Trouble::Document)?;
        Ok((document, freshness::of(&answer)))
    }

    /// Keys are published as what they are more often than not; whoever reads them as keys finds out.
    async fn read_keys(&self, url: &KeysUrl) -> Result<(KeySet, Duration), Trouble> {
        let fetch = if url.is_named_by_operator() { &self.operator } else { &self.strangers };
        let accept = "application/jwk-set+json, application/json";
        let answer = get(fetch, url.as_str(), accept, limits::PROVIDER_ANSWER_MAX).await?;
        let set = KeySet::read(&answer.body).map_err(Trouble::Keys)?;
        if set.keys().is_empty() { Err(Trouble::NoUsableKey) } else { Ok((set, freshness::of(&answer))) }
    }

    async fn land_keys(&self, url: &KeysUrl, flight: Flight<'_, KeySet>) -> Result<Arc<KeySet>, Fault> {
        let landed = flight.land(async {
            match self.read_keys(url).await {
                Ok((set, fresh)) => Ok(self.keys.keep(url.as_str(), url.host(), set, fresh, self.now())),
                Err(cause) => {
                    tracing::info!(host = url.host(), %cause, "a client's keys cannot be used");
                    self.keys.fail(url.as_str(), self.now());
                    Err(Fault::ClientKeys)
                }
            }
        });
        landed.await
    }
}

async fn get<R: Resolver>(
    fetch: &Fetch<R>,
    url: &str,
    accept: &'static str,
    answer_max: usize,
) -> Result<Answer, Trouble> {
    let caps = Caps { deadline: limits::DOCUMENT_DEADLINE, answer_max };
    let answer = fetch.fetch(Request::get(url.to_owned(), accept), caps).await.map_err(Trouble::Call)?;
    if answer.status == 200 { Ok(answer) } else { Err(Trouble::Status(answer.status)) }
}

impl<R: Resolver> Documents for ClientDocuments<R> {
    async fn document(&self, url: &DocumentUrl) -> Result<Arc<Document>, Fault> {
        let flight = match self.documents.find(url.as_str(), self.now(), || self.count(url.host()))? {
            Found::Fresh(document) => return Ok(document),
            Found::Failed => return Err(Fault::ClientDocument),
            Found::Flight(flight) => flight,
        };
        let landed = flight.land(async {
            match self.read(url).await {
                Ok((document, fresh)) => Ok(self.documents.keep(url.as_str(), url.host(), document, fresh, self.now())),
                Err(cause) => {
                    tracing::info!(host = url.host(), %cause, "a client's document cannot be used");
                    self.documents.fail(url.as_str(), self.now());
                    Err(Fault::ClientDocument)
                }
            }
        });
        landed.await
    }

    async fn keys(&self, url: &KeysUrl) -> Result<Arc<KeySet>, Fault> {
        let allow = || if url.is_named_by_operator() { Ok(()) } else { self.count(url.host()) };
        let landed = match self.keys.find(url.as_str(), self.now(), allow)? {
            Found::Fresh(keys) => return Ok(keys),
            Found::Failed => Err(Fault::ClientKeys),
            Found::Flight(flight) => self.land_keys(url, flight).await,
        };
        landed.or_else(|fault| self.keys.last(url.as_str(), self.now()).ok_or(fault))
    }

    async fn newer_keys(&self, url: &KeysUrl, known: &Arc<KeySet>) -> Result<Arc<KeySet>, Fault> {
        match self.keys.find_newer(url.as_str(), self.now(), known) {
            Found::Fresh(keys) => Ok(keys),
            Found::Failed => Ok(Arc::clone(known)),
            Found::Flight(flight) => self.land_keys(url, flight).await,
        }
    }

    fn last(&self, url: &DocumentUrl) -> Option<Arc<Document>> {
        self.documents.last(url.as_str(), self.now())
    }
}

impl<R> fmt::Debug for ClientDocuments<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ClientDocuments(..)")
    }
}
