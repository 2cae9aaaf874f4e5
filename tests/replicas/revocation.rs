//! What one gate has ended, none admits a second later (promise P5), and nobody asks the store for what it has already said.

use crate::fleet::{Fleet, storage};
use crate::flows::jitter;
use crate::harness::browser::call_request;
use crate::harness::http::once;
use crate::harness::{Ask, Connection, Pkce, Request, Script, Tokens, World, at_once, eventually};
use crate::valkey::{Make, Proxy, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(1);
const ROUNDS: usize = 100;

/// Lets a gate answer out of memory: the first answers need the store, and a lease.
fn warm(world: &World, tokens: &Tokens) {
    for _ in 0..2 {
        assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    }
}

#[test]
fn p05_t158_what_one_replica_has_revoked_all_others_refuse_within_a_second() {
    let server = Server::start(Make::Valkey9);
    let fleet = Fleet::start(3, &storage(server.address()));
    let client = fleet.at(0).public_client("A client");
    let mut took = Vec::new();
    for round in 0..ROUNDS {
        let by = round % 3;
        let tokens = fleet.at(by).tokens(&client);
        let others: Vec<&World> = (0..3).filter(|other| *other != by).map(|other| fleet.at(other)).collect();
        let mut asking: Vec<Connection> = others.iter().map(|world| world.connect()).collect();
        fleet.replicas.iter().for_each(|replica| warm(&replica.world, &tokens));
        assert_eq!(fleet.at(by).revoke(&client, &tokens.refresh).status, 200);
        let revoked = Instant::now();
        assert_eq!(fleet.at(by).call("/mcp", &tokens.access).status, 401, "at once where it was answered");
        for connection in &mut asking {
            loop {
                match connection.exchange(&call_request("/mcp", &tokens.access)).status {
                    401 => break took.push(revoked.elapsed()),
                    200 => assert!(revoked.elapsed() < BOUND, "{:?}", revoked.elapsed()),
                    other => panic!("{other}"),
                }
            }
        }
    }
    took.sort_unstable();
    let (p99, most) = (took[took.len() * 99 / 100], took[took.len() - 1]);
    println!("a revocation was heard of by {} others: p99 {p99:?}, at the most {most:?}", took.len());
    assert!(most < BOUND);
}

/// Two gates that an operator may tell something.
fn operated(server: &Server) -> Fleet {
    let mut fleet = Fleet::empty();
    for _ in 0..2 {
        fleet.add(|config| {
            config["storage"] = storage(server.address());
            config["adminToken"] = OPERATOR.into();
        });
    }
    fleet
}

const OPERATOR: &str = "an-admin-token-of-a-test-0123456789";

/// The operator tells a gate this, and is answered.
fn operator(world: &World, path: &str, body: &Value) {
    let answer = once(world.gate.admin(), &Request::json(path, body).bearer(OPERATOR));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn p05_what_the_operator_cuts_at_one_replica_all_others_refuse_within_a_second() {
    let server = Server::start(Make::Valkey9);
    let fleet = operated(&server);
    let client = fleet.at(0).public_client("A client");
    for body in [
        json!({ "subject": "ada" }),
        json!({ "client_id": client.id }),
        json!({ "client_id": client.id, "keep_out": true }),
        json!({ "everything": true }),
    ] {
        let tokens = fleet.at(0).tokens(&client);
        fleet.replicas.iter().for_each(|replica| warm(&replica.world, &tokens));
        let mut asking = fleet.at(1).connect();
        operator(fleet.at(0), "/cuts", &body);
        let cut = Instant::now();
        assert_eq!(fleet.at(0).call("/mcp", &tokens.access).status, 401, "at once where it was answered: {body}");
        while asking.exchange(&call_request("/mcp", &tokens.access)).status != 401 {
            assert!(cut.elapsed() < BOUND, "{body}: {:?}", cut.elapsed());
        }
        if body.get("keep_out").is_some() {
            operator(fleet.at(1), "/cuts/lift", &json!({ "client_id": client.id }));
        }
    }
    let tokens = fleet.at(1).tokens(&client);
    warm(fleet.at(0), &tokens);
    operator(fleet.at(1), "/people/erase", &json!({ "subject": "ada" }));
    eventually("the other one knows them no more", || fleet.at(0).call("/mcp", &tokens.access).status == 401);
}

#[test]
fn p05_t257_a_cut_at_one_replica_against_a_code_and_a_refresh_at_the_other_leaves_nothing_alive() {
    let server = Server::start(Make::Valkey9);
    let fleet = operated(&server);
    for round in 0..30 {
        // A client of its own each time: what is cut begins again only two seconds later.
        let (client, pkce) = (fleet.at(1).public_client(&format!("Client {round}")), Pkce::new());
        let script = || Script::person(&format!("person-{round}"));
        let code = fleet.at(1).code_for(&Ask::of(&client, &pkce), script());
        let other = Pkce::new();
        let again = fleet.at(1).code_for(&Ask::of(&client, &other), script());
        let tokens = Tokens::of(&fleet.at(1).exchange(&client, &again, &other));
        let cut = match round % 3 {
            0 => json!({ "subject": format!("person-{round}") }),
            1 => json!({ "client_id": client.id }),
            _ => json!({ "client_id": client.id, "keep_out": true }),
        };
        let answers = at_once(3, |place| {
            jitter(round, place);
            match place {
                0 => {
                    operator(fleet.at(0), "/cuts", &cut);
                    None
                }
                1 => Some(fleet.at(1).exchange(&client, &code, &pkce)),
                _ => Some(fleet.at(1).refresh(&client, &tokens.refresh)),
            }
        });
        for answer in answers.into_iter().flatten() {
            if answer.status != 200 {
                assert!(matches!(answer.status, 400 | 401), "{cut}: {answer:?}");
                continue;
            }
            let won = Tokens::of(&answer);
            assert_eq!(fleet.at(0).call("/mcp", &won.access).status, 401, "at once where the cut was answered: {cut}");
            for replica in 0..2 {
                let refused = fleet.at(replica).refresh(&client, &won.refresh);
                assert!(matches!(refused.status, 400 | 401), "{cut}: {refused:?}");
            }
            eventually("it is refused there too", || fleet.at(1).call("/mcp", &won.access).status == 401);
        }
        let late = fleet.at(1).exchange(&client, &code, &pkce);
        assert!(matches!(late.status, 400 | 401), "{cut}: {late:?}");
    }
}

#[test]
fn p05_a_replica_whose_link_is_a_black_hole_admits_nobody_after_a_second() {
    let server = Server::start(Make::Valkey9);
    let proxy = Proxy::before(server.address());
    let mut fleet = Fleet::start(1, &storage(server.address()));
    fleet.add(|config| config["storage"] = storage(proxy.address()));
    let client = fleet.at(0).public_client("A client");
    let mut longest = Duration::ZERO;
    for _ in 0..5 {
        let tokens = fleet.at(0).tokens(&client);
        warm(fleet.at(1), &tokens);
        proxy.black_hole(true);
        assert_eq!(fleet.at(0).revoke(&client, &tokens.refresh).status, 200);
        let revoked = Instant::now();
        loop {
            // When it was asked counts: without its link a gate takes two seconds to say that it has none.
            let asked = revoked.elapsed();
            let answer = fleet.at(1).call("/mcp", &tokens.access);
            if answer.status != 200 {
                assert_eq!((answer.status, answer.header("retry-after").is_some()), (503, true), "{}", answer.text());
                break;
            }
            assert!(asked < BOUND, "{asked:?}");
            longest = longest.max(asked);
        }
        proxy.black_hole(false);
        eventually("it is refused for good", || fleet.at(1).call("/mcp", &tokens.access).status == 401);
        let next = fleet.at(0).tokens(&client);
        eventually("others are admitted", || fleet.at(1).call("/mcp", &next.access).status == 200);
    }
    println!("behind a black hole a revoked session was admitted until {longest:?} after its end");
}

#[test]
fn p05_a_replica_that_was_stopped_admits_nobody_who_has_ended_meanwhile() {
    let server = Server::start(Make::Valkey8);
    let fleet = Fleet::start(2, &storage(server.address()));
    let client = fleet.at(0).public_client("A client");
    for _ in 0..3 {
        let tokens = fleet.at(0).tokens(&client);
        warm(fleet.at(1), &tokens);
        let mut waiting = fleet.at(1).connect();
        fleet.replicas[1].pause();
        assert_eq!(fleet.at(0).revoke(&client, &tokens.refresh).status, 200);
        std::thread::sleep(BOUND);
        // It lies in the socket when the process goes on, before any push has been read.
        waiting.send(&call_request("/mcp", &tokens.access));
        fleet.replicas[1].resume();
        let answer = waiting.response("POST").unwrap();
        assert!(matches!(answer.status, 401 | 503), "{}", answer.status);
        eventually("it is refused", || fleet.at(1).call("/mcp", &tokens.access).status == 401);
    }
}

#[test]
fn p05_an_open_stream_at_one_replica_ends_when_its_session_is_revoked_at_another() {
    use crate::harness::Answer;
    let server = Server::start(Make::Valkey9);
    let fleet = Fleet::start(2, &storage(server.address()));
    let client = fleet.at(0).public_client("A client");
    let tokens = fleet.at(0).tokens(&client);
    let (answer, events) = Answer::events(&[]);
    let mut answer = Some(answer);
    fleet.upstream.answers(move |_| answer.take().unwrap());
    let mut stream = fleet.at(1).connect();
    stream.send(&Request::get("/mcp").header("Accept", "text/event-stream").bearer(&tokens.access));
    assert_eq!(stream.head().unwrap().status, 200);
    events.send(":hello\n\n");
    assert!(stream.chunk().unwrap().is_some());
    assert_eq!(fleet.at(0).revoke(&client, &tokens.refresh).status, 200);
    let revoked = Instant::now();
    assert!(stream.chunk().is_err(), "it is broken off");
    // The push, and then the round in which open answers are asked about.
    assert!(revoked.elapsed() < 2 * BOUND, "{:?}", revoked.elapsed());
}

#[test]
fn with_the_cache_warm_a_protected_request_asks_the_store_nothing() {
    let server = Server::start(Make::Valkey9);
    let fleet = Fleet::start(2, &storage(server.address()));
    let client = fleet.at(0).public_client("A client");
    let tokens = fleet.at(0).tokens(&client);
    fleet.replicas.iter().for_each(|replica| warm(&replica.world, &tokens));
    // The lease begins with the first PING after a connection.
    std::thread::sleep(Duration::from_millis(300));
    fleet.replicas.iter().for_each(|replica| warm(&replica.world, &tokens));
    server.forget_calls();
    let requests = 500;
    for replica in &fleet.replicas {
        let mut connection = replica.world.connect();
        for _ in 0..requests {
            assert_eq!(connection.exchange(&call_request("/mcp", &tokens.access)).status, 200);
        }
    }
    let calls = server.calls();
    let asked = calls.iter().filter(|(name, _)| !matches!(name.as_str(), "ping" | "info" | "config|resetstat"));
    let asked: Vec<_> = asked.collect();
    println!("{} requests: {calls:?}", 2 * requests);
    assert!(asked.is_empty(), "{asked:?}");
}
