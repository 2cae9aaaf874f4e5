//! Promise P11: no secret in logs, metrics, pages or errors. The real program runs with everything logged while all that can
//! happen happens, and then everything that it said is searched for every secret that there was.

use crate::harness::http::{Request, Response, escape};
use crate::harness::{
    Answer, Ask, Client, Gate, MASTER_KEY, PROVIDER_SECRET, Pkce, Provider, REDIRECT, Returned, Script, Tokens,
    Upstream, World, configuration, http,
};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A registration token of the operator's.
const REGISTRATION_TOKEN: &str = "the-operators-registration-token";
/// A secret that the operator chose for a client.
const CHOSEN_SECRET: &str = "a-secret-that-the-operator-chose";

/// The program in a process of its own, with a folder for its files.
struct Process {
    child: Child,
    folder: PathBuf,
}

impl Process {
    fn start(name: &str, config: &Value) -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("config.json");
        fs::write(&file, config.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["serve", "--config"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(File::create(folder.join("stdout")).unwrap())
            .stderr(File::create(folder.join("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    fn said(&self) -> String {
        ["stdout", "stderr"].map(|name| fs::read_to_string(self.folder.join(name)).unwrap()).concat()
    }

    fn until_it_listens(&mut self) {
        let end = Instant::now() + crate::harness::PATIENCE;
        while !self.said().contains("listening") {
            assert!(self.child.try_wait().unwrap().is_none(), "{}", self.said());
            assert!(Instant::now() < end, "it does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as an operator would: everything that it said.
    fn end(mut self) -> String {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let end = Instant::now() + crate::harness::PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.said()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A secret, and the answers that may hold it: those to requests whose target begins so, with this status.
struct Known {
    name: String,
    value: String,
    spellings: Vec<String>,
    home: Vec<(&'static str, u16)>,
}

impl Known {
    fn is_in(&self, text: &str) -> bool {
        self.spellings.iter().any(|spelling| text.contains(spelling))
    }

    /// Every spelling that could be searched for: as it is, escaped, in hex and base64, and its end alone, which is the part that
    /// nobody can guess (the beginning of a token names its person and session, and so may a log).
    fn spellings(value: &str) -> Vec<String> {
        let bytes = value.as_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let tail = value.get(value.len().saturating_sub(20)..).unwrap_or(value).to_owned();
        let coded = BASE64_STANDARD.encode(bytes).trim_end_matches('=').to_owned();
        let mut spellings = vec![value.to_owned(), escape(value), format!("{bytes:?}"), hex, coded, tail];
        spellings.sort();
        spellings.dedup();
        spellings
    }
}

#[derive(Default)]
struct Secrets(Vec<Known>);

impl Secrets {
    fn add(&mut self, name: &str, value: &str, home: &[(&'static str, u16)]) {
        assert!(value.len() >= 16, "{name} is too short to be searched for: {value:?}");
        if self.0.iter().all(|known| known.value != value) {
            let spellings = Known::spellings(value);
            self.0.push(Known { name: name.to_owned(), value: value.to_owned(), spellings, home: home.to_vec() });
        }
    }

    /// The names of those that a text holds.
    fn within(&self, text: &str) -> Vec<&str> {
        self.0.iter().filter(|known| known.is_in(text)).map(|known| known.name.as_str()).collect()
    }

    /// The names of those that an answer holds and may not.
    fn astray(&self, request: &Request, response: &Response) -> Vec<&str> {
        let text = whole(response);
        let at_home = |known: &&Known| {
            let home =
                |(target, status): &(&str, u16)| request.target.starts_with(target) && response.status == *status;
            known.home.iter().any(home)
        };
        let strays = self.0.iter().filter(|known| !at_home(known) && known.is_in(&text));
        strays.map(|known| known.name.as_str()).collect()
    }
}

/// Head and body of an answer in one text.
fn whole(response: &Response) -> String {
    format!("{} {:?}\n{}", response.status, response.headers, response.text())
}

const TOKEN: (&str, u16) = ("/oauth/token", 200);
const REGISTER: (&str, u16) = ("/oauth/register", 201);
const MANAGE: (&str, u16) = ("/oauth/register/", 200);
const PAGE: (&str, u16) = ("/oauth/authorize", 200);
const APPROVED: (&str, u16) = ("/oauth/consent", 303);
const RETURNED: (&str, u16) = ("/oauth/callback", 302);

#[test]
fn p11_nothing_that_the_program_says_holds_a_secret() {
    says_no_secret("json", "headers");
}

#[test]
fn p11_nothing_that_the_program_says_in_plain_text_holds_a_secret() {
    says_no_secret("text", "headers");
}

#[test]
fn p11_m20_an_id_token_goes_to_the_mcp_server_and_nowhere_else() {
    says_no_secret("trace", "idToken");
}

fn says_no_secret(name: &str, identity: &str) {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let mut config = configuration(&provider, &upstream);
    config["logLevel"] = json!("trace");
    config["logFormat"] = json!(if name == "json" { "json" } else { "text" });
    config["resources"][0]["identity"] = json!(identity);
    config["refreshGrace"] = json!("0s");
    config["registrationToken"] = json!(REGISTRATION_TOKEN);
    config["clients"] = json!([{
        "clientId": "chosen", "clientSecret": CHOSEN_SECRET, "name": "Chosen", "redirectUris": [REDIRECT],
    }]);
    let address = |key: &str| config[key].as_str().unwrap().parse().unwrap();
    let gate = Gate::elsewhere(address("listen"), address("adminListen"));
    let mut process = Process::start(name, &config);
    process.until_it_listens();
    gate.until_ready();
    let world = World::around(gate, provider, upstream);
    let secrets = everything(&world);

    let metrics = http::once(world.gate.admin(), &Request::get("/metrics"));
    assert!(metrics.text().contains("refresh_token_reuse_detected"), "{}", metrics.text());
    assert_eq!(secrets.within(&whole(&metrics)), [""; 0]);
    for (request, response) in world.transcript() {
        let strays = secrets.astray(&request, &response);
        assert!(strays.is_empty(), "{} {} answers with {strays:?}", request.method, request.target);
    }
    for seen in world.upstream.seen() {
        let told = String::from_utf8_lossy(&seen.bytes).into_owned();
        let shown = seen.header("authorization").filter(|_| identity == "idToken").unwrap_or_default();
        assert_eq!(shown.matches('.').count(), if identity == "idToken" { 2 } else { 0 }, "{shown}");
        let strays = secrets.within(&told.replacen(shown, "", usize::from(!shown.is_empty())));
        assert!(strays.is_empty(), "the upstream was told {strays:?}");
    }
    let log = process.end();
    for event in ["consent_granted", "token_issued", "authorization_code_reuse_detected", "client_registered"] {
        assert!(log.contains(event), "{event} is not in the log, so it was not searched in earnest");
    }
    assert_eq!(secrets.within(&log), [""; 0], "in the log");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn the_search_finds_a_secret_in_every_spelling() {
    let mut secrets = Secrets::default();
    secrets.add("it", "pca_abcdefghij+klmnopqrstuvwxyz", &[]);
    let text = "pca_abcdefghij+klmnopqrstuvwxyz";
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    for spelling in [
        text.to_owned(),
        format!("x={}&", escape(text)),
        format!("{:?}", text.as_bytes()),
        hex,
        BASE64_STANDARD.encode(text),
        "..klmnopqrstuvwxyz".replace("..", "hij+"),
    ] {
        assert_eq!(secrets.within(&format!("before {spelling} after")), ["it"], "{spelling}");
    }
    assert_eq!(secrets.within("pca_abcdefghij and no more"), [""; 0]);
}

/// Does all that can be done, well and badly, and tells every secret that came up.
fn everything(world: &World) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add("the master key", MASTER_KEY, &[]);
    let key: Vec<u8> = (0..MASTER_KEY.len() / 2)
        .map(|place| u8::from_str_radix(&MASTER_KEY[place * 2..place * 2 + 2], 16).unwrap())
        .collect();
    secrets.add("the master key in base64", BASE64_STANDARD.encode(&key).trim_end_matches('='), &[]);
    secrets.add("the master key in base64url", &BASE64_URL_SAFE_NO_PAD.encode(&key), &[]);
    secrets.add("the provider's client secret", PROVIDER_SECRET, &[]);
    secrets.add("the registration token", REGISTRATION_TOKEN, &[]);
    secrets.add("the operator's client secret", CHOSEN_SECRET, &[]);

    let public = world.public_client("A client");
    let registered = world.confidential_client("Another");
    let post = world.register(&json!({
        "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "client_secret_post",
    }));
    for client in [&registered, &post] {
        secrets.add("a client secret", client.secret.as_deref().unwrap(), &[REGISTER, MANAGE]);
        let management = client.registration["registration_access_token"].as_str().unwrap();
        secrets.add("a registration access token", management, &[REGISTER, MANAGE]);
        let uri = client.registration["registration_client_uri"].as_str().unwrap();
        let path = uri.strip_prefix(crate::harness::BASE).unwrap();
        assert_eq!(world.send(&Request::get(path).bearer(management)).status, 200);
        assert_eq!(world.send(&Request::get(path).bearer("a-wrong-management-token")).status, 401);
    }
    let metadata = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let with_token = Request::json("/oauth/register", &metadata).bearer(REGISTRATION_TOKEN);
    assert_eq!(world.send(&with_token).status, 201);
    let refused = Request::json("/oauth/register", &json!({ "redirect_uris": ["http://x.example/"] }));
    assert_eq!(world.send(&refused.bearer(REGISTRATION_TOKEN)).status, 400);

    for client in [&public, &registered, &post, &Client::confidential("chosen", CHOSEN_SECRET)] {
        session(world, client, &mut secrets);
    }
    broken_logins(world, &public, &mut secrets);
    badly_formed(world, &secrets);

    for handed_out in world.provider.handed_out() {
        secrets.add("what the provider handed out", &handed_out, &[]);
    }
    for seen in world.provider.seen("/token") {
        let fields = http::fields(std::str::from_utf8(&seen.body).unwrap());
        let verifier = &fields.iter().find(|(name, _)| name == "code_verifier").unwrap().1;
        secrets.add("the gate's verifier", verifier, &[]);
        let basic = seen.header("authorization").unwrap().strip_prefix("Basic ").unwrap().to_owned();
        secrets.add("the gate's credentials at the provider", basic.trim_end_matches('='), &[]);
    }
    secrets
}

/// A login with everything that can follow it.
fn session(world: &World, client: &Client, secrets: &mut Secrets) {
    let (pkce, mut browser) = (Pkce::new(), world.browser());
    secrets.add("a client's verifier", &pkce.verifier, &[]);
    let consent = browser.consent_page(&Ask::of(client, &pkce));
    secrets.add("a sealed flow", &consent.flow, &[PAGE]);
    secrets.add("a csrf token", &consent.csrf, &[PAGE]);
    for cookie in browser.cookies.values() {
        secrets.add("a csrf cookie", cookie, &[PAGE]);
    }
    let before = browser.cookies.clone();
    let authorization = browser.approve(&consent);
    for (_, cookie) in browser.cookies.iter().filter(|(name, _)| !before.contains_key(*name)) {
        secrets.add("a login's cookie", cookie, &[APPROVED]);
    }
    secrets.add("a nonce", authorization.param("nonce"), &[APPROVED]);
    secrets.add("a state", authorization.param("state"), &[APPROVED]);
    let provider_code = world.provider.issue(&authorization, Script::default());
    let callback = [("code", provider_code.as_str()), ("state", authorization.param("state"))];
    let returned = Returned::of(&browser.callback(&callback));
    secrets.add("a code", returned.code(), &[RETURNED]);
    assert_eq!(browser.callback(&callback).status, 400, "without the cookie");

    let wrong = world.exchange(client, returned.code(), &Pkce::of(&"w".repeat(43)));
    assert_eq!(wrong.status, 400);
    let first = Tokens::of(&world.exchange(client, returned.code(), &pkce));
    let second = Tokens::of(&world.refresh(client, &first.refresh));
    for tokens in [&first, &second] {
        secrets.add("an access token", &tokens.access, &[TOKEN]);
        secrets.add("a refresh token", &tokens.refresh, &[TOKEN]);
    }
    assert!(world.admits(&second.access));
    world.upstream.answers(|_| Answer::whole("401 Unauthorized", &[("WWW-Authenticate", "Bearer")], ""));
    assert_eq!(world.call("/nowhere", &second.access).status, 404);
    world.call("/mcp", &second.access);
    world.upstream.answers(|_| Answer::json("{}"));
    world.refresh(client, &first.refresh).refuses(400, "invalid_grant");
    world.exchange(client, returned.code(), &pkce).refuses(400, "invalid_grant");
    assert!(!world.admits(&second.access));

    let (pkce, third) = (Pkce::new(), world.public_client("A third"));
    let code = world.code(client, &pkce);
    secrets.add("a code", &code, &[RETURNED]);
    world.exchange(&third, &code, &pkce).refuses(400, "invalid_grant");
    let tokens = Tokens::of(&world.exchange(client, &code, &pkce));
    secrets.add("an access token", &tokens.access, &[TOKEN]);
    secrets.add("a refresh token", &tokens.refresh, &[TOKEN]);
    world.exchange(client, &code, &pkce).refuses(400, "invalid_grant");
    assert_eq!(world.revoke(client, &tokens.refresh).status, 200);
    world.revoke(&third, &first.access).refuses(400, "invalid_grant");
}

/// Logins that end at every place where one can end.
fn broken_logins(world: &World, client: &Client, secrets: &mut Secrets) {
    let ask = Ask::of(client, &Pkce::new());
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask);
    assert_eq!(Returned::of(&browser.answer(&consent, "deny")).error(), "access_denied");
    let mut stranger = world.browser();
    assert!(matches!(stranger.answer(&consent, "approve").status, 400 | 403));
    let scripts = [
        Script::answer("500 Internal Server Error", "text/plain", "a stack trace of the provider"),
        Script::answer("400 Bad Request", "application/json", r#"{"error":"invalid_client"}"#),
        Script::answer("200 OK", "application/json", "{\"access_token\":\"provider-at-in-a-broken-answer\",,}"),
        Script::claims(json!({ "nonce": "a-nonce-of-another-login" })),
        Script::claims(json!({ "iss": "https://elsewhere.example" })),
        Script { seed: [9; 32], ..Script::default() },
        Script { header: json!({ "kid": "unknown" }), ..Script::default() },
        Script { rewrite: Some(Box::new(|token| token.replace('.', "!"))), ..Script::default() },
        Script { hangs_up: true, ..Script::default() },
    ];
    secrets.add("a provider's broken answer", "provider-at-in-a-broken-answer", &[]);
    for script in scripts {
        let mut browser = world.browser();
        let consent = browser.consent_page(&ask);
        let authorization = browser.approve(&consent);
        secrets.add("a nonce", authorization.param("nonce"), &[APPROVED]);
        let code = world.provider.issue(&authorization, script);
        Returned::of(&browser.callback(&[("code", &code), ("state", authorization.param("state"))])).error();
    }
    let authorization = browser.approve(&consent);
    let strange = "provider-code-for-nobody-at-all";
    secrets.add("a provider's code", strange, &[]);
    assert_eq!(browser.callback(&[("code", strange), ("state", "a-state-of-nobody")]).status, 400);
    assert_eq!(browser.callback(&[("code", strange)]).status, 400);
    let denied = [("error", "access_denied"), ("state", authorization.param("state"))];
    assert_eq!(Returned::of(&browser.callback(&denied)).error(), "access_denied");
}

/// Requests that cannot be read, full of what nobody should see.
fn badly_formed(world: &World, secrets: &Secrets) {
    let mut kinds = BTreeSet::new();
    for known in secrets.0.iter().filter(|known| kinds.insert(known.name.as_str())) {
        let value = &known.value;
        let requests = [
            Request::get(&format!("/{value}")),
            Request::get(&format!("/oauth/authorize?{value}=1&client_id={value}&redirect_uri={value}")),
            Request::get(&format!("/oauth/callback?code={value}&state={value}&error={value}")),
            Request::form("/oauth/token", &[("grant_type", value), ("client_id", value)]),
            Request::form(
                "/oauth/token",
                &[("grant_type", "refresh_token"), ("client_id", value), ("client_secret", value)],
            ),
            Request::form("/oauth/token", &[(value.as_str(), "1"), (value, "2")]),
            Request::post("/oauth/token").header("Content-Type", value).body(value.as_str()),
            Request::form("/oauth/revoke", &[("token", value), ("client_id", value)]),
            Request::form("/oauth/consent", &[("flow", value), ("csrf", value), ("choice", value)]),
            Request::json("/oauth/register", &json!({ "redirect_uris": [value], "client_name": value })),
            Request::json("/oauth/register", &json!({ "redirect_uris": [REDIRECT], "grant_types": [value] })),
            Request::post("/mcp").header("Authorization", value).body("{}"),
            Request::post("/mcp").header("Authorization", &format!("Bearer {value}")).header("Origin", value),
            Request::get("/mcp").header("Host", value),
            Request::get("/oauth/authorize").header("Cookie", &format!("__Host-pc-csrf={value}")),
            Request::new("PUT", &format!("/oauth/token?{value}")),
        ];
        for mut request in requests {
            // A target or header holds no line end and nothing beyond ASCII; the values have neither.
            request.headers.retain(|(_, value)| value.is_ascii());
            let response = world.browser().send(request.clone());
            assert!(response.status >= 400, "{request:?} {response:?}");
        }
    }
}
