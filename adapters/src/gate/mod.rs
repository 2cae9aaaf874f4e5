//! The gate itself: what listens answers with here. Routes, endpoints, admission; HTTP on one side, the use cases on the other.
//!
//! `route` says what a path is, `read` turns a request into what the use cases take, `answer` turns what they give into a
//! response. In between nobody sees a header.

mod admin;
mod admission;
mod answer;
mod bearers;
mod cors;
mod credential;
mod embedded;
mod endpoints;
mod forward_auth;
mod id_token;
mod mcp_session;
mod metrics;
mod minted;
mod operator;
mod protected;
mod read;
mod request_id;
mod route;
mod standing;
mod telling;

pub use admin::Admin;
pub use cors::AllowedOrigins;
pub use credential::{Asserted, AssertionKey, Exchange, Form, Subject, operator_key};
pub use embedded::Embedded;
pub use operator::Operator;
pub use protected::{Allowance, BadUpstreams, Behind, Introduction, Protection};
pub use route::{Route, Routes};

use crate::exposition::Exposition;
use crate::http::headers::X_REQUEST_ID;
use crate::http::pages;
use crate::http::peer::{self, TrustedProxies, client};
use crate::http::{AnswerBody, Handler, Peer, RequestBody};
use admission::Known;
use answer::{Answer, Reply};
use bearers::Bearers;
use credential::Credentials;
use hyper::{Request, Response};
use metrics::{Cells, Metrics};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::jose::sign::Signer;
use portcullis_domain::limits::TARGET_MAX;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::metadata::Metadata;
use portcullis_domain::wire::html::NotALink;
use portcullis_ports::World;
use portcullis_ports::gateway::Gateway;
use protected::{Caller, Upstreams};
use read::Received;
use request_id::RequestIds;
use standing::Standing;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use telling::Telling;

/// Everything that all cores share.
pub struct Gate<W: World> {
    gateway: Gateway<W>,
    routes: Routes,
    metadata: Metadata,
    site: answer::Site,
    pages: pages::Gate,
    proxies: TrustedProxies,
    protection: Protection,
    bearers: Bearers<Known>,
    credentials: Credentials,
    metrics: Metrics,
    streams: Streams,
}

/// How long what is open may go on when something has ended or is away.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// The answer to a call after its token's own end, if its session has not ended.
    pub overrun: Duration,
    /// Anything while the store does not say whether its session stands.
    pub stale_for: Duration,
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
        streams: Streams,
    ) -> Result<Arc<Self>, NotALink> {
        let policy = gateway.policy();
        Ok(Arc::new(Self {
            pages: pages::Gate::new(&policy.base_url, provider)?,
            routes: Routes::of(&policy.base_url),
            metadata: Metadata::of(policy),
            site: answer::Site::of(&policy.base_url),
            proxies,
            protection,
            bearers: Bearers::new(),
            credentials: Credentials::default(),
            metrics: Metrics::default(),
            streams,
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
            cells: self.metrics.on_core(),
            ids: Arc::new(RequestIds::new()),
        }
    }

    /// The public keys of everything that signs here, or will: RFC 7517 section 5.
    fn jwks(&self) -> Vec<u8> {
        let ring = self.gateway.policy().ring.now();
        let own = ring.signers().map(Signer::public);
        KeySet::of(own.chain(self.protection.published()).cloned().collect()).to_json().into_bytes()
    }

    /// Writes what is counted here.
    pub fn write_metrics(&self, page: &mut Exposition) {
        self.metrics.write(page);
        self.protection.write_metrics(page);
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
    cells: Arc<Cells>,
    ids: Arc<RequestIds>,
}

impl<W: World> Clone for Core<W> {
    fn clone(&self) -> Self {
        let Self { gate, upstreams, standing, cells, ids } = self;
        Self {
            gate: Arc::clone(gate),
            upstreams: Arc::clone(upstreams),
            standing: Arc::clone(standing),
            cells: Arc::clone(cells),
            ids: Arc::clone(ids),
        }
    }
}

impl<W: World> Handler for Core<W> {
    fn handle(
        &self,
        request: Box<Request<RequestBody>>,
        peer: Peer,
    ) -> impl Future<Output = Response<AnswerBody>> + Send {
        let begin = Instant::now();
        let gate = &*self.gate;
        let (route, resource) = gate.routes.find(request.uri().path(), &gate.metadata, gate.gateway.policy());
        let method = request.method().clone();
        let seen = client(peer.address(), request.headers(), &gate.proxies);
        let given = if seen.is_proxied { request_id::given(request.headers()) } else { None };
        let id = given.unwrap_or_else(|| self.ids.make());
        let address = seen.address;
        let mut telling = Telling::begin(begin, &request, &id, route, address);
        let judged = self.judge(&request, route, &seen);
        async move {
            let reply = if let Err(fault) = judged {
                Reply::Own(Answer::fault(fault))
            } else if let (Route::ForwardAuth, Some(resource)) = (route, resource) {
                Reply::Own(Box::pin(forward_auth::answer(gate, resource, &request, &peer)).await)
            } else if let Some(resource) = resource {
                let caller = Caller { peer: &peer, address, request_id: &id, came: begin };
                protected::answer(self, resource, request, caller, telling.as_deref_mut()).await
            } else {
                // On the heap: they are large, and rare beside what is protected.
                Reply::Own(Box::pin(endpoints::answer(gate, route, request, address)).await)
            };
            let (mut response, refusal) = match reply {
                Reply::Passed(response) => (response, None),
                Reply::Own(answer) => {
                    let refusal = answer.refusal();
                    (answer.into_response(&gate.site), refusal)
                }
            };
            response.headers_mut().insert(X_REQUEST_ID, id);
            let answered = Instant::now();
            response.body_mut().answered(answered);
            self.cells.answered(route, &method, response.status(), answered.saturating_duration_since(begin));
            if let Some(fault) = refusal {
                self.cells.refused(route, fault);
            }
            if let Some(telling) = telling {
                telling.answered(&mut response, refusal);
            }
            response
        }
    }
}

impl<W: World> Core<W> {
    /// Everything but the health check is served under the configured host only: a page on another name that points here must
    /// not be able to speak to a gateway on a loopback address (DNS rebinding). What a trusted proxy took in by plain http, others on
    /// the way have read.
    fn judge(&self, request: &Request<RequestBody>, route: Route, seen: &peer::Client<'_>) -> Result<(), Fault> {
        if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > TARGET_MAX) {
            return Err(Fault::TooLong("request target"));
        }
        if route == Route::Health {
            return Ok(());
        }
        let site = &self.gate.site;
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
