//! The token endpoint as such, and how clients prove who they are (security group D).
//!
//! Not here: T064, every kind of client at every door, which is in `kinds`; T069 to T072, assertions and keys, which are in
//! `assertions`.

use crate::harness::browser::{exchange_request, refresh_request};
use crate::harness::http::{Request, form};
use crate::harness::{Client, Pkce, REDIRECT, Response, Tokens, World};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

const TOKEN: &str = "/oauth/token";

#[test]
fn t061_only_a_form_is_read() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let good = exchange_request(&client, &world.code(&client, &pkce), &pkce);
    let body = good.body.clone().unwrap();
    let with = |types: &[&str]| {
        let request = Request::post(TOKEN).body(body.clone());
        types.iter().fold(request, |request, own| request.header("Content-Type", own))
    };
    let urlencoded = "application/x-www-form-urlencoded";
    for types in [
        &[][..],
        &[""],
        &["application/json"],
        &["text/plain"],
        &["multipart/form-data; boundary=x"],
        &["application/x-www-form-urlencoded; charset=utf-16"],
        &["application/x-www-form-urlencoded; boundary=x"],
        &["application/x-www-form-urlencoded, text/plain"],
        &["application/x-www-form-urlencoded2"],
        &[urlencoded, urlencoded],
        &[urlencoded, "application/json"],
    ] {
        world.send(&with(types)).refuses(400, "invalid_request");
    }
    let as_json = json!({ "grant_type": "authorization_code", "client_id": client.id });
    world.send(&Request::json(TOKEN, &as_json)).refuses(400, "invalid_request");
    Tokens::of(&world.send(&with(&["Application/X-WWW-Form-Urlencoded; charset=UTF-8"])));
}

#[test]
fn t061_parameters_in_the_query_are_not_read() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let good = exchange_request(&client, &world.code(&client, &pkce), &pkce);
    let query = String::from_utf8(good.body.clone().unwrap()).unwrap();
    let empty: [(&str, &str); 0] = [];
    world.send(&Request::form(&format!("{TOKEN}?{query}"), &empty)).refuses(400, "invalid_request");
    let got = world.send(&Request::get(&format!("{TOKEN}?{query}")));
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
    Tokens::of(&world.send(&good));
}

#[test]
fn t062_nothing_may_stand_twice() {
    let world = World::start();
    let (client, pkce) = (world.confidential_client("A client"), Pkce::new());
    let client = Client { posts_secret: true, ..client };
    let code = world.code(&client, &pkce);
    let good = exchange_request(&client, &code, &pkce);
    let body = String::from_utf8(good.body.clone().unwrap()).unwrap();
    let twice = |pair: &str| good.clone().body(format!("{body}&{pair}"));
    for pair in body.split('&') {
        world.send(&twice(pair)).refuses(400, "invalid_request");
        let name = pair.split_once('=').unwrap().0;
        world.send(&twice(&format!("{name}=other"))).refuses(400, "invalid_request");
        world.send(&twice(&format!("{name}="))).refuses(400, "invalid_request");
    }
    world.send(&twice("strange=1&strange=2")).refuses(400, "invalid_request");
    Tokens::of(&world.send(&good));
}

#[test]
fn t063_t074_r39_r58_only_two_grant_types_exist() {
    let world = World::start();
    for client in [world.public_client("A client"), world.confidential_client("Another")] {
        for grant_type in [
            "password",
            "implicit",
            "client_credentials",
            "Authorization_Code",
            "authorization_code ",
            "REFRESH_TOKEN",
            "urn:ietf:params:oauth:grant-type:token-exchange",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:openid:params:grant-type:ciba",
        ] {
            let fields = [
                ("grant_type", grant_type),
                ("username", "ada"),
                ("password", "secret"),
                ("scope", "openid"),
                ("subject_token", "x"),
                ("assertion", "x"),
            ];
            world.send(&client.form(TOKEN, &fields)).refuses(400, "unsupported_grant_type");
        }
        world.send(&client.form(TOKEN, &[("code", "x")])).refuses(400, "invalid_request");
        world.send(&client.form(TOKEN, &[("grant_type", "")])).refuses(400, "invalid_request");
    }
}

#[test]
fn t063_a_client_without_the_refresh_grant_gets_no_refresh_token() {
    let world = World::start();
    let client = world.register(&json!({
        "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none", "grant_types": ["authorization_code"],
    }));
    let pkce = Pkce::new();
    let tokens = Tokens::of(&world.exchange(&client, &world.code(&client, &pkce), &pkce));
    assert!(tokens.answer.get("refresh_token").is_none(), "{}", tokens.answer);
    assert!(world.admits(&tokens.access));
}

#[test]
fn t065_a_wrong_secret_is_no_secret() {
    let world = World::start();
    let (client, other) = (world.confidential_client("A client"), world.confidential_client("Another"));
    let tokens = world.tokens(&client);
    let secret = client.secret.as_deref().unwrap();
    let wrong = [
        "wrong".to_owned(),
        String::new(),
        other.secret.clone().unwrap(),
        format!("{secret} "),
        format!(" {secret}"),
        secret[..secret.len() - 1].to_owned(),
        format!("{secret}A"),
        secret.to_uppercase(),
        "A".repeat(512),
        client.registration["registration_access_token"].as_str().unwrap().to_owned(),
    ];
    for wrong in &wrong {
        let impostor = Client::confidential(&client.id, wrong);
        let basic = world.refresh(&impostor, &tokens.refresh);
        basic.refuses(401, "invalid_client");
        assert!(basic.header("www-authenticate").unwrap().starts_with("Basic "), "{basic:?}");
        let post = world.refresh(&Client { posts_secret: true, ..impostor }, &tokens.refresh);
        post.refuses(401, "invalid_client");
        assert_eq!(post.header("www-authenticate"), None);
    }
    // A pasted line end, and what is too long to be a secret, are refused by their form.
    for broken in [format!("{secret}\n"), "A".repeat(513), "A".repeat(3_000)] {
        let response = world.refresh(&Client::confidential(&client.id, &broken), &tokens.refresh);
        assert!(matches!(response.status, 400 | 401), "{response:?}");
        let posted = Client { posts_secret: true, ..Client::confidential(&client.id, &broken) };
        assert!(matches!(world.refresh(&posted, &tokens.refresh).status, 400 | 401));
    }
    let huge = Client { posts_secret: true, ..Client::confidential(&client.id, &"A".repeat(1 << 20)) };
    assert_eq!(world.refresh(&huge, &tokens.refresh).status, 413);
    Tokens::of(&world.refresh(&client, &tokens.refresh));
}

#[test]
fn t065_an_unknown_client_is_refused_like_a_wrong_secret() {
    let world = World::start();
    let client = world.confidential_client("A client");
    for id in ["nobody", "dcr_nobody", &client.id[..client.id.len() - 1], &format!("{}A", client.id)] {
        world.refresh(&Client::confidential(id, "a wrong secret 123"), "x").refuses(401, "invalid_client");
        world.refresh(&Client::public(id), "x").refuses(401, "invalid_client");
    }
    world.refresh(&Client::public(&"a".repeat(10_000)), "x").refuses(401, "invalid_client");
}

#[test]
fn t066_basic_is_read_in_one_way() {
    let odd = ("odd:id%41&=+~", "a secret%42: &=+ 'quoted' ~");
    let world = World::with(|config| {
        config["clients"] = json!([
            { "clientId": odd.0, "clientSecret": odd.1, "name": "Odd", "redirectUris": [REDIRECT] },
        ]);
    });
    let ask = Client::confidential(odd.0, odd.1);
    let refused = |credentials: &str| {
        let request = refresh_request(&Client::public("x"), "x");
        let body = form(&[("grant_type", "refresh_token"), ("refresh_token", "x")]);
        world.send(&request.body(body).header("Authorization", credentials))
    };
    let coded = |pair: &[u8]| BASE64_STANDARD.encode(pair);
    // Right credentials get as far as the token; anything before that is another refusal.
    world.refresh(&ask, "x").refuses(400, "invalid_grant");
    let good = coded(b"odd%3Aid%2541%26%3D%2B~:a+secret%2542%3A+%26%3D%2B+%27quoted%27+~");
    for scheme in ["Basic", "basic", "BASIC"] {
        refused(&format!("{scheme} {good}")).refuses(400, "invalid_grant");
    }
    // Not encoded, and encoded twice.
    refused(&format!("Basic {}", coded(b"odd%3Aid%41:a secret%42"))).refuses(401, "invalid_client");
    refused(&format!("Basic {}", coded(b"odd%253Aid%252541:x"))).refuses(401, "invalid_client");
    for broken in [
        coded(b"no-colon"),
        coded(b":secret"),
        coded(b"id%4:secret"),
        coded(b"id:\xff\xfe"),
        coded(b"id:line\nend"),
        good.trim_end_matches('=').to_owned() + "!",
        String::new(),
    ] {
        refused(&format!("Basic {broken}")).refuses(400, "invalid_request");
    }
    for other in ["Bearer abc", "DPoP abc", "Digest abc", "Negotiate abc"] {
        refused(other).refuses(401, "invalid_client");
    }
    let twice = world.send(&refresh_request(&ask, "x").header("Authorization", &format!("Basic {good}")));
    twice.refuses(400, "invalid_request");
}

#[test]
fn t066_seed_bug_57_one_request_speaks_for_one_client_in_one_way() {
    let world = World::start();
    let (client, public) = (world.confidential_client("A client"), world.public_client("Another"));
    let secret = client.secret.as_deref().unwrap();
    let with = |fields: &[(&str, &str)]| {
        let mut all = vec![("grant_type", "refresh_token"), ("refresh_token", "x")];
        all.extend_from_slice(fields);
        world.send(&Request::form(TOKEN, &all).basic(&client.id, secret))
    };
    with(&[("client_id", &client.id), ("client_secret", secret)]).refuses(400, "invalid_request");
    with(&[("client_secret", secret)]).refuses(400, "invalid_request");
    with(&[("client_id", &public.id)]).refuses(400, "invalid_request");
    // The same name in both places is what many libraries send.
    with(&[("client_id", &client.id)]).refuses(400, "invalid_grant");
}

#[test]
fn t067_t070_an_assertion_is_not_taken_from_a_client_with_a_secret() {
    let world = World::start();
    for method in ["client_secret_jwt", "tls_client_auth", "self_signed_tls_client_auth"] {
        let metadata = json!({
            "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method, "jwks_uri": "https://app.example/keys",
        });
        world.send(&Request::json("/oauth/register", &metadata)).refuses(400, "invalid_client_metadata");
    }
    let client = world.confidential_client("A client");
    let tokens = world.tokens(&client);
    let assertion = crate::harness::provider::sign(
        &[7; 32],
        r#"{"alg":"EdDSA"}"#,
        &json!({ "iss": client.id, "sub": client.id, "aud": crate::harness::BASE, "jti": "1" }).to_string(),
    );
    let claim = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &tokens.refresh),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ];
    let mut named = claim.to_vec();
    named.push(("client_id", &client.id));
    world.send(&Request::form(TOKEN, &named)).refuses(401, "invalid_client");
    world.send(&Request::form(TOKEN, &claim)).refuses(401, "invalid_client");
    Tokens::of(&world.refresh(&client, &tokens.refresh));
}

#[test]
fn t067_a_method_is_not_talked_down() {
    let world = World::start();
    for method in ["client_secret_basic", "client_secret_post"] {
        let client = world.register(&json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method }));
        let tokens = world.tokens(&client);
        world.refresh(&Client::public(&client.id), &tokens.refresh).refuses(401, "invalid_client");
        Tokens::of(&world.refresh(&client, &tokens.refresh));
    }
    // And a public client that sends a secret believes to be another.
    let public = world.public_client("A client");
    world.refresh(&Client::confidential(&public.id, "an invented secret"), "x").refuses(401, "invalid_client");
}

#[test]
fn t057_t083_dpop_is_not_offered_and_no_proof_changes_an_answer() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let request = exchange_request(&client, &world.code(&client, &pkce), &pkce).header("DPoP", "not.a.proof");
    let tokens = Tokens::of(&world.send(&request));
    assert_eq!(tokens.answer["token_type"], "Bearer");
    let metadata = world.send(&Request::get("/.well-known/oauth-authorization-server")).json();
    assert!(metadata.get("dpop_signing_alg_values_supported").is_none());
    let request = Request::post("/mcp").header("Authorization", &format!("DPoP {}", tokens.access)).body("{}");
    assert_eq!(world.send(&request.header("Content-Type", "application/json")).status, 401);
    assert!(world.upstream.seen().is_empty());
}

#[test]
fn t073_every_answer_says_that_nobody_may_keep_it() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let good = exchange_request(&client, &world.code(&client, &pkce), &pkce);
    for origin in [None, Some("https://page.example")] {
        let bad = refresh_request(&client, "x");
        let requests = if origin.is_none() { vec![bad] } else { vec![good.clone(), bad] };
        for request in requests {
            let request = origin.map_or(request.clone(), |origin| request.clone().header("Origin", origin));
            let response = world.send(&request);
            assert_eq!(response.header("cache-control"), Some("no-store"));
            assert_eq!(response.header("content-type"), Some("application/json"));
            assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
            assert_eq!(response.header("access-control-allow-credentials"), None);
            assert!(matches!(response.header("access-control-allow-origin"), None | Some("*")));
        }
    }
}

#[test]
fn t075_guessing_is_slowed_down_for_the_guesser_alone() {
    let world = World::with(|config| {
        config["rateLimits"] = json!({ "perAddress": { "tokenPerSecond": 1, "tokenBurst": 5 } });
        config["trustedProxyCIDRs"] = json!(["127.0.0.0/8"]);
    });
    let client = world.confidential_client("A client");
    let guess = |address: &str| {
        let request = refresh_request(&Client::confidential(&client.id, "a guessed secret"), "x");
        world.send(&request.header("X-Forwarded-For", address))
    };
    // On a slow machine a few more come back to the share meanwhile, but not many.
    let until_slowed = |send: &dyn Fn() -> Response, error: &str| {
        let answers: Vec<Response> = (0..50).map(|_| send()).take_while(|answer| answer.status != 429).collect();
        assert!(answers.len() < 50, "never slowed down");
        answers.iter().for_each(|answer| answer.refuses(if error == "invalid_client" { 401 } else { 400 }, error));
        answers.len()
    };
    assert!(until_slowed(&|| guess("192.0.2.1"), "invalid_client") >= 5);
    let slowed = (0..50).map(|_| guess("192.0.2.1")).find(|answer| answer.status == 429).unwrap();
    slowed.refuses(429, "rate_limit_exceeded");
    let wait: u32 = slowed.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    // What is right is not told from there either, and revocation shares the limit.
    let right = refresh_request(&client, "x").header("X-Forwarded-For", "192.0.2.1");
    assert!(until_slowed(&|| world.send(&right), "invalid_grant") < 5);
    let revocation = client.form("/oauth/revoke", &[("token", "x")]).header("X-Forwarded-For", "192.0.2.1");
    assert!((0..50).any(|_| world.send(&revocation).status == 429));
    // The client itself is at another address.
    let elsewhere = refresh_request(&client, "x").header("X-Forwarded-For", "192.0.2.2");
    world.send(&elsewhere).refuses(400, "invalid_grant");
}

#[test]
fn t077_the_answer_is_what_rfc_6749_says() {
    let world = World::start();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    for answer in [tokens.answer, Tokens::of(&world.refresh(&client, &tokens.refresh)).answer] {
        let mut members: Vec<&String> = answer.as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["access_token", "expires_in", "refresh_token", "scope", "token_type"]);
        assert!(answer.as_object().unwrap().values().all(|value| !value.is_null()));
        assert_eq!((answer["token_type"].as_str(), answer["scope"].as_str()), (Some("Bearer"), Some("mcp")));
        assert_eq!(answer["expires_in"].as_u64(), Some(30 * 60));
        for token in ["access_token", "refresh_token"] {
            let token = answer[token].as_str().unwrap();
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)), "{token}");
        }
    }
}

#[test]
fn t185_what_is_not_offered_is_not_there() {
    let world = World::start();
    let metadata = world.send(&Request::get("/.well-known/oauth-authorization-server")).json();
    for name in ["pushed_authorization_request_endpoint", "device_authorization_endpoint"] {
        assert!(metadata.get(name).is_none(), "{name}");
    }
    for path in ["/oauth/par", "/oauth/device", "/par", "/introspect"] {
        let response = world.send(&Request::form(path, &[("token", "x")]));
        response.refuses(404, "not_found");
    }
}

#[test]
fn the_alias_at_the_root_is_the_same_endpoint() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let mut request = exchange_request(&client, &world.code(&client, &pkce), &pkce);
    request.target = "/token".to_owned();
    Tokens::of(&world.send(&request));
}
