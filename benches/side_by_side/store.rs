//! The gate with its sessions on Valkey, beside the gate with them in memory, in the same run.

use super::Extent;
use super::alone::{line, login, megabytes};
use super::harness::browser::refresh_request;
use super::harness::process::Process;
use super::harness::{Answer, Client, Tokens, World, at_once};
use super::load::{Caller, saturate, spread_over};
use super::machine::gate;
use super::proxies::{Proxy, call, server};
use super::valkey::server::{Make, Server, benchmark_program};
use portcullis_adapters::valkey::SCRIPT;
use serde_json::json;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Each in turn.
pub fn measure(extent: Extent) {
    println!("\nsessions on Valkey 9.1, one server without persistence, beside sessions in memory");
    let folder = std::env::temp_dir().join(format!("portcullis-store-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let store = Server::start(Make::Valkey9);
    protected(&folder, &store, extent);
    commits(&folder, &store, extent);
    let _ = std::fs::remove_dir_all(folder);
}

pub fn storage(store: &Server) -> serde_json::Value {
    json!({ "type": "valkey", "valkey": { "url": store.address().to_string() } })
}

/// Protected requests, pair by pair.
fn protected(folder: &std::path::Path, store: &Server, extent: Extent) {
    let (_server, behind) = server(folder);
    let start = |name: &'static str, on_valkey: bool| {
        let (process, world) = gate(&folder.join(name.replace(' ', "-")), |config| {
            config["resources"][0]["upstream"] = format!("http://{behind}/mcp").into();
            if on_valkey {
                config["storage"] = storage(store);
            }
        });
        let access = world.tokens(&world.public_client("A bench")).access;
        (Proxy::new(folder, name, (process, world.gate.public()), &access), world)
    };
    let (memory, _memory_world) = start("the gate, in memory", false);
    let (valkey, _valkey_world) = start("the gate, on Valkey", true);
    let time = Duration::from_secs(extent.seconds);
    let (mut throughput, mut cpu) = (Vec::new(), Vec::new());
    for round in 0..=extent.rounds.max(1) {
        let (one, other) = if round % 2 == 0 { (&memory, &valkey) } else { (&valkey, &memory) };
        let (first, second) = (saturate(one, time), saturate(other, time));
        let (memory, valkey) = if round % 2 == 0 { (first, second) } else { (second, first) };
        // The first round warms up.
        if round > 0 {
            throughput.push(valkey.per_second / memory.per_second);
            cpu.push(valkey.cpu_micros / memory.cpu_micros);
        }
    }
    let told = |values: Vec<f64>| {
        let (low, middle, high) = super::spread(values.into_iter());
        format!("{middle:.2} ({low:.2} to {high:.2})")
    };
    line("protected requests per second, on Valkey beside in memory", told(throughput));
    line("CPU of the gate per protected request, the same", told(cpu));
}

/// State changes: one commit each.
fn commits(folder: &std::path::Path, store: &Server, extent: Extent) {
    let (process, world) = gate(&folder.join("commits"), |config| config["storage"] = storage(store));
    world.upstream.answers(|_| Answer::json("{}"));
    let client = world.public_client("A bench");
    let mut few = logins(&world, &client, 0..1_000.min(extent.sessions));
    let own = eval_rate(store);
    let rate = refreshes(&process, &world, &client, &mut few);
    line("the server's own EVAL of this script, 32 connections, per second", format!("{own:.0}"));
    line("refresh grants per second, 32 connections, a commit each", format!("{rate:.0} ({:.2} of that)", rate / own));
    growth(&process, &world, store, &few);
    let begin = Instant::now();
    let mut all = logins(&world, &client, few.len()..extent.sessions);
    let took = begin.elapsed().as_secs_f64();
    line("logins per second, provider and browser included", format!("{:.0}", all.len() as f64 / took.max(0.001)));
    all.extend(few);
    growth(&process, &world, store, &all);
}

fn logins(world: &World, client: &Client, numbers: std::ops::Range<usize>) -> Vec<Tokens> {
    let more = Mutex::new(Vec::new());
    at_once(8, |worker| {
        for number in numbers.clone().skip(worker).step_by(8) {
            let tokens = login(world, client, number);
            more.lock().unwrap().push(tokens);
        }
    });
    more.into_inner().unwrap()
}

/// Every session once, over kept connections; what each has is superseded within its grace.
fn refreshes(process: &Process, world: &World, client: &Client, tokens: &mut [Tokens]) -> f64 {
    let requests: Vec<Vec<u8>> = tokens.iter().map(|tokens| refresh_request(client, &tokens.refresh).bytes()).collect();
    let (before, begin) = (process.cpu(), Instant::now());
    at_once(32, |worker| {
        let mut caller = Caller::to(world.gate.public());
        for request in requests.iter().skip(worker).step_by(32) {
            caller.call(request);
        }
    });
    let count = requests.len() as f64;
    line(
        "CPU of the gate per refresh grant",
        format!("{:.0} us", (process.cpu() - before).as_secs_f64() * 1e6 / count),
    );
    count / begin.elapsed().as_secs_f64()
}

/// How often the server carries this very script out when nothing stands between it and `redis-benchmark`.
fn eval_rate(store: &Server) -> f64 {
    let record =
        "1the-very-stamp-0and a body as long as that of a grant, which is some two hundred bytes and more ".repeat(2);
    store.ask(&["SET", "{bench}", &record]);
    let address = store.address();
    let mut command = Command::new(benchmark_program());
    command.args(["-h", &address.ip().to_string(), "-p", &address.port().to_string()]);
    command.args(["-q", "-n", "60000", "-c", "32", "EVAL", SCRIPT, "1", "{bench}", "", "the-very-stamp-0", "1", ""]);
    let output = command.arg(&record).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(store.ask(&["GETRANGE", "{bench}", "1", "16"]).text(), "the-very-stamp-0");
    let last = text.rsplit_once(" requests per second").unwrap_or_else(|| panic!("{text}")).0;
    last.rsplit([' ', '\r', ':']).next().unwrap().parse().unwrap_or_else(|_| panic!("{text}"))
}

/// What so many sessions take, all of them asked about a moment ago, so that the server remembers whom it has to tell of them.
fn growth(process: &Process, world: &World, store: &Server, tokens: &[Tokens]) {
    let requests: Vec<Vec<u8>> = tokens.iter().map(|tokens| call(&tokens.access).bytes()).collect();
    at_once(8, |worker| {
        let mut caller = Caller::to(world.gate.public());
        for request in requests.iter().skip(worker).step_by(8) {
            caller.call(request);
        }
    });
    let before = process.cpu();
    let count = spread_over(world.gate.public(), &requests, 4_000, Duration::from_secs(3)).len();
    let cpu = (process.cpu() - before).as_secs_f64() * 1e6 / count as f64;
    let info = |name: &str| store.info(name).and_then(|value| value.parse::<f64>().ok()).unwrap_or_default();
    let sessions = tokens.len();
    line(
        &format!("with {sessions} sessions: server memory, keys that it tracks"),
        format!("{}, {:.0}", megabytes(info("used_memory")), info("tracking_total_keys")),
    );
    let near = format!("{}, {cpu:.1} us", megabytes(process.resident()));
    line(&format!("with {sessions} sessions: the gate's resident memory, CPU per request in turn"), near);
}
