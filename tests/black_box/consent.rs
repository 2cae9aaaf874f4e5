//! The consent page, its form and the cookies around a login (group P).
//!
//! Rows of the group that have no test here:
//!
//! | row | why |
//! |---|---|
//! | T205, "proven in Chromium" | a real browser clicks through the pages elsewhere; here are the headers that it obeys |
//! | T209, "session cookie" | there is none: a browser holds a csrf cookie and one cookie for each login in progress |
//! | T219, logout | there is no such endpoint, and this is what the test of that name shows |

use crate::front::{
    CONSENT, CSRF, CURSOR, LOGIN, ask, asked, choose, client_of, come_back, forbidden, from_page, front, page_400,
    redirected, start, strict,
};
use crate::harness::{Authorization, BASE, Client, HOST, REDIRECT, RESOURCE, Request, Returned, Script, World};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use serde_json::json;

#[test]
fn t205_as_26_i_21_the_page_is_alone_and_its_policy_is_strict() {
    let (world, client) = start();
    let page = world.browser().consent_page(&ask(&client)).page;
    strict(&page, "consent");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("referrer-policy"), Some("same-origin"), "else the form would come with Origin: null");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("base-uri 'none'"), "{policy}");
    // The one style sheet is the one that the policy admits, and there is nothing else to admit.
    let text = page.text();
    let (_, rest) = text.split_once("<style>").unwrap();
    let (style, rest) = rest.split_once("</style>").unwrap();
    assert!(!rest.contains("<style"));
    let hash = BASE64_STANDARD.encode(digest(&SHA256, style.as_bytes()));
    assert!(policy.contains(&format!("style-src 'sha256-{hash}'")), "{policy}");
    for never in ["style=", "http-equiv", "<link", "<base", "src=", "target=", "<a "] {
        assert!(!rest.contains(never), "{never}: {rest}");
    }
    assert_eq!(rest.matches("<form").count(), 1);
    assert!(rest.contains("method=\"post\"") && rest.contains("action=\"/oauth/consent\""), "{rest}");
    // With nothing but http the same page has the same headers.
    for refusal in [world.browser().authorize(&ask(&client).set("client_id", "x")), world.browser().callback(&[])] {
        strict(&refusal, "refusal");
        assert_eq!(refusal.header("referrer-policy"), Some("no-referrer"));
    }
}

#[test]
fn as_26_the_page_says_who_asks_where_it_goes_and_what_for() {
    let (world, _) = start();
    let client = client_of(&world, &["https://app.example.com/cb?x=1"]);
    let page = world.browser().consent_page(&ask(&client).set("redirect_uri", "https://app.example.com/cb?x=1")).page;
    let text = page.text();
    let main = text.split_once("<main>").unwrap().1;
    for shown in [
        "A client of a test",
        "app.example.com",
        "https://app.example.com/cb?x=1",
        "Use the tools",
        RESOURCE,
        "Not verified",
        "127.0.0.1",
        "value=\"approve\"",
        "value=\"deny\"",
        "name=\"csrf\"",
    ] {
        assert!(main.contains(shown), "{shown}: {main}");
    }
    // Where it goes is said before the buttons, and who presses Enter says no.
    assert!(main.find("app.example.com") < main.find("<form"));
    assert!(main.find("value=\"deny\"") < main.find("value=\"approve\""));
    let local = world.browser().consent_page(&ask(&world.public_client("Local"))).page.text();
    assert!(local.contains("A program on this device") && local.contains("any program"), "{local}");
}

#[test]
fn t214_m03_a_resource_is_called_what_the_operator_calls_it_and_its_address_stays() {
    let world = World::with(|config| config["resources"][0]["name"] = json!("Tools & <b>more</b>"));
    let page = world.browser().consent_page(&ask(&world.public_client("A client"))).page.text();
    let (title, rest) = page.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap();
    assert!(title.contains("Tools &amp; &lt;b&gt;more&lt;/b&gt;") && !title.contains(RESOURCE), "{title}");
    assert!(rest.contains(RESOURCE), "a name alone says nothing of the place: {rest}");
    let metadata = world.send(&Request::get("/.well-known/oauth-protected-resource/mcp")).json();
    assert_eq!((&metadata["resource_name"], &metadata["resource"]), (&json!("Tools & <b>more</b>"), &json!(RESOURCE)));
}

#[test]
fn t206_only_the_page_of_this_browser_can_answer() {
    let (world, client) = start();
    let mut browser = world.browser();
    let mine = browser.consent_page(&ask(&client));
    let other_page = browser.consent_page(&ask(&client));
    let mut stranger = world.browser();
    let theirs = stranger.consent_page(&ask(&client));
    assert_eq!(mine.csrf == other_page.csrf, mine.flow == other_page.flow, "a token is for one form");
    let fields = |flow: &str, csrf: &str| {
        from_page(Request::form(CONSENT, &[("flow", flow), ("csrf", csrf), ("choice", "approve")]))
    };
    let flip = |text: &str| text.replace(&text[..1], if text.starts_with('A') { "B" } else { "A" });
    let cases = [
        ("no token", from_page(Request::form(CONSENT, &[("flow", mine.flow.as_str()), ("choice", "approve")]))),
        ("an empty token", fields(&mine.flow, "")),
        ("a wrong token", fields(&mine.flow, &flip(&mine.csrf))),
        ("a short token", fields(&mine.flow, &mine.csrf[..20])),
        ("the cookie as the token", fields(&mine.flow, &browser.cookies[CSRF])),
        ("another page's token", fields(&mine.flow, &other_page.csrf)),
        ("a stranger's token", fields(&mine.flow, &theirs.csrf)),
        ("a stranger's page", fields(&theirs.flow, &theirs.csrf)),
        ("no flow", from_page(Request::form(CONSENT, &[("csrf", mine.csrf.as_str()), ("choice", "approve")]))),
        (
            "a page elsewhere",
            choose(&mine, "approve").header("Origin", "https://evil.example").header("Sec-Fetch-Site", "cross-site"),
        ),
        (
            "a neighbour",
            choose(&mine, "approve").header("Origin", "https://x.gate.example").header("Sec-Fetch-Site", "same-site"),
        ),
        ("nobody's page", choose(&mine, "approve").header("Sec-Fetch-Site", "none")),
        ("fetch metadata win", choose(&mine, "approve").header("Origin", BASE).header("Sec-Fetch-Site", "cross-site")),
        ("capitals", choose(&mine, "approve").header("Sec-Fetch-Site", "Same-Origin")),
        ("no word of where", choose(&mine, "approve")),
        ("a hidden origin", choose(&mine, "approve").header("Origin", "null")),
        ("another origin", choose(&mine, "approve").header("Origin", "https://evil.example")),
        ("a longer origin", choose(&mine, "approve").header("Origin", "https://gate.example.evil.example")),
        ("plain http", choose(&mine, "approve").header("Origin", "http://gate.example")),
        ("another port", choose(&mine, "approve").header("Origin", "https://gate.example:8443")),
        ("only a referrer", choose(&mine, "approve").header("Referer", &format!("{BASE}/oauth/authorize"))),
    ];
    for (case, request) in cases {
        forbidden(&world.send(&browser.with_cookies(request)), case);
    }
    forbidden(&world.send(&from_page(choose(&mine, "approve"))), "no cookie");
    for (case, request) in [
        ("no choice", from_page(Request::form(CONSENT, &[("flow", &mine.flow), ("csrf", &mine.csrf)]))),
        ("another choice", from_page(choose(&mine, "APPROVE"))),
        (
            "two choices",
            from_page(Request::form(
                CONSENT,
                &[("flow", mine.flow.as_str()), ("csrf", &mine.csrf), ("choice", "deny"), ("choice", "approve")],
            )),
        ),
        (
            "two flows",
            from_page(Request::form(CONSENT, &[("flow", &mine.flow), ("flow", &mine.flow), ("csrf", &mine.csrf)])),
        ),
        (
            "two places",
            choose(&mine, "approve").header("Sec-Fetch-Site", "same-origin").header("Sec-Fetch-Site", "same-origin"),
        ),
        (
            "text",
            from_page(Request {
                headers: vec![("Content-Type".into(), "text/plain".into())],
                ..choose(&mine, "approve")
            }),
        ),
        (
            "a broken form",
            from_page(Request::post(CONSENT).header("Content-Type", "application/x-www-form-urlencoded").body("%")),
        ),
    ] {
        page_400(&world.send(&browser.with_cookies(request)), case);
    }
    let by_get = format!("{CONSENT}?flow={}&csrf={}&choice=approve", mine.flow, mine.csrf);
    assert_eq!(world.send(&from_page(browser.with_cookies(Request::get(&by_get)))).status, 405);
    // After all of this its owner goes on: with fetch metadata, and in a browser that has none.
    assert_eq!(browser.send(choose(&mine, "approve").header("Origin", BASE)).status, 303);
    let authorization = browser.approve(&other_page);
    assert!(Returned::of(&come_back(&world, &mut browser, &authorization)).param("code").is_some());
}

/// A form that is sent twice is one consent: it gives one code.
#[test]
fn t206_t213_a_form_that_is_sent_again_gives_no_second_code() {
    let (world, client) = start();
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask(&client));
    let (first, second) = (browser.approve(&consent), browser.approve(&consent));
    assert_ne!(first.param("state"), second.param("state"));
    assert!(Returned::of(&come_back(&world, &mut browser, &first)).param("code").is_some());
    let again = come_back(&world, &mut browser, &second);
    assert!(!again.header("location").unwrap_or_default().contains("code="), "{again:?}");
}

/// R07 (the confused deputy), R09 (CVE-2026-101062): consent of one login was taken for another.
#[test]
fn t207_as_25_r07_r09_every_authorization_is_asked_anew() {
    let (world, client) = start();
    let other = world.public_client("Another client");
    let mut browser = world.browser();
    let answer = browser.login(&ask(&client), Script::default());
    assert!(Returned::of(&answer).param("code").is_some());
    for ask in [
        ask(&client),
        ask(&client).set("state", "another"),
        ask(&client).without("scope"),
        ask(&client).set("prompt", "login"),
        ask(&client).set("redirect_uri", "http://127.0.0.1:1/callback"),
        ask(&other),
    ] {
        let page = browser.authorize(&ask);
        asked(&page, &ask.query());
        assert!(!page.text().contains(world.provider.issuer()), "the way to the provider is open before consent");
        assert!(page.all("set-cookie").iter().all(|cookie| !cookie.starts_with(LOGIN)), "{page:?}");
    }
    // Nor does a login that is under way.
    let consent = browser.consent_page(&ask(&client));
    browser.approve(&consent);
    asked(&browser.authorize(&ask(&other)), "while another is under way");
    asked(&browser.authorize(&ask(&client)), "while the same is under way");
}

#[test]
fn t207_p01_without_a_page_go_only_those_whom_the_operator_trusts() {
    let world = World::with(|config| {
        let client = |id: &str| json!({ "clientId": id, "clientSecret": "a secret of the operator's", "name": id, "redirectUris": ["https://app.example.com/cb"] });
        config["clients"] = json!([client("trusted"), client("known")]);
        config["trustedClients"] = json!(["trusted"]);
    });
    let ask = |id: &str| ask(&Client::public(id)).set("redirect_uri", "https://app.example.com/cb");
    asked(&world.browser().authorize(&ask("known")), "known");
    let mut browser = world.browser();
    let authorization = Authorization::of(browser.authorize(&ask("trusted")).location());
    assert!(authorization.endpoint.starts_with(world.provider.issuer()));
    let returned = Returned::of(&come_back(&world, &mut browser, &authorization));
    assert!(returned.to == "https://app.example.com/cb" && returned.param("code").is_some());
    // It is still bound to the browser in which it began.
    let authorization = Authorization::of(world.browser().authorize(&ask("trusted")).location());
    page_400(&come_back(&world, &mut world.browser(), &authorization), "another browser");
}

#[test]
fn t213_the_page_names_the_provider_and_the_last_page_the_account() {
    let (world, _) = start();
    let client = client_of(&world, &[CURSOR]);
    let ask = ask(&client).set("redirect_uri", CURSOR);
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask);
    let host = world.provider.issuer().trim_start_matches("http://").split(':').next().unwrap();
    assert!(consent.page.text().contains(&format!("<strong><bdi>{host}")), "{}", consent.page.text());
    let authorization = browser.approve(&consent);
    let welcome = come_back(&world, &mut browser, &authorization);
    assert_eq!(welcome.status, 200, "{}", welcome.text());
    strict(&welcome, "welcome");
    assert_eq!(welcome.header("referrer-policy"), Some("no-referrer"));
    let text = welcome.text();
    assert!(text.contains("Ada Lovelace") && text.contains("Not your account?"), "{text}");
    assert_eq!(text.matches(CURSOR).count(), 2, "the link and the way there: {text}");
    assert_eq!(text.matches("code=").count(), 2, "{text}");
}

/// Whoever approves must hold the cookie of the browser that loaded the page.
#[test]
fn t217_r27_cve_2026_45337_a_page_is_approved_by_the_browser_that_loaded_it() {
    let (world, client) = start();
    let mut one = world.browser();
    let page = one.consent_page(&ask(&client));
    let mut two = world.browser();
    two.consent_page(&ask(&client));
    forbidden(&two.answer(&page, "approve"), "another browser");
    forbidden(&two.answer(&page, "deny"), "another browser");
    forbidden(&world.browser().answer(&page, "approve"), "a browser without cookies");
    let authorization = one.approve(&page);
    assert!(Returned::of(&come_back(&world, &mut one, &authorization)).param("code").is_some());
}

#[test]
fn t218_t014_who_denies_is_taken_back_and_nothing_is_remembered() {
    let (world, client) = start();
    let mut browser = world.browser();
    for state in [Some("state-1"), Some("a&b=\"<c>\u{e4}"), None] {
        let ask = match state {
            Some(state) => ask(&client).set("state", state),
            None => ask(&client).without("state"),
        };
        let consent = browser.consent_page(&ask);
        let answer = browser.answer(&consent, "deny");
        assert_eq!(answer.status, 303);
        let said = redirected(&answer, REDIRECT, state, "deny");
        assert_eq!(said["error"], "access_denied");
        assert!(browser.cookies.keys().all(|name| name == CSRF), "{:?}", browser.cookies.keys());
        asked(&browser.authorize(&ask), "after the denial");
    }
    assert!(world.provider.seen("/auth").is_empty() && world.provider.seen("/token").is_empty());
    // To an application on the device the refusal goes by a page.
    let cursor = client_of(&world, &[CURSOR]);
    let consent = browser.consent_page(&ask(&cursor).set("redirect_uri", CURSOR));
    let page = browser.answer(&consent, "deny");
    assert_eq!((page.status, page.header("location")), (200, None));
    strict(&page, "denied");
    assert!(page.text().contains(&format!("{CURSOR}?error=access_denied")), "{}", page.text());
}

#[test]
fn t014_t058_i_21_after_consent_no_answer_is_posted_again_or_kept() {
    let (world, client) = start();
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask(&client));
    let onward = browser.answer(&consent, "approve");
    assert_eq!(onward.status, 303, "307 and 308 would post the form to the provider");
    let authorization = Authorization::of(onward.location());
    let back = come_back(&world, &mut browser, &authorization);
    assert_eq!(back.status, 302);
    for answer in [&onward, &back] {
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert!(answer.body.is_empty(), "{}", answer.text());
        assert!(!answer.location().contains(&consent.csrf) && !answer.location().contains(&consent.flow));
    }
}

#[test]
fn t219_there_is_no_logout_that_could_send_anybody_anywhere() {
    let gate = front();
    for path in [
        "/logout",
        "/oauth/logout",
        "/oauth/end_session",
        "/end_session",
        "/session/end",
        "/signout",
        "/oauth2/sign_out",
    ] {
        for target in
            ["https://evil.example", "//evil.example", "/\\evil.example", "/%09/evil.example", "javascript:alert(1)"]
        {
            for name in ["post_logout_redirect_uri", "rd", "redirect", "returnTo"] {
                let answer = gate.send(&Request::get(&format!("{path}?{name}={target}")));
                assert!(matches!(answer.status, 400 | 404), "{path}: {}", answer.status);
                assert_eq!((answer.header("location"), answer.header("set-cookie")), (None, None), "{path}");
            }
        }
    }
}

#[test]
fn t208_a_host_that_is_not_ours_shows_no_page() {
    let gate = front();
    let client = client_of(gate, &[REDIRECT]);
    for host in ["evil.example", "gate.example.evil.example", "127.0.0.1", "localhost:8080", "gate.example:8080", ""] {
        let request = Request::get(&format!("/oauth/authorize?{}", ask(&client).query())).header("Host", host);
        let answer = gate.send(&request);
        assert!(matches!(answer.status, 400 | 421), "{host}: {}", answer.status);
        assert!(!answer.text().contains("approve") && answer.header("set-cookie").is_none(), "{host}");
    }
    let request = Request::get(&format!("/oauth/authorize?{}", ask(&client).query())).header("Host", HOST);
    asked(&gate.send(&request), HOST);
}

#[test]
fn t010_as_22_as_24_a_code_comes_with_the_state_as_it_went_and_the_issuer() {
    let (world, client) = start();
    let long = "s".repeat(512);
    for state in [
        Some("x"),
        Some("&code=forged&iss=https://evil.example#"),
        Some("\r\nSet-Cookie: x=1"),
        Some("\u{e4} \"<>+%20"),
        Some(&*long),
        None,
    ] {
        let ask = match state {
            Some(state) => ask(&client).set("state", state),
            None => ask(&client).without("state"),
        };
        let answer = world.browser().login(&ask, Script::default());
        assert!(answer.location().bytes().all(|byte| byte.is_ascii_graphic()), "{state:?}");
        let returned = Returned::of(&answer);
        assert_eq!((returned.param("state"), returned.param("iss")), (state, Some(BASE)));
        assert_eq!(returned.params.len(), 2 + usize::from(state.is_some()), "{returned:?}");
        assert!(returned.to == REDIRECT && !returned.code().is_empty());
    }
}

/// The issuer has a path: the endpoints are below it, their old names stay at the root, and one login goes all the way.
#[test]
fn as_5_a_base_url_with_a_path_works_from_the_page_to_the_code() {
    let world = World::with(|config| config["baseUrl"] = json!("https://gate.example/base"));
    let client = world.send(&Request::json(
        "/base/oauth/register",
        &json!({
            "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
        }),
    ));
    let client = Client::public(client.json()["client_id"].as_str().unwrap());
    for path in ["/base/oauth/authorize", "/authorize"] {
        let mut browser = world.browser();
        let page = browser.send(Request::get(&format!("{path}?{}", ask(&client).query())));
        asked(&page, path);
        let text = page.text();
        assert!(text.contains("action=\"/base/oauth/consent\""), "{text}");
        let field = |name: &str| {
            let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let fields = [("flow", field("flow")), ("csrf", field("csrf")), ("choice", "approve".to_owned())];
        let form = Request::form("/base/oauth/consent", &fields).header("Origin", "https://gate.example");
        let authorization = Authorization::of(browser.send(form).location());
        assert_eq!(authorization.param("redirect_uri"), "https://gate.example/base/oauth/callback");
        let code = world.provider.issue(&authorization, Script::default());
        let query = format!("code={code}&state={}", authorization.param("state"));
        let returned = Returned::of(&browser.send(Request::get(&format!("/base/oauth/callback?{query}"))));
        assert_eq!(returned.param("iss"), Some("https://gate.example/base"));
        assert!(!returned.code().is_empty());
    }
    for path in ["/oauth/authorize", "/oauth/consent", "/oauth/callback", "/base/authorize", "/base"] {
        assert_eq!(world.send(&Request::get(path)).status, 404, "{path}");
    }
}
