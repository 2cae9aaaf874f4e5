//! What strangers have written on a page is text there: names of clients and persons, errors of providers (groups O and P).

use crate::front::{CONSENT, CURSOR, Sent, ask, asked, client_of, front, page_400, start, strict};
use crate::harness::{Ask, REDIRECT, Request, Returned, Script};
use serde_json::json;

/// What strangers try to have on a page. None of it may be there as markup.
const POLYGLOTS: [&str; 24] = [
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</bdi></h1><script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'><svg/onload=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "' onfocus='alert(1)' autofocus='",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "javascript:alert(1)//",
    "<style>*{display:none}</style>",
    "</style><form action=https://evil.example>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=https://evil.example/>",
    "<!--",
    "-->",
    "<![CDATA[",
    "&lt;script&gt;&#60;script&#62;",
    "<math><mtext></mtext><mglyph><style><img src=x onerror=alert(1)>",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "<details open ontoggle=alert(1)>",
    "<plaintext>",
    "<input name=choice value=approve>",
];

/// A page in which nothing of a stranger's is markup.
#[track_caller]
fn inert(text: &str, vector: &str) {
    let body = text.split_once("<main>").unwrap().1.to_ascii_lowercase();
    for tag in [
        "<script",
        "<img",
        "<svg",
        "<iframe",
        "<style",
        "<base",
        "<math",
        "<plaintext",
        "<!--",
        "<![",
        "<a href=\"java",
        "</title",
    ] {
        assert!(!body.contains(tag), "{vector}: {tag} in {body}");
    }
    // Every attribute of every tag is one of the gate's own.
    for tag in body.split('<').skip(1).map(|rest| rest.split_once('>').map_or(rest, |(tag, _)| tag)) {
        let tag: String = tag.split('"').step_by(2).collect();
        for handler in [" on", "srcdoc", "autofocus", "style="] {
            assert!(!tag.contains(handler), "{vector}: <{tag}>");
        }
    }
    assert_eq!(text.matches("<title>").count(), 1, "{vector}");
}

#[test]
fn t214_t094_no_name_that_a_client_gives_itself_is_markup() {
    let gate = front();
    for vector in POLYGLOTS {
        let client = gate.register(&json!({
            "client_name": vector, "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none",
            "client_uri": vector, "logo_uri": vector, "scope": vector,
        }));
        let page = ask(&client).get(gate);
        // `javascript:` may stand there as text, which is why the strict page is looked at by `inert` only.
        assert_eq!(page.status, 200, "{vector}");
        inert(&page.text(), vector);
        assert_eq!(page.text().matches("<form").count(), 1, "{vector}");
        assert_eq!(page.text().matches("value=\"approve\"").count(), 1, "{vector}");
    }
}

#[test]
fn t214_no_name_that_a_provider_gives_a_person_is_markup() {
    let (world, _) = start();
    let client = client_of(&world, &[CURSOR]);
    for vector in POLYGLOTS {
        let script = Script::claims(json!({ "name": vector, "preferred_username": vector }));
        let page = world.browser().login(&ask(&client).set("redirect_uri", CURSOR).set("state", vector), script);
        assert_eq!(page.status, 200, "{vector}: {}", page.text());
        inert(&page.text(), vector);
        assert_eq!(page.text().matches("<meta http-equiv").count(), 1, "{vector}");
    }
}

#[test]
fn t214_t001_no_error_page_repeats_what_it_was_told() {
    let gate = front();
    let client = client_of(gate, &[REDIRECT]);
    for vector in POLYGLOTS {
        let pages = [
            ask(&client).set("client_id", vector).get(gate),
            ask(&client).set("redirect_uri", vector).get(gate),
            gate.send(&Request::form(CONSENT, &[("flow", vector), ("csrf", vector), ("choice", vector)])),
            gate.send(&Request::get(&format!(
                "/oauth/callback?{}",
                Ask(vec![("state".into(), vector.into()), ("error".into(), vector.into())]).query()
            ))),
        ];
        for page in pages {
            assert!((400..500).contains(&page.status), "{vector}: {}", page.status);
            strict(&page, vector);
            inert(&page.text(), vector);
            let main = page.text().split_once("<main>").unwrap().1.to_owned();
            assert!(vector.len() < 5 || !main.contains(vector), "{vector} is reflected");
        }
    }
}

/// R03 (CVE-2025-62800): what a provider says of an error was shown as it came.
#[test]
fn r03_t195_cve_2025_62800_a_provider_s_error_is_told_in_our_words() {
    let (world, client) = start();
    let cursor = client_of(&world, &[CURSOR]);
    for vector in [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "access_denied&code=x",
        "\r\nSet-Cookie: x=1",
        "javascript:alert(1)",
    ] {
        let vectors = |state: &str| {
            vec![
                ("error".to_owned(), vector.to_owned()),
                ("error_description".to_owned(), vector.to_owned()),
                ("error_uri".to_owned(), vector.to_owned()),
                ("code".to_owned(), "x".to_owned()),
                ("state".to_owned(), state.to_owned()),
            ]
        };
        let mut browser = world.browser();
        let consent = browser.consent_page(&ask(&client));
        let authorization = browser.approve(&consent);
        let fields = vectors(authorization.param("state"));
        let answer = browser.send(Request::get(&format!("/oauth/callback?{}", Ask(fields.clone()).query())));
        let returned = Returned::of(&answer);
        assert_eq!((returned.to.as_str(), returned.error(), returned.param("code")), (REDIRECT, "access_denied", None));
        assert!(
            returned.params.iter().all(|(_, value)| !value.contains("alert") && !value.contains("Cookie")),
            "{returned:?}"
        );
        // Once more, and without the cookie: a page that says nothing of it.
        page_400(&browser.send(Request::get(&format!("/oauth/callback?{}", Ask(fields).query()))), "again");
        page_400(
            &world.browser().send(Request::get(&format!("/oauth/callback?{}", Ask(vectors("x")).query()))),
            "no cookie",
        );
        // To an application on the device it goes by a page.
        let mut browser = world.browser();
        let consent = browser.consent_page(&ask(&cursor).set("redirect_uri", CURSOR));
        let authorization = browser.approve(&consent);
        let page = browser
            .send(Request::get(&format!("/oauth/callback?{}", Ask(vectors(authorization.param("state"))).query())));
        strict(&page, vector);
        inert(&page.text(), vector);
        assert!(page.text().contains("access_denied") && !page.text().contains("alert"), "{}", page.text());
    }
    assert!(world.provider.seen("/token").is_empty(), "a code beside an error was redeemed");
}

#[test]
fn t254_a_page_has_an_end_whatever_it_has_to_show() {
    let gate = front();
    let redirects: Vec<String> =
        (0..2).map(|number| format!("https://{}.example/{}{number}", "a".repeat(60), "b".repeat(300))).collect();
    let client = gate.register(&json!({
        "client_name": "<&\"'>".repeat(4_000), "redirect_uris": redirects, "token_endpoint_auth_method": "none",
    }));
    let page = ask(&client).set("redirect_uri", &redirects[1]).set("state", &"<".repeat(512)).get(gate);
    assert_eq!(page.status, 200);
    assert!(page.body.len() < 16 * 1024, "{} bytes", page.body.len());
}

#[test]
fn t215_as_26_nothing_moves_the_redirect_host_out_of_sight() {
    let gate = front();
    let long_host = format!("https://{}.example/cb", "a".repeat(60));
    for (name, redirect, host) in [
        ("x".repeat(20_000), "https://app.example.com/cb", "app.example.com"),
        ("x ".repeat(10_000), "https://app.example.com/cb", "app.example.com"),
        ("\u{202e}moc.elpmaxe.doog".to_owned(), "https://app.example.com/cb", "app.example.com"),
        ("\u{200b}\u{2060}".repeat(5_000), "https://app.example.com/cb", "app.example.com"),
        ("a\u{300}".repeat(5_000), "https://app.example.com/cb", "app.example.com"),
        ("line\n\n\n\n\n\n\n\n\n\n".repeat(500), "https://app.example.com/cb", "app.example.com"),
        ("Claude".to_owned(), &long_host, long_host.trim_start_matches("https://").trim_end_matches("/cb")),
        ("xn".to_owned(), "https://xn--pple-43d.example/cb", "xn--pple-43d.example"),
        ("xn".to_owned(), "https://app.example.com.evil.example/cb", "app.example.com.evil.example"),
    ] {
        let client = gate.register(
            &json!({ "client_name": name, "redirect_uris": [redirect], "token_endpoint_auth_method": "none" }),
        );
        let page = ask(&client).set("redirect_uri", redirect).get(gate);
        asked(&page, redirect);
        let text = page.text();
        assert!(text.contains(&format!("<p class=\"place\"><bdi>{host}</bdi>")), "{host}: {text}");
        assert!(!text.contains(['\u{202e}', '\u{200b}', '\u{2060}']), "{name:.20}");
        let heading = text.split_once("<h1>").unwrap().1.split_once("</h1>").unwrap().0;
        assert!(heading.chars().count() < 200, "{heading}");
    }
}
