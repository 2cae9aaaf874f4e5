//! The demonstration over its sockets: the provider judged by the gate's own judges, the tools by what each revision demands.
#![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]

use super::{Demo, master_key_file};
use crate::config::{Config, MasterKeys, Provider, Surroundings, Unreadable};
use portcullis_adapters::fetch::{Fetch, FetchConfig};
use portcullis_adapters::oidc::{Oidc, Pace, named_host};
use portcullis_adapters::system::SystemClock;
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::oidc::discovery::{self, ClientAuthentication};
use portcullis_domain::oidc::id_token::{self, Expected, Occasion, Person, Refused};
use portcullis_domain::oidc::profile::GENERIC;
use portcullis_domain::oidc::request::{BackChannel, Credentials, Login, Wishes, authorization_url, redeem};
use portcullis_domain::oidc::token_response::{self, Failure, Tokens};
use portcullis_domain::secret::SecretText;
use portcullis_domain::wire::form::{Form, encode};
use portcullis_domain::wire::json::{Json, parse};
use portcullis_ports::{Clock, IdentityProvider};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

// ---- A client that is nothing but a socket.

struct Got {
    status: u16,
    head: String,
    body: String,
}

impl Got {
    fn field(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(other, _)| other.eq_ignore_ascii_case(name)))
            .map(|(_, value)| value)
    }

    fn json(&self) -> Json {
        parse(self.body.as_bytes(), 1_000_000).unwrap()
    }

    /// What comes back with a redirect.
    fn redirect(&self) -> Vec<(String, String)> {
        assert_eq!(self.status, 303, "{}", self.body);
        let (_, query) = self.field("location").unwrap().split_once('?').unwrap();
        Form::parse(query).unwrap().fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

fn send(at: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> Got {
    let mut socket = TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    if fields.iter().all(|(name, _)| *name != "Host") {
        request.push_str(&format!("Host: {at}\r\n"));
    }
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Got { status, head: head.to_owned(), body: body.to_owned() }
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

// ---- The gate's side of a login.

struct Gate {
    demo: Demo,
    provider: discovery::Provider,
    keys: KeySet,
}

const VERIFIER: &str = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
const CHALLENGE: &str = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM";

impl Gate {
    fn start() -> Self {
        let demo = Demo::start(free_address()).unwrap();
        let document = send(demo.identity, "GET", "/.well-known/openid-configuration", &[], "");
        let provider = discovery::judge(document.body.as_bytes(), &demo.issuer().into(), true).unwrap();
        let keys = KeySet::read(send(demo.identity, "GET", "/keys", &[], "").body.as_bytes()).unwrap();
        Self { demo, provider, keys }
    }

    fn redirect_uri(&self) -> String {
        format!("{}/oauth/callback", self.demo.base_url())
    }

    /// The path and query of an authorization request.
    fn request(&self) -> String {
        let (redirect_uri, wishes) = (self.redirect_uri(), Wishes::default());
        let login = Login {
            client_id: super::CLIENT_ID,
            redirect_uri: &redirect_uri,
            scope: "openid profile email groups",
            state: "the state & more",
            nonce: "the nonce",
            code_challenge: CHALLENGE,
            wishes: &wishes,
            further: &[],
        };
        let url = authorization_url(&self.provider, &GENERIC, &login);
        url.strip_prefix(&self.demo.issuer()).unwrap().to_owned()
    }

    /// The answer to the login page, with these fields added.
    fn answer(&self, request: &str, more: &[(&str, &str)], fields: &[(&str, &str)]) -> Got {
        let (_, query) = request.split_once('?').unwrap();
        let form = format!("{query}&{}", encode(more.iter().copied()));
        send(self.demo.identity, "POST", "/login", fields, &form)
    }

    fn code(&self, person: &str) -> SecretText {
        let got = self.answer(&self.request(), &[("person", person)], &[("Sec-Fetch-Site", "same-origin")]);
        let answer = got.redirect();
        let [(code_name, code), (state_name, state), (iss_name, iss)] = answer.as_slice() else { panic!("{answer:?}") };
        assert_eq!((code_name.as_str(), state_name.as_str(), iss_name.as_str()), ("code", "state", "iss"));
        assert_eq!((state.as_str(), iss), ("the state & more", &self.demo.issuer()));
        SecretText::new(code.clone())
    }

    fn post(&self, request: &BackChannel) -> Got {
        let mut fields = vec![("Content-Type", BackChannel::CONTENT_TYPE)];
        if let Some(authorization) = &request.authorization {
            fields.push(("Authorization", authorization.expose()));
        }
        send(self.demo.identity, "POST", "/token", &fields, request.body.expose())
    }

    fn redeem(&self, code: &SecretText, verifier: &str) -> Result<Tokens, Failure> {
        let credentials =
            Credentials { client_id: super::CLIENT_ID.into(), client_secret: self.demo.client_secret.clone() };
        let verifier = SecretText::new(verifier.into());
        judged(&self.post(&redeem(&self.provider, &credentials, code, &self.redirect_uri(), &verifier)))
    }

    fn person(&self, tokens: &Tokens, nonce: &str) -> Result<Person, Refused> {
        let expected = Expected {
            provider: &self.provider,
            client_id: super::CLIENT_ID,
            access_token: tokens.access_token.expose(),
            groups_claim: "groups",
            occasion: Occasion::Login { nonce, max_age: Some(60) },
        };
        id_token::judge(tokens.id_token.expose(), &self.keys, &expected, SystemClock::start().now())
    }
}

fn judged(got: &Got) -> Result<Tokens, Failure> {
    token_response::judge(got.status, got.field("content-type"), got.body.as_bytes())
}

// ---- The provider.

#[test]
fn a_login_satisfies_the_gates_own_judges() {
    let mut gate = Gate::start();
    assert_eq!(gate.provider.client_authentication, ClientAuthentication::Basic);
    assert!(gate.provider.names_itself_at_callback);
    let page = send(gate.demo.identity, "GET", &gate.request(), &[], "");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.field("content-security-policy").unwrap().starts_with("default-src 'none'; style-src 'sha256-"));
    for words in
        ["Continue as Alice", "Continue as Bob", "value=\"the state &amp; more\"", "action=\"/login\"", "Cancel"]
    {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    assert!(!page.body.contains("<script"));

    for (authentication, username) in [(ClientAuthentication::Basic, "alice"), (ClientAuthentication::Post, "bob")] {
        gate.provider.client_authentication = authentication;
        let tokens = gate.redeem(&gate.code(username), VERIFIER).unwrap();
        let person = gate.person(&tokens, "the nonce").unwrap();
        assert_eq!(person.preferred_username.as_deref(), Some(username));
        assert_eq!(person.email, Some(format!("{username}@example.com")));
        assert!(person.email_verified && person.groups_complete && person.groups.iter().any(|group| group == "staff"));
        assert!(person.session.is_some() && person.authenticated_at.is_some());
        assert_eq!(gate.person(&tokens, "another nonce"), Err(Refused::OtherNonce));

        let bearer = format!("Bearer {}", tokens.access_token.expose());
        let userinfo = send(gate.demo.identity, "GET", "/userinfo", &[("Authorization", &bearer)], "");
        assert_eq!(userinfo.json().required_text("sub"), Ok(person.subject.as_str()));
    }
    let nobody = send(gate.demo.identity, "GET", "/userinfo", &[("Authorization", "Bearer no-such-token")], "");
    assert_eq!(nobody.status, 401);
    gate.demo.stop();
}

#[test]
fn codes_and_refresh_tokens_are_good_once() {
    let gate = Gate::start();
    let code = gate.code("alice");
    let tokens = gate.redeem(&code, VERIFIER).unwrap();
    assert_eq!(gate.redeem(&code, VERIFIER).unwrap_err(), Failure::InvalidGrant);
    let other = gate.code("alice");
    assert_eq!(gate.redeem(&other, &VERIFIER.replace('v', "w")).unwrap_err(), Failure::InvalidGrant);

    let refresh = |token: &SecretText| {
        let body = encode([
            ("grant_type", "refresh_token"),
            ("refresh_token", token.expose()),
            ("client_id", super::CLIENT_ID),
            ("client_secret", gate.demo.client_secret.expose()),
        ]);
        judged(&send(gate.demo.identity, "POST", "/token", &[], &body))
    };
    let first = tokens.refresh_token.unwrap();
    let renewed = refresh(&first).unwrap();
    assert!(!renewed.refresh_token.unwrap().same(first.expose()));
    assert_eq!(refresh(&first).unwrap_err(), Failure::InvalidGrant);
}

#[test]
fn only_the_gate_gets_tokens() {
    let gate = Gate::start();
    let code = gate.code("alice");
    let with = |fields: &[(&str, &str)], client: &[(&str, &str)]| {
        let mut form = vec![("grant_type", "authorization_code"), ("code", code.expose()), ("code_verifier", VERIFIER)];
        form.extend(client);
        let got = send(gate.demo.identity, "POST", "/token", fields, &encode(form));
        let error = got.json().required_text("error").unwrap().to_owned();
        (got.status, error, got.field("www-authenticate").is_some())
    };
    let unknown = (401, "invalid_client".to_owned(), true);
    assert_eq!(with(&[], &[]), unknown);
    assert_eq!(with(&[], &[("client_id", super::CLIENT_ID)]), unknown);
    assert_eq!(with(&[], &[("client_id", super::CLIENT_ID), ("client_secret", "wrong")]), unknown);
    assert_eq!(with(&[("Authorization", "Basic cG9ydGN1bGxpcy1kZW1vOndyb25n")], &[]), unknown);
    assert_eq!(with(&[("Authorization", "Bearer x")], &[]), unknown);
    let secret = gate.demo.client_secret.expose();
    let both = with(&[("Authorization", "Basic YTpi")], &[("client_id", super::CLIENT_ID), ("client_secret", secret)]);
    assert_eq!(both, (400, "invalid_request".to_owned(), false));
    let elsewhere =
        [("client_id", super::CLIENT_ID), ("client_secret", secret), ("redirect_uri", "http://evil.example/")];
    assert_eq!(with(&[], &elsewhere), (400, "invalid_grant".to_owned(), false));
}

#[test]
fn requests_that_lead_elsewhere_end_here_and_others_go_back() {
    let gate = Gate::start();
    let good = gate.request();
    let at = |request: &str| send(gate.demo.identity, "GET", request, &[], "");
    for request in [
        good.replace(super::CLIENT_ID, "somebody"),
        good.replace("callback", "elsewhere"),
        good.replace("redirect_uri", "redirect"),
        format!("{good}&client_id=somebody"),
        format!("{good}&redirect_uri=http%3A%2F%2Fevil.example"),
        "/authorize".to_owned(),
        "/authorize?%".to_owned(),
    ] {
        let got = at(&request);
        assert_eq!((got.status, got.field("location")), (400, None), "{request}");
    }
    for (request, error) in [
        (good.replace("response_type=code", "response_type=token"), "unsupported_response_type"),
        (good.replace("openid", "opened"), "invalid_scope"),
        (good.replace("S256", "plain"), "invalid_request"),
        (good.replace("code_challenge=", "no_challenge="), "invalid_request"),
        (format!("{good}&prompt=none"), "login_required"),
        (format!("{good}&request=x"), "request_not_supported"),
        (format!("{good}&nonce=twice"), "invalid_request"),
    ] {
        let answer = at(&request).redirect();
        assert_eq!(answer.first(), Some(&("error".to_owned(), error.to_owned())), "{request}");
        assert_eq!(answer.get(1), Some(&("state".to_owned(), "the state & more".to_owned())), "{request}");
        // The login page's answer is judged as the request was.
        assert_eq!(gate.answer(&request, &[("person", "alice")], &[]).redirect().first(), answer.first(), "{request}");
    }
    let cancelled = gate.answer(&good, &[("cancel", "1")], &[]).redirect();
    assert_eq!(cancelled.first(), Some(&("error".to_owned(), "access_denied".to_owned())));
    assert_eq!(gate.answer(&good, &[("person", "mallory")], &[]).status, 400);
    assert_eq!(gate.answer(&good, &[("person", "alice")], &[("Sec-Fetch-Site", "cross-site")]).status, 400);
}

#[test]
fn rs9_a_name_that_was_made_to_resolve_to_loopback_reaches_nothing() {
    let demo = Demo::start(free_address()).unwrap();
    for (at, path) in [(demo.identity, "/keys"), (demo.tools, "/mcp")] {
        assert_eq!(send(at, "GET", path, &[("Host", "evil.example")], "").status, 421);
        assert_eq!(send(at, "GET", path, &[("Host", "localhost")], "").status, 421);
    }
    for (path, allow) in [("/keys", "GET"), ("/token", "POST"), ("/login", "POST"), ("/userinfo", "GET, POST")] {
        let got = send(demo.identity, "PUT", path, &[], "");
        assert_eq!((got.status, got.field("allow")), (405, Some(allow)), "{path}");
    }
    assert_eq!(send(demo.identity, "GET", "/", &[], "").status, 404);
}

// ---- The tools.

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn tools(demo: &Demo, fields: &[(&str, &str)], body: &str) -> Got {
    let mut all = vec![("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];
    all.extend(fields);
    send(demo.tools, "POST", "/mcp", &all, body)
}

fn error(got: &Got) -> (u16, String) {
    let body = got.json();
    let code = body.member("error").and_then(|error| error.member("code")).map(|code| format!("{code:?}"));
    (got.status, code.unwrap_or_else(|| panic!("no error: {}", got.body)))
}

fn text(got: &Got) -> String {
    assert_eq!(got.status, 200, "{}", got.body);
    let body = got.json();
    let content = body.member("result").and_then(|result| result.member("content")).unwrap();
    content.list().unwrap()[0].required_text("text").unwrap().to_owned()
}

#[test]
fn the_revisions_with_a_beginning() {
    let demo = Demo::start(free_address()).unwrap();
    for (wished, given) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2025-03-26", "2025-03-26"),
        ("2024-11-05", "2025-11-25"),
        ("2099-01-01", "2025-11-25"),
    ] {
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{wished}"}}}}"#);
        let got = tools(&demo, &[], &body).json();
        assert_eq!(got.member("result").unwrap().required_text("protocolVersion"), Ok(given));
    }
    let rpc = |id: &str, method: &str, params: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        tools(&demo, &[("MCP-Protocol-Version", "2025-11-25")], &body)
    };
    assert_eq!(rpc("\"a\"", "ping", "{}").body, r#"{"jsonrpc":"2.0","id":"a","result":{}}"#);
    let list = rpc("1", "tools/list", "{}").body;
    assert!(list.contains(r#""name":"echo""#) && list.contains(r#""name":"whoami""#), "{list}");
    assert_eq!(
        text(&rpc("2", "tools/call", r#"{"name":"echo","arguments":{"message":"a \"b\" é"}}"#)),
        "Echo: a \"b\" é"
    );
    let wrong = rpc("3", "tools/call", r#"{"name":"echo","arguments":{"message":1}}"#);
    assert!(wrong.body.contains(r#""isError":true"#), "{}", wrong.body);
    assert_eq!(error(&rpc("4", "tools/call", r#"{"name":"rm"}"#)), (200, number(-32602)));
    assert_eq!(error(&rpc("5", "resources/list", "{}")), (200, number(-32601)));
    assert_eq!(error(&rpc("6", "server/discover", "{}")), (200, number(-32601)));
    let note = tools(&demo, &[], r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!((note.status, note.body.as_str()), (202, ""));
    assert_eq!(tools(&demo, &[], r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).status, 202);
    for method in ["GET", "DELETE"] {
        let got = send(demo.tools, method, "/mcp", &[("Accept", "text/event-stream")], "");
        assert_eq!((got.status, got.field("allow")), (405, Some("POST")));
    }
}

#[test]
fn the_revision_without_a_beginning() {
    let demo = Demo::start(free_address()).unwrap();
    let rpc = |version: &str, named: &str, name: Option<&str>, body: &str| {
        let mut fields = vec![("MCP-Protocol-Version", version), ("Mcp-Method", named)];
        fields.extend(name.map(|name| ("Mcp-Name", name)));
        tools(&demo, &fields, body)
    };
    let body = |method: &str, params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{{params}{META}}}}}"#)
    };
    let found = rpc("2026-07-28", "server/discover", None, &body("server/discover", "")).json();
    let found = found.member("result").unwrap();
    assert_eq!(found.optional_text_list("supportedVersions"), Ok(Some(vec!["2026-07-28"])));
    assert_eq!(found.required_text("resultType"), Ok("complete"));
    let list = rpc("2026-07-28", "tools/list", None, &body("tools/list", "")).body;
    assert!(list.contains(r#""name":"echo""#) && list.contains(r#""cacheScope":"private""#), "{list}");
    let echo = body("tools/call", r#""name":"echo","arguments":{"message":"hello"},"#);
    assert_eq!(text(&rpc("2026-07-28", "tools/call", Some("echo"), &echo)), "Echo: hello");
    assert_eq!(text(&rpc("2026-07-28", "tools/call", Some("=?base64?ZWNobw==?="), &echo)), "Echo: hello");

    let mismatch = (400, number(-32020));
    assert_eq!(error(&rpc("2026-07-28", "tools/call", Some("whoami"), &echo)), mismatch);
    assert_eq!(error(&rpc("2026-07-28", "tools/call", None, &echo)), mismatch);
    assert_eq!(error(&rpc("2026-07-28", "tools/list", Some("echo"), &echo)), mismatch);
    assert_eq!(error(&rpc("2025-11-25", "tools/call", Some("echo"), &echo)), mismatch);
    assert_eq!(error(&tools(&demo, &[], &echo)), mismatch);
    let later = echo.replace("2026-07-28", "2027-01-01");
    let unsupported = rpc("2027-01-01", "tools/call", Some("echo"), &later);
    assert_eq!(error(&unsupported), (400, number(-32022)));
    assert!(unsupported.body.contains(r#""data":{"supported":["2026-07-28"],"requested":"2027-01-01"}"#));
    for method in ["ping", "initialize", "nope"] {
        assert_eq!(error(&rpc("2026-07-28", method, None, &body(method, ""))), (404, number(-32601)));
    }
    let bare = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
    assert_eq!(error(&rpc("2026-07-28", "tools/list", None, bare)), (400, number(-32602)));
    let mute = echo.replace(r#","io.modelcontextprotocol/clientCapabilities":{}"#, "");
    assert_eq!(error(&rpc("2026-07-28", "tools/call", Some("echo"), &mute)), (400, number(-32602)));
    assert_eq!(error(&rpc("2099-01-01", "tools/list", None, bare)), (400, number(-32000)));
}

#[test]
fn what_is_no_message_is_refused() {
    let demo = Demo::start(free_address()).unwrap();
    for (body, code) in [
        ("", -32700),
        ("{", -32700),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, -32700),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":1}"#, -32600),
        (r#"{"jsonrpc":"2.0"}"#, -32600),
        ("1", -32600),
    ] {
        assert_eq!(error(&tools(&demo, &[], body)), (400, number(code)), "{body}");
    }
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        assert_eq!(send(demo.tools, "POST", "/mcp", &[("Content-Type", kind)], ping).status, 415);
    }
    assert_eq!(
        send(demo.tools, "POST", "/mcp", &[("Content-Type", "application/json; charset=utf-8")], ping).status,
        200
    );
    assert_eq!(send(demo.tools, "POST", "/mcp/", &[("Content-Type", "application/json")], ping).status, 404);
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "a".repeat(5 << 20));
    assert_eq!(tools(&demo, &[], &long).status, 413);
}

#[test]
fn whoami_tells_what_arrived() {
    let demo = Demo::start(free_address()).unwrap();
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#;
    let told = tools(&demo, &[("X-Forwarded-User", "u1"), ("X-Forwarded-Groups", "staff,admins")], call);
    let words = text(&told);
    assert!(words.contains("user: u1\n") && words.contains("groups: staff,admins\n"), "{words}");
    assert!(words.contains("email: (not told)\n") && words.ends_with("the token stayed at the gate."), "{words}");
    let structured = r#""structuredContent":{"user":"u1","groups":"staff,admins","authorizationArrived":false}"#;
    assert!(told.body.contains(structured), "{}", told.body);
    let leaked = tools(&demo, &[("Authorization", "Bearer hush")], call);
    assert!(leaked.body.contains(r#""authorizationArrived":true"#) && !leaked.body.contains("hush"), "{}", leaked.body);
}

/// How a JSON number shows itself.
fn number(code: i64) -> String {
    format!("{:?}", parse(code.to_string().as_bytes(), 10).unwrap())
}

// ---- The whole.

struct Nowhere;

impl Surroundings for Nowhere {
    fn variable(&self, _: &str) -> Option<SecretText> {
        None
    }

    fn file(&self, _: &Path) -> Result<SecretText, Unreadable> {
        Err(Unreadable::Absent)
    }
}

#[test]
fn the_configuration_loads_and_names_what_runs() {
    let listen = free_address();
    let demo = Demo::start(listen).unwrap();
    let config = Config::read(demo.configuration(None).expose(), &Nowhere).unwrap();
    assert_eq!(config.listen, listen);
    assert!(config.admin_listen.address() == Some(demo.admin) && demo.admin.ip().is_loopback());
    assert!(matches!(config.master_keys, MasterKeys::DangerRandom));
    let Provider::Oidc(_, oidc) = &config.provider else { panic!("another provider") };
    assert!(oidc.client_secret.same(demo.client_secret.expose()));
    assert_eq!(config.resources.len(), 1);
    let kept = Config::read(demo.configuration(Some(Path::new("/nowhere/key"))).expose(), &Nowhere).unwrap();
    assert!(matches!(kept.master_keys, MasterKeys::ToCreate(path) if path == Path::new("/nowhere/key")));
    assert!(demo.greeting().contains(&format!("http://{listen}/mcp")) && demo.greeting().contains(&demo.issuer()));
    assert_eq!(demo.endpoint(), format!("http://{listen}/mcp"));
}

#[test]
fn the_gates_own_adapter_finds_it() {
    let demo = Demo::start(free_address()).unwrap();
    let named_hosts = vec![named_host(&demo.issuer()).unwrap()];
    let fetch = Fetch::new(FetchConfig { named_hosts, ..FetchConfig::default() }).unwrap();
    let oidc = Oidc::new(demo.issuer().into(), fetch, Pace::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let running = tokio::spawn(oidc.clone().run());
        while oidc.discovered().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(oidc.keys().await.unwrap().keys().len(), 1);
        running.abort();
    });
}

#[test]
fn the_master_key_lies_in_the_state_directory() {
    struct Set(&'static [(&'static str, &'static str)]);
    impl Surroundings for Set {
        fn variable(&self, name: &str) -> Option<SecretText> {
            self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| SecretText::new((*value).to_owned()))
        }
        fn file(&self, _: &Path) -> Result<SecretText, Unreadable> {
            Err(Unreadable::Absent)
        }
    }
    for (variables, file) in [
        (&[("XDG_STATE_HOME", "/state"), ("HOME", "/people/a")][..], Some("/state/portcullis/demo.key")),
        (&[("XDG_STATE_HOME", "relative"), ("HOME", "/people/a")], Some("/people/a/.local/state/portcullis/demo.key")),
        (&[("HOME", "/people/a")], Some("/people/a/.local/state/portcullis/demo.key")),
        (&[], None),
    ] {
        assert_eq!(master_key_file(&Set(variables)).as_deref(), file.map(Path::new));
    }
}

#[test]
fn p11_the_demonstration_shows_no_secret() {
    let demo = Demo::start(free_address()).unwrap();
    assert!(!format!("{demo:?} {}", demo.greeting()).contains(demo.client_secret.expose()));
}

#[test]
fn it_is_for_loopback_and_ends_when_told() {
    for listen in ["0.0.0.0:8080", "192.0.2.1:8080", "[::]:8080", "127.0.0.1:0"] {
        assert!(Demo::start(listen.parse().unwrap()).is_err(), "{listen}");
    }
    let demo = Demo::start("[::1]:8080".parse().unwrap()).unwrap();
    assert_eq!(demo.endpoint(), "http://[::1]:8080/mcp");
    let (identity, tools) = (demo.identity, demo.tools);
    assert!(identity.ip().is_loopback() && tools.ip().is_loopback());
    demo.stop();
    assert!(TcpStream::connect(identity).is_err() && TcpStream::connect(tools).is_err());
}
