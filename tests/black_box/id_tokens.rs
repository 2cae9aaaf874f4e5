//! The person's ID token as bearer for the MCP server (M20): as the provider signed it, kept fresh, never one that has ended, and with
//! no call of the provider but those that bring one.

use super::embedding::Whoami;
use super::harness::browser::call_request;
use super::harness::http::fields;
use super::harness::provider::now;
use super::harness::upstream::Seen;
use super::harness::{
    Answer, Client, Gate, Provider, Request, Script, Tokens, Upstream, World, at_once, configuration, eventually,
};
use super::strangers::{CLUSTER, id_token};
use super::two::session_of;
use super::upstream_tokens::asked;
use crate::harness::provider::{jwk, sign};
use crate::valkey::{Make, Reply, Server};
use portcullis::embed::Embedded;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A gate whose MCP server is shown the ID token.
fn world() -> World {
    World::with(shown)
}

fn shown(config: &mut Value) {
    config["resources"][0]["identity"] = json!("idToken");
}

/// A session of a login whose ID token lives for at least so many seconds, and less than one more.
fn session(world: &World, client: &Client, seconds: u64, members: Value) -> Tokens {
    let claims = json!({ "exp": now() + seconds + 1 });
    session_of(world, client, |ask| ask, Script { claims, members, ..Script::default() })
}

fn bearer(seen: &Seen) -> String {
    seen.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap().to_owned()
}

/// What the MCP server was shown last.
fn last(world: &World) -> String {
    bearer(world.upstream.seen().last().unwrap())
}

/// The ID tokens that the provider has signed, in their order.
fn signed(world: &World) -> Vec<String> {
    world.provider.handed_out().into_iter().filter(|text| text.matches('.').count() == 2).collect()
}

/// The provider answers refreshes with ID tokens that live for an hour.
fn gives(world: &World, change: impl FnOnce(&mut Script)) {
    world.provider.refreshes(|script| {
        script.claims = json!({ "exp": now() + 3_600 });
        change(script);
    });
}

fn away(script: &mut Script) {
    script.instead = Some(("503 Service Unavailable".to_owned(), "text/plain".to_owned(), Vec::new()));
}

/// Calls until the server is shown another ID token than this one.
fn until_another(world: &World, tokens: &Tokens, than: &str) {
    eventually("another ID token is shown", || {
        let answer = world.call("/mcp", &tokens.access);
        assert_eq!(answer.status, 200, "{}", answer.text());
        last(world) != than
    });
}

/// Calls until the gate answers with this status, which it is about to.
fn until_status(world: &World, tokens: &Tokens, status: u16) {
    eventually("the ID token has ended", || {
        let answer = world.call("/mcp", &tokens.access);
        assert!(answer.status == 200 || answer.status == status, "{} {}", answer.status, answer.text());
        answer.status == status
    });
}

#[test]
fn m20_t145_seed_bug_01_the_server_is_shown_the_id_token_of_the_login_and_the_provider_is_not_asked() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let before = world.provider.all();
    for _ in 0..5 {
        let answer = world.send(&call_request("/mcp", &tokens.access).header("X-Forwarded-User", "root"));
        assert_eq!(answer.status, 200);
    }
    let seen = world.upstream.seen();
    assert_eq!(signed(&world).len(), 1);
    for seen in &seen {
        assert_eq!(bearer(seen), signed(&world)[0]);
        assert_eq!(seen.header("x-forwarded-user"), Some("ada"));
        assert_eq!(seen.header("x-forwarded-email"), Some("ada@example.com"));
        assert!(!String::from_utf8_lossy(&seen.bytes).contains(&tokens.access), "the client's own token");
    }
    assert_eq!(world.provider.all(), before, "no call of the provider");
    // A client's refresh changes nothing in it; another login of the person brings another one, for all of their sessions.
    let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert!(world.admits(&next.access));
    assert_eq!(last(&world), signed(&world)[0]);
    let again = session(&world, &client, 299, json!({}));
    for access in [&again.access, &next.access] {
        assert!(world.admits(access));
        assert_eq!(last(&world), signed(&world)[1]);
    }
    assert_eq!(asked(&world), 0);
}

#[test]
fn m20_seed_bug_21_it_is_renewed_before_it_ends_once_for_everybody_and_with_the_newest_refresh_token() {
    let world = world();
    let client = world.public_client("A client");
    let sessions: Vec<Tokens> = (0..4).map(|_| session(&world, &client, 6, json!({}))).collect();
    // One session of each is enough to renew it for all, and the crowd waits for one call.
    gives(&world, |script| {
        script.delay = Duration::from_millis(50);
        script.claims = json!({ "exp": now() + 16 });
    });
    let first = signed(&world).last().unwrap().clone();
    eventually("it is time to renew it", || {
        at_once(8, |place| assert_eq!(world.call("/mcp", &sessions[place % 4].access).status, 200));
        asked(&world) > 0
    });
    assert_eq!(asked(&world), 1, "one person, one call");
    until_another(&world, &sessions[0], &first);
    let second = last(&world);
    for tokens in &sessions {
        assert!(world.admits(&tokens.access));
        assert_eq!(last(&world), second);
    }
    assert_eq!(asked(&world), 1);
    // The refresh token of the login is spent; its successor brings the next one.
    gives(&world, |_| {});
    until_another(&world, &sessions[1], &second);
    assert_eq!((last(&world), asked(&world)), (signed(&world).last().unwrap().clone(), 2));
}

#[test]
fn seed_bug_27_who_hangs_up_while_the_id_token_is_renewed_fails_nobody_else() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 0, json!({}));
    gives(&world, |script| script.delay = Duration::from_millis(300));
    eventually("it has ended, and is being renewed", || {
        let mut leader = world.connect();
        leader.send(&call_request("/mcp", &tokens.access));
        let end = std::time::Instant::now() + Duration::from_millis(100);
        while asked(&world) == 0 && std::time::Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        asked(&world) > 0
    });
    until_another(&world, &tokens, &signed(&world)[0]);
    assert_eq!(asked(&world), 1);
}

#[test]
fn m20_t201_while_the_provider_is_away_it_serves_to_its_end_and_then_a_client_is_told_to_come_again() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 4, json!({}));
    world.provider.refreshes(away);
    until_status(&world, &tokens, 503);
    let (calls, passed) = (asked(&world), world.upstream.seen().len());
    assert!(world.upstream.seen().iter().all(|seen| bearer(seen) == signed(&world)[0]));
    // Five seconds, a try for each of them and one more at each end of them: not one for every request.
    assert!((1..=7).contains(&calls) && passed > 20, "{calls} calls for {passed} requests");
    for _ in 0..20 {
        let refused = world.call("/mcp", &tokens.access);
        refused.refuses(503, "temporarily_unavailable");
        assert!(refused.header("retry-after").is_some() && refused.header("www-authenticate").is_none());
    }
    assert_eq!(world.upstream.seen().len(), passed, "nobody came through without one");
    // Nobody has lost their session: the client's refresh goes on, and the provider comes back.
    let next = Tokens::of(&world.refresh(&client, &tokens.refresh));
    gives(&world, |_| {});
    eventually("it is back", || world.call("/mcp", &next.access).status == 200);
    assert_eq!(last(&world), signed(&world)[1]);
}

#[test]
fn m20_t194_a_slow_provider_holds_up_nobody_whose_id_token_is_good() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 12, json!({}));
    gives(&world, |script| script.delay = Duration::from_secs(5));
    eventually("it is being renewed", || world.call("/mcp", &tokens.access).status == 200 && asked(&world) == 1);
    // The provider has not answered yet, and everybody is served.
    for _ in 0..20 {
        assert!(world.admits(&tokens.access));
    }
    assert_eq!((signed(&world).len(), asked(&world)), (1, 1));
    assert!(world.upstream.seen().iter().all(|seen| bearer(seen) == signed(&world)[0]));
    until_another(&world, &tokens, &signed(&world)[0]);
    assert_eq!(asked(&world), 1);
}

#[test]
fn m20_p05_what_the_provider_refuses_twice_ends_the_sessions_and_no_id_token_goes_out_any_more() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 8, json!({}));
    world.provider.forget_refresh_tokens();
    until_status(&world, &tokens, 401);
    assert_eq!(asked(&world), 2, "a refusal counts when it comes again");
    let refused = world.call("/mcp", &tokens.access);
    refused.refuses(401, "invalid_token");
    let challenge = refused.header("www-authenticate").unwrap();
    assert!(challenge.contains("resource_metadata=") && challenge.contains(r#"error="invalid_token""#), "{challenge}");
    world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
    assert!(world.admits(&world.tokens(&client).access), "a login brings another one");
    assert_eq!((last(&world), asked(&world)), (signed(&world)[1].clone(), 2));
}

#[test]
fn m20_without_a_refresh_token_the_client_is_sent_to_log_in_when_the_id_token_has_ended() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 1, json!({ "refresh_token": null }));
    assert_eq!(world.refresh(&client, &tokens.refresh).status, 200, "as long as it is good");
    until_status(&world, &tokens, 401);
    let refused = world.call("/mcp", &tokens.access);
    refused.refuses(401, "invalid_token");
    let challenge = refused.header("www-authenticate").unwrap();
    for part in ["Bearer ", "resource_metadata=", r#"scope="mcp""#, r#"error="invalid_token""#, "Authorize again"] {
        assert!(challenge.contains(part), "{challenge}");
    }
    // A client that refreshes first must not come back with another token that is refused again.
    world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
    assert!(world.admits(&world.tokens(&client).access));
    assert_eq!(asked(&world), 0);
}

#[test]
fn m20_an_answer_without_an_id_token_does_not_pass_on_one_that_has_ended() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 5, json!({}));
    gives(&world, |script| script.members = json!({ "id_token": null }));
    until_status(&world, &tokens, 401);
    assert!(world.upstream.seen().iter().all(|seen| bearer(seen) == signed(&world)[0]));
    assert_eq!(asked(&world), 2, "once in time, and once more when it had ended");
    for _ in 0..10 {
        world.call("/mcp", &tokens.access).refuses(401, "invalid_token");
    }
    assert_eq!(asked(&world), 2, "there is nothing to be asked for");
    world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
    assert!(world.admits(&world.tokens(&client).access));
}

#[test]
fn m20_t189_t194_what_cannot_be_believed_is_shown_to_nobody() {
    let wrong: [fn(&mut Script); 7] = [
        |script| script.claims = json!({ "sub": "mallory", "exp": now() + 3_600 }),
        |script| script.claims = json!({ "aud": "another", "exp": now() + 3_600 }),
        |script| script.claims = json!({ "exp": now() - 120 }),
        |script| script.seed = *b"nobody has published this seed!!",
        |script| script.rewrite = Some(Box::new(|token| format!("{token}x"))),
        |script| script.members = json!({ "id_token": "not a token" }),
        |script| {
            script.instead = Some(("200 OK".to_owned(), "application/json".to_owned(), b"{\"access_token\":".to_vec()));
        },
    ];
    let world = world();
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 0, json!({}));
    world.provider.refreshes(away);
    until_status(&world, &tokens, 503);
    let passed = world.upstream.seen().len();
    for (number, wrong) in wrong.into_iter().enumerate() {
        let before = asked(&world);
        world.provider.refreshes(wrong);
        eventually("the provider is asked again", || {
            world.call("/mcp", &tokens.access).refuses(503, "temporarily_unavailable");
            asked(&world) > before
        });
        assert_eq!(world.upstream.seen().len(), passed, "{number}");
    }
    gives(&world, |_| {});
    eventually("a good one comes", || world.call("/mcp", &tokens.access).status == 200);
    assert_eq!(&last(&world), signed(&world).last().unwrap());
}

#[test]
fn m20_a_provider_whose_id_tokens_live_for_no_time_is_not_asked_at_every_request() {
    let world = world();
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 0, json!({}));
    world.provider.refreshes(|script| script.claims = json!({ "exp": now() - 20 }));
    until_status(&world, &tokens, 503);
    let before = asked(&world);
    let begin = std::time::Instant::now();
    for _ in 0..60 {
        world.call("/mcp", &tokens.access).refuses(503, "temporarily_unavailable");
    }
    let most = usize::try_from(begin.elapsed().as_secs()).unwrap() + 2;
    assert!(asked(&world) - before <= most, "{} in {:?}", asked(&world) - before, begin.elapsed());
}

#[test]
fn m20_m21_a_trusted_id_token_is_shown_itself_and_whoever_has_none_is_told_to_log_in() {
    let cluster = Arc::new(Upstream::start());
    let keys = json!({ "keys": [jwk(&CLUSTER, "one")] }).to_string();
    cluster.answers(move |_| Answer::json(&keys));
    let issuer = cluster.url();
    let world = World::with(|config| {
        shown(config);
        config["trustedAudiences"] = json!(["kubectl"]);
        config["trustedIssuers"] = json!([{
            "issuer": issuer, "jwksUrl": format!("{issuer}/jwks"), "allowedScopes": ["mcp"], "acceptedTypHeaders": [""],
        }]);
    });
    let kubectl = id_token(&world, "kubectl", &json!({}));
    for _ in 0..2 {
        assert_eq!(world.call("/mcp", &kubectl).status, 200);
        assert_eq!(last(&world), kubectl);
    }
    let claims = json!({ "iss": issuer, "sub": "robot", "aud": "https://gate.example/mcp", "exp": now() + 600 });
    let robot = sign(&CLUSTER, r#"{"alg":"EdDSA","kid":"one"}"#, &claims.to_string());
    for _ in 0..2 {
        let refused = world.call("/mcp", &robot);
        refused.refuses(401, "invalid_token");
        assert!(refused.header("www-authenticate").unwrap().contains("Authorize again"));
    }
    assert_eq!(world.upstream.seen().len(), 2);
}

#[test]
fn m11_m20_a_proxy_that_asks_is_told_the_id_token() {
    let world = World::with(|config| {
        shown(config);
        config["resources"][0]["forwardAuth"] = json!(true);
        config["trustedProxyCIDRs"] = json!(["127.0.0.0/8"]);
    });
    let tokens = world.tokens(&world.public_client("A client"));
    let answer = world.send(&Request::get("/oauth/forward-auth/mcp").bearer(&tokens.access));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("authorization"), Some(format!("Bearer {}", signed(&world)[0]).as_str()));
}

#[test]
fn m19_m20_an_embedded_service_is_given_the_id_token() {
    let (provider, upstream, seen) = (Provider::start(), Upstream::start(), Arc::new(Mutex::new(Vec::new())));
    let mut config = configuration(&provider, &upstream);
    shown(&mut config);
    config["resources"][0]["upstream"] = json!("embedded");
    let gate = Gate::embedding(&config, vec![("/mcp".to_owned(), Embedded::new(Whoami(Arc::clone(&seen))))]);
    gate.until_ready();
    let world = World::around(gate, provider, upstream);
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 2, json!({}));
    assert!(world.admits(&tokens.access));
    let first = signed(&world)[0].clone();
    assert_eq!(seen.lock().unwrap().pop().unwrap(), (Some(first.clone()), Some(format!("Bearer {first}"))));
    gives(&world, |_| {});
    eventually("the next one is given", || {
        assert!(world.admits(&tokens.access));
        seen.lock().unwrap().pop().unwrap().0 != Some(first.clone())
    });
    assert_eq!((signed(&world).len(), asked(&world)), (2, 1));
}

#[test]
fn m20_the_id_token_is_what_a_downstream_server_is_shown_for_a_token_of_its_own() {
    let dex = Upstream::start();
    let world = World::with(|config| {
        config["resources"][0]["identity"] = json!("exchange");
        config["resources"][0]["exchange"] = json!({
            "tokenEndpoint": format!("{}/dex/token", dex.url()),
            "clientId": "the-gate",
            "clientSecret": "downstream-secret",
            "subjectToken": "idToken",
            "requestedTokenType": "accessToken",
            "expectedIssuer": "https://downstream.example",
        });
    });
    let token = sign(&CLUSTER, r#"{"alg":"EdDSA"}"#, r#"{"iss":"https://downstream.example"}"#);
    let body = json!({ "access_token": token, "token_type": "bearer", "expires_in": 2 }).to_string();
    dex.answers(move |_| Answer::json(&body));
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 2, json!({}));
    let subjects = || -> Vec<(String, String)> {
        let form = |seen: &Seen| fields(std::str::from_utf8(&seen.body).unwrap());
        let field = |form: &[(String, String)], wanted: &str| {
            form.iter().find(|(name, _)| name == wanted).map_or_else(String::new, |(_, value)| value.clone())
        };
        let seen = dex.seen();
        seen.iter().map(form).map(|form| (field(&form, "subject_token_type"), field(&form, "subject_token"))).collect()
    };
    assert!(world.admits(&tokens.access) && world.admits(&tokens.access));
    let kind = "urn:ietf:params:oauth:token-type:id_token".to_owned();
    assert_eq!(subjects(), [(kind.clone(), signed(&world)[0].clone())], "exchanged once");
    assert_eq!(last(&world), token);
    // The next exchange is of an ID token that is good then.
    gives(&world, |_| {});
    eventually("a fresh one is exchanged", || {
        assert!(world.admits(&tokens.access));
        subjects().last() == Some(&(kind.clone(), signed(&world).last().unwrap().clone())) && asked(&world) == 1
    });
    // While none can be had, the one that was given before serves to its end.
    assert_eq!(last(&world), token);
}

#[test]
fn p09_m20_a_server_that_exchanges_id_tokens_is_not_asked_without_one() {
    let dex = Upstream::start();
    let world = World::with(|config| {
        config["resources"][0]["identity"] = json!("exchange");
        config["resources"][0]["exchange"] = json!({
            "tokenEndpoint": format!("{}/token", dex.url()),
            "clientId": "the-gate",
            "clientSecret": "downstream-secret",
            "subjectToken": "idToken",
        });
    });
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 0, json!({ "refresh_token": null }));
    eventually("it has ended", || {
        let answer = world.call("/mcp", &tokens.access);
        assert!(matches!(answer.status, 401 | 502), "{} {}", answer.status, answer.text());
        answer.status == 401
    });
    let before = dex.seen().len();
    world.call("/mcp", &tokens.access).refuses(401, "invalid_token");
    world.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
    assert_eq!((dex.seen().len(), world.upstream.seen().len()), (before, 0));
}

/// A gate that keeps its sessions there.
fn on(server: &Server, provider: &Provider, upstream: &Upstream, change: impl FnOnce(&mut Value)) -> Gate {
    let mut config = configuration(provider, upstream);
    config["storage"] = json!({ "type": "valkey", "valkey": { "url": server.url() } });
    change(&mut config);
    let gate = Gate::start(&config);
    gate.until_ready();
    gate
}

#[test]
fn m20_seed_bug_02_an_id_token_comes_back_from_the_server_that_keeps_it_and_stands_nowhere_in_it() {
    let server = Server::start(Make::Valkey9);
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let (first, other) = (on(&server, &provider, &upstream, shown), on(&server, &provider, &upstream, shown));
    let mut world = World::around(first, provider.clone(), upstream);
    let client = world.public_client("A client");
    let tokens = session(&world, &client, 4, json!({}));
    // Another gate, which has seen nothing of the login, and both of them together when it is time to renew it.
    let other = std::mem::replace(&mut world.gate, other);
    assert!(world.admits(&tokens.access));
    assert_eq!(last(&world), signed(&world)[0]);
    gives(&world, |script| script.delay = Duration::from_millis(100));
    let gates = [&world.gate, &other];
    eventually("it is renewed", || {
        at_once(4, |place| {
            let request = call_request("/mcp", &tokens.access);
            assert_eq!(gates[place % 2].connect(std::net::Ipv4Addr::LOCALHOST).last(&request).status, 200);
        });
        last(&world) != signed(&world)[0]
    });
    assert_eq!(asked(&world), 1, "one call of two gates");
    let kept: Vec<Reply> =
        server.ask(&["KEYS", "*"]).list().iter().map(|key| server.ask(&["GET", &key.text()])).collect();
    let identity = kept.iter().filter(|value| matches!(value, Reply::Bulk(bytes) if bytes.len() > 500)).count();
    assert!(identity > 0, "there is a record that an ID token could stand in");
    for secret in provider.handed_out() {
        let part = secret.rsplit('.').next().unwrap();
        let stands = |value: &Reply| value.text().contains(part);
        assert!(!kept.iter().any(stands), "{part} stands there in the clear");
    }
}

#[test]
fn m20_a_session_from_before_the_form_gets_its_id_token_by_the_refresh_token() {
    let server = Server::start(Make::Valkey9);
    let (provider, upstream) = (Provider::start(), Upstream::start());
    let (before, after) = (on(&server, &provider, &upstream, |_| {}), on(&server, &provider, &upstream, shown));
    let mut world = World::around(before, provider.clone(), upstream);
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    assert!(world.admits(&tokens.access));
    world.gate = after;
    provider.refreshes(|_| {});
    // The login was a moment ago, and the provider has a moment's rest after each answer.
    eventually("it is shown one", || world.call("/mcp", &tokens.access).status == 200);
    assert_eq!((last(&world), asked(&world)), (signed(&world)[1].clone(), 1));
}
