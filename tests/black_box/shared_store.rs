//! Gates that keep their sessions on a server: nobody can tell which of them answered.

use crate::harness::browser::exchange_request;
use crate::harness::{Ask, Gate, Pkce, Provider, Script, Tokens, Upstream, World, at_once, configuration, eventually};
use crate::valkey::{Make, Options, Persistence, Server};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// The configuration of a gate that keeps its sessions there.
fn on(server: &Server) -> impl Fn(&mut Value) {
    let storage = json!({ "type": "valkey", "valkey": { "url": server.url() } });
    move |config| config["storage"] = storage.clone()
}

#[test]
fn p01_a_login_on_a_server_is_a_login() {
    for make in Make::ALL {
        let server = Server::start(make);
        let world = World::with(on(&server));
        let client = world.public_client("A client");
        let tokens = world.tokens(&client);
        assert!(world.admits(&tokens.access), "{make:?}");
        let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
        assert!(world.admits(&next.access));
        assert_eq!(world.revoke(&client, &next.refresh).status, 200);
        assert!(!world.admits(&next.access), "at once on the gate that answered");
        world.refresh(&client, &next.refresh).refuses(400, "invalid_grant");
    }
}

/// Two gates on one server, with one provider and one MCP server.
struct Pair {
    world: World,
    other: Gate,
}

impl Pair {
    fn on(server: &Server) -> Self {
        let (provider, upstream) = (Provider::start(), Upstream::start());
        let start = || {
            let mut config = configuration(&provider, &upstream);
            on(server)(&mut config);
            let gate = Gate::start(&config);
            gate.until_ready();
            gate
        };
        let (first, other) = (start(), start());
        Self { world: World::around(first, provider, upstream), other }
    }

    /// Whoever answers now is who did not answer before.
    fn turn(&mut self) {
        std::mem::swap(&mut self.world.gate, &mut self.other);
    }
}

#[test]
fn i20_a_login_whose_every_step_another_gate_answers_is_a_login() {
    let server = Server::start(Make::Valkey9);
    let mut pair = Pair::on(&server);
    for _ in 0..3 {
        let client = pair.world.public_client("A client");
        pair.turn();
        let pkce = Pkce::new();
        let code = pair.world.code_for(&Ask::of(&client, &pkce), Script::default());
        pair.turn();
        let tokens = Tokens::of(&pair.world.exchange(&client, &code, &pkce));
        pair.turn();
        assert!(pair.world.admits(&tokens.access));
        let next = Tokens::of(&pair.world.refresh(&client, &tokens.refresh));
        pair.turn();
        assert_eq!(Tokens::of(&pair.world.refresh(&client, &tokens.refresh)).refresh, next.refresh, "within the grace");
        pair.world.exchange(&client, &code, &pkce).refuses(400, "invalid_grant");
        pair.turn();
        // The replay of the code has ended the session, on both.
        pair.world.refresh(&client, &next.refresh).refuses(400, "invalid_grant");
        eventually("it is refused there too", || !pair.world.admits(&tokens.access));
        pair.turn();
        eventually("it is refused here too", || !pair.world.admits(&tokens.access));
    }
}

#[test]
fn t255_one_code_at_two_gates_at_once_is_redeemed_once() {
    let server = Server::start(Make::Valkey9);
    let pair = Pair::on(&server);
    let client = pair.world.public_client("A client");
    for round in 0..20 {
        let pkce = Pkce::new();
        let code = pair.world.code_for(&Ask::of(&client, &pkce), Script::default());
        let request = exchange_request(&client, &code, &pkce);
        let gates = [&pair.world.gate, &pair.other];
        let answers = at_once(8, |place| gates[place % 2].connect(Ipv4Addr::LOCALHOST).last(&request));
        let good = answers.iter().filter(|answer| answer.status == 200).count();
        assert!(good <= 1, "round {round}: {good} redemptions");
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 400)), "round {round}");
    }
}

#[test]
fn p09_t262_while_the_store_is_away_whoever_needs_it_is_told_503_and_nobody_is_logged_out() {
    let mut server = Server::with(Options::of(Make::Valkey9).persistence(Persistence::Always));
    let world = World::with(on(&server));
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let pkce = Pkce::new();
    let code = world.code_for(&Ask::of(&client, &pkce), Script::default());
    server.kill();
    eventually("the store is missed", || world.call("/mcp", &tokens.access).status == 503);
    let away = [
        world.call("/mcp", &tokens.access),
        world.exchange(&client, &code, &pkce),
        world.refresh(&client, &tokens.refresh),
        world.revoke(&client, &tokens.refresh),
    ];
    for answer in &away {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some());
    }
    // What needs no store goes on.
    let newcomer = world.public_client("Another");
    assert_eq!(world.browser().authorize(&Ask::of(&newcomer, &Pkce::new())).status, 200);
    server.again();
    eventually("the store is back for questions", || world.call("/mcp", &tokens.access).status == 200);
    eventually("and for changes", || world.refresh(&client, &tokens.refresh).status == 200);
    let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert!(world.admits(&next.access));
    // The process of the store is another, and may have forgotten that this code was redeemed: it costs a login, and no more.
    world.exchange(&client, &code, &pkce).refuses(400, "invalid_grant");
}

#[test]
fn p02_t271_a_gate_that_must_not_use_its_store_does_not_start() {
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let refused = |server: &Server, change: &dyn Fn(&mut Value)| {
        let mut config = configuration(&provider, &upstream);
        on(server)(&mut config);
        change(&mut config);
        let config = portcullis::config::Config::read(&config.to_string(), &portcullis::config::Process).unwrap();
        portcullis::Running::start(config).err().expect("it must not start").to_string()
    };
    let server = Server::start(Make::Valkey9);
    let _first = World::with(on(&server));
    let other = "00112233445566778899aabbccddeeff00112233445566778899aabbccddee01";
    let said = refused(&server, &|config| config["masterKeys"] = json!([other]));
    assert!(said.contains("other master keys") && said.contains("keyPrefix"), "{said}");
    let said = refused(&server, &|config| {
        config["storage"]["valkey"]["password"] = json!("wrong-password");
        config["storage"]["valkey"]["username"] = json!("nobody");
    });
    assert!(said.contains("refuses the login"), "{said}");
    let evicting = Server::with(Options::of(Make::Redis7).line("maxmemory-policy volatile-lru"));
    let said = refused(&evicting, &|_| {});
    assert!(said.contains("volatile-lru") && said.contains("maxmemory-policy noeviction"), "{said}");
}
