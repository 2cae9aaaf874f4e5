//! What the system may not give: room on the disk, file descriptors, threads (T283).
//!
//! Method: the gate in a process of its own, whose limits are set by the shell that starts it or by `prlimit` while it runs.

use super::harness::browser::{call_request, refresh_request};
use super::harness::http::form;
use super::harness::{
    Answer, Ask, Connection, Pkce, Provider, Request, Response, Script, Tokens, Upstream, World, configuration,
    eventually,
};
use super::process::{Elsewhere, Process};
use super::valkey::{Make, Proxy, Server};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Every write to a file fails, as on a disk that is full; the signal that comes with it is not of interest.
const NO_DISK: &str = "trap '' XFSZ; ulimit -S -f 0;";

/// Sets a limit of a process that runs, as its own user: others may not, root without all of its rights among them.
fn limit(process: &Process, what: &str) {
    let id = process.id().to_string();
    let mut words = ["prlimit", "--pid", &id, what].map(str::to_owned).to_vec();
    if is_root() {
        let owner = std::fs::metadata(format!("/proc/{id}")).unwrap().uid();
        words.splice(0..0, user(owner));
    }
    let set = Command::new(&words[0]).args(&words[1..]).status().unwrap();
    assert!(set.success(), "{what}");
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Words that run what follows as this user.
fn user(id: u32) -> [String; 4] {
    ["setpriv".to_owned(), format!("--reuid={id}"), format!("--regid={id}"), "--clear-groups".to_owned()]
}

#[test]
fn t283_a_full_disk_loses_log_lines_and_nothing_else_and_they_are_counted() {
    let gate = Elsewhere::start(NO_DISK, |_| {});
    let world = &gate.world;
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    assert!(world.admits(&tokens.access));
    let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert_eq!(world.revoke(&client, &next.refresh).status, 200);
    assert!(!world.admits(&next.access));
    eventually("what is lost is counted", || world.counted("portcullis_log_lines_lost_total") >= 3);
    assert_eq!(gate.process.log(), "");
    let lost = world.counted("portcullis_log_lines_lost_total");

    limit(&gate.process, "--fsize=unlimited:");
    world.tokens(&client);
    eventually("it is told of", || gate.process.log().contains("log lines were dropped"));
    eventually("audit lines are written again", || gate.process.log().contains("token_issued"));
    assert_eq!(world.counted("portcullis_log_lines_lost_total"), lost);
    for line in gate.process.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
}

#[test]
fn t283_a_master_key_that_does_not_fit_on_the_disk_is_not_kept() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let file = std::env::temp_dir().join(format!("portcullis-shortage-{}-key", std::process::id()));
    let mut config = configuration(&provider, &upstream);
    config.as_object_mut().unwrap().remove("masterKeys");
    config["masterKeyFile"] = json!(file);
    let mut process = Process::start(&config, NO_DISK, Stdio::null());
    assert!(process.ended().is_some_and(|status| status != 0));
    assert!(!file.exists(), "half a key would be taken for one");
    let process = Process::start(&config, "", Stdio::null());
    let public: SocketAddr = config["listen"].as_str().unwrap().parse().unwrap();
    eventually("it starts where there is room", || TcpStream::connect(public).is_ok());
    assert!(std::fs::read_to_string(&file).unwrap().len() > 40);
    drop(process);
    std::fs::remove_file(&file).unwrap();
}

/// A server that keeps no connection, so that each call needs a new one.
fn keeps_none(world: &World) {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    world.upstream.answers(move |_| Answer::Last(answer.to_vec()));
}

#[track_caller]
fn is_told_later(answer: &Response) {
    answer.refuses(503, "temporarily_unavailable");
    assert!(answer.header("retry-after").is_some(), "{}", answer.text());
}

#[test]
fn t283_without_descriptors_who_is_inside_is_told_503_and_nothing_is_blamed_for_it() {
    let server = Server::start(Make::Valkey9);
    let proxy = Proxy::before(server.address());
    let most = 80 + 8 * std::thread::available_parallelism().map_or(1, usize::from);
    for on_server in [false, true] {
        let gate = Elsewhere::start(&format!("ulimit -n {most};"), |config| {
            if on_server {
                config["storage"] = json!({ "type": "valkey", "valkey": { "url": proxy.address().to_string() } });
            }
        });
        let world = &gate.world;
        keeps_none(world);
        let client = world.public_client("A client");
        let tokens = world.tokens(&client);
        let (mut browser, pkce) = (world.browser(), Pkce::new());
        let consent = browser.consent_page(&Ask::of(&client, &pkce));
        let authorization = browser.approve(&consent);
        let code = world.provider.issue(&authorization, Script::default());
        let query = form(&[("code", code.as_str()), ("state", authorization.param("state"))]);
        let back = browser.with_cookies(Request::get(&format!("/oauth/callback?{query}")));
        let call = call_request("/mcp", &tokens.access);
        let (mut inside, mut watching) = (world.connect(), Connection::to(world.gate.admin()));
        assert_eq!(inside.exchange(&call).status, 200);
        let mut counted = |name: &str| -> u64 {
            let text = watching.exchange(&Request::get("/metrics")).text();
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
        };
        assert_eq!(counted("portcullis_accept_errors_total "), 0);

        let held: Vec<_> = (0..most + 128).map(|_| TcpStream::connect(world.gate.public()).unwrap()).collect();
        eventually("there is none left", || counted("portcullis_accept_errors_total ") > 0);
        for _ in 0..3 {
            is_told_later(&inside.exchange(&call));
        }
        assert_eq!(counted("portcullis_upstream_addresses_aside{resource=\"/mcp\"} "), 0, "the server is not to blame");
        let answer = inside.exchange(&back);
        let told = answer.header("location").is_some_and(|to| to.contains("error=temporarily_unavailable"));
        assert!(told || answer.status == 503, "{} {}", answer.status, answer.text());
        if on_server {
            // What it had is given to those who wait, and a new one is not to be had.
            proxy.cut();
            eventually("the store is missed", || {
                inside.exchange(&refresh_request(&client, &tokens.refresh)).status == 503
            });
            is_told_later(&inside.exchange(&call));
        } else {
            // What needs no connection goes on.
            assert_eq!(inside.exchange(&refresh_request(&client, &tokens.refresh)).status, 200);
        }
        drop(held);
        eventually("there is room again", || {
            let mut connection = world.connect();
            connection.send(&call);
            connection.response("POST").is_ok_and(|answer| answer.status == 200)
        });
        eventually("all is as it was", || inside.exchange(&refresh_request(&client, &tokens.refresh)).status == 200);
        assert!(world.admits(&world.tokens(&client).access));
        let log = gate.process.log();
        assert!(log.contains("the system gives this process nothing more") && !log.contains("panicked"), "{log}");
    }
}

/// Words of a shell that run the program as a user who has no other process, behind these: limits on threads do not hold for root, and
/// count all that a user has.
fn as_somebody(folder: &Path, before: &str) -> String {
    if !is_root() {
        return format!("exec {before} \"$0\" serve --config \"$1\";");
    }
    // Where it was built is often nobody else's to read.
    let program = folder.join("portcullis");
    std::fs::copy(env!("CARGO_BIN_EXE_portcullis"), &program).unwrap();
    let somebody = user(60_000 + std::process::id() % 5_000).join(" ");
    format!("exec {somebody} {before} {} serve --config \"$1\";", program.display())
}

#[test]
fn t283_without_threads_what_needs_one_is_told_503_and_the_rest_goes_on() {
    let folder = std::env::temp_dir().join(format!("portcullis-shortage-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let mut config = configuration(&provider, &upstream);
    // A name, which has to be looked up for every new connection.
    let by_name = format!("{}/mcp", upstream.url().replace("127.0.0.1", "localhost"));
    config["resources"][0]["upstream"] = json!(by_name);
    let gate = Elsewhere::with(&config, &as_somebody(&folder, ""), provider, upstream);
    let world = &gate.world;
    keeps_none(world);
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    assert!(world.admits(&tokens.access));

    limit(&gate.process, "--nproc=1:");
    let mut inside = world.connect();
    for _ in 0..3 {
        is_told_later(&inside.exchange(&call_request("/mcp", &tokens.access)));
    }
    assert_eq!(world.counted("portcullis_upstream_addresses_aside{resource=\"/mcp\"}"), 0);
    let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
    world.tokens(&client);
    limit(&gate.process, "--nproc=1000:");
    assert!(world.admits(&next.access));
    let log = gate.process.log();
    assert!(log.contains("the system gives this process nothing more") && !log.contains("panicked"), "{log}");
    drop(gate);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn t283_a_gate_that_gets_no_threads_or_descriptors_at_the_start_does_not_start() {
    let folder = std::env::temp_dir().join(format!("portcullis-shortage-start-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let config = configuration(&provider, &upstream);
    let no_threads = as_somebody(&folder, "prlimit --nproc=1");
    for words in [no_threads.as_str(), "ulimit -n 8;"] {
        let mut process = Process::start(&config, words, Stdio::null());
        assert!(process.ended().is_some_and(|status| status != 0), "{words}");
        assert!(process.log().contains("the system refuses"), "{words}: {}", process.log());
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
