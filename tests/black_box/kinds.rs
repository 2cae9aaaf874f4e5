//! Every kind of client at every door that asks who it is: it gets in as it registered, and in no other way (T064).

use super::assertions::OTHER_SEED;
use super::documents::{Site, world_with};
use super::harness::signer::{assertion, keys, proven, signed};
use super::harness::{Client, Pkce, REDIRECT, Request, Response, Tokens, World};
use serde_json::{Value, json};

const TOKEN: &str = "/oauth/token";
const INTROSPECT: &str = "/oauth/introspect";
const REVOKE: &str = "/oauth/revoke";
const AUDIENCE: &str = "https://tools.example.com";
const SECRET: &str = "the secret of an operator's client";

/// How a request says whom it speaks for.
#[derive(Clone, Debug)]
enum Way {
    Name,
    Basic(String),
    Post(String),
    Signed(String),
}

impl Way {
    fn ask(&self, client: &Client, target: &str, fields: &[(&str, &str)]) -> Request {
        match self {
            Self::Name => Client::public(&client.id).form(target, fields),
            Self::Basic(secret) => Client::confidential(&client.id, secret).form(target, fields),
            Self::Post(secret) => {
                let client = Client { posts_secret: true, ..Client::confidential(&client.id, secret) };
                client.form(target, fields)
            }
            Self::Signed(assertion) => proven(target, fields, assertion),
        }
    }
}

/// What a client registered for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Secret,
    Signer,
}

impl Kind {
    /// The ways that are its own; of a secret both, because clients mix them up.
    fn own(self, client: &Client) -> Vec<Way> {
        match self {
            Self::Public => vec![Way::Name],
            Self::Secret => {
                let secret = client.secret.clone().unwrap();
                vec![Way::Basic(secret.clone()), Way::Post(secret)]
            }
            Self::Signer => vec![Way::Signed(assertion(&client.id, json!({})))],
        }
    }

    fn other(self, client: &Client, world: &World) -> Vec<Way> {
        let invented = "an invented secret 123".to_owned();
        let foreign = world.confidential_client("Somebody else").secret.unwrap();
        let mut ways = [invented, foreign].map(|secret| [Way::Basic(secret.clone()), Way::Post(secret)]).concat();
        ways.push(Way::Signed(signed(&OTHER_SEED, "one", &client.id, json!({}))));
        if self != Self::Public {
            ways.push(Way::Name);
        }
        if self != Self::Signer {
            ways.push(Way::Signed(assertion(&client.id, json!({}))));
        }
        ways
    }
}

#[track_caller]
fn refused(world: &World, kind: Kind, client: &Client, target: &str, fields: &[(&str, &str)]) {
    for way in kind.other(client, world) {
        let answer = world.send(&way.ask(client, target, fields));
        // Who described itself need not be asked who it is where no such client ever gets anything.
        let is_out_of_place = answer.error() == "unauthorized_client" && client.id.starts_with("https://");
        let is_refused = (answer.status, answer.error()) == (401, "invalid_client".to_owned());
        assert!(is_refused || is_out_of_place, "{kind:?} {target} {way:?} {}", answer.text());
    }
}

/// Asks in one of the client's own ways.
fn own(world: &World, kind: Kind, client: &Client, target: &str, fields: &[(&str, &str)]) -> Response {
    world.send(&kind.own(client)[0].ask(client, target, fields))
}

fn lives(world: &World, kind: Kind, client: &Client) {
    let pkce = Pkce::new();
    let code = world.code(client, &pkce);
    let redeem = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", &pkce.verifier)];
    refused(world, kind, client, TOKEN, &redeem);
    let mut tokens = Tokens::of(&own(world, kind, client, TOKEN, &redeem));

    let refresh = tokens.refresh.clone();
    refused(world, kind, client, TOKEN, &[("grant_type", "refresh_token"), ("refresh_token", &refresh)]);
    for way in kind.own(client) {
        let refresh = tokens.refresh.clone();
        let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh.as_str())];
        tokens = Tokens::of(&world.send(&way.ask(client, TOKEN, &fields)));
    }

    let exchange = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", tokens.access.as_str()),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", AUDIENCE),
    ];
    refused(world, kind, client, TOKEN, &exchange);
    let exchanged = own(world, kind, client, TOKEN, &exchange);
    if client.id == "secret" {
        assert_eq!(exchanged.status, 200, "{}", exchanged.text());
    } else {
        exchanged.refuses(400, "unauthorized_client");
    }

    let token = [("token", tokens.access.as_str())];
    refused(world, kind, client, INTROSPECT, &token);
    let told = own(world, kind, client, INTROSPECT, &token);
    match kind {
        Kind::Public => told.refuses(401, "invalid_client"),
        Kind::Secret | Kind::Signer => assert_eq!(told.json()["active"], json!(true), "{}", told.text()),
    }

    refused(world, kind, client, REVOKE, &token);
    assert!(world.admits(&tokens.access), "nothing of all that has ended it");
    assert_eq!(own(world, kind, client, REVOKE, &token).status, 200);
    assert!(!world.admits(&tokens.access));
}

#[test]
fn t064_every_kind_of_client_gets_in_everywhere_as_it_registered_and_nowhere_otherwise() {
    let site = Site::start();
    let world = world_with(|config| {
        let client = |id: &str, more: Value| {
            let mut client = json!({ "clientId": id, "name": id, "redirectUris": [REDIRECT] });
            client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            client
        };
        config["clients"] = json!([
            client("public", json!({})),
            client("secret", json!({ "clientSecret": SECRET })),
            client("signer", json!({ "jwks": keys() })),
        ]);
        config["tokenExchangeBroker"] = json!({ "clientAudiences": { "secret": [AUDIENCE] } });
    });
    lives(&world, Kind::Public, &Client::public("public"));
    lives(&world, Kind::Secret, &Client::confidential("secret", SECRET));
    lives(&world, Kind::Signer, &Client::public("signer"));

    let register = |method: &str, more: Value| {
        let mut metadata = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": method });
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.register(&metadata)
    };
    lives(&world, Kind::Public, &register("none", json!({})));
    lives(&world, Kind::Secret, &register("client_secret_basic", json!({})));
    lives(&world, Kind::Secret, &register("client_secret_post", json!({})));
    lives(&world, Kind::Signer, &register("private_key_jwt", json!({ "jwks": keys() })));

    lives(&world, Kind::Public, &site.publishes("/public", json!({})));
    let signs = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": keys() });
    lives(&world, Kind::Signer, &site.publishes("/signer", signs));
}
