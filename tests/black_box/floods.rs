//! Floods from one address: what a stranger uses up is the share of strangers at that address, and never a session (T251, P10).

use crate::harness::browser::{call_request, exchange_request, refresh_request};
use crate::harness::{Ask, Client, Pkce, Request, Response, Tokens, World};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

/// Sessions of one person.
const SESSIONS: usize = portcullis_domain::limits::IDENTITY_GRANTS_MAX;

/// A gate at which an address can do five things of each kind, and then one a second.
fn small() -> World {
    World::with(|config| {
        let rates = &mut config["rateLimits"]["perAddress"];
        for kind in ["token", "authorize", "refused"] {
            rates[format!("{kind}PerSecond")] = json!(1);
            rates[format!("{kind}Burst")] = json!(5);
        }
    })
}

/// Sends it until it is told to come back later: that answer.
#[track_caller]
fn until_told_to_wait(world: &World, request: &Request) -> Response {
    let told = (0..100).map(|_| world.send(request)).find(|answer| answer.status == 429).expect("nobody says stop");
    let wait: u32 = told.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    told
}

/// Floods whatever an address is counted for.
fn flood(world: &World) {
    let nobody = Client::public("somebody");
    until_told_to_wait(world, &refresh_request(&nobody, "x")).refuses(429, "rate_limit_exceeded");
    let told = until_told_to_wait(world, &call_request("/mcp", "x"));
    assert_eq!(told.header("access-control-allow-origin"), Some("*"));
    assert_eq!(serde_json::from_str::<Value>(&told.text()).unwrap()["error"], "rate_limit_exceeded");
    let page = until_told_to_wait(world, &Request::get("/oauth/authorize?client_id=x"));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "people see a page");
}

#[test]
fn t251_p10_a_flood_from_the_same_address_costs_nobody_a_session() {
    let world = small();
    let client = world.public_client("A client");
    let pkce = Pkce::new();
    let tokens = world.tokens(&client);
    let code = world.code(&client, &pkce);
    flood(&world);
    for _ in 0..20 {
        assert_eq!(world.call("/mcp", &tokens.access).status, 200);
        flood(&world);
    }
    // Whoever is on the way in gets there, and whoever is in stays in, from the very same address.
    let entered = Tokens::of(&world.send(&exchange_request(&client, &code, &pkce)));
    assert!(world.admits(&entered.access));
    let mut refresh = tokens.refresh;
    for _ in 0..3 {
        flood(&world);
        refresh = Tokens::of(&world.refresh(&client, &refresh)).refresh;
    }
    assert_eq!(world.revoke(&client, &refresh).status, 200);
    flood(&world);
    assert_eq!(world.call("/mcp", &tokens.access).status, 429, "whose session is over is a stranger");
    // What is over, made up or somebody else's invention vouches for nothing.
    for token in [&refresh, "x", &format!("{}A", &entered.refresh[..entered.refresh.len() - 1])] {
        until_told_to_wait(&world, &refresh_request(&client, token));
    }
    // Strangers elsewhere have a share of their own.
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    world.send_from(elsewhere, &refresh_request(&client, "x")).refuses(400, "invalid_grant");
    assert_eq!(world.send_from(elsewhere, &call_request("/mcp", "x")).status, 401);
}

#[test]
fn t251_beyond_the_share_of_an_address_a_person_has_one_share_and_takes_nobody_s() {
    let world = World::with(|config| {
        config["rateLimits"]["perAddress"]["tokenPerSecond"] = json!(1);
        config["rateLimits"]["perAddress"]["tokenBurst"] = json!(1);
        config["rateLimits"]["perClient"] = json!({ "requestsPerSecond": 1, "requestBurst": 3 });
    });
    let client = world.public_client("A client");
    let session = |person: &str| {
        let pkce = Pkce::new();
        let code = world.code_for(&Ask::of(&client, &pkce), crate::harness::Script::person(person));
        Tokens::of(&world.send(&exchange_request(&client, &code, &pkce)))
    };
    let (ada, grace) = (session("ada"), session("grace"));
    let refresh = |token: &str| world.send(&refresh_request(&client, token));
    let mut latest = ada.refresh.clone();
    let told = (0..100).find_map(|_| {
        let answer = refresh(&latest);
        if answer.status == 429 {
            return Some(answer);
        }
        latest = Tokens::of(&answer).refresh;
        None
    });
    let told = told.expect("nobody says stop");
    told.refuses(429, "rate_limit_exceeded");
    assert!(told.header("retry-after").is_some());
    assert_eq!(refresh(&grace.refresh).status, 200, "another person is not counted for it");
}

#[test]
fn t075_t251_a_client_with_a_secret_is_counted_wherever_it_comes_from_and_nobody_else_for_it() {
    let world = World::with(|config| {
        config["rateLimits"]["perClient"] = json!({ "requestsPerSecond": 1, "requestBurst": 4 });
    });
    let [one, other] = ["One", "Another"].map(|name| world.confidential_client(name));
    let from = |last: u8, client: &Client| {
        world.send_from(Ipv4Addr::new(127, 0, 0, last), &refresh_request(client, "x")).status
    };
    // Whoever only knows its name does not use up its share.
    for _ in 0..20 {
        assert_eq!(from(9, &Client::confidential(&one.id, "a guessed secret")), 401);
    }
    let statuses: Vec<u16> = (0..60).map(|place| from(place % 8 + 1, &one)).collect();
    assert!(statuses[..4].iter().all(|status| *status == 400), "{statuses:?}");
    assert!(statuses.contains(&429), "{statuses:?}");
    assert_eq!(from(1, &other), 400);
}

#[test]
fn p10_a_person_has_so_many_sessions_and_with_one_more_the_first_one_ends() {
    let world = World::start();
    let client = world.public_client("A client");
    let sessions: Vec<Tokens> = (0..SESSIONS).map(|_| world.tokens(&client)).collect();
    assert!(sessions.iter().all(|tokens| world.admits(&tokens.access)));
    let other = {
        let pkce = Pkce::new();
        let code = world.code_for(&Ask::of(&client, &pkce), crate::harness::Script::person("somebody else"));
        Tokens::of(&world.exchange(&client, &code, &pkce))
    };
    assert!(world.admits(&sessions[0].access) && world.admits(&other.access), "others are counted for themselves");
    let more = [world.tokens(&client), world.tokens(&client)];
    let standing: Vec<bool> = sessions.iter().map(|tokens| world.admits(&tokens.access)).collect();
    assert_eq!(standing.iter().position(|stands| *stands), Some(2), "the first two are over");
    assert!(standing[2..].iter().all(|stands| *stands) && more.iter().all(|tokens| world.admits(&tokens.access)));
    world.refresh(&client, &sessions[0].refresh).refuses(400, "invalid_grant");
    assert_eq!(world.happened("token_revoked"), 2);
    // Logins at one moment come in, each in the place of another.
    let entered = crate::harness::at_once(4, |_| world.tokens(&client));
    assert!(entered.iter().all(|tokens| world.admits(&tokens.access)));
    let standing = sessions.iter().chain(&more).filter(|tokens| world.admits(&tokens.access)).count();
    assert_eq!(standing + entered.len(), SESSIONS);
}
