//! What pages of other origins may do: RS-30, I-22, and where it ends.

use super::harness::{Answer, Ask, Pkce, Request, Response, World};
use super::two::session;

const PAGE: &str = "http://localhost:6274";
const EVIL: &str = "https://evil.example";

/// Everything that programs in a browser speak to, with the methods that each answers.
const OPEN: [(&str, &str); 11] = [
    ("/mcp", "GET, POST, DELETE"),
    ("/.well-known/oauth-protected-resource", "GET, HEAD"),
    ("/.well-known/oauth-protected-resource/mcp", "GET, HEAD"),
    ("/.well-known/oauth-authorization-server", "GET, HEAD"),
    ("/.well-known/openid-configuration", "GET, HEAD"),
    ("/.well-known/jwks.json", "GET, HEAD"),
    ("/oauth/token", "POST"),
    ("/token", "POST"),
    ("/oauth/register", "POST"),
    ("/register", "POST"),
    ("/oauth/revoke", "POST"),
];

/// The fields that MCP clients send (the wildcard does not cover `Authorization`, and `Mcp-Param-*` has no end).
const ASKED: &str = "authorization,content-type,accept,mcp-protocol-version,mcp-session-id,last-event-id,mcp-method,\
                     mcp-name,mcp-param-region,dpop";

fn preflight(world: &World, path: &str, origin: &str, headers: Option<&str>) -> Response {
    let request =
        Request::new("OPTIONS", path).header("Origin", origin).header("Access-Control-Request-Method", "POST");
    world.send(&match headers {
        Some(headers) => request.header("Access-Control-Request-Headers", headers),
        None => request,
    })
}

/// Nothing in this answer lets a page read it.
#[track_caller]
fn assert_closed(answer: &Response, what: &str) {
    let named = |(name, _): &&(String, String)| name.to_ascii_lowercase().starts_with("access-control-");
    assert_eq!(answer.headers.iter().find(named), None, "{what}");
}

/// Every page may read this answer and the fields that clients go by, without what its browser holds.
#[track_caller]
fn assert_open(answer: &Response, what: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{what}");
    assert_eq!(answer.header("access-control-allow-credentials"), None, "{what}");
    let exposed = answer.header("access-control-expose-headers").unwrap_or_else(|| panic!("{what}: {answer:?}"));
    for name in ["WWW-Authenticate", "Mcp-Session-Id", "MCP-Protocol-Version"] {
        assert!(exposed.split(", ").any(|own| own == name), "{what}: {exposed}");
    }
}

#[test]
fn rs30_i22_a_preflight_is_answered_without_a_login() {
    let world = World::start();
    for (path, methods) in OPEN {
        let answer = preflight(&world, path, PAGE, Some(ASKED));
        assert_eq!((answer.status, answer.body.as_slice()), (204, &b""[..]), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
        assert_eq!(answer.header("access-control-allow-methods"), Some(methods), "{path}");
        assert_eq!(answer.header("access-control-allow-headers"), Some(ASKED), "{path}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{path}");
        assert_eq!(answer.header("www-authenticate"), None, "{path}");
    }
    assert!(world.upstream.seen().is_empty());
}

#[test]
fn rs30_what_a_preflight_names_is_reflected_only_if_it_is_a_list_of_names() {
    let world = World::start();
    let long = "x".repeat(100_000 / 2);
    for odd in ["x\"y", "a: b", "a;b", "<script>", "a\tb", "*", &long] {
        for path in ["/mcp", "/oauth/token"] {
            let answer = preflight(&world, path, PAGE, Some(odd));
            assert_eq!(answer.status, 204, "{path}");
            assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, content-type"), "{path}");
        }
    }
    assert_eq!(preflight(&world, "/mcp", PAGE, None).status, 204);
}

#[test]
fn rs30_no_page_reads_where_a_browser_is_led_through() {
    let world = World::start();
    let client = world.public_client("A client");
    let ask = Ask::of(&client, &Pkce::new());
    for path in ["/oauth/authorize", "/authorize", "/oauth/consent", "/oauth/callback", "/health", "/nothing"] {
        for origin in [PAGE, EVIL, "null"] {
            assert_closed(&preflight(&world, path, origin, Some("authorization")), path);
            let target = format!("{path}?{}", ask.query());
            for request in [Request::get(&target), Request::form(path, &ask.0)] {
                assert_closed(&world.send(&request.header("Origin", origin)), path);
            }
        }
    }
}

#[test]
fn rs30_refusals_can_be_read_too() {
    let world = World::start();
    let client = world.public_client("A client");
    let narrow = session(&world, &client, |ask| ask);
    world.upstream.answers(|_| Answer::whole("404 Not Found", &[("Mcp-Session-Id", "s")], "no such session"));
    for (request, status) in [
        (Request::get("/mcp"), 401),
        (Request::get("/mcp").bearer("x"), 401),
        (Request::get("/mcp").bearer("x y"), 400),
        (Request::get("/mcp").bearer(&narrow.access), 404),
        (Request::form("/oauth/token", &[("grant_type", "password")]), 400),
        (client.form("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", "x")]), 400),
        (Request::get("/oauth/token"), 405),
        (Request::form("/oauth/revoke", &[("a", "b")]), 400),
        (Request::post("/oauth/register").header("Content-Type", "application/json").body("{}"), 400),
        (Request::get("/oauth/register/nobody"), 401),
        (Request::get("/.well-known/oauth-authorization-server"), 200),
    ] {
        let answer = world.send(&request.clone().header("Origin", PAGE));
        assert_eq!(answer.status, status, "{request:?}: {}", answer.text());
        assert_open(&answer, &format!("{} {}", request.method, request.target));
    }
}

#[test]
fn rs30_the_upstream_s_own_words_about_origins_do_not_count() {
    let world = World::start();
    let tokens = world.tokens(&world.public_client("A client"));
    world.upstream.answers(|_| {
        let fields = [
            ("Access-Control-Allow-Origin", EVIL),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Expose-Headers", "X-Inner"),
        ];
        Answer::whole("200 OK", &fields, "{}")
    });
    assert_open(&world.send(&Request::get("/mcp").bearer(&tokens.access).header("Origin", PAGE)), "/mcp");
    let answer = world.send(&Request::get("/mcp").bearer(&tokens.access));
    for name in ["Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers"] {
        assert_eq!(answer.header(name), None, "{name}: whoever names no origin is no page");
    }
}

#[test]
fn rs9_t231_a_page_of_an_origin_that_is_not_allowed_gets_nothing() {
    let world =
        World::with(|config| config["resources"][0]["allowedOrigins"] = serde_json::json!(["https://app.example"]));
    let tokens = world.tokens(&world.public_client("A client"));
    let before = world.upstream.seen().len();
    for origin in [EVIL, "null", "http://localhost:6274", "https://claude.ai", "https://app.example.evil.example", ""] {
        for request in [
            Request::get("/mcp").bearer(&tokens.access),
            Request::post("/mcp").bearer(&tokens.access).body("{}"),
            Request::new("OPTIONS", "/mcp").header("Access-Control-Request-Method", "POST"),
            Request::get("/mcp"),
        ] {
            let answer = world.send(&request.clone().header("Origin", origin));
            assert_eq!(answer.status, 403, "{origin} {request:?}");
            assert_closed(&answer, origin);
        }
    }
    let twice = Request::get("/mcp").bearer(&tokens.access).header("Origin", "https://app.example");
    assert_eq!(world.send(&twice.clone().header("Origin", EVIL)).status, 403);
    assert_eq!(world.upstream.seen().len(), before, "the upstream was reached");
    assert_eq!(world.send(&twice).status, 200);
    assert_eq!(
        world.send(&Request::get("/mcp").bearer(&tokens.access).header("Origin", super::harness::BASE)).status,
        200
    );
    assert_eq!(world.send(&Request::get("/mcp").bearer(&tokens.access)).status, 200);
}

#[test]
fn rs9_t231_out_of_the_box_known_clients_and_loopback_pages_come_in() {
    let world = World::start();
    let tokens = world.tokens(&world.public_client("A client"));
    for (origin, status) in [
        ("https://claude.ai", 200),
        ("https://chatgpt.com", 200),
        ("http://localhost:6274", 200),
        ("http://127.0.0.1:5173", 200),
        ("http://[::1]:5173", 200),
        ("http://localhost:6274/", 403),
        ("http://localhost.evil.example", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("https://claude.ai:444", 403),
        ("http://claude.ai", 403),
        ("https://user@claude.ai", 403),
        ("file://", 403),
        ("https://claude.ai, https://evil.example", 403),
    ] {
        let answer = world.send(&Request::get("/mcp").bearer(&tokens.access).header("Origin", origin));
        assert_eq!(answer.status, status, "{origin}");
    }
}
