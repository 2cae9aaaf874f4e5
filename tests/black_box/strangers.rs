//! Bearers that are not of the gate's making: ID tokens of other clients of the provider (M21), JWTs of trusted issuers (M22), and
//! everything else, which is refused without asking anybody (RS-7, security group K).

use crate::harness::browser::call_request;
use crate::harness::provider::{self, SEED, jwk, now, sign};
use crate::harness::{Answer, Request, Response, Upstream, World, eventually};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The seed of the cluster's key.
pub const CLUSTER: [u8; 32] = *b"the cluster's own signing seed!!";
/// The seed of a key that nobody publishes.
const NOBODY: [u8; 32] = *b"nobody has published this seed!!";

/// An issuer whose key set can be counted and changed, and a gate that trusts it.
struct Cluster {
    keys: Arc<Upstream>,
    world: World,
}

impl Cluster {
    fn start(change: impl FnOnce(&mut Value, &str)) -> Self {
        let keys = Arc::new(Upstream::start());
        let issuer = keys.url();
        let world = World::with(|config| {
            config["trustedIssuers"] = json!([{
                "issuer": issuer,
                "jwksUrl": format!("{issuer}/jwks"),
                "allowedScopes": ["mcp"],
                "allowedClaims": { "sub": ["system:serviceaccount:agents:*"] },
                "acceptedTypHeaders": [""],
            }]);
            change(config, &issuer);
        });
        let it = Self { keys, world };
        it.publishes(&[(&CLUSTER, "one")]);
        it
    }

    fn publishes(&self, keys: &[(&[u8; 32], &str)]) {
        let keys: Vec<Value> = keys.iter().map(|(seed, kid)| jwk(seed, kid)).collect();
        let body = json!({ "keys": keys }).to_string();
        self.keys.answers(move |_| Answer::json(&body));
    }

    /// A good token of the cluster, with these claims laid over.
    fn token(&self, over: &Value) -> String {
        let mut claims = json!({
            "iss": self.keys.url(),
            "sub": "system:serviceaccount:agents:planner",
            "aud": ["https://gate.example/mcp"],
            "iat": now(),
            "exp": now() + 600,
        });
        provider::lay_over(&mut claims, over);
        sign(&CLUSTER, r#"{"alg":"EdDSA","kid":"one"}"#, &claims.to_string())
    }

    fn call(&self, token: &str) -> Response {
        self.world.call("/mcp", token)
    }
}

/// An ID token of the provider for this client, with these claims laid over.
pub fn id_token(world: &World, client: &str, over: &Value) -> String {
    let mut claims = json!({
        "iss": world.provider.issuer(),
        "sub": "ada",
        "aud": client,
        "email": "ada@example.com",
        "email_verified": true,
        "groups": ["staff"],
        "nonce": "of another login",
        "iat": now(),
        "exp": now() + 300,
    });
    provider::lay_over(&mut claims, over);
    sign(&SEED, r#"{"alg":"EdDSA","kid":"first"}"#, &claims.to_string())
}

#[test]
fn m22_seed_bug_41_seed_bug_36_a_service_account_is_let_in_as_who_it_is() {
    let cluster = Cluster::start(|_, _| {});
    let token = cluster.token(&json!({}));
    for _ in 0..3 {
        assert_eq!(cluster.call(&token).status, 200);
    }
    let seen = cluster.world.upstream.seen();
    assert_eq!(seen[0].header("x-forwarded-user"), Some("system:serviceaccount:agents:planner"));
    let session = seen[0].header("x-session-id").unwrap();
    assert!(session.starts_with("ext-") && session.len() == 20, "{session}");
    assert!(seen.iter().all(|seen| seen.header("x-session-id") == Some(session)));
    assert!(seen.iter().all(|seen| seen.header("authorization").is_none()), "the token goes no further");
    assert_eq!(cluster.keys.seen().len(), 1, "the keys are read once");
    assert_eq!(cluster.world.happened("foreign_token_accepted"), 1);
    assert_eq!(cluster.call(&cluster.token(&json!({ "iat": now() - 5 }))).status, 200);
    assert_ne!(cluster.world.upstream.seen()[3].header("x-session-id"), Some(session), "another token");
}

#[test]
fn t153_t154_t155_seed_bug_35_a_token_that_breaks_any_rule_is_refused() {
    let cluster = Cluster::start(|_, _| {});
    for over in [
        json!({ "exp": null }),
        json!({ "exp": now() - 1 }),
        json!({ "exp": now() + 100 * 366 * 86_400 }),
        json!({ "exp": "9999999999" }),
        json!({ "exp": -1 }),
        json!({ "iat": now() + 120 }),
        json!({ "nbf": now() + 120 }),
        json!({ "nbf": "soon" }),
        json!({ "aud": null }),
        json!({ "aud": [] }),
        json!({ "aud": "https://gate.example" }),
        json!({ "aud": ["https://gate.example/mcp", 7] }),
        json!({ "sub": null }),
        json!({ "sub": 7 }),
        json!({ "sub": "system:serviceaccount:other:planner" }),
        json!({ "iss": "https://other.example" }),
        json!({ "iss": null }),
        json!({ "events": { "http://schemas.openid.net/event/backchannel-logout": {} } }),
    ] {
        cluster.call(&cluster.token(&over)).refuses(401, "invalid_token");
    }
    let claims = json!({ "iss": cluster.keys.url(), "sub": "system:serviceaccount:agents:x", "aud": "https://gate.example/mcp", "exp": now() + 60 });
    let claims = claims.to_string();
    for header in [
        r#"{"alg":"none","kid":"one"}"#,
        r#"{"alg":"HS256","kid":"one"}"#,
        r#"{"kid":"one"}"#,
        r#"{"alg":"EdDSA","kid":"one","typ":"at+jwt"}"#,
        r#"{"alg":"EdDSA","kid":"one","typ":"logout+jwt"}"#,
        r#"{"alg":"EdDSA","kid":"one","typ":"dpop+jwt"}"#,
        r#"{"alg":"EdDSA","kid":"one","crit":["b64"],"b64":false}"#,
        r#"{"alg":"EdDSA","kid":"../../dev/null"}"#,
    ] {
        cluster.call(&sign(&CLUSTER, header, &claims)).refuses(401, "invalid_token");
    }
    cluster.call(&sign(&NOBODY, r#"{"alg":"EdDSA","kid":"one"}"#, &claims)).refuses(401, "invalid_token");
    assert_eq!(
        cluster.call(&sign(&CLUSTER, r#"{"alg":"EdDSA","kid":"one"}"#, &claims)).status,
        200,
        "the claims are good"
    );
    assert_eq!(cluster.world.upstream.seen().len(), 1);
    assert!(cluster.world.happened("foreign_token_rejected") > 0);
}

#[test]
fn t149_a_key_that_a_token_brings_along_is_not_used_and_no_address_in_it_is_called() {
    let cluster = Cluster::start(|_, _| {});
    let elsewhere = Upstream::start();
    let claims = json!({ "iss": cluster.keys.url(), "sub": "system:serviceaccount:agents:x", "aud": "https://gate.example/mcp", "exp": now() + 60 });
    let url = format!("{}/jwks", elsewhere.url());
    let own = jwk(&NOBODY, "one");
    for header in [
        json!({ "alg": "EdDSA", "kid": "one", "jwk": own }),
        json!({ "alg": "EdDSA", "kid": "other", "jku": url }),
        json!({ "alg": "EdDSA", "kid": "one", "x5u": url }),
    ] {
        cluster.call(&sign(&NOBODY, &header.to_string(), &claims.to_string())).refuses(401, "invalid_token");
    }
    assert!(elsewhere.seen().is_empty());
}

#[test]
fn t144_t147_rs_7_an_unknown_bearer_is_refused_here_and_sent_nowhere() {
    let cluster = Cluster::start(|config, _| config["trustedAudiences"] = json!(["kubectl"]));
    // The provider's document is there when a gate is ready, and its keys come next.
    eventually("the gate reads the provider's keys", || cluster.world.provider.all() == 2);
    let (before, keys) = (cluster.world.provider.all(), cluster.keys.seen().len());
    let foreign = sign(&NOBODY, r#"{"alg":"EdDSA","kid":"one"}"#, r#"{"iss":"https://stranger.example","sub":"x"}"#);
    let own = sign(&NOBODY, r#"{"alg":"EdDSA","kid":"one"}"#, r#"{"iss":"https://gate.example","sub":"x"}"#);
    for bearer in
        ["opaque", "ya29.a0AfH6SMB", "a.b.c", "gho_16C7e42F292c6912E7", "..", "eyJ.eyJ.", &foreign, &own, "a.b.c.d.e"]
    {
        cluster.call(bearer).refuses(401, "invalid_token");
    }
    assert_eq!((cluster.world.provider.all(), cluster.keys.seen().len()), (before, keys), "somebody was asked");
    assert!(cluster.world.upstream.seen().is_empty());
}

#[test]
fn m21_an_id_token_of_another_client_of_the_provider_is_taken() {
    let world = World::with(|config| config["trustedAudiences"] = json!(["kubectl"]));
    assert_eq!(world.call("/mcp", &id_token(&world, "kubectl", &json!({}))).status, 200);
    let seen = world.upstream.only();
    assert_eq!(seen.header("x-forwarded-user"), Some("ada"));
    assert_eq!(seen.header("x-forwarded-email"), Some("ada@example.com"));
    assert_eq!(seen.header("x-forwarded-groups"), Some("staff"));
    let both = id_token(&world, "x", &json!({ "aud": ["other", "kubectl"], "azp": "other" }));
    assert_eq!(world.call("/mcp", &both).status, 200);
    for over in [
        json!({ "aud": "the-gate" }),
        json!({ "aud": "other" }),
        json!({ "exp": now() - 1 }),
        json!({ "exp": null }),
        json!({ "iss": "https://other.example" }),
        json!({ "sub": "" }),
        json!({ "events": {} }),
    ] {
        world.call("/mcp", &id_token(&world, "kubectl", &over)).refuses(401, "invalid_token");
    }
    // Without the list no ID token opens anything.
    let closed = World::start();
    closed.call("/mcp", &id_token(&closed, "kubectl", &json!({}))).refuses(401, "invalid_token");
}

#[test]
fn m21_t197_the_operator_s_lists_of_people_hold_for_them_too() {
    let world = World::with(|config| {
        config["trustedAudiences"] = json!(["kubectl"]);
        config["allowedPeople"] = json!({ "groups": ["ops"] });
    });
    world.call("/mcp", &id_token(&world, "kubectl", &json!({}))).refuses(401, "invalid_token");
    assert_eq!(world.call("/mcp", &id_token(&world, "kubectl", &json!({ "groups": ["ops"] }))).status, 200);
}

#[test]
fn seed_bug_34_what_is_no_token_for_one_entry_may_be_one_for_another() {
    let world = World::with(|config| {
        let issuer = config["oidc"]["issuerUrl"].as_str().unwrap().to_owned();
        config["trustedAudiences"] = json!(["kubectl"]);
        config["trustedIssuers"] = json!([
            { "issuer": issuer, "jwksUrl": format!("{issuer}/keys"), "allowedScopes": ["mcp"], "acceptedTypHeaders": [""] },
            {
                "issuer": issuer, "jwksUrl": format!("{issuer}/keys"), "allowedScopes": ["mcp"],
                "allowedAudiences": ["robots"], "acceptedTypHeaders": [""],
            },
        ]);
    });
    for audience in ["https://gate.example/mcp", "robots", "kubectl"] {
        assert_eq!(world.call("/mcp", &id_token(&world, audience, &json!({}))).status, 200, "{audience}");
    }
    world.call("/mcp", &id_token(&world, "other", &json!({}))).refuses(401, "invalid_token");
}

#[test]
fn seed_bug_31_t150_t199_an_unknown_key_is_looked_for_once_and_a_rotation_costs_nobody_anything() {
    let cluster = Cluster::start(|_, _| {});
    assert_eq!(cluster.call(&cluster.token(&json!({}))).status, 200);
    assert_eq!(cluster.keys.seen().len(), 1);
    cluster.publishes(&[(&CLUSTER, "one"), (&NOBODY, "two")]);
    let claims = json!({ "iss": cluster.keys.url(), "sub": "system:serviceaccount:agents:x", "aud": "https://gate.example/mcp", "exp": now() + 60 });
    assert_eq!(cluster.call(&sign(&NOBODY, r#"{"alg":"EdDSA","kid":"two"}"#, &claims.to_string())).status, 200);
    assert_eq!(cluster.keys.seen().len(), 2);
    for number in 0..20 {
        let header = format!(r#"{{"alg":"EdDSA","kid":"random-{number}"}}"#);
        cluster.call(&sign(&NOBODY, &header, &claims.to_string())).refuses(401, "invalid_token");
    }
    assert!(cluster.keys.seen().len() <= 3, "a flood of unknown keys was a flood of questions");
}

#[test]
fn p09_without_keys_nobody_is_told_that_a_token_is_bad() {
    let cluster = Cluster::start(|_, _| {});
    cluster.keys.answers(|_| Answer::whole("500 Internal Server Error", &[], ""));
    let refused = cluster.call(&cluster.token(&json!({})));
    refused.refuses(503, "temporarily_unavailable");
    assert!(refused.header("retry-after").is_some());
    assert!(cluster.world.upstream.seen().is_empty());
}

#[test]
fn t142_t146_a_token_counts_at_the_resource_that_it_names_and_as_far_as_its_scopes_go() {
    let cluster = Cluster::start(|config, _| {
        let mut other = config["resources"][0].clone();
        other["path"] = json!("/other");
        config["resources"].as_array_mut().unwrap().push(other);
    });
    let token = cluster.token(&json!({}));
    assert_eq!(cluster.call(&token).status, 200);
    cluster.world.call("/other", &token).refuses(401, "invalid_token");
    assert_eq!(cluster.call(&token).status, 200);
    let both = cluster.token(&json!({ "aud": ["https://gate.example/mcp", "https://gate.example/other"] }));
    for path in ["/mcp", "/other", "/mcp"] {
        assert_eq!(cluster.world.call(path, &both).status, 200, "{path}");
    }
    let less = cluster.call(&cluster.token(&json!({ "scope": "something else" })));
    less.refuses(403, "insufficient_scope");
    assert!(less.header("www-authenticate").unwrap().contains("scope=\"mcp\""));
}

#[test]
fn t235_an_open_stream_ends_with_the_token_that_opened_it() {
    let cluster = Cluster::start(|_, _| {});
    let fed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fed);
    cluster.world.upstream.answers(move |_| {
        let (answer, events) = Answer::events(&[]);
        count.fetch_add(1, Ordering::SeqCst);
        events.send("data: one\n\n");
        std::mem::forget(events);
        answer
    });
    let token = cluster.token(&json!({ "exp": now() + 2 }));
    let mut stream = cluster.world.connect();
    stream.send(&Request::get("/mcp").bearer(&token).header("Accept", "text/event-stream"));
    assert_eq!(stream.head().unwrap().status, 200);
    assert_eq!(stream.chunk().unwrap().unwrap(), b"data: one\n\n");
    assert!(stream.chunk().is_err(), "it goes on after the token has ended");
    assert!(now() >= 2 && fed.load(Ordering::SeqCst) == 1);
    cluster.world.send(&call_request("/mcp", &token)).refuses(401, "invalid_token");
}

#[test]
fn m22_m20_what_stands_behind_is_told_of_a_service_account_in_its_form_too() {
    let cluster = Cluster::start(|config, _| config["resources"][0]["identity"] = json!("assertion"));
    let token = cluster.token(&json!({}));
    assert_eq!(cluster.call(&token).status, 200);
    let seen = cluster.world.upstream.only();
    assert!(seen.header("authorization").unwrap().starts_with("Bearer eyJ"));
    assert!(!String::from_utf8_lossy(&seen.bytes).contains(&token));
    cluster.world.send(&Request::get("/oauth/userinfo").bearer(&token)).refuses(401, "invalid_token");
}
