//! The cookies around a login: what they look like, and that damaged, foreign or tossed ones count for nothing (group P).

use crate::front::{
    CHALLENGE, CSRF, LOGIN, ask, asked, choose, come_back, forbidden, from_page, login_cookie, page_400, start,
};
use crate::harness::{Authorization, Client, REDIRECT, Request, Returned, Script, World};
use serde_json::json;
use std::time::Duration;

#[test]
fn as_27_as_28_t202_what_goes_to_the_provider_is_new_each_time_and_held_by_the_browser() {
    let (world, client) = start();
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..20 {
        let mut browser = world.browser();
        let consent = browser.consent_page(&ask(&client));
        assert!(browser.cookies.keys().all(|name| name == CSRF), "before consent: {:?}", browser.cookies.keys());
        let answer = browser.answer(&consent, "approve");
        assert_eq!((answer.status, answer.header("referrer-policy")), (303, Some("no-referrer")));
        let [cookie] = answer.all("set-cookie")[..] else { panic!("{answer:?}") };
        assert!(cookie.starts_with(LOGIN) && cookie.contains("; Max-Age=600"), "{cookie}");
        let sent = Authorization::of(answer.location());
        assert_eq!((sent.param("response_type"), sent.param("code_challenge_method")), ("code", "S256"));
        for name in ["state", "nonce", "code_challenge"] {
            let value = sent.param(name).to_owned();
            assert!(value.len() >= 22, "{name} has less than 128 bits: {value}");
            assert!(!seen.contains(&value), "{name} comes twice");
            seen.push(value);
        }
        assert_ne!(sent.param("code_challenge"), CHALLENGE);
        assert_ne!(sent.param("state"), "state-1");
        let names: Vec<&str> = sent.params.iter().map(|(name, _)| name.as_str()).collect();
        for name in names {
            let known = [
                "client_id",
                "redirect_uri",
                "response_type",
                "scope",
                "state",
                "nonce",
                "code_challenge",
                "code_challenge_method",
            ];
            assert!(known.contains(&name), "{name}");
        }
    }
}

#[test]
fn t209_a_damaged_login_cookie_is_no_login_and_costs_nobody_another() {
    let (world, client) = start();
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask(&client));
    let authorization = browser.approve(&consent);
    let (name, value) = login_cookie(&browser);
    let mut second = world.browser();
    let consent = second.consent_page(&ask(&client));
    second.approve(&consent);
    let (_, foreign) = login_cookie(&second);
    let code = world.provider.issue(&authorization, Script::default());
    let target = format!("/oauth/callback?code={code}&state={}", authorization.param("state"));
    let middle = value.len() / 2;
    let mut flipped = value.clone();
    flipped.replace_range(middle..=middle, if &value[middle..=middle] == "A" { "B" } else { "A" });
    let long = "A".repeat(5_000);
    for bad in [
        "",
        "x",
        &value[..value.len() - 1],
        &value[1..],
        &flipped,
        &foreign,
        &long,
        &consent.flow,
        &browser.cookies[CSRF],
    ] {
        let answer = world.send(&Request::get(&target).header("Cookie", &format!("{name}={bad}")));
        page_400(&answer, &format!("{:.20} of {}", bad, bad.len()));
    }
    assert!(world.provider.seen("/token").is_empty(), "the provider's code was sent");
    // Nothing of it has spent the login of the browser that holds it.
    let answer = browser.send(Request::get(&target));
    assert!(Returned::of(&answer).param("code").is_some());
}

#[test]
fn t209_a_damaged_csrf_cookie_is_replaced() {
    let (world, client) = start();
    for bad in ["", "x", "%00", "AAAA", &"A".repeat(44), &"A".repeat(5_000), "\"AAAA\""] {
        let page = world.send(
            &Request::get(&format!("/oauth/authorize?{}", ask(&client).query()))
                .header("Cookie", &format!("{CSRF}={bad}")),
        );
        asked(&page, bad);
        let cookie = page.header("set-cookie").unwrap();
        assert!(bad.is_empty() || !cookie.contains(&format!("{CSRF}={bad};")), "{cookie}");
    }
}

#[test]
fn t210_as_27_every_cookie_has_every_attribute() {
    let (world, client) = start();
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask(&client));
    let approved = browser.answer(&consent, "approve");
    let authorization = Authorization::of(approved.location());
    let back = come_back(&world, &mut browser, &authorization);
    for answer in [&consent.page, &approved, &back] {
        let cookies = answer.all("set-cookie");
        assert_eq!(cookies.len(), 1, "{cookies:?}");
        for cookie in cookies {
            let parts: Vec<&str> = cookie.split("; ").skip(1).collect();
            assert!(cookie.starts_with("__Host-pc-"), "{cookie}");
            for needed in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
                assert!(parts.contains(&needed), "{needed}: {cookie}");
            }
            assert!(parts.iter().all(|part| !part.to_ascii_lowercase().starts_with("domain")), "{cookie}");
            assert!(
                !cookie.contains(&client.id) && !cookie.contains("state-1") && !cookie.contains("127.0.0.1"),
                "{cookie}"
            );
        }
    }
    assert!(back.header("set-cookie").unwrap().contains("Max-Age=0"), "the login's cookie stays");
}

/// Browsers keep no `Secure` cookie of a plain-http page, so on a loopback base URL, and only there, there is none.
#[test]
fn t210_on_plain_http_loopback_the_cookies_lose_only_what_they_must() {
    let world = World::with(|config| config["baseUrl"] = json!("http://127.0.0.1:8080"));
    let here = |request: Request| world.send(&request.header("Host", "127.0.0.1:8080"));
    let metadata = json!({ "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none" });
    let registration = here(Request::json("/oauth/register", &metadata)).json();
    let client = Client::public(registration["client_id"].as_str().unwrap());
    let page = here(Request::get(&format!("/oauth/authorize?{}", ask(&client).query())));
    asked(&page, "loopback");
    let cookie = page.header("set-cookie").unwrap();
    assert!(cookie.starts_with("pc-csrf=") && !cookie.contains("Secure"), "{cookie}");
    for needed in ["HttpOnly", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(needed), "{cookie}");
    }
}

#[test]
fn t211_a_cookie_that_somebody_else_has_tossed_in_counts_for_nothing() {
    let (world, client) = start();
    let mut attacker = world.browser();
    let theirs = attacker.consent_page(&ask(&client));
    let tossed = &attacker.cookies[CSRF];
    let mut browser = world.browser();
    let mine = browser.consent_page(&ask(&client));
    let own = browser.cookies[CSRF].clone();
    for cookies in [
        format!("{CSRF}={own}; {CSRF}={tossed}"),
        format!("{CSRF}={tossed}; {CSRF}={own}"),
        format!("{CSRF}={own}; {CSRF}={own}"),
        format!("__host-pc-csrf={own}"),
        format!("__HOST-PC-CSRF={own}"),
        format!("pc-csrf={own}"),
        format!("__Host-pc-csrf%20={own}"),
        format!("%5F_Host-pc-csrf={own}"),
        format!("$Version=1; $Path=/; x-{CSRF}={own}"),
        format!("x=\"{CSRF}={own}\""),
        format!("x={CSRF}={own}"),
        format!("{CSRF}={tossed}"),
    ] {
        let answer = world.send(&from_page(choose(&mine, "approve")).header("Cookie", &cookies));
        forbidden(&answer, &cookies);
    }
    // Two headers are one list.
    let two = from_page(choose(&mine, "approve"))
        .header("Cookie", &format!("{CSRF}={own}"))
        .header("Cookie", &format!("{CSRF}={tossed}"));
    forbidden(&world.send(&two), "two Cookie headers");
    // An attacker's page with the attacker's own cookie would be the attacker's consent: it is not this browser's.
    forbidden(
        &world.send(&from_page(choose(&theirs, "approve")).header("Cookie", &format!("{CSRF}={own}"))),
        "the attacker's page",
    );
    // The login cookie in the same ways.
    let authorization = browser.approve(&mine);
    let (name, value) = login_cookie(&browser);
    let code = world.provider.issue(&authorization, Script::default());
    let target = format!("/oauth/callback?code={code}&state={}", authorization.param("state"));
    for cookies in [
        format!("{name}={value}; {name}=x"),
        format!("{name}=x; {name}={value}"),
        format!("{name}={value}; {name}={value}"),
        format!("{}={value}", name.to_ascii_lowercase()),
        format!("{}={value}", name.replace("__Host-", "")),
        format!("{LOGIN}AAAAAAAAAAAA={value}"),
    ] {
        page_400(&world.send(&Request::get(&target).header("Cookie", &cookies)), &cookies);
    }
    assert!(world.provider.seen("/token").is_empty());
    assert!(Returned::of(&browser.send(Request::get(&target))).param("code").is_some());
}

#[test]
fn t211_a_browser_keeps_at_most_three_logins() {
    let (world, client) = start();
    let mut browser = world.browser();
    let mut begun = Vec::new();
    for _ in 0..5 {
        let consent = browser.consent_page(&ask(&client));
        begun.push(browser.approve(&consent));
        // Which one is the oldest is told by milliseconds.
        std::thread::sleep(Duration::from_millis(5));
        assert!(
            browser.cookies.keys().filter(|name| name.starts_with(LOGIN)).count() <= 3,
            "{:?}",
            browser.cookies.keys()
        );
        for (name, value) in &browser.cookies {
            assert!(name.len() + value.len() <= 2_100, "{name} has {} bytes", value.len());
        }
    }
    // The latest ones still end well, in any order.
    for authorization in begun.iter().skip(2).rev() {
        assert!(Returned::of(&come_back(&world, &mut browser, authorization)).param("code").is_some());
    }
}

/// R01 (CVE-2026-27124), R08 (GHSA-h64q-xp38-pgwr): an address of the provider, captured after somebody's own consent.
#[test]
fn t213_t187_r01_r08_cve_2026_27124_a_captured_login_ends_in_no_other_browser() {
    let (world, client) = start();
    let mut attacker = world.browser();
    let consent = attacker.consent_page(&ask(&client));
    let captured = attacker.approve(&consent);
    // The victim logs in at the provider and is sent back here, without a cookie or with those of logins of their own.
    let mut victim = world.browser();
    page_400(&come_back(&world, &mut victim, &captured), "no cookie");
    let consent = victim.consent_page(&ask(&client));
    let own = victim.approve(&consent);
    page_400(&come_back(&world, &mut victim, &captured), "a cookie of another login");
    let (name, value) = login_cookie(&victim);
    let captured_name = login_cookie(&attacker).0;
    assert_ne!(name, captured_name);
    let code = world.provider.issue(&captured, Script::default());
    let target = format!("/oauth/callback?code={code}&state={}", captured.param("state"));
    page_400(
        &world.send(&Request::get(&target).header("Cookie", &format!("{captured_name}={value}"))),
        "a renamed cookie",
    );
    assert!(world.provider.seen("/token").is_empty(), "the victim's code was redeemed");
    // The victim's own login is unharmed, and is the victim's.
    assert!(Returned::of(&come_back(&world, &mut victim, &own)).param("code").is_some());
}

#[test]
fn t018_a_request_without_a_body_to_show_spends_no_login() {
    let (world, client) = start();
    let mut browser = world.browser();
    let consent = browser.consent_page(&ask(&client));
    let authorization = browser.approve(&consent);
    let code = world.provider.issue(&authorization, Script::default());
    let target = format!("/oauth/callback?code={code}&state={}", authorization.param("state"));
    for method in ["HEAD", "OPTIONS", "POST", "PUT"] {
        let answer = world.send(&browser.with_cookies(Request::new(method, &target)));
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET")), "{method}");
        assert!(answer.all("set-cookie").is_empty(), "{method}");
    }
    assert!(world.provider.seen("/token").is_empty());
    assert!(Returned::of(&browser.send(Request::get(&target))).param("code").is_some());
}
