//! Clients that prove who they are by signing: RFC 7523, for all three kinds of clients and at every endpoint that asks.
//!
//! | id | where |
//! |---|---|
//! | T067, T069, T070, T071 | `t067_…`, `t070_…`, and each rule in `domain/src/oauth/client_assertion.rs` |
//! | R42 | `t070_r42_…` |
//! | R34, T121 | `r34_…` |
//! | T259 | `t259_…`, within one process; at two gates in `tests/replicas` |

use super::documents::{Site, http, world_with};
use super::harness::provider::now;
use super::harness::signer::{TYPE, assertion, keys, proven, signed};
use super::harness::{Answer, BASE, Client, Pkce, REDIRECT, Request, Response, Tokens, Upstream, World};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) const OTHER_SEED: [u8; 32] = *b"the signing seed of another one!";

/// Redeems a code of this client with this assertion, which alone says who it is.
fn redeem(world: &World, client: &Client, assertion: &str) -> Response {
    let pkce = Pkce::new();
    let code = world.code(client, &pkce);
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", REDIRECT),
        ("code_verifier", &pkce.verifier),
    ];
    world.send(&proven("/oauth/token", &fields, assertion))
}

/// A session of this client, refreshed, asked about and revoked, each time with an assertion of its own.
fn lives(world: &World, client: &Client) {
    let tokens = Tokens::of(&redeem(world, client, &assertion(&client.id, json!({}))));
    assert!(world.admits(&tokens.access));
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    let bare = world.send(&client.form("/oauth/token", &refresh));
    assert_eq!((bare.status, bare.json()["error"].as_str()), (401, Some("invalid_client")), "it has to sign");
    let tokens = Tokens::of(&world.send(&proven("/oauth/token", &refresh, &assertion(&client.id, json!({})))));
    let about = [("token", tokens.access.as_str()), ("client_id", &client.id)];
    let told = world.send(&proven("/oauth/introspect", &about, &assertion(&client.id, json!({}))));
    assert_eq!((told.status, told.json()["active"].as_bool()), (200, Some(true)));
    assert_eq!(world.revoke(client, &tokens.refresh).status, 401);
    assert!(world.admits(&tokens.access), "it was not revoked");
    let token = [("token", tokens.refresh.as_str())];
    assert_eq!(world.send(&proven("/oauth/revoke", &token, &assertion(&client.id, json!({})))).status, 200);
    assert!(!world.admits(&tokens.access));
}

fn configured(changes: Value) -> World {
    World::with(|config| {
        let mut client = json!({ "clientId": "signer", "name": "Signer", "redirectUris": [REDIRECT] });
        client.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        config["clients"] = json!([client]);
    })
}

#[test]
fn t070_a_client_that_signs_lives_whether_configured_registered_or_described() {
    let world = configured(json!({ "jwks": keys() }));
    lives(&world, &Client::public("signer"));

    let metadata = json!({
        "client_name": "Signer", "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", "jwks": keys(),
    });
    let client = world.register(&metadata);
    assert!(client.secret.is_none() && client.registration["registration_access_token"].is_string());
    assert_eq!(client.registration["jwks"]["keys"][0]["x"], keys()["keys"][0]["x"]);
    assert_ne!(client.id, world.register(&metadata).id, "no two registrations share an id");
    lives(&world, &client);

    let site = Site::start();
    let world = world_with(|_| {});
    let here = site.publishes("/here", json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": keys() }));
    lives(&world, &here);
    let there = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": site.url("/keys") });
    site.says("/keys", http("200 OK", "application/jwk-set+json", keys().to_string().as_bytes()));
    lives(&world, &site.publishes("/there", there));
    assert_eq!((site.asked("/there"), site.asked("/keys")), (1, 1));
}

#[test]
fn t070_r42_whatever_is_wrong_with_an_assertion_nothing_is_issued_and_the_code_stays_its_client_s() {
    let world = configured(json!({ "jwks": keys() }));
    let client = Client::public("signer");
    let pkce = Pkce::new();
    let code = world.code(&client, &pkce);
    let fields = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", &pkce.verifier)];
    let redeem = |assertion: &str| world.send(&proven("/oauth/token", &fields, assertion));
    for changes in [
        json!({ "aud": "https://other.example" }),
        json!({ "aud": [BASE, "https://other.example"] }),
        json!({ "aud": format!("{BASE}/oauth/revoke") }),
        json!({ "aud": [BASE, format!("{BASE}/oauth/token")] }),
        json!({ "iss": "somebody" }),
        json!({ "exp": null }),
        json!({ "exp": now() - 120 }),
        json!({ "exp": now() + 3_600 }),
        json!({ "iat": now() + 600 }),
        json!({ "jti": null }),
    ] {
        let answer = redeem(&assertion("signer", changes.clone()));
        assert_eq!((answer.status, answer.json()["error"].as_str()), (401, Some("invalid_client")), "{changes}");
    }
    let foreign = redeem(&signed(&OTHER_SEED, "one", "signer", json!({})));
    assert_eq!(foreign.json()["error"], "invalid_client");
    let unknown = redeem(&signed(&OTHER_SEED, "two", "signer", json!({})));
    assert_eq!(unknown.json()["error"], "invalid_client");

    let once = assertion("signer", json!({}));
    let refused = [("grant_type", "authorization_code"), ("code", "pcc_nothing"), ("code_verifier", &pkce.verifier)];
    assert_eq!(world.send(&proven("/oauth/token", &refused, &once)).status, 400);
    let again = redeem(&once);
    assert_eq!(again.json()["error"], "invalid_client", "it counted, though nothing came of it");
    assert!(again.text().contains("used before"), "{}", again.text());
    assert_eq!(redeem(&assertion("signer", json!({}))).status, 200);
}

#[test]
fn t259_of_many_who_bring_one_assertion_at_one_time_one_gets_in() {
    let world = configured(json!({ "jwks": keys() }));
    let client = Client::public("signer");
    let tokens = Tokens::of(&redeem(&world, &client, &assertion("signer", json!({}))));
    let once = assertion("signer", json!({}));
    let fields = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    let request = proven("/oauth/token", &fields, &once);
    let accepted = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                if world.send(&request).status == 200 {
                    accepted.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(accepted.into_inner(), 1);
}

#[test]
fn t067_no_client_gets_in_by_another_method_than_its_own() {
    let world = configured(json!({ "jwks": keys() }));
    let signer = Client::public("signer");
    let pkce = Pkce::new();
    let code = world.code(&signer, &pkce);
    let fields = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", &pkce.verifier)];
    for client in
        [signer.clone(), Client::confidential("signer", "a secret that is none"), Client::confidential("signer", "")]
    {
        let answer = world.send(&client.form("/oauth/token", &fields));
        assert_eq!((answer.status, answer.json()["error"].as_str()), (401, Some("invalid_client")));
    }
    // Keys that somebody registers beside another method do not make an assertion count.
    for method in ["none", "client_secret_basic"] {
        let metadata = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method, "jwks": keys() });
        let client = world.register(&metadata);
        assert!(client.registration.get("jwks").is_none());
        let answer = world.send(&proven("/oauth/token", &fields, &assertion(&client.id, json!({}))));
        assert_eq!((answer.status, answer.json()["error"].as_str()), (401, Some("invalid_client")), "{method}");
    }
    let twice = [fields.as_slice(), &[("client_id", "signer"), ("client_secret", "a secret that is none")]].concat();
    let answer = world.send(&proven("/oauth/token", &twice, &assertion("signer", json!({}))));
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_request")));
    let other = [fields.as_slice(), &[("client_id", "other")]].concat();
    assert_eq!(world.send(&proven("/oauth/token", &other, &assertion("signer", json!({})))).status, 401);
    for half in [("client_assertion_type", TYPE), ("client_assertion", "x")] {
        let answer = world.send(&Request::form("/oauth/token", &[fields.as_slice(), &[half]].concat()));
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_request")), "{half:?}");
    }
    assert_eq!(world.send(&proven("/oauth/token", &fields, &assertion("signer", json!({})))).status, 200);
}

#[test]
fn r34_t099_t121_keys_at_an_address_are_fetched_when_they_are_needed_and_again_for_a_key_that_is_new() {
    let site = Upstream::start();
    let published = Arc::new(std::sync::Mutex::new(keys()));
    let own = Arc::clone(&published);
    site.answers(move |_| Answer::json(&own.lock().unwrap().to_string()));
    let world = configured(json!({ "jwksUri": format!("{}/keys", site.url()) }));
    let client = Client::public("signer");
    assert_eq!(site.connections(), 0);
    for _ in 0..3 {
        Tokens::of(&redeem(&world, &client, &assertion("signer", json!({}))));
    }
    assert_eq!(site.seen().len(), 1);
    // A key that nobody published does not make the gate ask at once, and not for every assertion.
    for _ in 0..5 {
        assert_eq!(redeem(&world, &client, &signed(&OTHER_SEED, "two", "signer", json!({}))).status, 401);
    }
    assert_eq!(site.seen().len(), 1, "it was read just now");

    // What strangers name is called at public addresses alone.
    let metadata = json!({
        "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://127.0.0.1/keys",
    });
    let stranger = world.register(&metadata);
    let answer = redeem(&world, &stranger, &assertion(&stranger.id, json!({})));
    assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("temporarily_unavailable")));
    assert_eq!(site.seen().len(), 1);
    let (site, world) = (Site::start(), world_with(|_| {}));
    let inside = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://10.0.0.1/keys" });
    let described = site.publishes("/inside", inside);
    let answer = redeem(&world, &described, &assertion(&described.id, json!({})));
    assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("temporarily_unavailable")));
}

#[test]
fn t072_r34_keys_are_read_by_the_guarded_client_and_whatever_its_answer_is_nobody_gets_in_by_it() {
    let site = Upstream::start();
    let good = keys().to_string();
    let own = good.clone();
    site.answers(move |seen| match seen.target() {
        "/elsewhere" => Answer::json(&own),
        "/redirect" => {
            Answer::Last(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".to_vec())
        }
        "/error" => Answer::Last(http("500 Internal Server Error", "application/json", own.as_bytes())),
        "/large" => {
            Answer::Last(http("200 OK", "application/json", format!("{own}{}", " ".repeat(300_000)).as_bytes()))
        }
        "/twice" => Answer::json(&own.replacen("{\"keys\"", "{\"keys\":[],\"keys\"", 1)),
        "/none" => Answer::json("{\"keys\":[]}"),
        "/deep" => Answer::json(&"[".repeat(100)),
        "/short" => Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}".to_vec()),
        _ => Answer::json("no keys"),
    });
    let places = ["redirect", "error", "large", "twice", "none", "deep", "short", "text"];
    let world = World::with(|config| {
        let client = |place: &&str| json!({ "clientId": place, "name": place, "redirectUris": [REDIRECT], "jwksUri": format!("{}/{place}", site.url()) });
        config["clients"] = json!(places.iter().map(client).collect::<Vec<_>>());
    });
    for place in places {
        let answer = redeem(&world, &Client::public(place), &assertion(place, json!({})));
        assert_eq!((answer.status, answer.error().as_str()), (503, "temporarily_unavailable"), "{place}");
        assert!(answer.header("retry-after").is_some());
    }
    let asked: Vec<String> = site.seen().iter().map(|seen| seen.target().to_owned()).collect();
    assert_eq!(asked, places.map(|place| format!("/{place}")), "each once, and nothing that one of them led to");
}

#[test]
fn t072_r34_what_a_stranger_names_as_the_place_of_its_keys_is_called_at_public_addresses_alone() {
    let (site, world) = (Site::start(), World::start());
    let port = site.url("").rsplit(':').next().unwrap().to_owned();
    let before = site.connections();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "10.0.0.1",
        "169.254.169.254",
        "[fd00::1]",
        "0.0.0.0",
        "gate.example",
    ] {
        for uri in
            [format!("https://{host}/keys"), format!("https://{host}:{port}/keys"), format!("http://{host}/keys")]
        {
            let metadata = json!({
                "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": uri,
            });
            let registered = world.send(&Request::json("/oauth/register", &metadata));
            if registered.status != 201 {
                registered.refuses(400, "invalid_client_metadata");
                continue;
            }
            let id = registered.json()["client_id"].as_str().unwrap().to_owned();
            let answer = redeem(&world, &Client::public(&id), &assertion(&id, json!({})));
            let error = (answer.status, answer.error());
            assert_eq!(error, (503, "temporarily_unavailable".to_owned()), "{uri}");
        }
    }
    assert_eq!(site.connections(), before);
}
