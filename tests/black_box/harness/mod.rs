//! What every black-box test stands on: a gate with its provider and its MCP server, and clients of all of them.
#![allow(dead_code, unused_imports, reason = "a helper may wait for the test that needs it next")]

pub mod browser;
pub mod http;
pub mod process;
pub mod provider;
pub mod signer;
pub mod tls;
pub mod upstream;

pub use browser::{Ask, Authorization, Browser, Client, Consent, Pkce, Returned, Tokens};
pub use http::{Connection, Request, Response};
pub use process::Process as Program;
pub use provider::{Provider, Script};
pub use upstream::{Answer, Upstream};

use portcullis::Running;
use portcullis::config::{Config, Process};
use portcullis::embed::Embedded;
use portcullis_domain::journal::Happened;
use rustls::ClientConfig;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

/// The base URL of every gate. It is only a name: clients connect to the address that the gate really has, so no test needs
/// to know a port before the gate runs.
pub const BASE: &str = "https://gate.example";
/// The `Host` of [`BASE`].
pub const HOST: &str = "gate.example";
/// The only resource, unless a test configures another.
pub const RESOURCE: &str = "https://gate.example/mcp";
/// The scope of [`RESOURCE`].
pub const SCOPE: &str = "mcp";
/// The gate's master key in hex.
pub const MASTER_KEY: &str = "8f1c2ba7d3e4956077c1f0aa4be2d8196ec305b47f92da1018e3b65c40f7a92d";
/// The redirect that clients use unless they say otherwise.
pub const REDIRECT: &str = "http://127.0.0.1:33418/callback";
/// The gate's client identifier at the provider.
pub const PROVIDER_CLIENT: &str = "the-gate";
/// The gate's client secret at the provider.
pub const PROVIDER_SECRET: &str = "provider-side-secret-4711";

/// Exchanges that are kept.
const TRANSCRIPT_MAX: usize = 10_000;

/// How long anything may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take: longer than the gate itself waits for its provider.
pub const SILENCE: Duration = Duration::from_secs(20);

/// A gate, its identity provider and its MCP server.
pub struct World {
    pub gate: Gate,
    pub provider: Provider,
    pub upstream: Upstream,
    transcript: Mutex<Vec<(Request, Response)>>,
}

impl World {
    /// With the configuration of [`configuration`].
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// With a configuration that is changed first.
    pub fn with(change: impl FnOnce(&mut Value)) -> Self {
        Self::before(Upstream::start(), change)
    }

    /// The same, before this MCP server.
    pub fn before(upstream: Upstream, change: impl FnOnce(&mut Value)) -> Self {
        let provider = Provider::start();
        let mut config = configuration(&provider, &upstream);
        change(&mut config);
        let gate = Gate::start(&config);
        gate.until_ready();
        Self::around(gate, provider, upstream)
    }

    /// Around a gate that runs already, wherever it runs.
    pub const fn around(gate: Gate, provider: Provider, upstream: Upstream) -> Self {
        Self { gate, provider, upstream, transcript: Mutex::new(Vec::new()) }
    }

    /// Sends one request on a connection of its own to the public listener.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Response {
        self.send_from(Ipv4Addr::LOCALHOST, request)
    }

    /// The same, from this address.
    #[track_caller]
    pub fn send_from(&self, source: Ipv4Addr, request: &Request) -> Response {
        let response = self.gate.connect(source).last(request);
        let mut transcript = self.transcript.lock().unwrap();
        // No test needs more; a measurement of a great many logins would hold all of them.
        if transcript.len() < TRANSCRIPT_MAX {
            transcript.push((request.clone(), response.clone()));
        }
        drop(transcript);
        response
    }

    /// Everything that was sent with [`World::send`], with its answers.
    pub fn transcript(&self) -> Vec<(Request, Response)> {
        self.transcript.lock().unwrap().clone()
    }

    /// What the gate's metrics count under this name and these labels.
    pub fn counted(&self, name: &str) -> u64 {
        let metrics = http::once(self.gate.admin(), &Request::get("/metrics")).text();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.unwrap_or_default()
    }

    /// How often this audit event happened.
    pub fn happened(&self, event: &str) -> u64 {
        assert!(Happened::ALL.iter().any(|known| known.name() == event), "there is no such event: {event}");
        self.counted(&format!("portcullis_audit_events_total{{event=\"{event}\"}}"))
    }

    /// A connection to the public listener.
    pub fn connect(&self) -> Connection {
        self.gate.connect(Ipv4Addr::LOCALHOST)
    }

    /// A browser without any cookie.
    pub fn browser(&self) -> Browser<'_> {
        Browser::new(self)
    }
}

/// A configuration that works, with limits that no test meets by accident.
pub fn configuration(provider: &Provider, upstream: &Upstream) -> Value {
    json!({
        "baseUrl": BASE,
        "listen": free_address(),
        "adminListen": free_address(),
        "masterKeys": [MASTER_KEY],
        "provider": "oidc",
        "oidc": {
            "issuerUrl": provider.issuer(),
            "clientId": PROVIDER_CLIENT,
            "clientSecret": PROVIDER_SECRET,
        },
        "resources": [{
            "path": "/mcp",
            "upstream": format!("{}/mcp", upstream.url()),
            "scopes": [{ "name": SCOPE, "description": "Use the tools" }],
        }],
        "allowPublicClientRegistration": true,
        "rateLimits": {
            "perAddress": {
                "registrationsPerHour": 1_000_000,
                "tokenPerSecond": 1_000_000, "tokenBurst": 1_000_000,
                "authorizePerSecond": 1_000_000, "authorizeBurst": 1_000_000,
                "refusedPerSecond": 1_000_000, "refusedBurst": 1_000_000,
            },
            "perClient": { "requestsPerSecond": 1_000_000, "requestBurst": 1_000_000 },
            "perPerson": { "requestsPerSecond": 1_000_000, "requestBurst": 1_000_000 },
            "securityEvents": { "perSecond": 1_000_000, "burst": 1_000_000 },
        },
    })
}

/// An address to listen on. Each is on a loopback address of its own, so nobody but its owner looks for a port there.
pub fn free_address() -> SocketAddr {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = COUNT.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    // Test binaries that run at the same time stay apart by their process numbers. 127.0 is everybody's.
    let process = u8::try_from(std::process::id() % 254).unwrap() + 1;
    TcpListener::bind((Ipv4Addr::new(127, process, high, low), 0)).unwrap().local_addr().unwrap()
}

/// A gate. One that runs in this process ends when it is dropped.
pub struct Gate {
    running: Option<Running>,
    public: SocketAddr,
    admin: SocketAddr,
    /// How its public listener is spoken to, if over TLS.
    tls: Option<Arc<ClientConfig>>,
}

impl Gate {
    /// Panics with all complaints if the configuration does not load.
    pub fn start(config: &Value) -> Self {
        Self::embedding(config, Vec::new())
    }

    /// One before services of this process.
    pub fn embedding(config: &Value, services: Vec<(String, Embedded)>) -> Self {
        Self::try_embedding(config, services).unwrap_or_else(|why| panic!("{why}"))
    }

    /// The same, or why it does not start.
    pub fn try_embedding(config: &Value, services: Vec<(String, Embedded)>) -> Result<Self, String> {
        let tls = spoken(config);
        let config = Config::read(&config.to_string(), &Process).unwrap_or_else(|complaints| panic!("{complaints}"));
        let running = Running::start_with(config, services).map_err(|error| error.to_string())?;
        Ok(Self { public: running.public(), admin: admin_of(&running), tls, running: Some(running) })
    }

    /// One that is watched by this process.
    pub fn watched(config: &Value, watcher: Arc<dyn portcullis::embed::Watcher>) -> Self {
        let config = Config::read(&config.to_string(), &Process).unwrap_or_else(|complaints| panic!("{complaints}"));
        let running = Running::start_watched(config, Vec::new(), Some(watcher)).unwrap_or_else(|why| panic!("{why}"));
        Self { public: running.public(), admin: admin_of(&running), tls: None, running: Some(running) }
    }

    /// The operator's hand on its sessions.
    pub fn sessions(&self) -> portcullis::embed::Sessions {
        self.running.as_ref().unwrap().sessions()
    }

    /// A gate in another process.
    pub fn elsewhere(public: SocketAddr, admin: SocketAddr) -> Self {
        Self { running: None, public, admin, tls: None }
    }

    /// One in another process that has this configuration.
    pub fn configured(config: &Value) -> Self {
        let address = |key: &str| config[key].as_str().unwrap().parse().unwrap();
        Self { running: None, public: address("listen"), admin: address("adminListen"), tls: spoken(config) }
    }

    /// Where the public listener listens.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where the admin listener listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// A connection to the public listener from this address of this machine, over TLS if that is what it speaks.
    pub fn connect(&self, source: Ipv4Addr) -> Connection {
        let connection = Connection::from(source, self.public);
        match &self.tls {
            None => connection,
            Some(config) => connection.secured(config, HOST),
        }
    }

    /// Lets it take over what may change while it runs; or why it does not.
    pub fn take_over(&self, config: &Value) -> Result<(), String> {
        let config = Config::read(&config.to_string(), &Process).unwrap_or_else(|complaints| panic!("{complaints}"));
        self.running.as_ref().unwrap().take_over(config).map(drop).map_err(|refused| refused.to_string())
    }

    /// Tells it to end, without waiting.
    pub fn stop(&self) {
        if let Some(running) = &self.running {
            running.stop();
        }
    }

    /// Waits until it has discovered its provider.
    pub fn until_ready(&self) {
        ready(self.connect(Ipv4Addr::LOCALHOST));
    }
}

/// Where it is, if it is at an address; nowhere if it is a socket.
fn admin_of(running: &Running) -> SocketAddr {
    running.admin().unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into())
}

/// How a public listener is spoken to, if over TLS.
fn spoken(config: &Value) -> Option<Arc<ClientConfig>> {
    config.get("tls").map(|_| tls::client(rustls::ALL_VERSIONS, &["http/1.1"]))
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until the gate at this address has discovered its provider.
pub fn until_ready(gate: SocketAddr) {
    ready(Connection::to(gate));
}

fn ready(mut connection: Connection) {
    eventually("the gate discovers its provider", || {
        connection.exchange(&Request::get("/health")).text().contains("\"ok\"")
    });
}

/// Does the same from this many threads at one moment: what each of them got.
pub fn at_once<T: Send>(times: usize, act: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(times);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..times)
            .map(|place| {
                let (start, act) = (&start, &act);
                scope.spawn(move || {
                    start.wait();
                    act(place)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Waits for something that is about to happen.
pub fn eventually(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
