//! The store is away: who needs it is told so, who does not is served, and nobody restarts anything (T262, T263, T266, promise P9).

use crate::fleet::{Fleet, storage};
use crate::harness::{Ask, Client, Pkce, Response, Returned, Script, Tokens, World, eventually};
use crate::valkey::{Make, Options, Persistence, Proxy, Server};
use serde_json::json;
use std::time::{Duration, Instant};

fn away(answer: &Response) {
    assert_eq!(answer.status, 503, "{} {}", answer.status, answer.text());
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
}

/// What clients and a browser hold when trouble begins.
struct Before {
    client: Client,
    tokens: Tokens,
    /// A client that may ask about its own token.
    asker: Client,
    own: Tokens,
    pkce: Pkce,
    code: String,
}

impl Before {
    fn at(world: &World) -> Self {
        let (client, pkce) = (world.public_client("A client"), Pkce::new());
        let tokens = world.tokens(&client);
        let code = world.code(&client, &pkce);
        let asker = world.confidential_client("One that asks");
        let own = world.tokens(&asker);
        Self { client, tokens, asker, own, pkce, code }
    }
}

/// Everything that needs the store says that it is away, and everything else works.
fn is_told(world: &World, before: &Before) {
    let Before { client, tokens, asker, own, pkce, code } = before;
    for answer in [
        world.exchange(client, code, pkce),
        world.refresh(client, &tokens.refresh),
        world.revoke(client, &tokens.refresh),
        // Not `active: false`, which would end the session with whoever asks.
        world.introspect(asker, &own.access),
    ] {
        away(&answer);
        answer.refuses(503, "temporarily_unavailable");
    }
    away(&world.call("/mcp", &tokens.access));
    let other = world.public_client("Another, registered meanwhile");
    let mut browser = world.browser();
    let consent = browser.consent_page(&Ask::of(&other, &Pkce::new()));
    let authorization = browser.approve(&consent);
    let code = world.provider.issue(&authorization, Script::default());
    let answer = browser.callback(&[("code", &code), ("state", authorization.param("state"))]);
    // Back to the application with the error that RFC 6749 has for it, or a page that says so.
    match answer.status {
        302 => assert_eq!(Returned::of(&answer).error(), "temporarily_unavailable"),
        _ => away(&answer),
    }
}

/// Waits until questions and operations reach the store, each over a link of its own.
fn until_back(world: &World, tokens: &Tokens) {
    let stranger = world.public_client("A stranger");
    eventually("the store is back", || {
        world.call("/mcp", &tokens.access).status != 503 && world.refresh(&stranger, &tokens.refresh).status != 503
    });
}

/// Nobody was refused for good by what has been.
fn is_well_again(world: &World, before: &Before) {
    let Before { client, tokens, asker, own, pkce, code } = before;
    until_back(world, tokens);
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    let told = world.introspect(asker, &own.access);
    assert_eq!((told.status, &told.json()["active"]), (200, &json!(true)), "{}", told.text());
    Tokens::of(&world.exchange(client, code, pkce));
    let next = Tokens::of(&world.refresh(client, &tokens.refresh));
    assert_eq!(world.revoke(client, &next.refresh).status, 200);
}

#[test]
fn p09_t262_a_store_that_is_away_is_503_and_is_found_again() {
    // With its file, so that what was there before is there after.
    let options = Options::of(Make::Valkey9).persistence(Persistence::Always);
    let mut server = Server::with(options);
    let proxy = Proxy::before(server.address());
    let fleet = Fleet::start(1, &storage(proxy.address()));
    let world = fleet.at(0);

    let before = Before::at(world);
    server.kill();
    eventually("it is noticed", || world.call("/mcp", &before.tokens.access).status == 503);
    is_told(world, &before);
    server.again();
    until_back(world, &before.tokens);
    // Another life of the store: a code of before is not believed any more, a session is.
    world.exchange(&before.client, &before.code, &before.pkce).refuses(400, "invalid_grant");
    Tokens::of(&world.refresh(&before.client, &before.tokens.refresh));

    let before = Before::at(world);
    proxy.refuses(true);
    proxy.cut();
    eventually("it is noticed", || world.call("/mcp", &before.tokens.access).status == 503);
    is_told(world, &before);
    proxy.refuses(false);
    is_well_again(world, &before);

    let before = Before::at(world);
    proxy.black_hole(true);
    eventually("it is noticed", || world.call("/mcp", &before.tokens.access).status == 503);
    let begun = Instant::now();
    is_told(world, &before);
    assert!(begun.elapsed() < Duration::from_secs(18), "every answer within its deadline: {:?}", begun.elapsed());
    proxy.black_hole(false);
    until_back(world, &before.tokens);
}

#[test]
fn p09_t262_a_gate_that_begins_while_the_store_is_away_says_so_and_finds_it() {
    let server = Server::start(Make::Valkey9);
    let proxy = Proxy::before(server.address());
    let mut fleet = Fleet::start(1, &storage(server.address()));
    let before = Before::at(fleet.at(0));
    proxy.refuses(true);
    fleet.add(|config| config["storage"] = storage(proxy.address()));
    is_told(fleet.at(1), &before);
    proxy.refuses(false);
    is_well_again(fleet.at(1), &before);
}

#[test]
fn p09_a_commit_whose_answer_is_lost_happens_once_and_is_answered() {
    let server = Server::start(Make::Valkey9);
    let proxy = Proxy::before(server.address());
    let fleet = Fleet::start(1, &storage(proxy.address()));
    let world = fleet.at(0);
    let Before { client, tokens, pkce, code, .. } = Before::at(world);
    // The script has been seen by now, so it is called by its name.
    proxy.cut_after("EVALSHA");
    let redeemed = Tokens::of(&world.exchange(&client, &code, &pkce));
    proxy.cut_after("EVALSHA");
    let rotated = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert_ne!(rotated.refresh, tokens.refresh);
    proxy.cut_before("EVALSHA");
    let again = Tokens::of(&world.refresh(&client, &redeemed.refresh));
    assert_ne!(again.refresh, redeemed.refresh);
    proxy.cut_after("EVALSHA");
    assert_eq!(world.revoke(&client, &rotated.refresh).status, 200);
    world.refresh(&client, &rotated.refresh).refuses(400, "invalid_grant");
    assert_eq!(proxy.played(), 4);
    assert_eq!((fleet.happened("token_issued"), fleet.happened("token_refreshed")), (3, 2));
    proxy.duplicate("EVALSHA");
    // An answer too many is no answer to anybody: the connection ends, and this caller has had its own.
    Tokens::of(&world.refresh(&client, &again.refresh));
    eventually("it goes on", || world.call("/mcp", &again.access).status == 200);
}

#[test]
fn p09_whatever_is_split_and_late_is_still_understood() {
    let server = Server::start(Make::Redis7);
    let proxy = Proxy::before(server.address());
    let fleet = Fleet::start(1, &storage(proxy.address()));
    let world = fleet.at(0);
    proxy.split(true);
    proxy.delay(Duration::from_millis(5));
    let before = Before::at(world);
    is_well_again(world, &before);
}

#[test]
fn p09_an_open_stream_outlasts_a_store_that_is_away_for_as_long_as_is_said() {
    use crate::harness::{Answer, Request};
    // It takes up to three seconds to know that nobody answers.
    for (stale, seconds, lasts) in [("0s", 4, false), ("1s", 6, false), ("20s", 4, true)] {
        let server = Server::start(Make::Valkey9);
        let proxy = Proxy::before(server.address());
        let mut fleet = Fleet::empty();
        fleet.add(|config| {
            config["storage"] = storage(proxy.address());
            config["storage"]["streamStaleFor"] = json!(stale);
        });
        let world = fleet.at(0);
        let tokens = world.tokens(&world.public_client("A client"));
        let (answer, events) = Answer::events(&[]);
        let mut answer = Some(answer);
        fleet.upstream.answers(move |_| answer.take().unwrap());
        let mut stream = world.connect();
        stream.send(&Request::get("/mcp").header("Accept", "text/event-stream").bearer(&tokens.access));
        assert_eq!(stream.head().unwrap().status, 200);
        events.send(":one\n\n");
        assert!(stream.chunk().unwrap().is_some());
        proxy.refuses(true);
        proxy.cut();
        std::thread::sleep(Duration::from_secs(seconds));
        events.send(":two\n\n");
        assert_eq!(stream.chunk().is_ok(), lasts, "{stale}");
    }
}
