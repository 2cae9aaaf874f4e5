//! The demonstration's identity provider: two people, one client, real ID tokens, everything in memory.
//!
//! OpenID Connect Core 1.0 (code flow, section 3.1; UserInfo, section 5.3; refresh, section 12), OpenID Connect Discovery 1.0
//! section 3, RFC 7636 (S256 only), RFC 9207. The login page carries the request along in its form, so that nothing is
//! remembered of somebody who has not logged in.

mod issued;
mod page;
mod people;

use super::answer::{self, Answer, is_meant, json, one, only, see_other};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};
use issued::Shelf;
use people::Person;
use portcullis_adapters::http::{Handler, Peer, RequestBody};
use portcullis_adapters::system::{SystemClock, SystemEntropy};
use portcullis_domain::jose::algorithm::Algorithm;
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::jose::sign::Signer;
use portcullis_domain::limits;
use portcullis_domain::oauth::pkce::{Challenge, Verifier};
use portcullis_domain::secret::{Secret, SecretText};
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::form::{Form, with_query};
use portcullis_domain::wire::json::ObjectWriter;
use portcullis_domain::wire::{basic, header, text};
use portcullis_ports::{Clock, Entropy};
use std::net::SocketAddr;
use std::sync::Arc;

/// What it can be asked for.
pub(super) const SCOPES: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];

/// The issuer of a provider that listens there.
pub(super) fn issuer(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// The provider. Clones are the same one.
#[derive(Clone)]
pub(super) struct Identity(Arc<Provider>);

struct Provider {
    address: SocketAddr,
    issuer: String,
    client_secret: SecretText,
    redirect_uri: String,
    signer: Signer,
    clock: SystemClock,
    entropy: SystemEntropy,
    codes: Shelf<Login>,
    access_tokens: Shelf<Session>,
    refresh_tokens: Shelf<Session>,
}

/// Somebody's login, as every token that comes of it tells it.
#[derive(Clone)]
struct Session {
    person: &'static Person,
    scope: String,
    authenticated_at: Timestamp,
    id: String,
}

/// A login whose code has not been redeemed.
#[derive(Clone)]
struct Login {
    session: Session,
    nonce: Option<String>,
    challenge: Challenge,
}

/// An authorization request that may be answered.
struct Wanted<'a> {
    scope: &'a str,
    state: Option<&'a str>,
    nonce: Option<&'a str>,
    challenge: Challenge,
}

/// Why a request is refused, and who is told.
enum Refusal {
    /// The person: nobody else can be trusted to be meant.
    Here(&'static str),
    /// The client, with this error code.
    There(&'static str),
}

/// Why a token request is refused (RFC 6749 section 5.2).
struct Denied {
    status: StatusCode,
    error: &'static str,
}

/// The parameters that the login page carries along.
const CARRIED: [&str; 8] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

impl Identity {
    /// A provider that will listen there, with a signing key of this seed and the gate as its one client.
    pub(super) fn new(address: SocketAddr, seed: &Secret<32>, client_secret: SecretText, redirect_uri: String) -> Self {
        Self(Arc::new(Provider {
            address,
            issuer: issuer(address),
            client_secret,
            redirect_uri,
            signer: Signer::from_seed(seed),
            clock: SystemClock::start(),
            entropy: SystemEntropy::new(),
            codes: Shelf::new(limits::CODE_LIFE),
            access_tokens: Shelf::new(limits::ACCESS_LIFE),
            refresh_tokens: Shelf::new(limits::IDLE_LIFE),
        }))
    }
}

impl Handler for Identity {
    async fn handle(&self, request: Box<Request<RequestBody>>, _: Peer) -> Answer {
        let provider = &*self.0;
        if !is_meant(request.headers(), provider.address) {
            return answer::empty(StatusCode::MISDIRECTED_REQUEST);
        }
        let get = request.method() == Method::GET;
        let post = request.method() == Method::POST;
        match request.uri().path() {
            "/.well-known/openid-configuration" if get => json(StatusCode::OK, provider.document()),
            "/keys" if get => provider.keys(),
            "/authorize" if get => provider.authorize(request.uri().query().unwrap_or_default()),
            "/userinfo" if get || post => provider.userinfo(request.headers()),
            page::LOGIN if post => {
                // A page of another site cannot log anybody in here.
                if one(request.headers(), &SEC_FETCH_SITE).is_some_and(|site| site != "same-origin") {
                    return page::refusal("This form was sent by another site.");
                }
                match gathered(request).await {
                    Ok((_, body)) => provider.login(&body),
                    Err(refused) => refused,
                }
            }
            "/token" if post => match gathered(request).await {
                Ok((headers, body)) => provider.token(&headers, &body),
                Err(refused) => refused,
            },
            "/.well-known/openid-configuration" | "/keys" | "/authorize" => only("GET"),
            "/userinfo" => only("GET, POST"),
            page::LOGIN | "/token" => only("POST"),
            _ => answer::empty(StatusCode::NOT_FOUND),
        }
    }
}

/// The fields and the body of a form that was sent.
async fn gathered(request: Box<Request<RequestBody>>) -> Result<(HeaderMap, Vec<u8>), Answer> {
    let (head, body) = request.into_parts();
    let most = u64::try_from(limits::OAUTH_BODY_MAX).unwrap_or(u64::MAX);
    match body.gather(most).await {
        Ok(bytes) => Ok((head.headers, bytes.to_vec())),
        Err(_) => Err(answer::empty(StatusCode::PAYLOAD_TOO_LARGE)),
    }
}

impl Provider {
    /// The discovery document.
    fn document(&self) -> ObjectWriter {
        let at = |path: &str| format!("{}{path}", self.issuer);
        ObjectWriter::new()
            .text("issuer", &self.issuer)
            .text("authorization_endpoint", &at("/authorize"))
            .text("token_endpoint", &at("/token"))
            .text("userinfo_endpoint", &at("/userinfo"))
            .text("jwks_uri", &at("/keys"))
            .texts("scopes_supported", SCOPES)
            .texts("response_types_supported", ["code"])
            .texts("response_modes_supported", ["query"])
            .texts("grant_types_supported", ["authorization_code", "refresh_token"])
            .texts("subject_types_supported", ["public"])
            .texts("id_token_signing_alg_values_supported", ["EdDSA"])
            .texts("token_endpoint_auth_methods_supported", ["client_secret_basic", "client_secret_post"])
            .texts("code_challenge_methods_supported", ["S256"])
            .boolean("authorization_response_iss_parameter_supported", true)
            .boolean("request_uri_parameter_supported", false)
    }

    fn keys(&self) -> Answer {
        let keys = KeySet::of(vec![self.signer.public().clone()]).to_json();
        answer::with_body(StatusCode::OK, "application/jwk-set+json", keys)
    }

    /// The login page, or a refusal.
    fn authorize(&self, query: &str) -> Answer {
        let Ok(form) = Form::parse(query) else {
            return page::refusal("The request cannot be read.");
        };
        match self.read(&form) {
            Ok(_) => {
                let carried = CARRIED.into_iter().filter_map(|name| Some((name, form.one(name).ok()??)));
                page::login(carried)
            }
            Err(refusal) => self.refuse(refusal, &form),
        }
    }

    /// The answer to the login page.
    fn login(&self, body: &[u8]) -> Answer {
        let Ok(form) = Form::parse(body) else {
            return page::refusal("The form cannot be read.");
        };
        let wanted = match self.read(&form) {
            Ok(wanted) => wanted,
            Err(refusal) => return self.refuse(refusal, &form),
        };
        if form.one("cancel") != Ok(None) {
            return self.refuse(Refusal::There("access_denied"), &form);
        }
        let Some(person) = form.one("person").ok().flatten().and_then(Person::named) else {
            return page::refusal("There is nobody of that name.");
        };
        let (Some(code), Some(id)) = (self.draw(), self.draw()) else {
            return self.refuse(Refusal::There("server_error"), &form);
        };
        let now = self.clock.now();
        let session =
            Session { person, scope: wanted.scope.to_owned(), authenticated_at: now, id: id.expose().to_owned() };
        let login = Login { session, nonce: wanted.nonce.map(str::to_owned), challenge: wanted.challenge };
        self.codes.put(&code, login, now);
        self.back(&[("code", code.expose())], wanted.state)
    }

    /// Judges an authorization request: client and redirect first, so that nobody else is ever told anything.
    fn read<'a>(&self, form: &'a Form<'_>) -> Result<Wanted<'a>, Refusal> {
        let here = |name: &str| form.one(name).map_err(|_| Refusal::Here("A parameter is there twice."));
        if here("client_id")? != Some(super::CLIENT_ID) {
            return Err(Refusal::Here("The client is not known here."));
        }
        if here("redirect_uri")? != Some(self.redirect_uri.as_str()) {
            return Err(Refusal::Here("The client is not to be found at this address."));
        }
        let there = |name: &str| form.one(name).map_err(|_| Refusal::There("invalid_request"));
        let state = there("state")?;
        if there("response_type")? != Some("code") {
            return Err(Refusal::There("unsupported_response_type"));
        }
        if there("request")?.is_some() {
            return Err(Refusal::There("request_not_supported"));
        }
        if there("request_uri")?.is_some() {
            return Err(Refusal::There("request_uri_not_supported"));
        }
        let scope = there("scope")?.unwrap_or_default();
        if !scope.split(' ').any(|word| word == "openid") || scope.len() > limits::SCOPE_GRANT_MAX {
            return Err(Refusal::There("invalid_scope"));
        }
        let nonce = there("nonce")?;
        let challenge = Challenge::parse(there("code_challenge")?, there("code_challenge_method")?)
            .map_err(|_| Refusal::There("invalid_request"))?;
        if there("prompt")? == Some("none") {
            return Err(Refusal::There("login_required"));
        }
        Ok(Wanted { scope, state, nonce, challenge })
    }

    fn refuse(&self, refusal: Refusal, form: &Form<'_>) -> Answer {
        match refusal {
            Refusal::Here(why) => page::refusal(why),
            Refusal::There(error) => self.back(&[("error", error)], form.one("state").ok().flatten()),
        }
    }

    /// Back to the client, with its state and our name (RFC 9207 section 2).
    fn back(&self, answer: &[(&str, &str)], state: Option<&str>) -> Answer {
        let mut query = answer.to_vec();
        query.extend(state.map(|state| ("state", state)));
        query.push(("iss", &self.issuer));
        see_other(&with_query(&self.redirect_uri, query))
    }

    /// The token endpoint.
    fn token(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        match self.grant(headers, body) {
            Ok(answer) => json(StatusCode::OK, answer),
            Err(Denied { status, error }) => {
                let mut answer = json(status, ObjectWriter::new().text("error", error));
                if status == StatusCode::UNAUTHORIZED {
                    let challenge = HeaderValue::from_static("Basic realm=\"demonstration\"");
                    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                }
                answer
            }
        }
    }

    fn grant(&self, headers: &HeaderMap, body: &[u8]) -> Result<ObjectWriter, Denied> {
        let form = Form::parse(body).map_err(|_| bad("invalid_request"))?;
        let value = |name: &str| form.one(name).map_err(|_| bad("invalid_request"));
        let needed = |name: &str| value(name)?.ok_or(bad("invalid_request"));
        self.authenticate(headers, value("client_id")?, value("client_secret")?)?;
        let now = self.clock.now();
        match needed("grant_type")? {
            "authorization_code" => {
                let verifier = Verifier::parse(needed("code_verifier")?).map_err(|_| bad("invalid_grant"))?;
                let login = self.codes.take(needed("code")?, now).ok_or(bad("invalid_grant"))?;
                if needed("redirect_uri")? != self.redirect_uri {
                    return Err(bad("invalid_grant"));
                }
                verifier.answers(&login.challenge).map_err(|_| bad("invalid_grant"))?;
                self.issue(login.session, login.nonce.as_deref(), now)
            }
            "refresh_token" => {
                let session = self.refresh_tokens.take(needed("refresh_token")?, now).ok_or(bad("invalid_grant"))?;
                self.issue(session, None, now)
            }
            _ => Err(bad("unsupported_grant_type")),
        }
    }

    /// By header or by form, and not by both (RFC 6749 section 2.3).
    fn authenticate(&self, headers: &HeaderMap, id: Option<&str>, secret: Option<&str>) -> Result<(), Denied> {
        let unknown = || Denied { status: StatusCode::UNAUTHORIZED, error: "invalid_client" };
        let good = if headers.contains_key(AUTHORIZATION) {
            if secret.is_some() {
                return Err(bad("invalid_request"));
            }
            let value = one(headers, &AUTHORIZATION).ok_or_else(unknown)?;
            let (scheme, rest) = header::credentials(value).map_err(|_| unknown())?;
            let given = basic::parse(rest).map_err(|_| unknown())?;
            scheme.eq_ignore_ascii_case("Basic")
                && given.id == super::CLIENT_ID
                && id.is_none_or(|id| id == given.id)
                && self.client_secret.same(given.secret.expose())
        } else {
            id == Some(super::CLIENT_ID) && secret.is_some_and(|secret| self.client_secret.same(secret))
        };
        if good { Ok(()) } else { Err(unknown()) }
    }

    /// Tokens for a session.
    fn issue(&self, session: Session, nonce: Option<&str>, now: Timestamp) -> Result<ObjectWriter, Denied> {
        let failed = Denied { status: StatusCode::INTERNAL_SERVER_ERROR, error: "server_error" };
        let (Some(access), Some(refresh)) = (self.draw(), self.draw()) else { return Err(failed) };
        let claims = ObjectWriter::new()
            .text("iss", &self.issuer)
            .text("sub", session.person.subject)
            .text("aud", super::CLIENT_ID)
            .number("iat", now.secs())
            .number("exp", now.plus(limits::ACCESS_LIFE).secs())
            .number("auth_time", session.authenticated_at.secs())
            .optional_text("nonce", nonce)
            .text("at_hash", &text::base64url(&Algorithm::Ed25519.half_hash(access.expose())))
            .text("sid", &session.id);
        let id_token = self.signer.sign("JWT", session.person.describe(claims, &session.scope));
        let answer = ObjectWriter::new()
            .text("access_token", access.expose())
            .text("token_type", "Bearer")
            .number("expires_in", limits::ACCESS_LIFE.as_secs())
            .text("refresh_token", refresh.expose())
            .text("id_token", &id_token)
            .text("scope", &session.scope);
        self.access_tokens.put(&access, session.clone(), now);
        self.refresh_tokens.put(&refresh, session, now);
        Ok(answer)
    }

    fn userinfo(&self, headers: &HeaderMap) -> Answer {
        let token = one(headers, &AUTHORIZATION).and_then(|value| header::bearer(value).ok());
        let session = token.and_then(|token| self.access_tokens.look(token, self.clock.now()));
        match session {
            Some(session) => {
                let claims = ObjectWriter::new().text("sub", session.person.subject);
                json(StatusCode::OK, session.person.describe(claims, &session.scope))
            }
            None => {
                let mut answer = answer::empty(StatusCode::UNAUTHORIZED);
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                answer
            }
        }
    }

    /// A name that nobody can guess.
    fn draw(&self) -> Option<SecretText> {
        self.entropy.draw().ok().map(|bytes| SecretText::new(text::base64url(bytes.expose())))
    }
}

const fn bad(error: &'static str) -> Denied {
    Denied { status: StatusCode::BAD_REQUEST, error }
}
