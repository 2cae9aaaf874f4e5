//! A protected resource: admission, then the way to the upstream and back.

use super::answer::{Answer, Reply};
use super::cors::{self, AllowedOrigins};
use super::credential::{Form, Told};
use super::embedded::{self, Embedded};
use super::id_token::IdTokenAt;
use super::mcp_session::{MCP_SESSION_ID, Session};
use super::minted::Credential;
use super::read::{self, Authorization};
use super::telling::Telling;
use super::{Core, Gate};
use crate::exposition::Exposition;
use crate::http::{
    AnswerBody, BadUpstream, Gauges, Identity, Introduced, Onward, Peer, Pool, RequestBody, Upstream, forward,
};
use crate::system::PersonLimiter;
use crate::watch::{News, Watch};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response};
use portcullis_domain::fresh::Stamp;
use portcullis_domain::jose::jwk::Key;
use portcullis_domain::key::Person;
use portcullis_domain::oauth::admit::Admitted;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::identity::Profile;
use portcullis_domain::oauth::resource::{Resource, ResourceHash};
use portcullis_domain::oauth::visitor::Visitor;
use portcullis_domain::seal::RingNumber;
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::header::Challenge;
use portcullis_domain::wire::text::base64url;
use portcullis_ports::gateway::Bearer;
use portcullis_ports::{Clock, Counted, World};
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
    behind: Behind,
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

    const fn watch(&self) -> Option<&Arc<Watch>> {
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

/// Somebody who is let in, and what what stands behind is told of them.
pub(super) struct Admission {
    bearer: Bearer,
    pub(super) person: Person,
    pub(super) who: Arc<Introduced>,
    /// For a service in this process, or whoever watches.
    visitor: Option<Arc<Visitor>>,
}

/// Whether the bearer may, and what the upstream is told of the person. What was worked out for an earlier request with the same
/// bearer is not worked out again; whether the session stands is asked every time.
pub(super) async fn admit<W: World>(
    gate: &Gate<W>,
    resource: &Resource,
    protected: &Protected,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Admission, Fault> {
    let presented = read::single(headers, &AUTHORIZATION)?.ok_or(Fault::TokenMissing)?;
    // Asked before anything is opened: what was worked out under other keys is worked out again.
    let ring = gate.gateway.policy().ring.number();
    let known = gate.bearers.recall(presented).filter(|known| known.ring == ring && known.is_for(resource));
    let bearer = match &known {
        Some(known) => known.bearer.clone(),
        None => match read::authorization(headers)? {
            Authorization::Bearer(token) => match gate.gateway.own(token) {
                Some(own) => own?,
                // On the heap: it is rare, and waits for keys.
                None => Box::pin(gate.gateway.stranger(token, resource, Some(address))).await?,
            },
            Authorization::None | Authorization::Basic(_) | Authorization::Other => return Err(Fault::TokenMissing),
        },
    };
    let (admitted, person) = match &bearer {
        Bearer::Own(token) => {
            let admitted = gate.gateway.admit(Arc::clone(token), resource, true).await?;
            (Some(admitted), token.id.person)
        }
        Bearer::Stranger(stranger) => {
            gate.gateway.admit_stranger(stranger, resource).await?;
            (None, stranger.person)
        }
    };
    // What a stranger's token says never changes.
    let version = match &admitted {
        Some(admitted) => admitted.identity.as_ref().map(|stored| stored.stamp).ok_or(UNTOLD)?,
        None => Stamp([0; 16]),
    };
    let is_fresh = |known: &Known| {
        known.of == version && known.renew.is_none_or(|renew| gate.gateway.world().clock().now() < renew)
    };
    if let Some(known) = known.filter(is_fresh) {
        return Ok(Admission { bearer, person, who: known.who, visitor: known.visitor });
    }
    let form = &protected.form;
    let is_wanted = matches!(protected.behind, Behind::Here(_)) || gate.protection.watch().is_some();
    let (authorization, visitor, renew) = if is_wanted || form.has_credential() {
        // On the heap: it is rare, and whoever is known carries no room for it.
        let told = Box::pin(introduce(gate, resource, form, headers, &bearer, admitted.as_ref()));
        let (authorization, visitor, renew) = told.await?;
        (authorization, is_wanted.then(|| Arc::new(visitor)), renew)
    } else {
        (None, None, None)
    };
    let who = match (&bearer, &admitted) {
        (Bearer::Stranger(stranger), _) => {
            introduced(&stranger.claims.profile(), &stranger.session, form, authorization)
        }
        (Bearer::Own(_), Some(admitted)) => {
            introduced(&admitted.profile().ok_or(UNTOLD)?, &base64url(&admitted.session_id()), form, authorization)
        }
        (Bearer::Own(_), None) => None,
    };
    let (of, who) = (version, Arc::new(who.ok_or(UNTOLD)?));
    let known = Known { ring, bearer: bearer.clone(), of, who: Arc::clone(&who), visitor: visitor.clone(), renew };
    gate.bearers.remember(presented, known);
    Ok(Admission { bearer, person, who, visitor })
}

/// The credential that the upstream is shown, if it is shown one; somebody who is not known yet, or no longer, as a service in this
/// process gets to know them; and until when the credential may be used.
async fn introduce<W: World>(
    gate: &Gate<W>,
    resource: &Resource,
    form: &Form,
    headers: &HeaderMap,
    bearer: &Bearer,
    admitted: Option<&Admitted>,
) -> Result<(Option<HeaderValue>, Visitor, Option<Timestamp>), Fault> {
    let mut visitor = match bearer {
        Bearer::Stranger(stranger) => Visitor::from(&**stranger),
        Bearer::Own(_) => admitted.and_then(Visitor::of).ok_or(UNTOLD)?,
    };
    let id_token = match (bearer, admitted) {
        (_, Some(admitted)) => IdTokenAt::Login(&admitted.identity.as_ref().ok_or(UNTOLD)?.record),
        (Bearer::Stranger(stranger), None) if stranger.is_id_token => match read::authorization(headers)? {
            Authorization::Bearer(token) => IdTokenAt::Bearer(token, stranger.expires),
            _ => IdTokenAt::Nowhere,
        },
        _ => IdTokenAt::Nowhere,
    };
    let said = visitor.claims.digest();
    let told = Told { visitor: &visitor, version: &said, id_token };
    let now = gate.gateway.world().clock().now();
    let credential = gate.credentials.of(form, &gate.gateway, resource.identifier(), told, now).await?;
    let renew = credential.as_ref().map(|credential| credential.renew);
    let shown = credential.as_ref().filter(|_| matches!(form, Form::IdToken));
    visitor.id_token = shown.map(Credential::token).transpose()?;
    Ok((credential.map(|credential| credential.authorization), visitor, renew))
}

/// What is worked out once of a bearer.
#[derive(Clone)]
pub(crate) struct Known {
    /// The master keys under which it was worked out.
    ring: RingNumber,
    bearer: Bearer,
    /// The version of the identity record that the identity was made of.
    of: Stamp,
    who: Arc<Introduced>,
    visitor: Option<Arc<Visitor>>,
    /// From when on the identity is to be made anew, if it holds a credential.
    renew: Option<Timestamp>,
}

impl Known {
    /// Whether it was worked out at this resource. A token of ours is for one alone; one that is not was judged at one.
    fn is_for(&self, resource: &Resource) -> bool {
        match &self.bearer {
            Bearer::Own(_) => true,
            Bearer::Stranger(stranger) => stranger.resource == resource.hash(),
        }
    }
}

/// What stands behind must not take a person for nobody.
const UNTOLD: Fault = Fault::Internal("an identity is no header value");

/// Turns away who was not admitted. Whoever has no session is counted by address; a session never is, so that nobody loses one to
/// those who share an address with them.
pub(super) fn turn_away<W: World>(
    gate: &Gate<W>,
    fault: Fault,
    resource: &Resource,
    path: &str,
    address: IpAddr,
) -> Answer {
    let counted = if fault.wire().status == 401 { gate.gateway.count(Counted::Refused, address) } else { Ok(()) };
    match counted {
        Ok(()) => refuse(fault, resource, path),
        Err(beyond) => Answer::fault(beyond),
    }
}

/// A refusal with its challenge: RFC 9728 section 5.1.
fn refuse(fault: Fault, resource: &Resource, path: &str) -> Answer {
    let mut challenge = Challenge::new("Bearer").param("resource_metadata", &resource.metadata_url(path));
    if !resource.scope_set().is_empty() {
        challenge = challenge.param("scope", resource.scope_set().line());
    }
    Answer::fault_to_token(fault, challenge)
}

/// Who the upstream is told that it is. An address that the provider has not verified is nobody's, so it is not passed on.
fn introduced(
    profile: &Profile<'_>,
    session: &str,
    form: &Form,
    authorization: Option<HeaderValue>,
) -> Option<Introduced> {
    let authorization = authorization.as_ref();
    let subject = Identity { user: profile.subject, authorization, ..Identity::default() };
    Introduced::of(&match form {
        Form::SubjectOnly => subject,
        _ => Identity {
            email: profile.email.filter(|_| profile.email_verified),
            groups: &profile.groups,
            preferred_username: profile.preferred_username,
            session,
            ..subject
        },
    })
}
