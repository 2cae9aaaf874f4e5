//! Dynamic client registration: nothing that a request says of itself gives it anything (group F).
//!
//! Rows of the group that have no test here:
//!
//! | row | why |
//! |---|---|
//! | T093, "nothing stored" | registration has no store: a refused one answers with an error, and there is nothing else that it could leave |
//! | T101, "expired, reused token" | the operator's token is a setting: it neither expires nor is used up |
//! | T102, "rotated, revoked token" | a registration access token is derived from the client's id and lives as long as it |

use crate::front::{Front, REGISTER, Sent, ask, asked, client_of, front, page_400, register};
use crate::harness::{BASE, Client, Pkce, REDIRECT, Request, Response, Script, Tokens, World};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::net::TcpListener;

/// Metadata that can be registered, with these members over it.
fn metadata(over: &Value) -> Value {
    let mut whole = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    for (name, value) in over.as_object().unwrap() {
        whole[name] = value.clone();
    }
    whole
}

/// A refusal as RFC 7591 section 3.2.2 has it, that keeps what it refuses to itself.
#[track_caller]
fn refused(answer: &Response, status: u16, error: &str, case: &str) {
    assert_eq!((answer.status, answer.error()), (status, error.to_owned()), "{case}: {}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
    let said = answer.json();
    let said = said.as_object().unwrap();
    assert!(said.keys().all(|name| name == "error" || name == "error_description"), "{case}: {said:?}");
}

/// Raw bytes to the registration endpoint.
fn raw(gate: &Front, body: &[u8]) -> Response {
    gate.send(&Request::post(REGISTER).header("Content-Type", "application/json").body(body))
}

/// R54 (CVE-2026-22752, CVE-2026-59354).
#[test]
fn t093_r54_cve_2026_22752_cve_2026_59354_redirect_uris_are_all_good_or_none_is() {
    let gate = front();
    for redirects in [
        json!(null),
        json!([]),
        json!(""),
        json!(REDIRECT),
        json!({ "0": REDIRECT }),
        json!([REDIRECT, 1]),
        json!([REDIRECT, null]),
        json!([REDIRECT, [REDIRECT]]),
        json!([REDIRECT, ""]),
        json!([REDIRECT, "javascript:alert(1)"]),
        json!([REDIRECT, "http://app.example.com/cb"]),
        json!([REDIRECT, "https://app.example.com/cb#x"]),
        json!([REDIRECT, "https://u@app.example.com/cb"]),
        json!([REDIRECT, "/cb"]),
        json!([REDIRECT, format!("https://app.example.com/{}", "a".repeat(400))]),
        json!((0..11).map(|number| format!("https://app.example.com/{number}")).collect::<Vec<_>>()),
    ] {
        let answer = register(gate, &metadata(&json!({ "redirect_uris": redirects })));
        refused(&answer, 400, "invalid_redirect_uri", &redirects.to_string());
    }
    let answer = register(gate, &json!({ "token_endpoint_auth_method": "none" }));
    refused(&answer, 400, "invalid_redirect_uri", "none");
    let most = (0..10).map(|number| format!("http://127.0.0.1/{number}")).collect::<Vec<_>>();
    assert_eq!(register(gate, &metadata(&json!({ "redirect_uris": most }))).status, 201);
}

#[test]
fn t092_t093_r54_what_is_no_registration_is_refused_and_nothing_of_it_answered() {
    let gate = front();
    let good = metadata(&json!({})).to_string();
    let twice = good.replacen('{', r#"{"redirect_uris":["https://evil.example/cb"],"#, 1);
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let many = format!(r#"{{"x":[{}1]}}"#, "1,".repeat(20_000));
    for body in ["", "{", "null", "[]", "\"x\"", "1", "{}x", &twice, &deep, &many, "{\"a\":\u{1}}", "\u{feff}{}"] {
        let answer = raw(gate, body.as_bytes());
        assert!(matches!(answer.error().as_str(), "invalid_request" | "invalid_client_metadata"), "{body:.40}");
        assert_eq!(answer.status, 400, "{body:.40}");
    }
    assert_eq!(raw(gate, b"{\"client_name\":\"\xff\"}").status, 400);
    // A name that is escaped is the same name, and one in other letters is another.
    let elsewhere = r#"["https://evil.example/cb"]"#;
    for (name, status) in [(r"redirect\u005furis", 400), ("Redirect_URIs", 201), ("redirect_uris ", 201)] {
        let answer = raw(gate, good.replacen('{', &format!(r#"{{"{name}":{elsewhere},"#), 1).as_bytes());
        assert_eq!((answer.status, answer.text().contains("evil")), (status, false), "{name}: {}", answer.text());
    }
    for name in [r"a\u0000b", r"\ud800", r"\udc00\ud800"] {
        let answer = raw(gate, good.replacen('{', &format!(r#"{{"x":"{name}","#), 1).as_bytes());
        assert!(matches!(answer.status, 201 | 400), "{name}: {}", answer.status);
    }
    let members = (0..20_000).map(|number| format!(r#""{number:x}":1"#)).collect::<Vec<_>>().join(",");
    let answer = raw(gate, format!("{{{members}}}").as_bytes());
    assert!(matches!(answer.status, 400 | 413), "thousands of members: {}", answer.status);
    let long = metadata(&json!({ "client_name": "a".repeat(64 * 1024) })).to_string();
    assert_eq!(raw(gate, long.as_bytes()).status, 413);
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "multipart/form-data"]
    {
        let answer = gate.send(&Request::post(REGISTER).header("Content-Type", content_type).body(good.as_str()));
        refused(&answer, 400, "invalid_request", content_type);
    }
    refused(&gate.send(&Request::post(REGISTER).body(good.as_str())), 400, "invalid_request", "no content type");
    let two = Request::json(REGISTER, &metadata(&json!({}))).header("Content-Type", "application/json");
    refused(&gate.send(&two), 400, "invalid_request", "two content types");
}

#[test]
fn t152_r17_cve_2026_27896_a_member_in_other_letters_is_another_member() {
    let gate = front();
    for name in ["Redirect_URIs", "REDIRECT_URIS", "redirect_uris ", "redirect\u{200b}_uris"] {
        let answer = register(gate, &json!({ name: [REDIRECT], "token_endpoint_auth_method": "none" }));
        refused(&answer, 400, "invalid_redirect_uri", name);
        let answer = register(gate, &metadata(&json!({ name: ["https://evil.example/cb"] })));
        assert_eq!(answer.status, 201, "{name:?}: {}", answer.text());
        assert!(!answer.text().contains("evil"), "{name:?}: {}", answer.text());
    }
    // Written with an escape it is the same name, and stands twice.
    let twice = r#"{"redirect_uris":["https://evil.example/cb"],"redirect\u005furis":["http://127.0.0.1/cb"]}"#;
    refused(&raw(gate, twice.as_bytes()), 400, "invalid_request", "escaped");
}

#[test]
fn t094_names_are_one_harmless_line_and_links_are_not_taken_over() {
    let gate = front();
    for (name, kept) in [
        ("Claude", Some("Claude")),
        (" a  b\t c\r\nd ", Some("a b c d")),
        ("a\u{202e}b\u{2066}c\u{200f}d", Some("abcd")),
        ("a\u{200b}b\u{200d}c\u{feff}d\u{ad}e", Some("abcde")),
        ("\u{200b}\u{202e}", None),
        ("", None),
        ("<script>alert(1)</script>", Some("<script>alert(1)</script>")),
    ] {
        let answer = register(gate, &metadata(&json!({ "client_name": name })));
        assert_eq!(answer.status, 201, "{name:?}");
        assert_eq!(answer.json()["client_name"].as_str(), kept, "{name:?}");
    }
    let long = register(gate, &metadata(&json!({ "client_name": "ä".repeat(20_000) }))).json();
    assert!(long["client_name"].as_str().unwrap().len() <= 128);
    for uri in [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://169.254.169.254/",
        "<script>alert(1)</script>",
        "https://x.example/",
    ] {
        for member in ["client_uri", "logo_uri", "tos_uri", "policy_uri"] {
            let answer = register(gate, &metadata(&json!({ member: uri, "contacts": [uri] })));
            assert_eq!(answer.status, 201, "{member} {uri}");
            assert!(!answer.text().contains(uri), "{member} {uri}");
            let page = ask(&Client::public(answer.json()["client_id"].as_str().unwrap())).get(gate);
            asked(&page, uri);
            assert!(!page.text().contains(uri), "{member} {uri}");
        }
    }
    for bad in [json!(1), json!(["a"]), json!({})] {
        let answer = register(gate, &metadata(&json!({ "client_name": bad })));
        refused(&answer, 400, "invalid_client_metadata", &bad.to_string());
    }
}

#[test]
fn t095_nobody_chooses_an_id_a_secret_or_a_right() {
    let gate = front();
    let wishes = json!({
        "client_id": "chosen", "client_secret": "chosen-secret", "client_id_issued_at": 1, "client_secret_expires_at": 99,
        "registration_access_token": "chosen-token", "registration_client_uri": "https://evil.example/r",
        "owner": "admin", "admin": true, "first_party": true, "trusted": true, "skip_consent": true, "without_page": true,
        "require_consent": false, "scope": "mcp admin", "default_max_age": 0, "backchannel_logout_uri": "https://evil.example/",
    });
    for method in ["none", "client_secret_basic"] {
        let mut wanted = metadata(&wishes);
        wanted["token_endpoint_auth_method"] = json!(method);
        let answer = register(gate, &wanted);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let given = answer.json();
        for (name, wish) in wishes.as_object().unwrap() {
            assert_ne!(&given[name], wish, "{name} was chosen");
        }
        let known = [
            "client_id",
            "client_id_issued_at",
            "client_secret",
            "client_secret_expires_at",
            "client_name",
            "redirect_uris",
            "grant_types",
            "response_types",
            "token_endpoint_auth_method",
            "registration_client_uri",
            "registration_access_token",
        ];
        for name in given.as_object().unwrap().keys() {
            assert!(known.contains(&name.as_str()), "{name}");
        }
        // It is asked like every other.
        asked(&ask(&Client::public(given["client_id"].as_str().unwrap())).get(gate), method);
    }
    page_400(&ask(&Client::public("chosen")).get(gate), "chosen");
}

#[test]
fn t097_a_software_statement_vouches_for_nobody() {
    let gate = front();
    let statement = "eyJhbGciOiJub25lIn0.eyJjbGllbnRfbmFtZSI6IkNsYXVkZSIsInRydXN0ZWQiOnRydWV9.";
    let answer = register(gate, &metadata(&json!({ "software_statement": statement, "client_name": "Mine" })));
    assert_eq!((answer.status, answer.json()["client_name"].as_str()), (201, Some("Mine")));
    assert!(!answer.text().contains(statement));
    let page = ask(&Client::public(answer.json()["client_id"].as_str().unwrap())).get(gate);
    assert!(page.text().contains("Not verified"));
}

#[test]
fn t098_metadata_that_contradict_themselves_are_refused() {
    let gate = front();
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let private =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "d": "x" });
    for over in [
        json!({ "grant_types": ["implicit"] }),
        json!({ "grant_types": ["refresh_token"] }),
        json!({ "grant_types": [] }),
        json!({ "grant_types": "authorization_code" }),
        json!({ "response_types": ["token"] }),
        json!({ "response_types": ["code", "token"] }),
        json!({ "response_types": ["code id_token"] }),
        json!({ "response_types": [] }),
        json!({ "token_endpoint_auth_method": "private_key_jwt" }),
        json!({ "token_endpoint_auth_method": "client_secret_jwt" }),
        json!({ "token_endpoint_auth_method": "NONE" }),
        json!({ "token_endpoint_auth_method": 1 }),
        json!({ "jwks": { "keys": [key] }, "jwks_uri": "https://app.example.com/keys" }),
        json!({ "jwks": { "keys": [private] } }),
        json!({ "jwks": { "keys": [{ "kty": "oct", "k": "AAAA" }] } }),
        json!({ "jwks": "x" }),
    ] {
        refused(&register(gate, &metadata(&over)), 400, "invalid_client_metadata", &over.to_string());
    }
    // What real clients send beside what is offered is left out of the answer.
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    let answer = register(gate, &metadata(&json!({ "grant_types": ["authorization_code", "refresh_token", device] })));
    assert_eq!(answer.json()["grant_types"], json!(["authorization_code", "refresh_token"]));
}

#[test]
fn t099_r34_cve_2026_1180_no_address_of_a_registration_is_ever_called() {
    let gate = front();
    let inside = TcpListener::bind("127.0.0.1:0").unwrap();
    inside.set_nonblocking(true).unwrap();
    let uri = format!("http://{}/x", inside.local_addr().unwrap());
    let mut wanted = json!({ "redirect_uris": [&uri], "token_endpoint_auth_method": "none", "request_uris": [&uri] });
    for member in
        ["jwks_uri", "logo_uri", "sector_identifier_uri", "client_uri", "tos_uri", "policy_uri", "initiate_login_uri"]
    {
        wanted[member] = json!(uri);
    }
    let answer = register(gate, &wanted);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let client = Client::public(answer.json()["client_id"].as_str().unwrap());
    asked(&ask(&client).set("redirect_uri", &uri).get(gate), "asked");
    ask(&client).set("redirect_uri", &uri).set("response_type", "token").get(gate);
    assert_eq!(inside.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody called");
}

/// R09 (CVE-2026-101062), R13 (CVE-2026-110732, CVE-2026-15015).
#[test]
fn t101_r09_r13_every_way_to_register_has_the_same_gate() {
    const TOKEN: &str = "a-registration-token-of-the-operator";
    let closed = World::with(|config| config["allowPublicClientRegistration"] = json!(false));
    let by_token = World::with(|config| {
        config["allowPublicClientRegistration"] = json!(false);
        config["registrationToken"] = json!(TOKEN);
    });
    let foreign = metadata(&json!({ "redirect_uris": ["https://foreign.example/cb"] }));
    let mixed = metadata(&json!({ "redirect_uris": [REDIRECT, "https://foreign.example/cb"] }));
    for path in [REGISTER, "/register"] {
        for wanted in [&foreign, &mixed] {
            let ask = || Request::json(path, wanted);
            refused(&closed.send(&ask()), 403, "access_denied", path);
            refused(&closed.send(&ask().bearer(TOKEN)), 403, "access_denied", path);
            for (case, request) in [
                ("none", ask()),
                ("wrong", ask().bearer("another-token-of-somebody-else")),
                ("shorter", ask().bearer(&TOKEN[..TOKEN.len() - 1])),
                ("basic", ask().basic("x", TOKEN)),
                ("in the query", Request::json(&format!("{path}?access_token={TOKEN}"), wanted)),
                ("other scheme", ask().header("Authorization", "Token x")),
            ] {
                let answer = by_token.send(&request);
                assert!(matches!(answer.status, 400 | 401), "{case}: {} {}", answer.status, answer.text());
                if answer.status == 401 {
                    refused(&answer, 401, "invalid_token", case);
                    let challenge = answer.header("www-authenticate").unwrap_or_default();
                    assert!(challenge.starts_with("Bearer"), "{case}: {challenge:?}");
                }
            }
        }
        // Who sends people only where a known client or their own machine is needs nobody's word.
        for redirect in
            [REDIRECT, "https://claude.ai/api/mcp/auth_callback", "cursor://anysphere.cursor-mcp/oauth/callback"]
        {
            for world in [&closed, &by_token] {
                let answer = world.send(&Request::json(path, &metadata(&json!({ "redirect_uris": [redirect] }))));
                assert_eq!(answer.status, 201, "{redirect}: {}", answer.text());
            }
        }
    }
}

#[test]
fn t101_the_operator_s_token_registers_any_client() {
    const TOKEN: &str = "a-registration-token-of-the-operator";
    let world = World::with(|config| {
        config["allowPublicClientRegistration"] = json!(false);
        config["registrationToken"] = json!(TOKEN);
    });
    let foreign = metadata(&json!({ "redirect_uris": ["https://foreign.example/cb"] }));
    let answer = world.send(&Request::json(REGISTER, &foreign).bearer(TOKEN));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let dangerous = metadata(&json!({ "redirect_uris": ["javascript:alert(1)"] }));
    refused(&world.send(&Request::json(REGISTER, &dangerous).bearer(TOKEN)), 400, "invalid_redirect_uri", "javascript");
    for token in ["", "a-registration-token-of-the-operato", "a-registration-token-of-the-operator1"] {
        let answer = world.send(&Request::json(REGISTER, &foreign).bearer(token));
        assert!(matches!(answer.status, 400 | 401), "{token}: {}", answer.status);
    }
    let twice = Request::json(REGISTER, &foreign).bearer(TOKEN).bearer(TOKEN);
    assert_eq!(world.send(&twice).status, 400);
}

/// R13: a registration is no login.
#[test]
fn r09_r13_cve_2026_101062_cve_2026_110732_a_registration_gives_no_authority() {
    let world = World::start();
    for client in [world.public_client("A client"), world.confidential_client("A client")] {
        for member in ["client_id", "client_secret", "registration_access_token"] {
            let Some(value) = client.registration[member].as_str() else { continue };
            assert_eq!(world.call("/mcp", value).status, 401, "{member}");
            let refreshed = world.refresh(&client, value);
            assert_eq!((refreshed.status, refreshed.error()), (400, "invalid_grant".to_owned()), "{member}");
        }
        for grant in ["client_credentials", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer", "implicit"] {
            let answer = world.send(&client.form("/oauth/token", &[("grant_type", grant), ("scope", "mcp")]));
            assert_eq!((answer.status, answer.error()), (400, "unsupported_grant_type".to_owned()), "{grant}");
        }
        // Its id leads to a page with a question.
        asked(&world.browser().authorize(&ask(&client)), &client.id);
    }
    assert!(world.upstream.seen().is_empty());
}

#[test]
fn as_20_seed_bug_48_what_the_operator_trusts_registers_and_logs_in_and_what_is_not_trusted_any_more_does_not() {
    let world = World::with(|config| {
        config["allowPublicClientRegistration"] = json!(false);
        config["allowLocalhostRedirectURIs"] = json!(false);
        config["trustedPublicRegistrationSchemes"] = json!(["windsurf"]);
        config["trustedPublicRegistrationRedirectURIs"] = json!(["https://app.example.com/cb"]);
    });
    let wanted = |redirects: &[&str]| Request::json(REGISTER, &metadata(&json!({ "redirect_uris": redirects })));
    for (redirects, status, error) in [
        (&["https://app.example.com/cb/"][..], 403, "access_denied"),
        (&["https://APP.example.com/cb"], 403, "access_denied"),
        (&["https://app.example.com:443/cb"], 403, "access_denied"),
        (&["https://app.example.com/cb?x"], 403, "access_denied"),
        (&["https://app.example.com/cb", "https://foreign.example/cb"], 403, "access_denied"),
        (&["windsurf://oauth/callback", "https://foreign.example/cb"], 403, "access_denied"),
        (&["windsurf2://oauth/callback"], 400, "invalid_redirect_uri"),
        (&["WINDSURF://oauth/callback"], 400, "invalid_redirect_uri"),
        (&["windsurf://oauth/callback", "http://localhost/cb"], 400, "invalid_redirect_uri"),
        (&["http://127.0.0.1:1/cb"], 400, "invalid_redirect_uri"),
        (&["http://[::1]/cb"], 400, "invalid_redirect_uri"),
    ] {
        refused(&world.send(&wanted(redirects)), status, error, &redirects.join(" "));
    }
    for redirect in ["windsurf://oauth/callback", "https://app.example.com/cb"] {
        let client = client_of(&world, &[redirect]);
        let page = world.browser().login(&ask(&client).set("redirect_uri", redirect), Script::default());
        let there = page.header("location").map_or_else(|| page.text(), str::to_owned);
        assert!(there.contains(&format!("{redirect}?code=")), "{redirect}: {there}");
        page_400(&world.browser().authorize(&ask(&client).set("redirect_uri", "windsurf://oauth/other")), redirect);
    }
    // An id is judged by the policy of the gate that it comes to: one of the same keys that lets everybody register has handed it out.
    let open = World::start();
    for redirects in [&[REDIRECT][..], &["https://foreign.example/cb"], &["https://app.example.com/cb", REDIRECT]] {
        let client = client_of(&open, redirects);
        let asking = ask(&client).set("redirect_uri", redirects[0]);
        asked(&open.browser().authorize(&asking), redirects[0]);
        page_400(&world.browser().authorize(&asking), redirects[0]);
        refused(&world.refresh(&client, "pcr_nothing"), 401, "invalid_client", redirects[0]);
    }
    let trusted = client_of(&open, &["https://app.example.com/cb"]);
    asked(&world.browser().authorize(&ask(&trusted).set("redirect_uri", "https://app.example.com/cb")), "trusted");
}

#[test]
fn t102_a_registration_is_read_by_its_own_client_only() {
    let gate = front();
    let (one, two) = (gate.confidential_client("One"), gate.confidential_client("Two"));
    let public = client_of(gate, &[REDIRECT]);
    let path = |client: &Client| {
        let uri = client.registration["registration_client_uri"].as_str().unwrap_or_default();
        uri.strip_prefix(BASE).map_or_else(|| format!("{REGISTER}/{}", client.id), str::to_owned)
    };
    let token = |client: &Client| client.registration["registration_access_token"].as_str().unwrap().to_owned();
    let read = gate.send(&Request::get(&path(&one)).bearer(&token(&one)));
    assert_eq!(read.status, 200);
    assert_eq!((&read.json()["client_id"], read.json()["client_name"].as_str()), (&json!(one.id), Some("One")));
    assert_eq!(read.header("cache-control"), Some("no-store"));
    let mut forged = one.id.clone();
    forged.replace_range(8..9, if forged[8..9] == *"A" { "B" } else { "A" });
    let unknown = |path: &str, request: Request| {
        let answer = gate.send(&request);
        refused(&answer, 401, "invalid_token", path);
        assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")), "{path}");
        let mut headers = answer.headers.clone();
        headers.retain(|(name, _)| !["date", "x-request-id"].contains(&name.to_ascii_lowercase().as_str()));
        (headers, answer.text())
    };
    let bad = [
        unknown("another's", Request::get(&path(&one)).bearer(&token(&two))),
        unknown("another", Request::get(&path(&two)).bearer(&token(&one))),
        unknown("the secret", Request::get(&path(&one)).bearer(one.secret.as_deref().unwrap())),
        unknown("basic", Request::get(&path(&one)).basic(&one.id, one.secret.as_deref().unwrap())),
        unknown("nobody", Request::get(&format!("{REGISTER}/nobody")).bearer(&token(&one))),
        unknown("forged", Request::get(&format!("{REGISTER}/{forged}")).bearer(&token(&one))),
        unknown("public", Request::get(&path(&public)).bearer(&token(&one))),
    ];
    assert!(bad.iter().all(|answer| *answer == bad[0]), "an unknown client and a bad token can be told apart");
    // RFC 6750 section 3.1: who shows nothing is not told what is wrong with it.
    let challenge = |request: Request| gate.send(&request).header("www-authenticate").unwrap_or_default().to_owned();
    assert_eq!(challenge(Request::get(&path(&one))), "Bearer realm=\"portcullis\"");
    let wrong = challenge(Request::get(&path(&one)).bearer("wrong"));
    assert_eq!(wrong, "Bearer realm=\"portcullis\", error=\"invalid_token\"");
    unknown("none", Request::get(&path(&one)));
    for method in ["PUT", "DELETE", "PATCH", "POST"] {
        for bearer in [token(&one), token(&two), String::from("x")] {
            let body = json!({ "client_id": two.id, "redirect_uris": ["https://evil.example/cb"] }).to_string();
            let request = Request::new(method, &path(&one)).header("Content-Type", "application/json").body(body);
            let answer = gate.send(&request.bearer(&bearer));
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{method}");
        }
    }
}

/// CVE-2026-107623: an update that lost what it did not name.
#[test]
fn t103_r38_cve_2026_107623_there_is_no_update() {
    let gate = front();
    let client = gate.confidential_client("One");
    let path = format!("{REGISTER}/{}", client.id);
    let token = client.registration["registration_access_token"].as_str().unwrap();
    let wish = json!({ "client_id": client.id, "redirect_uris": ["https://evil.example/cb"], "token_endpoint_auth_method": "none" });
    let put =
        Request::new("PUT", &path).header("Content-Type", "application/json").body(wish.to_string()).bearer(token);
    assert_eq!(gate.send(&put).status, 405);
    let read = gate.send(&Request::get(&path).bearer(token)).json();
    assert_eq!(
        (&read["redirect_uris"], &read["token_endpoint_auth_method"]),
        (&json!([REDIRECT]), &json!("client_secret_basic"))
    );
    page_400(&ask(&client).set("redirect_uri", "https://evil.example/cb").get(gate), "the wished one");
}

/// Cursor registers `web` with a scheme of its own, and all its places at once.
#[test]
fn t105_as_17_i_1_an_application_type_decides_nothing() {
    let gate = front();
    let cursor = ["cursor://anysphere.cursor-mcp/oauth/callback", "http://localhost:8787/callback"];
    for kind in [json!("web"), json!("native"), json!("desktop"), json!(null), json!(7)] {
        for redirects in [json!(cursor), json!(["https://app.example.com/cb"]), json!([REDIRECT])] {
            let answer = register(gate, &metadata(&json!({ "application_type": kind, "redirect_uris": redirects })));
            assert_eq!((answer.status, &answer.json()["redirect_uris"]), (201, &redirects), "{kind}");
        }
    }
    let omitted = register(gate, &metadata(&json!({ "redirect_uris": cursor })));
    assert_eq!(omitted.status, 201);
    let client = Client::public(omitted.json()["client_id"].as_str().unwrap());
    asked(&ask(&client).set("redirect_uri", cursor[0]).get(gate), cursor[0]);
    asked(&ask(&client).set("redirect_uri", "http://localhost:61234/callback").get(gate), cursor[1]);
}

#[test]
fn t106_pages_of_any_origin_may_call_but_never_with_credentials() {
    let gate = front();
    for path in
        [REGISTER, "/register", "/oauth/token", "/token", "/oauth/revoke", "/.well-known/oauth-authorization-server"]
    {
        for origin in ["https://inspector.example", "http://localhost:6274", "null"] {
            let plain =
                Request::post(path).header("Origin", origin).header("Content-Type", "application/json").body("{}");
            let preflight = Request::new("OPTIONS", path)
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "POST")
                .header("Access-Control-Request-Headers", "content-type, authorization, mcp-protocol-version");
            for (request, status) in [(plain, None), (preflight, Some(204))] {
                let answer = gate.send(&request);
                assert!(status.is_none_or(|status| status == answer.status), "{path}: {}", answer.status);
                assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path} {origin}");
                assert_eq!(answer.header("access-control-allow-credentials"), None, "{path} {origin}");
                if status.is_some() {
                    let headers = answer.header("access-control-allow-headers").unwrap_or_default();
                    assert!(headers.contains("authorization") && headers.contains("content-type"), "{path}: {headers}");
                }
            }
        }
    }
}

/// A registered `scope` is what a client thought of once, not what it may have.
#[test]
fn i_16_f_1_a_registered_scope_is_no_ceiling() {
    let gate = front();
    for scope in ["other", "mcp", "openid profile", ""] {
        let answer = register(gate, &metadata(&json!({ "scope": scope })));
        assert_eq!(answer.status, 201, "{scope}");
        let client = Client::public(answer.json()["client_id"].as_str().unwrap());
        asked(&ask(&client).set("scope", "mcp offline_access").get(gate), scope);
        asked(&ask(&client).without("scope").get(gate), scope);
    }
}

#[test]
fn i_19_a_registration_outlives_the_gate_and_an_unknown_client_hears_of_it() {
    let one = World::start();
    let clients = [one.public_client("A client"), one.confidential_client("A client")];
    drop(one);
    let again = World::start();
    let other = World::with(|config| {
        config["masterKeys"] = json!(["01c2ba7d3e4956077c1f0aa4be2d8196ec305b47f92da1018e3b65c40f7a92d8"]);
    });
    for client in &clients {
        let pkce = Pkce::new();
        Tokens::of(&again.exchange(client, &again.code(client, &pkce), &pkce));
        page_400(&other.browser().authorize(&ask(client)), "another gate's client");
        let answer = other.exchange(client, "x", &pkce);
        assert_eq!((answer.status, answer.error()), (401, "invalid_client".to_owned()));
    }
}

#[test]
fn i_20_seed_bug_08_a_method_is_echoed_and_a_secret_is_taken_either_way() {
    let world = World::start();
    for (asked, given) in [
        (json!("none"), "none"),
        (json!("client_secret_post"), "client_secret_post"),
        (json!("client_secret_basic"), "client_secret_basic"),
        (json!(null), "client_secret_basic"),
    ] {
        let client = world.register(&metadata(&json!({ "token_endpoint_auth_method": asked })));
        assert_eq!(client.registration["token_endpoint_auth_method"], given);
        assert_eq!(client.secret.is_some(), given != "none");
        assert_eq!(
            client.registration["client_secret_expires_at"],
            if given == "none" { json!(null) } else { json!(0) }
        );
        for posts_secret in [true, false] {
            let client = Client { posts_secret, ..client.clone() };
            let pkce = Pkce::new();
            let code = world.code(&client, &pkce);
            Tokens::of(&world.exchange(&client, &code, &pkce));
        }
    }
}

#[test]
fn p10_registrations_of_one_address_are_counted() {
    let world = World::with(|config| {
        config["rateLimits"]["perAddress"]["registrationsPerHour"] = json!(3);
        config["trustedProxyCIDRs"] = json!(["127.0.0.1/32"]);
    });
    let from =
        |address: &str| world.send(&Request::json(REGISTER, &metadata(&json!({}))).header("X-Forwarded-For", address));
    for _ in 0..3 {
        assert_eq!(from("192.0.2.1").status, 201);
    }
    let refusal = from("192.0.2.1");
    assert_eq!(refusal.status, 429);
    let seconds: u32 = refusal.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3_600).contains(&seconds), "{seconds}");
    // What the client itself writes in front does not make it somebody else.
    assert_eq!(from("203.0.113.9, 192.0.2.1").status, 429);
    assert_eq!(from("192.0.2.2").status, 201);
}
