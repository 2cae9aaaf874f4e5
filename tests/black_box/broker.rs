//! Token exchange for confidential clients (security group M, M23).

use crate::harness::http::Request;
use crate::harness::{Ask, Client, Pkce, Response, Script, Tokens, World, eventually};
use crate::people::as_provider;
use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::jose::jws::Unverified;
use serde_json::{Value, json};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
const AUDIENCE: &str = "https://tools.example.com";
const REDIRECT: &str = "http://127.0.0.1:33418/callback";

/// A gate at which `agent` may have assertions for [`AUDIENCE`], and `other` for another.
fn world() -> World {
    world_with(|_| {})
}

fn world_with(change: impl FnOnce(&mut Value)) -> World {
    World::with(|config| {
        let client = |id: &str| json!({ "clientId": id, "clientSecret": format!("the secret of {id} 42"), "name": id, "redirectUris": [REDIRECT] });
        config["clients"] = json!([client("agent"), client("other"), client("third")]);
        config["tokenExchangeBroker"] =
            json!({ "clientAudiences": { "agent": [AUDIENCE], "other": ["https://other.example.com"] } });
        change(config);
    })
}

fn client(id: &str) -> Client {
    Client::confidential(id, &format!("the secret of {id} 42"))
}

fn tokens(world: &World, client: &Client, scope: &str) -> Tokens {
    let pkce = Pkce::new();
    let ask = Ask::of(client, &pkce).set("scope", scope);
    Tokens::of(&world.exchange(client, &world.code_for(&ask, Script::default()), &pkce))
}

pub(super) fn exchange(world: &World, client: &Client, token: &str, more: &[(&str, &str)]) -> Response {
    let mut fields = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS),
        ("audience", AUDIENCE),
    ];
    for (name, value) in more {
        fields.retain(|(own, _)| own != name);
        if !value.is_empty() {
            fields.push((name, value));
        }
    }
    world.send(&client.form("/oauth/token", &fields))
}

/// The claims of a token that the gate's published keys open.
fn opened(world: &World, token: &str) -> Value {
    let keys = KeySet::read(&world.send(&Request::get("/.well-known/jwks.json")).body).unwrap();
    serde_json::from_slice(Unverified::parse(token).unwrap().verify(&keys).unwrap().payload()).unwrap()
}

#[test]
fn m23_t174_a_client_gets_an_assertion_that_is_at_most_what_it_has_shown() {
    let world = world();
    let agent = client("agent");
    let own = tokens(&world, &agent, "mcp openid");
    let answer = exchange(&world, &agent, &own.access, &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let said = answer.json();
    assert_eq!(said["issued_token_type"], json!("urn:ietf:params:oauth:token-type:jwt"));
    assert_eq!((&said["token_type"], &said["scope"]), (&json!("Bearer"), &json!("mcp openid")));
    assert!((1..=360).contains(&said["expires_in"].as_u64().unwrap()));
    assert!(said.get("refresh_token").is_none());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let claims = opened(&world, said["access_token"].as_str().unwrap());
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("ada"), &json!(AUDIENCE)));
    assert_eq!(exchange(&world, &agent, &own.access, &[]).json()["access_token"], said["access_token"], "signed once");
    let narrow = exchange(&world, &agent, &own.access, &[("scope", "mcp")]).json();
    assert_eq!(narrow["scope"], json!("mcp"));
    assert_eq!(opened(&world, narrow["access_token"].as_str().unwrap())["scope"], json!("mcp"));
    exchange(&world, &agent, &own.access, &[("scope", "mcp admin")]).refuses(400, "invalid_scope");
    // It opens nothing at the gate.
    world.call("/mcp", said["access_token"].as_str().unwrap()).refuses(401, "invalid_token");
    exchange(&world, &agent, said["access_token"].as_str().unwrap(), &[]).refuses(400, "invalid_grant");
    assert!(world.happened("token_exchanged") >= 3);
    let metadata = world.send(&Request::get("/.well-known/oauth-authorization-server")).json();
    assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&json!(EXCHANGE)));
}

#[test]
fn t173_a_subject_token_that_is_not_the_client_s_or_is_over_is_refused() {
    let world = world();
    let (agent, other) = (client("agent"), client("other"));
    let (own, foreign) = (world.tokens(&agent), world.tokens(&other));
    for token in
        [foreign.access.as_str(), &own.refresh, "x", &own.access[..own.access.len() - 1], "eyJhbGciOiJub25lIn0.e30."]
    {
        exchange(&world, &agent, token, &[]).refuses(400, "invalid_grant");
    }
    // Nor is anything that the provider has handed out, its ID token for one, nor a token of another gate.
    let elsewhere = self::world();
    let strange = [elsewhere.tokens(&agent).access, world.code(&agent, &Pkce::new())];
    for token in world.provider.handed_out().iter().chain(&strange) {
        exchange(&world, &agent, token, &[]).refuses(400, "invalid_grant");
    }
    assert_eq!(exchange(&world, &agent, &own.access, &[]).status, 200);
    assert_eq!(world.revoke(&agent, &own.refresh).status, 200);
    exchange(&world, &agent, &own.access, &[]).refuses(400, "invalid_grant");
}

#[test]
fn t173_a_subject_token_that_has_ended_is_refused() {
    // The token ends with the provider's own.
    let world = world_with(|config| as_provider(config, "dex", &json!({})));
    let agent = client("agent");
    let (pkce, script) = (Pkce::new(), Script { members: json!({ "expires_in": 2 }), ..Script::default() });
    let code = world.code_for(&Ask::of(&agent, &pkce), script);
    let own = Tokens::of(&world.exchange(&agent, &code, &pkce));
    eventually("it has ended", || exchange(&world, &agent, &own.access, &[]).status != 200);
    exchange(&world, &agent, &own.access, &[]).refuses(400, "invalid_grant");
}

#[test]
fn t174_seed_bug_37_no_client_gets_a_token_for_an_audience_that_is_not_its_own() {
    let world = world();
    let (agent, other, third) = (client("agent"), client("other"), client("third"));
    let own = world.tokens(&agent);
    for audience in
        ["https://other.example.com", "https://gate.example", "https://gate.example/mcp", "https://tools.example.com/"]
    {
        exchange(&world, &agent, &own.access, &[("audience", audience)]).refuses(400, "invalid_target");
    }
    exchange(&world, &other, &world.tokens(&other).access, &[]).refuses(400, "invalid_target");
    exchange(&world, &third, &world.tokens(&third).access, &[]).refuses(400, "unauthorized_client");
    let public = world.public_client("A public one");
    exchange(&world, &public, &world.tokens(&public).access, &[]).refuses(400, "unauthorized_client");
    let resource = [("resource", "https://gate.example/mcp")];
    exchange(&world, &agent, &own.access, &resource).refuses(400, "invalid_target");
    exchange(&world, &agent, &own.access, &[("audience", "")]).refuses(400, "invalid_request");
    exchange(&world, &Client::confidential("agent", "a wrong secret 123"), &own.access, &[])
        .refuses(401, "invalid_client");
}

#[test]
fn t175_t177_actors_other_kinds_of_tokens_and_what_stands_twice_are_refused() {
    let world = world();
    let agent = client("agent");
    let own = world.tokens(&agent);
    let kind = |name: &str| format!("urn:ietf:params:oauth:token-type:{name}");
    for more in [
        ("actor_token", own.access.as_str()),
        ("actor_token_type", ACCESS),
        ("subject_token_type", ""),
        ("subject_token_type", &kind("id_token")),
        ("subject_token_type", &kind("saml2")),
        ("subject_token_type", "access_token"),
        ("requested_token_type", &kind("refresh_token")),
        ("requested_token_type", &kind("access_token")),
        ("subject_token", ""),
    ] {
        exchange(&world, &agent, &own.access, &[more]).refuses(400, "invalid_request");
    }
    let both = [("actor_token", own.access.as_str()), ("actor_token_type", ACCESS)];
    exchange(&world, &agent, &own.access, &both).refuses(400, "invalid_request");
    let twice = [
        ("grant_type", EXCHANGE),
        ("subject_token", &own.access),
        ("subject_token", &own.access),
        ("subject_token_type", ACCESS),
        ("audience", AUDIENCE),
    ];
    world.send(&agent.form("/oauth/token", &twice)).refuses(400, "invalid_request");
    // Where nobody may, the grant type does not exist.
    let closed = World::start();
    let client = closed.confidential_client("A client");
    exchange(&closed, &client, &closed.tokens(&client).access, &[]).refuses(400, "unsupported_grant_type");
}

#[test]
fn r48_t174_what_is_exchanged_is_never_more_and_lives_no_longer_than_what_was_shown() {
    let world = world();
    let agent = client("agent");
    let own = tokens(&world, &agent, "mcp openid email");
    // An access token that was asked for with less is worth less, whatever its session may do.
    let fields = [("grant_type", "refresh_token"), ("refresh_token", own.refresh.as_str()), ("scope", "mcp")];
    let narrow = Tokens::of(&world.send(&agent.form("/oauth/token", &fields)));
    for wide in ["mcp openid", "openid", "mcp openid email"] {
        exchange(&world, &agent, &narrow.access, &[("scope", wide)]).refuses(400, "invalid_scope");
    }
    for (token, scope) in [(&narrow.access, "mcp"), (&own.access, "mcp openid email")] {
        let said = exchange(&world, &agent, token, &[]).json();
        let claims = opened(&world, said["access_token"].as_str().unwrap());
        assert_eq!((&said["scope"], &claims["scope"]), (&json!(scope), &json!(scope)));
        let ends = world.send(&agent.form("/oauth/introspect", &[("token", token.as_str())])).json()["exp"].as_u64();
        assert!(claims["exp"].as_u64().unwrap() <= ends.unwrap(), "it outlives what was shown");
        assert_eq!((&claims["aud"], said.get("refresh_token")), (&json!(AUDIENCE), None));
    }
    // What came out of an exchange opens none.
    let minted = exchange(&world, &agent, &own.access, &[]).json()["access_token"].as_str().unwrap().to_owned();
    exchange(&world, &agent, &minted, &[]).refuses(400, "invalid_grant");
    exchange(&world, &client("other"), &own.access, &[("audience", "https://other.example.com")])
        .refuses(400, "invalid_grant");
}

#[test]
fn r41_what_was_signed_once_is_kept_under_all_that_it_says() {
    let other_audience = "https://more.example.com";
    let world = World::with(|config| {
        let secret = "the secret of agent 42";
        config["clients"] =
            json!([{ "clientId": "agent", "clientSecret": secret, "name": "agent", "redirectUris": [REDIRECT] }]);
        config["tokenExchangeBroker"] = json!({ "clientAudiences": { "agent": [AUDIENCE, other_audience] } });
    });
    let agent = client("agent");
    let session = |person: &str| {
        let pkce = Pkce::new();
        let ask = Ask::of(&agent, &pkce).set("scope", "mcp openid");
        Tokens::of(&world.exchange(&agent, &world.code_for(&ask, Script::person(person)), &pkce))
    };
    let (ada, bob, again) = (session("ada"), session("bob"), session("ada"));
    let mut minted = std::collections::BTreeMap::new();
    // Twice, so that the second round is answered out of what is kept.
    for _ in 0..2 {
        for (token, person) in [(&ada.access, "ada"), (&bob.access, "bob"), (&again.access, "ada")] {
            for audience in [AUDIENCE, other_audience] {
                for scope in ["mcp", "openid", "mcp openid"] {
                    let answer = exchange(&world, &agent, token, &[("audience", audience), ("scope", scope)]).json();
                    let signed = answer["access_token"].as_str().unwrap().to_owned();
                    let claims = opened(&world, &signed);
                    let said = [&claims["sub"], &claims["aud"], &claims["scope"]];
                    assert_eq!(said, [&json!(person), &json!(audience), &json!(scope)]);
                    let key = (token.clone(), audience, scope);
                    assert_eq!(*minted.entry(key).or_insert(signed.clone()), signed, "it was signed once");
                }
            }
        }
    }
    let different: std::collections::BTreeSet<&String> = minted.values().collect();
    assert!(different.len() >= 12, "two persons, two audiences, three scopes");
}
