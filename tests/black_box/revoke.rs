//! Revocation: what ends, on whose word, and what a stranger learns from it (security group N, promise P5).
//!
//! T181 to T183, introspection, are in `introspect`. Not here: T185 (`token_endpoint` shows that none is there).

use crate::harness::http::Request;
use crate::harness::{Client, Tokens, World};

const REVOKE: &str = "/oauth/revoke";

#[test]
fn p05_t178_t179_any_token_of_a_session_ends_all_of_it_at_once() {
    let world = World::start();
    for client in [world.public_client("A client"), world.confidential_client("Another")] {
        for which in 0..4 {
            let first = world.tokens(&client);
            let second = Tokens::of(&world.refresh(&client, &first.refresh));
            let other = world.tokens(&client);
            let token = [&first.access, &first.refresh, &second.access, &second.refresh][which];
            let answer = world.revoke(&client, token);
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{}", answer.text());
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert!(!world.admits(&first.access) && !world.admits(&second.access), "token {which} of the four");
            for old in [&first.refresh, &second.refresh] {
                world.refresh(&client, old).refuses(400, "invalid_grant");
            }
            assert!(world.admits(&other.access), "another session ended");
            assert_eq!(world.revoke(&client, token).status, 200, "a second time");
        }
    }
}

#[test]
fn t178_what_is_no_token_needs_no_revoking() {
    let world = World::start();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    for nothing in ["x", "é", &tokens.access[..40], &format!("{}A", tokens.refresh), &"A".repeat(60_000)] {
        let answer = world.revoke(&client, nothing);
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{nothing}: {}", answer.text());
    }
    for place in (0..tokens.access.len()).step_by(7) {
        let mut bytes = tokens.access.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        assert_eq!(world.revoke(&client, std::str::from_utf8(&bytes).unwrap()).status, 200);
    }
    world.send(&client.form(REVOKE, &[])).refuses(400, "invalid_request");
    world.send(&client.form(REVOKE, &[("token", "")])).refuses(400, "invalid_request");
    world.send(&client.form(REVOKE, &[("token", "a"), ("token", "b")])).refuses(400, "invalid_request");
    assert_eq!(world.send(&Request::get(REVOKE)).header("allow"), Some("POST"));
    assert_eq!(world.revoke(&client, &"A".repeat(1 << 20)).status, 413);
    assert!(world.admits(&tokens.access), "something that is no token ended a session");
}

#[test]
fn t178_the_hint_may_be_wrong() {
    let world = World::start();
    let client = world.public_client("A client");
    for hint in ["access_token", "refresh_token", "id_token", "x"] {
        let (one, other) = (world.tokens(&client), world.tokens(&client));
        for (session, token) in [(&one, &one.access), (&other, &other.refresh)] {
            let request = client.form(REVOKE, &[("token", token), ("token_type_hint", hint)]);
            assert_eq!(world.send(&request).status, 200);
            assert!(!world.admits(&session.access), "{hint}");
        }
    }
}

#[test]
fn t178_a_token_of_another_client_stays() {
    let world = World::start();
    let (public, confidential) = (world.public_client("A client"), world.confidential_client("Another"));
    for (owner, stranger) in [(&public, &confidential), (&confidential, &public)] {
        let tokens = world.tokens(owner);
        for token in [&tokens.access, &tokens.refresh] {
            world.revoke(stranger, token).refuses(400, "invalid_grant");
        }
        assert!(world.admits(&tokens.access));
        Tokens::of(&world.refresh(owner, &tokens.refresh));
    }
}

#[test]
fn t178_a_confidential_client_proves_who_it_is() {
    let world = World::start();
    let client = world.confidential_client("A client");
    let tokens = world.tokens(&client);
    for token in [&tokens.access, &tokens.refresh] {
        world.revoke(&Client::public(&client.id), token).refuses(401, "invalid_client");
        let wrong = world.revoke(&Client::confidential(&client.id, "a wrong secret 123"), token);
        wrong.refuses(401, "invalid_client");
        assert!(wrong.header("www-authenticate").unwrap().starts_with("Basic "));
        world.send(&Request::form(REVOKE, &[("token", token)])).refuses(401, "invalid_client");
    }
    // A wrong secret is refused before it is known whether the token is one.
    world.revoke(&Client::confidential(&client.id, "a wrong secret 123"), "x").refuses(401, "invalid_client");
    assert!(world.admits(&tokens.access));
    Tokens::of(&world.refresh(&client, &tokens.refresh));
}

#[test]
fn t178_a_public_clients_token_is_proof_enough() {
    let world = World::start();
    let tokens = world.tokens(&world.public_client("A client"));
    assert_eq!(world.send(&Request::form(REVOKE, &[("token", &tokens.refresh)])).status, 200);
    assert!(!world.admits(&tokens.access));
}

#[test]
fn t178_a_code_is_not_revoked_by_a_stranger_who_saw_it() {
    let world = World::start();
    let (client, pkce) = (world.public_client("A client"), crate::harness::Pkce::new());
    let code = world.code(&client, &pkce);
    assert_eq!(world.send(&Request::form(REVOKE, &[("token", &code)])).status, 200);
    Tokens::of(&world.exchange(&client, &code, &pkce));
}
