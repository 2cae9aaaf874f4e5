//! The two sides of a login as they really are: a browser with cookies, and an application with a PKCE pair.

use super::http::{Request, Response, fields, form};
use super::provider::Script;
use super::{BASE, REDIRECT, RESOURCE, SCOPE, World};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

/// A verifier and its challenge.
#[derive(Clone)]
pub struct Pkce {
    pub verifier: String,
    pub challenge: String,
}

impl Pkce {
    /// A pair like no other in this process.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        Self::of(&format!("a-verifier-of-a-test-that-is-long-enough-{count:06}"))
    }

    pub fn of(verifier: &str) -> Self {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
        Self { verifier: verifier.to_owned(), challenge }
    }
}

/// A registered client, and how it proves who it is.
#[derive(Clone)]
pub struct Client {
    pub id: String,
    pub secret: Option<String>,
    /// Whether the secret goes into the form instead of `Authorization`.
    pub posts_secret: bool,
    /// The whole answer of the registration.
    pub registration: Value,
}

impl Client {
    pub fn public(id: &str) -> Self {
        Self { id: id.to_owned(), secret: None, posts_secret: false, registration: Value::Null }
    }

    pub fn confidential(id: &str, secret: &str) -> Self {
        Self { secret: Some(secret.to_owned()), ..Self::public(id) }
    }

    /// A form to an endpoint where clients say who they are.
    pub fn form(&self, target: &str, fields: &[(&str, &str)]) -> Request {
        let mut fields = fields.to_vec();
        match &self.secret {
            Some(secret) if !self.posts_secret => return Request::form(target, &fields).basic(&self.id, secret),
            Some(secret) => fields.extend([("client_id", self.id.as_str()), ("client_secret", secret)]),
            None => fields.push(("client_id", &self.id)),
        }
        Request::form(target, &fields)
    }
}

/// An authorization request.
#[derive(Clone, Debug)]
pub struct Ask(pub Vec<(String, String)>);

impl Ask {
    /// A good one of this client, with [`REDIRECT`] and the state `state-1`.
    pub fn of(client: &Client, pkce: &Pkce) -> Self {
        let fields = [
            ("response_type", "code"),
            ("client_id", &client.id),
            ("redirect_uri", REDIRECT),
            ("scope", SCOPE),
            ("resource", RESOURCE),
            ("state", "state-1"),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
        ];
        Self(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    /// With another value, or one more parameter.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        match self.0.iter_mut().find(|(own, _)| own == name) {
            Some((_, own)) => *own = value.to_owned(),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Once more, so that it stands twice.
    pub fn again(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(own, _)| own != name);
        self
    }

    pub fn query(&self) -> String {
        form(&self.0)
    }
}

/// What the consent page holds.
#[derive(Clone, Debug)]
pub struct Consent {
    pub flow: String,
    pub csrf: String,
    pub page: Response,
}

/// The request with which the gate sends the browser to the provider.
#[derive(Clone, Debug)]
pub struct Authorization {
    pub endpoint: String,
    pub params: Vec<(String, String)>,
}

impl Authorization {
    #[track_caller]
    pub fn of(location: &str) -> Self {
        let (endpoint, query) = location.split_once('?').unwrap();
        Self { endpoint: endpoint.to_owned(), params: fields(query) }
    }

    /// The one parameter of this name.
    #[track_caller]
    pub fn param(&self, name: &str) -> &str {
        let mut all = self.params.iter().filter(|(own, _)| own == name);
        let (_, value) = all.next().unwrap_or_else(|| panic!("no {name}: {self:?}"));
        assert!(all.next().is_none(), "{name} stands twice: {self:?}");
        value
    }
}

/// What comes back at the application.
#[derive(Clone, Debug)]
pub struct Returned {
    /// The redirect URI without what the gate has added.
    pub to: String,
    pub params: Vec<(String, String)>,
}

impl Returned {
    /// Out of a redirect.
    #[track_caller]
    pub fn of(response: &Response) -> Self {
        let (to, query) = response.location().split_once('?').unwrap();
        Self { to: to.to_owned(), params: fields(query) }
    }

    /// The one parameter of this name, if it is there.
    #[track_caller]
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut all = self.params.iter().filter(|(own, _)| own == name);
        let value = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} stands twice: {self:?}");
        value
    }

    #[track_caller]
    pub fn code(&self) -> &str {
        self.param("code").unwrap_or_else(|| panic!("no code: {self:?}"))
    }

    #[track_caller]
    pub fn error(&self) -> &str {
        self.param("error").unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

/// What the token endpoint gave.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    pub answer: Value,
}

impl Tokens {
    #[track_caller]
    pub fn of(response: &Response) -> Self {
        assert_eq!(response.status, 200, "{}", response.text());
        let answer = response.json();
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token"), answer }
    }
}

/// A browser: it keeps cookies, and says of itself what browsers say.
pub struct Browser<'a> {
    world: &'a World,
    /// Its own address: what one browser does is not counted against another.
    pub address: Ipv4Addr,
    pub cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    pub fn new(world: &'a World) -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(1);
        let [high, low] = COUNT.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        Self { world, address: Ipv4Addr::new(127, 255, high, low), cookies: BTreeMap::new() }
    }

    /// Sends a request with the cookies, and keeps what comes back.
    pub fn send(&mut self, request: Request) -> Response {
        let response = self.world.send_from(self.address, &self.with_cookies(request));
        self.keep(&response);
        response
    }

    /// The request as this browser sends it, for tests that send it by themselves.
    pub fn with_cookies(&self, request: Request) -> Request {
        if self.cookies.is_empty() {
            return request;
        }
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.header("Cookie", &pairs.join("; "))
    }

    /// Keeps the cookies of an answer.
    pub fn keep(&mut self, response: &Response) {
        for cookie in response.all("set-cookie") {
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    pub fn authorize(&mut self, ask: &Ask) -> Response {
        self.send(Request::get(&format!("/oauth/authorize?{}", ask.query())))
    }

    /// The consent page of this request.
    #[track_caller]
    pub fn consent_page(&mut self, ask: &Ask) -> Consent {
        let page = self.authorize(ask);
        assert_eq!(page.status, 200, "{:?} {}", page.header("location"), page.text());
        let text = page.text();
        let field = |name: &str| {
            let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        Consent { flow: field("flow"), csrf: field("csrf"), page }
    }

    /// Presses a button of the page.
    pub fn answer(&mut self, consent: &Consent, choice: &str) -> Response {
        let fields = [("flow", consent.flow.as_str()), ("csrf", &consent.csrf), ("choice", choice)];
        let request = Request::form("/oauth/consent", &fields);
        self.send(request.header("Origin", BASE).header("Sec-Fetch-Site", "same-origin"))
    }

    /// Approves: on to the provider.
    #[track_caller]
    pub fn approve(&mut self, consent: &Consent) -> Authorization {
        Authorization::of(self.answer(consent, "approve").location())
    }

    /// Comes back from the provider with these parameters.
    pub fn callback(&mut self, params: &[(&str, &str)]) -> Response {
        self.send(Request::get(&format!("/oauth/callback?{}", form(params))))
    }

    /// A whole login: the answer to the callback.
    #[track_caller]
    pub fn login(&mut self, ask: &Ask, script: Script) -> Response {
        let consent = self.consent_page(ask);
        let authorization = self.approve(&consent);
        let code = self.world.provider.issue(&authorization, script);
        self.callback(&[("code", &code), ("state", authorization.param("state"))])
    }
}

impl World {
    /// Registers a client with this metadata.
    #[track_caller]
    pub fn register(&self, metadata: &Value) -> Client {
        let response = self.send(&Request::json("/oauth/register", metadata));
        assert_eq!(response.status, 201, "{}", response.text());
        let registration = response.json();
        Client {
            id: registration["client_id"].as_str().unwrap().to_owned(),
            secret: registration["client_secret"].as_str().map(str::to_owned),
            posts_secret: registration["token_endpoint_auth_method"] == "client_secret_post",
            registration,
        }
    }

    /// A public client with [`REDIRECT`].
    #[track_caller]
    pub fn public_client(&self, name: &str) -> Client {
        self.register(&json!({
            "client_name": name, "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
        }))
    }

    /// A confidential client with [`REDIRECT`].
    #[track_caller]
    pub fn confidential_client(&self, name: &str) -> Client {
        self.register(&json!({
            "client_name": name, "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "client_secret_basic",
        }))
    }

    /// A code for this client, of a login in a browser of its own.
    #[track_caller]
    pub fn code(&self, client: &Client, pkce: &Pkce) -> String {
        self.code_for(&Ask::of(client, pkce), Script::default())
    }

    /// A code for this request and this person.
    #[track_caller]
    pub fn code_for(&self, ask: &Ask, script: Script) -> String {
        Returned::of(&self.browser().login(ask, script)).code().to_owned()
    }

    /// Redeems a code.
    pub fn exchange(&self, client: &Client, code: &str, pkce: &Pkce) -> Response {
        self.send(&exchange_request(client, code, pkce))
    }

    /// A whole session.
    #[track_caller]
    pub fn tokens(&self, client: &Client) -> Tokens {
        let pkce = Pkce::new();
        Tokens::of(&self.exchange(client, &self.code(client, &pkce), &pkce))
    }

    pub fn refresh(&self, client: &Client, token: &str) -> Response {
        self.send(&refresh_request(client, token))
    }

    pub fn revoke(&self, client: &Client, token: &str) -> Response {
        self.send(&client.form("/oauth/revoke", &[("token", token)]))
    }

    pub fn introspect(&self, client: &Client, token: &str) -> Response {
        self.send(&client.form("/oauth/introspect", &[("token", token)]))
    }

    /// An MCP request to this path with this bearer.
    pub fn call(&self, path: &str, bearer: &str) -> Response {
        self.send(&call_request(path, bearer))
    }

    /// Whether an access token opens [`RESOURCE`].
    #[track_caller]
    pub fn admits(&self, access: &str) -> bool {
        let response = self.call("/mcp", access);
        assert!(matches!(response.status, 200 | 401), "{} {}", response.status, response.text());
        response.status == 200
    }
}

/// `grant_type=authorization_code`, with everything right.
pub fn exchange_request(client: &Client, code: &str, pkce: &Pkce) -> Request {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", &pkce.verifier),
    ];
    client.form("/oauth/token", &fields)
}

/// `grant_type=refresh_token`.
pub fn refresh_request(client: &Client, token: &str) -> Request {
    client.form("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)])
}

/// `tools/list` to this path.
pub fn call_request(path: &str, bearer: &str) -> Request {
    Request::json(path, &json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }))
        .header("Accept", "application/json, text/event-stream")
        .bearer(bearer)
}
