//! A day's work of a gate, in little: what a release is built by.
//!
//! A binary that counts how often each of its branches is taken does this once (`deploy/build`), and the compiler lays out the release
//! by these counts. So a release is fast at what is done here, and the shares are those of a busy gate: nearly all are calls with a
//! session, over kept connections. Logins, refreshed tokens and streams are there to be known as used, and refusals to be known as
//! rare. Every answer is looked at: counts of a training that went wrong would make a worse binary, and nobody would see it.

use super::harness::browser::{call_request, exchange_request, refresh_request};
use super::harness::process::gate_of;
use super::harness::upstream::Seen;
use super::harness::{Answer, Ask, Client, Connection, Pkce, Request, Response, Script, Tokens, World};
use super::harness::{at_once, http, tls};
use super::{CLIENTS, answer, binary, request};
use serde_json::json;

/// Calls of each person, over a connection that is kept.
const CALLS: usize = 6_000;
/// Whole logins of each person.
const LOGINS: usize = 4;
/// How often anything else is done in a session.
const FEW: usize = 4;

#[test]
#[ignore = "needs a binary that counts, named in PORTCULLIS_BINARY"]
fn training() {
    for over_tls in [false, true] {
        let folder = std::env::temp_dir().join(format!("portcullis-training-{}-{over_tls}", std::process::id()));
        let (process, world) = gate_of(&binary(), &folder, |config| {
            if over_tls {
                config["tls"] = json!({ "certFile": tls::file("server.pem"), "keyFile": tls::file("server-key.pem") });
            }
        });
        world.upstream.answers(serve);
        // Over TLS the bytes go another way, and all the rest is the same.
        let calls = if over_tls { CALLS / 10 } else { CALLS };
        at_once(CLIENTS, |place| works(&world, place, calls));
        strangers(&world);
        // Only a process that ends by itself writes down what it has counted.
        assert!(process.end().success(), "the gate does not end well");
        std::fs::remove_dir_all(folder).unwrap();
    }
}

/// The MCP server: a session for whoever initializes, a short stream for whoever wants events, a small answer to all others.
fn serve(seen: &Seen) -> Answer {
    let says = |word: &str| seen.body.windows(word.len()).any(|window| window == word.as_bytes());
    if seen.method() == "GET" || says("tools/list") {
        let events: String = (0..5).map(|number| format!("id: {number}\ndata: {}\n\n", answer())).collect();
        let framed = format!("{:x}\r\n{events}\r\n0\r\n\r\n", events.len());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        return Answer::Bytes([head, &framed].concat().into_bytes());
    }
    let fields = [("Content-Type", "application/json"), ("Mcp-Session-Id", "session-1")];
    let count = if says("initialize") { 2 } else { 1 };
    Answer::whole("200 OK", &fields[..count], answer())
}

/// What one person does: logs in now and then, and works with each session.
fn works(world: &World, place: usize, calls: usize) {
    let client = match place % 2 {
        0 => world.public_client("A training"),
        _ => world.confidential_client("A training"),
    };
    for login in 0..LOGINS {
        let tokens = login_of(world, &client, &format!("person-{place}"));
        let last = refreshed(world, &client, tokens);
        if login == 0 {
            session(world, &last.access, calls);
        }
        if client.secret.is_some() {
            assert!(world.introspect(&client, &last.access).text().contains("\"active\":true"));
        }
        assert_eq!(world.revoke(&client, &last.refresh).status, 200);
        assert!(!world.admits(&last.access));
    }
}

fn login_of(world: &World, client: &Client, person: &str) -> Tokens {
    let pkce = Pkce::new();
    let code = world.code_for(&Ask::of(client, &pkce), Script::person(person));
    Tokens::of(&world.send(&exchange_request(client, &code, &pkce)))
}

/// Refreshed over a connection that is kept, as clients do.
fn refreshed(world: &World, client: &Client, mut tokens: Tokens) -> Tokens {
    let mut connection = world.connect();
    for _ in 0..FEW {
        tokens = Tokens::of(&connection.exchange(&refresh_request(client, &tokens.refresh)));
    }
    tokens
}

/// A session at the MCP server: it is opened, worked with, listened to and ended.
fn session(world: &World, access: &str, calls: usize) {
    let mut connection = world.connect();
    let open = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize" });
    let opened = good(&mut connection, &Request::json("/mcp", &open).bearer(access));
    let id = opened.header("mcp-session-id").unwrap();
    let (bare, bound) = (request(access), request(access).header("Mcp-Session-Id", id));
    for turn in 0..calls {
        good(&mut connection, if turn % 4 == 0 { &bare } else { &bound });
    }
    let get = Request::get("/mcp").header("Accept", "text/event-stream").bearer(access);
    let large = bound.clone().body("x".repeat(100_000));
    for _ in 0..calls / 20 {
        good(&mut connection, &call_request("/mcp", access));
        good(&mut connection, &get);
    }
    for _ in 0..FEW {
        good(&mut connection, &large);
    }
    good(&mut connection, &Request::new("DELETE", "/mcp").bearer(access).header("Mcp-Session-Id", id));
}

#[track_caller]
fn good(connection: &mut Connection, request: &Request) -> Response {
    let response = connection.exchange(request);
    assert_eq!(response.status, 200, "{}", response.text());
    response
}

/// Who has no session, what clients ask first, and who watches the gate.
fn strangers(world: &World) {
    let refused = [
        (Request::json("/mcp", &json!({})), 401),
        (call_request("/mcp", "no-token-at-all"), 401),
        (Request::get("/nowhere"), 404),
        (Request::form("/oauth/token", &[("grant_type", "password")]), 400),
        (Request::json("/oauth/register", &json!({ "redirect_uris": [] })), 400),
        (Request::get("/oauth/authorize"), 400),
    ];
    let asked = ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server", "/health"];
    for _ in 0..FEW * CLIENTS {
        for (request, status) in &refused {
            let response = world.send(request);
            assert_eq!(response.status, *status, "{}: {}", request.target, response.text());
        }
        for target in asked {
            assert_eq!(world.send(&Request::get(target)).status, 200, "{target}");
        }
        assert_eq!(http::once(world.gate.admin(), &Request::get("/metrics")).status, 200);
    }
}
