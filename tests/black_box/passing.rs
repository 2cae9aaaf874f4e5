//! What passes between a client that was let in and the server behind the resource, both ways.
//!
//! | id | where |
//! |---|---|
//! | T226, R67, R68; T227 | `t226_…`, `t227_…`, with a real person; the table of fields is in the HTTP adapter's tests |
//! | T233 | `t233_…`; no policy is per tool, so no element of a batch is judged |
//! | T235 | `t235_…` for who hangs up; the end of open streams is in `streams`, `causes` and `clock` |
//! | T236, R16 | `r16_…` |
//! | T237 | `t237_…` |
//! | RS-11 to RS-13, RS-20 to RS-22, RS-24 to RS-28, F-4, I-24 | tests of that name |
//! | RS-23 | no policy goes by a mirrored header, so none can be deceived by one |
//! | RS-29 | the upstream's to keep; the gate keeps no state per connection |

use super::harness::browser::call_request;
use super::harness::upstream::Seen;
use super::harness::{Answer, Ask, BASE, PATIENCE, Pkce, Request, Returned, Script, Tokens, World};
use super::two::{session, session_of, with_session};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

#[test]
fn t226_r67_r68_the_upstream_hears_from_the_gate_who_it_is() {
    let world = World::with(|config| config["trustedProxyCIDRs"] = json!(["127.0.0.0/8"]));
    let person = json!({
        "sub": "ada,%", "email": "ada@example.com", "groups": ["staff", "a,b", "größe"], "preferred_username": "Ada\u{e9}",
    });
    let client = world.public_client("A client");
    let tokens = session_of(&world, &client, |ask| ask, Script::claims(person));
    let mut call = call_request("/mcp", &tokens.access)
        .header("X-Forwarded-For", "6.6.6.6, 203.0.113.9")
        .header("Connection", "X-Forwarded-User, X-Session-Id, Authorization, Host, Content-Length, close");
    for name in ["User", "Email", "Groups", "Preferred-Username", "Host-Override", "Proto"] {
        for spelled in [format!("X-Forwarded-{name}"), format!("x_forwarded_{name}"), format!("X-FORWARDED_{name}")] {
            call = call.header(&spelled, "mallory").header(&spelled, "root");
        }
    }
    for name in ["Forwarded", "X-Real-IP", "X-Session-Id", "X_Session_Id", "X-Original-URL", "Forwarded_For"] {
        call = call.header(name, "mallory");
    }
    assert_eq!(world.send(&call).status, 200);
    let seen = world.upstream.only();
    for (name, value) in [
        ("X-Forwarded-User", "ada%2C%25"),
        ("X-Forwarded-Email", "ada@example.com"),
        ("X-Forwarded-Groups", "staff,a%2Cb,gr%C3%B6%C3%9Fe"),
        ("X-Forwarded-Preferred-Username", "Ada%C3%A9"),
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "gate.example"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert!(seen.header("x-session-id").is_some_and(|id| id.len() > 20));
    let text = String::from_utf8_lossy(&seen.bytes).into_owned();
    assert!(!text.contains("mallory") && !text.contains("root") && !text.contains("6.6.6.6"), "{text}");
    assert!(seen.headers.iter().all(|(name, _)| !name.contains('_')), "{text}");
}

#[test]
fn t226_what_is_not_known_of_a_person_is_not_said() {
    let world = World::start();
    let client = world.public_client("A client");
    for (claims, absent) in [
        (json!({ "email_verified": false }), "X-Forwarded-Email"),
        (json!({ "email_verified": "true" }), "X-Forwarded-Email"),
        (json!({ "email_verified": null }), "X-Forwarded-Email"),
        (json!({ "groups": null }), "X-Forwarded-Groups"),
        (json!({ "groups": [] }), "X-Forwarded-Groups"),
        // T197: what is not exactly a whole list of texts opens no door.
        (json!({ "groups": "admins" }), "X-Forwarded-Groups"),
        (json!({ "groups": ["staff", ["admins"]] }), "X-Forwarded-Groups"),
        (json!({ "groups": { "admins": true } }), "X-Forwarded-Groups"),
        (json!({ "groups": ["staff", 1] }), "X-Forwarded-Groups"),
        (json!({ "_claim_names": { "groups": "src1" } }), "X-Forwarded-Groups"),
        (json!({ "preferred_username": "a\r\nX-Forwarded-User: root" }), "X-Forwarded-Preferred-Username"),
    ] {
        let tokens = session_of(&world, &client, |ask| ask, Script::claims(claims.clone()));
        let spoofed = call_request("/mcp", &tokens.access).header(absent, "admins");
        assert_eq!(world.send(&spoofed).status, 200, "{claims}");
        let seen = world.upstream.seen().pop().unwrap();
        assert_eq!(seen.header(absent), None, "{claims}");
        assert_eq!(seen.header("X-Forwarded-User"), Some("ada"), "{claims}");
    }
}

#[test]
fn t226_without_a_trusted_proxy_the_address_is_the_socket_s() {
    let (world, tokens) = with_session();
    world.send(&call_request("/mcp", &tokens.access).header("X-Forwarded-For", "203.0.113.9"));
    assert_eq!(world.upstream.only().header("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn t227_no_field_of_the_gate_can_be_named_away() {
    let (world, tokens) = with_session();
    let names = "close, X-Forwarded-User, X-Forwarded-Email, X-Forwarded-For, X-Session-Id, Host, Content-Length, Content-Type, X-Mine";
    let call = call_request("/mcp", &tokens.access)
        .header("X-Mine", "1")
        .header("Connection", names)
        .header("Keep-Alive", "x");
    assert_eq!(world.send(&call).status, 200);
    let seen = world.upstream.only();
    for name in ["X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-For", "X-Session-Id", "Host"] {
        assert!(seen.header(name).is_some(), "{name}");
    }
    for name in ["X-Mine", "Connection", "Keep-Alive", "Content-Type"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.body, call.body.unwrap());
}

#[test]
fn t145_p06_no_server_is_asked_to_send_back_what_it_was_told() {
    let (world, tokens) = with_session();
    for bearer in [&tokens.access, "x"] {
        let answer = world.send(&Request::new("TRACE", "/mcp").bearer(bearer));
        answer.refuses(405, "invalid_request");
        assert_eq!(answer.header("allow"), Some("GET, POST, DELETE"));
    }
    assert!(world.upstream.seen().is_empty());
    // Another method is the server's to know.
    assert_eq!(world.send(&Request::new("PROPFIND", "/mcp").bearer(&tokens.access)).status, 200);
}

#[test]
fn t233_a_batch_passes_as_it_came_and_a_body_has_an_end() {
    let (world, tokens) = with_session();
    let batch = r#"[ {"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"}, 7, [] ]"#;
    let call = Request::post("/mcp").bearer(&tokens.access).header("Content-Type", "application/json");
    assert_eq!(world.send(&call.clone().body(batch)).status, 200);
    assert_eq!(world.upstream.only().body, batch.as_bytes());
    let limit = 4 << 20;
    let tiny = format!("[{}]", "{},".repeat(limit / 3 - 1)).replace(",]", "]");
    assert_eq!(world.send(&call.clone().body(tiny.clone())).status, 200);
    assert_eq!(world.upstream.seen().pop().unwrap().body.len(), tiny.len());
    let before = world.upstream.seen().len();
    let mut connection = world.connect();
    connection.send(&call.clone().header("Content-Length", &(limit + 1).to_string()).header("Connection", "close"));
    assert_eq!(connection.response("POST").unwrap().status, 413);
    let mut connection = world.connect();
    connection.send(&call.header("Transfer-Encoding", "chunked"));
    for _ in 0..=64 {
        connection.write(format!("10000\r\n{}\r\n", "x".repeat(1 << 16)).as_bytes());
    }
    connection.write(b"0\r\n\r\n");
    assert_eq!(connection.response("POST").unwrap().status, 413);
    assert_eq!(world.upstream.seen().len(), before, "the upstream took a request that has no end");
}

#[test]
fn t235_rs13_who_hangs_up_ends_the_work_of_the_upstream() {
    for reads_the_head in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let world = World::with(|config| config["resources"][0]["upstream"] = url.into());
        let tokens = world.tokens(&world.public_client("A client"));
        let mut connection = world.connect();
        connection.send(&call_request("/mcp", &tokens.access));
        let (mut upstream, _) = listener.accept().unwrap();
        upstream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"}}") && !heard.ends_with(b"\"tools/list\"}") {
            let mut piece = [0; 4096];
            let count = upstream.read(&mut piece).unwrap();
            assert_ne!(count, 0, "the request did not come whole");
            heard.extend_from_slice(&piece[..count]);
        }
        if reads_the_head {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            upstream.write_all(head.as_bytes()).unwrap();
            assert_eq!(connection.head().unwrap().status, 200);
        }
        drop(connection);
        // Nothing more is sent, and the connection ends.
        assert_eq!(upstream.read(&mut [0; 16]).unwrap_or(0), 0, "the upstream still works for nobody");
    }
}

#[test]
fn r16_t236_no_answer_reaches_another_person() {
    let world = World::start();
    let client = world.public_client("A client");
    let people = ["ada", "grace", "emmy", "hedy"];
    let sessions = people.map(|person| session_of(&world, &client, |ask| ask, Script::person(person)));
    world.upstream.answers(|seen: &Seen| {
        let text = |name: &str| seen.header(name).unwrap_or_default().to_owned();
        let body = format!("{} {} {}", text("x-forwarded-user"), text("x-mark"), String::from_utf8_lossy(&seen.body));
        Answer::json(&body.repeat(200))
    });
    std::thread::scope(|scope| {
        for (person, tokens) in people.iter().zip(&sessions) {
            for lane in 0..2 {
                let world = &world;
                scope.spawn(move || {
                    let mut connection = world.connect();
                    for turn in 0..60 {
                        let mark = format!("{person}-{lane}-{turn}");
                        let call =
                            Request::post("/mcp").bearer(&tokens.access).header("X-Mark", &mark).body(mark.clone());
                        if turn % 7 == 3 {
                            // Leaves without its answer, which must not be anybody's then.
                            connection.send(&call);
                            connection = world.connect();
                            continue;
                        }
                        if turn % 11 == 5 {
                            let mut half = call.header("Content-Length", "1000").bytes();
                            half.truncate(half.len() - 2);
                            connection.write(&half);
                            connection = world.connect();
                            continue;
                        }
                        let answer = connection.exchange(&call);
                        assert_eq!(answer.text(), format!("{person} {mark} {mark}").repeat(200));
                    }
                });
            }
        }
    });
}

#[test]
fn t237_what_is_below_a_resource_stays_below_its_upstream() {
    let world = World::with(|config| {
        let upstream = config["resources"][0]["upstream"].clone();
        let base = upstream.as_str().unwrap().replace("/mcp", "/inner/tree");
        config["resources"][0] = json!({ "path": "/tree", "subtree": true, "upstream": base });
    });
    let client = world.public_client("A client");
    let tokens = session(&world, &client, |ask| ask.set("resource", &format!("{BASE}/tree")).without("scope"));
    for target in
        ["/tree", "/tree/a", "/tree/a/b?c=%2e%2e/&d=../", "/tree/a.b/..c/c..", "/tree/%C3%A9", "/tree/a%20b%22X:y"]
    {
        assert_eq!(world.send(&Request::get(target).bearer(&tokens.access)).status, 200, "{target}");
        assert_eq!(world.upstream.seen().pop().unwrap().target(), format!("/inner{target}"));
    }
    let before = world.upstream.seen().len();
    for target in [
        "/tree/..",
        "/tree/../admin",
        "/tree/a/../../admin",
        "/tree/%2e%2e/admin",
        "/tree/%2E./admin",
        "/tree/.%2e/admin",
        "/tree/..%2fadmin",
        "/tree/%2e%2e%2fadmin",
        "/tree/..%5cadmin",
        "/tree/..\\admin",
        "/tree/..;/admin",
        "/tree/%61dmin",
        "/tree/admin;v=1",
        "/tree/admin%3bv=1",
        "/tree/a%20b%0d%0aX:y",
        "/tree/..;x=y/admin",
        "/tree/./a",
        "/tree/a%00b",
        "/tree/a%",
        "/tree/a%zz",
        "/tree/a#b",
        "/treetop",
        "/tre",
        "/tree%2f..%2fadmin",
    ] {
        let answer = world.send(&Request::get(target).bearer(&tokens.access));
        assert!(matches!(answer.status, 400 | 404), "{target}: {}", answer.status);
    }
    assert_eq!(world.upstream.seen().len(), before, "{:?}", world.upstream.seen().pop());
}

#[test]
fn rs11_rs12_rs20_rs21_rs24_what_mcp_says_passes_untouched() {
    let (world, tokens) = with_session();
    world.upstream.answers(|_| Answer::whole("200 OK", &[("MCP-Protocol-Version", "2026-07-28")], "{}"));
    let fields = [
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Last-Event-ID", "17/=x"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "=?base64?w6k=?="),
        ("Mcp-Param-Region", "us-west1"),
        ("Mcp-Param-Never_Heard_Of", "  a, b"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    for method in ["POST", "GET", "DELETE"] {
        let request =
            fields.iter().fold(Request::new(method, "/mcp"), |request, (name, value)| request.header(name, value));
        // A body whose header says otherwise is the upstream's to refuse (RS-22): nothing here reads it.
        let body = r#"{"jsonrpc":"2.0","id":"x","method":"tools/list","params":{"_meta":{"a":null}}}  "#;
        let request = if method == "POST" { request.body(body) } else { request };
        let answer = world.send(&request.bearer(&tokens.access));
        assert_eq!(answer.header("mcp-protocol-version"), Some("2026-07-28"));
        let seen = world.upstream.seen().pop().unwrap();
        assert_eq!((seen.method(), seen.target()), (method, "/mcp"));
        for (name, value) in fields {
            assert_eq!(seen.header(name), Some(value.trim()), "{method} {name}");
        }
        assert_eq!(seen.body, if method == "POST" { body.as_bytes() } else { b"" });
    }
}

#[test]
fn rs11_rs22_rs25_i24_what_the_upstream_answers_passes_unchanged() {
    let (world, tokens) = with_session();
    for (status, content_type, body) in [
        ("202 Accepted", "", ""),
        ("200 OK", "application/json", r#"{"jsonrpc":"2.0","id":1,"result":{"ttlMs":5,"cacheScope":"private"}}"#),
        (
            "400 Bad Request",
            "application/json",
            r#"{"jsonrpc":"2.0","error":{"code":-32020,"message":"HeaderMismatch"},"id":null}"#,
        ),
        ("400 Bad Request", "text/plain; charset=utf-8", "Bad Request: Server not initialized\n"),
        (
            "404 Not Found",
            "application/json",
            r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}"#,
        ),
        ("405 Method Not Allowed", "text/plain", "no stream here"),
        ("406 Not Acceptable", "text/plain", "\u{e9}"),
        ("409 Conflict", "application/json", "{\"a\" : 1 }"),
        ("429 Too Many Requests", "", ""),
        ("500 Internal Server Error", "text/html", "<h1>broken</h1>"),
        ("403 Forbidden", "text/plain", "not you"),
    ] {
        world
            .upstream
            .answers(move |_| Answer::whole(status, &[("Content-Type", content_type), ("Allow", "POST")], body));
        let answer = world.call("/mcp", &tokens.access);
        assert_eq!((answer.status.to_string().as_str(), answer.text().as_str()), (&status[..3], body));
        assert_eq!(answer.header("content-type"), Some(content_type));
        // The gate's own 401 comes before the upstream is asked.
        let before = world.upstream.seen().len();
        assert_eq!(world.call("/mcp", "x").status, 401);
        assert_eq!(world.upstream.seen().len(), before);
    }
}

#[test]
fn i24_t234_an_upstream_that_is_down_or_will_not_is_never_a_401() {
    let (world, tokens) = with_session();
    for status in ["401 Unauthorized", "407 Proxy Authentication Required"] {
        world
            .upstream
            .answers(move |_| Answer::whole(status, &[("WWW-Authenticate", "Bearer realm=\"inner\"")], "inner"));
        let answer = world.call("/mcp", &tokens.access);
        assert_eq!((answer.status, answer.header("www-authenticate")), (502, None), "{status}");
        assert!(!answer.text().contains("inner"));
    }
    world.upstream.answers(|_| Answer::Last(Vec::new()));
    assert_eq!(world.call("/mcp", &tokens.access).status, 502);
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::with(|config| config["resources"][0]["upstream"] = format!("http://{down}/mcp").into());
    let tokens = world.tokens(&world.public_client("A client"));
    assert_eq!(world.call("/mcp", &tokens.access).status, 502);
    assert_eq!(world.call("/mcp", "x").status, 401);
}

#[test]
fn i25_f4_rs13_rs26_the_head_of_a_stream_comes_before_its_first_event_and_comments_pass() {
    let (world, tokens) = with_session();
    for request in [
        Request::get("/mcp").header("Accept", "text/event-stream").bearer(&tokens.access),
        Request::json("/mcp", &json!({ "method": "subscriptions/listen" })).bearer(&tokens.access),
    ] {
        let (answer, events) = Answer::events(&[("X-Accel-Buffering", "yes"), ("Cache-Control", "no-cache")]);
        let mut answer = Some(answer);
        world.upstream.answers(move |_| answer.take().unwrap());
        let mut connection = world.connect();
        connection.send(&request);
        let head = connection.head().unwrap();
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!((head.header("x-accel-buffering"), head.header("cache-control")), (Some("no"), Some("no-cache")));
        for piece in [": keep-alive\n\n", "id: 1\ndata: {}\n\n", ":\n\n"] {
            events.send(piece);
            assert_eq!(connection.chunk().unwrap().as_deref(), Some(piece.as_bytes()));
        }
        events.finish();
        assert_eq!(connection.chunk(), Ok(None));
    }
}

#[test]
fn rs27_rs28_nothing_is_kept_and_nothing_is_taken_for_a_replay() {
    let world = World::start();
    let client = world.public_client("A client");
    let sessions = ["ada", "grace"].map(|person| session_of(&world, &client, |ask| ask, Script::person(person)));
    world.upstream.answers(|seen: &Seen| {
        let user = seen.header("x-forwarded-user").unwrap_or_default();
        Answer::whole("200 OK", &[("Cache-Control", "public, max-age=600"), ("ETag", "\"1\"")], user)
    });
    for (person, tokens) in ["ada", "grace"].iter().zip(&sessions) {
        for _ in 0..3 {
            for request in [Request::get("/mcp"), Request::post("/mcp").body(r#"{"id":1,"requestState":"opaque"}"#)] {
                assert_eq!(world.send(&request.bearer(&tokens.access)).text(), *person);
            }
        }
    }
    assert_eq!(world.upstream.seen().len(), 12);
}

#[test]
fn p06_one_session_has_one_name_upstream_which_is_no_secret_of_it() {
    let world = World::start();
    let client = world.public_client("A client");
    let pkce = Pkce::new();
    let returned = Returned::of(&world.browser().login(&Ask::of(&client, &pkce), Script::default()));
    let first = Tokens::of(&world.exchange(&client, returned.code(), &pkce));
    let second = Tokens::of(&world.refresh(&client, &first.refresh));
    let other = world.tokens(&client);
    let named = |access: &str| {
        world.call("/mcp", access);
        world.upstream.seen().pop().unwrap().header("x-session-id").unwrap().to_owned()
    };
    let name = named(&first.access);
    assert_eq!(name, named(&second.access));
    assert_ne!(name, named(&other.access));
    for secret in [&first.access, &first.refresh, &second.refresh, &returned.code().to_owned()] {
        assert!(!secret.contains(&name));
    }
    // It opens nothing.
    for bearer in [&name, &format!("{name}{name}")] {
        assert_eq!(world.call("/mcp", bearer).status, 401);
    }
}
