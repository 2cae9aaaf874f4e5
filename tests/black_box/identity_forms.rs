//! In which form the server behind the gate is told who the person is: headers, the subject alone, an assertion, an exchanged token.

use crate::harness::browser::call_request;
use crate::harness::http::{Request, fields};
use crate::harness::upstream::Seen;
use crate::harness::{Answer, Ask, Client, Pkce, Response, Script, Tokens, Upstream, World, at_once, eventually};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::jose::jws::Unverified;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A gate whose resource is told in this form.
fn world(form: &str, change: impl FnOnce(&mut Value)) -> World {
    World::with(|config| {
        config["resources"][0]["identity"] = json!(form);
        change(config);
    })
}

fn bearer(seen: &Seen) -> String {
    seen.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap().to_owned()
}

/// The header and the claims of a token that the gate's published keys open.
fn opened(world: &World, token: &str) -> (Value, Value) {
    let keys = world.send(&Request::get("/.well-known/jwks.json"));
    let keys = KeySet::read(&keys.body).unwrap();
    let verified = Unverified::parse(token).unwrap().verify(&keys).unwrap();
    let header = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
    (serde_json::from_slice(&header).unwrap(), serde_json::from_slice(verified.payload()).unwrap())
}

/// A key of the domain's test data as a PEM file.
fn key_file(name: &str) -> PathBuf {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("domain/testdata/jose").join(name);
    pem_file(name, &std::fs::read(data).unwrap())
}

fn pem_file(name: &str, document: &[u8]) -> PathBuf {
    let coded = BASE64_STANDARD.encode(document);
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.pem", std::process::id()));
    std::fs::write(&file, format!("-----BEGIN PRIVATE KEY-----\n{coded}\n-----END PRIVATE KEY-----\n")).unwrap();
    file
}

#[test]
fn m20_t145_the_server_is_shown_an_assertion_for_itself_alone_and_it_is_signed_once() {
    let world = world("assertion", |_| {});
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    for _ in 0..3 {
        assert!(world.admits(&tokens.access));
    }
    let seen = world.upstream.seen();
    let assertion = bearer(&seen[0]);
    assert!(seen.iter().all(|seen| bearer(seen) == assertion), "one signature for a session");
    let (header, claims) = opened(&world, &assertion);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("JWT")));
    for (name, value) in [
        ("iss", json!("https://gate.example")),
        ("sub", json!("ada")),
        ("aud", json!(format!("{}/mcp", world.upstream.url()))),
        ("email", json!("ada@example.com")),
        ("scope", json!("mcp")),
        ("sid", json!(seen[0].header("x-session-id").unwrap())),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(life, 5 * 60 + 60);
    assert!(!String::from_utf8_lossy(&seen[0].bytes).contains(&tokens.access), "the client's own token");
    // A refreshed token is the same session; another login is another one.
    let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert!(world.admits(&next.access));
    assert_eq!(bearer(world.upstream.seen().last().unwrap()), assertion);
    assert!(world.admits(&world.tokens(&client).access));
    assert_ne!(bearer(world.upstream.seen().last().unwrap()), assertion);
}

#[test]
fn t145_t155_an_assertion_opens_nothing_at_the_gate() {
    let world = world("assertion", |_| {});
    let client = world.confidential_client("A client");
    assert!(world.admits(&world.tokens(&client).access));
    let assertion = bearer(&world.upstream.seen()[0]);
    world.call("/mcp", &assertion).refuses(401, "invalid_token");
    world.send(&Request::get("/oauth/userinfo").bearer(&assertion)).refuses(401, "invalid_token");
    let asked = world.send(&client.form("/oauth/introspect", &[("token", &assertion)]));
    assert_eq!(asked.text(), r#"{"active":false}"#);
    assert_eq!(world.upstream.seen().len(), 1);
}

#[test]
fn p05_after_a_revocation_no_assertion_leaves_the_gate() {
    let world = world("assertion", |_| {});
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    assert!(world.admits(&tokens.access));
    assert_eq!(world.revoke(&client, &tokens.access).status, 200);
    assert!(!world.admits(&tokens.access));
    assert_eq!(world.upstream.seen().len(), 1);
}

#[test]
fn m20_t159_keys_of_the_operator_s_sign_and_the_next_one_is_published_before_it_does() {
    let (p256, rsa) = (key_file("p256.pk8"), key_file("rsa_2048.pk8"));
    for (algorithm, audience) in [("ES256", "tools"), ("RS256", "https://tools.internal/mcp")] {
        let world = world("assertion", |config| {
            config["assertionKeyFiles"] = json!([p256, rsa]);
            config["resources"][0]["assertion"] =
                json!({ "algorithm": algorithm, "audience": audience, "duration": "1m" });
        });
        let tokens = world.tokens(&world.public_client("A client"));
        // Together with others, and while one is being made.
        at_once(4, |_| assert!(world.admits(&tokens.access)));
        let seen = world.upstream.seen();
        let assertion = bearer(&seen[0]);
        assert!(seen.iter().all(|seen| bearer(seen) == assertion), "ECDSA signs differently every time");
        let (header, claims) = opened(&world, &assertion);
        assert_eq!((&header["alg"], &claims["aud"]), (&json!(algorithm), &json!(audience)));
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 120);
        let keys = world.send(&Request::get("/.well-known/jwks.json")).json();
        let kinds: Vec<&str> =
            keys["keys"].as_array().unwrap().iter().map(|key| key["alg"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["EdDSA", "ES256", "RS256"], "what signs next is there already");
    }
}

#[test]
fn m20_t159_a_key_of_the_operator_s_that_was_stolen_signs_nothing_and_is_believed_by_nobody_who_looks() {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let (stolen, rsa, next) =
        (key_file("p256.pk8"), key_file("rsa_2048.pk8"), pem_file("next-p256", document.as_ref()));
    let gate = |first: &PathBuf| {
        world("assertion", |config| {
            config["assertionKeyFiles"] = json!([first, rsa]);
            config["resources"][0]["assertion"] = json!({ "algorithm": "ES256", "audience": "tools" });
        })
    };
    let assertion = |world: &World| {
        assert!(world.admits(&world.tokens(&world.public_client("A client")).access));
        bearer(&world.upstream.seen()[0])
    };
    let verifies = |world: &World, assertion: &str| {
        let keys = world.send(&Request::get("/.well-known/jwks.json"));
        assert_eq!(keys.header("cache-control"), Some("public, max-age=300"), "as long as others may believe it");
        Unverified::parse(assertion).unwrap().verify(&KeySet::read(&keys.body).unwrap()).is_ok()
    };
    let (before, after) = (gate(&stolen), gate(&next));
    let (old, new) = (assertion(&before), assertion(&after));
    assert!(verifies(&before, &old) && verifies(&after, &new));
    assert!(!verifies(&after, &old), "it is not published from the start on");
    assert!(!verifies(&before, &new));
    let keys = after.send(&Request::get("/.well-known/jwks.json")).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3, "the master key's, and one of each file");
}

#[test]
fn m11_a_server_that_needs_the_subject_alone_is_told_nothing_else() {
    let world = world("subjectOnly", |_| {});
    assert!(world.admits(&world.tokens(&world.public_client("A client")).access));
    let seen = world.upstream.only();
    assert_eq!(seen.header("x-forwarded-user"), Some("ada"));
    for name in ["x-forwarded-email", "x-forwarded-groups", "x-session-id", "authorization"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
}

/// A Dex-like server that gives a token for an assertion, and a gate that asks it.
struct Dex {
    dex: Arc<Upstream>,
    world: World,
    count: Arc<AtomicUsize>,
}

impl Dex {
    fn start(change: impl FnOnce(&mut Value)) -> Self {
        let dex = Arc::new(Upstream::start());
        let world = world("exchange", |config| {
            config["resources"][0]["exchange"] = json!({
                "tokenEndpoint": format!("{}/dex/token", dex.url()),
                "clientId": "the+gate",
                "clientSecret": "a+b c",
                "connectorId": "gate",
                "subjectTokenType": "idToken",
            });
            change(config);
        });
        let it = Self { dex, world, count: Arc::default() };
        it.gives(3_600, Duration::ZERO);
        it
    }

    /// Tokens that live so long, each after this delay.
    fn gives(&self, life: u64, delay: Duration) {
        let (count, issuer) = (Arc::clone(&self.count), format!("{}/dex", self.dex.url()));
        self.dex.answers(move |_| {
            std::thread::sleep(delay);
            let token = given(&issuer, count.fetch_add(1, Ordering::SeqCst));
            Answer::json(&json!({ "access_token": token, "token_type": "bearer", "expires_in": life }).to_string())
        });
    }

    fn call(&self, tokens: &Tokens) -> Response {
        self.world.call("/mcp", &tokens.access)
    }

    fn last_bearer(&self) -> String {
        bearer(self.world.upstream.seen().last().unwrap())
    }

    fn tokens(&self) -> Tokens {
        self.world.tokens(&self.world.public_client("A client"))
    }
}

fn given(issuer: &str, number: usize) -> String {
    let part = |value: Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(json!({ "alg": "RS256" })), part(json!({ "iss": issuer, "n": number })))
}

#[test]
fn m20_seed_bug_32_seed_bug_33_seed_bug_52_a_token_is_exchanged_once_for_all_who_come_together() {
    let dex = Dex::start(|_| {});
    dex.gives(3_600, Duration::from_millis(50));
    let tokens = dex.tokens();
    at_once(8, |_| assert_eq!(dex.call(&tokens).status, 200));
    assert_eq!(dex.call(&tokens).status, 200);
    let asked = dex.dex.only();
    assert_eq!(asked.line, "POST /dex/token HTTP/1.1");
    let form = fields(std::str::from_utf8(&asked.body).unwrap());
    let field = |name: &str| form.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    assert_eq!(field("grant_type"), Some("urn:ietf:params:oauth:grant-type:token-exchange"));
    assert_eq!(field("subject_token_type"), Some("urn:ietf:params:oauth:token-type:id_token"));
    assert_eq!(field("requested_token_type"), Some("urn:ietf:params:oauth:token-type:id_token"));
    assert_eq!((field("connector_id"), field("scope")), (Some("gate"), Some("openid profile email groups")));
    let (_, claims) = opened(&dex.world, field("subject_token").unwrap());
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("ada"), &json!("the+gate")));
    let basic = BASE64_STANDARD.encode("the%2Bgate:a%2Bb%20c");
    assert_eq!(asked.header("authorization"), Some(format!("Basic {basic}").as_str()));
    let expected = given(&format!("{}/dex", dex.dex.url()), 0);
    assert!(dex.world.upstream.seen().iter().all(|seen| bearer(seen) == expected));
    // Another person, and another session of the same one, is another exchange.
    let client = dex.world.public_client("Another");
    assert_eq!(dex.call(&dex.world.tokens(&client)).status, 200);
    let pkce = Pkce::new();
    let code = dex.world.code_for(&Ask::of(&client, &pkce), Script::person("bob"));
    assert_eq!(dex.call(&Tokens::of(&dex.world.exchange(&client, &code, &pkce))).status, 200);
    assert_eq!(dex.count.load(Ordering::SeqCst), 3);
}

#[test]
fn seed_bug_27_who_hangs_up_while_a_token_is_exchanged_fails_nobody_else() {
    let dex = Dex::start(|_| {});
    dex.gives(3_600, Duration::from_millis(300));
    let tokens = dex.tokens();
    let mut leader = dex.world.connect();
    leader.send(&call_request("/mcp", &tokens.access));
    eventually("the exchange is under way", || !dex.dex.seen().is_empty());
    drop(leader);
    assert_eq!(dex.call(&tokens).status, 200);
    assert_eq!(dex.count.load(Ordering::SeqCst), 1);
}

#[test]
fn p09_a_server_that_gives_no_token_is_told_of_in_our_words_and_is_not_asked_for_every_request() {
    let dex = Dex::start(|_| {});
    let tokens = dex.tokens();
    let says = |status: &'static str, body: String| {
        dex.dex.answers(move |_| Answer::whole(status, &[("Content-Type", "application/json")], &body));
    };
    let later = || std::thread::sleep(Duration::from_millis(1_100));
    says("503 Service Unavailable", "{}".into());
    for _ in 0..20 {
        let refused = dex.call(&tokens);
        refused.refuses(503, "temporarily_unavailable");
        assert!(refused.header("retry-after").is_some());
    }
    assert!(dex.dex.seen().len() <= 3, "{}", dex.dex.seen().len());
    for (status, body) in [
        ("401 Unauthorized", r#"{"error":"invalid_client","error_description":"a secret word"}"#.to_owned()),
        ("200 OK", json!({ "access_token": given("https://other.example", 0), "token_type": "bearer" }).to_string()),
        ("200 OK", json!({ "access_token": "opaque", "token_type": "bearer" }).to_string()),
        ("302 Found", "{}".to_owned()),
    ] {
        later();
        says(status, body);
        let refused = dex.call(&tokens);
        refused.refuses(502, "bad_gateway");
        assert!(!refused.text().contains("secret word"));
    }
    assert!(dex.world.upstream.seen().is_empty(), "nobody came through without a credential");
    later();
    dex.gives(3_600, Duration::ZERO);
    assert_eq!(dex.call(&tokens).status, 200);
}

#[test]
fn seed_bug_40_m20_a_token_that_ends_is_exchanged_anew_and_the_old_one_stands_in_for_a_while() {
    let dex = Dex::start(|_| {});
    dex.gives(4, Duration::ZERO);
    let tokens = dex.tokens();
    assert_eq!(dex.call(&tokens).status, 200);
    let first = dex.last_bearer();
    // From half of its life on another one is wanted; the server is away, and the first is still good.
    dex.dex.answers(|_| Answer::whole("503 Service Unavailable", &[("Content-Type", "application/json")], "{}"));
    std::thread::sleep(Duration::from_millis(2_100));
    assert_eq!((dex.call(&tokens).status, dex.last_bearer()), (200, first.clone()));
    std::thread::sleep(Duration::from_millis(2_100));
    dex.call(&tokens).refuses(503, "temporarily_unavailable");
    std::thread::sleep(Duration::from_millis(1_100));
    dex.gives(3_600, Duration::ZERO);
    assert_eq!(dex.call(&tokens).status, 200);
    assert_ne!(dex.last_bearer(), first);
}

#[test]
fn m20_what_the_client_narrows_is_another_credential() {
    let dex = Dex::start(|_| {});
    let client: Client = dex.world.public_client("A client");
    let pkce = Pkce::new();
    let code = dex.world.code_for(&Ask::of(&client, &pkce).set("scope", "mcp openid"), Script::default());
    let wide = Tokens::of(&dex.world.exchange(&client, &code, &pkce));
    assert_eq!(dex.call(&wide).status, 200);
    let request = [("grant_type", "refresh_token"), ("refresh_token", wide.refresh.as_str()), ("scope", "mcp")];
    let narrow = Tokens::of(&dex.world.send(&client.form("/oauth/token", &request)));
    assert_eq!(dex.call(&narrow).status, 200);
    assert_eq!(dex.count.load(Ordering::SeqCst), 2);
}
