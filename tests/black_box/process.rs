//! The gate as a process: what it inherits, what it runs out of, and how it ends.
//!
//! | id | where |
//! |---|---|
//! | T159 | `t159_…`: a file of master keys |
//! | T246 | `t246_…`: no file descriptor left; T283 is in `shortage` |
//! | T281 | `t281_…`: requests in progress, streams, connections at rest and the exit status |

use super::harness::browser::call_request;
use super::harness::{
    Answer, Ask, Client, Connection, Gate, PATIENCE, Pkce, Provider, REDIRECT, Request, Tokens, Upstream, World,
    configuration, eventually, free_address, until_ready,
};
use crate::valkey::server::Folder;
use crate::valkey::{Make, Options, Persistence, Server};
use serde_json::{Value, json};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// A gate in a process of its own, with its surroundings.
pub struct Elsewhere {
    pub world: World,
    pub process: Process,
}

/// A process and the folder of its configuration; both go when it is dropped.
pub struct Process {
    child: Child,
    folder: PathBuf,
}

impl Process {
    /// Runs the gate with this configuration, behind these words of a shell.
    pub fn start(config: &Value, before: &str, stdin: Stdio) -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let name = format!("portcullis-process-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("gate.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let child = Command::new("sh")
            .args(["-c", &format!("{before} exec \"$0\" serve --config \"$1\"")])
            .args([env!("CARGO_BIN_EXE_portcullis").as_ref(), file.as_os_str()])
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Tells it to end.
    fn terminate(&self) {
        self.signal("-TERM");
    }

    fn signal(&self, signal: &str) {
        let told = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
    }

    /// Puts this text in the place of the configuration, as whole as a file can be replaced.
    fn configure(&self, text: &str) {
        std::fs::write(self.folder.join("next.json"), text).unwrap();
        std::fs::rename(self.folder.join("next.json"), self.folder.join("gate.json")).unwrap();
    }

    /// The exit status, once it has ended.
    #[track_caller]
    pub fn ended(&mut self) -> Option<i32> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < end, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn address(config: &Value, key: &str) -> SocketAddr {
    config[key].as_str().unwrap().parse().unwrap()
}

impl Elsewhere {
    pub fn start(before: &str, change: impl FnOnce(&mut Value)) -> Self {
        let (provider, upstream) = (Provider::start(), Upstream::start());
        let mut config = configuration(&provider, &upstream);
        change(&mut config);
        Self::with(&config, before, provider, upstream)
    }

    /// Another one with this configuration, at addresses of its own, before the same provider and the same MCP server.
    pub fn beside(&self, config: &Value) -> Self {
        let mut config = config.clone();
        for key in ["listen", "adminListen"] {
            config[key] = json!(free_address());
        }
        Self::with(&config, "", self.world.provider.clone(), self.world.upstream.clone())
    }

    pub fn with(config: &Value, before: &str, provider: Provider, upstream: Upstream) -> Self {
        let process = Process::start(config, before, Stdio::null());
        let (public, admin) = (address(config, "listen"), address(config, "adminListen"));
        eventually("it listens", || TcpStream::connect(public).is_ok());
        until_ready(public);
        Self { world: World::around(Gate::elsewhere(public, admin), provider, upstream), process }
    }

    pub fn tokens(&self) -> Tokens {
        self.world.tokens(&self.world.public_client("A client"))
    }
}

#[test]
fn t246_without_file_descriptors_those_inside_are_served_and_others_later() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let most = 64 + 8 * cores;
    let gate = Elsewhere::start(&format!("ulimit -n {most};"), |_| {});
    let world = &gate.world;
    let access = gate.tokens().access;
    let mut inside = world.connect();
    let call = call_request("/mcp", &access);
    assert_eq!(inside.exchange(&call).status, 200);
    let mut watching = Connection::to(world.gate.admin());
    let mut counted = |name: &str| -> u64 {
        let text = watching.exchange(&Request::get("/metrics")).text();
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap()
    };
    assert_eq!(counted("portcullis_accept_errors_total "), 0, "and the watching connection is taken");
    // More than it can take; what it does not take waits with the system.
    let held: Vec<_> = (0..most + 32).map(|_| TcpStream::connect(world.gate.public()).unwrap()).collect();
    eventually("it cannot take more", || counted("portcullis_accept_errors_total ") > 0);
    for _ in 0..20 {
        assert_eq!(inside.exchange(&call).status, 200, "who is inside is served, on connections that are there");
    }
    let errors = counted("portcullis_accept_errors_total ");
    std::thread::sleep(Duration::from_secs(1));
    let more = counted("portcullis_accept_errors_total ") - errors;
    assert!(more <= u64::try_from(8 * cores).unwrap(), "it tries {more} times in a second");
    let log = gate.process.log();
    assert_eq!(log.matches("connections cannot be accepted").count(), 1, "{log}");
    drop(held);
    eventually("there is room again", || {
        let mut connection = world.connect();
        connection.send(&Request::get("/health"));
        connection.response("GET").is_ok_and(|answer| answer.status == 200)
    });
    assert_eq!(world.call("/mcp", &access).status, 200);
}

#[test]
fn t281_a_stop_ends_what_rests_lets_calls_finish_and_streams_run_to_the_deadline() {
    let mut gate = Elsewhere::start("", |config| config["shutdownGrace"] = json!("5s"));
    let world = &gate.world;
    let access = gate.tokens().access;
    let (answer, events) = Answer::events(&[]);
    let mut answer = Some(answer);
    world.upstream.answers(move |seen| match seen.method() {
        "GET" => answer.take().unwrap(),
        _ => {
            std::thread::sleep(Duration::from_millis(2_500));
            Answer::json(r#"{"late":true}"#)
        }
    });
    let mut stream = world.connect();
    stream.send(&Request::get("/mcp").header("Accept", "text/event-stream").bearer(&access));
    assert_eq!(stream.head().unwrap().status, 200);
    let mut resting = world.connect();
    assert_eq!(resting.exchange(&Request::get("/health")).status, 200);
    let mut busy = world.connect();
    busy.send(&call_request("/mcp", &access));
    eventually("the call is under way", || world.upstream.seen().len() == 2);

    gate.process.terminate();
    let told = Instant::now();
    resting.expect_end();
    assert!(told.elapsed() < Duration::from_millis(2_400), "who rests ends at once: {:?}", told.elapsed());
    eventually("nobody new is taken", || TcpStream::connect(world.gate.public()).is_err());
    let answer = busy.response("POST").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"late":true}"#));
    assert_eq!(answer.header("connection"), Some("close"));
    events.send(":still here\n\n");
    assert_eq!(stream.chunk().unwrap().as_deref(), Some(&b":still here\n\n"[..]), "a stream goes on meanwhile");
    assert!(stream.chunk().is_err(), "and is broken off, which is not its end");
    let streamed = told.elapsed();
    assert!(streamed >= Duration::from_millis(4_500) && streamed < Duration::from_secs(8), "{streamed:?}");
    assert_eq!(gate.process.ended(), Some(0), "{}", gate.process.log());
}

#[test]
fn t281_without_work_a_stop_takes_no_time() {
    let mut gate = Elsewhere::start("", |_| {});
    let mut resting = gate.world.connect();
    assert_eq!(resting.exchange(&Request::get("/health")).status, 200);
    let told = Instant::now();
    gate.process.terminate();
    assert_eq!(gate.process.ended(), Some(0), "{}", gate.process.log());
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
    resting.expect_end();
}

#[test]
fn a_listener_that_is_handed_over_is_taken_and_nobody_is_refused_between_two_gates() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let config = configuration(&provider, &upstream);
    let public = address(&config, "listen");
    let listener = TcpListener::bind(public).unwrap();
    let hand = || Stdio::from(OwnedFd::from(listener.try_clone().unwrap()));
    for _ in 0..2 {
        // Whoever comes before there is a gate waits for it.
        let mut early: Vec<_> = (0..8).map(|_| Connection::to(public)).collect();
        for connection in &mut early {
            connection.send(&Request::get("/health"));
        }
        let mut process = Process::start(&config, "", hand());
        for connection in &mut early {
            assert_eq!(connection.response("GET").unwrap().status, 200, "{}", process.log());
        }
        drop(early);
        for _ in 0..64 {
            assert_eq!(Connection::to(public).last(&Request::get("/health")).status, 200);
        }
        process.terminate();
        assert_eq!(process.ended(), Some(0), "{}", process.log());
    }
}

#[test]
fn a_listener_elsewhere_than_the_configuration_says_is_not_taken() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let config = configuration(&provider, &upstream);
    let listener = TcpListener::bind(free_address()).unwrap();
    let mut process = Process::start(&config, "", Stdio::from(OwnedFd::from(listener)));
    assert_eq!(process.ended(), Some(69), "{}", process.log());
    assert!(process.log().contains("standard input is a listener at"), "{}", process.log());

    // A connection, as inetd hands over, and anything else at standard input are no listeners, and do not matter.
    let listener = TcpListener::bind(free_address()).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    for stdin in [Stdio::from(OwnedFd::from(accepted)), Stdio::null()] {
        let mut process = Process::start(&config, "", stdin);
        eventually("it listens", || TcpStream::connect(address(&config, "listen")).is_ok());
        until_ready(address(&config, "listen"));
        process.terminate();
        assert_eq!(process.ended(), Some(0), "{}", process.log());
    }
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(client.read(&mut [0; 16]).unwrap_or(0), 0, "nobody spoke to it");
}

#[test]
fn clients_are_read_again_on_a_signal_and_on_change_and_a_bad_file_changes_nothing() {
    let mut written = Value::Null;
    let gate = Elsewhere::start("", |config| {
        config["clients"] = json!([{ "clientId": "first", "name": "First", "redirectUris": [REDIRECT] }]);
        config["logFormat"] = json!("text");
        written = config.clone();
    });
    let (world, process) = (&gate.world, &gate.process);
    let known = |id: &str| {
        let ask = Ask::of(&Client::public(id), &Pkce::new());
        world.browser().authorize(&ask).status == 200
    };
    assert!(known("first") && !known("second"));
    let tokens = world.tokens(&Client::public("first"));

    let mut next = written.clone();
    next["clients"] = json!([
        { "clientId": "second", "name": "Second", "redirectUris": [REDIRECT] },
        { "clientId": "third", "name": "Third", "redirectUris": [REDIRECT], "clientSecretFile": process.folder.join("secret") },
    ]);
    next["sessionDuration"] = json!("1h");
    std::fs::write(process.folder.join("secret"), "sixteen-letters-").unwrap();
    process.configure(&next.to_string());
    process.signal("-HUP");
    eventually("the clients are taken over", || known("second"));
    assert!(!known("first") && known("third"));
    // The log is written by a thread of its own.
    eventually("it says what a restart is needed for", || {
        process.log().contains("sessionDuration") && process.log().contains("restart")
    });
    assert_eq!(world.refresh(&Client::public("first"), &tokens.refresh).status, 401, "who is not registered any more");
    assert!(world.admits(&tokens.access), "a session that there is goes on until its end or a cut");

    for bad in ["{", "{}", &next.to_string().replace("\"second\"", "\"dcr_second\"")] {
        process.configure(bad);
        let before = process.log().matches("cannot be used").count();
        eventually("it is complained of", || process.log().matches("cannot be used").count() > before);
        assert!(known("second") && known("third"));
    }
    // Without a signal, also where only a file that the configuration names has changed.
    process.configure(&next.to_string());
    let third = |secret: &str| {
        let answer = world.refresh(&Client::confidential("third", secret), "pcr_nothing");
        answer.json()["error"] == "invalid_grant"
    };
    eventually("the old secret", || third("sixteen-letters-"));
    std::fs::write(process.folder.join("secret"), "seventeen-letters").unwrap();
    eventually("the new secret", || third("seventeen-letters"));
    assert!(!third("sixteen-letters-"));
    assert!(!process.log().contains("letters"), "no secret in the log");
    let is_line = |line: &str| line.starts_with("20") && line.contains('Z');
    assert!(process.log().lines().all(is_line), "a line is one line, however much is wrong: {}", process.log());
}

#[test]
fn t159_a_file_of_master_keys_is_read_again_and_one_that_cannot_be_used_changes_nothing() {
    let (old, new, other) = ("0f1e2d3c4b5a69788796a5b4c3d2e1f0", "f0e1d2c3b4a5968778695a4b3c2d1e0f", "other");
    let key = |seed: &str| portcullis_domain::hash::sha256(seed.as_bytes()).map(|byte| format!("{byte:02x}")).concat();
    let folder = Folder::new();
    let file = folder.0.join("keys");
    // As whole as a file can be replaced.
    let keys = |text: &str| {
        std::fs::write(folder.0.join("next"), text).unwrap();
        std::fs::rename(folder.0.join("next"), &file).unwrap();
    };
    keys(&key(old));
    let mut server = Server::with(Options::of(Make::Valkey9).persistence(Persistence::Always));
    let gate = Elsewhere::start("", |config| {
        config.as_object_mut().unwrap().remove("masterKeys");
        config["masterKeyFile"] = json!(file);
        config["storage"] = json!({ "type": "valkey", "valkey": { "url": server.url() } });
    });
    let (world, process) = (&gate.world, &gate.process);
    let published = || world.send(&Request::get("/.well-known/jwks.json")).json()["keys"].as_array().unwrap().len();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let complained = |of: &'static str| {
        let before = process.log().matches(of).count();
        move || process.log().matches(of).count() > before
    };

    // Without a signal.
    keys(&[key(old), key(new)].join("\n"));
    eventually("both are published", || published() == 2);
    eventually("it is told of", || process.log().contains("\"master_keys\":2"));

    for bad in ["", "nonsense", &[&key(old), &*key(old)].join("\n")] {
        let said = complained("cannot be used");
        keys(bad);
        eventually("it is complained of", said);
    }
    let said = complained("cannot be used");
    std::fs::remove_file(&file).unwrap();
    eventually("it is complained of", said);
    let said = complained("were written under other master keys");
    keys(&key(other));
    process.signal("-HUP");
    eventually("the store has refused it", said);
    assert_eq!(published(), 2);
    assert!(world.admits(&tokens.access));

    // While the store cannot be asked, the ones from before stay; when it can be, nobody has to say it again.
    server.kill();
    eventually("the store is missed", || world.call("/mcp", &tokens.access).status == 503);
    let said = complained("cannot be reached");
    keys(&[key(new), key(old), key(other)].join("\n"));
    eventually("the store could not be asked", said);
    assert_eq!(published(), 2);
    server.again();
    eventually("the store is asked", || published() == 3);
    eventually("the store is back", || world.call("/mcp", &tokens.access).status == 200);
    let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert!(world.admits(&next.access));
    for key in [key(old), key(new), key(other)] {
        assert!(!process.log().contains(&key[..16]), "no key in the log");
    }
}

#[test]
fn m19_a_gate_that_ends_tells_what_waits_and_does_not_wait_for_a_receiver_that_hangs() {
    for hangs in [false, true] {
        let receiver = Upstream::start();
        let (hold, go) = (Arc::new(AtomicBool::new(true)), Duration::from_millis(5));
        let held = Arc::clone(&hold);
        receiver.answers(move |_| {
            while held.load(Ordering::Relaxed) {
                std::thread::sleep(go);
            }
            Answer::whole("204 No Content", &[], "")
        });
        let url = receiver.url();
        let mut gate = Elsewhere::start("", |config| {
            config["webhook"] = json!({ "url": url, "secret": "a-secret-of-the-webhook-0123456789" });
        });
        let client = gate.world.public_client("A client");
        let tokens = gate.world.tokens(&client);
        eventually("the first event is on its way", || receiver.seen().len() == 1);
        assert_eq!(gate.world.revoke(&client, &tokens.refresh).status, 200);
        gate.process.terminate();
        if hangs {
            // What is promised is three seconds, and a line in the log.
            assert_eq!(gate.process.ended(), Some(0));
            assert!(gate.process.log().contains("the webhook's receiver has not taken everything before the end"));
            assert_eq!(receiver.seen().len(), 1);
        } else {
            hold.store(false, Ordering::Relaxed);
            assert_eq!(gate.process.ended(), Some(0));
            let told: Vec<String> =
                receiver.seen().into_iter().map(|seen| String::from_utf8(seen.body).unwrap()).collect();
            assert!(told.len() == 2 && told[0].contains("session_created") && told[1].contains("session_revoked"));
            assert!(!gate.process.log().contains("has not taken everything"), "{}", gate.process.log());
        }
        hold.store(false, Ordering::Relaxed);
    }
}
