//! Whoever watches sessions: the operator's receiver beyond a webhook, and a program that the gate is part of.

use super::harness::browser::call_request;
use super::harness::{
    Answer, Client, Gate, Provider, Request, Script, Tokens, Upstream, World, configuration, eventually,
};
use super::operator;
use super::two::session_of;
use portcullis::embed::{Change, Lifecycle, SessionRefreshed, Visitor, Watcher};
use ring::hmac;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex};

const SECRET: &str = "a-secret-of-the-webhook-0123456789";

/// A gate that tells this receiver.
fn telling(url: &str) -> World {
    operator::with(|config| config["webhook"] = json!({ "url": url, "secret": SECRET }))
}

fn of(world: &World, client: &Client, subject: &str) -> Tokens {
    session_of(world, client, |ask| ask, Script::claims(json!({ "sub": subject })))
}

/// What a receiver was told, whether it took it or not: each call's events. Every call is as the manual says.
fn told(receiver: &Upstream) -> Vec<Vec<Value>> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let seen = receiver.seen();
    let calls = seen.iter().map(|seen| {
        assert_eq!((seen.method(), seen.header("content-type")), ("POST", Some("application/json")));
        let timestamp = seen.header("portcullis-timestamp").unwrap();
        assert!(timestamp.parse::<u64>().unwrap().abs_diff(super::harness::provider::now()) < 60);
        let signature = seen.header("portcullis-signature").unwrap().strip_prefix("v1=").unwrap();
        let signed = [timestamp.as_bytes(), b".", &seen.body].concat();
        let expected: String = hmac::sign(&key, &signed).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(signature, expected);
        for name in ["authorization", "cookie"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        body["events"].as_array().unwrap().clone()
    });
    calls.collect()
}

fn names(events: &[Value]) -> Vec<String> {
    events.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

/// All events, each once, in the order of their first call.
fn all(receiver: &Upstream) -> Vec<Value> {
    let mut ids = BTreeSet::new();
    let events = told(receiver).into_iter().flatten();
    events.filter(|event| ids.insert(event["id"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn m19_the_receiver_is_told_what_becomes_of_a_session_in_order() {
    let receiver = Upstream::start();
    let world = telling(&format!("{}/events", receiver.url()));
    let client = world.public_client("A client");
    let mut tokens = of(&world, &client, "ada");
    world.call("/mcp", &tokens.access);
    let name = world.upstream.seen().pop().unwrap().header("X-Session-Id").unwrap().to_owned();
    let handed_out = [tokens.access.clone(), tokens.refresh.clone()];
    for _ in 0..3 {
        tokens = Tokens::of(&world.refresh(&client, &tokens.refresh));
    }
    assert_eq!(world.revoke(&client, &tokens.refresh).status, 200);
    let expected =
        ["session_created", "session_refreshed", "session_refreshed", "session_refreshed", "session_revoked"];
    eventually("all is told", || all(&receiver).len() == expected.len());
    let events = all(&receiver);
    assert_eq!(names(&events), expected);
    for event in &events {
        assert_eq!((&event["session"], &event["x_session_id"]), (&events[0]["session"], &json!(name)));
        assert_eq!(event["person"], events[0]["person"]);
        assert!(event["at_ms"].as_u64().unwrap() > 1_700_000_000_000);
    }
    assert_eq!((&events[0]["subject"], &events[0]["issuer"]), (&json!("ada"), &json!(world.provider.issuer())));
    assert_eq!((&events[0]["because"], &events[4]["because"]), (&json!("token_issued"), &json!("token_revoked")));
    // The operator's interface knows the session by that name.
    let path = format!("/sessions/{}", events[0]["session"].as_str().unwrap());
    assert_eq!(operator::ask(&world, Request::get(&path)).json()["state"], json!("revoked"));
    for seen in receiver.seen() {
        assert_eq!(seen.target(), "/events");
        let text = String::from_utf8(seen.bytes).unwrap();
        for secret in handed_out.iter().chain(&world.provider.handed_out()).chain([&SECRET.to_owned()]) {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
    }
}

#[test]
fn m19_what_the_operator_and_the_provider_end_is_told_as_widely_as_it_ends() {
    let receiver = Upstream::start();
    let world = telling(&receiver.url());
    let client = world.public_client("A client");
    of(&world, &client, "ada");
    operator::done(&world, "/cuts", json!({ "subject": "ada" }));
    operator::done(&world, "/cuts", json!({ "client_id": client.id, "keep_out": true }));
    operator::done(&world, "/cuts", json!({ "sid": "there" }));
    operator::done(&world, "/cuts", json!({ "everything": true }));
    let expected =
        ["session_created", "person_revoked", "client_revoked", "provider_session_revoked", "everything_revoked"];
    eventually("all is told", || all(&receiver).len() == expected.len());
    let events = all(&receiver);
    assert_eq!(names(&events), expected);
    assert_eq!(events[1]["person"], events[0]["person"]);
    assert_eq!(events[2]["client"], events[0]["client"]);
    assert_eq!(events[2]["because"], json!("operator_blocked"));
}

#[test]
fn m19_what_is_refused_is_told_again_as_it_was_and_what_comes_after_waits_for_it() {
    let receiver = Upstream::start();
    let mut calls = 0;
    receiver.answers(move |_| {
        calls += 1;
        // A redirect is a refusal: signed events go nowhere else.
        let elsewhere = [("Location", "http://127.0.0.1:9/")];
        match calls {
            1 => Answer::whole("503 Service Unavailable", &[], ""),
            2 => Answer::whole("307 Temporary Redirect", &elsewhere, ""),
            _ => Answer::whole("204 No Content", &[], ""),
        }
    });
    let world = telling(&receiver.url());
    let client = world.public_client("A client");
    let tokens = of(&world, &client, "ada");
    assert_eq!(world.revoke(&client, &tokens.refresh).status, 200);
    eventually("all is taken", || {
        world.counted("portcullis_webhook_calls_total{taken=\"yes\"}") >= 1 && all(&receiver).len() == 2
    });
    assert_eq!(names(&all(&receiver)), ["session_created", "session_revoked"]);
    let bodies: Vec<Vec<u8>> = receiver.seen().into_iter().map(|seen| seen.body).collect();
    assert!(bodies.len() >= 3 && bodies[0] == bodies[1] && bodies[1] == bodies[2], "the same, until it is taken");
    assert_eq!(world.counted("portcullis_webhook_calls_total{taken=\"no\"}"), 2);
    assert_eq!(world.counted("portcullis_watch_lost_total{watcher=\"webhook\"}"), 0);
}

#[test]
fn m19_a_receiver_that_hangs_costs_nobody_anything() {
    // It takes connections, and never says a word.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let world = telling(&format!("http://{}", silent.local_addr().unwrap()));
    let client = world.public_client("A client");
    for _ in 0..20 {
        let tokens = of(&world, &client, "ada");
        assert!(world.admits(&tokens.access));
        assert_eq!(world.revoke(&client, &tokens.refresh).status, 200);
    }
    // The first call is still under way: what came with it and behind it waits.
    assert_eq!(world.counted("portcullis_webhook_calls_total{taken=\"yes\"}"), 0);
    let waiting = world.counted("portcullis_watch_waiting{watcher=\"webhook\"}");
    assert!(waiting > 0 && waiting <= 40, "{waiting}");
    assert_eq!(world.counted("portcullis_watch_lost_total{watcher=\"webhook\"}"), 0);
}

/// A program that writes down what it is told.
#[derive(Default)]
struct Notebook {
    entered: Mutex<Vec<Visitor>>,
    changes: Mutex<Vec<Lifecycle>>,
}

impl Watcher for Notebook {
    fn authenticated(&self, visitor: &Visitor) {
        self.entered.lock().unwrap().push(visitor.clone());
    }

    fn changed(&self, change: &Lifecycle) {
        self.changes.lock().unwrap().push(*change);
    }
}

impl Notebook {
    fn changes(&self) -> Vec<Change> {
        self.changes.lock().unwrap().iter().map(|change| change.change).collect()
    }
}

#[test]
fn m18_m19_a_program_is_told_of_everybody_and_may_refresh_and_end_a_session() {
    let (provider, upstream, notebook) = (Provider::start(), Upstream::start(), Arc::new(Notebook::default()));
    let mut config = configuration(&provider, &upstream);
    super::people::as_provider(&mut config, "dex", &json!({}));
    let gate = Gate::watched(&config, Arc::clone(&notebook) as Arc<dyn Watcher>);
    gate.until_ready();
    let sessions = gate.sessions();
    let world = World::around(gate, provider, upstream);
    let client = world.public_client("A client");
    let tokens = of(&world, &client, "ada");
    for _ in 0..3 {
        assert_eq!(world.send(&call_request("/mcp", &tokens.access)).status, 200);
    }
    assert_eq!(world.call("/mcp", "x").status, 401);
    eventually("three were let in", || notebook.entered.lock().unwrap().len() == 3);
    let visitor = notebook.entered.lock().unwrap()[0].clone();
    assert_eq!((visitor.claims.subject.as_str(), visitor.scopes.line()), ("ada", "mcp"));
    let id = visitor.id.unwrap();
    assert_eq!(notebook.changes(), [Change::Created]);
    assert_eq!(notebook.changes.lock().unwrap()[0].session, Some(id));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(matches!(runtime.block_on(sessions.refresh(id)), Ok(SessionRefreshed::Fresh(_))));
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    world.provider.refreshes(|_| {});
    assert!(matches!(runtime.block_on(sessions.refresh(id)), Ok(SessionRefreshed::Refreshed(_))));
    eventually("it is told of it", || notebook.changes() == [Change::Created, Change::ProviderRefreshed]);
    assert!(world.admits(&tokens.access));
    assert_eq!(runtime.block_on(sessions.end(id)), Ok(true));
    assert!(!world.admits(&tokens.access));
    assert!(runtime.block_on(sessions.refresh(id)).is_err());
    eventually("it is told of the end", || notebook.changes().last() == Some(&Change::Revoked));
}
