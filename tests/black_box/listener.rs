//! Who is let in at the public listener, and what is believed of where they came from.
//!
//! | id | where |
//! |---|---|
//! | T246 | `t246_…`; deadlines and the accept loop also in `adapters/tests/http` |
//! | T251 | `t251_…`; the /64 in `adapters::http::door` |
//! | T133, R46 | `r46_…`, and `discovery` |

use super::harness::browser::call_request;
use super::harness::{Connection, Request, World, eventually};
use serde_json::json;
use std::net::Ipv4Addr;

const REFUSED: &str = "portcullis_connections_refused_total";

fn health() -> Request {
    Request::get("/health")
}

/// A connection that is taken, and stays.
fn taken(world: &World, source: Ipv4Addr) -> Connection {
    let mut connection = Connection::from(source, world.gate.public());
    assert_eq!(connection.exchange(&health()).status, 200);
    connection
}

#[track_caller]
fn is_turned_away(world: &World, source: Ipv4Addr) {
    let mut connection = Connection::from(source, world.gate.public());
    let answer = connection.response("GET").unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
    connection.expect_end();
}

/// Waits until nobody but the test is connected.
fn until_alone(world: &World) {
    eventually("nobody is connected", || world.counted("portcullis_connections_open") == 0);
}

#[test]
fn t251_an_address_has_its_share_of_connections_and_others_have_theirs() {
    let world = World::with(|config| config["connectionsPerAddress"] = json!(3));
    until_alone(&world);
    let (greedy, other) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 9));
    let mut held: Vec<_> = (0..3).map(|_| taken(&world, greedy)).collect();
    is_turned_away(&world, greedy);
    is_turned_away(&world, greedy);
    let mut elsewhere = taken(&world, other);
    for connection in &mut held {
        assert_eq!(connection.exchange(&health()).status, 200, "who is inside stays inside");
    }
    assert_eq!(world.counted(&format!("{REFUSED}{{limit=\"address\"}}")), 2);
    assert_eq!(world.counted(&format!("{REFUSED}{{limit=\"total\"}}")), 0);
    held.pop();
    eventually("there is room again", || world.counted("portcullis_connections_open") == 3);
    held.push(taken(&world, greedy));
    assert_eq!(elsewhere.exchange(&health()).status, 200);
}

#[test]
fn t251_a_trusted_proxy_brings_everybody_and_a_stranger_s_word_makes_no_proxy() {
    let world = World::with(|config| {
        config["connectionsPerAddress"] = json!(1);
        config["trustedProxyCIDRs"] = json!(["127.0.0.1/32"]);
    });
    until_alone(&world);
    let _proxied: Vec<_> = (0..8).map(|_| taken(&world, Ipv4Addr::LOCALHOST)).collect();
    let stranger = Ipv4Addr::new(127, 0, 0, 9);
    let mut first = taken(&world, stranger);
    let claims = health().header("X-Forwarded-For", "127.0.0.1");
    assert_eq!(first.exchange(&claims).status, 200);
    is_turned_away(&world, stranger);
}

#[test]
fn t246_connections_are_bounded_in_all_and_the_probes_stay_reachable() {
    let world = World::with(|config| {
        config["connections"] = json!(4);
        config["trustedProxyCIDRs"] = json!(["127.0.0.1/32"]);
    });
    until_alone(&world);
    let mut held: Vec<_> = (0..4).map(|_| taken(&world, Ipv4Addr::LOCALHOST)).collect();
    is_turned_away(&world, Ipv4Addr::LOCALHOST);
    is_turned_away(&world, Ipv4Addr::new(127, 0, 0, 9));
    assert_eq!(world.counted(&format!("{REFUSED}{{limit=\"total\"}}")), 2);
    held.clear();
    until_alone(&world);
    taken(&world, Ipv4Addr::LOCALHOST);
}

#[test]
fn r46_t133_scheme_and_host_of_a_proxy_count_only_if_it_is_trusted() {
    let world = World::with(|config| config["trustedProxyCIDRs"] = json!(["127.0.0.1/32"]));
    let access = world.tokens(&world.public_client("A client")).access;
    let (proxy, stranger) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 9));
    for (source, name, value, status) in [
        (proxy, "X-Forwarded-Proto", "https", 200),
        (proxy, "X-Forwarded-Proto", "http", 421),
        (proxy, "X-Forwarded-Proto", "ws", 200),
        (proxy, "X-Forwarded-Host", "gate.example", 200),
        (proxy, "X-Forwarded-Host", "evil.example", 421),
        (stranger, "X-Forwarded-Proto", "http", 200),
        (stranger, "X-Forwarded-Host", "evil.example", 200),
    ] {
        let before = world.upstream.seen().len();
        let answer = world.send_from(source, &call_request("/mcp", &access).header(name, value));
        assert_eq!(answer.status, status, "{source} {name}: {value}");
        let seen = world.upstream.seen();
        if status == 421 {
            answer.refuses(421, "invalid_request");
            assert_eq!(seen.len(), before, "{source} {name}: {value}");
        } else {
            let last = seen.last().unwrap();
            let told = ["For", "Proto", "Host"].map(|part| last.header(&format!("X-Forwarded-{part}")).unwrap());
            assert_eq!(told, [source.to_string().as_str(), "https", "gate.example"], "{name}: {value}");
        }
    }
    // A load balancer's own probe comes as it likes.
    assert_eq!(world.send(&health().header("X-Forwarded-Proto", "http").header("Host", "10.0.0.7")).status, 200);
}
