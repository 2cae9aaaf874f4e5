//! A protected resource: admission, then the way to the upstream and back.

use super::Core;
use super::admission::{Admission, admit, turn_away};
use super::answer::{Answer, Reply};
use super::cors::{self, AllowedOrigins};
use super::credential::Form;
use super::embedded::{self, Embedded};
use super::mcp_session::{MCP_SESSION_ID, Session};
use super::telling::Telling;
use crate::exposition::Exposition;
use crate::http::{AnswerBody, BadUpstream, Gauges, Onward, Peer, Pool, RequestBody, Upstream, forward};
use crate::system::PersonLimiter;
use crate::watch::{News, Watch};
use hyper::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response};
use portcullis_domain::jose::jwk::Key;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::resource::{Resource, ResourceHash};
use portcullis_ports::World;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What stands behind each resource, and whose pages may use it.
#[derive(Debug, Default)]
pub struct Protection {
    resources: Vec<Protected>,
    published: Vec<Key>,
    watch: Option<Arc<Watch>>,
}

#[derive(Debug)]
pub(super) struct Protected {
    resource: ResourceHash,
    /// Its first path: what it is called in metrics.
    name: String,
    pub(super) behind: Behind,
    pub(super) origins: AllowedOrigins,
    pub(super) allowance: Allowance,
    pub(super) form: Form,
    pub(super) forward_auth: bool,
}

/// What stands behind a resource.
#[derive(Debug)]
pub enum Behind {
    /// A server.
    Server(Arc<Upstream>),
    /// A service in this process.
    Here(Embedded),
}

/// How a resource is told of, and to whom.
#[derive(Debug, Default)]
pub struct Introduction {
    /// In which form its server is told who the person is.
    pub form: Form,
    /// Whether a proxy in front may ask instead of passing requests through.
    pub forward_auth: bool,
}

/// What may be asked of a resource.
#[derive(Debug)]
pub struct Allowance {
    /// How often, by one person.
    pub people: PersonLimiter,
    /// The longest request body.
    pub body_max: u64,
}

/// The upstream of this resource cannot be one.
#[derive(Debug)]
pub struct BadUpstreams(pub ResourceHash, pub BadUpstream);

impl Protection {
    /// This resource too.
    #[must_use]
    pub fn with(
        mut self,
        resource: &Resource,
        behind: Behind,
        origins: AllowedOrigins,
        allowance: Allowance,
        introduction: Introduction,
    ) -> Self {
        let Introduction { form, forward_auth } = introduction;
        let name = resource.paths().first().cloned().unwrap_or_default();
        let resource = resource.hash();
        self.resources.push(Protected { resource, name, behind, origins, allowance, form, forward_auth });
        self
    }

    /// Whoever wants to know of everybody who is let in.
    #[must_use]
    pub fn watched_by(mut self, watch: Option<Arc<Watch>>) -> Self {
        self.watch = watch;
        self
    }

    pub(super) const fn watch(&self) -> Option<&Arc<Watch>> {
        self.watch.as_ref()
    }

    /// Writes how it stands with each resource.
    pub fn write_metrics(&self, page: &mut Exposition) {
        type Gauge = (&'static str, &'static str, fn(Gauges) -> usize);
        let gauges: [Gauge; 3] = [
            ("upstream_connections_open", "Connections to the upstream, with those at rest.", |of| of.open),
            ("upstream_requests_waiting", "Requests that wait for a connection to it.", |of| of.waiting),
            ("upstream_addresses_aside", "Addresses of it that are left aside because they failed.", |of| of.aside),
        ];
        for (name, help, value) in gauges {
            let mut gauge = page.gauge(name, help);
            for protected in &self.resources {
                if let Behind::Server(upstream) = &protected.behind {
                    gauge.of(&[("resource", &protected.name)], value(upstream.gauges()));
                }
            }
        }
        let mut people = page.gauge("limiter_people", "People whose requests are being counted.");
        for protected in &self.resources {
            people.of(&[("resource", &protected.name)], protected.allowance.people.people());
        }
    }

    /// With these keys beside those of the master keys in the key set: what signs assertions, or will.
    #[must_use]
    pub fn publishing(self, keys: impl IntoIterator<Item = Key>) -> Self {
        Self { published: keys.into_iter().collect(), ..self }
    }

    pub(crate) fn published(&self) -> impl Iterator<Item = &Key> {
        self.published.iter()
    }

    pub(super) fn of(&self, resource: &Resource) -> Option<&Protected> {
        self.resources.iter().find(|protected| protected.resource == resource.hash())
    }
}

/// One core's connections to all upstreams.
pub(crate) struct Upstreams {
    pools: Vec<(ResourceHash, Pool)>,
}

impl Upstreams {
    pub(crate) fn connect(protection: &Protection) -> Self {
        let pool = |protected: &Protected| match &protected.behind {
            Behind::Server(upstream) => Some((protected.resource, Pool::new(Arc::clone(upstream)))),
            Behind::Here(_) => None,
        };
        Self { pools: protection.resources.iter().filter_map(pool).collect() }
    }

    fn of(&self, resource: &Resource) -> Option<&Pool> {
        self.pools.iter().find(|(own, _)| *own == resource.hash()).map(|(_, pool)| pool)
    }
}

/// Methods that a preflight is told of: all that MCP uses. Whether the upstream answers one is the upstream's to say.
const METHODS: [Method; 3] = [Method::GET, Method::POST, Method::DELETE];

/// Who asks, as far as the connection says it, and what the request is called.
pub(crate) struct Caller<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) address: IpAddr,
    pub(crate) request_id: &'a HeaderValue,
    /// When the request came.
    pub(crate) came: Instant,
}

/// Answers a request to a protected resource.
#[expect(clippy::manual_async_fn, reason = "an async function keeps its arguments twice, and a request is large")]
pub(crate) fn answer<W: World>(
    core: &Core<W>,
    resource: &Resource,
    mut request: Box<Request<RequestBody>>,
    caller: Caller<'_>,
    telling: Option<&mut Telling>,
) -> impl Future<Output = Reply> + Send {
    async move {
        let gate = &*core.gate;
        let Some(protected) = gate.protection.of(resource) else {
            return Reply::Own(Answer::fault(Fault::Internal("a resource is not protected")));
        };
        let named = Named::of(request.headers());
        // Whoever says nothing of where it comes from is no browser.
        let checked = if named.origin { protected.origins.check(request.headers()) } else { Ok(false) };
        let for_a_page = match checked {
            Ok(for_a_page) => for_a_page,
            Err(fault) => return Reply::Own(Answer::fault(fault)),
        };
        if cors::is_preflight(&request) {
            return Reply::Own(Answer::preflight(request.headers(), &METHODS));
        }
        // It asks a server to send back what it was told, and with that the credential that is meant for the server alone.
        if request.method() == Method::TRACE {
            return Reply::Own(Answer::method(&METHODS));
        }
        let admitted = match admit(gate, resource, protected, request.headers(), caller.address).await {
            Ok(admitted) => admitted,
            Err(fault) => {
                let path = request.uri().path();
                return Reply::Own(turn_away(gate, fault, resource, path, caller.address).open());
            }
        };
        let Admission { bearer, person, who, visitor } = admitted;
        if let Some(telling) = telling {
            telling.admitted(&bearer);
        }
        if let Err(wait) = protected.allowance.people.count(person, caller.came) {
            return Reply::Own(Answer::fault(Fault::rate_limited(wait)).open());
        }
        caller.peer.recognise();
        let overrun = if is_subscription(&request, named) { Duration::ZERO } else { gate.streams.overrun };
        core.standing.begin(bearer, overrun, caller.peer.sever());
        if let Some((watch, visitor)) = gate.protection.watch().zip(visitor.as_ref()) {
            watch.tell(News::Authenticated(Arc::clone(visitor)));
        }
        let onward = Onward {
            client: caller.address,
            proto: &gate.site.proto,
            public_host: &gate.site.public_host,
            who: &who,
            request_id: caller.request_id,
            body_max: protected.allowance.body_max,
            came: caller.came,
        };
        let session = Session { gateway: &gate.gateway, person, resource: resource.hash() };
        let refused = |fault| Reply::Own(Answer::fault(fault).open());
        let pool = match (&protected.behind, core.upstreams.of(resource)) {
            (Behind::Server(_), Some(pool)) => pool,
            (Behind::Server(_), None) => return refused(Fault::Internal("a resource has no upstream")),
            (Behind::Here(here), _) => {
                let passing = embedded::pass(here, request, onward, caller.peer, &session, visitor);
                return match Box::pin(passing).await {
                    Ok(response) => readable(response, for_a_page),
                    Err(fault) => refused(fault),
                };
            }
        };
        let released = if named.mcp_session { session.release(request.headers_mut()) } else { Ok(()) };
        let passing = match released.and_then(|()| forward(pool, request, onward, caller.peer)) {
            Ok(passing) => passing,
            Err(fault) => return refused(fault),
        };
        match passing.await {
            Ok(mut response) => match session.bind(response.headers_mut()) {
                Ok(()) => readable(response, for_a_page),
                Err(fault) => refused(fault),
            },
            Err(fault) => refused(fault),
        }
    }
}

fn readable(mut response: Response<AnswerBody>, for_a_page: bool) -> Reply {
    if for_a_page {
        cors::open(response.headers_mut());
    }
    Reply::Passed(response)
}

/// Whether the answer is a stream that ends with its access token: one that a client opens in order to be told, and opens again
/// with a fresh token. The answer to a call in progress has something to lose.
///
/// This is all that a header of MCP's decides here. One that says something else than its body gains nothing: the answer may then
/// run on for as long as that of any call, and ends with its session all the same; and the server must refuse the contradiction.
fn is_subscription(request: &Request<RequestBody>, named: Named) -> bool {
    let listens = |method: &HeaderValue| method == "subscriptions/listen";
    request.method() != Method::POST || (named.mcp_method && request.headers().get(MCP_METHOD).is_some_and(listens))
}

const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// Which fields there are of those that few requests have: one look at each field is less than a search for each name.
#[derive(Clone, Copy, Default)]
struct Named {
    origin: bool,
    mcp_method: bool,
    mcp_session: bool,
}

impl Named {
    fn of(headers: &HeaderMap) -> Self {
        let mut named = Self::default();
        for name in headers.keys() {
            named.origin |= *name == ORIGIN;
            named.mcp_method |= *name == MCP_METHOD;
            named.mcp_session |= *name == MCP_SESSION_ID;
        }
        named
    }
}
