//! A crowd of strangers behind one proxy: each says that it comes from somewhere else.

use crate::chance::Chance;
use crate::harness::http::{Request, escape, form};
use crate::harness::{BASE, Connection, HOST, REDIRECT, RESOURCE, Response};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// Stands in the place of every secret that the crowd sends: nobody may say it again.
pub const CANARY: &str = "canary-that-nobody-may-repeat-7f3a";

/// People of the crowd who speak at once.
const VOICES: u64 = 4;

/// How much of what the crowd sends, and how fast.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Requests to any endpoint, well-formed and broken.
    pub requests: u64,
    /// Registrations that are in order.
    pub registrations: u64,
    /// Logins that are begun, half of them approved, and never finished.
    pub logins: u64,
    /// Clients that are documents somewhere.
    pub documents: u64,
    /// All of them together, a second.
    pub per_second: u64,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Tally {
    sent: u64,
    statuses: BTreeMap<u16, u64>,
    /// Connections that ended without an answer.
    silent: u64,
    /// Answers that nothing announces.
    pub undocumented: Vec<String>,
    /// Answers that hold a secret.
    pub astray: Vec<String>,
}

impl Tally {
    pub fn sent(&self) -> u64 {
        self.sent
    }

    pub fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    fn join(mut self, other: Self) -> Self {
        self.sent += other.sent;
        self.silent += other.silent;
        other.statuses.into_iter().for_each(|(status, count)| *self.statuses.entry(status).or_default() += count);
        self.undocumented.extend(other.undocumented);
        self.astray.extend(other.astray);
        self
    }

    fn take(&mut self, answer: &Response, secrets: &[String], request: &[u8]) {
        *self.statuses.entry(answer.status).or_default() += 1;
        let text = answer.text();
        let head =
            || format!("{} {text} to {:?}", answer.status, String::from_utf8_lossy(&request[..request.len().min(600)]));
        // A gate that has no room says when to come back; a version of HTTP that is not spoken is said to be none.
        let excused = (answer.status == 503 && answer.header("retry-after").is_some()) || answer.status == 505;
        if answer.status >= 500 && !excused && self.undocumented.len() < 20 {
            self.undocumented.push(head());
        }
        let fields = answer.headers.iter().map(|(_, value)| value.as_str());
        let hit = |said: &str| said.contains(CANARY) || secrets.iter().any(|secret| said.contains(secret.as_str()));
        if (hit(&text) || fields.into_iter().any(hit)) && self.astray.len() < 20 {
            self.astray.push(head());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} sent, {} without an answer; by status: {:?}", self.sent, self.silent, self.statuses)
    }
}

/// The whole crowd, until it has said everything.
pub fn storm(to: SocketAddr, plan: &Plan, secrets: &[String], seed: u64) -> Tally {
    thread::scope(|scope| {
        let voices: Vec<_> = (0..VOICES)
            .map(|voice| {
                scope.spawn(move || Voice::new(to, secrets, seed.wrapping_mul(1_000).wrapping_add(voice)).speak(plan))
            })
            .collect();
        voices.into_iter().map(|voice| voice.join().unwrap()).fold(Tally::default(), Tally::join)
    })
}

struct Voice<'a> {
    to: SocketAddr,
    secrets: &'a [String],
    chance: Chance,
    kept: Option<Connection>,
    client: String,
    tally: Tally,
}

impl<'a> Voice<'a> {
    fn new(to: SocketAddr, secrets: &'a [String], seed: u64) -> Self {
        let chance = Chance::new(seed);
        Self { to, secrets, chance, kept: None, client: "nobody".into(), tally: Tally::default() }
    }

    fn speak(mut self, plan: &Plan) -> Tally {
        let share = |count: u64| count.div_ceil(VOICES);
        let mut left = [plan.registrations, plan.requests, plan.logins, plan.documents].map(share);
        let all: u64 = left.iter().sum();
        let begun = Instant::now();
        for said in 0..all {
            let due = Duration::from_micros(said * 1_000_000 * VOICES / plan.per_second.max(1));
            thread::sleep(due.saturating_sub(begun.elapsed()));
            let mut pick = self.chance.below(left.iter().sum());
            let kind =
                left.iter().position(|count| pick.checked_sub(*count).map(|rest| pick = rest).is_none()).unwrap();
            left[kind] -= 1;
            match kind {
                0 => self.register(),
                1 if self.chance.percent(25) => self.broken(),
                1 => self.anything(),
                2 => self.abandoned(),
                _ => self.document(),
            }
        }
        self.tally
    }

    /// Somebody in ten million, or one of a few who do not stop.
    fn address(&mut self) -> String {
        let number = if self.chance.percent(20) { self.chance.below(4) } else { self.chance.below(10_000_000) };
        let [.., a, b, c] = number.to_be_bytes();
        format!("10.{a}.{b}.{c}")
    }

    /// One request on the connection that stands; what comes back.
    fn send(&mut self, request: Request, address: &str) -> Option<Response> {
        let request = request.header("X-Forwarded-For", address);
        let bytes = request.bytes();
        let mut connection = self.kept.take().unwrap_or_else(|| Connection::to(self.to));
        self.tally.sent += 1;
        connection.write(&bytes);
        match connection.response(&request.method) {
            Ok(answer) => {
                self.tally.take(&answer, self.secrets, &bytes);
                if answer.header("connection") != Some("close") {
                    self.kept = Some(connection);
                }
                Some(answer)
            }
            Err(_) => {
                self.tally.silent += 1;
                None
            }
        }
    }

    fn register(&mut self) {
        let (address, number) = (self.address(), self.chance.below(1_000_000));
        let metadata = json!({
            "client_name": format!("Client {number}"), "redirect_uris": [REDIRECT, format!("http://127.0.0.1/{number}")],
            "token_endpoint_auth_method": if self.chance.percent(50) { "none" } else { "client_secret_post" },
        });
        if let Some(answer) = self.send(Request::json("/oauth/register", &metadata), &address)
            && answer.status == 201
        {
            self.client = answer.json()["client_id"].as_str().unwrap().to_owned();
        }
    }

    fn ask(&self, client: &str) -> Vec<(&'static str, String)> {
        [
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", REDIRECT),
            ("resource", RESOURCE),
            ("state", "state-1"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec()
    }

    /// A login that goes as far as the page, or as far as the provider, and no further.
    fn abandoned(&mut self) {
        let address = self.address();
        let target = format!("/oauth/authorize?{}", form(&self.ask(&self.client)));
        let Some(page) = self.send(Request::get(&target), &address).filter(|page| page.status == 200) else { return };
        if self.chance.percent(50) {
            return;
        }
        let text = page.text();
        let field = |name: &str| -> Option<String> {
            let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let (Some(flow), Some(csrf)) = (field("flow"), field("csrf")) else { return };
        let cookie =
            page.header("set-cookie").and_then(|cookie| cookie.split(';').next()).unwrap_or_default().to_owned();
        let fields = [("flow", flow.as_str()), ("csrf", &csrf), ("choice", "approve")];
        let request = Request::form("/oauth/consent", &fields).header("Origin", BASE).header("Cookie", &cookie);
        self.send(request.header("Sec-Fetch-Site", "same-origin"), &address);
    }

    fn document(&mut self) {
        let (address, number) = (self.address(), self.chance.next());
        let host = ["a.invalid", "127.0.0.1", "[::1]", "169.254.169.254", "localhost", "gate.example"];
        let url = format!("https://{}/{number}.json", host[self.chance.place(host.len())]);
        let target = format!("/oauth/authorize?{}", form(&self.ask(&url)));
        self.send(Request::get(&target), &address);
    }

    /// A request to any endpoint, well-formed as far as HTTP goes.
    fn anything(&mut self) {
        let address = self.address();
        let request = self.whatever();
        self.send(request, &address);
    }

    fn whatever(&mut self) -> Request {
        const FIELDS: [&str; 20] = [
            "response_type",
            "client_id",
            "redirect_uri",
            "scope",
            "resource",
            "state",
            "code_challenge",
            "code_challenge_method",
            "prompt",
            "max_age",
            "grant_type",
            "flow",
            "csrf",
            "choice",
            "error",
            "iss",
            "request",
            "request_uri",
            "response_mode",
            "client_assertion_type",
        ];
        const SECRETS: [&str; 6] =
            ["code", "code_verifier", "client_secret", "refresh_token", "token", "client_assertion"];
        const TARGETS: [&str; 19] = [
            "/oauth/authorize",
            "/oauth/consent",
            "/oauth/callback",
            "/oauth/token",
            "/oauth/revoke",
            "/oauth/introspect",
            "/oauth/userinfo",
            "/oauth/register",
            "/oauth/register/x",
            "/authorize",
            "/token",
            "/register",
            "/.well-known/oauth-authorization-server",
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/openid-configuration",
            "/oauth/jwks",
            "/health",
            "/mcp",
            "/metrics",
        ];
        const METHODS: [&str; 6] = ["GET", "POST", "POST", "DELETE", "OPTIONS", "HEAD"];
        let mut fields: Vec<(&str, String)> = Vec::new();
        for _ in 0..self.chance.below(10) {
            let value = self.value();
            fields.push((FIELDS[self.chance.place(FIELDS.len())], value));
        }
        if self.chance.percent(60) {
            fields.push((SECRETS[self.chance.place(SECRETS.len())], CANARY.to_owned()));
        }
        let target = TARGETS[self.chance.place(TARGETS.len())];
        let method = METHODS[self.chance.place(METHODS.len())];
        let mut request = if method == "POST" {
            Request::form(target, &fields)
        } else {
            Request::new(method, &format!("{target}?{}", form(&fields)))
        };
        if self.chance.percent(30) {
            let token = format!("{CANARY}{}", self.chance.next());
            request = if self.chance.percent(50) { request.bearer(&token) } else { request.basic("somebody", &token) };
        }
        if self.chance.percent(20) {
            request = request.header("Cookie", &format!("__Host-pc-csrf={CANARY}; __Host-pc-login-x={CANARY}"));
        }
        if self.chance.percent(20) {
            request = request.header("Origin", "https://elsewhere.example");
        }
        request
    }

    /// What a field may hold.
    fn value(&mut self) -> String {
        const VALUES: [&str; 20] = [
            "",
            "code",
            "S256",
            "plain",
            "authorization_code",
            "refresh_token",
            "client_credentials",
            REDIRECT,
            RESOURCE,
            "https://elsewhere.example/cb",
            "javascript:alert(1)",
            "\u{202e}moc",
            "<script>",
            "a\r\nSet-Cookie: x=y",
            "\0",
            "null",
            "-1",
            "18446744073709551616",
            "../../etc/passwd",
            "approve",
        ];
        match self.chance.below(10) {
            0 => "x".repeat(self.chance.place(6_000)),
            1 => self.client.clone(),
            2 => (0..self.chance.below(60)).map(|_| char::from(self.chance.below(256) as u8)).collect(),
            _ => VALUES[self.chance.place(VALUES.len())].to_owned(),
        }
    }

    /// Bytes that were a request, on a connection of their own.
    fn broken(&mut self) {
        let address = self.address();
        let whole = self.whatever().header("X-Forwarded-For", &address);
        let mut bytes = whole.bytes();
        // A canary in a field that is repeated by right, such as `state`, would be no news.
        let canary = escape(CANARY).into_bytes();
        let mut from = 0;
        while let Some(at) = bytes[from..].windows(canary.len()).position(|window| window == canary) {
            bytes[from + at..from + at + canary.len()].fill(b'c');
            from += at + canary.len();
        }
        for _ in 0..=self.chance.below(4) {
            let at = self.chance.place(bytes.len());
            match self.chance.below(6) {
                0 => bytes[at] = self.chance.below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\r\n\0 :;\t"[self.chance.place(7)]),
                3 => bytes.truncate(at.max(1)),
                4 => drop(bytes.splice(at..at, *b"\r\nTransfer-Encoding: chunked\r\n")),
                _ => drop(bytes.splice(at..at, format!("\r\nHost: {HOST}\r\n").into_bytes())),
            }
            if bytes.is_empty() {
                bytes.push(b'x');
            }
        }
        let mut connection = Connection::to(self.to);
        self.tally.sent += 1;
        connection.write(&bytes);
        connection.finish();
        match connection.response(&whole.method) {
            Ok(answer) => self.tally.take(&answer, self.secrets, &bytes),
            Err(_) => self.tally.silent += 1,
        }
    }
}
