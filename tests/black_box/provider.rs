//! Everything that the identity provider says, and everything that somebody else says in its name.
//!
//! | id | where |
//! |---|---|
//! | T186, R61, R62, R69 | `t186_…`; a login that took longer than ten minutes is judged in domain `oauth::flow` |
//! | T187, R01, R08 | `t187_…` |
//! | T189, R63 | `t189_…` |
//! | T190 | `t190_…` |
//! | T191 | `t191_…` |
//! | T193 | `t193_…`; what changes while the gate runs is in the provider adapter's tests |
//! | T194 | `t194_…`; silence until the deadline is in the provider adapter's tests |
//! | T195, R03 | `t195_…` |
//! | T197 | `people::t197_…`; what the MCP server is told of groups is in `passing::t226_…` |
//! | T198 | `t198_…`: userinfo is never asked |
//! | T199 | `t199_…`; the pauses between two readings are in the provider adapter's tests |
//! | T201 | `t201_…` here, in `admin`, `outages` and the provider adapter's tests |
//! | T202 | `t202_…` |
//! | T203, R59 | `t203_…` |
//! | R26, R64 | tests of that name |

use super::harness::http::{Connection, once};
use super::harness::provider::{SEED, jwk, now, sign};
use super::harness::{
    Ask, BASE, Browser, Gate, PROVIDER_CLIENT, Pkce, Provider, Request, Response, Returned, Script, Upstream, World,
    configuration, eventually,
};
use super::two::{login, session_of, without_provider};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

/// A page that says no and does nothing else.
#[track_caller]
fn assert_page(answer: &Response, what: &str) {
    assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{what}");
    assert_eq!((answer.header("location"), answer.all("set-cookie").len()), (None, 0), "{what}");
    assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"), "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
    assert!(!answer.text().contains("<script"), "{what}");
}

/// A browser that has approved, and is at the provider.
fn at_the_provider<'a>(world: &'a World, ask: &Ask) -> (Browser<'a>, super::harness::Authorization) {
    let mut browser = world.browser();
    let consent = browser.consent_page(ask);
    let authorization = browser.approve(&consent);
    (browser, authorization)
}

fn redemptions(world: &World) -> usize {
    world.provider.seen("/token").len()
}

/// A world whose provider's document was changed before the gate started.
fn with_document(change: impl FnOnce(&mut Value)) -> World {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    provider.document(change);
    let gate = Gate::start(&configuration(&provider, &upstream));
    gate.until_ready();
    World::around(gate, provider, upstream)
}

#[test]
fn t186_r61_r62_r69_a_callback_without_its_state_or_its_browser_gets_nowhere() {
    let world = World::start();
    let client = world.public_client("A client");
    let (mut browser, authorization) = at_the_provider(&world, &Ask::of(&client, &Pkce::new()));
    let (_, elsewhere) = at_the_provider(&world, &Ask::of(&client, &Pkce::new()));
    let code = world.provider.issue(&authorization, Script::default());
    let state = authorization.param("state").to_owned();
    let long = "s".repeat(600);
    for (what, params) in [
        ("nothing", &[][..]),
        ("no state", &[("code", code.as_str())]),
        ("an empty state", &[("code", &code), ("state", "")]),
        ("no code", &[("state", &state)]),
        ("an empty code", &[("state", &state), ("code", "")]),
        ("another state", &[("code", &code), ("state", "x")]),
        ("a long state", &[("code", &code), ("state", &long)]),
        ("a state more", &[("code", &code), ("state", &state), ("state", &state)]),
        ("another state more", &[("code", &code), ("state", "x"), ("state", &state)]),
        ("a code more", &[("code", &code), ("code", "x"), ("state", &state)]),
        ("an error more", &[("error", "x"), ("error", "y"), ("state", &state)]),
        ("the state of another browser", &[("code", &code), ("state", elsewhere.param("state"))]),
        ("part of the state", &[("code", &code), ("state", &state[..state.len() - 1])]),
        ("the state in capitals", &[("code", &code), ("state", &state.to_uppercase())]),
        ("an error without a state", &[("error", "access_denied")]),
        ("an error with another state", &[("error", "access_denied"), ("state", "x")]),
    ] {
        assert_page(&browser.callback(params), what);
    }
    let good = [("code", code.as_str()), ("state", state.as_str())];
    assert_page(&world.browser().callback(&good), "a browser without cookies");
    assert_eq!(redemptions(&world), 0, "a code was sent to the provider");
    // None of it has ended the login.
    assert!(Returned::of(&browser.callback(&good)).param("code").is_some());
    assert_eq!(redemptions(&world), 1);
}

#[test]
fn t186_a_login_comes_back_once() {
    let world = World::start();
    let client = world.public_client("A client");
    let (mut browser, authorization) = at_the_provider(&world, &Ask::of(&client, &Pkce::new()));
    let mut copy = world.browser();
    copy.cookies = browser.cookies.clone();
    let state = authorization.param("state").to_owned();
    let first = world.provider.issue(&authorization, Script::default());
    let second = world.provider.issue(&authorization, Script::default());
    assert!(Returned::of(&browser.callback(&[("code", &first), ("state", &state)])).param("code").is_some());
    for code in [&first, &second] {
        for browser in [&mut browser, &mut copy] {
            assert_page(&browser.callback(&[("code", code), ("state", &state)]), "again");
        }
    }
    assert_page(&copy.callback(&[("error", "access_denied"), ("state", &state)]), "again, with an error");
    assert_eq!(redemptions(&world), 1);
}

#[test]
fn t186_the_cookie_of_one_login_does_not_vouch_for_another() {
    let world = World::start();
    let client = world.public_client("A client");
    let mut browser = world.browser();
    let (one, other) =
        (browser.consent_page(&Ask::of(&client, &Pkce::new())), browser.consent_page(&Ask::of(&client, &Pkce::new())));
    let (one, other) = (browser.approve(&one), browser.approve(&other));
    let names: Vec<String> = browser.cookies.keys().filter(|name| name.contains("login")).cloned().collect();
    assert_eq!(names.len(), 2);
    let code = world.provider.issue(&one, Script::default());
    let mut swapped = world.browser();
    for (at, name) in names.iter().enumerate() {
        swapped.cookies.insert(name.clone(), browser.cookies[&names[1 - at]].clone());
    }
    assert_page(&swapped.callback(&[("code", &code), ("state", one.param("state"))]), "swapped cookies");
    assert_eq!(redemptions(&world), 0);
    // The code of one login in another of the same browser: the verifier is not the one.
    let crossed = Returned::of(&browser.callback(&[("code", &code), ("state", other.param("state"))]));
    assert_eq!((crossed.error(), crossed.param("code")), ("server_error", None));
}

#[test]
fn t186_r69_a_callback_is_a_get() {
    let world = World::start();
    let client = world.public_client("A client");
    let (browser, authorization) = at_the_provider(&world, &Ask::of(&client, &Pkce::new()));
    let code = world.provider.issue(&authorization, Script::default());
    let form = [("code", code.as_str()), ("state", authorization.param("state"))];
    let posted = world.send(&browser.with_cookies(Request::form("/oauth/callback", &form)));
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET")));
    assert_eq!(redemptions(&world), 0);
}

#[test]
fn t187_r01_r08_a_login_that_somebody_else_approved_is_not_finished_here() {
    let world = World::start();
    let client = world.public_client("The attacker's client");
    let (_, captured) = at_the_provider(&world, &Ask::of(&client, &Pkce::new()));
    // The victim is logged in at the provider, so the link alone brings them to the callback.
    let code = world.provider.issue(&captured, Script::person("victim"));
    let lured = [("code", code.as_str()), ("state", captured.param("state"))];
    assert_page(&world.browser().callback(&lured), "a victim without cookies");
    let own = world.public_client("The victim's own client");
    let (mut victim, _) = at_the_provider(&world, &Ask::of(&own, &Pkce::new()));
    assert_page(&victim.callback(&lured), "a victim with a login of their own in progress");
    let forged =
        victim.cookies.iter().find(|(name, _)| name.contains("login")).map(|(_, value)| value.clone()).unwrap();
    for name in ["__Host-pc-login-", "pc-login-x", "__Host-pc-login-x"] {
        victim.cookies.insert(name.to_owned(), forged.clone());
    }
    assert_page(&victim.callback(&lured), "a victim with cookies that somebody has tossed");
    assert_eq!(redemptions(&world), 0);
}

type Rewrite = fn(String) -> String;

/// ID tokens that are wrong in one way.
fn wrong_tokens(issuer: &str) -> Vec<(String, Script)> {
    let claims = [
        json!({ "iss": "https://elsewhere.example" }),
        json!({ "iss": format!("{issuer}/") }),
        json!({ "iss": null }),
        json!({ "iss": [issuer] }),
        json!({ "aud": "another" }),
        json!({ "aud": ["another"] }),
        json!({ "aud": [] }),
        json!({ "aud": "" }),
        json!({ "aud": 7 }),
        json!({ "aud": null }),
        json!({ "aud": { "the-gate": true } }),
        json!({ "aud": [PROVIDER_CLIENT, 7] }),
        json!({ "aud": [PROVIDER_CLIENT, "another"] }),
        json!({ "aud": [PROVIDER_CLIENT, "another"], "azp": "another" }),
        json!({ "azp": "another" }),
        json!({ "azp": 7 }),
        json!({ "nonce": null }),
        json!({ "nonce": "" }),
        json!({ "nonce": "another" }),
        json!({ "nonce": 7 }),
        json!({ "nonce": ["another"] }),
        json!({ "exp": null }),
        json!({ "exp": now() - 90 }),
        json!({ "exp": (now() + 300).to_string() }),
        json!({ "exp": -1 }),
        json!({ "exp": [now() + 300] }),
        json!({ "exp": true }),
        json!({ "iat": null }),
        json!({ "iat": now() + 90 }),
        json!({ "iat": now() - 3_600 }),
        json!({ "iat": now().to_string() }),
        json!({ "nbf": now() + 90 }),
        json!({ "nbf": "soon" }),
        json!({ "sub": null }),
        json!({ "sub": "" }),
        json!({ "sub": "x".repeat(256) }),
        json!({ "sub": 7 }),
        json!({ "sub": ["ada"] }),
        json!({ "sub": "a\u{0}b" }),
        json!({ "sub": "ad\u{e4}" }),
        json!({ "at_hash": "AAAAAAAAAAAAAAAAAAAAAA" }),
        json!({ "at_hash": 7 }),
    ];
    let headers = [
        json!({ "alg": "none" }),
        json!({ "alg": "None" }),
        json!({ "alg": "HS256" }),
        json!({ "alg": "RS256" }),
        json!({ "alg": "ES256" }),
        json!({ "alg": "" }),
        json!({ "alg": null }),
        json!({ "alg": ["EdDSA"] }),
        json!({ "kid": "unknown" }),
        json!({ "kid": "../../dev/null" }),
        json!({ "kid": 7 }),
        json!({ "kid": "k".repeat(4_000) }),
        json!({ "crit": ["exp"] }),
        json!({ "crit": [] }),
        json!({ "b64": false, "crit": ["b64"] }),
        json!({ "zip": "DEF" }),
        json!({ "typ": "at+jwt" }),
        json!({ "typ": "logout+jwt" }),
    ];
    let mut all: Vec<(String, Script)> =
        claims.into_iter().map(|claims| (claims.to_string(), Script::claims(claims))).collect();
    all.extend(headers.into_iter().map(|header| (header.to_string(), Script { header, ..Script::default() })));
    let own = [9; 32];
    let by_reference =
        json!({ "jwk": jwk(&own, "own"), "jku": "https://evil.example/keys", "x5u": "https://evil.example/" });
    all.push(("a key of its own".to_owned(), Script { seed: own, header: by_reference, ..Script::default() }));
    all.push(("another key".to_owned(), Script { seed: own, ..Script::default() }));
    let rewrites: [(&str, Rewrite); 9] = [
        ("no signature", |token| format!("{}.", token.rsplit_once('.').unwrap().0)),
        ("two parts", |token| token.rsplit_once('.').unwrap().0.to_owned()),
        ("five parts", |token| format!("{token}.e30.e30")),
        ("a longer signature", |token| format!("{token}AAAA")),
        ("another payload", |token| {
            let parts: Vec<&str> = token.split('.').collect();
            format!("{}.{}.{}", parts[0], parts[0], parts[2])
        }),
        ("white space", |token| format!(" {token}")),
        ("padding", |token| format!("{token}=")),
        ("a subject twice", |_| sign(&SEED, r#"{"alg":"EdDSA","kid":"first"}"#, r#"{"sub":"ada","sub":"root"}"#)),
        ("no JSON", |_| sign(&SEED, r#"{"alg":"EdDSA","kid":"first"}"#, "ada")),
    ];
    for (name, rewrite) in rewrites {
        all.push((name.to_owned(), Script { rewrite: Some(Box::new(rewrite)), ..Script::default() }));
    }
    all
}

#[test]
fn t189_r63_an_id_token_that_is_wrong_in_any_way_logs_nobody_in() {
    // One address may begin only so many logins at once, so every gate gets some of them.
    let all = wrong_tokens("").len();
    for first in (0..all).step_by(24) {
        let world = World::start();
        let client = world.public_client("A client");
        for (what, script) in wrong_tokens(world.provider.issuer()).into_iter().skip(first).take(24) {
            let before = redemptions(&world);
            let returned = Returned::of(&login(&world, &client, script));
            assert_eq!((returned.error(), returned.param("code")), ("server_error", None), "{what}");
            assert_eq!((returned.param("iss"), returned.param("state")), (Some(BASE), Some("state-1")), "{what}");
            let description = returned.param("error_description").unwrap();
            assert_eq!(description, "The identity provider's answer could not be accepted.", "{what}");
            assert_eq!(redemptions(&world), before + 1, "{what}: the code was sent again");
        }
        // Unknown keys were looked for once, and what a token says of keys was never followed.
        assert!(world.provider.seen("/keys").len() <= 2, "{}", world.provider.seen("/keys").len());
    }
    let world = World::start();
    let client = world.public_client("A client");
    for good in [
        Script::default(),
        Script::claims(json!({ "aud": [PROVIDER_CLIENT] })),
        Script::claims(json!({ "aud": [PROVIDER_CLIENT, "another"], "azp": PROVIDER_CLIENT })),
        Script::claims(json!({ "exp": now() - 20 })),
        Script::claims(json!({ "iat": now() + 20, "nbf": now() + 20 })),
        Script { header: json!({ "typ": "JWT" }), ..Script::default() },
        Script { header: json!({ "kid": null }), ..Script::default() },
        Script::person(&"x".repeat(255)),
    ] {
        assert!(Returned::of(&login(&world, &client, good)).param("code").is_some());
    }
}

#[test]
fn t189_the_nonce_of_an_earlier_login_is_another_s() {
    let world = World::start();
    let client = world.public_client("A client");
    let (mut first, earlier) = at_the_provider(&world, &Ask::of(&client, &Pkce::new()));
    let code = world.provider.issue(&earlier, Script::default());
    assert!(
        Returned::of(&first.callback(&[("code", &code), ("state", earlier.param("state"))])).param("code").is_some()
    );
    let replayed = Script::claims(json!({ "nonce": earlier.param("nonce") }));
    assert_eq!(Returned::of(&login(&world, &client, replayed)).error(), "server_error");
}

#[test]
fn t190_nothing_in_a_token_switches_a_rule_off() {
    let world = World::start();
    let client = world.public_client("A client");
    for claims in [
        json!({ "nonce": null, "nonce_supported": false }),
        json!({ "nonce": "another", "nonce_supported": false }),
        json!({ "nonce": null, "c_hash": "x", "amr": ["none"] }),
    ] {
        let script =
            Script { claims: claims.clone(), header: json!({ "nonce_supported": false }), ..Script::default() };
        assert_eq!(Returned::of(&login(&world, &client, script)).error(), "server_error", "{claims}");
    }
}

#[test]
fn t191_the_answer_of_another_provider_is_refused_before_the_code_is_sent() {
    let silent = World::start();
    let named = with_document(|document| document["authorization_response_iss_parameter_supported"] = true.into());
    for (world, names_itself) in [(&silent, false), (&named, true)] {
        let client = world.public_client("A client");
        let (mut browser, authorization) = at_the_provider(world, &Ask::of(&client, &Pkce::new()));
        let code = world.provider.issue(&authorization, Script::default());
        let state = authorization.param("state").to_owned();
        let issuer = world.provider.issuer().to_owned();
        let slash = format!("{issuer}/");
        for params in [
            &[("iss", "https://elsewhere.example")][..],
            &[("iss", &slash)],
            &[("iss", BASE)],
            &[("iss", &issuer), ("iss", &issuer)],
            &[("iss", &issuer), ("iss", "https://elsewhere.example")],
        ] {
            let both: [&[(&str, &str)]; 2] = [&[("code", &code)], &[("error", "access_denied")]];
            for outcome in both {
                let all: Vec<(&str, &str)> =
                    outcome.iter().chain(params).copied().chain([("state", state.as_str())]).collect();
                assert_page(&browser.callback(&all), &format!("{all:?}"));
            }
        }
        if names_itself {
            for params in [("code", code.as_str()), ("error", "access_denied"), ("iss", "")] {
                assert_page(&browser.callback(&[params, ("state", &state)]), "without the issuer");
            }
        }
        assert_eq!(redemptions(world), 0);
        let good = browser.callback(&[("code", &code), ("state", &state), ("iss", &issuer)]);
        assert!(Returned::of(&good).param("code").is_some());
    }
}

#[test]
fn t193_a_document_of_somebody_else_is_never_adopted() {
    let changes: [fn(&mut Value); 9] = [
        |document| document["issuer"] = "https://elsewhere.example".into(),
        |document| document["issuer"] = format!("{}/", document["issuer"].as_str().unwrap()).into(),
        |document| document["issuer"] = Value::Null,
        |document| document["token_endpoint"] = "http://elsewhere.example/token".into(),
        |document| document["authorization_endpoint"] = "javascript:alert(1)".into(),
        |document| document["jwks_uri"] = "file:///etc/passwd".into(),
        |document| document["jwks_uri"] = Value::Null,
        |document| document["code_challenge_methods_supported"] = json!(["plain"]),
        |document| document["padding"] = "x".repeat(300_000).into(),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (provider, upstream) = (Provider::start(), Upstream::start());
        provider.document(change);
        let gate = Gate::start(&configuration(&provider, &upstream));
        eventually("the document was read", || !provider.seen("/.well-known/openid-configuration").is_empty());
        std::thread::sleep(std::time::Duration::from_millis(60));
        let health = once(gate.public(), &Request::get("/health"));
        assert!(health.text().contains("oidc-discovery-pending"), "document {number}: {}", health.text());
        assert_eq!(provider.seen("/keys").len(), 0, "document {number}");
    }
}

#[test]
fn t194_whatever_the_provider_s_token_endpoint_does_the_client_hears_of_it_in_our_words() {
    let world = World::start();
    let client = world.public_client("A client");
    let json = "application/json";
    let members = |members: Value| Script { members, ..Script::default() };
    let marked = r#"{"error":"invalid_grant","error_description":"MARK <script>"}"#;
    let long = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(10_000_000));
    let table: Vec<(&str, Script, &str)> = vec![
        ("no ID token", members(json!({ "id_token": null })), "server_error"),
        ("an ID token that is none", members(json!({ "id_token": 7 })), "server_error"),
        ("an empty ID token", members(json!({ "id_token": "" })), "server_error"),
        ("no access token", members(json!({ "access_token": null })), "server_error"),
        ("another token type", members(json!({ "token_type": "MARK" })), "server_error"),
        ("no token type", members(json!({ "token_type": null })), "server_error"),
        ("an error in success", members(json!({ "error": "MARK" })), "server_error"),
        ("a lifetime that is none", members(json!({ "expires_in": "MARK" })), "server_error"),
        ("a refresh token that is none", members(json!({ "refresh_token": ["MARK"] })), "server_error"),
        ("HTML", Script::answer("200 OK", "text/html", "<h1>MARK</h1>"), "server_error"),
        ("JSON as text", Script::answer("200 OK", "text/plain", "{}"), "server_error"),
        ("no JSON", Script::answer("200 OK", json, "MARK"), "server_error"),
        ("a list", Script::answer("200 OK", json, "[]"), "server_error"),
        ("nothing", Script::answer("200 OK", json, ""), "server_error"),
        ("a member twice", Script::answer("200 OK", json, r#"{"id_token":"a","id_token":"b"}"#), "server_error"),
        ("ten megabytes", Script::answer("200 OK", json, long), "temporarily_unavailable"),
        ("a redirect", Script::answer("302 Found\r\nLocation: http://127.0.0.1:1/", json, "{}"), "server_error"),
        ("a refusal", Script::answer("400 Bad Request", json, marked), "server_error"),
        ("not us", Script::answer("401 Unauthorized", json, r#"{"error":"invalid_client"}"#), "server_error"),
        ("not found", Script::answer("404 Not Found", "text/html", "MARK"), "server_error"),
        ("too many", Script::answer("429 Too Many Requests", json, marked), "temporarily_unavailable"),
        ("broken", Script::answer("500 Internal Server Error", json, marked), "temporarily_unavailable"),
        ("busy", Script::answer("503 Service Unavailable", "text/html", "MARK"), "temporarily_unavailable"),
        ("hung up", Script { hangs_up: true, ..Script::default() }, "temporarily_unavailable"),
    ];
    for (what, script, error) in table {
        let before = redemptions(&world);
        let answer = login(&world, &client, script);
        let returned = Returned::of(&answer);
        assert_eq!((returned.error(), returned.param("code")), (error, None), "{what}");
        assert_eq!((returned.param("iss"), returned.param("state")), (Some(BASE), Some("state-1")), "{what}");
        assert!(!answer.location().contains("MARK") && !answer.location().contains("%3Cscript"), "{what}");
        assert_eq!(redemptions(&world), before + 1, "{what}: the code was sent again");
    }
    assert!(Returned::of(&login(&world, &client, Script::default())).param("code").is_some());
}

#[test]
fn t195_r03_an_error_of_the_provider_goes_back_in_our_words_and_a_code_beside_it_counts_for_nothing() {
    let world = World::start();
    let client = world.public_client("A client");
    let polyglot = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'%0d%0aSet-Cookie: x=y";
    for (error, ours) in [
        ("access_denied", "access_denied"),
        ("login_required", "access_denied"),
        ("consent_required", "access_denied"),
        ("never_heard_of", "access_denied"),
        (polyglot, "access_denied"),
        ("temporarily_unavailable", "temporarily_unavailable"),
        ("server_error", "server_error"),
        ("invalid_scope", "server_error"),
    ] {
        let (mut browser, authorization) = at_the_provider(&world, &Ask::of(&client, &Pkce::new()));
        let code = world.provider.issue(&authorization, Script::default());
        let answer = browser.callback(&[
            ("error", error),
            ("error_description", polyglot),
            ("error_uri", "https://evil.example/"),
            ("error_hint", polyglot),
            ("code", &code),
            ("state", authorization.param("state")),
        ]);
        let returned = Returned::of(&answer);
        assert_eq!((returned.error(), returned.param("code")), (ours, None), "{error}");
        assert_eq!((returned.param("iss"), returned.param("state")), (Some(BASE), Some("state-1")), "{error}");
        let location = answer.location();
        assert!(
            !location.contains("alert") && !location.contains("evil") && !answer.text().contains("alert"),
            "{location}"
        );
        // The login is over with it.
        let again = browser.callback(&[("code", &code), ("state", authorization.param("state"))]);
        assert_page(&again, error);
    }
    assert_eq!(redemptions(&world), 0);
    // On the page of a callback that belongs to no login nothing of it is repeated either.
    let stray = [("error", polyglot), ("error_description", polyglot), ("state", polyglot), ("code", polyglot)];
    let page = world.browser().callback(&stray);
    assert_page(&page, "a stray error");
    assert!(!page.text().contains("alert") && !page.text().contains("onerror"), "{}", page.text());
}

#[test]
fn t198_userinfo_is_never_asked() {
    let world = with_document(|document| {
        document["userinfo_endpoint"] = format!("{}/userinfo", document["issuer"].as_str().unwrap()).into();
    });
    world.tokens(&world.public_client("A client"));
    assert!(world.provider.seen("/userinfo").is_empty());
}

#[test]
fn t199_a_new_key_is_found_a_removed_one_is_gone_and_a_flood_of_names_costs_one_reading() {
    let world = World::start();
    // A gate is healthy once it knows the provider; the keys come right after.
    crate::harness::eventually("the keys are read", || world.provider.seen("/keys").len() == 1);
    let client = world.public_client("A client");
    let with = |seed: [u8; 32], kid: &str| Script { seed, header: json!({ "kid": kid }), ..Script::default() };
    let second = [2; 32];
    // The first key is removed at once: an emergency.
    world.provider.keys(|keys| keys["keys"] = json!([jwk(&second, "second")]));
    assert!(Returned::of(&login(&world, &client, with(second, "second"))).param("code").is_some());
    assert_eq!(world.provider.seen("/keys").len(), 2);
    assert_eq!(Returned::of(&login(&world, &client, with(SEED, "first"))).error(), "server_error");
    for number in 0..20 {
        let unknown = with(second, &format!("unknown-{number}"));
        assert_eq!(Returned::of(&login(&world, &client, unknown)).error(), "server_error");
    }
    assert_eq!(world.provider.seen("/keys").len(), 2, "the keys were read for names that nobody has");
    assert!(Returned::of(&login(&world, &client, with(second, "second"))).param("code").is_some());
}

#[test]
fn t201_without_the_provider_everything_works_that_needs_none() {
    let world = without_provider();
    let client = world.public_client("A client");
    assert_eq!(world.send(&Request::get("/.well-known/oauth-authorization-server")).status, 200);
    assert_eq!(world.call("/mcp", "x").status, 401);
    let refused = world.send(&client.form("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", "x")]));
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"));
    let callback = world.browser().callback(&[("code", "x"), ("state", "y")]);
    assert_eq!(callback.status, 503);
    assert!(callback.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{callback:?}");
    let ask = Ask::of(&client, &Pkce::new());
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask);
    let returned = Returned::of(&browser.answer(&consent, "approve"));
    assert_eq!((returned.error(), returned.param("iss")), ("temporarily_unavailable", Some(BASE)));
    assert_eq!(browser.cookies.keys().filter(|name| name.contains("login")).count(), 0);
    // It comes, and nobody has to do anything.
    let issuer = world.provider.issuer().to_owned();
    world.provider.document(|document| document["issuer"] = issuer.into());
    world.gate.until_ready();
    let authorization = browser.approve(&consent);
    let code = world.provider.issue(&authorization, Script::default());
    assert!(
        Returned::of(&browser.callback(&[("code", &code), ("state", authorization.param("state"))]))
            .param("code")
            .is_some()
    );
}

#[test]
fn t201_live_sessions_need_no_provider() {
    let world = World::start();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let asked = |world: &World| {
        ["/token", "/keys", "/.well-known/openid-configuration"].map(|path| world.provider.seen(path).len())
    };
    let before = asked(&world);
    let mut connection = Connection::to(world.gate.public());
    for _ in 0..20 {
        assert_eq!(connection.exchange(&Request::get("/mcp").bearer(&tokens.access)).status, 200);
    }
    let refreshed = super::harness::Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert!(world.admits(&refreshed.access));
    assert_eq!(asked(&world), before, "the provider was asked");
    // While a login hangs on a slow provider, others are served.
    std::thread::scope(|scope| {
        let slow = Script { delay: std::time::Duration::from_millis(400), ..Script::default() };
        let login = scope.spawn(|| login(&world, &client, slow));
        while !login.is_finished() {
            assert!(world.admits(&refreshed.access));
        }
        assert!(Returned::of(&login.join().unwrap()).param("code").is_some());
    });
}

#[test]
fn t202_every_login_has_a_state_a_nonce_and_a_challenge_of_its_own() {
    let world = World::start();
    let client = world.public_client("A client");
    let mut drawn = HashSet::new();
    let mut browser = world.browser();
    for _ in 0..12 {
        let consent =
            browser.consent_page(&Ask::of(&client, &Pkce::of("the-same-verifier-of-the-client-every-time-0")));
        let authorization = browser.approve(&consent);
        assert_eq!(authorization.endpoint, format!("{}/auth", world.provider.issuer()));
        assert_eq!(authorization.param("response_type"), "code");
        assert_eq!(authorization.param("code_challenge_method"), "S256");
        assert_eq!(authorization.param("client_id"), PROVIDER_CLIENT);
        assert_eq!(authorization.param("redirect_uri"), format!("{BASE}/oauth/callback"));
        assert_eq!(authorization.param("code_challenge").len(), 43);
        for name in ["state", "nonce", "code_challenge"] {
            let value = authorization.param(name);
            assert!(value.len() >= 22 && drawn.insert(value.to_owned()), "{name}: {value}");
        }
        assert!(!authorization.params.iter().any(|(_, value)| value == "state-1"), "the client's state went along");
    }
    // A fourth login in one browser clears the oldest.
    assert_eq!(browser.cookies.keys().filter(|name| name.contains("login")).count(), 3);
    world.tokens(&client);
    let redeemed = world.provider.seen("/token").pop().unwrap();
    let form = super::harness::http::fields(std::str::from_utf8(&redeemed.body).unwrap());
    let names: BTreeSet<&str> = form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["grant_type", "code", "redirect_uri", "code_verifier"]));
    assert!(redeemed.header("authorization").unwrap().starts_with("Basic "));
}

#[test]
fn t203_r59_only_four_wishes_of_a_client_reach_the_provider() {
    let world = World::start();
    let client = world.public_client("A client");
    let ask = [
        ("connector_id", "mock"),
        ("approval_prompt", "auto"),
        ("acr_values", "0"),
        ("ui_locales", "de"),
        ("id_token_hint", "x"),
        ("claims", "{}"),
        ("access_type", "online"),
        ("hd", "evil.example"),
        ("include_granted_scopes", "true"),
        ("display", "popup"),
        ("nonce", "the-client-s"),
        ("code_verifier", "x"),
        ("audience", "x"),
        ("x&connector_id", "mock"),
        ("prompt", "login consent select_account"),
        ("login_hint", "ada@example.com&connector_id=mock"),
        ("max_age", "60"),
    ]
    .into_iter()
    .fold(Ask::of(&client, &Pkce::new()), |ask, (name, value)| ask.set(name, value));
    let (_, authorization) = at_the_provider(&world, &ask);
    let names: Vec<&str> = authorization.params.iter().map(|(name, _)| name.as_str()).collect();
    let listed = [
        "response_type",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "prompt",
        "login_hint",
        "max_age",
    ];
    assert_eq!(names, listed);
    for (name, value) in [
        ("prompt", "login select_account"),
        ("login_hint", "ada@example.com&connector_id=mock"),
        ("max_age", "60"),
        ("scope", "openid profile email offline_access"),
    ] {
        assert_eq!(authorization.param(name), value);
    }
    assert_ne!(authorization.param("nonce"), "the-client-s");
}

#[test]
fn t203_a_maximal_age_that_was_asked_for_is_judged() {
    let world = World::start();
    let client = world.public_client("A client");
    for (auth_time, admitted) in
        [(json!(now()), true), (json!(now() - 3_600), false), (Value::Null, false), (json!(now() + 3_600), false)]
    {
        let ask = Ask::of(&client, &Pkce::new()).set("max_age", "60");
        let returned = Returned::of(&world.browser().login(&ask, Script::claims(json!({ "auth_time": auth_time }))));
        assert_eq!(returned.param("code").is_some(), admitted, "{auth_time}: {returned:?}");
    }
}

#[test]
fn r26_t196_a_person_is_issuer_and_subject_and_never_an_address() {
    let world = super::operator::world();
    let client = world.public_client("A client");
    let (mut users, mut sessions) = (Vec::new(), Vec::new());
    for claims in [
        json!({ "sub": "ada", "email": "ada@example.com" }),
        json!({ "sub": "mallory", "email": "ada@example.com", "preferred_username": "ada", "name": "ada" }),
        json!({ "sub": "ADA", "email": "ada@example.com" }),
        json!({ "sub": "ada", "email": "else@example.com" }),
    ] {
        let tokens = session_of(&world, &client, |ask| ask, Script::claims(claims));
        assert!(world.admits(&tokens.access));
        users.push(world.upstream.seen().pop().unwrap().header("x-forwarded-user").unwrap().to_owned());
        sessions.push(tokens.access);
    }
    assert_eq!(users, ["ada", "mallory", "ADA", "ada"]);
    // Nor do they share anything that is kept: what ends one person leaves those of the same address and name alone.
    assert_eq!(super::operator::sessions(&world, "ada").len(), 2);
    assert_eq!(super::operator::done(&world, "/cuts", json!({ "subject": "ada" })), "cut");
    let standing: Vec<bool> = sessions.iter().map(|access| world.admits(access)).collect();
    assert_eq!(standing, [false, true, true, false]);
    // The same subject of another provider is somebody else.
    let elsewhere = json!({ "subject": "mallory", "issuer": "https://elsewhere.example" });
    assert_eq!(super::operator::done(&world, "/cuts", elsewhere), "cut");
    assert!(world.admits(&sessions[1]));
}

#[test]
fn t284_r64_the_state_at_the_provider_has_nothing_to_do_with_the_session() {
    let world = World::start();
    let client = world.public_client("A client");
    let pkce = Pkce::new();
    let (mut browser, authorization) = at_the_provider(&world, &Ask::of(&client, &pkce));
    let cookies: Vec<String> = browser.cookies.values().cloned().collect();
    let provider_code = world.provider.issue(&authorization, Script::default());
    let returned =
        Returned::of(&browser.callback(&[("code", &provider_code), ("state", authorization.param("state"))]));
    let tokens = super::harness::Tokens::of(&world.exchange(&client, returned.code(), &pkce));
    assert!(world.admits(&tokens.access));
    let session = world.upstream.seen().pop().unwrap().header("x-session-id").unwrap().to_owned();
    let state = authorization.param("state");
    for (name, value) in
        [("code", returned.code()), ("access", &tokens.access), ("refresh", &tokens.refresh), ("session", &session)]
    {
        assert!(!value.contains(state) && !state.contains(value), "{name}");
        // Nor do they begin or end alike.
        assert_ne!(&value[..12], &state[..12], "{name}");
    }
    for cookie in cookies {
        assert!(!cookie.contains(state), "the cookie holds the state in the clear");
    }
}
