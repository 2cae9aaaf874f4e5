//! Many at one moment, in one process: exactly one wins, and the rest hear so (security group T, promises P2 and P3).
//!
//! Not here: two processes over one store, because sessions live in memory so far; the simulation runs two gateways over one. T259,
//! because neither DPoP nor client assertions are offered yet. T081 stands in `refresh`.

use crate::harness::browser::exchange_request;
use crate::harness::http::Request;
use crate::harness::{Ask, Pkce, Returned, Script, Tokens, World, at_once};

#[test]
fn p02_t255_r51_a_code_that_many_redeem_at_once_is_redeemed_once() {
    let world = World::start();
    let client = world.public_client("A client");
    for round in 0..20 {
        let pkce = Pkce::new();
        let code = world.code(&client, &pkce);
        let times = if round % 2 == 0 { 2 } else { 16 };
        let answers = at_once(times, |_| world.send(&exchange_request(&client, &code, &pkce)));
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((won.len(), lost.len()), (1, times - 1));
        for answer in lost {
            answer.refuses(400, "invalid_grant");
        }
        // A second valid presentation is a replay, whenever it came, so the session is over.
        let tokens = Tokens::of(won[0]);
        assert!(!world.admits(&tokens.access));
        world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
    }
    assert_eq!(world.happened("token_issued"), 20);
}

#[test]
fn t255_a_crowd_with_one_owner_costs_the_owner_nothing() {
    let world = World::start();
    let (client, other) = (world.public_client("A client"), world.public_client("Another"));
    for _ in 0..10 {
        let pkce = Pkce::new();
        let code = world.code(&client, &pkce);
        let answers = at_once(12, |place| match place {
            0 => world.exchange(&client, &code, &pkce),
            even if even % 2 == 0 => world.exchange(&other, &code, &pkce),
            _ => world.exchange(&client, &code, &Pkce::new()),
        });
        for stranger in &answers[1..] {
            stranger.refuses(400, "invalid_grant");
        }
        assert!(world.admits(&Tokens::of(&answers[0]).access));
    }
}

#[test]
fn t258_a_callback_that_comes_twice_at_once_is_one_login() {
    let world = World::start();
    let client = world.public_client("A client");
    for _ in 0..10 {
        let (pkce, mut browser) = (Pkce::new(), world.browser());
        let consent = browser.consent_page(&Ask::of(&client, &pkce));
        let authorization = browser.approve(&consent);
        let code = world.provider.issue(&authorization, Script::default());
        let query = crate::harness::http::form(&[("code", code.as_str()), ("state", authorization.param("state"))]);
        let request = browser.with_cookies(Request::get(&format!("/oauth/callback?{query}")));
        let before = world.provider.seen("/token").len();
        let answers = at_once(8, |_| world.send_from(browser.address, &request));
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 302);
        assert_eq!(won.len(), 1);
        for answer in lost {
            assert_eq!((answer.status, answer.header("location")), (400, None));
            assert!(answer.header("content-type").unwrap().starts_with("text/html"));
        }
        assert_eq!(world.provider.seen("/token").len(), before + 1, "the provider's code was sent again");
        let ours = Returned::of(won[0]);
        Tokens::of(&world.exchange(&client, ours.code(), &pkce));
        // And once more, after all is done.
        let late = world.send_from(browser.address, &request);
        assert_eq!((late.status, late.header("location")), (400, None));
    }
}

#[test]
fn p05_t257_after_a_revocation_nothing_that_raced_it_lives() {
    let world = World::start();
    let client = world.public_client("A client");
    for _ in 0..20 {
        let first = world.tokens(&client);
        let answers = at_once(6, |place| match place {
            0 => world.revoke(&client, &first.refresh),
            _ => world.refresh(&client, &first.refresh),
        });
        assert_eq!(answers[0].status, 200);
        assert!(!world.admits(&first.access));
        for answer in &answers[1..] {
            if answer.status == 200 {
                let tokens = Tokens::of(answer);
                assert!(!world.admits(&tokens.access), "a token outlived its revocation");
                world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
            } else {
                answer.refuses(400, "invalid_grant");
            }
        }
    }
}

#[test]
fn t258_an_approval_that_is_sent_twice_is_still_one_consent_a_login() {
    let world = World::start();
    let (client, pkce, mut browser) = (world.public_client("A client"), Pkce::new(), world.browser());
    let consent = browser.consent_page(&Ask::of(&client, &pkce));
    let (first, second) = (browser.approve(&consent), browser.approve(&consent));
    assert_ne!(first.param("state"), second.param("state"));
    assert_ne!(first.param("nonce"), second.param("nonce"));
    let mut codes = Vec::new();
    for authorization in [&first, &second] {
        let code = world.provider.issue(authorization, Script::default());
        codes.push(browser.callback(&[("code", &code), ("state", authorization.param("state"))]));
    }
    // Both logins are of one flow, and a flow leads to one session.
    let came: Vec<bool> = codes.iter().map(|answer| answer.status == 302).collect();
    assert_eq!(came, [true, false], "{codes:?}");
}
