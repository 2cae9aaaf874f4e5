//! What clients discover, and what a challenge tells them.
//!
//! | id | where |
//! |---|---|
//! | T133, R46, R49, I-6 | `t133_…` |
//! | T134 | `t134_…`; the consent that is remembered does not exist |
//! | T135 | `t135_…` |
//! | T137, RS-2, RS-3, I-6, I-14 | `t137_…`, `rs2_…` |
//! | T138 | `t138_…` |
//! | RS-1, RS-4, I-5, I-7, I-8, I-10, I-11, I-14, R04 | tests of that name |

use super::harness::http::form;
use super::harness::{
    Ask, Authorization, BASE, Client, HOST, Pkce, REDIRECT, Request, Response, Returned, Script, Tokens, World,
};
use super::two::{Two, login, refused, session};
use serde_json::{Value, json};

const SERVER: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
const MCP: &str = "/.well-known/oauth-protected-resource/mcp";
const KEYS: &str = "/.well-known/jwks.json";
const DOCUMENTS: [&str; 4] = [SERVER[0], SERVER[1], MCP, KEYS];

/// Fields by which proxies and frameworks let a request say where it went.
const SPOOFS: [(&str, &str); 12] = [
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Port", "81"),
    ("X-Forwarded-Prefix", "/evil"),
    ("X-Forwarded-Server", "evil.example"),
    ("X-Forwarded-Scheme", "http"),
    ("X-Original-Host", "evil.example"),
    ("X-Host", "evil.example"),
    ("X-Original-URL", "/evil"),
    ("X-Rewrite-URL", "/evil"),
    ("Forwarded", "for=1.2.3.4;host=evil.example;proto=http"),
    ("Origin", "https://evil.example"),
];

/// A gate whose base URL has a path, and which believes proxies on this machine.
fn below_a_path() -> World {
    World::with(|config| {
        config["baseUrl"] = format!("{BASE}/base").into();
        config["trustedProxyCIDRs"] = json!(["127.0.0.0/8"]);
    })
}

fn get(world: &World, target: &str) -> Response {
    world.send(&Request::get(target))
}

#[test]
fn i_9_t133_r46_r49_every_url_comes_from_the_configuration() {
    let world = World::start();
    for path in DOCUMENTS {
        let plain = get(&world, path);
        assert_eq!(plain.status, 200, "{path}");
        for (name, value) in SPOOFS {
            let spoofed = world.send(&Request::get(path).header(name, value));
            assert_eq!((spoofed.status, &spoofed.body), (200, &plain.body), "{path} with {name}");
            assert!(!format!("{:?}", spoofed.headers).contains("evil"), "{path} with {name}: {spoofed:?}");
        }
        assert!(!plain.text().contains("127.0.0.1"), "{path} names the listener: {}", plain.text());
    }
    for (name, value) in urls(&get(&world, SERVER[0]).json()) {
        assert!(value == BASE || value.starts_with("https://gate.example/"), "{name}: {value}");
    }
}

#[test]
fn t133_r49_another_host_is_not_served() {
    let world = World::start();
    let listener = world.gate.public().to_string();
    for host in ["evil.example", "gate.example.evil.example", "gate.example:8080", "127.0.0.1", "localhost", &listener]
    {
        for path in DOCUMENTS.into_iter().chain(["/mcp", "/oauth/authorize", "/oauth/token"]) {
            let answer = world.send(&Request::get(path).header("Host", host));
            assert_eq!(answer.status, 421, "{host}{path}");
            assert!(!answer.text().contains(host) && answer.header("www-authenticate").is_none(), "{host}{path}");
        }
    }
    assert_eq!(world.send(&Request::get(KEYS).header("Host", "GATE.example:443")).status, 200);
    assert!(world.upstream.seen().is_empty());
}

#[test]
fn t133_r46_a_trusted_proxy_says_which_host_and_scheme_were_meant_and_nothing_else() {
    let world = below_a_path();
    let plain = get(&world, SERVER[0]);
    let inner = |hosts: &[&str]| {
        let request = Request::get(SERVER[0]).header("Host", "inner:8080");
        world.send(&hosts.iter().fold(request, |request, host| request.header("X-Forwarded-Host", host)))
    };
    assert_eq!(inner(&[]).status, 421);
    assert_eq!((inner(&[HOST]).status, &inner(&[HOST]).body), (200, &plain.body));
    // The nearest proxy writes the last one.
    assert_eq!(inner(&["evil.example, gate.example"]).status, 200);
    for hosts in [&["gate.example, evil.example"][..], &[HOST, "evil.example"], &[""], &["gate.example,"]] {
        assert_eq!(inner(hosts).status, 421, "{hosts:?}");
    }
    assert_eq!(world.send(&Request::get(SERVER[0]).header("X-Forwarded-Host", "evil.example")).status, 421);
    for (protos, status) in [
        (&["https"][..], 200),
        (&["HTTPS"], 200),
        (&["http, https"], 200),
        (&["http"], 421),
        (&["https, http"], 421),
        (&["https", "http"], 421),
    ] {
        let request = Request::get(SERVER[0]);
        let answer =
            world.send(&protos.iter().fold(request, |request, proto| request.header("X-Forwarded-Proto", proto)));
        assert_eq!(answer.status, status, "{protos:?}");
    }
    let judged = ["X-Forwarded-Host", "X-Forwarded-Proto"];
    for (name, value) in SPOOFS.into_iter().filter(|(name, _)| !judged.contains(name)) {
        assert_eq!(world.send(&Request::get(SERVER[0]).header(name, value)).body, plain.body, "{name}");
    }
}

#[test]
fn t133_i10_i11_the_issuer_is_the_same_bytes_under_every_name() {
    let roots = SERVER.map(str::to_owned).to_vec();
    let placed = SERVER.iter().flat_map(|path| [format!("{path}/base"), format!("/base{path}")]);
    let all = roots.iter().cloned().chain(placed).collect();
    for (world, base, paths) in [(World::start(), BASE, roots), (below_a_path(), "https://gate.example/base", all)] {
        let first = get(&world, &paths[0]);
        for path in &paths {
            let answer = get(&world, path);
            assert_eq!((answer.status, &answer.body), (200, &first.body), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        }
        let server = first.json();
        assert_eq!(server["issuer"], base);
        for (name, value) in urls(&server) {
            let below = value.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
            assert!(below || name == "issuer" || name == "protected_resources", "{name}: {value}");
        }
        let resource = get(&world, MCP).json();
        assert_eq!(resource["authorization_servers"], json!([base]));
        // RFC 9207: the same bytes again in the answer to an authorization request.
        let token = base.strip_prefix(BASE).unwrap();
        let client = registered_at(&world, &format!("{token}/oauth/register"));
        let ask = Ask::of(&client, &Pkce::new()).set("response_type", "token");
        let answer = get(&world, &format!("{token}/oauth/authorize?{}", ask.query()));
        assert_eq!(Returned::of(&answer).param("iss"), Some(base));
        // A name that is none leads nowhere, rather than to a guess.
        for other in ["/.well-known/oauth-authorization-server/other", "/.well-known/openid-configuration/"] {
            assert_eq!(get(&world, other).status, 404, "{other}");
        }
    }
}

#[test]
fn t133_below_a_path_the_endpoints_answer_where_the_metadata_says() {
    let world = below_a_path();
    let server = get(&world, SERVER[0]).json();
    for name in [
        "authorization_endpoint",
        "token_endpoint",
        "registration_endpoint",
        "revocation_endpoint",
        "introspection_endpoint",
        "userinfo_endpoint",
        "jwks_uri",
    ] {
        let path = server[name].as_str().unwrap().strip_prefix(BASE).unwrap().to_owned();
        assert_ne!(get(&world, &path).status, 404, "{name}");
        assert_eq!(get(&world, path.strip_prefix("/base").unwrap()).status, 404, "{name} at the root");
    }
    // Clients of 2025-03-26 look at the root of the host, whatever the issuer's path.
    for alias in ["/authorize", "/token", "/register"] {
        assert_ne!(get(&world, alias).status, 404, "{alias}");
    }
    let client = registered_at(&world, "/register");
    let ask = Ask::of(&client, &Pkce::new()).without("scope");
    assert_eq!(get(&world, &format!("/authorize?{}", ask.query())).status, 200);
    let challenge = get(&world, "/mcp");
    assert!(challenge.header("www-authenticate").unwrap().contains(&format!("\"{BASE}{MCP}\"")), "{challenge:?}");
}

#[test]
fn t133_i11_seed_bug_07_below_a_path_a_whole_login_goes_by_the_metadata() {
    let world = below_a_path();
    let server = get(&world, SERVER[0]).json();
    let path = |name: &str| server[name].as_str().unwrap().strip_prefix(BASE).unwrap().to_owned();
    let client = registered_at(&world, &path("registration_endpoint"));
    let (pkce, mut browser) = (Pkce::new(), world.browser());
    let ask = Ask::of(&client, &pkce);
    let page = browser.send(Request::get(&format!("{}?{}", path("authorization_endpoint"), ask.query())));
    assert_eq!(page.status, 200, "{}", page.text());
    let text = page.text();
    let between = |before: &str| text.split_once(before).unwrap().1.split_once('"').unwrap().0.to_owned();
    let fields = [
        ("flow", between("name=\"flow\" value=\"")),
        ("csrf", between("name=\"csrf\" value=\"")),
        ("choice", "approve".into()),
    ];
    let action = between("action=\"");
    let action = action.strip_prefix(BASE).unwrap_or(&action);
    let approved = browser.send(Request::form(action, &fields).header("Origin", BASE));
    let authorization = Authorization::of(approved.location());
    let callback = authorization.param("redirect_uri").to_owned();
    assert_eq!(callback, format!("{BASE}/base/oauth/callback"));
    let code = world.provider.issue(&authorization, Script::default());
    let query = form(&[("code", code.as_str()), ("state", authorization.param("state"))]);
    let target = format!("{}?{query}", callback.strip_prefix(BASE).unwrap());
    let returned = Returned::of(&browser.send(Request::get(&target)));
    assert_eq!(returned.param("iss"), Some("https://gate.example/base"));
    let redeem = [
        ("grant_type", "authorization_code"),
        ("code", returned.code()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", &pkce.verifier),
    ];
    let tokens = Tokens::of(&world.send(&client.form(&path("token_endpoint"), &redeem)));
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    let revoked = world.send(&client.form(&path("revocation_endpoint"), &[("token", &tokens.refresh)]));
    assert_eq!((revoked.status, world.admits(&tokens.access)), (200, false));
}

#[test]
fn t134_every_authorization_response_names_the_issuer_once() {
    let world = World::start();
    assert_eq!(get(&world, SERVER[0]).json()["authorization_response_iss_parameter_supported"], true);
    let client = world.public_client("A client");
    let ask = || Ask::of(&client, &Pkce::new());
    // `param` fails where a parameter stands twice.
    for (wrong, error) in [
        (ask().set("response_type", "token"), "unsupported_response_type"),
        (ask().set("code_challenge_method", "plain"), "invalid_request"),
        (ask().without("code_challenge"), "invalid_request"),
        (ask().set("scope", "nothing-of-the-kind"), "invalid_scope"),
        (ask().set("resource", "https://elsewhere.example/mcp"), "invalid_target"),
        (ask().set("prompt", "none"), "consent_required"),
        (ask().set("request", "eyJhbGciOiJub25lIn0.e30."), "request_not_supported"),
        (ask().set("response_mode", "fragment"), "invalid_request"),
        (ask().set("iss", "https://evil.example").set("prompt", "none"), "consent_required"),
    ] {
        let returned = refused(&world, &wrong);
        assert_eq!((returned.param("iss"), returned.param("state")), (Some(BASE), Some("state-1")), "{wrong:?}");
        assert_eq!(returned.error(), error, "{wrong:?}");
    }
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask());
    let denied = Returned::of(&browser.answer(&consent, "deny"));
    assert_eq!((denied.error(), denied.param("iss")), ("access_denied", Some(BASE)));
    let welcome = Returned::of(&browser.login(&ask(), Script::default()));
    assert_eq!((welcome.param("iss"), welcome.param("code").is_some()), (Some(BASE), true));
    let failed = Returned::of(&login(&world, &client, Script::claims(json!({ "nonce": "another" }))));
    assert_eq!((failed.error(), failed.param("iss")), ("server_error", Some(BASE)));
}

#[test]
fn t135_the_metadata_is_true() {
    let world = Two::start().world;
    let server = get(&world, SERVER[0]).json();
    for (name, listed) in [
        ("code_challenge_methods_supported", json!(["S256"])),
        ("response_types_supported", json!(["code"])),
        ("response_modes_supported", json!(["query"])),
        ("grant_types_supported", json!(["authorization_code", "refresh_token"])),
        (
            "token_endpoint_auth_methods_supported",
            json!(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]),
        ),
        (
            "revocation_endpoint_auth_methods_supported",
            json!(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]),
        ),
        (
            "introspection_endpoint_auth_methods_supported",
            json!(["client_secret_basic", "client_secret_post", "private_key_jwt"]),
        ),
        ("scopes_supported", json!(["mcp", "other", "offline_access"])),
        ("protected_resources", json!([format!("{BASE}/mcp"), format!("{BASE}/other")])),
    ] {
        let sorted = |value: &Value| {
            let mut words: Vec<String> = value.as_array().unwrap().iter().map(Value::to_string).collect();
            words.sort_unstable();
            words
        };
        assert_eq!(sorted(&server[name]), sorted(&listed), "{name}");
    }
    let client = world.public_client("A client");
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "id_token", "unsupported_response_type"),
        ("response_type", "code token", "unsupported_response_type"),
        ("response_type", "none", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("response_mode", "form_post", "invalid_request"),
        ("response_mode", "jwt", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "s256", "invalid_request"),
        ("request", "x", "request_not_supported"),
        ("request_uri", "https://evil.example/", "request_uri_not_supported"),
    ] {
        let returned = refused(&world, &Ask::of(&client, &Pkce::new()).set(name, value));
        assert_eq!(returned.error(), error, "{name}={value}");
    }
    for grant in [
        "password",
        "client_credentials",
        "implicit",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:device_code",
        "AUTHORIZATION_CODE",
    ] {
        let answer = world.send(&client.form("/oauth/token", &[("grant_type", grant)]));
        assert_eq!((answer.status, answer.error().as_str()), (400, "unsupported_grant_type"), "{grant}");
    }
    // With every method that is listed a client gets its tokens and gives them back; `assertions` shows it of private_key_jwt.
    for method in ["none", "client_secret_basic", "client_secret_post"] {
        let metadata = json!({
            "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method,
        });
        let client = world.register(&metadata);
        assert_eq!((client.secret.is_some(), client.posts_secret), (method != "none", method == "client_secret_post"));
        let tokens = world.tokens(&client);
        assert_eq!(world.refresh(&client, &tokens.refresh).status, 200, "{method}");
        assert_eq!(world.revoke(&client, &tokens.access).status, 200, "{method}");
        assert!(!world.admits(&tokens.access), "{method}");
    }
    for method in ["client_secret_jwt", "tls_client_auth"] {
        let metadata = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method });
        let answer = world.send(&Request::json("/oauth/register", &metadata));
        assert_eq!((answer.status, answer.error().as_str()), (400, "invalid_client_metadata"), "{method}");
    }
    for (unlisted, path) in [
        ("pushed_authorization_request_endpoint", "/oauth/par"),
        ("device_authorization_endpoint", "/oauth/device"),
        ("end_session_endpoint", "/oauth/logout"),
    ] {
        assert!(server.get(unlisted).is_none(), "{unlisted}");
        assert_eq!(get(&world, path).status, 404, "{path}");
    }
    assert_eq!(get(&world, "/oauth").status, 404);
}

#[test]
fn t135_the_key_set_holds_public_keys_only() {
    let keys = get(&World::start(), KEYS).json();
    let keys = keys["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        let mut names: Vec<&str> = key.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"], "{key}");
    }
}

#[test]
fn t137_rs2_rs3_i6_i14_the_challenge_comes_from_the_configuration() {
    let world = World::start();
    let expected = format!(r#"Bearer resource_metadata="{BASE}{MCP}", scope="mcp""#);
    for request in [
        Request::get("/mcp"),
        Request::post("/mcp"),
        Request::new("DELETE", "/mcp"),
        Request::get("/mcp?token=1&x=%22,error=%22evil"),
        Request::get("https://gate.example/mcp"),
        Request::get("/mcp").header("X-Forwarded-Host", "evil.example").header("X-Forwarded-Proto", "http"),
        Request::get("/mcp").header("Forwarded", "host=evil.example").header("X-Original-URL", "/evil"),
        Request::get("/mcp").header("Authorization", "Basic ZXZpbDpldmls"),
    ] {
        let answer = world.send(&request);
        assert_eq!(answer.status, 401, "{request:?}");
        assert_eq!(answer.header("www-authenticate"), Some(expected.as_str()), "{request:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert!(!format!("{:?}{}", answer.headers, answer.text()).contains("evil"), "{answer:?}");
    }
    // With a token that is no good the reason is said too, without a word of the token.
    let answer = world.call("/mcp", "not-one-of-ours");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.starts_with(&expected) && challenge.contains(r#"error="invalid_token""#), "{challenge}");
    assert!(!challenge.contains("not-one-of-ours") && !answer.text().contains("not-one-of-ours"));
    assert!(world.upstream.seen().is_empty());
}

#[test]
fn t138_documents_are_static_bytes_that_caches_may_keep() {
    let world = World::start();
    for path in DOCUMENTS {
        let plain = get(&world, path);
        for request in [
            Request::get(&format!("{path}?utm=1")),
            Request::get(&format!("{path}?resource=https://evil.example")),
            Request::get(path).header("Accept", "text/html").header("Accept-Encoding", "gzip"),
            Request::get(path).header("Authorization", "Bearer x").header("Cookie", "__Host-pc-csrf=x; y=z"),
            Request::get(path).header("X-HTTP-Method-Override", "DELETE").header("X-Method-Override", "POST"),
            Request::get(path).header("Range", "bytes=0-1").header("If-None-Match", "*"),
        ] {
            let answer = world.send(&request);
            assert_eq!((answer.status, &answer.body), (200, &plain.body), "{request:?}");
            assert_eq!(answer.header("cache-control"), Some("public, max-age=300"), "{request:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"), "{request:?}");
            assert_eq!((answer.header("set-cookie"), answer.header("vary")), (None, None), "{request:?}");
        }
        let head = world.send(&Request::new("HEAD", path));
        assert_eq!((head.status, head.header("content-length")), (200, plain.header("content-length")), "{path}");
        let posted = world.send(&Request::post(path).body(""));
        assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")), "{path}");
        let odd =
            [format!("{path}/"), format!("/{path}"), format!("{path};x"), path.to_uppercase(), format!("{path}%20")];
        for near in odd {
            let answer = get(&world, &near);
            assert_eq!((answer.status, answer.header("cache-control")), (404, Some("no-store")), "{near}");
        }
    }
}

#[test]
fn rs1_rs4_i5_i7_each_resource_has_its_document_without_a_login() {
    let world = Two::start().world;
    for (path, scope) in [("/mcp", "mcp"), ("/other", "other")] {
        let answer = get(&world, &format!("/.well-known/oauth-protected-resource{path}"));
        assert_eq!(answer.status, 200, "{path}");
        let document = answer.json();
        assert_eq!(document["resource"], format!("{BASE}{path}"));
        assert_eq!(document["authorization_servers"], json!([BASE]));
        assert_eq!(document["bearer_methods_supported"], json!(["header"]));
        // What the resource needs and no more: openid and offline_access mean nothing to it.
        assert_eq!(document["scopes_supported"], json!([scope]));
    }
    // Two resources and none at the root: a root document would be a guess.
    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/elsewhere"] {
        assert_eq!(get(&world, path).status, 404, "{path}");
    }
}

#[test]
fn rs2_rs3_i5_one_resource_has_the_root_document_too_and_every_path_its_own() {
    let world = World::with(|config| {
        let upstream = config["resources"][0]["upstream"].clone();
        config["resources"] = json!([{ "paths": ["/mcp", "/sse", "/message"], "upstream": upstream }]);
    });
    let resource = |path: &str| get(&world, path).json()["resource"].as_str().unwrap().to_owned();
    assert_eq!(resource("/.well-known/oauth-protected-resource"), "https://gate.example/mcp");
    for path in ["/mcp", "/sse", "/message"] {
        let document = format!("/.well-known/oauth-protected-resource{path}");
        assert_eq!(resource(&document), format!("{BASE}{path}"));
        let challenge = get(&world, path);
        let challenge = challenge.header("www-authenticate").unwrap();
        // Without scopes there is nothing to say about them.
        assert_eq!(challenge, format!(r#"Bearer resource_metadata="{BASE}{document}""#));
    }
    assert!(get(&world, "/.well-known/oauth-protected-resource").json().get("scopes_supported").is_none());
    // They are one resource: a token of one is good for all, and for nothing below them.
    let client = world.public_client("A client");
    for path in ["/mcp", "/sse", "/message"] {
        let tokens = session(&world, &client, |ask| ask.set("resource", &format!("{BASE}{path}")).without("scope"));
        for own in ["/mcp", "/sse", "/message"] {
            assert_eq!(world.call(own, &tokens.access).status, 200, "{path} {own}");
        }
        assert_eq!(world.call("/message/below", &tokens.access).status, 404);
    }
}

#[test]
fn i8_i14_a_resource_is_meant_with_a_slash_a_query_and_in_capitals_too() {
    let two = Two::with(|config| config["resources"][0]["path"] = "/".into());
    let world = &two.world;
    assert_eq!(get(world, "/.well-known/oauth-protected-resource").json()["resource"], BASE);
    let client = world.public_client("A client");
    for (path, resources) in [
        (
            "/",
            &["https://gate.example", "https://gate.example/", "HTTPS://GATE.example/", "https://gate.example:443"][..],
        ),
        ("/", &["https://gate.example/?session=1"]),
        ("/other", &["https://gate.example/other", "https://gate.example/other/", "https://gate.example/other?x=1"]),
    ] {
        for resource in resources {
            let tokens = session(world, &client, |ask| ask.set("resource", resource).without("scope"));
            assert_eq!(world.call(path, &tokens.access).status, 200, "{resource}");
        }
    }
    for resource in [
        "https://gate.example/nothing",
        "https://gate.example:444/",
        "http://gate.example/",
        "https://user@gate.example/",
        "https://gate.example/#x",
        "https://evil.example/",
        "https://gate.example//other",
        "//gate.example/",
        "/other",
        "urn:x",
    ] {
        let returned = refused(world, &Ask::of(&client, &Pkce::new()).set("resource", resource));
        assert_eq!(returned.error(), "invalid_target", "{resource}");
    }
}

#[test]
fn r04_the_issuer_does_not_change_with_the_way_that_leads_to_it() {
    let world = World::start();
    let client = world.public_client("A client");
    let ask = Ask::of(&client, &Pkce::new()).set("response_type", "x");
    for (name, value) in SPOOFS {
        let request = Request::get(&format!("/oauth/authorize?{}", ask.query())).header(name, value);
        assert_eq!(Returned::of(&world.send(&request)).param("iss"), Some(BASE), "{name}");
    }
}

/// A public client of a gate whose endpoints are elsewhere.
fn registered_at(world: &World, path: &str) -> Client {
    let metadata = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    Client::public(world.send(&Request::json(path, &metadata)).json()["client_id"].as_str().unwrap())
}

/// Every member that is a URL or a list of URLs.
fn urls(document: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, value) in document.as_object().unwrap() {
        let values = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        let texts = values.iter().filter_map(Value::as_str).filter(|text| text.contains("://"));
        found.extend(texts.map(|text| (name.clone(), text.to_owned())));
    }
    assert!(found.len() > 4, "{document}");
    found
}
