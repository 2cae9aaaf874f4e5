//! What one person may ask of a resource: how often, and in how long a body.

use super::harness::browser::call_request;
use super::harness::{Request, Script, World};
use super::two::{OTHER, Two, session_of};
use serde_json::{Value, json};

fn few(requests: u32) -> Value {
    json!({ "requestsPerSecond": 1, "requestBurst": requests })
}

#[test]
fn t251_one_person_s_share_is_counted_over_all_sessions_and_of_nobody_else() {
    let world = World::with(|config| config["rateLimits"]["perPerson"] = few(5));
    let clients = ["One", "Another"].map(|name| world.public_client(name));
    let [ada, again, grace] = [(0, "ada"), (1, "ada"), (0, "grace")]
        .map(|(client, person)| session_of(&world, &clients[client], |ask| ask, Script::person(person)).access);
    for _ in 0..5 {
        assert_eq!(world.call("/mcp", &ada).status, 200);
    }
    for token in [&ada, &again] {
        let told = world.call("/mcp", token);
        assert_eq!(told.status, 429, "{}", told.text());
        let wait: u32 = told.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=2).contains(&wait), "{wait}");
        assert_eq!(told.header("access-control-allow-origin"), Some("*"));
        let body: Value = serde_json::from_str(&told.text()).unwrap();
        assert_eq!(body["error"], "rate_limit_exceeded");
        assert!(body.get("jsonrpc").is_none() && told.header("www-authenticate").is_none());
    }
    assert_eq!(world.call("/mcp", &grace).status, 200);
    assert_eq!(world.upstream.seen().len(), 6, "what was refused did not arrive");
    // Whoever is nobody uses up nobody's share.
    assert_eq!(world.call("/mcp", "x").status, 401);
}

#[test]
fn a_resource_has_its_own_share_and_its_own_length() {
    let two = Two::with(|config| {
        config["rateLimits"]["perPerson"] = few(2);
        config["resources"][1]["perPerson"] = few(4);
        config["resources"][1]["requestBytes"] = json!(100);
    });
    let client = two.world.public_client("A client");
    let (first, second) = (two.world.tokens(&client).access, two.other_tokens(&client).access);
    let statuses = |path: &str, token: &str| -> Vec<u16> {
        (0..5).map(|_| two.world.send(&call_request(path, token)).status).collect()
    };
    assert_eq!(statuses("/mcp", &first), [200, 200, 429, 429, 429]);
    assert_eq!(statuses(OTHER, &second), [200, 200, 200, 200, 429]);

    let two = Two::with(|config| config["resources"][1]["requestBytes"] = json!(100));
    let client = two.world.public_client("A client");
    let (first, second) = (two.world.tokens(&client).access, two.other_tokens(&client).access);
    for (path, token, length, status) in
        [("/mcp", &first, 101, 200), (OTHER, &second, 100, 200), (OTHER, &second, 101, 413)]
    {
        let request = Request::post(path).bearer(token).body("x".repeat(length));
        assert_eq!(two.world.send(&request).status, status, "{path} {length}");
    }
    assert_eq!(two.other.seen().len(), 1);
}
