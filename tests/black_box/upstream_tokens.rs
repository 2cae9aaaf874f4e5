//! The provider's tokens of a person over the whole gate: renewed in time, one at a time, and never at the person's cost.

use super::harness::{Ask, Client, Pkce, Script, Tokens, World, at_once};
use super::people::as_provider;
use super::two::session_of;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A gate before a provider like Dex: single-use refresh tokens, tokens that end soon.
fn like_dex() -> (World, Client) {
    let world = World::with(|config| as_provider(config, "dex", &json!({})));
    let client = world.public_client("A client");
    (world, client)
}

/// A login whose tokens of the provider live for so many seconds.
fn session(world: &World, client: &Client, seconds: u64) -> Tokens {
    let script = Script { members: json!({ "expires_in": seconds }), ..Script::default() };
    session_of(world, client, |ask| ask, script)
}

/// How often the provider was asked for newer tokens.
pub fn asked(world: &World) -> usize {
    let seen = world.provider.seen("/token");
    seen.iter().filter(|seen| String::from_utf8_lossy(&seen.body).contains("grant_type=refresh_token")).count()
}

fn expires_in(response: &super::harness::Response) -> u64 {
    response.json()["expires_in"].as_u64().unwrap()
}

#[test]
fn as_29_m07_an_access_token_never_outlives_the_providers_own() {
    let (world, client) = like_dex();
    let (pkce, script) = (Pkce::new(), Script { members: json!({ "expires_in": 240 }), ..Script::default() });
    let code = world.code_for(&Ask::of(&client, &pkce), script);
    let answer = world.exchange(&client, &code, &pkce);
    assert!((1..=240).contains(&expires_in(&answer)), "{}", answer.text());
    // The provider is asked for newer ones before the client gets its own.
    world.provider.refreshes(|_| {});
    let answer = world.refresh(&client, &Tokens::of(&answer).refresh);
    assert!((241..=300).contains(&expires_in(&answer)), "the ID token's own five minutes: {}", answer.text());
    assert_eq!(asked(&world), 1);
}

#[test]
fn seed_bug_21_seed_bug_22_a_crowd_of_one_person_spends_one_refresh_token_of_the_provider() {
    let (world, client) = like_dex();
    let sessions: Vec<Tokens> = (0..12).map(|_| session(&world, &client, 200)).collect();
    world.provider.refreshes(|script| {
        script.delay = Duration::from_millis(100);
        script.claims = json!({ "exp": super::harness::provider::now() + 3_600 });
    });
    let answers = at_once(sessions.len(), |place| world.refresh(&client, &sessions[place].refresh));
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(expires_in(answer) > 1_000);
    }
    assert_eq!(asked(&world), 1, "one person, one call");
    for answer in &answers {
        assert!(world.admits(&Tokens::of(answer).access));
    }
}

#[test]
fn seed_bug_23_seed_bug_25_a_provider_that_is_away_costs_nobody_their_session() {
    let (world, client) = like_dex();
    let mut tokens = session(&world, &client, 200);
    for (status, content_type, body) in [
        ("503 Service Unavailable", "application/json", "{}"),
        ("500 Internal Server Error", "text/html", "<html>"),
        ("429 Too Many Requests", "application/json", r#"{"error":"invalid_grant"}"#),
        ("400 Bad Request", "text/html", "invalid_grant"),
        ("401 Unauthorized", "application/json", r#"{"error":"invalid_client"}"#),
        ("200 OK", "application/json", "{"),
        ("200 OK", "text/html", "<html>"),
        ("302 Found", "application/json", "{}"),
    ] {
        world.provider.refreshes(|script| {
            script.instead = Some((status.to_owned(), content_type.to_owned(), body.as_bytes().to_vec()));
        });
        let answer = world.refresh(&client, &tokens.refresh);
        assert_eq!(answer.status, 200, "{status} {body}: {}", answer.text());
        assert!(expires_in(&answer) <= 200, "no longer than the provider's own");
        tokens = Tokens::of(&answer);
        assert!(world.admits(&tokens.access), "{status}");
    }
    world.provider.refreshes(|script| script.hangs_up = true);
    tokens = Tokens::of(&world.refresh(&client, &tokens.refresh));
    // It comes back, and everything goes on.
    world.provider.refreshes(|_| {});
    let answer = world.refresh(&client, &tokens.refresh);
    assert!(expires_in(&answer) > 200, "{}", answer.text());
}

#[test]
fn p03_seed_bug_23_after_the_providers_tokens_have_ended_a_client_is_told_to_come_again_and_loses_nothing() {
    let (world, client) = like_dex();
    let tokens = session(&world, &client, 1);
    std::thread::sleep(Duration::from_millis(1_100));
    world.provider.refreshes(|script| {
        script.instead = Some(("503 Service Unavailable".to_owned(), "text/plain".to_owned(), Vec::new()));
    });
    for _ in 0..3 {
        let answer = world.refresh(&client, &tokens.refresh);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("temporarily_unavailable")));
        assert!(answer.header("retry-after").is_some());
    }
    world.provider.refreshes(|_| {});
    assert_eq!(world.refresh(&client, &tokens.refresh).status, 200);
}

#[test]
fn p05_a_refusal_by_the_provider_ends_the_sessions_after_it_has_been_said_twice() {
    let (world, client) = like_dex();
    let tokens = session(&world, &client, 200);
    let other = session(&world, &client, 200);
    world.provider.forget_refresh_tokens();
    let start = Instant::now();
    let answer = world.refresh(&client, &tokens.refresh);
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_grant")), "{}", answer.text());
    assert!(start.elapsed() >= Duration::from_secs(4), "two seconds apart, for the token of either login");
    assert_eq!(asked(&world), 4);
    for access in [&tokens.access, &other.access] {
        assert!(!world.admits(access), "every session of the person");
    }
    // A login brings a new one.
    let again = session(&world, &client, 200);
    assert!(world.admits(&again.access));
}

/// Dex calls a refresh token that is no good a bad request.
#[test]
fn m12_p05_what_dex_calls_a_bad_request_is_its_refusal_and_from_others_it_is_not() {
    for (kind, ends) in [("dex", true), ("google", false)] {
        let world = World::with(|config| as_provider(config, kind, &json!({ "bindToProvider": true })));
        let client = world.public_client("A client");
        let tokens = session(&world, &client, 200);
        world.provider.refreshes(|script| {
            let body = r#"{"error":"invalid_request","error_description":"claimed twice"}"#;
            script.instead = Some(("400 Bad Request".to_owned(), "application/json".to_owned(), body.into()));
        });
        let answer = world.refresh(&client, &tokens.refresh);
        if ends {
            let error = answer.json()["error"].as_str().map(str::to_owned);
            assert_eq!((answer.status, error.as_deref()), (400, Some("invalid_grant")), "{}", answer.text());
        } else {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(asked(&world), if ends { 2 } else { 1 });
        assert_eq!(world.admits(&tokens.access), !ends, "{kind}");
    }
}

#[test]
fn t197_who_is_put_out_of_the_group_is_out_when_the_provider_says_so() {
    let world = World::with(|config| {
        as_provider(config, "dex", &json!({}));
        config["allowedPeople"] = json!({ "groups": ["staff"] });
    });
    let client = world.public_client("A client");
    let script =
        Script { members: json!({ "expires_in": 200 }), claims: json!({ "groups": ["staff"] }), ..Script::default() };
    let tokens = session_of(&world, &client, |ask| ask, script);
    world.provider.refreshes(|script| script.claims = json!({ "groups": ["guests"] }));
    assert_eq!(world.refresh(&client, &tokens.refresh).status, 400);
    assert!(!world.admits(&tokens.access));
}

#[test]
fn seed_bug_30_t198_an_answer_that_is_no_good_changes_nothing_but_the_refresh_token() {
    let (world, client) = like_dex();
    let tokens = session(&world, &client, 200);
    for claims in [json!({ "sub": "mallory" }), json!({ "aud": "another" }), json!({ "iss": "https://evil.example" })] {
        world.provider.refreshes(|script| script.claims = claims.clone());
        let answer = world.refresh(&client, &tokens.refresh);
        assert_eq!(answer.status, 200, "{claims}: {}", answer.text());
        assert!(expires_in(&answer) <= 200);
    }
    for members in [json!({ "expires_in": "300" }), json!({ "token_type": "N_A" }), json!({ "access_token": null })] {
        world.provider.refreshes(|script| script.members = members.clone());
        let answer = world.refresh(&client, &tokens.refresh);
        assert_eq!(answer.status, 200, "{members}: {}", answer.text());
        assert!(expires_in(&answer) <= 200);
    }
    world.provider.refreshes(|_| {});
    let answer = world.refresh(&client, &tokens.refresh);
    assert!(expires_in(&answer) > 200, "the successor was kept: {}", answer.text());
    assert_eq!(world.call("/mcp", &Tokens::of(&answer).access).status, 200);
    assert_eq!(world.upstream.seen().pop().unwrap().header("X-Forwarded-User"), Some("ada"));
}

#[test]
fn m13_a_provider_that_gives_its_refresh_token_once_is_asked_with_that_one_ever_after() {
    let world = World::with(|config| as_provider(config, "google", &json!({ "bindToProvider": true })));
    let client = world.public_client("A client");
    session(&world, &client, 200);
    let script = Script { members: json!({ "expires_in": 200, "refresh_token": Value::Null }), ..Script::default() };
    let mut tokens = session_of(&world, &client, |ask| ask, script);
    for _ in 0..3 {
        world.provider.refreshes(|script| script.members = json!({ "expires_in": 250, "refresh_token": Value::Null }));
        let answer = world.refresh(&client, &tokens.refresh);
        assert_eq!(answer.status, 200, "{}", answer.text());
        tokens = Tokens::of(&answer);
    }
    assert_eq!(asked(&world), 3);
}
