//! The gate under a wall clock that the test holds: what ends by its age, and a clock that steps.
//!
//! Method: the gate's own binary with libfaketime between it and the system. Only the wall clock is moved; deadlines and ticks go on
//! as they do.
//!
//! | id | where |
//! |---|---|
//! | T235, P5 | `t235_…`: a token's own end and the session's, while answers are open |
//! | T279, P13 | `t279_…`: steps forward, back, and far away |

use super::harness::browser::{exchange_request, refresh_request};
use super::harness::http::once;
use super::harness::signer::{assertion, keys, proven};
use super::harness::{
    Ask, Connection, PATIENCE, Pkce, Provider, REDIRECT, Request, Returned, Script, Tokens, Upstream, World,
    configuration, eventually,
};
use super::process::{Elsewhere, Process};
use super::streams::{BOUND, CALL, EVENTS, taken};
use super::valkey::{Make, Options, Persistence, Server};
use serde_json::{Value, json};
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

const DAY: i64 = 24 * 3_600;
const YEAR: i64 = 365 * DAY;

/// A gate in a process of its own, by whose clock it is so many seconds later than it is.
struct Timed {
    gate: Elsewhere,
    folder: Folder,
}

/// Where the offset of the clock stands.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let name = format!("portcullis-clock-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(&folder.0).unwrap();
        folder.show(0);
        folder
    }

    /// Whoever reads the clock sees the old offset or the new one.
    fn show(&self, offset: i64) {
        std::fs::write(self.0.join("next"), format!("{offset:+}")).unwrap();
        std::fs::rename(self.0.join("next"), self.0.join("offset")).unwrap();
    }

    /// The words of a shell that put the library between a program and the system.
    fn words(&self) -> String {
        let library = std::fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
        let library = library.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|file| file.exists());
        let library = library.expect("libfaketime is not installed: run `tests/run prepare`");
        format!(
            "export LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1;",
            library.display(),
            self.0.join("offset").display()
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Timed {
    fn start(change: impl FnOnce(&mut Value)) -> Self {
        Self::at(0, change)
    }

    fn at(offset: i64, change: impl FnOnce(&mut Value)) -> Self {
        let folder = Folder::new();
        folder.show(offset);
        Self { gate: Elsewhere::start(&folder.words(), change), folder }
    }

    fn world(&self) -> &World {
        &self.gate.world
    }

    /// Its clock shows this many seconds more than there are.
    fn show(&self, offset: i64) {
        self.folder.show(offset);
    }

    fn log(&self) -> String {
        self.gate.process.log()
    }

    fn livez(&self) -> (u16, Value) {
        let answer = once(self.world().gate.admin(), &Request::get("/livez"));
        (answer.status, answer.json())
    }
}

fn lives() -> (u16, Value) {
    (200, json!({ "status": "ok" }))
}

/// An answer that is under way, with both of its ends.
struct Open {
    what: &'static str,
    client: Connection,
    server: TcpStream,
}

impl Open {
    fn begin(world: &World, listener: &TcpListener, what: &'static str, request: &Request, begin: &str) -> Self {
        let mut client = world.connect();
        client.send(request);
        let mut server = taken(listener, std::str::from_utf8(request.body.as_deref().unwrap_or_default()).unwrap());
        server.write_all(begin.as_bytes()).unwrap();
        if !begin.is_empty() {
            assert_eq!(client.head().unwrap().status, 200, "{what}");
        }
        Self { what, client, server }
    }

    /// Nothing has ended it so far.
    #[track_caller]
    fn goes_on(&self) {
        self.client.stream.set_nonblocking(true).unwrap();
        let still = self.client.stream.peek(&mut [0]).map_err(|error| error.kind());
        assert!(matches!(still, Ok(1..) | Err(ErrorKind::WouldBlock)), "{} has ended: {still:?}", self.what);
        self.client.stream.set_nonblocking(false).unwrap();
    }

    /// It ends now, on both sides, and not as if it were whole.
    #[track_caller]
    fn ends(&mut self, since: Instant) {
        let rest = self.client.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{}: {:?}", self.what, String::from_utf8_lossy(&rest));
        let heard = self.server.set_read_timeout(Some(PATIENCE)).and_then(|()| self.server.peek(&mut [0]));
        assert!(matches!(heard, Ok(0) | Err(_)), "{}: the server works for nobody", self.what);
        assert!(since.elapsed() < BOUND, "{} ended after {:?}", self.what, since.elapsed());
    }
}

/// What clients of MCP leave open, with this token: what they opened in order to be told, and what they wait for.
fn opened(world: &World, listener: &TcpListener, access: &str) -> [Vec<Open>; 2] {
    let post = || Request::post("/mcp").body(CALL).bearer(access);
    let listen = post().header("Mcp-Method", "subscriptions/listen");
    let begin = |what, request: &Request, begin| Open::begin(world, listener, what, request, begin);
    [
        vec![begin("a GET stream", &get(access), EVENTS), begin("a subscription", &listen, EVENTS)],
        vec![begin("the stream of a call", &post(), EVENTS), begin("a call without an answer", &post(), "")],
    ]
}

fn get(access: &str) -> Request {
    Request::get("/mcp").header("Accept", "text/event-stream").bearer(access)
}

/// In this time every answer that is open is asked about more than once.
fn a_while() {
    std::thread::sleep(Duration::from_millis(800));
}

fn before_a_socket(storage: Option<&Server>, change: impl FnOnce(&mut Value)) -> (Timed, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let timed = Timed::start(|config| {
        config["resources"][0]["upstream"] = url.into();
        if let Some(server) = storage {
            config["storage"] = json!({ "type": "valkey", "valkey": { "url": server.url() } });
        }
        change(config);
    });
    (timed, listener)
}

#[test]
fn t235_p05_what_was_opened_to_be_told_ends_with_its_token_and_an_answer_may_overrun_it() {
    let server = Server::start(Make::Valkey9);
    for storage in [None, Some(&server)] {
        let (timed, listener) = before_a_socket(storage, |config| {
            config["accessTokenDuration"] = json!("5m");
            config["streamOverrun"] = json!("10m");
        });
        let world = timed.world();
        let client = world.public_client("A client");
        let tokens = world.tokens(&client);
        let [mut told, mut calls] = opened(world, &listener, &tokens.access);
        timed.show(200);
        let later = Tokens::of(&world.refresh(&client, &tokens.refresh));
        let mut newer = Open::begin(world, &listener, "a GET stream of the next token", &get(&later.access), EVENTS);
        timed.show(270);
        a_while();
        told.iter().chain(&calls).chain([&newer]).for_each(Open::goes_on);

        timed.show(301);
        let over = Instant::now();
        told.iter_mut().for_each(|open| open.ends(over));
        world.call("/mcp", &tokens.access).refuses(401, "invalid_token");
        a_while();
        calls.iter().chain([&newer]).for_each(Open::goes_on);
        timed.show(501);
        newer.ends(Instant::now());
        assert_eq!(world.counted("portcullis_open_answers_ended_total{by=\"token\"}"), 3);

        timed.show(870);
        a_while();
        calls.iter().for_each(Open::goes_on);
        // What comes is passed on, although a new request with that token would be refused.
        calls[0].server.write_all(b"5\r\n:ok\n\n\r\n").unwrap();
        assert_eq!(calls[0].client.chunk().unwrap().as_deref(), Some(&b":ok\n\n"[..]));
        timed.show(901);
        let over = Instant::now();
        calls.iter_mut().for_each(|open| open.ends(over));
        assert_eq!(world.counted("portcullis_open_answers_ended_total{by=\"token\"}"), 5);
        // The session is not over for that.
        assert_eq!(world.refresh(&client, &later.refresh).status, 200);
    }
}

#[test]
fn t235_p05_whatever_is_open_ends_with_its_session_also_where_it_may_overrun_its_token() {
    let (timed, listener) = before_a_socket(None, |config| {
        config["accessTokenDuration"] = json!("5m");
        config["sessionDuration"] = json!("10m");
        config["streamOverrun"] = json!("24h");
    });
    let world = timed.world();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let [told, mut calls] = opened(world, &listener, &tokens.access);
    drop(told);
    timed.show(570);
    a_while();
    calls.iter().for_each(Open::goes_on);
    timed.show(601);
    let over = Instant::now();
    calls.iter_mut().for_each(|open| open.ends(over));
    world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
}

/// A client that signs.
fn signer(config: &mut Value) {
    config["clients"] = json!([{ "clientId": "signer", "name": "Signer", "redirectUris": [REDIRECT], "jwks": keys() }]);
    config["accessTokenDuration"] = json!("5m");
}

#[test]
fn t279_p13_a_clock_that_goes_forward_and_back_again_brings_nothing_back() {
    let server = Server::start(Make::Valkey9);
    for storage in [None, Some(&server)] {
        let timed = Timed::start(|config| {
            signer(config);
            if let Some(server) = storage {
                config["storage"] = json!({ "type": "valkey", "valkey": { "url": server.url() } });
            }
        });
        let world = timed.world();
        let client = world.public_client("A client");
        let tokens = world.tokens(&client);
        let pkce = Pkce::new();
        let (code, second) = (world.code(&client, &pkce), world.code(&client, &pkce));
        let mut browser = world.browser();
        let consent = browser.consent_page(&Ask::of(&client, &pkce));
        let about = [("token", tokens.access.as_str()), ("client_id", "signer")];
        let used = assertion("signer", json!({}));
        let unused = assertion("signer", json!({}));
        let ask = |assertion: &str| world.send(&proven("/oauth/introspect", &about, assertion)).status;
        assert_eq!(ask(&used), 200);
        assert_eq!(timed.livez(), lives());

        // A quarter of an hour too far.
        timed.show(900);
        assert!(!world.admits(&tokens.access), "what has ended by the clock has ended at once");
        world.exchange(&client, &code, &pkce).refuses(400, "invalid_grant");
        assert_eq!(ask(&unused), 401, "it is over");
        let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
        assert!(world.admits(&next.access));

        // And back to what it was, to where it never was, and to before there were clocks.
        for back in [0, -3_600, -10 * YEAR, -60 * YEAR] {
            timed.show(back);
            assert!(!world.admits(&tokens.access), "{back}: a token that had ended is good again");
            for code in [&code, &second] {
                world.exchange(&client, code, &pkce).refuses(400, "invalid_grant");
            }
            assert_eq!(
                (ask(&used), ask(&unused)),
                (401, 401),
                "{back}: an assertion that was used or over is good again"
            );
            assert_eq!(browser.answer(&consent, "approve").status, 400, "{back}: a page that was over is good again");
            assert!(world.admits(&next.access), "{back}: what lives goes on");
            assert_eq!(Tokens::of(&world.refresh(&client, &tokens.refresh)).refresh, next.refresh, "{back}");
        }
        assert!(timed.log().contains("was set back"), "{}", timed.log());
        let ahead = world.counted("portcullis_clock_ahead_seconds");
        assert!(ahead > 50 * u64::try_from(YEAR).unwrap(), "{ahead}");
        assert_eq!(timed.livez(), (503, json!({ "status": "unavailable", "reason": "clock" })));

        // A clock that is right again is followed again, and what is new works as ever.
        timed.show(901);
        assert_eq!(timed.livez(), lives());
        assert_eq!(world.counted("portcullis_clock_ahead_seconds"), 0);
        let after = Tokens::of(&world.refresh(&client, &next.refresh));
        assert!(world.admits(&after.access));
        assert_eq!(world.revoke(&client, &after.refresh).status, 200);
        assert!(!world.admits(&after.access));
    }
}

#[test]
fn t279_a_clock_that_goes_back_an_hour_while_logins_are_under_way_costs_none_of_them() {
    let timed = Timed::start(signer);
    let world = timed.world();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let pkce = Pkce::new();
    let code = world.code(&client, &pkce);
    let mut browser = world.browser();
    let consent = browser.consent_page(&Ask::of(&client, &pkce));
    timed.show(-3_600);
    assert!(world.admits(&tokens.access));
    let redeemed = Tokens::of(&world.exchange(&client, &code, &pkce));
    assert!(world.admits(&redeemed.access));
    let authorization = browser.approve(&consent);
    let provider_code = world.provider.issue(&authorization, Script::default());
    let back = browser.callback(&[("code", &provider_code), ("state", authorization.param("state"))]);
    let later = Returned::of(&back);
    assert!(world.admits(&Tokens::of(&world.exchange(&client, later.code(), &pkce)).access));
    // A code that is shown twice is a replay by this clock too.
    world.exchange(&client, &code, &pkce).refuses(400, "invalid_grant");
    assert!(!world.admits(&redeemed.access));
    let about = [("token", tokens.access.as_str()), ("client_id", "signer")];
    let once = assertion("signer", json!({}));
    let ask = || world.send(&proven("/oauth/introspect", &about, &once)).status;
    assert_eq!((ask(), ask()), (200, 401));
}

#[test]
fn t279_p13_a_clock_that_was_far_ahead_for_a_moment_costs_a_restart_and_on_a_server_no_session() {
    let server = Server::with(Options::of(Make::Valkey9).persistence(Persistence::Nothing));
    let mut written = Value::Null;
    let timed = Timed::start(|config| {
        config["storage"] = json!({ "type": "valkey", "valkey": { "url": server.url() } });
        written = config.clone();
    });
    let world = timed.world();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let another = world.tokens(&client);
    timed.show(YEAR);
    assert!(!world.admits(&tokens.access));
    world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
    timed.show(0);
    assert!(!world.admits(&tokens.access), "it stays there");
    world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
    eventually("it says that only a restart helps", || timed.livez().0 == 503);
    assert!(timed.log().contains("if the clock was wrong before, restart the gate"), "{}", timed.log());

    // The same configuration but for the addresses, which the first one has.
    let fresh = timed.gate.beside(&written);
    let fresh = &fresh.world;
    assert!(fresh.admits(&another.access), "what it refused was never ended");
    assert_eq!(fresh.send(&refresh_request(&client, &tokens.refresh)).status, 200);
    let pkce = Pkce::new();
    let code = fresh.code(&client, &pkce);
    assert_eq!(fresh.send(&exchange_request(&client, &code, &pkce)).status, 200);
}

#[test]
fn t279_a_gate_whose_clock_and_the_server_s_are_far_apart_says_so_when_it_begins() {
    let server = Server::start(Make::Redis7);
    for (offset, apart) in [(0, false), (3_600, true), (-3_600, true)] {
        let timed = Timed::at(offset, |config| {
            config["storage"] = json!({ "type": "valkey", "valkey": { "url": server.url() } });
        });
        eventually("it says who keeps its sessions", || timed.log().contains("sessions are kept by Redis"));
        // Warnings come right behind that line.
        eventually("it says what else there is", || timed.log().contains("set appendonly yes"));
        if apart {
            eventually("it says so", || timed.log().contains("more than five seconds apart"));
        } else {
            assert!(!timed.log().contains("seconds apart"), "{}", timed.log());
        }
    }
}

#[test]
fn t279_a_gate_whose_clock_stands_before_all_times_does_not_start() {
    let folder = Folder::new();
    folder.show(-70 * YEAR);
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let mut process = Process::start(&configuration(&provider, &upstream), &folder.words(), Stdio::null());
    assert!(process.ended().is_some_and(|status| status != 0));
    assert!(process.log().contains("clock stands before 1970: set it"), "{}", process.log());
}
