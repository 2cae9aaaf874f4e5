//! Clients that are described by a document at their id's address.
//!
//! | id | where |
//! |---|---|
//! | T107 | `t107_…`, and the grammar in `domain/src/oauth/client_document.rs` |
//! | T109, T110, T111 | `t109_…` |
//! | T113, T119 | `t113_…`, `t119_…` |
//! | T114 | `domain/src/oauth/exchange.rs` |
//! | T115 | `t115_…`, and the tables' bounds in `adapters/src/documents/cache.rs` |
//! | T117 | `adapters/src/documents/freshness.rs` |
//! | T118 | nothing is ever loaded: `t119_…` |
//! | T122 | `t122_…` |
//! | T125 to T130 | `adapters/tests/fetch.rs` |
//! | T131 | `t131_…` |

use super::harness::browser::{exchange_request, refresh_request};
use super::harness::{
    Answer, Ask, BASE, Client, Pkce, REDIRECT, Request, Response, Returned, Script, Tokens, Upstream, World, tls,
};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A web site that publishes documents.
pub(super) struct Site {
    server: Upstream,
    answers: Arc<Mutex<HashMap<String, Vec<u8>>>>,
}

impl Site {
    pub(super) fn start() -> Self {
        let server = Upstream::secure(tls::server(false));
        let answers: Arc<Mutex<HashMap<String, Vec<u8>>>> = Arc::default();
        let own = Arc::clone(&answers);
        server.answers(move |seen| {
            let answer = own.lock().unwrap().get(seen.target()).cloned();
            Answer::Last(answer.unwrap_or_else(|| http("404 Not Found", "application/json", b"{}")))
        });
        Self { server, answers }
    }

    pub(super) fn url(&self, path: &str) -> String {
        self.server.url() + path
    }

    /// How often somebody connected to it.
    pub(super) fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Answers with these bytes at this path.
    pub(super) fn says(&self, path: &str, answer: Vec<u8>) {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
    }

    /// Publishes a good document with these members changed; `null` takes one away.
    pub(super) fn publishes(&self, path: &str, changes: Value) -> Client {
        let url = self.url(path);
        self.says(path, http("200 OK", "application/json", document(&url, changes).to_string().as_bytes()));
        Client::public(&url)
    }

    /// How often this path was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        self.server.seen().iter().filter(|seen| seen.target() == path).count()
    }
}

fn document(url: &str, changes: Value) -> Value {
    let mut document = json!({
        "client_id": url,
        "client_name": "Documented",
        "redirect_uris": [REDIRECT, "https://app.example/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "logo_uri": "https://127.0.0.1/logo.svg",
    });
    for (name, value) in changes.as_object().unwrap() {
        document[name] = value.clone();
    }
    document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    document
}

pub(super) fn http(status: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A gate that takes documents of this machine.
pub(super) fn world_with(change: impl FnOnce(&mut Value)) -> World {
    World::with(|config| {
        config["caFiles"] = json!([tls::file("authority.pem")]);
        config["dangerLoopbackClientDocuments"] = json!(true);
        change(config);
    })
}

/// An authorization request from an address that nobody else uses.
fn authorize(world: &World, client: &Client) -> Response {
    static COUNT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = COUNT.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    let query = Ask::of(client, &Pkce::new()).query();
    world.send_from(Ipv4Addr::new(127, 254, high, low), &Request::get(&format!("/oauth/authorize?{query}")))
}

#[test]
fn i_4_as_12_seed_bug_06_a_client_with_a_document_logs_in_refreshes_and_revokes_and_its_host_is_asked_once() {
    let (site, world) = (Site::start(), world_with(|_| {}));
    let client = site.publishes("/client.json", json!({}));
    let tokens = world.tokens(&client);
    assert!(world.admits(&tokens.access));
    let fetched = site.server.seen();
    assert_eq!(fetched.len(), 1, "from the consent page to the code, one reading counts");
    assert_eq!((fetched[0].method(), fetched[0].header("accept")), ("GET", Some("application/json")));
    for absent in ["cookie", "referer", "authorization"] {
        assert_eq!(fetched[0].header(absent), None, "{absent}");
    }

    // A session does not hang on whether its client's host answers.
    site.says("/client.json", http("500 Internal Server Error", "text/html", b""));
    let tokens = Tokens::of(&world.refresh(&client, &tokens.refresh));
    assert!(world.admits(&tokens.access));
    let secretive = Client::confidential(&client.id, "a secret that it cannot have");
    assert_eq!(world.refresh(&secretive, &tokens.refresh).status, 401);
    assert_eq!(world.revoke(&client, &tokens.refresh).status, 200);
    assert!(!world.admits(&tokens.access));
    assert_eq!(site.server.seen().len(), 1);
}

#[test]
fn i_2_as_13_a_document_s_loopback_redirects_take_any_port_and_its_other_ones_are_exact() {
    let (site, world) = (Site::start(), world_with(|_| {}));
    let client = site.publishes(
        "/claude-code",
        json!({ "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback", "https://app.example/cb", "odd+scheme:/cb"] }),
    );
    let ask = |redirect: &str| world.browser().authorize(&Ask::of(&client, &Pkce::new()).set("redirect_uri", redirect));
    for redirect in ["http://localhost:51004/callback", "http://127.0.0.1:1/callback", "https://app.example/cb"] {
        assert_eq!(ask(redirect).status, 200, "{redirect}");
    }
    for redirect in
        ["http://localhost:51004/other", "https://app.example/cb/", "https://app.example:444/cb", "odd+scheme:/cb"]
    {
        let page = ask(redirect);
        assert_eq!((page.status, page.header("location")), (400, None), "{redirect}");
    }
    assert_eq!(site.server.seen().len(), 1);
}

#[test]
fn t107_an_id_that_is_no_document_s_address_is_never_fetched() {
    let (site, world) = (Site::start(), world_with(|_| {}));
    let base = site.server.url();
    site.publishes("/c", json!({}));
    for id in [
        base.clone(),
        format!("{base}/"),
        base.replace("https:", "http:") + "/c",
        base.replace("https:", "HTTPS:") + "/c",
        base.replace("127.0.0.1", "user@127.0.0.1") + "/c",
        format!("{base}/c?x=1"),
        format!("{base}/c?"),
        format!("{base}/c#x"),
        format!("{base}/c#"),
        format!("{base}/./c"),
        format!("{base}/x/../c"),
        format!("{base}/%2e%2E/c"),
        format!("{base}/c\\x"),
        format!("{base}/c\tx"),
        format!("{base}/c\rx"),
        format!("{base}/{}", "c".repeat(2_048)),
        base.replace("127.0.0.1", "127.1") + "/c",
        base.replace("127.0.0.1", "2130706433") + "/c",
        "https://93.184.215.14/c".to_owned(),
        "https://[2606:4700::1111]/c".to_owned(),
        "https://app.example:8443/c".to_owned(),
        "https://app.example:0/c".to_owned(),
        "https://app.example:/c".to_owned(),
        "https://App.example/c".to_owned(),
        "https://app.example./c".to_owned(),
        "https://äpp.example/c".to_owned(),
    ] {
        let page = authorize(&world, &Client::public(&id));
        assert_eq!((page.status, page.header("location"), page.header("set-cookie")), (400, None, None), "{id}");
    }
    assert_eq!(site.server.connections(), 0);
}

#[test]
fn t109_t110_t111_t130_whatever_is_wrong_with_a_document_it_is_told_in_the_same_words() {
    let site = Site::start();
    let good = |path: &str| document(&site.url(path), json!({})).to_string();
    let json = "application/json";
    let mut cases: Vec<(&str, Vec<u8>)> = Vec::new();
    for (path, status) in [
        ("/201", "201 Created"),
        ("/204", "204 No Content"),
        ("/206", "206 Partial Content"),
        ("/304", "304 Not Modified"),
        ("/401", "401 Unauthorized"),
        ("/404", "404 Not Found"),
        ("/500", "500 Internal Server Error"),
    ] {
        cases.push((path, http(status, json, good(path).as_bytes())));
    }
    for path in ["/301", "/302", "/307"] {
        let status = &path[1..];
        let to = site.url("/target");
        let head =
            format!("HTTP/1.1 {status} Moved\r\nLocation: {to}\r\nContent-Type: {json}\r\nContent-Length: 0\r\n\r\n");
        cases.push((path, head.into_bytes()));
    }
    site.publishes("/target", json!({}));
    cases.push(("/html", http("200 OK", "text/html", good("/html").as_bytes())));
    cases.push(("/problem", http("200 OK", "application/problem+json", good("/problem").as_bytes())));
    cases.push(("/long", http("200 OK", json, format!("{}{}", good("/long"), " ".repeat(6_000)).as_bytes())));
    cases.push(("/bom", http("200 OK", json, format!("\u{feff}{}", good("/bom")).as_bytes())));
    cases.push((
        "/twice",
        http("200 OK", json, good("/twice").replacen('{', r#"{"client_name":"Other","#, 1).as_bytes()),
    ));
    for (path, again) in [("/two-ids", "client_id"), ("/two-places", "redirect_uris")] {
        // The same value twice is twice, too.
        let whole: Value = serde_json::from_str(&good(path)).unwrap();
        let twice = good(path).replacen('{', &format!("{{\"{again}\":{},", whole[again]), 1);
        cases.push((path, http("200 OK", json, twice.as_bytes())));
    }
    cases.push(("/comment", http("200 OK", json, format!("/* good */ {}", good("/comment")).as_bytes())));
    let untyped = good("/untyped");
    cases.push(("/untyped", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{untyped}", untyped.len()).into()));
    let placeless = document(&site.url("/placeless"), json!({ "redirect_uris": null })).to_string();
    cases.push(("/placeless", http("200 OK", json, placeless.as_bytes())));
    cases.push(("/list", http("200 OK", json, format!("[{}]", good("/list")).as_bytes())));
    cases.push(("/more", http("200 OK", json, format!("{} {{}}", good("/more")).as_bytes())));
    cases.push(("/other", http("200 OK", json, good("/another").as_bytes())));
    cases.push(("/slash", http("200 OK", json, good("/slash/").as_bytes())));
    cases.push((
        "/secret",
        http("200 OK", json, document(&site.url("/secret"), json!({ "client_secret": "x" })).to_string().as_bytes()),
    ));
    cases.push((
        "/basic",
        http(
            "200 OK",
            json,
            document(&site.url("/basic"), json!({ "token_endpoint_auth_method": "client_secret_basic" }))
                .to_string()
                .as_bytes(),
        ),
    ));
    cases.push((
        "/nowhere",
        http("200 OK", json, document(&site.url("/nowhere"), json!({ "redirect_uris": [] })).to_string().as_bytes()),
    ));
    cases.push((
        "/hostile",
        http(
            "200 OK",
            json,
            document(
                &site.url("/hostile"),
                json!({ "redirect_uris": ["javascript:alert(1)", "http://app.example/cb"] }),
            )
            .to_string()
            .as_bytes(),
        ),
    ));
    cases.push(("/closed", Vec::new()));
    cases.push((
        "/gzip",
        format!("HTTP/1.1 200 OK\r\nContent-Type: {json}\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{{}}")
            .into_bytes(),
    ));
    let mut texts = Vec::new();
    // Only so many unknown addresses of one host are asked for at once, so every third one meets a gate that knows of none.
    for few in cases.chunks(3) {
        let world = world_with(|_| {});
        for (path, answer) in few {
            site.says(path, answer.clone());
            let page = authorize(&world, &Client::public(&site.url(path)));
            assert_eq!((page.status, page.header("location")), (503, None), "{path}");
            assert_eq!(page.header("retry-after"), Some("30"), "{path}");
            texts.push(page.text());
            assert_eq!(site.asked(path), 1, "{path}");
        }
    }
    assert!(texts.windows(2).all(|pair| pair[0] == pair[1]), "no two failures can be told apart");
    assert_eq!(site.asked("/target"), 0, "a redirect is not followed");
}

#[test]
fn t115_one_call_serves_all_who_come_together_and_a_failure_is_not_asked_for_again_at_once() {
    let (site, world) = (Site::start(), world_with(|_| {}));
    let client = site.publishes("/slow", json!({}));
    let answer = site.answers.lock().unwrap().get("/slow").cloned().unwrap();
    site.server.answers(move |_| {
        std::thread::sleep(Duration::from_millis(300));
        Answer::Last(answer.clone())
    });
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| authorize(&world, &client).status)).collect();
        assert!(asking.into_iter().all(|asking| asking.join().unwrap() == 200));
    });
    assert_eq!(site.asked("/slow"), 1);

    site.server.answers(|_| Answer::Last(http("404 Not Found", "application/json", b"{}")));
    let statuses: Vec<u16> = (0..10)
        .map(|number| authorize(&world, &Client::public(&site.url(&format!("/unknown{number}")))).status)
        .collect();
    assert!(statuses.contains(&503) && statuses.last() == Some(&429), "{statuses:?}");
    let asked = site.server.seen().len();
    assert!(asked <= 6, "{asked} calls to one host");
    for _ in 0..5 {
        assert_eq!(authorize(&world, &Client::public(&site.url("/unknown0"))).status, 503);
    }
    assert_eq!(site.asked("/unknown0"), 1);
    assert_eq!(authorize(&world, &client).status, 200, "who is known is not affected");
}

#[test]
fn m25_t115_the_operator_says_how_often_one_host_is_asked_for_what_is_new() {
    let site = Site::start();
    let world = world_with(|config| {
        config["rateLimits"]["perDocumentHost"] = json!({ "fetchesPerSecond": 1, "fetchBurst": 7 });
    });
    let asked: Vec<u16> = (0..20)
        .map(|number| authorize(&world, &Client::public(&site.url(&format!("/unknown{number}")))).status)
        .take_while(|status| *status != 429)
        .collect();
    assert!((7..20).contains(&asked.len()), "{asked:?}");
    assert_eq!(site.server.seen().len(), asked.len());
}

#[test]
fn t115_one_address_makes_the_gate_fetch_only_so_many_documents() {
    let (site, world) = (Site::start(), world_with(|_| {}));
    let known = site.publishes("/known", json!({}));
    let ask = |client: &Client| {
        let query = Ask::of(client, &Pkce::new()).query();
        world.send_from(Ipv4Addr::new(127, 9, 9, 9), &Request::get(&format!("/oauth/authorize?{query}"))).status
    };
    assert_eq!(ask(&known), 200);
    let refused = (0..40).filter(|number| ask(&Client::public(&format!("https://h{number}.invalid/c"))) == 429).count();
    assert!(refused >= 19, "{refused}");
    assert_eq!(ask(&known), 200, "who is known is not affected");
}

#[test]
fn t113_t119_t118_the_page_names_the_document_s_host_and_warns_of_what_is_local_alone() {
    let (site, world) = (Site::start(), world_with(|_| {}));
    let web = site.publishes("/web", json!({ "client_name": "Claude", "redirect_uris": ["https://app.example/cb"] }));
    let local = site.publishes("/local", json!({ "redirect_uris": ["http://localhost/callback", REDIRECT] }));
    let ask = Ask::of(&web, &Pkce::new()).set("redirect_uri", "https://app.example/cb");
    let page = world.browser().authorize(&ask).text();
    assert!(page.contains("<p class=\"place\"><bdi>127.0.0.1</bdi></p>"), "{page}");
    assert!(page.contains("<p class=\"place\"><bdi>app.example</bdi></p>"), "{page}");
    assert!(page.contains("Only this address is verified") && !page.contains("registered by the operator"), "{page}");
    assert!(!page.contains("logo") && !page.contains("<img"), "{page}");
    let warning = "sent back to this device only";
    assert!(!page.contains(warning), "{page}");
    let page = authorize(&world, &local).text();
    assert!(page.contains(warning), "{page}");
}

#[test]
fn t122_an_operator_s_client_whose_id_is_an_address_is_not_looked_for_there() {
    let site = Site::start();
    let client = site.publishes("/static", json!({}));
    let id = client.id.clone();
    let world = world_with(|config| {
        config["clients"] = json!([{ "clientId": id, "name": "Static", "redirectUris": [REDIRECT] }]);
    });
    assert!(authorize(&world, &client).text().contains("registered by the operator"));
    assert!(world.admits(&world.tokens(&client).access));
    assert_eq!(site.server.connections(), 0);
}

#[test]
fn t122_i_4_who_is_turned_away_by_a_document_s_host_can_say_what_it_says() {
    let site = Site::start();
    site.says("/turned-away", http("403 Forbidden", "text/html", b"<title>Just a moment</title>"));
    let client = Client::public(&site.url("/turned-away"));
    assert_eq!(authorize(&world_with(|_| {}), &client).status, 503);
    assert_eq!(site.asked("/turned-away"), 1);
    let id = client.id.clone();
    let world = world_with(|config| {
        let redirects = json!(["http://localhost/callback", "http://127.0.0.1/callback"]);
        config["clients"] = json!([{ "clientId": id, "name": "Claude Code", "redirectUris": redirects }]);
    });
    for redirect in ["http://localhost:51004/callback", "http://127.0.0.1:51005/callback"] {
        let ask = Ask::of(&client, &Pkce::new()).set("redirect_uri", redirect);
        let returned = Returned::of(&world.browser().login(&ask, Script::default()));
        assert!(returned.to == redirect && returned.param("code").is_some(), "{returned:?}");
    }
    assert_eq!(site.asked("/turned-away"), 1);
}

#[test]
fn t131_t127_the_gate_does_not_ask_itself_and_strangers_name_no_other_port_and_no_private_address() {
    let world = World::with(|config| config["caFiles"] = json!([tls::file("authority.pem")]));
    let site = Site::start();
    let loopback = site.publishes("/c", json!({}));
    assert_eq!(authorize(&world, &loopback).status, 400, "no document lies on this machine");
    let localhost = Client::public(&loopback.id.replace("127.0.0.1", "localhost"));
    assert_eq!(authorize(&world, &localhost).status, 400);
    assert_eq!(authorize(&world, &Client::public(&format!("{BASE}/client.json"))).status, 503);
    assert_eq!(authorize(&world, &Client::public("https://localhost/client.json")).status, 503);
    assert_eq!(site.server.connections(), 0);
}

#[test]
fn as_15_the_operator_says_which_domains_documents_may_come_from() {
    let status = |change: fn(&mut Value), id: &str| {
        let world = World::with(change);
        authorize(&world, &Client::public(id)).status
    };
    let allowed = |config: &mut Value| config["clientDocumentDomains"] = json!(["good.invalid"]);
    assert_eq!(status(allowed, "https://good.invalid/c"), 503, "it is looked for");
    assert_eq!(status(allowed, "https://sub.good.invalid/c"), 503);
    assert_eq!(status(allowed, "https://bad.invalid/c"), 400);
    assert_eq!(status(allowed, "https://verygood.invalid/c"), 400);
    let denied = |config: &mut Value| config["deniedClientDocumentDomains"] = json!(["bad.invalid"]);
    assert_eq!(status(denied, "https://a.bad.invalid/c"), 400);
    assert_eq!(status(denied, "https://notbad.invalid/c"), 503);
    let off = |config: &mut Value| config["enableCIMD"] = json!(false);
    assert_eq!(status(off, "https://good.invalid/c"), 400);
}

#[test]
fn as_6_t135_the_metadata_say_whether_there_are_such_clients() {
    for on in [true, false] {
        let world = World::with(|config| config["enableCIMD"] = json!(on));
        let metadata = world.send(&Request::get("/.well-known/oauth-authorization-server")).json();
        assert_eq!(metadata["client_id_metadata_document_supported"], json!(on));
    }
}

#[test]
fn t051_t082_what_was_issued_to_one_document_s_client_is_worth_nothing_to_another_s() {
    let (site, world) = (Site::start(), world_with(|_| {}));
    let (one, two) = (site.publishes("/one", json!({})), site.publishes("/two", json!({})));
    let pkce = Pkce::new();
    let code = Returned::of(&world.browser().login(&Ask::of(&one, &pkce), Script::default())).code().to_owned();
    assert_eq!(world.send(&exchange_request(&two, &code, &pkce)).json()["error"], "invalid_grant");
    // Another spelling of its address is not its address.
    let escaped = site.url("/%6fne");
    for id in [
        format!("{}/", one.id),
        format!("{}?", one.id),
        format!("{}#", one.id),
        one.id.replace("https:", "HTTPS:"),
        one.id.replace("/one", "//one"),
        one.id.replace("/one", "/./one"),
        one.id.replace("/one", "/One"),
        one.id.replace("127.0.0.1", "localhost"),
        one.id.replace("127.0.0.1", "u@127.0.0.1"),
        format!(" {}", one.id),
        format!("{}\u{200b}", one.id),
        escaped,
    ] {
        let answer = world.send(&exchange_request(&Client::public(&id), &code, &pkce));
        assert!((400..504).contains(&answer.status) && !answer.text().contains("pca_"), "{id}: {}", answer.text());
    }
    let tokens = Tokens::of(&world.exchange(&one, &code, &pkce));
    assert_eq!(world.send(&refresh_request(&two, &tokens.refresh)).json()["error"], "invalid_grant");
    assert_eq!(world.revoke(&two, &tokens.refresh).status, 400);
    assert!(world.admits(&tokens.access));
}
