//! Who is let in to a resource, and what reaches the server behind it.
//!
//! | id | where |
//! |---|---|
//! | T139, R02 | `t139_…` |
//! | T141, R23 | `t141_…` |
//! | T142, R14, R09 | `t142_…` |
//! | T143 | `t143_…` here and in `admin` |
//! | T145, P6 | `t145_…` |
//! | T146, RS-6 | `t146_…`; a hierarchy of scopes does not exist, every scope of a resource is needed |
//! | T147, T155, R11, R69 | `t147_…` |
//! | T154 | the clock is not a test's to turn here: `exp` and `until` are judged in domain `oauth::admit`, with the clock as an argument |
//! | T158 | `t158_…` on this replica; there is one store per process, so there is no other replica yet |
//! | T161 | `t161_…` |
//! | T226, R67, R68; T227 | `t226_…`, `t227_…`, with a real person; the table of fields is in the HTTP adapter's tests |
//! | T229 | `t229_…` |
//! | T230, R19 | `t230_…`; a missing or doubled `Host` is refused by the adapter |
//! | T231, RS-9 | in `cors` |
//! | T233 | `t233_…`; no policy is per tool, so no element of a batch is judged |
//! | T235 | `t235_…` for who hangs up; the end of open streams at a revocation is not there yet |
//! | T236, R16 | `r16_…` |
//! | T237 | `t237_…` |
//! | T246 | the deadlines are in the HTTP adapter's tests |
//! | T247 | `t247_…` |
//! | RS-5, RS-8 | `rs5_…`, `rs8_…` |
//! | RS-7 | `t142_…`, `t145_…`, `t147_…` |
//! | RS-11 to RS-13, RS-20 to RS-22, RS-24 to RS-28, F-4, F-5, I-24 | tests of that name |
//! | RS-23 | no policy goes by a mirrored header, so none can be deceived by one |
//! | RS-29 | the upstream's to keep; the gate keeps no state per connection |

use super::harness::browser::{call_request, exchange_request};
use super::harness::http::Broken;
use super::harness::upstream::Seen;
use super::harness::{Answer, Ask, BASE, Pkce, Request, Returned, Script, Tokens, World};
use super::two::{OTHER, Two, refused, session, session_of};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

/// A world with a session.
fn with_session() -> (World, Tokens) {
    let world = World::start();
    let tokens = world.tokens(&world.public_client("A client"));
    (world, tokens)
}

#[test]
fn t139_r02_without_a_resource_the_only_one_is_meant() {
    let world = World::start();
    let client = world.public_client("A client");
    let tokens = session(&world, &client, |ask| ask.without("resource").without("scope"));
    assert!(world.admits(&tokens.access));
    assert_eq!(tokens.answer["scope"], "mcp");
    let empty = session(&world, &client, |ask| ask.set("resource", ""));
    assert!(world.admits(&empty.access));
}

#[test]
fn t139_r02_without_a_resource_the_one_at_the_root_is_meant_and_never_all() {
    let two = Two::with(|config| config["resources"][0]["path"] = "/".into());
    let client = two.world.public_client("A client");
    let tokens = session(&two.world, &client, |ask| ask.without("resource"));
    assert_eq!(two.world.call("/", &tokens.access).status, 200);
    assert_eq!(two.world.call(OTHER, &tokens.access).status, 401);
    assert!(two.other.seen().is_empty());
}

#[test]
fn t139_without_a_resource_and_without_a_root_it_is_a_guess_and_refused() {
    let two = Two::start();
    let client = two.world.public_client("A client");
    for ask in
        [Ask::of(&client, &Pkce::new()).without("resource"), Ask::of(&client, &Pkce::new()).set("resource", BASE)]
    {
        assert_eq!(refused(&two.world, &ask).error(), "invalid_target", "{ask:?}");
    }
}

#[test]
fn t141_r23_another_resource_than_was_granted_is_refused_and_burns_nothing() {
    let two = Two::start();
    let world = &two.world;
    let client = world.public_client("A client");
    let pkce = Pkce::new();
    let code = world.code(&client, &pkce);
    let other = format!("{BASE}{OTHER}");
    let with = |mut request: Request, resources: &[&str]| {
        for resource in resources {
            request.body.as_mut().unwrap().extend(format!("&resource={resource}").bytes());
        }
        world.send(&request)
    };
    let own = format!("{BASE}/mcp");
    for resources in [&[other.as_str()][..], &[&own, &other], &["https://evil.example/"], &["x"]] {
        let answer = with(exchange_request(&client, &code, &pkce), resources);
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_target"), "{resources:?}");
    }
    let tokens = Tokens::of(&with(exchange_request(&client, &code, &pkce), &[&own, &own]));
    let fresh = |token: &str| client.form("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]);
    for resources in [&[other.as_str()][..], &[&own, &other], &["https://evil.example/"]] {
        let answer = with(fresh(&tokens.refresh), resources);
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_target"), "{resources:?}");
    }
    let second = Tokens::of(&with(fresh(&tokens.refresh), &[&own]));
    assert_eq!(world.call("/mcp", &second.access).status, 200);
    assert_eq!(world.call(OTHER, &second.access).status, 401);
    let both = Ask::of(&client, &Pkce::new()).again("resource", &other);
    assert_eq!(refused(world, &both).error(), "invalid_target");
    assert!(two.other.seen().is_empty());
}

#[test]
fn t142_r02_r14_a_token_of_one_resource_opens_no_other() {
    let two = Two::start();
    let world = &two.world;
    let client = world.public_client("A client");
    let (first, second) = (world.tokens(&client), two.other_tokens(&client));
    assert_eq!((world.call("/mcp", &first.access).status, world.call(OTHER, &second.access).status), (200, 200));
    let before = (world.upstream.seen().len(), two.other.seen().len());
    for (path, access) in [(OTHER, &first.access), ("/mcp", &second.access)] {
        for method in ["GET", "POST", "DELETE", "PUT", "OPTIONS", "HEAD"] {
            let answer = world.send(&Request::new(method, path).bearer(access));
            assert_eq!(answer.status, 401, "{method} {path}");
            let challenge = answer.header("www-authenticate").unwrap();
            let metadata = format!(r#"resource_metadata="{BASE}/.well-known/oauth-protected-resource{path}""#);
            assert!(challenge.contains(&metadata) && challenge.contains(r#"error="invalid_token""#), "{challenge}");
        }
    }
    assert_eq!((world.upstream.seen().len(), two.other.seen().len()), before, "an upstream was reached");
}

#[test]
fn t143_what_opens_one_door_of_the_gate_opens_no_other() {
    let token = "the-operator's-registration-token".replace('\'', "-");
    let world = World::with(|config| {
        config["registrationToken"] = token.clone().into();
        config["allowPublicClientRegistration"] = false.into();
    });
    let client = world.confidential_client("A client");
    let tokens = world.tokens(&client);
    let management = client.registration["registration_access_token"].as_str().unwrap();
    let own = format!("/oauth/register/{}", client.id);
    assert_eq!(world.send(&Request::get(&own).bearer(management)).status, 200);
    let before = world.upstream.seen().len();
    for bearer in [&tokens.access, &tokens.refresh, &token, client.secret.as_ref().unwrap()] {
        assert_eq!(world.send(&Request::get(&own).bearer(bearer)).status, 401);
    }
    let closed = json!({ "redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "none" });
    assert_eq!(world.send(&Request::json("/oauth/register", &closed).bearer(&token)).status, 201);
    for bearer in [&tokens.access, &tokens.refresh, management, client.secret.as_ref().unwrap()] {
        let answer = world.send(&Request::json("/oauth/register", &closed).bearer(bearer));
        assert!(matches!(answer.status, 401 | 403), "{}", answer.text());
    }
    for bearer in [&token, management, client.secret.as_ref().unwrap(), &client.id] {
        assert_eq!(world.call("/mcp", bearer).status, 401);
    }
    for path in ["/oauth/token", "/oauth/revoke"] {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &tokens.refresh), ("token", &tokens.access)];
        let answer = world.send(&Request::form(path, &fields).bearer(&tokens.access));
        assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_client"), "{path}");
    }
    assert_eq!(world.upstream.seen().len(), before);
    assert!(world.admits(&tokens.access), "an attempt has ended the session");
}

#[test]
fn t145_p06_the_client_s_token_never_reaches_the_upstream() {
    let (world, tokens) = with_session();
    let call = call_request("/mcp?a=b", &tokens.access);
    world.send(
        &call
            .header("Proxy-Authorization", "Bearer x")
            .header("DPoP", "e30.e30.x")
            .header("Cookie", "__Host-pc-csrf=y; theme=dark"),
    );
    let seen = world.upstream.only();
    for name in ["authorization", "proxy-authorization", "dpop"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("cookie"), Some("theme=dark"));
    let bytes = String::from_utf8_lossy(&seen.bytes).into_owned();
    for secret in world.provider.handed_out().into_iter().chain([tokens.access, tokens.refresh]) {
        assert!(!bytes.contains(&secret), "{secret} reached the upstream");
    }
}

#[test]
fn t146_rs6_a_token_with_less_scope_is_told_all_that_is_needed() {
    let world = World::with(|config| config["resources"][0]["scopes"] = json!(["read", "write"]));
    let client = world.public_client("A client");
    let narrow = session(&world, &client, |ask| ask.set("scope", "read"));
    assert_eq!(narrow.answer["scope"], "read");
    let answer = world.call("/mcp", &narrow.access);
    assert_eq!((answer.status, answer.error().as_str()), (403, "insufficient_scope"));
    assert_eq!(answer.all("www-authenticate").len(), 1);
    let challenge = answer.header("www-authenticate").unwrap();
    for part in [
        r#"error="insufficient_scope""#,
        r#"scope="read write""#,
        r#"resource_metadata="https://gate.example/.well-known/oauth-protected-resource/mcp""#,
    ] {
        assert!(challenge.contains(part), "{challenge}");
    }
    assert!(world.upstream.seen().is_empty());
    let whole = session(&world, &client, |ask| ask.set("scope", "write read offline_access"));
    assert_eq!(world.call("/mcp", &whole.access).status, 200);
    // A refresh can narrow one access token, and only that one.
    let fields = [("grant_type", "refresh_token"), ("refresh_token", whole.refresh.as_str()), ("scope", "read")];
    let narrowed = Tokens::of(&world.send(&client.form("/oauth/token", &fields)));
    assert_eq!(world.call("/mcp", &narrowed.access).status, 403);
    assert_eq!(world.call("/mcp", &whole.access).status, 200);
}

#[test]
fn t147_t155_r11_r69_nothing_but_an_access_token_of_this_gate_is_one() {
    let (world, tokens) = with_session();
    let stranger = World::with(|config| config["masterKeys"] = json!([super::harness::MASTER_KEY.replace('8', "3")]));
    let elsewhere = stranger.tokens(&stranger.public_client("A client"));
    let client = world.public_client("A client");
    let (pkce, mut browser) = (Pkce::new(), world.browser());
    let consent = browser.consent_page(&Ask::of(&client, &pkce));
    let authorization = browser.approve(&consent);
    let login = browser.cookies.iter().find(|(name, _)| name.contains("login")).unwrap().1.clone();
    let csrf = browser.cookies.iter().find(|(name, _)| name.contains("csrf")).unwrap().1.clone();
    let code = world.code(&client, &pkce);
    let claims = format!(
        r#"{{"iss":"{BASE}","aud":"{BASE}/mcp","sub":"ada","client_id":"{}","scope":"mcp","exp":9999999999,"iat":1}}"#,
        client.id
    );
    let unsigned =
        |alg: &str| super::harness::provider::sign(&[1; 32], &format!(r#"{{"alg":{alg},"typ":"at+jwt"}}"#), &claims);
    let mut bearers: Vec<String> =
        [r#""none""#, r#""None""#, r#""nOnE""#, r#""NONE""#, r#""""#, "[]", "0", "null", r#""HS256""#, r#""EdDSA""#]
            .map(unsigned)
            .to_vec();
    bearers.extend(bearers.clone().iter().map(|jwt| format!("{}.", jwt.rsplit_once('.').unwrap().0)));
    bearers.extend(world.provider.handed_out());
    bearers.extend([
        tokens.refresh.clone(),
        code,
        login,
        csrf,
        consent.flow,
        consent.csrf,
        authorization.param("state").to_owned(),
        authorization.param("nonce").to_owned(),
        client.id,
        elsewhere.access,
        elsewhere.refresh,
        super::harness::MASTER_KEY.to_owned(),
        "null".to_owned(),
        "undefined".to_owned(),
        "0".to_owned(),
        "-".to_owned(),
    ]);
    let before = world.upstream.seen().len();
    for bearer in &bearers {
        let answer = world.call("/mcp", bearer);
        assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_token"), "{bearer}");
    }
    assert_eq!(world.upstream.seen().len(), before, "the upstream was reached");
    assert!(world.admits(&tokens.access));
}

#[test]
fn t158_p05_a_revoked_session_is_refused_on_every_connection_at_once() {
    let world = World::start();
    let client = world.public_client("A client");
    let (tokens, bystander) = (world.tokens(&client), world.tokens(&client));
    let mut connections: Vec<_> = (0..8).map(|_| world.connect()).collect();
    for connection in &mut connections {
        assert_eq!(connection.exchange(&call_request("/mcp", &tokens.access)).status, 200);
    }
    let refreshed = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert_eq!(world.revoke(&client, &tokens.access).status, 200);
    let before = world.upstream.seen().len();
    for connection in &mut connections {
        for access in [&tokens.access, &refreshed.access] {
            let answer = connection.exchange(&call_request("/mcp", access));
            assert_eq!((answer.status, answer.error().as_str()), (401, "invalid_token"));
        }
    }
    assert_eq!(world.upstream.seen().len(), before, "the upstream was reached");
    assert!(world.admits(&bystander.access), "another session of the same person ended too");
}

#[test]
fn t161_no_part_of_a_token_is_worth_anything() {
    let (world, tokens) = with_session();
    let access = &tokens.access;
    let mut bearers: Vec<String> = (1..access.len()).step_by(7).map(|end| access[..end].to_owned()).collect();
    for at in (0..access.len()).step_by(3) {
        let other = if &access[at..=at] == "A" { "B" } else { "A" };
        bearers.push([&access[..at], other, &access[at + 1..]].concat());
    }
    bearers.extend([
        format!("{access}A"),
        format!("A{access}"),
        format!("{access}="),
        access.to_uppercase(),
        access.to_lowercase(),
        format!("{access}{access}"),
        "../../etc/passwd".to_owned(),
        "'OR~1=1--".replace('\'', "-"),
        "%00".replace('%', "~"),
        "A".repeat(2_048),
        "A".repeat(4_000),
    ]);
    let mut connection = world.connect();
    for bearer in bearers.iter().filter(|bearer| *bearer != access) {
        let answer = connection.exchange(&call_request("/mcp", bearer));
        assert!(matches!(answer.status, 400 | 401), "{} {bearer}", answer.status);
        assert!(answer.header("www-authenticate").is_some(), "{bearer}");
        assert!(bearer.len() < 8 || !answer.text().contains(bearer.as_str()), "{bearer} is echoed");
    }
    assert!(world.upstream.seen().is_empty());
    assert!(world.admits(access));
}

#[test]
fn rs5_credentials_that_cannot_be_read_are_a_bad_request() {
    let (world, tokens) = with_session();
    let long = "A".repeat(5_000);
    let good = format!("Bearer {}", tokens.access);
    for (values, status) in [
        (&["Bearer"][..], 400),
        (&["Bearer "], 400),
        (&["Bearer a b"], 400),
        (&["Bearer a,b"], 400),
        (&["Bearer \"a\""], 400),
        (&["Basic !"], 400),
        (&[long.as_str()], 400),
        (&[&format!("Bearer {long}")], 400),
        (&[&good, &good], 400),
        (&[&good, "Bearer x"], 400),
        (&["Basic eDp5", &good], 400),
        (&["Basic eDp5"], 401),
        (&[&good.replace("Bearer", "DPoP")], 401),
        (&[&good.replace("Bearer", "Token")], 401),
        (&[&good.replace("Bearer ", "")], 401),
        (&[""], 400),
    ] {
        let request =
            values.iter().fold(Request::post("/mcp"), |request, value| request.header("Authorization", value));
        let answer = world.send(&request.body("{}"));
        let shown: Vec<&str> = values.iter().map(|value| &value[..value.len().min(20)]).collect();
        if values == [&good.replace("Bearer ", "")] {
            assert!(matches!(answer.status, 400 | 401), "{shown:?}");
        } else {
            assert_eq!(answer.status, status, "{shown:?} {}", answer.text());
        }
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer resource_metadata="), "{shown:?}");
    }
    assert!(world.upstream.seen().is_empty());
}

#[test]
fn rs8_the_token_counts_in_the_authorization_field_only_and_on_every_request() {
    let (world, tokens) = with_session();
    let access = &tokens.access;
    for request in [
        Request::get(&format!("/mcp?access_token={access}")),
        Request::form("/mcp", &[("access_token", access.as_str())]),
        Request::get("/mcp").header("Cookie", &format!("access_token={access}")),
        Request::get("/mcp").header("X-Access-Token", access),
        Request::get("/mcp").header("Proxy-Authorization", &format!("Bearer {access}")),
        Request::get("/mcp").header("X-Authorization", &format!("Bearer {access}")),
    ] {
        assert_eq!(world.send(&request).status, 401, "{}", request.target);
    }
    // A connection is nobody's: the next request on it must show its token too.
    let mut connection = world.connect();
    for (method, body) in [("GET", ""), ("POST", "{}"), ("DELETE", ""), ("OPTIONS", ""), ("PUT", ""), ("HEAD", "")] {
        let request = Request::new(method, "/mcp").header("Mcp-Session-Id", "s-1").body(body);
        assert_eq!(connection.exchange(&request.clone().bearer(access)).status, 200, "{method}");
        assert_eq!(connection.exchange(&request).status, 401, "{method}");
    }
    assert_eq!(world.upstream.seen().len(), 6);
    for scheme in ["bearer", "BEARER", "bEaReR"] {
        let request = Request::get("/mcp").header("Authorization", &format!("{scheme} {access}"));
        assert_eq!(world.send(&request).status, 200, "{scheme}");
    }
}

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
    let many: Vec<String> = (0..601).map(|number| format!("g{number}")).collect();
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
        (json!({ "groups": many }), "X-Forwarded-Groups"),
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
fn t229_no_way_of_writing_a_path_leads_around_admission() {
    let (world, tokens) = with_session();
    let odd = [
        "/health/../mcp",
        "/health/..%2fmcp",
        "/.well-known/../mcp",
        "/.well-known/oauth-protected-resource/../../mcp",
        "//mcp",
        "/./mcp",
        "/mcp/",
        "/mcp/.",
        "/mcp//",
        "/mcp;x",
        "/mcp;/health",
        "/mcp%3fx",
        "/%2fmcp",
        "/%6dcp",
        "/MCP",
        "/Mcp",
        "/mcp%00",
        "/mcp%20",
        "/mcp%2e",
        "/mcp.",
        "/mcp\\",
        "/\\mcp",
        "/mcp%5c",
        "/oauth/token/../../mcp",
        "/mcp/health",
        "/mcp%23",
        "/x?/../mcp",
        "mcp",
    ];
    for path in odd {
        for bearer in [None, Some(&tokens.access)] {
            let request = bearer.map_or_else(|| Request::get(path), |token| Request::get(path).bearer(token));
            let answer = world.send(&request);
            assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        }
    }
    assert!(world.upstream.seen().is_empty());
    // What stands behind the question mark is no path.
    for target in ["/mcp?/health", "/mcp?/.well-known/jwks.json", "/mcp?x=/oauth/token"] {
        assert_eq!(world.send(&Request::get(target)).status, 401, "{target}");
        assert_eq!(world.send(&Request::get(target).bearer(&tokens.access)).status, 200, "{target}");
        assert_eq!(world.upstream.seen().pop().unwrap().target(), target);
    }
}

#[test]
fn t230_r19_f5_another_host_reaches_no_upstream_whatever_its_token() {
    let (world, tokens) = with_session();
    let bearer = format!("Authorization: Bearer {}\r\n", tokens.access);
    let port = world.gate.public().port();
    for head in [
        "GET /mcp HTTP/1.1\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost:\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: evil.example\r\n".to_owned(),
        format!("GET /mcp HTTP/1.1\r\nHost: gate.example:{port}\r\n"),
        "GET /mcp HTTP/1.1\r\nHost: gate.example:80\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: gate.example:\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: gate.example.\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: user@gate.example\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: gate.example, evil.example\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: gate.example/evil\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nHost: evil.example\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: gate.example\r\nHost: gate.example\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: [::1\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: [::1]:x\r\n".to_owned(),
        format!("GET /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"),
        "GET http://evil.example/mcp HTTP/1.1\r\nHost: gate.example\r\n".to_owned(),
        "GET http://evil.example/mcp HTTP/1.1\r\nHost: evil.example\r\n".to_owned(),
        "GET https://gate.example/mcp HTTP/1.1\r\nHost: evil.example\r\n".to_owned(),
        "GET https://user@gate.example/mcp HTTP/1.1\r\nHost: gate.example\r\n".to_owned(),
        "GET /mcp HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: gate.example\r\n".to_owned(),
    ] {
        let mut connection = world.connect();
        connection.write(format!("{head}{bearer}\r\n").as_bytes());
        let answer = connection.response("GET").unwrap_or_else(|broken| panic!("{broken:?} {head}"));
        assert!(matches!(answer.status, 400 | 421 | 505), "{head}: {}", answer.status);
    }
    assert!(world.upstream.seen().is_empty());
    assert_eq!(world.send(&Request::get("https://gate.example/mcp").bearer(&tokens.access)).status, 200);
    let seen = world.upstream.only();
    assert_eq!((seen.target(), seen.header("host")), ("/mcp", Some(world.upstream.address().to_string().as_str())));
    assert_eq!(seen.header("x-forwarded-host"), Some("gate.example"));
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
        upstream.set_read_timeout(Some(super::harness::PATIENCE)).unwrap();
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
        ["/tree", "/tree/a", "/tree/a/b?c=%2e%2e/&d=../", "/tree/a.b/..c/c..", "/tree/%C3%A9", "/tree/a%20b%0d%0aX:y"]
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
fn t247_a_head_beyond_its_bounds_is_431_before_anything_else() {
    let (world, tokens) = with_session();
    let many = (0..10_000).fold(Request::get("/mcp"), |request, at| request.header(&format!("X-{at}"), "y"));
    let cookies = (0..1_000).map(|at| format!("c{at}=v")).collect::<Vec<_>>().join("; ");
    for (request, statuses) in [
        (many.bearer(&tokens.access), &[431][..]),
        (Request::get("/mcp").header("X-Big", &"x".repeat(1 << 20)).bearer(&tokens.access), &[431]),
        (Request::get(&format!("/mcp?{}", "x".repeat(1 << 16))).bearer(&tokens.access), &[400, 414, 431]),
        (Request::get("/oauth/authorize").header("Cookie", &cookies), &[400, 431]),
    ] {
        let mut connection = world.connect();
        connection.send(&request);
        match connection.response("GET") {
            Ok(answer) => assert!(statuses.contains(&answer.status), "{} {}", answer.status, answer.text()),
            // It may have closed before everything was written.
            Err(broken) => assert_eq!(broken, Broken::Closed),
        }
    }
    assert!(world.upstream.seen().is_empty());
    assert!(world.admits(&tokens.access));
}

#[test]
fn rs11_rs12_rs20_rs21_rs24_what_mcp_says_passes_untouched() {
    let (world, tokens) = with_session();
    world.upstream.answers(|_| {
        Answer::whole("200 OK", &[("Mcp-Session-Id", "s-1"), ("MCP-Protocol-Version", "2026-07-28")], "{}")
    });
    let fields = [
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Session-Id", "s-1"),
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
        assert_eq!(
            (answer.header("mcp-session-id"), answer.header("mcp-protocol-version")),
            (Some("s-1"), Some("2026-07-28"))
        );
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
fn f4_rs13_rs26_the_head_of_a_stream_comes_before_its_first_event_and_comments_pass() {
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
