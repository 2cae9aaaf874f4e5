//! What the provider ends, and what the operator's receiver is told of it, at two gates with one store (T158, M19).

use crate::fleet::{Fleet, storage};
use crate::harness::browser::call_request;
use crate::harness::provider::{SEED, now, sign};
use crate::harness::{Ask, Client, PROVIDER_CLIENT, Pkce, Request, Script, Tokens, Upstream, World, eventually};
use crate::valkey::{Make, Options, Persistence, Proxy, Server};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(1);
const SECRET: &str = "a-secret-of-the-webhook-0123456789";

/// A session of a login with these claims.
fn of(world: &World, client: &Client, claims: Value) -> Tokens {
    let pkce = Pkce::new();
    let code = world.code_for(&Ask::of(client, &pkce), Script::claims(claims));
    Tokens::of(&world.exchange(client, &code, &pkce))
}

/// The status of the answer to a good logout token with these claims.
fn log_out(world: &World, number: usize, who: &Value) -> u16 {
    let mut claims = json!({
        "iss": world.provider.issuer(), "aud": PROVIDER_CLIENT, "iat": now(), "exp": now() + 120, "jti": format!("logout-{number}"),
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    for (name, value) in who.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let token = sign(&SEED, r#"{"alg":"EdDSA","kid":"first","typ":"logout+jwt"}"#, &claims.to_string());
    world.send(&Request::form("/oauth/backchannel-logout", &[("logout_token", token)])).status
}

#[test]
fn p05_t158_a_logout_at_the_provider_that_one_replica_hears_of_ends_the_session_at_the_other_within_a_second() {
    let server = Server::start(Make::Valkey9);
    let fleet = Fleet::start(2, &storage(server.address()));
    let client = fleet.at(0).public_client("A client");
    for round in 0..20 {
        let (here, there) = (fleet.at(round % 2), fleet.at((round + 1) % 2));
        let (sid, beside) = (format!("s-{round}"), format!("beside-{round}"));
        let tokens = of(here, &client, json!({ "sid": sid }));
        let other = of(there, &client, json!({ "sid": beside }));
        for world in [here, there] {
            for access in [&tokens.access, &other.access] {
                assert_eq!(world.call("/mcp", access).status, 200);
            }
        }
        let mut asking = there.connect();
        let by_person = round % 4 == 3;
        let who = if by_person { json!({ "sub": "ada" }) } else { json!({ "sid": sid, "sub": "ada" }) };
        assert_eq!(log_out(here, round, &who), 200);
        let ended = Instant::now();
        assert_eq!(here.call("/mcp", &tokens.access).status, 401, "at once where it was answered");
        while asking.exchange(&call_request("/mcp", &tokens.access)).status != 401 {
            assert!(ended.elapsed() < BOUND, "{:?}", ended.elapsed());
        }
        there.refresh(&client, &tokens.refresh).refuses(400, "invalid_grant");
        if by_person {
            eventually("all of the person is over", || there.call("/mcp", &other.access).status == 401);
        } else {
            assert_eq!(there.call("/mcp", &other.access).status, 200, "another session there is not over");
        }
        // The same token counts once, whichever replica it is shown to.
        assert_eq!(log_out(there, round, &who), 400);
    }
}

/// Every event that the receiver was told of, in the order of its coming, each once.
fn told(receiver: &Upstream) -> Vec<Value> {
    let mut ids = BTreeSet::new();
    let calls = receiver.seen().into_iter().map(|seen| serde_json::from_slice::<Value>(&seen.body).unwrap());
    let events = calls.flat_map(|call| call["events"].as_array().unwrap().clone());
    events.filter(|event| ids.insert(event["id"].as_str().unwrap().to_owned())).collect()
}

fn telling(storage: &Value, receiver: &Upstream) -> Fleet {
    let mut fleet = Fleet::empty();
    for _ in 0..2 {
        fleet.add(|config| {
            config["storage"] = storage.clone();
            config["webhook"] = json!({ "url": receiver.url(), "secret": SECRET });
        });
    }
    fleet
}

#[test]
fn m19_each_event_is_told_once_by_the_replica_where_it_came_about_and_in_order() {
    let (server, receiver) = (Server::start(Make::Valkey9), Upstream::start());
    let fleet = telling(&storage(server.address()), &receiver);
    let client = fleet.at(0).public_client("A client");
    let sessions = 5;
    for round in 0..sessions {
        let (here, there) = (fleet.at(round % 2), fleet.at((round + 1) % 2));
        let mut tokens = of(here, &client, json!({ "sub": format!("person-{round}") }));
        for _ in 0..3 {
            tokens = Tokens::of(&here.refresh(&client, &tokens.refresh));
        }
        assert_eq!(there.revoke(&client, &tokens.refresh).status, 200);
    }
    assert_eq!(log_out(fleet.at(1), 0, &json!({ "sub": "person-0" })), 200);
    let expected = sessions * 5 + 1;
    eventually("all is told", || told(&receiver).len() >= expected);
    let events = told(&receiver);
    assert_eq!(events.len(), expected, "{events:?}");
    let mut of_session: BTreeMap<String, Vec<(String, String, u64)>> = BTreeMap::new();
    for event in &events {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let process = text("id").rsplit_once('-').unwrap().0.to_owned();
        of_session.entry(text("session")).or_default().push((process, text("event"), event["at_ms"].as_u64().unwrap()));
    }
    let by_person = of_session.remove("").unwrap();
    assert_eq!((by_person.len(), by_person[0].1.as_str()), (1, "person_revoked"));
    assert_eq!(of_session.len(), sessions);
    let mut processes = BTreeSet::new();
    for events in of_session.values() {
        // What the replica did where it began, in order; what the other one did may overtake it, and its time says when it was.
        let began = events.iter().find(|(_, event, _)| event == "session_created").unwrap().0.clone();
        let (own, other): (Vec<_>, Vec<_>) = events.iter().partition(|(process, _, _)| *process == began);
        let own: Vec<&str> = own.into_iter().map(|(_, event, _)| event.as_str()).collect();
        assert_eq!(own, ["session_created", "session_refreshed", "session_refreshed", "session_refreshed"]);
        assert_eq!((other.len(), other[0].1.as_str()), (1, "session_revoked"));
        let mut by_time = events.clone();
        by_time.sort_by_key(|(_, _, at)| *at);
        assert_eq!(by_time.last().unwrap().1, "session_revoked");
        processes.extend([began, other[0].0.clone()]);
    }
    assert_eq!(processes.len(), 2, "each replica has ids of its own");
    for replica in &fleet.replicas {
        assert_eq!(replica.world.counted("portcullis_watch_lost_total{watcher=\"webhook\"}"), 0);
    }
}

#[test]
fn m19_p09_while_the_store_is_away_nothing_is_told_that_has_not_come_about_and_then_all_of_it() {
    let server = Server::with(Options::of(Make::Valkey9).persistence(Persistence::Always));
    let (proxy, receiver) = (Proxy::before(server.address()), Upstream::start());
    let fleet = telling(&storage(proxy.address()), &receiver);
    let (here, there) = (fleet.at(0), fleet.at(1));
    let client = here.public_client("A client");
    let tokens = of(here, &client, json!({ "sid": "s-1" }));
    eventually("the begin is told", || told(&receiver).len() == 1);
    proxy.black_hole(true);
    eventually("it is noticed", || here.call("/mcp", &tokens.access).status == 503);
    assert_eq!(log_out(here, 1, &json!({ "sid": "s-1" })), 503, "what is not known to be done is not said to be");
    here.refresh(&client, &tokens.refresh).refuses(503, "temporarily_unavailable");
    proxy.black_hole(false);
    eventually("the store is back", || {
        there.call("/mcp", &tokens.access).status != 503 && log_out(there, 2, &json!({ "sid": "s-1" })) == 200
    });
    eventually("the session is over at both", || {
        [here, there].iter().all(|world| world.call("/mcp", &tokens.access).status == 401)
    });
    let certain = || told(&receiver).into_iter().filter(|event| event.get("in_doubt").is_none()).collect::<Vec<_>>();
    eventually("the end is told", || certain().len() == 2);
    let events = certain();
    assert_eq!(
        (&events[1]["event"], &events[1]["because"]),
        (&json!("provider_session_revoked"), &json!("provider_logout"))
    );
    let doubtful = told(&receiver).into_iter().filter(|event| event["in_doubt"] == true);
    for event in doubtful {
        assert_ne!(event["event"], "session_created", "{event}");
    }
}
