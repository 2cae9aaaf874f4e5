//! Refresh tokens: one successor, the grace for clients that lose answers, and the end for whoever comes after it (security group
//! E, promise P3).
//!
//! Not here: T083, because DPoP is not offered yet (`token_endpoint` shows that it is passed over); the idle and absolute ends of
//! T085, which are five minutes at the least and which the engine's own tests judge with a clock of theirs, and its cuts and documents,
//! which are in `causes` and `operator`; T089, which is in `operator`; the restarts of a cluster of T086, because sessions live in
//! memory here.

use crate::harness::browser::refresh_request;
use crate::harness::http::Request;
use crate::harness::{Ask, Client, Gate, Pkce, RESOURCE, Script, Tokens, World, at_once, configuration, eventually};
use serde_json::json;
use std::collections::BTreeSet;

fn without_grace() -> World {
    World::with(|config| config["refreshGrace"] = json!("0s"))
}

#[test]
fn p03_t078_a_replay_after_the_grace_ends_the_whole_session() {
    let world = without_grace();
    let client = world.public_client("A client");
    let first = world.tokens(&client);
    let second = Tokens::of(&world.refresh(&client, &first.refresh));
    assert_ne!(first.refresh, second.refresh);
    assert!(world.admits(&first.access) && world.admits(&second.access));
    world.refresh(&client, &first.refresh).refuses(400, "invalid_grant");
    world.refresh(&client, &second.refresh).refuses(400, "invalid_grant");
    assert!(!world.admits(&first.access) && !world.admits(&second.access));
    assert_eq!(world.happened("refresh_token_reuse_detected"), 1);
}

#[test]
fn t078_a_replay_ends_one_session_and_no_other() {
    let world = without_grace();
    let client = world.public_client("A client");
    let (stolen, other) = (world.tokens(&client), world.tokens(&client));
    Tokens::of(&world.refresh(&client, &stolen.refresh));
    world.refresh(&client, &stolen.refresh).refuses(400, "invalid_grant");
    assert!(world.admits(&other.access), "another session of the same person ended");
    Tokens::of(&world.refresh(&client, &other.refresh));
}

#[test]
fn t079_within_the_grace_everybody_gets_the_same_successor() {
    let world = World::start();
    let client = world.public_client("A client");
    let first = world.tokens(&client);
    let answers: Vec<Tokens> = (0..5).map(|_| Tokens::of(&world.refresh(&client, &first.refresh))).collect();
    let (refreshes, accesses): (BTreeSet<_>, BTreeSet<_>) =
        answers.iter().map(|tokens| (tokens.refresh.as_str(), tokens.access.as_str())).unzip();
    assert_eq!(refreshes.len(), 1, "the session has forked");
    assert_eq!(accesses.len(), 5, "access tokens are fresh");
    assert!(answers.iter().all(|tokens| world.admits(&tokens.access)));
    assert_eq!((world.happened("token_refreshed"), world.happened("refresh_token_repeated_in_grace")), (1, 4));
    let next = Tokens::of(&world.refresh(&client, &answers[0].refresh));
    // The first one leads on to whatever is current.
    assert_eq!(Tokens::of(&world.refresh(&client, &first.refresh)).refresh, next.refresh);
    assert_eq!(world.happened("refresh_token_reuse_detected"), 0);
}

#[test]
fn t079_rotations_within_one_grace_are_capped() {
    let world = World::start();
    let client = world.public_client("A client");
    let mut tokens = world.tokens(&client);
    let mut generations = BTreeSet::from([tokens.refresh.clone()]);
    for _ in 0..20 {
        tokens = Tokens::of(&world.refresh(&client, &tokens.refresh));
        generations.insert(tokens.refresh.clone());
    }
    assert_eq!(generations.len(), 9, "the first and eight successors");
    assert!(world.admits(&tokens.access));
    assert!(generations.iter().all(|old| Tokens::of(&world.refresh(&client, old)).refresh == tokens.refresh));
}

#[test]
fn p03_t080_t081_r21_r29_a_hundred_at_once_are_one_rotation() {
    const TIMES: usize = 100;
    let world = World::start();
    let client = world.public_client("A client");
    let first = world.tokens(&client);
    let answers = at_once(TIMES, |_| Tokens::of(&world.refresh(&client, &first.refresh)));
    let successors: BTreeSet<&str> = answers.iter().map(|tokens| tokens.refresh.as_str()).collect();
    assert_eq!(successors.len(), 1, "the session has forked");
    assert!(!successors.contains(first.refresh.as_str()));
    let accesses: BTreeSet<&str> = answers.iter().map(|tokens| tokens.access.as_str()).collect();
    assert_eq!(accesses.len(), TIMES);
    assert!(accesses.iter().all(|access| world.admits(access)));
    assert_eq!((world.happened("token_refreshed"), world.happened("refresh_token_repeated_in_grace")), (1, 99));
}

#[test]
fn t081_without_a_grace_one_of_many_wins_and_the_session_ends() {
    let world = without_grace();
    let client = world.public_client("A client");
    let first = world.tokens(&client);
    let answers = at_once(10, |_| world.refresh(&client, &first.refresh));
    let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(won.len(), 1);
    for answer in lost {
        answer.refuses(400, "invalid_grant");
    }
    let tokens = Tokens::of(won[0]);
    assert!(!world.admits(&tokens.access));
    world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
}

#[test]
fn seed_bug_17_t082_r22_a_refresh_token_of_another_client() {
    for grace in ["0s", "1m"] {
        let world = World::with(|config| config["refreshGrace"] = json!(grace));
        let (public, confidential) = (world.public_client("A client"), world.confidential_client("Another"));
        let (other, other_secret) = (world.public_client("A third"), world.confidential_client("A fourth"));
        for owner in [&public, &confidential] {
            let first = world.tokens(owner);
            let second = Tokens::of(&world.refresh(owner, &first.refresh));
            // A rotated one too: whoever is not its client must not be able to end the session with it.
            for token in [&first.refresh, &second.refresh] {
                for stranger in [&other, &other_secret] {
                    world.refresh(stranger, token).refuses(400, "invalid_grant");
                }
                world
                    .refresh(&Client::confidential(&owner.id, "a guessed secret"), token)
                    .refuses(401, "invalid_client");
                let nobody = [("grant_type", "refresh_token"), ("refresh_token", token)];
                world.send(&Request::form("/oauth/token", &nobody)).refuses(400, "invalid_request");
            }
            assert!(world.admits(&second.access), "a stranger ended the session");
            Tokens::of(&world.refresh(owner, &second.refresh));
        }
        let tokens = world.tokens(&confidential);
        world.refresh(&Client::public(&confidential.id), &tokens.refresh).refuses(401, "invalid_client");
        Tokens::of(&world.refresh(&confidential, &tokens.refresh));
        assert_eq!(world.happened("refresh_token_reuse_detected"), 0);
    }
}

#[test]
fn t082_t084_another_resource_or_more_scope_is_refused_and_costs_nothing() {
    let world = World::with(|config| {
        let upstream = config["resources"][0]["upstream"].clone();
        config["resources"] = json!([
            { "path": "/mcp", "upstream": upstream, "scopes": ["mcp", "more"] },
            { "path": "/other", "upstream": upstream, "scopes": ["other"] },
        ]);
    });
    let (client, pkce) = (world.public_client("A client"), Pkce::new());
    let code = world.code_for(&Ask::of(&client, &pkce), Script::default());
    let tokens = Tokens::of(&world.exchange(&client, &code, &pkce));
    let with = |name: &str, value: &str| {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &tokens.refresh), (name, value)];
        world.send(&client.form("/oauth/token", &fields))
    };
    with("scope", "mcp other").refuses(400, "invalid_scope");
    with("scope", "admin").refuses(400, "invalid_scope");
    with("scope", "a\"b").refuses(400, "invalid_scope");
    with("resource", "https://gate.example/other").refuses(400, "invalid_target");
    with("resource", "https://elsewhere.example/mcp").refuses(400, "invalid_target");
    assert_eq!(world.happened("token_refreshed"), 0);
    assert_eq!(Tokens::of(&with("resource", RESOURCE)).answer["scope"], "mcp more");
}

#[test]
fn t086_a_gate_that_starts_again_knows_no_old_token() {
    let world = World::start();
    let client = world.public_client("A client");
    let pkce = Pkce::new();
    let code = world.code(&client, &pkce);
    let first = world.tokens(&client);
    let second = Tokens::of(&world.refresh(&client, &first.refresh));
    let World { provider, upstream, .. } = world;
    let restarted = World::around(Gate::start(&configuration(&provider, &upstream)), provider, upstream);
    restarted.gate.until_ready();
    for token in [&first.refresh, &second.refresh] {
        restarted.refresh(&client, token).refuses(400, "invalid_grant");
    }
    restarted.exchange(&client, &code, &pkce).refuses(400, "invalid_grant");
    assert!(!restarted.admits(&first.access) && !restarted.admits(&second.access));
    // The registration is in the identifier, so the client itself is still known.
    restarted.tokens(&client);
}

#[test]
fn t087_a_damaged_refresh_token_is_refused_and_ends_nothing() {
    let world = without_grace();
    let client = world.public_client("A client");
    let first = world.tokens(&client);
    let second = Tokens::of(&world.refresh(&client, &first.refresh));
    let mut connection = world.connect();
    for token in [&first.refresh, &second.refresh] {
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            connection.exchange(&refresh_request(&client, &changed)).refuses(400, "invalid_grant");
            let cut = &token[..place];
            let error = if cut.is_empty() { "invalid_request" } else { "invalid_grant" };
            connection.exchange(&refresh_request(&client, cut)).refuses(400, error);
        }
        for longer in
            [format!("{token}A"), format!("{token}="), format!("{token}\n"), format!(" {token}"), token.repeat(2)]
        {
            connection.exchange(&refresh_request(&client, &longer)).refuses(400, "invalid_grant");
        }
    }
    world.refresh(&client, &"A".repeat(60_000)).refuses(400, "invalid_grant");
    assert_eq!(world.refresh(&client, &"A".repeat(1 << 20)).status, 413);
    // Of another gate, with other keys and another store.
    let other = World::with(|config| config["masterKeys"] = json!([other_key()]));
    let foreign = other.tokens(&other.public_client("A client"));
    world.refresh(&client, &foreign.refresh).refuses(400, "invalid_grant");
    assert_eq!(world.call("/mcp", &foreign.access).status, 401);
    assert!(world.admits(&second.access), "damage ended the session");
    Tokens::of(&world.refresh(&client, &second.refresh));
}

fn other_key() -> String {
    crate::harness::MASTER_KEY.chars().rev().collect()
}

#[test]
fn t090_an_answer_that_is_lost_costs_nothing() {
    let world = World::start();
    let client = world.public_client("A client");
    let first = world.tokens(&client);
    let mut connection = world.connect();
    connection.send(&refresh_request(&client, &first.refresh));
    eventually("the rotation has landed", || world.happened("token_refreshed") == 1);
    drop(connection);
    let again = Tokens::of(&world.refresh(&client, &first.refresh));
    assert_ne!(again.refresh, first.refresh);
    assert!(world.admits(&again.access));
    Tokens::of(&world.refresh(&client, &again.refresh));
    assert_eq!(world.happened("refresh_token_reuse_detected"), 0);
}

#[test]
fn t091_a_session_of_many_rotations_is_like_a_new_one() {
    let world = without_grace();
    let client = world.public_client("A client");
    let mut tokens = world.tokens(&client);
    let first = tokens.clone();
    let mut connection = world.connect();
    for _ in 0..300 {
        let next = Tokens::of(&connection.exchange(&refresh_request(&client, &tokens.refresh)));
        assert_eq!((next.refresh.len(), next.access.len()), (first.refresh.len(), first.access.len()));
        tokens = next;
    }
    assert!(world.admits(&tokens.access));
    world.refresh(&client, &first.refresh).refuses(400, "invalid_grant");
    assert!(!world.admits(&tokens.access));
}
