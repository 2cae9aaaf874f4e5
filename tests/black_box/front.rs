//! What the tests of the front door share: one gate, its requests, and how a refusal is recognised.

use crate::harness::http::fields;
use crate::harness::{Ask, Authorization, BASE, Browser, Client, Consent, Pkce, Request, Response, Script, World};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The challenge of RFC 7636 appendix B.
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// The authorization endpoint.
pub const AUTHORIZE: &str = "/oauth/authorize";
/// Where the consent form goes.
pub const CONSENT: &str = "/oauth/consent";
/// The registration endpoint.
pub const REGISTER: &str = "/oauth/register";
/// The cookie of the forms.
pub const CSRF: &str = "__Host-pc-csrf";
/// What the names of login cookies begin with.
pub const LOGIN: &str = "__Host-pc-login-";
/// Where Cursor receives codes.
pub const CURSOR: &str = "cursor://anysphere.cursor-mcp/oauth/callback";
/// A client that the operator has registered, with one redirect URI.
pub const OPERATORS: &str = "operators-client";
/// Its redirect URI.
pub const OPERATORS_REDIRECT: &str = "https://operators.example/cb?tenant=a%26b";
/// The same with two redirect URIs.
pub const OPERATORS_TWO: &str = "operators-other-client";
/// A public client of the operator's, on the person's own machine.
pub const OPERATORS_LOCAL: &str = "operators-local-client";

/// A gate to which every request seems to come from another address, so that nobody meets a limit by accident.
pub struct Front(World);

impl Front {
    /// Sends one request on a connection of its own.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Response {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let [_, a, b, c] = COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        self.0.send(&request.clone().header("X-Forwarded-For", &format!("10.{a}.{b}.{c}")))
    }
}

impl Deref for Front {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

/// The gate of all tests that change nothing in it: registration is open.
pub fn front() -> &'static Front {
    static FRONT: LazyLock<Front> = LazyLock::new(|| {
        Front(World::with(|config| {
            config["trustedProxyCIDRs"] = json!(["127.0.0.1/32"]);
            let secret = "a secret of the operator's";
            config["clients"] = json!([
                { "clientId": OPERATORS, "clientSecret": secret, "name": "Theirs", "redirectUris": [OPERATORS_REDIRECT] },
                { "clientId": OPERATORS_TWO, "clientSecret": secret, "name": "Theirs too",
                  "redirectUris": ["https://operators.example/one", "https://operators.example/two"] },
                { "clientId": OPERATORS_LOCAL, "name": "Theirs, here", "redirectUris": ["http://127.0.0.1/cb"] },
            ]);
        }))
    });
    &FRONT
}

/// A public client with these redirect URIs.
#[track_caller]
pub fn client_of(gate: &World, redirects: &[&str]) -> Client {
    gate.register(&json!({
        "client_name": "A client of a test", "redirect_uris": redirects, "token_endpoint_auth_method": "none",
    }))
}

/// A good request of this client.
pub fn ask(client: &Client) -> Ask {
    Ask::of(client, &Pkce { verifier: String::new(), challenge: CHALLENGE.to_owned() }).without("resource")
}

/// An authorization request, sent without any cookie.
pub trait Sent {
    /// By GET.
    fn get(&self, gate: &Front) -> Response;
    /// By POST.
    fn post(&self, gate: &Front) -> Response;
}

impl Sent for Ask {
    fn get(&self, gate: &Front) -> Response {
        get(gate, &self.query())
    }

    fn post(&self, gate: &Front) -> Response {
        gate.send(&form(AUTHORIZE, &self.query()))
    }
}

/// The authorization endpoint's answer to this query as it is.
pub fn get(gate: &Front, query: &str) -> Response {
    gate.send(&Request::get(&format!("{AUTHORIZE}?{query}")))
}

/// A form, as it is.
pub fn form(target: &str, body: &str) -> Request {
    Request::post(target).header("Content-Type", "application/x-www-form-urlencoded").body(body)
}

/// The answer to a registration.
pub fn register(gate: &Front, metadata: &Value) -> Response {
    gate.send(&Request::json(REGISTER, metadata))
}

/// A page without its head, for messages.
fn said(answer: &Response) -> String {
    let text = answer.text();
    text.split_once("<main>").map_or(text.clone(), |(_, main)| main.to_owned())
}

/// A refusal told to the person: HTML, nowhere to go, no cookie, a strict policy, nothing that runs.
#[track_caller]
pub fn page(answer: &Response, status: u16, case: &str) {
    assert_eq!(answer.status, status, "{case}: {:?} {}", answer.header("location"), said(answer));
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{case}");
    for absent in ["location", "set-cookie", "refresh", "access-control-allow-origin"] {
        assert!(answer.all(absent).is_empty(), "{case}: {absent}");
    }
    strict(answer, case);
    assert!(!answer.text().contains("http-equiv") && !answer.text().contains("<form"), "{case}");
}

/// PAGE-400.
#[track_caller]
pub fn page_400(answer: &Response, case: &str) {
    page(answer, 400, case);
}

/// What every page of the gate is.
#[track_caller]
pub fn strict(answer: &Response, case: &str) {
    let policy = answer.header("content-security-policy").unwrap_or_default();
    let parts: Vec<&str> = policy.split(';').map(str::trim).collect();
    assert!(parts.contains(&"default-src 'none'") && parts.contains(&"frame-ancestors 'none'"), "{case}: {policy}");
    for never in ["unsafe", "script-src", "*", "form-action"] {
        assert!(!policy.contains(never), "{case}: {never} in {policy}");
    }
    assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{case}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{case}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
    assert_eq!(answer.header("cross-origin-opener-policy"), None, "{case}: it cuts off who opened a popup");
    assert!(matches!(answer.header("referrer-policy"), Some("same-origin" | "no-referrer")), "{case}");
    let lower = answer.text().to_ascii_lowercase();
    for never in ["<script", "<img", "<svg", "<iframe", "<object", "<embed", "javascript:"] {
        assert!(!lower.contains(never), "{case}: {never} in {lower}");
    }
}

/// A refusal told to the client, at this redirect URI and no other, with its state and our name: what it says.
#[track_caller]
pub fn redirected(answer: &Response, redirect: &str, state: Option<&str>, case: &str) -> BTreeMap<String, String> {
    assert!(matches!(answer.status, 302 | 303), "{case}: {} {}", answer.status, said(answer));
    assert!(answer.all("set-cookie").is_empty(), "{case}");
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{case}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
    let said = appended(answer.location(), redirect, case);
    assert_eq!(said.get("state").map(String::as_str), state, "{case}: {said:?}");
    assert_eq!(said.get("iss").map(String::as_str), Some(BASE), "{case}: {said:?}");
    assert!(!said.contains_key("code"), "{case}: {said:?}");
    said
}

/// The same, with the state of [`ask`] and this error.
#[track_caller]
pub fn refused(answer: &Response, redirect: &str, error: &str, case: &str) {
    let said = redirected(answer, redirect, Some("state-1"), case);
    assert_eq!(said.get("error").map(String::as_str), Some(error), "{case}: {said:?}");
}

/// What was appended to a redirect URI; each parameter is there once.
#[track_caller]
pub fn appended(location: &str, redirect: &str, case: &str) -> BTreeMap<String, String> {
    let rest = location.strip_prefix(redirect).unwrap_or_else(|| panic!("{case}: {location} is not {redirect}"));
    let separator = if redirect.contains('?') { '&' } else { '?' };
    let query = rest.strip_prefix(separator).unwrap_or_else(|| panic!("{case}: {location}"));
    assert!(location.bytes().all(|byte| byte.is_ascii_graphic()) && !location.contains('#'), "{case}: {location}");
    let mut found = BTreeMap::new();
    for (name, value) in fields(query) {
        assert!(found.insert(name, value).is_none(), "{case}: a parameter is there twice in {location}");
    }
    found
}

/// The consent page, and no refusal.
#[track_caller]
pub fn asked(answer: &Response, case: &str) {
    assert_eq!(answer.status, 200, "{case}: {:?} {}", answer.header("location"), said(answer));
    assert!(answer.text().contains("value=\"approve\""), "{case}: {}", said(answer));
    assert_eq!(answer.header("location"), None, "{case}");
    strict(answer, case);
}

/// A gate and a client that everybody knows by its own claims only.
pub fn start() -> (World, Client) {
    let world = World::start();
    let client = world.public_client("A client of a test");
    (world, client)
}

/// The form of this page, with this choice.
pub fn choose(consent: &Consent, choice: &str) -> Request {
    Request::form(CONSENT, &[("flow", consent.flow.as_str()), ("csrf", &consent.csrf), ("choice", choice)])
}

/// As the browser sends the form of its own page.
pub fn from_page(request: Request) -> Request {
    request.header("Origin", BASE).header("Sec-Fetch-Site", "same-origin")
}

/// Refused without a trace: nobody is sent anywhere, no cookie, no code.
#[track_caller]
pub fn forbidden(answer: &Response, case: &str) {
    page(answer, 403, case);
}

/// The one login cookie of a browser.
#[track_caller]
pub fn login_cookie(browser: &Browser<'_>) -> (String, String) {
    let mut all = browser.cookies.iter().filter(|(name, _)| name.starts_with(LOGIN));
    let (name, value) = all.next().unwrap();
    assert!(all.next().is_none());
    (name.clone(), value.clone())
}

/// Comes back from the provider with a good code of this login.
pub fn come_back(world: &World, browser: &mut Browser<'_>, authorization: &Authorization) -> Response {
    let code = world.provider.issue(authorization, Script::default());
    browser.callback(&[("code", &code), ("state", authorization.param("state"))])
}
