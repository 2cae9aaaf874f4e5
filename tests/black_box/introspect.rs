//! Introspection and userinfo: what is said of a token and of a person, and to whom (security group N).

use crate::harness::http::{Request, Response, form};
use crate::harness::provider::now;
use crate::harness::{Ask, Client, Pkce, Script, Tokens, World, eventually};
use crate::operator;
use crate::people::as_provider;
use serde_json::{Value, json};

const INTROSPECT: &str = "/oauth/introspect";
const USERINFO: &str = "/oauth/userinfo";
const SERVER: (&str, &str) = ("the-tools", "the secret of the tools 42");

/// A gate that knows a resource server.
fn world() -> World {
    World::with(|config| {
        config["clients"] = json!([
            { "clientId": SERVER.0, "clientSecret": SERVER.1, "name": "Tools", "redirectUris": ["https://tools.example/cb"] },
        ]);
        config["introspectionResourceServers"] = json!([SERVER.0]);
    })
}

fn server() -> Client {
    Client::confidential(SERVER.0, SERVER.1)
}

/// What is said of a token that counts.
#[track_caller]
fn active(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    let said = response.json();
    assert_eq!(said["active"], json!(true), "{said}");
    assert_eq!(response.header("cache-control"), Some("no-store"));
    said
}

#[track_caller]
fn is_inactive(response: &Response) {
    assert_eq!((response.status, response.text().as_str()), (200, r#"{"active":false}"#));
}

/// Tokens with these scopes, of the provider's Ada in two groups.
fn tokens(world: &World, client: &Client, scope: &str) -> Tokens {
    let pkce = Pkce::new();
    let ask = Ask::of(client, &pkce).set("scope", scope);
    let script = Script::claims(json!({ "preferred_username": "ada", "groups": ["staff", "ops"] }));
    Tokens::of(&world.exchange(client, &world.code_for(&ask, script), &pkce))
}

#[test]
fn m09_t181_a_client_is_told_of_its_own_tokens_by_every_method_that_is_advertised() {
    let world = world();
    let client = world.confidential_client("A client");
    let before = now();
    let own = tokens(&world, &client, "mcp");
    for asker in [client.clone(), Client { posts_secret: true, ..client.clone() }] {
        let said = active(&world.introspect(&asker, &own.access));
        for (name, value) in [
            ("iss", json!("https://gate.example")),
            ("sub", json!("ada")),
            ("aud", json!("https://gate.example/mcp")),
            ("client_id", json!(client.id)),
            ("scope", json!("mcp")),
            ("token_type", json!("Bearer")),
        ] {
            assert_eq!(said[name], value, "{name}");
        }
        let (issued, ends) = (said["iat"].as_u64().unwrap(), said["exp"].as_u64().unwrap());
        assert!(
            (before - 60..=now() + 60).contains(&issued) && ends == issued + own.answer["expires_in"].as_u64().unwrap(),
            "{said}"
        );
        assert!(said.get("email").is_none() && said.get("groups").is_none(), "{said}");
    }
    let more = tokens(&world, &client, "mcp openid email");
    assert_eq!(active(&world.introspect(&client, &more.access))["email"], json!("ada@example.com"));
}

#[test]
fn t181_seed_bug_56_introspection_is_no_oracle_about_the_tokens_of_others() {
    let world = world();
    let (client, other) = (world.confidential_client("A client"), world.confidential_client("Another"));
    let (own, public) = (world.tokens(&client), world.tokens(&world.public_client("A third")));
    for foreign in [&own.access, &own.refresh, &public.access, &public.refresh] {
        is_inactive(&world.introspect(&other, foreign));
    }
    assert!(world.happened("introspection_refused") >= 2);
    // A resource server of the operator's is told of all of them, and of the person what an MCP server hears.
    let said = active(&world.introspect(&server(), &own.access));
    assert_eq!(
        (&said["sub"], &said["email"], &said["name"]),
        (&json!("ada"), &json!("ada@example.com"), &json!("Ada Lovelace"))
    );
    active(&world.introspect(&server(), &public.access));
}

#[test]
fn t181_what_is_no_live_access_token_is_inactive_and_nothing_else() {
    let world = world();
    let client = world.confidential_client("A client");
    let own = world.tokens(&client);
    let (code, pkce) = (world.code(&client, &Pkce::new()), Pkce::new());
    drop(pkce);
    for nothing in [
        own.refresh.as_str(),
        &code,
        "x",
        "\u{e9}",
        &own.access[..own.access.len() - 1],
        &format!("{}A", own.access),
        client.registration["registration_access_token"].as_str().unwrap(),
        "eyJhbGciOiJub25lIn0.e30.",
    ] {
        is_inactive(&world.introspect(&client, nothing));
        is_inactive(&world.introspect(&server(), nothing));
    }
    active(&world.introspect(&client, &own.access));
    // A hint may be wrong (RFC 7662 section 2.1).
    for hint in ["refresh_token", "access_token", "x"] {
        let request = client.form(INTROSPECT, &[("token", &own.access), ("token_type_hint", hint)]);
        active(&world.send(&request));
    }
}

#[test]
fn t181_a_token_that_has_ended_is_inactive() {
    // It ends with the provider's own.
    let world = World::with(|config| as_provider(config, "dex", &json!({})));
    let client = world.confidential_client("A client");
    let (pkce, script) = (Pkce::new(), Script { members: json!({ "expires_in": 2 }), ..Script::default() });
    let code = world.code_for(&Ask::of(&client, &pkce), script);
    let own = Tokens::of(&world.exchange(&client, &code, &pkce));
    eventually("it has ended", || !world.introspect(&client, &own.access).text().contains("true"));
    is_inactive(&world.introspect(&client, &own.access));
}

#[test]
fn t181_t143_nobody_asks_without_proving_who_it_is() {
    let world = world();
    let client = world.confidential_client("A client");
    let own = world.tokens(&client);
    let public = world.public_client("A public one");
    let token = [("token", own.access.as_str())];
    world.send(&Request::form(INTROSPECT, &token)).refuses(401, "invalid_client");
    world.send(&public.form(INTROSPECT, &[("token", &world.tokens(&public).access)])).refuses(401, "invalid_client");
    for wrong in [Client::confidential(&client.id, "a wrong secret 123"), Client::public(&client.id)] {
        world.introspect(&wrong, &own.access).refuses(401, "invalid_client");
        world.introspect(&wrong, "x").refuses(401, "invalid_client");
    }
    let wrong = world.introspect(&Client::confidential(&client.id, "a wrong secret 123"), &own.access);
    assert!(wrong.header("www-authenticate").unwrap().starts_with("Basic "));
    // No token opens it, and a name in the form beside another in Basic is no name (seed's bug 57).
    world.send(&Request::form(INTROSPECT, &token).bearer(&own.access)).refuses(401, "invalid_client");
    let two = [("token", own.access.as_str()), ("client_id", "another")];
    world.send(&client.form(INTROSPECT, &two)).refuses(400, "invalid_request");
    world.send(&client.form(INTROSPECT, &[])).refuses(400, "invalid_request");
    world.send(&client.form(INTROSPECT, &[token[0], ("token", "x")])).refuses(400, "invalid_request");
    let got = world.send(&Request::get(&format!("{INTROSPECT}?{}", form(&token))).basic(&client.id, "x"));
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
}

#[test]
fn p05_t182_a_revoked_token_is_inactive_at_once() {
    let world = world();
    let client = world.confidential_client("A client");
    for by_refresh in [false, true] {
        let own = world.tokens(&client);
        active(&world.introspect(&client, &own.access));
        active(&world.introspect(&server(), &own.access));
        assert_eq!(world.revoke(&client, if by_refresh { &own.refresh } else { &own.access }).status, 200);
        is_inactive(&world.introspect(&client, &own.access));
        is_inactive(&world.introspect(&server(), &own.access));
        world.send(&Request::get(USERINFO).bearer(&own.access)).refuses(401, "invalid_token");
    }
}

/// Whatever ended the session: introspection, userinfo and the protected endpoint say the same.
#[test]
fn t182_r37_cve_2026_8922_no_cause_of_an_end_is_forgotten() {
    let world = operator::with(|config| {
        as_provider(config, "dex", &json!({}));
        config["clients"] = json!([
            { "clientId": SERVER.0, "clientSecret": SERVER.1, "name": "Tools", "redirectUris": ["https://tools.example/cb"] },
        ]);
        config["introspectionResourceServers"] = json!([SERVER.0]);
        config["refreshGrace"] = json!("0s");
    });
    let cut = |body: Value| assert_eq!(operator::done(&world, "/cuts", body), "cut");
    for cause in ["code", "refresh", "person", "client", "everything", "sid", "provider"] {
        let client = world.confidential_client("A client");
        let pkce = Pkce::new();
        let script =
            Script { claims: json!({ "sid": "there" }), members: json!({ "expires_in": 200 }), ..Script::default() };
        let code = world.code_for(&Ask::of(&client, &pkce), script);
        let own = Tokens::of(&world.exchange(&client, &code, &pkce));
        active(&world.introspect(&client, &own.access));
        active(&world.introspect(&server(), &own.access));
        match cause {
            "code" => world.exchange(&client, &code, &pkce).refuses(400, "invalid_grant"),
            "refresh" => {
                Tokens::of(&world.refresh(&client, &own.refresh));
                world.refresh(&client, &own.refresh).refuses(400, "invalid_grant");
            }
            "person" => cut(json!({ "subject": "ada" })),
            "client" => cut(json!({ "client_id": client.id })),
            "everything" => cut(json!({ "everything": true })),
            "sid" => cut(json!({ "sid": "there" })),
            _ => {
                world.provider.forget_refresh_tokens();
                world.refresh(&client, &own.refresh).refuses(400, "invalid_grant");
            }
        }
        is_inactive(&world.introspect(&client, &own.access));
        is_inactive(&world.introspect(&server(), &own.access));
        world.send(&Request::get(USERINFO).bearer(&own.access)).refuses(401, "invalid_token");
        world.call("/mcp", &own.access).refuses(401, "invalid_token");
    }
}

#[test]
fn t183_guessing_at_tokens_is_limited_like_the_token_endpoint() {
    let world = World::with(|config| {
        config["rateLimits"]["perAddress"]["tokenPerSecond"] = json!(1);
        config["rateLimits"]["perAddress"]["tokenBurst"] = json!(5);
    });
    let client = world.confidential_client("A client");
    let guess = || world.introspect(&client, "pca_AAAA").status;
    eventually("guesses are refused", || guess() == 429);
    let refused = world.send(&Request::get(USERINFO).bearer("pca_AAAA"));
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (429, true));
}

#[test]
fn m09_userinfo_tells_what_the_scopes_are_for() {
    let world = world();
    let client = world.public_client("A client");
    let ask = |scope| {
        let own = tokens(&world, &client, scope);
        assert!(world.admits(&own.access), "{scope}");
        world.send(&Request::get(USERINFO).bearer(&own.access))
    };
    for (scope, said) in [
        ("mcp openid", json!({ "sub": "ada" })),
        ("openid profile", json!({ "sub": "ada", "name": "Ada Lovelace", "preferred_username": "ada" })),
        ("openid email", json!({ "sub": "ada", "email": "ada@example.com", "email_verified": true })),
        ("mcp openid groups", json!({ "sub": "ada", "groups": ["staff", "ops"] })),
    ] {
        let answer = ask(scope);
        assert_eq!((answer.status, answer.json()), (200, said), "{scope}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    for scope in ["", "mcp", "profile email"] {
        let refused = ask(scope);
        refused.refuses(403, "insufficient_scope");
        assert!(refused.header("www-authenticate").unwrap().contains("scope=\"openid\""), "{refused:?}");
    }
    let own = tokens(&world, &client, "openid");
    let posted = world.send(&Request::post(USERINFO).bearer(&own.access));
    assert_eq!((posted.status, posted.json()["sub"].clone()), (200, json!("ada")));
}

#[test]
fn m09_t161_userinfo_takes_access_tokens_in_the_header_and_nothing_else() {
    let world = world();
    let client = world.public_client("A client");
    let own = tokens(&world, &client, "openid");
    let none = world.send(&Request::get(USERINFO));
    none.refuses(401, "invalid_token");
    assert_eq!(none.header("www-authenticate"), Some("Bearer scope=\"openid\""));
    for nothing in [own.refresh.as_str(), "x", &own.access[..own.access.len() - 2]] {
        let refused = world.send(&Request::get(USERINFO).bearer(nothing));
        refused.refuses(401, "invalid_token");
        assert!(refused.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    }
    let query = format!("{USERINFO}?access_token={}", own.access);
    world.send(&Request::get(&query)).refuses(401, "invalid_token");
    world.send(&Request::form(USERINFO, &[("access_token", &own.access)])).refuses(401, "invalid_token");
}
