//! The provider says that somebody has logged out (OpenID Connect Back-Channel Logout 1.0), over the whole gate.

use super::harness::provider::{SEED, lay_over, now, sign};
use super::harness::{Client, PROVIDER_CLIENT, Request, Response, Script, Tokens, World};
use super::two::{session_of, without_provider};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A good token with other claims laid over it; each has a `jti` of its own.
fn claims(world: &World, over: &Value) -> Value {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let mut claims = json!({
        "iss": world.provider.issuer(),
        "aud": PROVIDER_CLIENT,
        "iat": now(),
        "exp": now() + 120,
        "jti": format!("logout-{}", COUNT.fetch_add(1, Ordering::SeqCst)),
        "events": { EVENT: {} },
    });
    lay_over(&mut claims, over);
    claims
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": "first", "typ": "logout+jwt" })
}

fn token(world: &World, over: &Value) -> String {
    sign(&SEED, &header().to_string(), &claims(world, over).to_string())
}

fn send(world: &World, token: &str) -> Response {
    world.send(&Request::form("/oauth/backchannel-logout", &[("logout_token", token)]))
}

fn of(world: &World, client: &Client, subject: &str, sid: Value) -> Tokens {
    session_of(world, client, |ask| ask, Script::claims(json!({ "sub": subject, "sid": sid })))
}

#[track_caller]
pub fn accepted(world: &World, over: Value) {
    let answer = send(world, &token(world, &over));
    assert_eq!((answer.status, answer.text().as_str()), (200, ""), "{over}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[track_caller]
fn refused(answer: &Response, what: &str) {
    assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    assert_eq!(answer.json()["error"], json!("invalid_request"), "{what}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
}

#[test]
fn p05_a_logout_at_the_provider_ends_the_sessions_that_came_out_of_it() {
    let world = World::start();
    let (client, other) = (world.public_client("A client"), world.public_client("Another"));
    let first = of(&world, &client, "ada", json!("s-1"));
    let beside = of(&world, &other, "ada", json!("s-1"));
    let elsewhere = of(&world, &client, "ada", json!("s-2"));
    let bob = of(&world, &client, "bob", json!("s-3"));
    accepted(&world, json!({ "sid": "s-1", "sub": "ada" }));
    for tokens in [&first, &beside] {
        assert!(!world.admits(&tokens.access));
    }
    assert_eq!(world.refresh(&client, &first.refresh).status, 400);
    assert!(world.admits(&elsewhere.access) && world.admits(&bob.access), "other sessions there are not over");
    // Without a sid, everything of the person.
    accepted(&world, json!({ "sub": "ada" }));
    assert!(!world.admits(&elsewhere.access) && world.admits(&bob.access));
    accepted(&world, json!({ "sid": "s-3" }));
    assert!(!world.admits(&bob.access));
    accepted(&world, json!({ "sid": "nobody-has-this-one" }));
    let again = of(&world, &client, "ada", json!("s-4"));
    assert!(world.admits(&again.access), "who logs in again is in");
    assert_eq!(world.happened("provider_logout"), 4);
}

#[test]
fn t155_a_token_counts_once_and_only_if_everything_in_it_is_right() {
    let world = World::start();
    let client = world.public_client("A client");
    let tokens = of(&world, &client, "ada", json!("s-1"));
    let over = json!({ "sid": "s-1", "sub": "ada" });
    for change in [
        json!({ "iss": "https://evil.example" }),
        json!({ "aud": "another" }),
        json!({ "iat": now() - 700 }),
        json!({ "iat": now() + 600 }),
        json!({ "iat": null }),
        json!({ "exp": now() - 100 }),
        json!({ "jti": null }),
        json!({ "nonce": "n" }),
        json!({ "events": null }),
        json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": "x" } }),
        json!({ "sub": null, "sid": null }),
    ] {
        let mut claims = over.clone();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        refused(&send(&world, &token(&world, &claims)), &change.to_string());
    }
    let good = claims(&world, &over).to_string();
    for (what, wrong) in [
        ("another key", sign(&[7; 32], &header().to_string(), &good)),
        ("no alg", sign(&SEED, r#"{"alg":"none"}"#, &good)),
        ("unknown kid", sign(&SEED, r#"{"alg":"EdDSA","kid":"unknown"}"#, &good)),
        ("an access token", sign(&SEED, r#"{"alg":"EdDSA","kid":"first","typ":"at+jwt"}"#, &good)),
        ("no token", "x".to_owned()),
        ("nothing", String::new()),
        ("a long one", "x".repeat(20_000)),
    ] {
        refused(&send(&world, &wrong), what);
    }
    // ID tokens are the provider's too.
    let id_token = json!({ "iss": world.provider.issuer(), "aud": PROVIDER_CLIENT, "sub": "ada", "sid": "s-1",
        "nonce": "n", "iat": now(), "exp": now() + 300 });
    let plain = json!({ "alg": "EdDSA", "kid": "first" }).to_string();
    refused(&send(&world, &sign(&SEED, &plain, &id_token.to_string())), "an ID token");
    assert!(world.admits(&tokens.access), "nothing of that has ended anything");

    let twice = token(&world, &over);
    assert_eq!(send(&world, &twice).status, 200);
    assert!(!world.admits(&tokens.access));
    let next = of(&world, &client, "ada", json!("s-1"));
    refused(&send(&world, &twice), "a replay");
    assert!(world.admits(&next.access), "what began since is not ended by it");
    assert_eq!((world.happened("provider_logout"), world.happened("provider_logout_refused")), (1, 20));
}

#[test]
fn a_logout_is_a_form_that_is_posted_and_may_hold_more() {
    let world = World::start();
    let path = "/oauth/backchannel-logout";
    let token = || token(&world, &json!({ "sid": "s" }));
    let more = Request::form(path, &[("logout_token", token().as_str()), ("whatever", "1")]);
    assert_eq!(world.send(&more).status, 200);
    let repeated = Request::form(path, &[("logout_token", token()), ("logout_token", token())]);
    refused(&world.send(&repeated), "two tokens");
    refused(&world.send(&Request::json(path, &json!({ "logout_token": token() }))), "JSON");
    refused(&world.send(&Request::form(path, &[("token", token())])), "no token");
    let answer = world.send(&Request::get(&format!("{path}?logout_token={}", token())));
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    // Nothing is told of it to clients: it is between the gate and its provider.
    let metadata = world.send(&Request::get("/.well-known/oauth-authorization-server")).text();
    assert!(!metadata.contains("logout"), "{metadata}");
}

#[test]
fn t199_a_key_that_the_provider_has_just_published_is_fetched_once() {
    let world = World::start();
    let client = world.public_client("A client");
    let tokens = of(&world, &client, "ada", json!("s-1"));
    world.provider.keys(|keys| {
        let mut next = keys["keys"][0].clone();
        next["kid"] = "second".into();
        keys["keys"].as_array_mut().unwrap().push(next);
    });
    let header = json!({ "alg": "EdDSA", "kid": "second", "typ": "logout+jwt" });
    let by_next = sign(&SEED, &header.to_string(), &claims(&world, &json!({ "sid": "s-1" })).to_string());
    assert_eq!(send(&world, &by_next).status, 200);
    assert!(!world.admits(&tokens.access));
}

#[test]
fn t201_a_logout_that_cannot_be_judged_is_not_said_to_be_done() {
    let world = without_provider();
    let answer = send(&world, &token(&world, &json!({ "sub": "ada" })));
    assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{}", answer.text());
}

#[test]
fn t251_a_flood_of_logout_tokens_from_one_address_is_held_up_and_no_other() {
    let world = World::start();
    let held_up = (0..10_000).position(|_| send(&world, "x").status == 429);
    assert!(held_up.is_some_and(|after| after >= 1_000), "{held_up:?}");
    let other = std::net::Ipv4Addr::new(127, 0, 0, 9);
    let good = Request::form("/oauth/backchannel-logout", &[("logout_token", token(&world, &json!({ "sub": "ada" })))]);
    assert_eq!(world.send_from(other, &good).status, 200);
    assert_eq!(world.send(&Request::get("/health")).status, 200);
}
