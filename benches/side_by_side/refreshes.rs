//! Refresh grants beside another authorization server: the npm package `oidc-provider`, on Node, in `tests/parts`.
//!
//! On both sides a confidential client with `client_secret_basic`, opaque tokens, rotation at every use, all in memory. Each session
//! is refreshed again and again with the token that came last, over a kept connection.

use super::alone::line;
use super::harness::process::cpu_of;
use super::harness::{Client, Connection, at_once};
use super::machine::gate;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Sessions that are refreshed at the same time.
const SESSIONS: usize = 8;
const PARTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parts");

/// First the gate, then the other.
pub fn measure(seconds: u64) {
    println!(
        "refresh grants: a confidential client, opaque tokens that rotate at every use, {SESSIONS} sessions in turn"
    );
    let time = Duration::from_secs(seconds);
    let folder = std::env::temp_dir().join(format!("portcullis-refreshes-{}", std::process::id()));
    // Without a grace: within it, the ninth rotation would be none.
    let (process, world) = gate(&folder, |config| config["refreshGrace"] = "0s".into());
    let client = world.confidential_client("A bench");
    let tokens: Vec<String> = (0..SESSIONS).map(|_| world.tokens(&client).refresh).collect();
    let here =
        Server { address: world.gate.public(), host: super::harness::HOST.to_owned(), target: "/oauth/token", client };
    let own = here.refresh(tokens, time, || process.cpu());
    line("the gate, refreshes per second", own);
    let _ = std::fs::remove_dir_all(folder);
    if !Path::new(PARTS).join("node_modules").exists() {
        return line("oidc-provider", "left out: `npm ci` in tests/parts brings it");
    }
    let mut other = Other::start();
    let (server, tokens, id) = other.sessions();
    line("oidc-provider, the same", server.refresh(tokens, time, || cpu_of(id)));
}

/// An authorization server.
struct Server {
    address: SocketAddr,
    host: String,
    target: &'static str,
    client: Client,
}

impl Server {
    /// How many in a second, and what each costs.
    fn refresh(&self, tokens: Vec<String>, time: Duration, cpu: impl Fn() -> Duration) -> String {
        let (before, begun) = (cpu(), Instant::now());
        let counts = at_once(tokens.len(), |place| {
            let (mut connection, mut token, mut count) = (Connection::to(self.address), tokens[place].clone(), 0_u32);
            while begun.elapsed() < time {
                let fields = [("grant_type", "refresh_token"), ("refresh_token", &token)];
                let request = self.client.form(self.target, &fields).header("Host", &self.host);
                let answer: serde_json::Value = serde_json::from_slice(&connection.exchange(&request).body).unwrap();
                let next = answer["refresh_token"].as_str().unwrap_or_else(|| panic!("{answer}"));
                assert_ne!(next, token, "the refresh token did not rotate");
                next.clone_into(&mut token);
                count += 1;
            }
            count
        });
        let count: u32 = counts.iter().sum();
        let each = (cpu() - before).as_secs_f64() * 1e6 / f64::from(count);
        format!("{:.0} ({each:.0} us CPU each)", f64::from(count) / begun.elapsed().as_secs_f64())
    }
}

/// The script that holds the other. It ends with its standard input.
struct Other(Child);

impl Other {
    fn start() -> Self {
        let mut script = Command::new("node");
        script.arg(format!("{PARTS}/refreshes.mjs")).args(["--sessions", &SESSIONS.to_string()]);
        Self(script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("node is needed"))
    }

    /// The server, the refresh tokens of its sessions, and its process.
    fn sessions(&mut self) -> (Server, Vec<String>, u32) {
        let mut said = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let facts: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let text = |name: &str| facts[name].as_str().unwrap().to_owned();
        let host = text("issuer").trim_start_matches("http://").to_owned();
        let client = Client::confidential(&text("id"), &text("secret"));
        let server = Server { address: host.parse().unwrap(), host, target: "/token", client };
        let tokens =
            facts["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap().to_owned()).collect();
        (server, tokens, facts["provider"].as_u64().unwrap().try_into().unwrap())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
