//! The demonstration as a process, and a gate in front of its provider that is told to end while it works.

use crate::support::{
    Ended, Folder, Got, PATIENCE, Process, Request, answer, ended, free_address, parameter, portcullis,
};
use crate::{VERIFIER, authorize_target, register};
use portcullis::demo::Demo;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

#[test]
fn the_demonstration_is_for_loopback_alone() {
    for address in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
        let Ended { status, out, err } = ended(["demo", "--listen", address]);
        assert_eq!((status, out.as_str()), (Some(64), ""), "{address}");
        assert!(err.contains("127.0.0.1"), "{address}: {err}");
    }
}

#[test]
fn the_demonstration_starts_greets_and_ends() {
    let (state, at) = (Folder::new(), free_address());
    let start = || {
        let mut command = portcullis(["demo", "--listen", &at.to_string()]);
        command.env("XDG_STATE_HOME", state.path());
        Process::start(command)
    };
    let mut demo = start();
    demo.until("greeting", |demo| demo.out().contains("Ctrl-C ends it."));
    demo.until_healthy(at);
    let said = demo.out();
    for line in [
        format!("claude mcp add --transport http portcullis-demo http://{at}/mcp"),
        format!("code --add-mcp '{{\"name\":\"portcullis-demo\",\"type\":\"http\",\"url\":\"http://{at}/mcp\"}}'"),
        format!("{{\"mcpServers\":{{\"portcullis-demo\":{{\"url\":\"http://{at}/mcp\"}}}}}}"),
        format!("npx @modelcontextprotocol/inspector --transport http --server-url http://{at}/mcp"),
        format!("curl -i http://{at}/mcp "),
    ] {
        assert!(said.contains(&line), "{line}\n{said}");
    }
    let challenge = Request::post("/mcp", "application/json", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).send(at);
    assert_eq!(challenge.status, 401, "{}", challenge.body);
    assert!(challenge.field("www-authenticate").unwrap().contains("resource_metadata="), "{}", challenge.head);

    let second = start().wait();
    assert_eq!(second.status, Some(69), "{second:?}");
    assert!(second.err.contains(&format!("cannot listen on {at}")), "{}", second.err);

    demo.signal("INT");
    let Ended { status, err, .. } = demo.wait();
    assert_eq!((status, err.as_str()), (Some(0), ""));
    let kept = std::fs::read_dir(state.at("portcullis")).unwrap().next().unwrap().unwrap();
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

/// A person logs in, a slow call is under way, and the gate is told to end: the call gets its whole answer, nobody new gets
/// in, and then it is over.
#[test]
fn sigterm_lets_what_is_under_way_end_and_nothing_new_begin() {
    let (folder, at) = (Folder::new(), free_address());
    let demo = Demo::start(at).unwrap();
    let (arrived, go_on, upstream) = slow_upstream();
    let mut config: Value = serde_json::from_str(demo.configuration(None).expose()).unwrap();
    config["resources"][0]["upstream"] = json!(format!("http://{upstream}/mcp"));
    config["logFormat"] = json!("json");
    config["logLevel"] = json!("info");
    let mut gate = Process::serve(&folder.config(&config));
    gate.until_healthy(at);
    let token = log_in(at, &register(at));

    let call = Request::post("/mcp", "application/json", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
        .with("Accept", "application/json, text/event-stream")
        .with("Authorization", &format!("Bearer {token}"));
    let under_way = call.begin(at).unwrap();
    arrived.recv_timeout(PATIENCE).unwrap();
    let told = Instant::now();
    gate.signal("TERM");
    gate.until("refusing", |_| TcpStream::connect(at).is_err());
    go_on.send(()).unwrap();

    let got = Got::read(under_way).unwrap();
    assert_eq!(got.status, 200, "{}", got.head);
    let length: usize = got.field("content-length").unwrap().parse().unwrap();
    assert_eq!((got.body.len(), length), (SLOW_ANSWER, SLOW_ANSWER));
    let Ended { status, err, .. } = gate.wait();
    assert_eq!(status, Some(0), "{err}");
    assert!(err.contains("\"message\":\"draining\""), "{err}");
    assert!(told.elapsed() < Duration::from_secs(20), "it waited for nothing");
    demo.stop();
}

const SLOW_ANSWER: usize = 200_000;

/// An MCP server that says when a call arrives, and in the middle of its answer waits until it may go on.
fn slow_upstream() -> (Receiver<()>, Sender<()>, SocketAddr) {
    let ((arrived, arrivals), (go_on, may_go_on)) = (channel(), channel());
    let at = answer(move |_, _, socket| {
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {SLOW_ANSWER}\r\n\r\n");
        let half = "x".repeat(SLOW_ANSWER / 2);
        let _ = write!(socket, "{head}{half}");
        let _ = arrived.send(());
        let _ = may_go_on.recv_timeout(PATIENCE);
        let _ = socket.write_all(half.as_bytes());
        // The gate may keep the connection; this server reads no second request on it.
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let _ = socket.read(&mut [0; 1]);
    });
    (arrivals, go_on, at)
}

/// Alice's login by hand, from the consent page to the access token.
fn log_in(at: SocketAddr, client: &str) -> String {
    let same = |request: Request| request.with("Sec-Fetch-Site", "same-origin");
    let pair = |got: &Got| {
        let cookies = got.head.lines().filter_map(|line| line.split_once(": "));
        let mut cookies = cookies.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        cookies.find_map(|(_, value)| value.split(';').next().filter(|pair| !pair.ends_with('='))).unwrap().to_owned()
    };
    let page = Request::get(&authorize_target(client)).send(at);
    let (flow, csrf) = (page.hidden("flow"), page.hidden("csrf"));
    let fields = [("flow", flow.as_str()), ("csrf", csrf.as_str()), ("choice", "approve")];
    let approved = same(Request::form("/oauth/consent", fields)).with("Cookie", &pair(&page)).send(at);
    let flow_cookie = pair(&approved);

    let (provider, login) = split(approved.location());
    let page = Request::get(&login).send(provider);
    assert_eq!(page.status, 200, "{}", page.body);
    let query = login.split_once('?').unwrap().1;
    let form = format!("{query}&person=alice");
    let chosen = same(Request::post("/login", "application/x-www-form-urlencoded", &form)).send(provider);
    let (_, callback) = split(chosen.location());
    let landed = Request::get(&callback).with("Cookie", &flow_cookie).send(at);

    let code = parameter(landed.location(), "code");
    let redeemed = Request::form(
        "/oauth/token",
        [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", crate::REDIRECT),
            ("client_id", client),
            ("code_verifier", VERIFIER),
        ],
    )
    .send(at);
    assert_eq!(redeemed.status, 200, "{}", redeemed.body);
    redeemed.json()["access_token"].as_str().unwrap().to_owned()
}

/// An `http://` URL in its address and its target.
fn split(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://").unwrap();
    let slash = rest.find('/').unwrap();
    (rest[..slash].parse().unwrap(), rest[slash..].to_owned())
}
