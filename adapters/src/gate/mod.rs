//! The gate itself: what listens answers with here. Routes, endpoints, admission; HTTP on one side, the use cases on the other.
//!
//! `route` says what a path is, `read` turns a request into what the use cases take, `answer` turns what they give into a
//! response. In between nobody sees a header.

mod admin;
mod answer;
mod bearers;
mod cors;
mod credential;
mod embedded;
mod endpoints;
mod forward_auth;
mod mcp_session;
mod metrics;
mod minted;
mod protected;
mod read;
mod route;
mod standing;

pub use admin::Admin;
pub use cors::AllowedOrigins;
pub use credential::{Asserted, AssertionKey, Exchange, Form, operator_key};
pub use embedded::Embedded;
pub use metrics::Metrics;
pub use protected::{Allowance, BadUpstreams, Behind, Introduction, Protection};
pub use route::{Route, Routes};

use crate::http::pages;
use crate::http::peer::{TrustedProxies, client};
use crate::http::{AnswerBody, Handler, Peer, RequestBody};
use answer::Answer;
use bearers::Bearers;
use credential::Credentials;
use hyper::{Request, Response};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::limits::TARGET_MAX;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::metadata::Metadata;
use portcullis_domain::wire::html::NotALink;
use portcullis_ports::World;
use portcullis_ports::gateway::Gateway;
use protected::{Known, Upstreams};
use read::Received;
use standing::Standing;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Everything that all cores share.
pub struct Gate<W: World> {
    gateway: Gateway<W>,
    routes: Routes,
    metadata: Metadata,
    jwks: Arc<[u8]>,
    site: answer::Site,
    pages: pages::Gate,
    proxies: TrustedProxies,
    protection: Protection,
    bearers: Bearers<Known>,
    credentials: Credentials,
    metrics: Arc<Metrics>,
    stream_overrun: Duration,
}

impl<W: World> Gate<W> {
    /// The gate in front of these resources. `provider` is what pages call the identity provider.
    ///
    /// # Errors
    /// [`NotALink`] if the base URL is none that a page can lead to.
    pub fn new(
        gateway: Gateway<W>,
        provider: &str,
        proxies: TrustedProxies,
        protection: Protection,
        metrics: Arc<Metrics>,
        stream_overrun: Duration,
    ) -> Result<Arc<Self>, NotALink> {
        let policy = gateway.policy();
        let credentials = Credentials::new(policy);
        let keys = credentials.published().chain(protection.published().cloned()).collect();
        Ok(Arc::new(Self {
            pages: pages::Gate::new(&policy.base_url, provider)?,
            routes: Routes::of(&policy.base_url),
            metadata: Metadata::of(policy),
            jwks: KeySet::of(keys).to_json().into_bytes().into(),
            site: answer::Site::of(&policy.base_url),
            proxies,
            protection,
            bearers: Bearers::new(),
            credentials,
            metrics,
            stream_overrun,
            gateway,
        }))
    }

    /// What answers on one core: the shared gate, and this core's own upstream connections.
    #[must_use]
    pub fn on_core(self: &Arc<Self>) -> Core<W> {
        Core {
            gate: Arc::clone(self),
            upstreams: Arc::new(Upstreams::connect(&self.protection)),
            standing: Standing::watched(self),
        }
    }

    /// The use cases.
    pub const fn gateway(&self) -> &Gateway<W> {
        &self.gateway
    }
}

/// The gate on one core.
pub struct Core<W: World> {
    gate: Arc<Gate<W>>,
    upstreams: Arc<Upstreams>,
    standing: Arc<Standing>,
}

impl<W: World> Clone for Core<W> {
    fn clone(&self) -> Self {
        let Self { gate, upstreams, standing } = self;
        Self { gate: Arc::clone(gate), upstreams: Arc::clone(upstreams), standing: Arc::clone(standing) }
    }
}

impl<W: World> Handler for Core<W> {
    fn handle(&self, request: Request<RequestBody>, peer: Peer) -> impl Future<Output = Response<AnswerBody>> + Send {
        let gate = &*self.gate;
        let (route, resource) = gate.routes.find(request.uri().path(), &gate.metadata, gate.gateway.policy());
        let method = request.method().clone();
        let judged = self.judge(&request, route, &peer);
        async move {
            let response = if let Err(fault) = judged {
                Answer::fault(fault).into_response(&gate.site)
            } else if let (route::Route::ForwardAuth, Some(resource)) = (route, resource) {
                Box::pin(forward_auth::answer(gate, resource, &request, &peer)).await.into_response(&gate.site)
            } else if let Some(resource) = resource {
                protected::answer(self, resource, request, &peer).await
            } else {
                // On the heap: they are large, and rare beside what is protected.
                Box::pin(endpoints::answer(gate, route, request, &peer)).await.into_response(&gate.site)
            };
            gate.metrics.request(route, &method, response.status());
            response
        }
    }
}

impl<W: World> Core<W> {
    fn judge(&self, request: &Request<RequestBody>, route: route::Route, peer: &Peer) -> Result<(), Fault> {
        if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > TARGET_MAX) {
            return Err(Fault::TooLong("request target"));
        }
        self.host_is_ours(request, route, peer)
    }

    /// Everything but the health check is served under the configured host only: a page on another name that points here must
    /// not be able to speak to a gateway on a loopback address (DNS rebinding). What a trusted proxy took in by plain http, others on
    /// the way have read.
    fn host_is_ours(&self, request: &Request<RequestBody>, route: route::Route, peer: &Peer) -> Result<(), Fault> {
        if route == route::Route::Health {
            return Ok(());
        }
        let site = &self.gate.site;
        let seen = client(peer.address(), request.headers(), &self.gate.proxies);
        let said = Received::<'_>::host(request);
        if seen.is_https.is_some_and(|is_https| is_https != site.is_https()) {
            return Err(Fault::Scheme);
        }
        let host = seen.host.or(said).ok_or(Fault::Host)?;
        // A target in absolute form names the host a second time; the two must not differ (RFC 9112 section 3.2.2).
        let agrees = request.uri().authority().is_none_or(|authority| Some(authority.as_str()) == said);
        if agrees && site.is(host) { Ok(()) } else { Err(Fault::Host) }
    }
}
