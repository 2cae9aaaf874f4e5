//! The gate by itself: how fast it starts, what it holds, and what a session and a stream take.

use super::Extent;
use super::harness::process::{Process, until_listening};
use super::harness::{Ask, Pkce, Provider, Script, Tokens, Upstream};
use super::harness::{RESOURCE, Request, SCOPE, World, at_once, configuration};
use super::load::{Caller, spread_over};
use super::machine::{binary, gate};
use super::proxies::call;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Each in turn.
pub fn measure(extent: Extent) {
    println!("the gate by itself");
    let folder = std::env::temp_dir().join(format!("portcullis-alone-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    line("binary", format!("{:.2} MB", fs::metadata(binary()).unwrap().len() as f64 / 1e6));
    start(&folder);
    sessions(&folder, extent.sessions);
    streams(&folder, extent.streams);
    let _ = fs::remove_dir_all(folder);
}

pub fn line(what: &str, figure: impl std::fmt::Display) {
    println!("{what:<64} {figure}");
}

/// From the start of the process to its first answer, and what it holds when nothing has happened yet.
fn start(folder: &std::path::Path) {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let config = configuration(&provider, &upstream);
    let file = folder.join("start.json");
    fs::write(&file, config.to_string()).unwrap();
    let public: SocketAddr = config["listen"].as_str().unwrap().parse().unwrap();
    let mut times: Vec<f64> = Vec::new();
    for _ in 0..10 {
        let begin = Instant::now();
        let process = Process::start(Command::new(binary()).args(["serve", "--config"]).arg(&file));
        until_listening(public);
        Caller::to(public).call(b"GET /health HTTP/1.1\r\nHost: gate.example\r\n\r\n");
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        drop(process);
    }
    let (low, middle, high) = super::spread(times.into_iter());
    line("start to first answer, median of ten", format!("{middle:.1} ms ({low:.1} to {high:.1})"));
    let process = Process::start(Command::new(binary()).args(["serve", "--config"]).arg(&file));
    until_listening(public);
    std::thread::sleep(Duration::from_secs(2));
    line("resident, idle", megabytes(process.resident()));
}

pub fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

/// Whole logins over HTTP, each of another person; then the same load on a thousand of them and on all.
fn sessions(folder: &std::path::Path, count: usize) {
    let (process, world) = gate(&folder.join("sessions"), |_| {});
    world.upstream.answers(|_| super::harness::Answer::json("{}"));
    let client = world.public_client("A bench");
    // What grows once is no session's.
    let mut tokens: Vec<Tokens> = (0..100).map(|number| login(&world, &client, number)).collect();
    let (before, begin) = (process.resident(), Instant::now());
    let more = Mutex::new(Vec::new());
    at_once(4, |worker| {
        for number in (100 + worker..100 + count).step_by(4) {
            let tokens = login(&world, &client, number);
            more.lock().unwrap().push(tokens);
        }
    });
    tokens.extend(more.into_inner().unwrap());
    let took = begin.elapsed().as_secs_f64();
    let grown = process.resident() - before;
    line("logins per second, provider and browser included", format!("{:.0}", count as f64 / took));
    line("resident bytes per session, each of another person", format!("{:.0} over {count}", grown / count as f64));
    live(&process, &world, &tokens);
}

pub fn login(world: &World, client: &super::harness::Client, number: usize) -> Tokens {
    let pkce = Pkce::new();
    let ask = Ask::of(client, &pkce).set("resource", RESOURCE).set("scope", SCOPE);
    let code = world.code_for(&ask, Script::person(&format!("person-{number}")));
    Tokens::of(&world.exchange(client, &code, &pkce))
}

/// What it costs that there are more sessions than fit into any cache.
fn live(process: &Process, world: &World, tokens: &[Tokens]) {
    let requests: Vec<Vec<u8>> = tokens.iter().map(|tokens| call(&tokens.access).bytes()).collect();
    let cost = |requests: &[Vec<u8>]| {
        spread_over(world.gate.public(), requests, 4_000, Duration::from_secs(1));
        let before = process.cpu();
        let count = spread_over(world.gate.public(), requests, 4_000, Duration::from_secs(4)).len();
        (process.cpu() - before).as_secs_f64() * 1e6 / count as f64
    };
    let few = &requests[..requests.len().min(1_000)];
    let mut ratios = Vec::new();
    for _ in 0..3 {
        let (of_few, of_all) = (cost(few), cost(&requests));
        ratios.push(of_all / of_few);
    }
    let (low, middle, high) = super::spread(ratios.into_iter());
    let what = format!("CPU per request, {} sessions in turn beside {}", requests.len(), few.len());
    line(&what, format!("{middle:.2} ({low:.2} to {high:.2})"));
}

/// Event streams on which nothing happens.
fn streams(folder: &std::path::Path, count: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || hold(&listener));
    let (process, world) = gate(&folder.join("streams"), |config| {
        config["connectionsPerAddress"] = count.saturating_mul(2).into();
        let first = config["resources"][0].clone();
        let resource = |path: &str| {
            let mut resource = first.clone();
            resource["path"] = path.into();
            resource["upstream"] = format!("http://{address}{path}").into();
            resource
        };
        config["resources"] = ["/mcp", "/two", "/three", "/four"].map(resource).to_vec().into();
    });
    let client = world.public_client("A bench");
    let open = |path: &str, count: usize| -> Vec<TcpStream> {
        let pkce = Pkce::new();
        let resource = RESOURCE.replace("/mcp", path);
        let ask = Ask::of(&client, &pkce).set("resource", &resource).set("scope", SCOPE);
        let access = Tokens::of(&world.exchange(&client, &world.code_for(&ask, Script::default()), &pkce)).access;
        let request = Request::get(path).header("Accept", "text/event-stream").bearer(&access).bytes();
        let one = |_| {
            let mut stream = TcpStream::connect(world.gate.public()).unwrap();
            stream.write_all(&request).unwrap();
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            assert!(head.ends_with(b"200"), "{}", String::from_utf8_lossy(&head));
            stream
        };
        (0..count).map(one).collect()
    };
    let mut held = open("/mcp", 10);
    std::thread::sleep(Duration::from_secs(1));
    let before = process.resident();
    for path in ["/mcp", "/two", "/three", "/four"] {
        held.extend(open(path, count / 4));
    }
    std::thread::sleep(Duration::from_secs(2));
    let grown = process.resident() - before;
    line("resident bytes per idle stream, both sides", format!("{:.0} over {}", grown / count as f64, held.len() - 10));
    let (idle, begin) = (process.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(4));
    let share = (process.cpu() - idle).as_secs_f64() / begin.elapsed().as_secs_f64();
    line("CPU that they take, asked four times a second whether they stand", format!("{:.1} %", share * 100.0));
}

/// Begins a stream for everybody, and keeps it.
fn hold(listener: &TcpListener) {
    let mut held = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0; 512];
            let count = stream.read(&mut byte).unwrap_or(0);
            if count == 0 {
                break;
            }
            head.extend_from_slice(&byte[..count]);
        }
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        held.push(stream);
    }
}
