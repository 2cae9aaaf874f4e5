//! `domain::oauth` and the use cases, as a stranger reaches them: authorization requests, token requests, sealed values, records.

use crate::clients::{NOW, policy};
use crate::engine::surroundings::scheduler::Scheduler;
use crate::engine::surroundings::world::Surroundings;
use crate::jose;
use portcullis_adapters::gate::{Route, Routes};
use portcullis_adapters::memory::Memory;
use portcullis_domain::fresh::{Fresh, Stamp};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::key::{AssertionId, ClientHash, CutScope, GrantId, Key, Person};
use portcullis_domain::limits;
use portcullis_domain::oauth::authorize::{self, Asked, Refused};
use portcullis_domain::oauth::callback::Callback;
use portcullis_domain::oauth::client::{Presented, lookup};
use portcullis_domain::oauth::client_assertion::{self, Assertion};
use portcullis_domain::oauth::consent::{Answer, CsrfCookie};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::flow::{Flow, Login};
use portcullis_domain::oauth::identity::Claims;
use portcullis_domain::oauth::metadata::Metadata;
use portcullis_domain::oauth::policy::Policy;
use portcullis_domain::oauth::register::register;
use portcullis_domain::oauth::revoke::Revocable;
use portcullis_domain::oauth::token::{AccessToken, Code, RefreshToken};
use portcullis_domain::oidc::profile;
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::oidc::request::{Credentials, Wishes};
use portcullis_domain::operation::{Epoch, Fact, Write};
use portcullis_domain::record::{Record, Sealer};
use portcullis_domain::secret::{Secret, SecretText};
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::form::{self, Form};
use portcullis_ports::gateway::Gateway;
use portcullis_ports::transact;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

const REDIRECT: &str = "http://127.0.0.1:7777/callback";
/// The pair of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn fresh() -> Fresh {
    Fresh::new(&Secret::new([5; 32]), 0)
}

/// A client that has registered itself.
fn client_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let body = br#"{"redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}"#;
        register(body, None, policy(), NOW, &fresh()).expect("a loopback client registers").client().id().to_owned()
    })
}

/// F02: what is accepted is of a client that exists, goes where it registered, and has its challenge; whether a refusal is a page or
/// a redirect depends on client and redirect URI alone. `CLIENT` in the input stands for an id that is known.
pub fn authorize(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let query = text.replace("CLIENT", client_id());
    let Ok(form) = Form::parse(&query) else { return };
    let Ok(client) = authorize::client_id(&form).and_then(|id| lookup(policy(), id)) else { return };
    let redirect = form.one("redirect_uri").ok().and_then(|uri| client.redirect(uri).ok());
    match authorize::judge(policy(), &form, client, NOW, &fresh()) {
        Ok(asked) => {
            assert_eq!(Some(&asked.redirect), redirect.as_ref());
            assert_eq!(form.one("response_type"), Ok(Some("code")));
            assert_eq!(form.one("code_challenge_method"), Ok(Some("S256")));
            assert_eq!(asked.flow.state.as_deref(), form.one("state").expect("it stands once"));
            assert!(asked.flow.scopes.within(asked.resource.scope_set()));
            assert!(form.repeated_except(&["resource"]).is_none());
            let sealed = asked.flow.seal(&asked.wishes, &policy().ring.now(), &fresh(), NOW).expect("a key seals");
            let (again, wishes) = Flow::open(&policy().ring.now(), &sealed, NOW).expect("it opens");
            assert!(again == asked.flow && wishes == asked.wishes);
        }
        Err(Refused::Page(fault)) => {
            assert!(redirect.is_none(), "{fault:?} could have been told to the client");
        }
        Err(Refused::Redirect(refusal)) => {
            assert_eq!(Some(&refusal.redirect), redirect.as_ref());
            let location = refusal.location("https://gate.example");
            assert!(location.starts_with(refusal.redirect.as_str()) && location.starts_with("http://127.0.0.1"));
            assert!(location.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{location}");
            let (_, answer) = location.split_once('?').expect("an answer has parameters");
            let answer = Form::parse(answer).expect("our own words can be read");
            assert_eq!(answer.one("iss"), Ok(Some("https://gate.example")));
            assert_eq!(answer.one("state").expect("it stands once"), refusal.state.as_deref());
            assert!(answer.one("error").is_ok_and(|error| error.is_some()) && answer.one("code") == Ok(None));
        }
    }
}

fn flow() -> Flow {
    let query = form::encode([
        ("client_id", client_id()),
        ("redirect_uri", REDIRECT),
        ("response_type", "code"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("state", "s"),
    ]);
    let form = Form::parse(&query).expect("our own words can be read");
    asked(&form).expect("a good request").flow
}

fn asked(form: &Form<'_>) -> Result<Asked<'static>, Refused> {
    let client = authorize::client_id(form).and_then(|id| lookup(policy(), id)).map_err(Refused::Page)?;
    authorize::judge(policy(), form, client, NOW, &fresh())
}

/// F12: of sealed values only the exact ones open. The input is XORed onto a good one, or stands for one by itself.
pub fn sealed(data: &[u8]) {
    let ring = &policy().ring.now();
    let fresh = fresh();
    let field = flow().seal(&Wishes::default(), ring, &fresh, NOW).expect("a key seals");
    let login = Login::begin(flow(), None, &fresh, NOW);
    let cookie = login.seal(ring, &fresh, NOW).expect("a key seals");
    let csrf = CsrfCookie::of(None, &fresh);
    let token = csrf.token(ring, &field, NOW).expect("a key seals");
    let state = login.state();
    for (good, opens) in [
        (field.as_str(), &(|text: &str| Flow::open(ring, text, NOW).is_ok()) as &dyn Fn(&str) -> bool),
        (cookie.expose(), &|text| Login::open(ring, text, NOW).is_ok()),
        (cookie.expose(), &|text| Login::resume(ring, text, state.expose(), NOW).is_ok()),
        (state.expose(), &|text| Login::resume(ring, cookie.expose(), text, NOW).is_ok()),
        (token.expose(), &|text| answers(csrf.value().expose(), text, &field)),
        (csrf.value().expose(), &|text| answers(text, token.expose(), &field)),
        (&field, &|text| answers(csrf.value().expose(), token.expose(), text)),
    ] {
        assert!(opens(good));
        let bent: Vec<u8> =
            good.bytes().enumerate().map(|(n, byte)| byte ^ data.get(n).copied().unwrap_or(0)).collect();
        for other in [bent.as_slice(), data] {
            let Ok(other) = std::str::from_utf8(other) else { continue };
            assert_eq!(opens(other), other == good, "{other}");
        }
    }
}

fn answers(cookie: &str, token: &str, field: &str) -> bool {
    let (cookie, token, flow) = (Some(cookie), Some(token), Some(field));
    Answer { same_origin: true, cookie, token, flow, choice: Some("approve") }.judge(&policy().ring.now(), NOW).is_ok()
}

/// A gateway with one login whose code has not been redeemed, and that code.
fn begun(scheduler: &Scheduler) -> (Arc<Gateway<Surroundings<Memory>>>, SecretText) {
    let world = Surroundings::new(scheduler, Arc::new(Memory::new(Epoch([1; 16]))));
    let policy: Arc<Policy> = Arc::new(crate::clients::new_policy());
    let credentials =
        Credentials { client_id: "gate".into(), client_secret: SecretText::new("a secret of the gate".into()) };
    let party = RelyingParty::new(credentials, profile::GENERIC);
    let claims = Claims { issuer: "https://id.example".into(), subject: "alice".into(), ..Claims::default() };
    let expires = Timestamp::FAR;
    let callback = Callback {
        policy: Arc::clone(&policy),
        flow: Flow { expires, ..flow() },
        claims,
        provider_session: None,
        brought: portcullis_domain::oauth::upstream::Brought::default(),
        address: None,
        surplus: None,
    };
    let code = scheduler.run(transact(&world, callback)).expect("a first login gets a code");
    (Arc::new(Gateway::new(world, policy, party)), code)
}

/// F21, T061 to T063: a token request is answered with tokens only if it brings the code with its verifier, or a refresh token; and
/// whatever else it brings is refused as the client's mistake. `CLIENT`, `CODE` and `VERIFIER` stand for what is right.
pub fn token_request(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let scheduler = Scheduler::new(1);
    let (gateway, code) = begun(&scheduler);
    let body = text.replace("CLIENT", client_id()).replace("CODE", code.expose()).replace("VERIFIER", VERIFIER);
    let Ok(form) = Form::parse(&body) else { return };
    let only = |name| form.one(name).ok().flatten();
    let presented = Presented { id: only("client_id"), secret: only("client_secret"), ..Presented::default() };
    match scheduler.run(gateway.token(&form, presented, None)) {
        Ok(tokens) => {
            assert_eq!(only("grant_type"), Some("authorization_code"));
            assert_eq!((only("code"), only("code_verifier")), (Some(code.expose()), Some(VERIFIER)));
            assert_eq!(only("client_id"), Some(client_id()));
            assert!(only("redirect_uri").is_none_or(|uri| uri == REDIRECT));
            assert!(tokens.scopes.within(policy().resources.iter().next().expect("one resource").scope_set()));
        }
        Err(fault) => assert!((400..500).contains(&fault.wire().status), "{fault:?}"),
    }
}

/// F10: an assertion that is taken is the client's, for this server alone, ends within minutes and has a name to be remembered by.
/// `ISSUER` and `CLIENT` in the input, which is the payload, stand for the gate and the client.
pub fn assertion(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let payload = text.replace("ISSUER", "https://gate.example").replace("CLIENT", "client");
    let header = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, jose::KID);
    let signed = jose::signed(header.as_bytes(), payload.as_bytes());
    let Ok(assertion) = Assertion::parse(client_assertion::JWT_BEARER, &signed) else { return };
    let judge = |now| client_assertion::judge(&assertion, "client", &jose::keys(), "https://gate.example", now);
    if let Ok(proof) = judge(NOW) {
        let claims: Value = serde_json::from_str(&payload).expect("a second reader reads it");
        assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("client"), Some("client")));
        let audience = claims["aud"].as_array().map_or(&claims["aud"], |list| list.first().unwrap_or(&Value::Null));
        assert_eq!(audience.as_str(), Some("https://gate.example"));
        assert!(claims["aud"].as_array().is_none_or(|list| list.len() == 1));
        assert!(claims["jti"].as_str().is_some_and(|id| !id.is_empty() && id.len() <= 256));
        let expires = claims["exp"].as_f64().expect("a number");
        let now = f64::from(u32::try_from(NOW.secs()).expect("in this century"));
        assert!(expires > now - 61.0 && expires < now + 361.0, "{expires}");
        assert_eq!(proof.client(), ClientHash::of("client"));
        // A later clock never makes an ended one good again.
        assert!(judge(NOW.plus(std::time::Duration::from_secs(500))).is_err());
        // It is good for nobody else, at no other server, and under no other key.
        assert!(
            client_assertion::judge(&assertion, "client", &KeySet::default(), "https://gate.example", NOW).is_err()
        );
        assert!(client_assertion::judge(&assertion, "client", &jose::keys(), "https://other.example", NOW).is_err());
        assert!(client_assertion::judge(&assertion, "other", &jose::keys(), "https://gate.example", NOW).is_err());
    }
}

/// F21: whatever is no token of ours is read as none, and no token is read as one of another kind.
pub fn tokens(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let ring = &policy().ring.now();
    assert_eq!(AccessToken::open(ring, text).err(), Some(Fault::TokenUnknown), "nobody can seal but we");
    let (code, refresh) = (Code::parse(text), RefreshToken::parse(text));
    assert!(code.is_err() || refresh.is_err());
    assert_eq!(Revocable::parse(ring, text).is_some(), refresh.is_ok());
    if code.is_ok() || refresh.is_ok() {
        assert!(text.len() <= limits::TOKEN_MAX && text.is_ascii() && text.starts_with("pc"));
    }
}

/// F17: a path is one of the fixed ones exactly as it is written, or it belongs to a resource or asks about one, or to nobody.
pub fn route(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    static TABLES: OnceLock<(Routes, Metadata)> = OnceLock::new();
    let (routes, metadata) = TABLES.get_or_init(|| (Routes::of(&policy().base_url), Metadata::of(policy())));
    let (route, resource) = routes.find(path, metadata, policy());
    assert_eq!(resource.is_some(), matches!(route, Route::Resource | Route::ForwardAuth));
    match route {
        Route::Resource => assert!(resource.is_some_and(|resource| resource.has(path)), "{path}"),
        // What a proxy asks about is the path of a resource as well, exactly as it is written behind the endpoint's own.
        Route::ForwardAuth => {
            let asked = path.strip_prefix("/oauth/forward-auth").expect("nothing else is asked about");
            assert!(resource.is_some_and(|resource| resource.has(asked)), "{path}");
        }
        Route::Nothing => assert!(!["/oauth/token", "/health", "/authorize", "/mcp"].contains(&path)),
        Route::Metadata => assert!(path.starts_with("/.well-known/")),
        Route::Registration => assert!(routes.registration(path).is_some_and(|id| !id.contains('/'))),
        _ => {
            let plain = |byte: u8| byte.is_ascii_lowercase() || matches!(byte, b'/' | b'.' | b'-');
            assert!(path.bytes().all(plain) && !path.contains("//") && !path.contains("..") && !path.ends_with('/'));
        }
    }
}

/// F20: what is no record of this place is none, and what can be read is written again as it was.
pub fn record(data: &[u8]) {
    let id = GrantId { person: Person([1; 16]), login: [2; 16] };
    let sealer = Sealer::new(Arc::clone(&policy().ring));
    let mark = Key::AssertionMark(AssertionId([3; 16]));
    let keys =
        [Key::Grant(id), Key::Identity(id.person), Key::FlowMark(id), mark, Key::Cut(CutScope::All), Key::RingCheck];
    for key in keys {
        assert!(!matches!(sealer.open(&key, data), Ok(Fact::Found(_))), "nobody can seal but we");
        let Ok(record) = Record::decode(&key, data) else { continue };
        let once = record.encode();
        let again = Record::decode(&key, &once).expect("what was written can be read");
        assert_eq!(*again.encode(), *once);
        let write =
            Write { key, stamp: Stamp([7; 16]), until: Timestamp::FAR, record: Arc::new(record), durable: false };
        let Ok(sealed) = sealer.seal(&write, NOW) else { continue };
        for other in keys {
            assert_eq!(matches!(sealer.open(&other, &sealed), Ok(Fact::Found(_))), other == key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inputs near the good ones only say something if the good ones are.
    #[test]
    fn the_seeds_that_are_called_good_are_accepted() {
        let query = include_str!("../corpus/oauth-authorize/good").replace("CLIENT", client_id());
        let form = Form::parse(&query).unwrap();
        assert!(asked(&form).is_ok());

        let payload = include_str!("../corpus/oauth-assertion/good").replace("ISSUER", "https://gate.example");
        let header = format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, jose::KID);
        let signed = jose::signed(header.as_bytes(), payload.replace("CLIENT", "client").as_bytes());
        let assertion = Assertion::parse(client_assertion::JWT_BEARER, &signed).unwrap();
        let keys = jose::keys();
        assert!(client_assertion::judge(&assertion, "client", &keys, "https://gate.example", NOW).is_ok());

        let scheduler = Scheduler::new(1);
        let (gateway, code) = begun(&scheduler);
        let body = include_str!("../corpus/oauth-token-request/good");
        let body = body.replace("CLIENT", client_id()).replace("CODE", code.expose()).replace("VERIFIER", VERIFIER);
        let form = Form::parse(&body).unwrap();
        let presented = Presented { id: Some(client_id()), ..Presented::default() };
        assert!(scheduler.run(gateway.token(&form, presented, None)).is_ok());
    }
}
