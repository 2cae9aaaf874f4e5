//! The authorization endpoint: what is refused on a page, what by redirect, and what nobody is told (group A).
//!
//! Rows of the group that have no test here:
//!
//! | row | why |
//! |---|---|
//! | T007, `form_post` | it is not offered: `response_mode` is `query` or a refusal |
//! | T015, "with a session" | the gate keeps no browser session, so `prompt=none` is always the unseen case |
//! | T018, `CONNECT` | a target in authority form is no path of the gate; the framing suite has it |

use crate::front::{
    AUTHORIZE, CHALLENGE, CONSENT, Front, OPERATORS, OPERATORS_REDIRECT, Sent, ask, asked, client_of, form, front, get,
    page, page_400, redirected, refused,
};
use crate::harness::http::{escape, form as form_of};
use crate::harness::{BASE, Client, REDIRECT, Request};
use std::io::ErrorKind;
use std::net::TcpListener;

/// A gate and its public client.
fn known() -> (&'static Front, Client) {
    let gate = front();
    // The port of the request is not the registered one.
    (gate, client_of(gate, &["http://127.0.0.1/callback"]))
}

#[test]
fn t001_a_client_that_is_not_known_is_a_page() {
    let (gate, client) = known();
    let good = ask(&client);
    let id = &client.id;
    let forged = id.replace(&id[id.len() - 3..], if id.ends_with("AAA") { "BBB" } else { "AAA" });
    let long = "a".repeat(8 * 1024);
    let ids = ["", "nobody", "dcr_", "dcr_AAAA", &forged, &id[..id.len() - 4], &id.to_uppercase(), &long];
    let more = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "a b",
        "ä",
        "https://evil.example/",
        "http://evil.example/c",
    ];
    for id in ids.into_iter().chain(more) {
        for answer in [good.clone().set("client_id", id).get(gate), good.clone().set("client_id", id).post(gate)] {
            page_400(&answer, id);
            assert!(id.len() < 5 || !answer.text().contains(id), "{id:?} is reflected");
        }
    }
    page_400(&good.clone().without("client_id").get(gate), "none");
    page_400(&get(gate, ""), "nothing at all");
    page_400(&gate.send(&Request::get(AUTHORIZE)), "no query");
    let rest = good.without("client_id").query();
    for raw in ["a%00b", "%0d%0aSet-Cookie:x=1", "%ff%fe", "%C0%AF", "%", "%zz", "%u0041", "dcr_%0a"] {
        page_400(&get(gate, &format!("{rest}&client_id={raw}")), raw);
        page_400(&gate.send(&form(AUTHORIZE, &format!("{rest}&client_id={raw}"))), raw);
    }
}

#[test]
fn t001_t010_what_is_too_long_is_refused_before_it_is_read() {
    let (gate, client) = known();
    let long = "a".repeat(64 * 1024);
    for name in ["client_id", "state", "scope", "x"] {
        let ask = ask(&client).set(name, &long);
        let by_get = ask.get(gate);
        assert!(matches!(by_get.status, 400 | 414 | 431), "{name}: {}", by_get.status);
        let by_post = ask.post(gate);
        page(&by_post, 413, name);
        for answer in [by_get, by_post] {
            assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{name}");
            assert!(!answer.text().contains("aaaaaaaa"), "{name}");
        }
    }
}

/// R56 (CVE-2026-41479): an open redirect by an error that was told before the redirect URI was judged.
#[test]
fn t002_two_errors_at_once_never_redirect() {
    let (gate, client) = known();
    let evil = "https://evil.example/cb";
    let wrong = [
        ("response_type", "bogus"),
        ("response_type", ""),
        ("response_mode", "fragment"),
        ("code_challenge", ""),
        ("code_challenge_method", "plain"),
        ("scope", "\"\\"),
        ("resource", "https://other.example/"),
        ("request", "eyJhbGciOiJub25lIn0.e30."),
        ("request_uri", "https://evil.example/request"),
        ("prompt", "none"),
        ("state", "twice"),
    ];
    for (name, value) in wrong {
        for (id, redirect) in
            [(&*client.id, evil), ("nobody", REDIRECT), ("nobody", evil), (&client.id, "javascript:alert(1)")]
        {
            let ask = ask(&client).set("client_id", id).set("redirect_uri", redirect).set(name, value);
            let ask = if value == "twice" { ask.again(name, value) } else { ask };
            page_400(&ask.get(gate), &format!("{name}={value} {redirect}"));
            page_400(&ask.post(gate), &format!("{name}={value} {redirect}"));
        }
    }
}

#[test]
fn r56_r57_cve_2026_41479_cve_2026_54072_nothing_goes_to_a_redirect_that_was_not_judged() {
    let (gate, client) = known();
    for evil in [
        "https://evil.example/cb",
        "http://127.0.0.1.evil.example/callback",
        "http://127.0.0.1:1@evil.example/callback",
    ] {
        for ask in [
            ask(&client).set("redirect_uri", evil),
            ask(&client).set("redirect_uri", evil).set("response_type", "token"),
            ask(&client).set("redirect_uri", evil).again("redirect_uri", REDIRECT),
            ask(&client).again("redirect_uri", evil),
            ask(&client).set("redirect_uri", evil).set("prompt", "none"),
        ] {
            page_400(&ask.get(gate), evil);
        }
    }
}

#[test]
fn t003_a_parameter_that_comes_twice_is_never_chosen_from() {
    let (gate, client) = known();
    let good = ask(&client);
    for (name, same, other) in [
        ("client_id", &*client.id, "other"),
        ("redirect_uri", REDIRECT, "http://127.0.0.1:1/callback"),
        ("code_challenge", CHALLENGE, "aaaa"),
        ("code_challenge_method", "S256", "plain"),
        ("state", "state-1", "abc"),
        ("scope", "mcp", "other"),
        ("response_type", "code", "token"),
        ("unheard_of", "a", "b"),
        ("prompt", "login", "none"),
    ] {
        for second in [same, other, ""] {
            let case = format!("{name}={second}");
            let once = good.clone().set(name, same);
            let twice = once.clone().again(name, second);
            let apart = form(&format!("{AUTHORIZE}?{}={}", name, escape(second)), &once.query());
            for answer in [twice.get(gate), twice.post(gate), gate.send(&apart)] {
                match name {
                    "client_id" | "redirect_uri" => page_400(&answer, &case),
                    // Of two states neither is the client's.
                    "state" => {
                        let said = redirected(&answer, REDIRECT, None, &case);
                        assert_eq!(said["error"], "invalid_request", "{case}");
                    }
                    _ => refused(&answer, REDIRECT, "invalid_request", &case),
                }
            }
        }
    }
    // A name that is escaped is the same name.
    let hidden = format!("{}&%63ode_challenge={CHALLENGE}", good.query());
    refused(&get(gate, &hidden), REDIRECT, "invalid_request", "%63ode_challenge");
}

#[test]
fn t005_an_empty_value_counts_as_left_out() {
    let (gate, client) = known();
    let good = ask(&client);
    for (name, error) in [
        ("code_challenge", "invalid_request"),
        ("code_challenge_method", "invalid_request"),
        ("response_type", "invalid_request"),
    ] {
        refused(&good.clone().set(name, "").get(gate), REDIRECT, error, name);
        refused(&good.clone().without(name).get(gate), REDIRECT, error, name);
    }
    for name in ["scope", "state", "resource", "response_mode", "prompt", "max_age", "login_hint"] {
        asked(&good.clone().set(name, "").get(gate), name);
        asked(&good.clone().without(name).get(gate), name);
    }
    for name in ["client_id", "redirect_uri"] {
        page_400(&good.clone().set(name, "").get(gate), name);
    }
    // An empty state is not sent back as one.
    let ask = good.set("state", "").set("response_type", "token");
    assert_eq!(redirected(&ask.get(gate), REDIRECT, None, "state=")["error"], "unsupported_response_type");
}

#[test]
fn t006_only_code_and_nothing_in_a_fragment() {
    let (gate, client) = known();
    for kind in [
        "token",
        "id_token",
        "code token",
        "code id_token",
        "CODE",
        " code",
        "code ",
        "none",
        "code,token",
        "\u{441}ode",
    ] {
        let ask = ask(&client).set("response_type", kind);
        refused(&ask.get(gate), REDIRECT, "unsupported_response_type", kind);
        refused(&ask.post(gate), REDIRECT, "unsupported_response_type", kind);
    }
}

/// R52 (CVE-2024-21637): `form_post` was a way for scripts.
#[test]
fn t007_r52_cve_2024_21637_only_the_query_carries_answers() {
    let (gate, client) = known();
    for mode in [
        "fragment",
        "form_post",
        "query.jwt",
        "jwt",
        "web_message",
        "javascript",
        "QUERY",
        "\"><script>alert(1)</script>",
    ] {
        let ask = ask(&client).set("response_mode", mode);
        refused(&ask.get(gate), REDIRECT, "invalid_request", mode);
    }
    asked(&ask(&client).set("response_mode", "query").get(gate), "query");
}

#[test]
fn t008_r56_request_objects_are_refused_and_never_fetched() {
    let (gate, client) = known();
    let inside = TcpListener::bind("127.0.0.1:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let there = format!("http://{}/request", inside.local_addr().unwrap());
    for (name, value, error) in [
        ("request", "eyJhbGciOiJub25lIn0.e30.", "request_not_supported"),
        ("request_uri", &there, "request_uri_not_supported"),
        ("request_uri", &there.replace("http:", "https:"), "request_uri_not_supported"),
        ("request_uri", "urn:ietf:params:oauth:request_uri:x", "request_uri_not_supported"),
    ] {
        for asking in [ask(&client), ask(&gate.confidential_client("A confidential client"))] {
            refused(&asking.clone().set(name, value).get(gate), REDIRECT, error, value);
            refused(&asking.set(name, value).post(gate), REDIRECT, error, value);
        }
        // What it may hold stands for nothing that the request itself leaves out.
        page_400(&get(gate, &form_of(&[("client_id", client.id.as_str()), (name, value)])), value);
        page_400(&get(gate, &form_of(&[(name, value)])), value);
    }
    assert_eq!(inside.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody called");
}

#[test]
fn t003_a_form_that_is_posted_is_a_form_and_nothing_is_guessed() {
    let (gate, client) = known();
    let query = ask(&client).query();
    let json =
        serde_json::json!({ "client_id": client.id, "redirect_uri": REDIRECT, "response_type": "code" }).to_string();
    let encoded = "application/x-www-form-urlencoded";
    for (content_type, body) in [
        ("application/json", json.as_str()),
        ("text/plain", &query),
        ("multipart/form-data; boundary=x", &query),
        ("application/x-www-form-urlencodedx", &query),
        ("application/json, application/x-www-form-urlencoded", &query),
        ("application/x-www-form-urlencoded; charset=utf-16", &query),
        ("", &query),
    ] {
        let posted = Request::post(AUTHORIZE).header("Content-Type", content_type).body(body);
        page_400(&gate.send(&posted), content_type);
    }
    page_400(&gate.send(&Request::post(AUTHORIZE).body(query.as_str())), "no content type");
    let two = Request::post(AUTHORIZE).header("Content-Type", encoded).header("Content-Type", encoded);
    page_400(&gate.send(&two.body(query.as_str())), "two content types");
    // Other names of a parameter are other parameters, and a body of a GET is none.
    for (name, value) in [("client_id[]", &*client.id), ("Client_Id", &client.id), ("client_id ", &client.id)] {
        page_400(&ask(&client).without("client_id").set(name, value).get(gate), name);
    }
    let got = Request::new("GET", AUTHORIZE).header("Content-Type", encoded).body(query.as_str());
    page_400(&gate.send(&got), "a body of a GET");
}

#[test]
fn t009_what_is_unknown_is_ignored_within_the_bounds() {
    let (gate, client) = known();
    let mut many = ask(&client);
    for number in 0..200 {
        many = many.again(&format!("unknown{number}"), "value");
    }
    asked(&many.get(gate), "200 of them");
    asked(&many.post(gate), "200 of them");
    for number in 200..300 {
        many = many.again(&format!("unknown{number}"), "value");
    }
    page_400(&many.get(gate), "300 of them");
    let mut large = ask(&client);
    for number in 0..200 {
        large = large.again(&format!("unknown{number}"), &"v".repeat(4_096));
    }
    assert!(matches!(large.get(gate).status, 400 | 414 | 431));
    page(&large.post(gate), 413, "800 KiB");
}

#[test]
fn t010_as_24_the_state_comes_back_as_it_went() {
    let (gate, client) = known();
    let refusable = ask(&client).set("response_type", "token");
    let long = "s".repeat(512);
    for state in [
        "x",
        &long,
        "a&b=c#d",
        "&error=none&code=forged&iss=https://evil.example",
        "\r\nSet-Cookie: x=1",
        "\r\n\r\n<script>alert(1)</script>",
        "\"'><b>",
        "äöü €\u{1f600}",
        "a b+c%20d",
        "%00",
        "../..//",
        "\u{2028}\u{202e}",
        "\t",
    ] {
        for answer in
            [refusable.clone().set("state", state).get(gate), refusable.clone().set("state", state).post(gate)]
        {
            let said = redirected(&answer, REDIRECT, Some(state), state);
            assert_eq!(said["error"], "unsupported_response_type", "{state:?}");
        }
        asked(&ask(&client).set("state", state).get(gate), state);
    }
    for length in [513, 8 * 1024] {
        let ask = ask(&client).set("state", &"s".repeat(length));
        let said = redirected(&ask.get(gate), REDIRECT, None, "too long");
        assert_eq!(said["error"], "invalid_request", "{length}");
    }
    // NUL is no text, so there is no request whose client could be asked.
    page_400(&get(gate, &format!("{}&x=%00", refusable.without("state").query())), "NUL");
}

#[test]
fn t011_scopes_are_read_by_their_grammar() {
    let (gate, client) = known();
    let asking = |scope: &str| ask(&client).set("scope", scope).get(gate);
    for scope in ["a\"b", "a\\b", "ä", "a\tb", "mcp \u{7f}", "mcp\n", "<script>"] {
        let answer = asking(scope);
        // A greater-than sign is a scope character: that scope is merely not offered.
        refused(&answer, REDIRECT, "invalid_scope", scope);
    }
    refused(&asking("unknown"), REDIRECT, "invalid_scope", "unknown");
    for scope in
        ["mcp mcp mcp", " mcp", "mcp ", "mcp  mcp", "mcp unknown", "offline_access", "openid", "mcp offline_access"]
    {
        asked(&asking(scope), scope);
    }
    let many: String = (0..500).map(|number| format!("s{number} ")).collect();
    asked(&asking(&format!("{many}mcp")), "500 scopes");
    let too_many: String = (0..10_000).map(|_| "s ").collect();
    let answer = ask(&client).set("scope", &too_many).post(gate);
    refused(&answer, REDIRECT, "invalid_request", "10 000 scopes");
}

#[test]
fn t013_no_page_of_another_origin_reads_where_browsers_are_led_through() {
    let (gate, client) = known();
    let query = ask(&client).query();
    for path in [&format!("{AUTHORIZE}?{query}"), "/authorize", CONSENT, "/oauth/callback"] {
        for origin in ["https://evil.example", "https://claude.ai", BASE, "null"] {
            for request in [
                Request::get(path).header("origin", origin),
                form(path, &query).header("origin", origin),
                Request::new("OPTIONS", path)
                    .header("origin", origin)
                    .header("access-control-request-method", "POST")
                    .header("access-control-request-headers", "content-type"),
            ] {
                let answer = gate.send(&request);
                for (name, _) in &answer.headers {
                    assert!(!name.to_ascii_lowercase().starts_with("access-control-"), "{path} {origin}: {name}");
                }
            }
        }
    }
}

#[test]
fn t014_what_answers_a_post_is_never_posted_again() {
    let (gate, client) = known();
    let ask = ask(&client).set("response_type", "token");
    assert_eq!(ask.get(gate).status, 302);
    assert_eq!(ask.post(gate).status, 303);
    // What follows consent is in `consent.rs`.
}

#[test]
fn t015_r36_without_a_page_there_is_no_consent() {
    let (gate, client) = known();
    let asking = |prompt: &str| ask(&client).set("prompt", prompt).get(gate);
    refused(&asking("none"), REDIRECT, "consent_required", "none");
    refused(&asking(" none "), REDIRECT, "consent_required", "none with spaces");
    for prompt in ["none login", "login none", "none consent"] {
        refused(&asking(prompt), REDIRECT, "invalid_request", prompt);
    }
    for prompt in ["login", "consent", "select_account", "login consent", "create", "NONE", "unheard-of"] {
        asked(&asking(prompt), prompt);
    }
}

#[test]
fn t017_no_error_says_what_the_request_said() {
    let (gate, client) = known();
    let hostile = "e\"\\\r\n\u{7f}<b>ä";
    for (name, value) in [
        ("response_type", hostile),
        ("response_mode", hostile),
        ("code_challenge", hostile),
        ("code_challenge_method", hostile),
        ("scope", hostile),
        ("resource", hostile),
        ("max_age", hostile),
        ("request", hostile),
        ("request_uri", hostile),
        (hostile, "x"),
    ] {
        let ask = ask(&client).set(name, value);
        let ask = if name == hostile { ask.again(name, value) } else { ask };
        let answer = ask.get(gate);
        let said = redirected(&answer, REDIRECT, Some("state-1"), name);
        for part in ["error", "error_description"] {
            let plain = said[part].bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e));
            assert!(plain && !said[part].contains("<b>"), "{name}: {part}={}", said[part]);
        }
        assert!(answer.text().is_empty(), "{name}: {}", answer.text());
    }
}

#[test]
fn t018_other_methods_are_refused_and_do_nothing() {
    let (gate, client) = known();
    let query = ask(&client).query();
    let endpoints = [
        (AUTHORIZE, "GET, POST"),
        ("/authorize", "GET, POST"),
        (CONSENT, "POST"),
        ("/oauth/callback", "GET"),
        ("/oauth/token", "POST"),
        ("/token", "POST"),
        ("/oauth/register", "POST"),
        ("/register", "POST"),
        ("/oauth/revoke", "POST"),
        ("/.well-known/oauth-authorization-server", "GET, HEAD"),
        ("/.well-known/jwks.json", "GET, HEAD"),
    ];
    for (path, allowed) in endpoints {
        for method in ["HEAD", "GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "get", "Post"] {
            if allowed.split(", ").any(|allowed| allowed == method) {
                continue;
            }
            let answer = gate.send(&Request::new(method, &format!("{path}?{query}")));
            let case = format!("{method} {path}");
            assert!(matches!(answer.status, 400 | 405 | 501), "{case}: {}", answer.status);
            if answer.status == 405 {
                assert_eq!(answer.header("allow"), Some(allowed), "{case}");
            }
            assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{case}");
            assert!(!answer.text().contains(&client.id), "{case}");
        }
    }
    let long = gate.send(&Request::new(&"M".repeat(2_000), AUTHORIZE));
    assert!(matches!(long.status, 400 | 405 | 501), "{}", long.status);
}

/// R32 (CVE-2026-3872): a path that the guard and the router read differently.
#[test]
fn t019_r32_cve_2026_3872_there_is_one_way_to_write_a_path() {
    let (gate, client) = known();
    let query = ask(&client).query();
    for path in [
        "//oauth/authorize",
        "/oauth//authorize",
        "/oauth/authorize/",
        "/oauth/Authorize",
        "/OAUTH/AUTHORIZE",
        "/oauth/authorize;x=1",
        "/oauth;/authorize",
        "/oauth/%61uthorize",
        "/oauth%2fauthorize",
        "/./oauth/authorize",
        "/oauth/./authorize",
        "/x/../oauth/authorize",
        "/x/..;/oauth/authorize",
        "/oauth/authorize%2f..",
        "/oauth/authorize%00",
        "/oauth/authorize%20",
        "/oauth/authorize.json",
        "/oauth\\authorize",
        "//authorize",
        "/authorize/",
        "/Authorize",
        "/authorize;x=1",
        "/%61uthorize",
        "/authorize%2f..",
        "/mcp/../oauth/authorize",
        "/oauth",
        "/oauth/",
        "/oauth/authorize/authorize",
    ] {
        let answer = gate.send(&Request::get(&format!("{path}?{query}")));
        assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
        assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{path}");
        assert!(!answer.text().contains("approve"), "{path}");
    }
}

/// R06 (CVE-2025-4144), R52 (CVE-2023-48228, CVE-2024-23647), R53 (CVE-2024-22258): PKCE that could be left out.
#[test]
fn r06_r52_r53_t042_t043_nobody_gets_past_without_a_challenge() {
    let (gate, public) = known();
    // A confidential client is not spared, nor one that the operator knows.
    for client in [public, gate.confidential_client("A confidential client"), Client::public(OPERATORS)] {
        let redirect = if client.id == OPERATORS { OPERATORS_REDIRECT } else { REDIRECT };
        let good = ask(&client).set("redirect_uri", redirect);
        asked(&good.get(gate), &client.id);
        for bad in [
            good.clone().without("code_challenge"),
            good.clone().without("code_challenge").without("code_challenge_method"),
            good.clone().without("code_challenge_method"),
            good.clone().set("code_challenge_method", "plain"),
            good.clone().set("code_challenge_method", "s256"),
            good.clone().set("code_challenge_method", "S512"),
            good.clone().set("code_challenge_method", "S256 "),
            good.clone().set("code_challenge", "short"),
            good.clone().set("code_challenge", &format!("{CHALLENGE}=")),
            good.clone().set("code_challenge", &CHALLENGE[..42]),
            good.clone().set("code_challenge", &format!("{CHALLENGE}a")),
            good.clone().set("code_challenge", &CHALLENGE.replace('-', "+")),
        ] {
            refused(&bad.get(gate), redirect, "invalid_request", &bad.query());
        }
    }
}

#[test]
fn as_5_i_5_the_names_at_the_root_are_the_same_endpoints() {
    let (gate, client) = known();
    let ask = ask(&client);
    asked(&gate.send(&Request::get(&format!("/authorize?{}", ask.query()))), "/authorize");
    let bad = ask.set("response_type", "token");
    refused(&gate.send(&form("/authorize", &bad.query())), REDIRECT, "unsupported_response_type", "/authorize");
    let metadata = r#"{"redirect_uris":["http://localhost/cb"],"token_endpoint_auth_method":"none"}"#;
    let registered = gate.send(&Request::post("/register").header("content-type", "application/json").body(metadata));
    assert_eq!(registered.status, 201);
    let token = gate.send(&form("/token", "grant_type=authorization_code&code=x&client_id=nobody"));
    assert_eq!((token.status, token.error()), (401, "invalid_client".to_owned()));
}

/// F-3: a client whose redirect URI is good never waits for an answer that went to a page.
#[test]
fn f_3_as_21_as_22_with_a_good_redirect_every_error_goes_there_with_state_and_iss() {
    let (gate, client) = known();
    let good = ask(&client);
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_mode", "fragment", "invalid_request"),
        ("code_challenge", "x", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("scope", "unknown", "invalid_scope"),
        ("resource", "https://other.example/mcp", "invalid_target"),
        ("prompt", "none", "consent_required"),
        ("max_age", "-1", "invalid_request"),
        ("request", "x", "request_not_supported"),
        ("request_uri", "x", "request_uri_not_supported"),
    ] {
        let ask = good.clone().set(name, value);
        refused(&ask.get(gate), REDIRECT, error, name);
        refused(&ask.post(gate), REDIRECT, error, name);
    }
}

#[test]
fn as_23_a_resource_is_named_in_the_ways_that_clients_use() {
    let (gate, client) = known();
    let asking = |resource: &str| ask(&client).set("resource", resource);
    for resource in [
        "https://gate.example/mcp",
        "https://gate.example/mcp/",
        "HTTPS://GATE.EXAMPLE/mcp",
        "https://gate.example:443/mcp",
        "https://gate.example/mcp?session=1",
    ] {
        asked(&asking(resource).get(gate), resource);
    }
    asked(&ask(&client).without("resource").get(gate), "no resource");
    asked(
        &asking("https://gate.example/mcp").again("resource", "https://gate.example/mcp/").get(gate),
        "the same twice",
    );
    for resource in [
        "https://gate.example/other",
        "https://gate.example/MCP",
        "http://gate.example/mcp",
        "https://gate.example.evil.example/mcp",
        "https://evil.example/mcp",
        "https://gate.example/mcp#x",
        "https://u@gate.example/mcp",
        "/mcp",
        "mcp",
        "javascript:alert(1)",
    ] {
        refused(&asking(resource).get(gate), REDIRECT, "invalid_target", resource);
    }
    let two = asking("https://gate.example/mcp").again("resource", "https://gate.example/second");
    refused(&two.get(gate), REDIRECT, "invalid_target", "two resources");
}
