//! Logins and sessions that several gates have a hand in: nobody can tell which of them answered.
//!
//! | id | where |
//! |---|---|
//! | T255 | `p02_t255_…`: one code at two gates |
//! | T257 | `p05_t257_…`: revocation against refresh |
//! | T259 | `t259_…`: one assertion at two gates |
//! | T258 | `t258_…`: one return from the provider at two gates |
//! | T278 | `t278_…`: a gate that is killed in the middle of a login |
//! | T081 | `p03_t081_…`: one refresh token at two gates |

use crate::fleet::{Fleet, storage};
use crate::harness::browser::{exchange_request, refresh_request};
use crate::harness::http::form;
use crate::harness::signer::{assertion, keys, proven};
use crate::harness::{Ask, Client, MASTER_KEY, Pkce, REDIRECT, Request, Response, Returned, Script, Tokens, at_once};
use crate::valkey::{Make, Server};
use serde_json::json;
use std::time::Duration;

fn two() -> (Server, Fleet) {
    let server = Server::start(Make::Valkey9);
    let fleet = Fleet::start(2, &storage(server.address()));
    (server, fleet)
}

/// Some are a little late, each round differently.
pub(crate) fn jitter(round: usize, place: usize) {
    std::thread::sleep(Duration::from_micros(u64::try_from((round * 7 + place * 13) % 11).unwrap() * 150));
}

#[test]
fn a_login_that_begins_at_one_replica_ends_at_another_and_so_does_everything_after() {
    let (_server, fleet) = two();
    for round in 0..4 {
        let (here, there) = (fleet.at(round % 2), fleet.at((round + 1) % 2));
        let (client, pkce) = (here.public_client("A client"), Pkce::new());
        let mut browser = here.browser();
        let consent = browser.consent_page(&Ask::of(&client, &pkce));
        let mut elsewhere = there.browser();
        elsewhere.cookies.clone_from(&browser.cookies);
        let authorization = elsewhere.approve(&consent);
        let code = fleet.provider.issue(&authorization, Script::default());
        browser.cookies.clone_from(&elsewhere.cookies);
        let back = browser.callback(&[("code", &code), ("state", authorization.param("state"))]);
        let tokens = Tokens::of(&there.exchange(&client, Returned::of(&back).code(), &pkce));
        assert!(here.admits(&tokens.access) && there.admits(&tokens.access));
        let next = Tokens::of(&here.refresh(&client, &tokens.refresh));
        let last = Tokens::of(&there.refresh(&client, &next.refresh));
        assert_eq!(here.revoke(&client, &last.access).status, 200);
        there.refresh(&client, &last.refresh).refuses(400, "invalid_grant");
    }
}

#[test]
fn p02_t255_a_code_that_two_replicas_are_shown_at_once_is_redeemed_once() {
    let (_server, fleet) = two();
    let client = fleet.at(0).public_client("A client");
    let pairs = 1_000;
    for round in 0..pairs {
        let pkce = Pkce::new();
        let code = fleet.at(round % 2).code(&client, &pkce);
        let answers = at_once(2, |place| {
            jitter(round, place);
            fleet.at(place).send(&exchange_request(&client, &code, &pkce))
        });
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, 1), "{answers:?}");
        lost[0].refuses(400, "invalid_grant");
        // Both were valid, so the second was a replay, and the session is over, at both.
        let tokens = Tokens::of(won[0]);
        fleet.at(round % 2).refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
    }
    assert_eq!(fleet.happened("token_issued"), u64::try_from(pairs).unwrap());
}

#[test]
fn t259_an_assertion_that_two_replicas_are_shown_at_once_lets_one_in() {
    let server = Server::start(Make::Valkey9);
    let mut fleet = Fleet::empty();
    for _ in 0..2 {
        fleet.add(|config| {
            config["storage"] = storage(server.address());
            config["clients"] =
                json!([{ "clientId": "signer", "name": "Signer", "redirectUris": [REDIRECT], "jwks": keys() }]);
        });
    }
    let (client, pkce) = (Client::public("signer"), Pkce::new());
    let code = fleet.at(0).code(&client, &pkce);
    let redeem = [("grant_type", "authorization_code"), ("code", code.as_str()), ("code_verifier", &pkce.verifier)];
    let mut tokens = Tokens::of(&fleet.at(0).send(&proven("/oauth/token", &redeem, &assertion("signer", json!({})))));
    let rounds = 100;
    for round in 0..rounds {
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
        let request = proven("/oauth/token", &refresh, &assertion("signer", json!({})));
        let answers = at_once(2, |place| {
            jitter(round, place);
            fleet.at(place).send(&request)
        });
        let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((accepted.len(), refused.len()), (1, 1), "{answers:?}");
        refused[0].refuses(401, "invalid_client");
        tokens = Tokens::of(accepted[0]);
    }
    // Neither of them a moment later.
    let once = assertion("signer", json!({}));
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.refresh.as_str())];
    Tokens::of(&fleet.at(0).send(&proven("/oauth/token", &refresh, &once)));
    for place in [1, 0] {
        fleet.at(place).send(&proven("/oauth/token", &refresh, &once)).refuses(401, "invalid_client");
    }
}

#[test]
fn p03_t081_a_refresh_token_that_two_replicas_are_shown_at_once_is_one_rotation() {
    let (_server, fleet) = two();
    let client = fleet.at(0).public_client("A client");
    let mut tokens = fleet.at(0).tokens(&client);
    let rounds = 40;
    for round in 0..rounds {
        let answers = at_once(4, |place| {
            jitter(round, place);
            fleet.at(place % 2).send(&refresh_request(&client, &tokens.refresh))
        });
        let all: Vec<Tokens> = answers.iter().map(Tokens::of).collect();
        assert!(all.iter().all(|one| one.refresh == all[0].refresh), "one successor for all");
        assert_ne!(all[0].refresh, tokens.refresh);
        tokens = all[0].clone();
        // No more than eight rotations fit into one grace: each round is a session of its own after a few.
        if round % 6 == 5 {
            tokens = fleet.at(round % 2).tokens(&client);
        }
    }
    assert_eq!(fleet.happened("token_refreshed"), u64::try_from(rounds).unwrap());
    assert_eq!(fleet.happened("refresh_token_reuse_detected"), 0);
}

#[test]
fn p05_t257_a_revocation_at_one_replica_against_a_refresh_at_the_other_leaves_nothing_alive() {
    let (_server, fleet) = two();
    let client = fleet.at(0).public_client("A client");
    for round in 0..40 {
        let first = fleet.at(round % 2).tokens(&client);
        let answers = at_once(3, |place| {
            jitter(round, place);
            match place {
                0 => fleet.at(0).revoke(&client, &first.refresh),
                _ => fleet.at(1).refresh(&client, &first.refresh),
            }
        });
        assert_eq!(answers[0].status, 200);
        for answer in &answers[1..] {
            let refresh = if answer.status == 200 { Tokens::of(answer).refresh } else { first.refresh.clone() };
            for replica in 0..2 {
                fleet.at(replica).refresh(&client, &refresh).refuses(400, "invalid_grant");
            }
        }
    }
}

#[test]
fn t258_a_return_from_the_provider_that_comes_to_two_replicas_is_one_login() {
    let (_server, fleet) = two();
    let client = fleet.at(0).public_client("A client");
    for round in 0..20 {
        let (pkce, mut browser) = (Pkce::new(), fleet.at(0).browser());
        let consent = browser.consent_page(&Ask::of(&client, &pkce));
        let authorization = browser.approve(&consent);
        let code = fleet.provider.issue(&authorization, Script::default());
        let query = form(&[("code", code.as_str()), ("state", authorization.param("state"))]);
        let request = browser.with_cookies(Request::get(&format!("/oauth/callback?{query}")));
        let answers = at_once(2, |place| {
            jitter(round, place);
            fleet.at(place).send_from(browser.address, &request)
        });
        // One has the code. The other hears from the provider that its code is spent, or from the store that the login has come back
        // already; what it says of that holds no code.
        let code = |answer: &&Response| answer.status == 302 && Returned::of(answer).param("code").is_some();
        let won: Vec<_> = answers.iter().filter(code).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        let ours = Returned::of(won[0]);
        Tokens::of(&fleet.at(round % 2).exchange(&client, ours.code(), &pkce));
    }
}

#[test]
fn t278_a_replica_that_is_killed_in_the_middle_of_a_login_is_not_missed() {
    let (_server, mut fleet) = two();
    let (client, pkce) = (fleet.at(0).public_client("A client"), Pkce::new());
    let (cookies, authorization) = {
        let mut browser = fleet.at(0).browser();
        let consent = browser.consent_page(&Ask::of(&client, &pkce));
        let authorization = browser.approve(&consent);
        (browser.cookies, authorization)
    };
    fleet.replicas[0].kill();
    let code = fleet.provider.issue(&authorization, Script::default());
    let mut browser = fleet.at(1).browser();
    browser.cookies = cookies;
    let back = browser.callback(&[("code", &code), ("state", authorization.param("state"))]);
    let code = Returned::of(&back).code().to_owned();
    fleet.replicas[1].kill();
    fleet.replicas[0].start();
    let tokens = Tokens::of(&fleet.at(0).exchange(&client, &code, &pkce));
    fleet.replicas[1].start();
    assert!(fleet.at(1).admits(&tokens.access), "no session was lost with its gates");
    Tokens::of(&fleet.at(1).refresh(&client, &tokens.refresh));
}

const NEXT: &str = "51d2e6a1f0b39c8877665544332211aabbccddeeff00123456789abcdef01234";

#[test]
fn p03_every_order_of_a_rolling_change_of_keys_refuses_nobody() {
    // The new key opens; then it seals; then the old one is retired. Each step comes to the replicas in either order.
    let retired = json!([NEXT, { "key": MASTER_KEY, "clientIdsOnly": true }]);
    let steps = [json!([MASTER_KEY, NEXT]), json!([NEXT, MASTER_KEY]), retired];
    for orders in 0..8_u32 {
        let (_server, mut fleet) = two();
        let client = fleet.at(0).public_client("A client");
        let mut tokens = fleet.at(0).tokens(&client);
        for (step, keys) in steps.iter().enumerate() {
            let first = usize::from(orders & (1 << step) != 0);
            for replica in [first, 1 - first] {
                fleet.replicas[replica].stop();
                fleet.replicas[replica].config["masterKeys"] = keys.clone();
                fleet.replicas[replica].start();
                for (here, there) in [(0, 1), (1, 0)] {
                    // What was handed out before this step, and a login that begins here and ends there.
                    assert!(fleet.at(here).admits(&tokens.access), "{orders:03b}, step {step}");
                    let pkce = Pkce::new();
                    let code = fleet.at(here).code(&client, &pkce);
                    let own = Tokens::of(&fleet.at(there).exchange(&client, &code, &pkce));
                    assert!(fleet.at(here).admits(&own.access), "{orders:03b}, step {step}");
                }
                tokens = Tokens::of(&fleet.at(1 - replica).refresh(&client, &tokens.refresh));
            }
        }
    }
}

#[test]
fn p03_a_key_that_is_gone_ends_what_it_alone_could_open_and_says_so() {
    let (_server, mut fleet) = two();
    let client = fleet.at(0).public_client("A client");
    let tokens = fleet.at(0).tokens(&client);
    // The check of the rings lets nobody in who shares no key with the store: the step between must have been.
    for keys in [json!([NEXT, MASTER_KEY]), json!([NEXT])] {
        for replica in &mut fleet.replicas {
            replica.stop();
            replica.config["masterKeys"] = keys.clone();
            replica.start();
        }
    }
    // Its registration was signed under the old key, and its session sealed.
    fleet.at(0).refresh(&client, &tokens.refresh).refuses(401, "invalid_client");
    let again = fleet.at(0).public_client("A client");
    fleet.at(1).refresh(&again, &tokens.refresh).refuses(400, "invalid_grant");
    let call = fleet.at(0).call("/mcp", &tokens.access);
    assert_eq!(call.status, 401);
    assert!(call.header("www-authenticate").unwrap().contains("invalid_token"), "{call:?}");
    assert!(fleet.at(1).admits(&fleet.at(0).tokens(&again).access), "and everybody can log in anew");
}
