//! Who is let in to a resource: the token, the host and the path, before a byte reaches the server behind it.
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
//! | T229 | `t229_…` |
//! | T230, R19, F-5 | `t230_…`; a missing or doubled `Host` is in the HTTP adapter's tests too |
//! | T231, RS-9 | in `cors` |
//! | T246 | the deadlines are in the HTTP adapter's tests |
//! | T247 | `t247_…` |
//! | RS-5, RS-8 | `rs5_…`, `rs8_…` |
//! | RS-7 | `t142_…`, `t145_…`, `t147_…` |

use super::harness::browser::{call_request, exchange_request};
use super::harness::http::Broken;
use super::harness::{Ask, BASE, MASTER_KEY, Pkce, Request, Tokens, World};
use super::two::{OTHER, Two, refused, session, with_session};
use serde_json::json;

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
    let token = "the-operators-registration-token".to_owned();
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
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
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
fn t146_r12_rs6_a_token_with_less_scope_is_told_all_that_is_needed() {
    let world = World::with(|config| config["resources"][0]["scopes"] = json!(["read", "write"]));
    let client = world.public_client("A client");
    // What a request needs is granted whole, also to who asks for some of it, and the answer says so.
    let session = session(&world, &client, |ask| ask.set("scope", "read offline_access"));
    assert_eq!(session.answer["scope"], "read write");
    assert_eq!(world.call("/mcp", &session.access).status, 200);
    // A refresh can narrow one access token, and only that one.
    let fields = [("grant_type", "refresh_token"), ("refresh_token", session.refresh.as_str()), ("scope", "read")];
    let narrowed = Tokens::of(&world.send(&client.form("/oauth/token", &fields)));
    let answer = world.call("/mcp", &narrowed.access);
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
    assert_eq!(world.upstream.seen().len(), 1, "what is refused does not reach the upstream");
    assert_eq!(world.call("/mcp", &session.access).status, 200);
}

#[test]
fn t144_t147_t155_r11_r69_nothing_but_an_access_token_of_this_gate_is_one() {
    let (world, tokens) = with_session();
    let stranger = World::with(|config| config["masterKeys"] = json!([MASTER_KEY.replace('8', "3")]));
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
        MASTER_KEY.to_owned(),
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
        "'OR'1'='1".to_owned(),
        "%00".to_owned(),
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
        (&[""], 400),
    ] {
        let request =
            values.iter().fold(Request::post("/mcp"), |request, value| request.header("Authorization", value));
        let answer = world.send(&request.body("{}"));
        let shown: Vec<&str> = values.iter().map(|value| &value[..value.len().min(20)]).collect();
        assert_eq!(answer.status, status, "{shown:?} {}", answer.text());
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
        let request = Request::new(method, "/mcp").body(body);
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
fn rs8_the_body_of_a_refused_request_is_never_the_next_request() {
    let (world, tokens) = with_session();
    let inner = format!("GET /mcp HTTP/1.1\r\nHost: gate.example\r\nAuthorization: Bearer {}\r\n\r\n", tokens.access);
    for (path, status) in [("/mcp", 401), ("/nothing", 404), ("/.well-known/jwks.json", 405), ("/oauth/token", 400)] {
        let request = Request::post(path);
        let chunked = format!("{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len());
        for request in [
            request.clone().body(inner.clone()),
            request.clone().body(inner.repeat(200)),
            request.header("Transfer-Encoding", "chunked").body(chunked),
        ] {
            let mut connection = world.connect();
            connection.send(&request);
            let answer = connection.response("POST").unwrap();
            assert_eq!(answer.status, status, "{path}");
            // Either the connection is over, or what comes next is judged by itself.
            connection.send(&Request::get("/mcp"));
            match connection.response("GET") {
                Ok(next) => assert_eq!(next.status, 401, "{path}"),
                Err(broken) => assert_eq!(broken, Broken::Closed, "{path}"),
            }
        }
    }
    assert!(world.upstream.seen().is_empty());
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
fn t229_i7_a_resource_at_the_root_does_not_take_in_what_is_the_gate_s() {
    let world = World::with(|config| {
        config["resources"][0]["path"] = "/".into();
        config["resources"][0]["subtree"] = true.into();
    });
    let client = world.public_client("A client");
    let tokens = session(&world, &client, |ask| ask.set("resource", BASE));
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/openid-configuration/mcp",
        "/.well-known/anything",
        "/oauth/introspection",
        "/oauth/token/x",
        "/oauth/",
    ] {
        for request in [Request::get(path), Request::get(path).bearer(&tokens.access), Request::post(path).body("x")] {
            assert_eq!(world.send(&request).status, 404, "{path}");
        }
    }
    for path in ["/health", "/oauth/token", "/register", "/.well-known/oauth-authorization-server"] {
        let answer = world.send(&Request::new("DELETE", path).bearer(&tokens.access));
        assert_eq!(answer.status, 405, "{path}");
    }
    for head in [
        "CONNECT gate.example:443 HTTP/1.1\r\nHost: gate.example:443",
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443",
        "OPTIONS * HTTP/1.1\r\nHost: gate.example",
        "GET * HTTP/1.1\r\nHost: gate.example",
    ] {
        let mut connection = world.connect();
        connection.write(format!("{head}\r\nAuthorization: Bearer {}\r\n\r\n", tokens.access).as_bytes());
        let status = connection.head().unwrap().status;
        assert!(matches!(status, 400 | 404 | 405 | 421), "{head}: {status}");
    }
    assert!(world.upstream.seen().is_empty(), "{:?}", world.upstream.seen());
    for path in ["/", "/anything/at/all", "/oauthentic", "/mcp"] {
        assert_eq!(world.send(&Request::get(path)).status, 401, "{path}");
        assert_eq!(world.send(&Request::get(path).bearer(&tokens.access)).status, 200, "{path}");
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
