//! What a protected request costs, counted in instructions of the release binary: the same on every machine and under every load.
//!
//! The binary runs under callgrind twice, with few requests and with many, over kept connections and with several in flight; the
//! difference is what the requests cost, without the start. Time is not measured here: benches/ does that.
//!
//! The same kind of load, with everything else that a gate does, trains the binary in the first place: [`training`].

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests may panic, and the count is there to be read"
)]

#[path = "../black_box/harness/mod.rs"]
mod harness;
mod training;

use harness::{Answer, Connection, Gate, Provider, Request, Upstream, World};
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// User instructions that a request may cost, from its first byte to the last of its answer.
const INSTRUCTIONS_MAX: u64 = 28_000;
/// Connections of clients that are busy at the same time.
const CLIENTS: usize = 16;
/// Requests of the two runs, each.
const ROUNDS: [usize; 2] = [1_000, 5_000];
/// The program starts slowly under callgrind.
const START: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs a release binary, named in PORTCULLIS_BINARY, and valgrind"]
fn a_protected_request_costs_at_most_so_many_instructions() {
    let [few, many] = ROUNDS.map(|requests| instructions(&binary(), requests));
    let requests = u64::try_from((ROUNDS[1] - ROUNDS[0]) / CLIENTS * CLIENTS).unwrap();
    let each = (many - few) / requests;
    println!("{each} instructions per request ({few} with {} requests, {many} with {})", ROUNDS[0], ROUNDS[1]);
    // Far less than any HTTP library needs: then something else was counted.
    assert!(each > 5_000, "the count is not that of requests");
    assert!(each <= INSTRUCTIONS_MAX, "{each} instructions per request, more than {INSTRUCTIONS_MAX}");
}

/// The binary that is put to work.
fn binary() -> PathBuf {
    PathBuf::from(std::env::var_os("PORTCULLIS_BINARY").expect("PORTCULLIS_BINARY names a binary"))
}

/// The instructions of a whole life in which so many requests are answered.
fn instructions(binary: &Path, requests: usize) -> u64 {
    let folder = std::env::temp_dir().join(format!("portcullis-cost-{}-{requests}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (provider, upstream) = (Provider::start(), Upstream::start());
    upstream.answers(|_| Answer::json(&answer()));
    let config = harness::configuration(&provider, &upstream);
    let gate = Gate::configured(&config);
    let public = gate.public();
    let (file, counts) = (folder.join("gate.json"), folder.join("counts"));
    std::fs::write(&file, config.to_string()).unwrap();

    let mut process = Process::start(binary, &file, &counts);
    process.until_listening(public);
    let world = World::around(gate, provider, upstream);
    world.gate.until_ready();
    let token = world.tokens(&world.public_client("Cost")).access;
    let request = request(&token);
    harness::at_once(CLIENTS, |_| {
        let mut connection = Connection::to(public);
        for _ in 0..requests / CLIENTS {
            assert_eq!(connection.exchange(&request).status, 200);
        }
    });
    process.end();
    let counted = std::fs::read_to_string(&counts).unwrap();
    // For whoever wants to know where they went: callgrind_annotate reads it.
    if let Some(kept) = std::env::var_os("PORTCULLIS_COUNTS") {
        std::fs::copy(&counts, kept).unwrap();
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let total = counted.lines().find_map(|line| line.strip_prefix("totals: ")).expect("callgrind writes totals");
    total.trim().parse().unwrap()
}

/// A small answer of an MCP server.
fn answer() -> String {
    format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"text":"{}"}}}}"#, "x".repeat(320))
}

/// A call as MCP clients send it: about 500 bytes of head and 150 of body.
fn request(token: &str) -> Request {
    let call = json!({
        "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": "search", "arguments": { "query": "y".repeat(60) } },
    });
    Request::json("/mcp", &call)
        .bearer(token)
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2025-11-25")
        .header("User-Agent", "a-client/1.0")
}

/// The gate under callgrind. Killed when dropped.
struct Process(Child);

impl Process {
    fn start(binary: &Path, config: &Path, counts: &Path) -> Self {
        let out = format!("--callgrind-out-file={}", counts.display());
        let child = Command::new("valgrind")
            .args(["--quiet", "--tool=callgrind", &out])
            .arg(binary)
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("valgrind is installed");
        Self(child)
    }

    fn until_listening(&mut self, public: std::net::SocketAddr) {
        let end = Instant::now() + START;
        while std::net::TcpStream::connect(public).is_err() {
            if self.0.try_wait().unwrap().is_some() || Instant::now() > end {
                let mut said = String::new();
                self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("the gate does not listen: {said}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Tells it to end, and waits until it has.
    fn end(&mut self) {
        let told = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(told.success());
        let end = Instant::now() + START;
        while self.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "the gate does not end");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
