//! A gate that dies in the middle of something (T277, T261): what it did is done or not done, and the others go on.

use crate::fleet::{Fleet, storage};
use crate::harness::browser::{exchange_request, refresh_request};
use crate::harness::http::form;
use crate::harness::{Ask, Client, Connection, Pkce, Request, Response, Returned, Script, Tokens, World, eventually};
use crate::valkey::{Make, Proxy, Server};
use serde_json::json;
use std::time::Duration;

/// Where in a state change the gate dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// It has asked what there is, and does not hear the answer.
    Reading,
    /// It knows what there is, and its commit does not arrive.
    BeforeCommit,
    /// Its commit has landed, and it does not hear so: nobody has been answered.
    AfterCommit,
}

const POINTS: [At; 3] = [At::Reading, At::BeforeCommit, At::AfterCommit];

/// Two gates before one store. The first stands behind a proxy, and dies where it is told.
struct Stage {
    server: Server,
    proxy: Proxy,
    fleet: Fleet,
    client: Client,
}

impl Stage {
    fn new() -> Self {
        let server = Server::start(Make::Valkey9);
        let proxy = Proxy::before(server.address());
        let mut fleet = Fleet::start(1, &storage(proxy.address()));
        fleet.add(|config| config["storage"] = storage(server.address()));
        let client = fleet.at(0).public_client("A client");
        // What is carried out once has been seen by the server: from here on a commit is called by its name.
        fleet.at(0).tokens(&client);
        Self { server, proxy, fleet, client }
    }

    /// Sends the request to the first gate, which is killed at this point; whoever asked hears nothing.
    fn dies(&mut self, at: At, request: &Request) {
        let (played, committed) = (self.proxy.played(), self.commits());
        match at {
            At::Reading => self.proxy.swallow("MGET"),
            At::BeforeCommit => {
                // The connection ends with the commit in it, and there is no other one.
                self.proxy.refuses(true);
                self.proxy.cut_before("EVALSHA");
            }
            At::AfterCommit => self.proxy.swallow("EVALSHA"),
        }
        let mut connection = Connection::to(self.fleet.at(0).gate.public());
        connection.send(request);
        eventually("it is at that point", || self.proxy.played() > played);
        if at == At::AfterCommit {
            eventually("it has landed", || self.commits() > committed);
        }
        self.fleet.replicas[0].kill();
        assert!(connection.response(&request.method).is_err(), "it was answered");
        self.proxy.refuses(false);
    }

    /// How often the server has been asked to write.
    fn commits(&self) -> u64 {
        self.server.calls().iter().find(|(name, _)| name == "evalsha").map_or(0, |(_, times)| *times)
    }

    /// How many records there are.
    fn records(&self) -> i64 {
        self.server.ask(&["DBSIZE"]).number()
    }

    /// A request that the second gate answers as it would any other.
    fn other(&self, request: &Request) -> Response {
        self.fleet.at(1).send(request)
    }
}

#[test]
fn t277_a_gate_that_is_killed_in_a_callback_leaves_a_whole_login_or_none() {
    let mut stage = Stage::new();
    for at in POINTS {
        let (request, pkce) = {
            let (pkce, mut browser) = (Pkce::new(), stage.fleet.at(0).browser());
            let consent = browser.consent_page(&Ask::of(&stage.client, &pkce));
            let authorization = browser.approve(&consent);
            // Somebody new each time, so that what there is tells what was written.
            let code = stage.fleet.provider.issue(&authorization, Script::person(&format!("{at:?}")));
            let query = form(&[("code", code.as_str()), ("state", authorization.param("state"))]);
            (browser.with_cookies(Request::get(&format!("/oauth/callback?{query}"))), pkce)
        };
        let before = stage.records();
        stage.dies(at, &request);
        // The mark of the login, the identity and the grant, or nothing of them.
        let written = if at == At::AfterCommit { 3 } else { 0 };
        assert_eq!(stage.records() - before, written, "{at:?}");
        // The provider's code is spent, and the login cannot come back twice: no code comes of it any more.
        let again = stage.other(&request);
        assert!(again.status < 500 || again.status == 502, "{at:?}: {} {}", again.status, again.text());
        assert!(again.header("location").is_none_or(|_| Returned::of(&again).param("code").is_none()), "{again:?}");
        // The person logs in anew, with the same application.
        let code = stage.fleet.at(1).code_for(&Ask::of(&stage.client, &pkce), Script::person(&format!("{at:?}")));
        Tokens::of(&stage.fleet.at(1).exchange(&stage.client, &code, &pkce));
        stage.fleet.replicas[0].start();
    }
}

#[test]
fn t277_a_gate_that_is_killed_in_an_exchange_has_redeemed_the_code_or_not() {
    let mut stage = Stage::new();
    for at in POINTS {
        let pkce = Pkce::new();
        let code = stage.fleet.at(0).code(&stage.client, &pkce);
        let request = exchange_request(&stage.client, &code, &pkce);
        stage.dies(at, &request);
        let again = stage.other(&request);
        if at == At::AfterCommit {
            // Nobody knows who has the answer: it is a replay, and ends the session that nobody has heard of.
            again.refuses(400, "invalid_grant");
        } else {
            let tokens = Tokens::of(&again);
            assert!(stage.fleet.at(1).admits(&tokens.access), "{at:?}");
            Tokens::of(&stage.fleet.at(1).refresh(&stage.client, &tokens.refresh));
        }
        stage.other(&request).refuses(400, "invalid_grant");
        stage.fleet.replicas[0].start();
    }
}

#[test]
fn t277_a_gate_that_is_killed_in_a_refresh_costs_nobody_their_session_and_forks_none() {
    let mut stage = Stage::new();
    for at in POINTS {
        let first = stage.fleet.at(1).tokens(&stage.client);
        let request = refresh_request(&stage.client, &first.refresh);
        stage.dies(at, &request);
        let next = Tokens::of(&stage.other(&request));
        assert_ne!(next.refresh, first.refresh);
        stage.fleet.replicas[0].start();
        // Whoever repeats it once more, wherever, has the same successor.
        let same = Tokens::of(&stage.fleet.at(0).refresh(&stage.client, &first.refresh));
        assert_eq!(same.refresh, next.refresh, "{at:?}");
        Tokens::of(&stage.fleet.at(0).refresh(&stage.client, &next.refresh));
    }
}

#[test]
fn t277_a_gate_that_is_killed_in_a_revocation_has_ended_the_session_or_not() {
    let mut stage = Stage::new();
    for at in POINTS {
        let tokens = stage.fleet.at(1).tokens(&stage.client);
        let request = stage.client.form("/oauth/revoke", &[("token", &tokens.refresh)]);
        stage.dies(at, &request);
        let lives = at != At::AfterCommit;
        assert_eq!(stage.fleet.at(1).admits(&tokens.access), lives, "{at:?}");
        // Whoever has not heard that it is over says so once more.
        assert_eq!(stage.other(&request).status, 200);
        assert!(!stage.fleet.at(1).admits(&tokens.access), "{at:?}");
        stage.fleet.at(1).refresh(&stage.client, &tokens.refresh).refuses(400, "invalid_grant");
        stage.fleet.replicas[0].start();
    }
}

/// The answer of a gate that waits for another for longer than anything else takes.
fn patiently(world: &World, request: &Request) -> Response {
    let mut connection = world.connect();
    connection.send(request);
    let answers = std::iter::repeat_with(|| connection.response(&request.method));
    answers.take(3).find_map(Result::ok).expect("an answer within three times the patience of other tests")
}

#[test]
fn t261_a_gate_that_dies_while_it_asks_the_provider_keeps_the_others_from_it_for_no_longer_than_its_lease() {
    let server = Server::start(Make::Valkey9);
    let mut fleet = Fleet::empty();
    for _ in 0..2 {
        fleet.add(|config| {
            config["storage"] = storage(server.address());
            config["oidc"]["bindToProvider"] = json!(true);
        });
    }
    let asked = |fleet: &Fleet| {
        let seen = fleet.provider.seen("/token");
        seen.iter().filter(|seen| String::from_utf8_lossy(&seen.body).contains("grant_type=refresh_token")).count()
    };
    let (client, pkce) = (fleet.at(0).public_client("A client"), Pkce::new());
    let soon_over = Script { members: json!({ "expires_in": 200 }), ..Script::default() };
    let code = fleet.at(0).code_for(&Ask::of(&client, &pkce), soon_over);
    let tokens = Tokens::of(&fleet.at(0).exchange(&client, &code, &pkce));
    // The provider takes its time, and the gate that asks it dies meanwhile.
    fleet.provider.refreshes(|script| {
        (script.delay, script.hangs_up) = (Duration::from_secs(2), true);
    });
    let mut connection = Connection::to(fleet.at(0).gate.public());
    connection.send(&refresh_request(&client, &tokens.refresh));
    eventually("the provider is asked", || asked(&fleet) == 1);
    fleet.replicas[0].kill();
    assert!(connection.response("POST").is_err());
    fleet.provider.refreshes(|script| script.claims = json!({ "exp": crate::harness::provider::now() + 3_600 }));
    // As long as the lease lasts, the session goes on with what there is, and nobody asks the provider a second time.
    let during = patiently(fleet.at(1), &refresh_request(&client, &tokens.refresh));
    let next = Tokens::of(&during);
    assert!(during.json()["expires_in"].as_u64().unwrap() <= 200, "{}", during.text());
    assert_eq!(asked(&fleet), 1, "the lease is the other's");
    // Then the other takes it over.
    let after = patiently(fleet.at(1), &refresh_request(&client, &next.refresh));
    Tokens::of(&after);
    assert!(after.json()["expires_in"].as_u64().unwrap() > 1_000, "{}", after.text());
    assert_eq!(asked(&fleet), 2);
}
