//! What can be seen of the gate from outside: metrics, log lines, names of requests and traces; and that docs/observability.md
//! tells all of it.
//!
//! | id | where |
//! |---|---|
//! | T250 | labels of metrics: `t287_…` in `admin` |
//! | T285 | `t285_…` |

use super::harness::browser::call_request;
use super::harness::http::once;
use super::harness::{Answer, Request, Tokens, World, eventually};
use super::process::Elsewhere;
use super::two::with_session;
use crate::valkey::{Make, Server};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = include_str!("../../docs/observability.md");

/// The cells of the tables' rows under this heading, without their backquotes.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let begins = |section: &&str| section.trim_start_matches(['#', ' ']).starts_with(heading);
    let section = PAGE.split("\n##").find(begins).unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    lines.map(cells).collect()
}

/// Name, kind, words and labels of a metric.
type Metrics = BTreeMap<String, (String, String, BTreeSet<String>)>;

#[test]
fn every_metric_is_on_the_page_and_the_other_way_round() {
    // Nobody listens there: what is counted of a receiver is counted all the same.
    let webhook = json!({ "url": "http://127.0.0.1:9", "secret": "a-secret-that-nobody-has-to-know-here" });
    let world = World::with(|config| config["webhook"] = webhook.clone());
    let tokens = world.tokens(&world.public_client("A client"));
    let told = told(&world, &tokens);
    assert_eq!(told, written("Metrics"), "left: what the program says; right: docs/observability.md");

    let server = Server::start(Make::Valkey9);
    let world = World::with(|config| {
        config["storage"] = json!({ "type": "valkey", "valkey": { "url": server.url() } });
        config["webhook"] = webhook;
    });
    let tokens = world.tokens(&world.public_client("A client"));
    let mut both = written("Metrics");
    both.retain(|name, _| name != "portcullis_store_records" && name != "portcullis_store_bytes");
    both.extend(written("The store on servers"));
    assert_eq!(self::told(&world, &tokens), both, "left: what the program says; right: docs/observability.md");
}

#[test]
fn a_store_on_a_server_is_counted_by_what_came_of_it() {
    let mut server = Server::start(Make::Valkey8);
    let world =
        World::with(|config| config["storage"] = json!({ "type": "valkey", "valkey": { "url": server.url() } }));
    let tokens = world.tokens(&world.public_client("A client"));
    let calls = |call: &str, outcome: &str| {
        world.counted(&format!("portcullis_store_calls_total{{call=\"{call}\",outcome=\"{outcome}\"}}"))
    };
    let by = |who: &str| world.counted(&format!("portcullis_store_memory_readings_total{{by=\"{who}\"}}"));
    eventually("it is remembered", || {
        let before = by("memory");
        world.call("/mcp", &tokens.access).status == 200 && by("memory") > before
    });
    let (asked, remembered) = (calls("recall", "read"), by("memory"));
    assert!(calls("load", "read") >= 2 && calls("commit", "landed") >= 2 && asked >= 1);
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    assert_eq!(calls("recall", "read"), asked, "nobody was asked");
    assert!(by("memory") > remembered && world.counted("portcullis_store_memory_bytes") > 0);
    let spread = world.counted("portcullis_store_call_seconds_bucket{call=\"commit\",le=\"+Inf\"}");
    assert_eq!(spread, calls("commit", "landed"));
    let (made, lost) = ("portcullis_store_connections_made_total", "portcullis_store_memory_leases_lost_total");
    let before = (world.counted(made), world.counted(lost));
    assert_eq!(world.counted("portcullis_store_connections_open"), before.0);
    server.kill();
    eventually("it is away", || world.call("/mcp", &tokens.access).status == 503);
    assert!(calls("recall", "away") + calls("recall", "lost") > 0);
    server.again();
    eventually("it is back", || world.counted("portcullis_store_connections_open") == before.0);
    assert!(world.counted(made) >= before.0 * 2 && world.counted(lost) > before.1);
}

fn written(heading: &str) -> Metrics {
    let of_row = |row: Vec<String>| {
        let labels = row[2].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
        (row[0].clone(), (row[1].clone(), row[3].clone(), labels))
    };
    rows(heading).into_iter().map(of_row).collect()
}

/// What the gate's page says, after a call that is let through and one that is not.
fn told(world: &World, tokens: &Tokens) -> Metrics {
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    assert_eq!(world.call("/mcp", "x").status, 401);
    let text = once(world.gate.admin(), &Request::get("/metrics")).text();
    let mut told = Metrics::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            assert!(told.insert(name.into(), (String::new(), help.into(), BTreeSet::new())).is_none(), "{name} twice");
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            told.get_mut(name).unwrap().0 = kind.to_owned();
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = sample.trim_end_matches('}').split_once('{').unwrap_or((sample, ""));
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let family = family.filter(|family| told.contains_key(*family)).unwrap_or(name);
            let names = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name.to_owned());
            told.get_mut(family).unwrap().2.extend(names.filter(|name| name != "le"));
        }
    }
    told
}

#[test]
fn what_is_refused_is_counted_by_its_rule_and_what_is_answered_by_its_time() {
    let (world, tokens) = with_session();
    let refused = |route: &str, fault: &str| {
        world.counted(&format!("portcullis_http_refusals_total{{route=\"{route}\",fault=\"{fault}\"}}"))
    };
    world.call("/mcp", "x");
    world.send(&Request::get("/mcp"));
    world.send(&Request::get("/mcp").header("Origin", "https://evil.example"));
    world.send(&Request::get("/nothing").header("Host", "evil.example"));
    world.send(&Request::get("/oauth/authorize?client_id=nobody"));
    world.upstream.answers(|_| Answer::Last(Vec::new()));
    assert_eq!(world.call("/mcp", &tokens.access).status, 502);
    for (route, fault) in [
        ("resource", "TokenUnknown"),
        ("resource", "TokenMissing"),
        ("resource", "Origin"),
        ("none", "Host"),
        ("authorize", "ClientUnknown"),
        ("resource", "UpstreamDown"),
    ] {
        assert_eq!(refused(route, fault), 1, "{route} {fault}");
    }
    world.upstream.answers(|_| {
        std::thread::sleep(std::time::Duration::from_millis(60));
        Answer::json("{}")
    });
    let within = |most: &str| {
        world.counted(&format!("portcullis_http_answer_seconds_bucket{{route=\"resource\",le=\"{most}\"}}"))
    };
    let (slow, all) = (within("0.05"), within("+Inf"));
    assert_eq!(world.call("/mcp", &tokens.access).status, 200);
    assert_eq!((within("0.05"), within("+Inf")), (slow, all + 1));
    assert_eq!(world.counted("portcullis_upstream_connections_open{resource=\"/mcp\"}"), 1, "at rest");
}

#[test]
fn every_answer_names_its_request_as_the_server_heard_it() {
    let (world, tokens) = with_session();
    let mut names = BTreeSet::new();
    for request in [
        call_request("/mcp", &tokens.access).header("X-Request-Id", "mine").header("X_Request_Id", "mine"),
        call_request("/mcp", "x"),
        Request::get("/health"),
        Request::get("/oauth/authorize"),
        Request::get("/nothing"),
        Request::new("OPTIONS", "/oauth/token").header("Origin", "https://app.example"),
    ] {
        let answer = world.send(&request);
        let name = answer.header("x-request-id").unwrap_or_else(|| panic!("{request:?}")).to_owned();
        assert!(name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        if answer.status == 200 && request.target == "/mcp" {
            assert_eq!(world.upstream.only().header("x-request-id"), Some(name.as_str()));
        }
        assert!(names.insert(name), "two requests have one name");
    }
    // The server's own name for it is not the gate's.
    world.upstream.answers(|_| Answer::whole("200 OK", &[("X-Request-Id", "inner"), ("x-request-id", "inner2")], "{}"));
    let answer = world.call("/mcp", &tokens.access);
    assert_ne!(answer.header("x-request-id"), Some("inner"), "and stands once");
}

#[test]
fn a_trusted_proxy_names_requests_if_it_does_so_in_one_short_word() {
    let world = World::with(|config| config["trustedProxyCIDRs"] = json!(["127.0.0.0/8"]));
    let tokens = world.tokens(&world.public_client("A client"));
    let call = call_request("/mcp", &tokens.access).header("X-Forwarded-For", "203.0.113.9");
    let answer = world.send(&call.clone().header("X-Request-Id", "edge-1/a:b=c"));
    assert_eq!(answer.header("x-request-id"), Some("edge-1/a:b=c"));
    assert_eq!(world.upstream.only().header("x-request-id"), Some("edge-1/a:b=c"));
    for bad in [String::new(), "a b".to_owned(), "a\"b".to_owned(), "x".repeat(129), "\u{e9}".to_owned()] {
        let answer = world.send(&call.clone().header("X-Request-Id", &bad));
        assert_eq!(answer.header("x-request-id").map(str::len), Some(32), "{bad}");
    }
    let twice = call.header("X-Request-Id", "one").header("X-Request-Id", "two");
    assert_eq!(world.send(&twice).header("x-request-id").map(str::len), Some(32));
}

#[test]
fn a_trace_passes_as_it_came_or_not_at_all() {
    let (world, tokens) = with_session();
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let future = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
    let zero = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
    let member = "a=1";
    type Fields<'a> = &'a [(&'a str, &'a str)];
    let cases: [(Fields<'_>, Fields<'_>); 12] = [
        (&[("traceparent", good)], &[("traceparent", good)]),
        (&[("TraceParent", future)], &[("traceparent", future)]),
        (
            &[("traceparent", good), ("tracestate", "a=1, b@c=2")],
            &[("traceparent", good), ("tracestate", "a=1, b@c=2")],
        ),
        (
            &[("traceparent", good), ("tracestate", member), ("tracestate", "b=2")],
            &[("traceparent", good), ("tracestate", member), ("tracestate", "b=2")],
        ),
        (&[("traceparent", good), ("tracestate", "a=1,a=2")], &[("traceparent", good)]),
        (&[("traceparent", good), ("tracestate", "A=1")], &[("traceparent", good)]),
        (&[("tracestate", member)], &[]),
        (&[("traceparent", zero), ("tracestate", member)], &[]),
        (&[("traceparent", &good[1..]), ("tracestate", member)], &[]),
        (&[("traceparent", good), ("traceparent", good), ("tracestate", member)], &[]),
        (&[("traceparent", good), ("tracestate", member), ("Connection", "traceparent")], &[]),
        (&[("traceparent", good), ("tracestate", member), ("Connection", "tracestate")], &[("traceparent", good)]),
    ];
    for (sent, passed) in cases {
        let call = call_request("/mcp", &tokens.access);
        let call = sent.iter().fold(call, |call, (name, value)| call.header(name, value));
        assert_eq!(world.send(&call).status, 200, "no trace is worth a refusal");
        let seen = world.upstream.seen().pop().unwrap();
        let trace = seen.headers.iter().filter(|(name, _)| name.starts_with("trace"));
        let trace: Vec<_> = trace.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(trace, passed, "{sent:?}");
    }
}

/// The lines of this target that a gate has written.
fn lines(gate: &Elsewhere, target: &str) -> Vec<Value> {
    let log = gate.process.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("{line}")));
    lines.filter(|line| line["target"] == target).collect()
}

fn fields<'l>(lines: impl IntoIterator<Item = &'l Value>) -> BTreeSet<String> {
    lines.into_iter().flat_map(|line| line.as_object().unwrap().keys().cloned()).collect()
}

#[test]
fn every_field_of_a_log_line_is_on_the_page_and_the_other_way_round() {
    let gate = Elsewhere::start("", |config| config["logLevel"] = json!("debug"));
    let world = &gate.world;
    let client = world.public_client("A client");
    let tokens = world.tokens(&client);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer = world.send(&call_request("/mcp", &tokens.access).header("traceparent", parent));
    assert_eq!(answer.status, 200);
    let refused = world.call("/mcp", "x");
    assert_eq!(world.revoke(&client, &tokens.refresh).status, 200);
    let of = |lines: &[Value], answer: &super::harness::Response| {
        let name = answer.header("x-request-id").unwrap().to_owned();
        let found: Vec<Value> = lines.iter().filter(|line| line["request_id"] == name.as_str()).cloned().collect();
        assert!(found.len() < 2, "{found:?}");
        found.into_iter().next()
    };
    eventually("both are told", || {
        let lines = lines(&gate, "request");
        of(&lines, &answer).is_some() && of(&lines, &refused).is_some()
    });
    let told = lines(&gate, "request");
    let line = of(&told, &answer).unwrap();
    for (field, value) in [
        ("level", json!("DEBUG")),
        ("trace_id", json!("0af7651916cd43dd8448eb211c80319c")),
        ("route", json!("resource")),
        ("method", json!("POST")),
        ("status", json!(200)),
        ("address", json!("127.0.0.1")),
        ("sent_bytes", json!(answer.body.len())),
        ("whole", json!(true)),
    ] {
        assert_eq!(line[field], value, "{field} of {line}");
    }
    assert!(line["head_us"].as_u64().unwrap() <= line["total_us"].as_u64().unwrap(), "{line}");
    let line = of(&told, &refused).unwrap();
    assert_eq!((&line["fault"], &line["status"]), (&json!("TokenUnknown"), &json!(401)), "{line}");

    // Who is meant there is who is meant in the audit log.
    let audit = lines(&gate, "audit");
    let issued = audit.iter().find(|line| line["event"] == "token_issued").unwrap();
    let line = of(&told, &answer).unwrap();
    for field in ["person", "session", "client"] {
        assert!(line[field].is_string() && line[field] == issued[field], "{field}: {line} {issued}");
    }
    let page = |heading: &str| rows(heading).into_iter().filter(|row| row.len() == 2).map(|row| row[0].clone());
    assert_eq!(fields(&told), page("The line of a request").collect());
    // What this gate had no reason to say is there all the same.
    let all: BTreeSet<_> =
        fields(&audit).into_iter().chain(["fault", "left_out", "provider_session"].map(str::to_owned)).collect();
    assert_eq!(all, page("The audit log").collect());
}

#[test]
fn how_an_answer_ended_is_told_when_it_has() {
    let gate = Elsewhere::start("", |config| config["logLevel"] = json!("debug"));
    let world = &gate.world;
    let access = gate.tokens().access;
    let (answer, events) = Answer::events(&[]);
    let mut answer = Some(answer);
    world.upstream.answers(move |_| answer.take().unwrap());
    let mut stream = world.connect();
    stream.send(&Request::get("/mcp").bearer(&access));
    let head = stream.head().unwrap();
    let name = head.header("x-request-id").unwrap().to_owned();
    events.send(":ok\n\n");
    stream.chunk().unwrap();
    let told = || lines(&gate, "request").into_iter().find(|line| line["request_id"] == name.as_str());
    assert_eq!(told(), None, "it has not ended");
    drop(stream);
    eventually("the client's leaving is told", || told().is_some());
    let line = told().unwrap();
    assert_eq!((&line["whole"], &line["sent_bytes"], &line["status"]), (&json!(false), &json!(5), &json!(200)));

    // Whoever leaves before there is an answer is told of too.
    world.upstream.answers(|_| {
        std::thread::sleep(std::time::Duration::from_millis(500));
        Answer::json("{}")
    });
    let mut leaving = world.connect();
    leaving.send(&call_request("/mcp", &access));
    eventually("the call is under way", || world.upstream.seen().len() == 2);
    drop(leaving);
    let unanswered = || lines(&gate, "request").into_iter().find(|line| line.get("status").is_none());
    eventually("it is told", || unanswered().is_some());
    assert_eq!(unanswered().unwrap()["whole"], json!(false));
}

#[test]
fn t285_whatever_is_said_to_the_gate_a_log_line_is_one_line() {
    let evil = "a\u{1b}[31mred\u{2028}\u{85}\\\"}{\"event\":\"forged\"";
    // What a header value can hold of it.
    let field = evil.replace('\u{1b}', "");
    for format in ["json", "text"] {
        let gate = Elsewhere::start("", |config| {
            config["logLevel"] = json!("trace");
            config["logFormat"] = json!(format);
            config["trustedProxyCIDRs"] = json!(["127.0.0.0/8"]);
        });
        let world = &gate.world;
        let encoded = super::harness::http::escape(&format!("{evil}\r\nforged"));
        for name in [evil, &"x".repeat(60_000), "a\r\nb", "\u{202e}"] {
            let registration = json!({ "redirect_uris": ["http://127.0.0.1/cb"], "client_name": name });
            world.send(&Request::json("/oauth/register", &registration));
        }
        for request in [
            Request::get(&format!("/oauth/authorize?client_id={encoded}&state={encoded}")),
            Request::get(&format!("/oauth/callback?state={encoded}&error={encoded}&error_description={encoded}")),
            Request::get(&format!("/{encoded}")),
            Request::get("/mcp").bearer("x").header("X-Request-Id", &field).header("User-Agent", &field),
            Request::get("/mcp")
                .header("traceparent", &field)
                .header("X-Forwarded-For", &field)
                .header("Origin", &field),
            Request::get("/mcp").header("Authorization", &format!("Bearer {}", "x".repeat(40_000))),
            Request::new("FORGED", "/mcp"),
            Request::post("/oauth/token")
                .header("Content-Type", "application/x-www-form-urlencoded")
                .body(format!("grant_type={encoded}&code={encoded}&refresh_token={encoded}&client_id={encoded}")),
        ] {
            world.send(&request);
        }
        eventually("all is told", || gate.process.log().matches("request_id").count() > 12);
        let log = gate.process.log();
        for line in log.lines() {
            assert!(line.len() < 2_048, "{line}");
            assert!(!line.contains("forged") && !line.contains("FORGED"), "{line}");
            assert!(line.chars().all(|char| !char.is_control() && char != '\u{2028}'), "{line:?}");
            if format == "json" {
                assert!(serde_json::from_str::<Value>(line).is_ok_and(|line| line["target"].is_string()), "{line}");
            } else {
                assert!(line.get(..2) == Some("20") && line.get(10..11) == Some("T"), "{line}");
            }
        }
    }
}
