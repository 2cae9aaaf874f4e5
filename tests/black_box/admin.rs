//! The admin listener and the public one: nothing of the first is ever reached through the second (T287), and who watches the
//! gate learns nothing of anybody.

use super::harness::http::once;
use super::harness::{Request, World, configuration};
use super::two::without_provider;

/// Where operators' pages usually are.
const INNER: [&str; 18] = [
    "/livez",
    "/readyz",
    "/metrics",
    "/metrics/",
    "/health/metrics",
    "/health/../metrics",
    "/health/",
    "/healthz",
    "/debug",
    "/debug/pprof",
    "/debug/vars",
    "/pprof",
    "/admin",
    "/admin/sessions",
    "/api/sessions",
    "/actuator/env",
    "/server-status",
    "/.env",
];

#[test]
fn t287_nothing_of_the_admin_listener_is_reached_through_the_public_one() {
    let world = World::start();
    let tokens = world.tokens(&world.public_client("A client"));
    let before = world.upstream.seen().len();
    let admin = world.gate.admin().to_string();
    for path in INNER {
        for request in [
            Request::get(path),
            Request::get(path).bearer(&tokens.access),
            Request::post(path).body(""),
            Request::get("/nothing").header("X-Original-URL", path).header("X-Rewrite-URL", path),
            Request::get(path).header("X-Forwarded-For", "127.0.0.2").header("X-Real-IP", "127.0.0.2"),
        ] {
            let answer = world.send(&request);
            assert!(matches!(answer.status, 400 | 404), "{} {request:?}", answer.status);
            assert!(!answer.text().contains("portcullis_"), "{path}");
        }
        for request in [
            Request::get(path).header("Host", &admin),
            Request::get(&format!("http://{admin}{path}")),
            Request::get(&format!("http://{admin}{path}")).header("Host", &admin),
        ] {
            let answer = world.send(&request);
            assert!(matches!(answer.status, 400 | 421), "{} {request:?}", answer.status);
        }
    }
    assert_eq!(world.upstream.seen().len(), before);
}

#[test]
fn t287_the_health_check_says_one_word_and_nothing_of_what_runs_here() {
    let world = World::start();
    // Load balancers ask under whatever name they know.
    for host in ["gate.example", "10.0.0.7:8080", "evil.example"] {
        let answer = world.send(&Request::get("/health").header("Host", host));
        assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"status":"ok"}"#), "{host}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        for name in ["server", "x-powered-by", "via", "set-cookie"] {
            assert_eq!(answer.header(name), None, "{name}");
        }
    }
    let posted = world.send(&Request::post("/health").body(""));
    assert_eq!((posted.status, posted.header("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn t143_t287_the_admin_listener_serves_its_three_pages_and_no_gate() {
    let world = World::start();
    let tokens = world.tokens(&world.public_client("A client"));
    let before = world.upstream.seen().len();
    let ask = |request: &Request| once(world.gate.admin(), request);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(ask(&Request::get(path)).status, 200, "{path}");
        // A token opens nothing here, and closes nothing.
        assert_eq!(ask(&Request::get(path).bearer(&tokens.access)).status, 200, "{path}");
        assert_eq!(ask(&Request::post(path).body("")).status, 405, "{path}");
        assert_eq!(ask(&Request::get(path)).header("access-control-allow-origin"), None, "{path}");
    }
    for path in ["/mcp", "/oauth/token", "/oauth/authorize", "/.well-known/oauth-authorization-server", "/health", "/"]
    {
        assert_eq!(ask(&Request::get(path).bearer(&tokens.access)).status, 404, "{path}");
    }
    assert_eq!(world.upstream.seen().len(), before);
}

#[test]
fn t287_seed_bug_63_metrics_name_no_person_no_client_and_no_path_of_a_stranger() {
    let world = World::start();
    let client = world.public_client("Zebedee's client");
    let tokens = world.tokens(&client);
    for number in 0..200 {
        world.send(&Request::get(&format!("/a-path-that-nobody-has/{number}")));
        world.send(&Request::new(&format!("METHOD{number}"), "/mcp"));
    }
    let text = once(world.gate.admin(), &Request::get("/metrics")).text();
    assert!(text.contains("portcullis_"), "{text}");
    assert!(text.lines().count() < 500, "{} lines", text.lines().count());
    let secrets = [&tokens.access, &tokens.refresh, &client.id, &"Zebedee".to_owned(), &"ada".to_owned()];
    for secret in secrets.into_iter().chain(&world.provider.handed_out()) {
        assert!(!text.contains(secret.as_str()), "{secret} stands in the metrics");
    }
    assert!(!text.contains("a-path-that-nobody-has") && !text.contains("METHOD"), "{text}");
}

#[test]
fn t201_seed_bug_42_seed_bug_47_a_gate_without_its_provider_is_ready_and_degraded() {
    let world = without_provider();
    let degraded = r#"{"status":"degraded","reason":"oidc-discovery-pending"}"#;
    assert_eq!(world.send(&Request::get("/health")).text(), degraded);
    let ready = once(world.gate.admin(), &Request::get("/readyz"));
    assert_eq!((ready.status, ready.text().as_str()), (200, degraded));
    assert_eq!(once(world.gate.admin(), &Request::get("/livez")).status, 200);
    let metrics = once(world.gate.admin(), &Request::get("/metrics")).text();
    assert!(metrics.contains("portcullis_provider_ready 0"), "{metrics}");
}

#[test]
fn t287_a_resource_cannot_lead_to_a_listener_of_the_gate() {
    use portcullis::config::{Config, Process};
    let world = World::start();
    let mut config = configuration(&world.provider, &world.upstream);
    config["listen"] = "127.0.0.1:4801".into();
    config["adminListen"] = "127.0.0.1:4802".into();
    for upstream in ["http://127.0.0.1:4802/metrics", "http://localhost:4802/", "http://127.0.0.1:4801/mcp"] {
        config["resources"][0]["upstream"] = upstream.into();
        let refused = Config::read(&config.to_string(), &Process).err();
        let text = refused.unwrap_or_else(|| panic!("{upstream} loads")).to_string();
        assert!(text.contains("resources[0].upstream"), "{upstream}: {text}");
    }
}
