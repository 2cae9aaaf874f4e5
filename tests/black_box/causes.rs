//! Whatever ends a session ends it at every door that asks, and between a code and its redemption too (T059, T085, R37).

use super::broker::exchange;
use super::documents::{Site, world_with};
use super::harness::browser::call_request;
use super::harness::{Answer, Ask, Client, Connection, Pkce, Request, Script, Tokens, World, configuration};
use super::streams::BOUND;
use super::two::session_of;
use super::valkey::{Make, Server};
use super::{logout, operator};
use serde_json::{Value, json};
use std::time::Instant;

const AGENT: (&str, &str) = ("agent", "the secret of the agent 42");
const SERVER: (&str, &str) = ("the-tools", "the secret of the tools 42");
const AUDIENCE: &str = "https://tools.example.com";

fn change(config: &mut Value) {
    let client = |(id, secret): (&str, &str)| json!({ "clientId": id, "clientSecret": secret, "name": id, "redirectUris": ["http://127.0.0.1:33418/callback"] });
    config["clients"] = json!([client(AGENT), client(SERVER)]);
    config["introspectionResourceServers"] = json!([SERVER.0]);
    config["tokenExchangeBroker"] = json!({ "clientAudiences": { AGENT.0: [AUDIENCE] } });
    config["refreshGrace"] = json!("0s");
    config["adminToken"] = operator::TOKEN.into();
}

fn agent() -> Client {
    Client::confidential(AGENT.0, AGENT.1)
}

/// Ada's session of the agent, which the provider knows as one that can be ended.
fn script() -> Script {
    Script::claims(json!({ "sub": "ada", "sid": "there" }))
}

fn ask_of(client: &Client, pkce: &Pkce) -> Ask {
    Ask::of(client, pkce).set("scope", "mcp openid")
}

/// How every door answers: whether it lets this session in.
fn doors(world: &World, access: &str) -> [(&'static str, bool); 6] {
    let server = Client::confidential(SERVER.0, SERVER.1);
    let told = |client: &Client| world.introspect(client, access).json()["active"] == json!(true);
    let auth = world.send(&Request::get("/oauth/userinfo").bearer(access)).status;
    let exchanged = exchange(world, &agent(), access, &[]);
    assert!(matches!(exchanged.status, 200 | 400 | 401), "{}", exchanged.text());
    [
        ("the resource", world.admits(access)),
        ("introspection by its client", told(&agent())),
        ("introspection by a resource server", told(&server)),
        ("userinfo", auth == 200),
        ("token exchange", exchanged.status == 200),
        ("the resource, once more", world.call("/mcp", access).status == 200),
    ]
}

type Cause = fn(&World, &Tokens);

/// What may end a session without its time being over.
const CAUSES: [(&str, Cause); 9] = [
    ("its client revokes the access token", |world, tokens| {
        assert_eq!(world.revoke(&agent(), &tokens.access).status, 200);
    }),
    ("its client revokes the refresh token", |world, tokens| {
        assert_eq!(world.revoke(&agent(), &tokens.refresh).status, 200);
    }),
    ("its refresh token is shown twice", |world, tokens| {
        Tokens::of(&world.refresh(&agent(), &tokens.refresh));
        world.refresh(&agent(), &tokens.refresh).refuses(400, "invalid_grant");
    }),
    ("the operator ends it", |world, _| {
        let id =
            operator::sessions(world, "ada").iter().find(|session| session["state"] == json!("lives")).unwrap()["id"]
                .clone();
        let path = format!("/sessions/{}", id.as_str().unwrap());
        assert_eq!(operator::ask(world, Request::new("DELETE", &path)).json()["outcome"], json!("revoked"));
    }),
    ("the person is cut", |world, _| cut(world, json!({ "subject": "ada" }))),
    ("the client is cut", |world, _| cut(world, json!({ "client_id": AGENT.0 }))),
    ("the provider's session is cut", |world, _| cut(world, json!({ "sid": "there" }))),
    ("everything is cut", |world, _| cut(world, json!({ "everything": true }))),
    ("the person is erased", |world, _| {
        assert_eq!(operator::done(world, "/people/erase", json!({ "subject": "ada" })), "erased");
    }),
];

fn cut(world: &World, whom: Value) {
    assert_eq!(operator::done(world, "/cuts", whom), "cut");
}

#[test]
fn r37_t085_t182_whatever_ends_a_session_ends_it_at_every_door() {
    let world = World::with(change);
    for (cause, ends) in CAUSES {
        let tokens = session_of(&world, &agent(), |ask| ask.set("scope", "mcp openid"), script());
        assert!(doors(&world, &tokens.access).iter().all(|(_, open)| *open), "before {cause}");
        ends(&world, &tokens);
        let open: Vec<_> = doors(&world, &tokens.access).into_iter().filter(|(_, open)| *open).collect();
        assert!(open.is_empty(), "{cause}, and these are open: {open:?}");
        world.refresh(&agent(), &tokens.refresh).refuses(400, "invalid_grant");
    }
}

/// Event streams of this session that are open: one that was opened in order to be told, and the answer to a call.
fn streams(world: &World, access: &str) -> [Connection; 2] {
    [Request::get("/mcp").header("Accept", "text/event-stream").bearer(access), call_request("/mcp", access)].map(
        |request| {
            let (answer, events) = Answer::events(&[]);
            let mut next = Some(answer);
            world.upstream.answers(move |_| next.take().unwrap());
            let mut stream = world.connect();
            stream.send(&request);
            assert_eq!(stream.head().unwrap().status, 200);
            events.send(":here\n\n");
            assert!(stream.chunk().unwrap().is_some());
            // Nobody ends it but the gate: whoever feeds it is still there.
            std::mem::forget(events);
            stream
        },
    )
}

#[test]
fn p05_t235_whatever_ends_a_session_ends_what_is_open_of_it_within_a_second() {
    let server = Server::start(Make::Valkey9);
    let on_server = json!({ "type": "valkey", "valkey": { "url": server.url() } });
    let logout: (&str, Cause) = ("the person logs out at the provider", |world, _| {
        logout::accepted(world, json!({ "sid": "there", "sub": "ada" }));
    });
    let block: (&str, Cause) = ("the person is kept out", |world, _| {
        assert_eq!(operator::done(world, "/cuts", json!({ "subject": "ada", "keep_out": true })), "blocked");
    });
    for storage in [json!({ "type": "memory" }), on_server] {
        let world = World::with(|config| {
            change(config);
            config["storage"] = storage.clone();
        });
        for (cause, ends) in CAUSES.into_iter().chain([logout, block]) {
            world.upstream.answers(|_| Answer::json("{}"));
            let tokens = session_of(&world, &agent(), |ask| ask.set("scope", "mcp openid"), script());
            let open = streams(&world, &tokens.access);
            ends(&world, &tokens);
            let over = Instant::now();
            for mut stream in open {
                assert!(stream.chunk().is_err(), "{storage}: {cause}");
                assert!(over.elapsed() < BOUND, "{storage}: {cause}: {:?}", over.elapsed());
            }
        }
    }
}

#[test]
fn t059_whoever_is_cut_between_a_code_and_its_redemption_gets_nothing() {
    let world = World::with(change);
    let whom = [
        json!({ "subject": "ada" }),
        json!({ "client_id": AGENT.0 }),
        json!({ "sid": "there" }),
        json!({ "everything": true }),
    ];
    for whom in whom {
        for keep_out in [false, true] {
            let pkce = Pkce::new();
            let code = world.code_for(&ask_of(&agent(), &pkce), script());
            let mut body = whom.clone();
            body["keep_out"] = json!(keep_out);
            operator::done(&world, "/cuts", body);
            world.exchange(&agent(), &code, &pkce).refuses(400, "invalid_grant");
            if keep_out {
                assert_eq!(operator::done(&world, "/cuts/lift", whom.clone()), "lifted");
                world.exchange(&agent(), &code, &pkce).refuses(400, "invalid_grant");
            }
        }
    }
    let pkce = Pkce::new();
    let code = world.code_for(&ask_of(&agent(), &pkce), script());
    assert_eq!(operator::done(&world, "/people/erase", json!({ "subject": "ada" })), "erased");
    world.exchange(&agent(), &code, &pkce).refuses(400, "invalid_grant");
    // Whoever comes again is in.
    session_of(&world, &agent(), |ask| ask, script());
}

#[test]
fn t059_t085_a_client_that_the_operator_takes_away_redeems_and_refreshes_nothing() {
    let world = World::with(change);
    let tokens = session_of(&world, &agent(), |ask| ask, script());
    let pkce = Pkce::new();
    let code = world.code_for(&ask_of(&agent(), &pkce), script());
    let mut config = configuration(&world.provider, &world.upstream);
    change(&mut config);
    config["clients"].as_array_mut().unwrap().remove(0);
    config.as_object_mut().unwrap().remove("tokenExchangeBroker");
    world.gate.take_over(&config).unwrap();
    world.exchange(&agent(), &code, &pkce).refuses(401, "invalid_client");
    world.refresh(&agent(), &tokens.refresh).refuses(401, "invalid_client");
}

#[test]
fn t085_a_document_that_is_gone_or_says_something_else_ends_no_session_of_a_public_client() {
    let (site, world) = (Site::start(), world_with(|config| config["refreshGrace"] = json!("0s")));
    let client = site.publishes("/c", json!({}));
    let tokens = world.tokens(&client);
    let asked = site.asked("/c");
    // The host is dead, or says something else: a session of a public client never asks it.
    site.says("/c", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert!(world.admits(&next.access));
    assert_eq!(site.asked("/c"), asked);
    site.publishes("/c", json!({ "client_name": "Renamed", "redirect_uris": ["https://other.example/cb"] }));
    assert!(world.admits(&Tokens::of(&world.refresh(&client, &next.refresh)).access));
    assert_eq!(site.asked("/c"), asked);
}

#[test]
fn t085_a_session_of_a_client_that_signs_hangs_on_its_keys() {
    use super::assertions::OTHER_SEED;
    use super::harness::signer::{assertion, keys, proven, signed};
    let (site, world) = (Site::start(), world_with(|_| {}));
    let described = json!({ "token_endpoint_auth_method": "private_key_jwt", "jwks": keys() });
    let client = site.publishes("/c", described);
    let pkce = Pkce::new();
    let code = world.code(&client, &pkce);
    let fields = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", &pkce.verifier)];
    let tokens = Tokens::of(&world.send(&proven("/oauth/token", &fields, &assertion(&client.id, json!({})))));
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    let by = |assertion: &str| world.send(&proven("/oauth/token", &refresh, assertion));
    by(&signed(&OTHER_SEED, "one", &client.id, json!({}))).refuses(401, "invalid_client");
    by(&signed(&OTHER_SEED, "two", &client.id, json!({}))).refuses(401, "invalid_client");
    Tokens::of(&by(&assertion(&client.id, json!({}))));
    world.refresh(&client, &tokens.refresh).refuses(401, "invalid_client");
}
