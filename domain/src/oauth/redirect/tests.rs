//! What may be registered, what matches, and what is never mended.

use super::*;
use proptest::prelude::*;

fn register(uri: &str) -> Result<Redirect, Fault> {
    Redirect::register(uri, &RedirectPolicy::default())
}

fn rule(uri: &str) -> &'static str {
    match register(uri) {
        Err(Fault::RedirectUri(rule)) => rule,
        other => panic!("{uri:?}: {other:?}"),
    }
}

fn matches(registered: &str, presented: &str) -> bool {
    register(registered).unwrap().matches(presented).is_some()
}

#[test]
fn i_1_what_clients_really_register_is_accepted() {
    for (uri, kind) in [
        ("https://claude.ai/api/mcp/auth_callback", Kind::Https),
        ("https://chatgpt.com/connector/oauth/AbC-12_3", Kind::Https),
        ("https://vscode.dev/redirect", Kind::Https),
        ("http://127.0.0.1/", Kind::Loopback),
        ("http://127.0.0.1:33418/", Kind::Loopback),
        ("http://127.0.0.1:33418", Kind::Loopback),
        ("http://localhost/callback", Kind::Loopback),
        ("http://localhost:8787/callback", Kind::Loopback),
        ("http://[::1]:51004/oauth/callback?server=a", Kind::Loopback),
        ("http://127.9.9.9/cb", Kind::Loopback),
        ("cursor://anysphere.cursor-mcp/oauth/callback", Kind::App),
        ("https://app.example/cb?tenant=a&tenant=b", Kind::Https),
    ] {
        assert_eq!(register(uri).map(|redirect| redirect.kind()), Ok(kind), "{uri}");
    }
}

#[test]
fn t022_t023_t026_t030_t031_t033_t034_t041_what_may_not_be_registered() {
    let scheme = "its scheme is not allowed here";
    let unreadable = "it is not an absolute URI in plain ASCII";
    let http = "http is for localhost, 127.0.0.0/8 and [::1] only";
    for (uri, expected) in [
        // T022
        ("https://app.example.com@evil.com/cb", "it has a user name in front of its host"),
        ("https://app.example.com:443@evil.com/", "it has a user name in front of its host"),
        ("http://localhost@evil.com/callback", "it has a user name in front of its host"),
        ("http://u:p@localhost/callback", "it has a user name in front of its host"),
        ("cursor://u@anysphere.cursor-mcp/oauth/callback", "it has a user name in front of its host"),
        // T023
        ("https://app/cb#x", "it has a fragment"),
        ("https://app/cb#", "it has a fragment"),
        ("cursor://anysphere.cursor-mcp/oauth/callback#x", "it has a fragment"),
        // T024
        ("https://app.example.com/a/../evil", "its path has a dot segment"),
        ("https://app.example.com/%2e%2E/evil", "its path has a dot segment"),
        ("http://127.0.0.1/./cb", "its path has a dot segment"),
        // T026
        ("https://app:/cb", unreadable),
        ("https://app:0/cb", unreadable),
        ("https://app:65536/cb", unreadable),
        ("https://app:00443/cb", unreadable),
        // T030
        ("javascript:alert(1)", scheme),
        ("JAVASCRIPT:alert(1)", scheme),
        ("java\tscript:alert(1)", unreadable),
        ("data:text/html,x", scheme),
        ("vbscript:x", scheme),
        ("file:///etc/passwd", scheme),
        ("blob:https://a/b", scheme),
        ("about:blank", scheme),
        ("ws://localhost/", scheme),
        ("ftp://localhost/", scheme),
        ("chrome-extension://abc/cb", scheme),
        ("intent://x", scheme),
        // T031
        ("com.example.app:/cb", scheme),
        ("myapp://cb", scheme),
        ("app:/cb", scheme),
        ("Cursor://anysphere.cursor-mcp/oauth/callback", scheme),
        ("HTTPS://app.example.com/cb", scheme),
        // T033, T034, T041
        ("https://app\\@evil.com", unreadable),
        ("https:/\\evil.com", unreadable),
        ("/\tevil", unreadable),
        ("https://app /cb", unreadable),
        ("https://app/cb\r\nSet-Cookie:x", unreadable),
        ("https://\u{430}pp.example.com", unreadable),
        ("https://app\u{3002}example.com", unreadable),
        ("http://[::1%25lo]/cb", unreadable),
        ("http://[::127.0.0.1]/cb", unreadable),
        ("http://[::1/cb", unreadable),
        ("http://[::1]evil/cb", unreadable),
        ("", unreadable),
        ("/cb", unreadable),
        ("//app.example/cb", unreadable),
        // AS-20
        ("http://app.example.com/cb", http),
        ("http://localhost.evil.com/cb", http),
        ("http://evil.com/localhost", http),
        ("http://0.0.0.0/cb", http),
        ("http://192.168.0.1/cb", http),
        ("http://[::ffff:7f00:1]/cb", http),
        ("https://0.0.0.0/cb", "its host is the unspecified address"),
        ("https://[::]/cb", "its host is the unspecified address"),
    ] {
        assert_eq!(rule(uri), expected, "{uri:?}");
    }
    for uri in ["https://*.example.com/cb", "https://a(b|c).com"] {
        assert_eq!(rule(uri), unreadable, "T037: {uri}");
    }
    let long = format!("https://app.example/{}", "a".repeat(REDIRECT_MAX));
    assert_eq!(rule(&long), "it is longer than 400 characters");
    let no_loopback = RedirectPolicy { loopback: false, ..RedirectPolicy::default() };
    assert!(Redirect::register("http://localhost/cb", &no_loopback).is_err());
    assert!(Redirect::configured("http://localhost/cb", &no_loopback).is_err());
}

#[test]
fn t036_r33_a_query_leaves_the_answer_s_parameters_alone() {
    for query in ["code=x", "state=", "a=1&iss=x", "error", "%63ode=x", "error_description=x", "Code=x", "a=%zz"] {
        assert!(register(&format!("https://app/cb?{query}")).is_err(), "{query}");
    }
    for query in ["", "codex=1", "a=code", "x=1&x=1", "tenant=a%26code=b"] {
        assert!(register(&format!("https://app/cb?{query}")).is_ok(), "{query}");
    }
}

#[test]
fn t021_t022_t023_t025_t026_t033_t035_t037_only_the_same_string_matches() {
    let registered = "https://app.example.com/cb";
    assert!(matches(registered, registered));
    for presented in [
        "https://app.example.com.evil.com/cb",
        "https://app.example.com/cb/../evil",
        "https://app.example.com/cb/",
        "https://app.example.com/cb?x",
        "https://app.example.com/cb?",
        "https://app.example.com/cb#",
        "https://app.example.com/cb%23",
        "https://app.example.com/cbX",
        "https://app.example.com/c",
        "https://app.example.com@evil.com/cb",
        "HTTPS://APP.EXAMPLE.COM/cb",
        "https://app.example.com/CB",
        "https://app.example.com:443/cb",
        "https://app.example.com:8443/cb",
        "https://app.example.com:/cb",
        "http://app.example.com/cb",
        "https://app.example.com\\@evil.com/cb",
        "https://app.example.com/%63b",
        "https://app.example.com./cb",
        " https://app.example.com/cb",
        "https://app.example.com/cb ",
        "",
    ] {
        assert!(!matches(registered, presented), "{presented:?}");
    }
    let query = "https://a.example/cb?x=1&y=2";
    assert!(matches(query, query));
    for presented in ["https://a.example/cb?x=1", "https://a.example/cb?y=2&x=1", "https://a.example/cb?x=1&y=2&z=3"] {
        assert!(!matches(query, presented), "{presented}");
    }
    assert!(matches("https://app.example.com/*", "https://app.example.com/*"));
    assert!(!matches("https://app.example.com/*", "https://app.example.com/x"));
    let app = "cursor://anysphere.cursor-mcp/oauth/callback";
    assert!(matches(app, app));
    for presented in ["cursor://anysphere.cursor-mcp:99/oauth/callback", "CURSOR://anysphere.cursor-mcp/oauth/callback"]
    {
        assert!(!matches(app, presented), "{presented}");
    }
}

#[test]
fn t027_t029_i_2_i_3_on_loopback_the_port_is_free_and_nothing_else() {
    for (registered, presented) in [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"),
        ("http://localhost/callback", "http://localhost:8080/callback"),
        ("http://[::1]/cb", "http://[::1]:1/cb"),
        ("http://127.0.0.1:33418/", "http://127.0.0.1:59656/"),
        ("http://127.0.0.1:33418/", "http://127.0.0.1/"),
        ("http://localhost:8787/callback?a=b", "http://localhost:65535/callback?a=b"),
        ("http://127.3.2.1:1/cb", "http://127.3.2.1:2/cb"),
    ] {
        assert!(matches(registered, presented), "{registered} {presented}");
    }
    for (registered, presented) in [
        ("http://127.0.0.1/cb", "https://127.0.0.1:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.2:51004/cb"),
        ("http://127.0.0.1/cb", "http://localhost:51004/cb"),
        ("http://localhost/cb", "http://127.0.0.1/cb"),
        ("http://localhost/cb", "http://LOCALHOST:1/cb"),
        ("http://127.0.0.1/", "http://127.0.0.1:1"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb/"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb?x"),
        ("http://127.0.0.1/cb?x", "http://127.0.0.1:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb#x"),
        ("http://127.0.0.1/cb", "http://u@127.0.0.1:51004/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:051/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1:80@evil.com/cb"),
        ("http://127.0.0.1/cb", "http://127.0.0.1.evil.com:80/cb"),
        ("http://127.0.0.1/cb", "http://127.1:80/cb"),
        ("http://[::1]/cb", "http://[0:0:0:0:0:0:0:1]:80/cb"),
        ("https://localhost/cb", "https://localhost:1/cb"),
    ] {
        assert!(!matches(registered, presented), "{registered} {presented}");
    }
}

#[test]
fn i_23_only_the_operator_can_stand_a_place_for_its_connections() {
    let place = "https://chatgpt.com/connector/oauth/";
    let policy = RedirectPolicy::default();
    let configured = Redirect::configured(place, &policy).unwrap();
    assert!(configured.matches("https://chatgpt.com/connector/oauth/aB3-_x").is_some());
    let long = format!("{place}{}", "a".repeat(CONNECTION_ID_MAX + 1));
    for other in [
        place,
        "https://chatgpt.com/connector/oauth/a/b",
        "https://chatgpt.com/connector/oauth/a?b",
        "https://chatgpt.com/connector/oauth/a#b",
        "https://chatgpt.com/connector/oauth/..",
        "https://chatgpt.com/connector/oauth/%2e%2e",
        "https://chatgpt.com.evil.com/connector/oauth/a",
        "http://chatgpt.com/connector/oauth/a",
        &long,
    ] {
        assert!(configured.matches(other).is_none(), "{other}");
    }
    assert_eq!(configured.alone(), None);
    let registered = register(place).unwrap();
    assert!(registered.matches("https://chatgpt.com/connector/oauth/a").is_none());
    assert!(!policy.trusts(&registered));
    let elsewhere = Redirect::configured("https://app.example/oauth/", &policy).unwrap();
    assert!(elsewhere.matches("https://app.example/oauth/a").is_none());
}

#[test]
fn t031_private_use_schemes_need_somebody_s_word() {
    let policy = RedirectPolicy {
        schemes: vec!["myapp".into(), "javascript".into(), "ms-msdt".into()],
        uris: vec!["https://own.example/cb".into()],
        loopback: true,
    };
    let app = Redirect::register("myapp:/cb", &policy).unwrap();
    assert!(policy.trusts(&app) && !RedirectPolicy::default().trusts(&app));
    assert!(Redirect::configured("com.example.app:/cb", &RedirectPolicy::default()).is_ok());
    for never in ["javascript:alert(1)", "ms-msdt:/id", "data:,x", "view-source:x"] {
        assert!(Redirect::register(never, &policy).is_err(), "{never}");
        assert!(Redirect::configured(never, &policy).is_err(), "{never}");
        assert_eq!(CheckedRedirect::reopened(never), None, "{never}");
    }
    for (uri, trusted) in [
        ("https://own.example/cb", true),
        ("https://own.example/cb/", false),
        ("https://claude.ai/api/mcp/auth_callback", true),
        ("https://claude.ai/api/mcp/auth_callback?x", false),
        ("https://chatgpt.com/connector/oauth/abc", true),
        ("https://chatgpt.com/connector/oauth/abc/d", false),
        ("https://evil.example/cb", false),
        ("http://localhost:1/anything", true),
        ("cursor://anysphere.cursor-mcp/oauth/callback", true),
        ("cursor://other/oauth/callback", false),
    ] {
        assert_eq!(policy.trusts(&Redirect::register(uri, &policy).unwrap()), trusted, "{uri}");
    }
}

#[test]
fn an_answer_keeps_what_is_there_and_a_person_is_told_where_it_goes() {
    let checked = |uri: &str| register(uri).unwrap().matches(uri).unwrap();
    let web = checked("https://xn--pp-fka.Example:8443/cb?x=1");
    assert_eq!(
        web.with([("code", "a b"), ("state", "&")]),
        "https://xn--pp-fka.Example:8443/cb?x=1&code=a%20b&state=%26"
    );
    assert_eq!((web.place(), web.app_name()), ("xn--pp-fka.example".into(), None));
    let app = checked("cursor://anysphere.cursor-mcp/oauth/callback");
    assert_eq!(app.with([("error", "x")]), "cursor://anysphere.cursor-mcp/oauth/callback?error=x");
    assert_eq!((app.place(), app.app_name()), ("cursor".into(), Some("Cursor".into())));
    assert_eq!(checked("http://[::1]:1/").place(), "[::1]");
    assert_eq!(CheckedRedirect::reopened(web.as_str()), Some(web));
    assert_eq!(CheckedRedirect::reopened(app.as_str()), Some(app));
}

/// The matcher once more, on bare strings.
fn reference(registered: &str, presented: &str) -> bool {
    let rest = |uri: &str, host: &str| {
        let rest = uri.strip_prefix(host)?;
        let Some(port) = rest.strip_prefix(':') else {
            return (rest.is_empty() || rest.starts_with(['/', '?'])).then(|| rest.to_owned());
        };
        let end = port.find(['/', '?']).unwrap_or(port.len());
        let fits = !port.starts_with(['0', '+']) && port[..end].parse::<u16>().is_ok();
        fits.then(|| port[end..].to_owned())
    };
    let hosts = ["http://localhost", "http://LOCALHOST", "http://127.0.0.1", "http://127.0.0.2", "http://[::1]"];
    registered == presented
        || hosts.iter().any(|host| rest(registered, host).is_some_and(|own| rest(presented, host) == Some(own)))
}

fn any_redirect() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        Just("localhost"),
        Just("127.0.0.1"),
        Just("127.0.0.2"),
        Just("[::1]"),
        Just("LOCALHOST"),
        Just("localhost.evil"),
        Just("u@localhost"),
        Just("app.example"),
    ];
    let port = prop_oneof![Just(""), Just(":1"), Just(":80"), Just(":0"), Just(":070"), Just(":65536"), Just(":")];
    let tail = prop_oneof![
        Just(""),
        Just("/"),
        Just("/cb"),
        Just("/cb/"),
        Just("/cb?x=1"),
        Just("?x=1"),
        Just("/cb#f"),
        Just("/c b")
    ];
    let scheme = prop_oneof![Just("http"), Just("http"), Just("https"), Just("HTTP"), Just("cursor")];
    (scheme, host, port, tail).prop_map(|(scheme, host, port, tail)| format!("{scheme}://{host}{port}{tail}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]
    #[test]
    fn f03_the_matcher_is_its_reference(registered in any_redirect(), presented in any_redirect()) {
        if let Ok(redirect) = register(&registered) {
            let found = redirect.matches(&presented);
            prop_assert_eq!(found.is_some(), reference(&registered, &presented));
            if let Some(checked) = found {
                prop_assert_eq!(checked.as_str(), presented);
            }
        }
    }
}
