//! Everybody who takes part: one server, and before it nginx, HAProxy and the gate.

use super::harness::process::{Process, gate_of, until_listening};
use super::harness::{Request, World, free_address};
use super::machine::binary;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A proxy that can be put under load.
pub struct Proxy {
    pub name: String,
    pub address: SocketAddr,
    pub process: Process,
    /// What wrk sends.
    pub script: PathBuf,
    /// The same as bytes.
    pub request: Vec<u8>,
}

/// All of them, before one server. The first is nginx, with which the others are compared.
pub struct Bench {
    proxies: Vec<Proxy>,
    folder: PathBuf,
    _server: Process,
    _worlds: Vec<World>,
}

impl Bench {
    /// `beside`: binaries of further gates; without any, a second one is of the same.
    pub fn start(beside: &[PathBuf]) -> Self {
        let folder = std::env::temp_dir().join(format!("portcullis-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (server, behind) = server(&folder);
        let bearer = jwt(&folder);
        let mut proxies = vec![
            Proxy::new(&folder, "nginx", nginx(&folder, "plain", behind, ""), &bearer),
            Proxy::new(&folder, "nginx with five headers", nginx(&folder, "headers", behind, FIVE_HEADERS), &bearer),
            Proxy::new(&folder, "HAProxy with RS256", haproxy(&folder, behind), &bearer),
        ];
        let mut worlds = Vec::new();
        let mut gates = vec![("the gate".to_owned(), binary())];
        if beside.is_empty() {
            gates.push(("the gate once more".to_owned(), binary()));
        }
        for other in beside {
            gates.push((format!("the gate of {}", other.file_name().unwrap().display()), other.clone()));
        }
        for (name, binary) in gates {
            let (process, world) = gate_of(&binary, &folder.join(name.replace(' ', "-")), |config| {
                config["resources"][0]["upstream"] = format!("http://{behind}/mcp").into();
            });
            let access = world.tokens(&world.public_client("A bench")).access;
            proxies.push(Proxy::new(&folder, &name, (process, world.gate.public()), &access));
            worlds.push(world);
        }
        Self { proxies, folder, _server: server, _worlds: worlds }
    }

    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Proxy {
    pub fn new(folder: &Path, name: &str, running: (Process, SocketAddr), bearer: &str) -> Self {
        let (process, address) = running;
        until_listening(address);
        let request = call(bearer);
        let script = folder.join(format!("{}.lua", name.replace(' ', "-")));
        let fields: String =
            request.headers.iter().map(|(name, value)| format!("wrk.headers[\"{name}\"] = [[{value}]]\n")).collect();
        let body = String::from_utf8(request.body.clone().unwrap()).unwrap();
        let host = "wrk.headers[\"Host\"] = \"gate.example\"\n";
        fs::write(&script, format!("wrk.method = \"POST\"\nwrk.body = [[{body}]]\n{host}{fields}")).unwrap();
        Self { name: name.to_owned(), address, process, script, request: request.bytes() }
    }
}

/// A call as MCP clients send it.
pub fn call(bearer: &str) -> Request {
    let call = json!({
        "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": "search", "arguments": { "query": "y".repeat(50) } },
    });
    Request::json("/mcp", &call)
        .bearer(bearer)
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2025-11-25")
        .header("User-Agent", "a-client/1.0")
}

/// The server behind all of them: 370 bytes of JSON, whatever is asked.
pub fn server(folder: &Path) -> (Process, SocketAddr) {
    let text = "x".repeat(300);
    let answer = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#);
    let site = format!("default_type application/json; return 200 '{answer}';");
    run_nginx(folder, "server", 1, "", &site)
}

const FIVE_HEADERS: &str = "proxy_set_header X-Forwarded-User ada; proxy_set_header X-Forwarded-Email ada@example.com; \
    proxy_set_header X-Forwarded-Groups staff,admins; proxy_set_header X-Forwarded-For $remote_addr; \
    proxy_set_header Authorization \"\";";

fn nginx(folder: &Path, name: &str, behind: SocketAddr, more: &str) -> (Process, SocketAddr) {
    let upstream = format!("upstream behind {{ server {behind}; keepalive 64; }}");
    let site = format!("proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection \"\"; {more}");
    run_nginx(folder, name, 2, &upstream, &site)
}

fn run_nginx(folder: &Path, name: &str, workers: usize, upstream: &str, site: &str) -> (Process, SocketAddr) {
    let (address, own) = (free_address(), folder.join(format!("nginx-{name}")));
    fs::create_dir_all(&own).unwrap();
    let file = own.join("nginx.conf");
    let config = format!(
        "daemon off; worker_processes {workers}; pid {own}/pid; error_log /dev/null crit;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; keepalive_requests 100000000; client_body_temp_path {own}/a; proxy_temp_path {own}/b;\n\
         fastcgi_temp_path {own}/c; uwsgi_temp_path {own}/d; scgi_temp_path {own}/e;\n\
         {upstream}\nserver {{ listen {address} reuseport; location / {{ {site} }} }} }}\n",
        own = own.display()
    );
    fs::write(&file, config).unwrap();
    (Process::start(Command::new("nginx").arg("-c").arg(file).arg("-p").arg(own)), address)
}

fn haproxy(folder: &Path, behind: SocketAddr) -> (Process, SocketAddr) {
    let (address, file) = (free_address(), folder.join("haproxy.cfg"));
    let config = format!(
        "global\n nbthread 2\n maxconn 4096\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n http-reuse always\n\
         frontend f\n bind {address}\n\
         http-request set-var(txn.bearer) http_auth_bearer\n\
         http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(\"RS256\",\"{key}\") -m int 1 }}\n\
         default_backend b\n\
         backend b\n server s {behind}\n",
        key = folder.join("public.pem").display()
    );
    fs::write(&file, config).unwrap();
    (Process::start(Command::new("haproxy").arg("-db").arg("-f").arg(file)), address)
}

/// A token that HAProxy verifies, by a key of this run.
fn jwt(folder: &Path) -> String {
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).current_dir(folder).output().expect("openssl is needed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    openssl(&["genrsa", "-out", "private.pem", "2048"]);
    openssl(&["rsa", "-in", "private.pem", "-pubout", "-out", "public.pem"]);
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let claims = r#"{"iss":"https://gate.example","sub":"ada","exp":4102444800}"#;
    let signed = format!("{}.{}", encode(r#"{"alg":"RS256","typ":"JWT"}"#), encode(claims));
    fs::write(folder.join("signed"), &signed).unwrap();
    openssl(&["dgst", "-sha256", "-sign", "private.pem", "-out", "signature", "signed"]);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(fs::read(folder.join("signature")).unwrap()))
}
