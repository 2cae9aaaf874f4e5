//! What holds for every page, whatever strangers write.

#![allow(clippy::arithmetic_side_effects, reason = "offsets into small test texts")]

use super::consent::{Shown, write};
use super::error::words;
use super::opened::{write_refusal, write_welcome};
use super::*;
use portcullis_domain::fresh::Fresh;
use portcullis_domain::limits::PAGE_ADDRESS_MAX;
use portcullis_domain::oauth::authorize::{self, Refusal};
use portcullis_domain::oauth::client::{Client, Configured, KnownBy, lookup};
use portcullis_domain::oauth::client_document::DocumentPolicy;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::grant::Lifetimes;
use portcullis_domain::oauth::policy::{Policy, RegistrationPolicy};
use portcullis_domain::oauth::redirect::{CheckedRedirect, Kind, RedirectPolicy};
use portcullis_domain::oauth::register;
use portcullis_domain::oauth::resource::{Resource, ResourceScope, Resources};
use portcullis_domain::seal::{CurrentRing, KeyRing, MasterKey};
use portcullis_domain::secret::{Secret, SecretText};
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::form::Form;
use portcullis_ports::gateway::{ConsentPage, SetCookie, Welcome};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

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

#[test]
fn t119_as_15_as_26_the_page_says_who_asks_where_it_leads_and_for_what() {
    let claimed = write(&claude(), &gate()).body;
    for part in [
        "<strong>Not verified.</strong>",
        "known only by its own claims",
        "<p class=\"place\"><bdi>claude.ai</bdi></p>",
        "<bdi>https://claude.ai/api/mcp/auth_callback</bdi>",
        "<li><bdi>Use the tools</bdi>",
        "<code><bdi>mcp</bdi></code>",
        "<li><code><bdi>files:read</bdi></code></li>",
        "<bdi>https://mcp.example.com/mcp</bdi>",
        "continue to <strong><bdi>dex.example.com</bdi></strong> to log in",
        "for that one login",
        "action=\"/oauth/consent\"",
        "method=\"post\"",
    ] {
        assert!(claimed.contains(part), "{part} in {claimed}");
    }
    assert!(!claimed.contains("autofocus"));
    let known = write(&Shown { known_by: KnownBy::Operator, ..claude() }, &gate()).body;
    assert!(known.contains("registered by the operator of mcp.example.com") && !known.contains("Not verified"));
    let loopback = write(&Shown { kind: Kind::Loopback, place: "127.0.0.1", ..claude() }, &gate()).body;
    for part in
        ["A program on this device", "<bdi>127.0.0.1</bdi>", "any program that runs on this device could be listening"]
    {
        assert!(loopback.contains(part), "{part} in {loopback}");
    }
    let app = write(&Shown { kind: Kind::App, place: "cursor", app: Some("Cursor"), ..claude() }, &gate()).body;
    for part in ["<bdi>Cursor</bdi> on this device", "<code><bdi>cursor</bdi></code><code>:</code>"] {
        assert!(app.contains(part), "{part} in {app}");
    }
    let below = Gate::new("https://mcp.example.com/base", "dex").unwrap();
    assert!(write(&claude(), &below).body.contains("action=\"/base/oauth/consent\""));
}

#[test]
fn t034_the_place_of_an_international_host_is_shown_in_ascii() {
    let redirect = CheckedRedirect::reopened("https://xn--pp-gkc.example.com/cb").unwrap();
    let place = redirect.place();
    let page = write(&Shown { place: &place, redirect: redirect.as_str(), ..claude() }, &gate()).body;
    assert!(page.contains("<p class=\"place\"><bdi>xn--pp-gkc.example.com</bdi></p>"), "{page}");
}

fn policy() -> Policy {
    let base_url = "https://mcp.example.com";
    let key = MasterKey {
        secret: Secret::new(std::array::from_fn(|at| u8::try_from(at).unwrap())),
        seals_from: Timestamp::EPOCH,
        client_ids_only: false,
    };
    let scopes = vec![
        ResourceScope { name: "mcp".into(), description: Some("Use the <tools>".into()) },
        ResourceScope { name: "admin".into(), description: None },
    ];
    let resource = Resource::new(base_url, vec!["/mcp".into()], false, scopes, Some("Company tools".into())).unwrap();
    let own = Configured {
        id: "own".into(),
        name: "Desk".into(),
        redirects: vec!["desk:/cb".into()],
        secret: None,
        keys: None,
        without_page: false,
    };
    Policy {
        base_url: base_url.into(),
        ring: CurrentRing::of(KeyRing::new(&[key], base_url, NOW).unwrap()),
        lifetimes: Lifetimes::default(),
        redirects: RedirectPolicy::default(),
        registration: RegistrationPolicy { known: true, ..RegistrationPolicy::default() },
        documents: DocumentPolicy::default(),
        clients: vec![Client::configured(own, &RedirectPolicy::default()).unwrap()].into(),
        resources: Resources::new(vec![resource]).unwrap(),
        introspectors: Vec::new(),
        trusted: Default::default(),
        broker: Default::default(),
    }
}

fn page_of(policy: &Policy, client: &str, redirect: &str, scope: &str) -> String {
    let fresh = Fresh::new(&Secret::new([6; 32]), 0);
    let query = format!(
        "client_id={client}&redirect_uri={redirect}&response_type=code&code_challenge={CHALLENGE}&code_challenge_method=S256&scope={scope}"
    );
    let form = Form::parse(&query).unwrap();
    let client = authorize::client_id(&form).and_then(|id| lookup(policy, id)).unwrap();
    let asked = authorize::judge(policy, &form, client, NOW, &fresh).unwrap();
    let cookie = SetCookie { name: "pc-csrf".into(), value: SecretText::new("cookie value".into()) };
    let page = ConsentPage { asked, flow: "the sealed flow".into(), csrf: SecretText::new("the token".into()), cookie };
    consent(&page, &gate()).into_body()
}

#[test]
fn as_26_the_consent_page_shows_what_was_asked() {
    let policy = policy();
    let own = page_of(&policy, "own", "desk:/cb", "mcp");
    for part in [
        "Allow <bdi>Desk</bdi> to use <bdi>Company tools</bdi>?",
        "registered by the operator",
        "<bdi>Desk</bdi> on this device",
        "Use the &lt;tools&gt;",
        "name=\"flow\" value=\"the sealed flow\"",
        "name=\"csrf\" value=\"the token\"",
        "<bdi>desk:/cb</bdi>",
        "<bdi>own</bdi>",
    ] {
        assert!(own.contains(part), "{part} in {own}");
    }
    // Who asks for some of it is granted all that the resource asks for, so the page says all of it.
    assert!(own.contains("<bdi>admin</bdi>") && !own.contains("cookie value"));
    let body = br#"{"client_name":"Some <b>Client","redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}"#;
    let fresh = Fresh::new(&Secret::new([5; 32]), 0);
    let registered = register::register(body, None, &policy, NOW, &fresh).unwrap();
    let page = page_of(&policy, registered.client().id(), "http://127.0.0.1:4711/callback", "");
    for part in [
        "Some &lt;b&gt;Client",
        "Not verified",
        "A program on this device",
        "<bdi>http://127.0.0.1:4711/callback</bdi>",
        "<bdi>admin</bdi>",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[test]
fn t213_the_way_back_names_the_account_and_leads_to_the_application() {
    let redirect = CheckedRedirect::reopened("cursor://anysphere.cursor-mcp/oauth/callback").unwrap();
    let location = redirect.with([("code", "c&d"), ("state", "s")]);
    let page = welcome(
        &Welcome { redirect: redirect.clone(), location: SecretText::new(location), name: "Ada <A>".into() },
        &gate(),
    );
    assert_eq!((page.status(), format!("{page:?}").contains("code")), (200, false));
    let link = "cursor://anysphere.cursor-mcp/oauth/callback?code=c%26d&amp;state=s";
    for part in [
        "You are logged in as <bdi>Ada &lt;A&gt;</bdi>".to_owned(),
        format!("<meta http-equiv=\"refresh\" content=\"0;url={link}\">"),
        format!("<a class=\"button primary\" href=\"{link}\">Open <bdi>Cursor</bdi></a>"),
        "you can close this window".to_owned(),
    ] {
        assert!(page.body().contains(&part), "{part} in {}", page.body());
    }
    let denied = refusal(&Refusal { redirect, state: Some("s".into()), fault: Fault::ConsentDenied }, &gate());
    for part in [
        "Access was denied on the consent page.",
        "error=access_denied",
        "state=s",
        "iss=https%3A%2F%2Fmcp.example.com",
        "Open <bdi>Cursor</bdi>",
    ] {
        assert!(denied.body().contains(part), "{part} in {}", denied.body());
    }
    let runs = write_welcome("Ada", None, "javascript:alert(1)", &gate());
    assert!(!runs.body().contains("http-equiv") && !runs.body().contains("javascript"), "{}", runs.body());
}

#[test]
fn as_21_an_error_page_says_what_happened_and_leads_nowhere() {
    for fault in [
        Fault::ClientUnknown,
        Fault::RedirectUnregistered,
        Fault::Missing("client_id"),
        Fault::Repeated,
        Fault::Csrf,
        Fault::FlowExpired,
        Fault::ProviderUnavailable,
        Fault::PersonRefused,
        Fault::NotFound,
        Fault::Internal("a detail for the log"),
        Fault::ProviderAnswer("a detail for the log"),
    ] {
        let page = error(fault, Some("r-1"), &gate());
        let mut text = Html::new();
        text.text(&fault.wire().text());
        assert!(page.body().contains(text.as_str()) && page.body().contains(words(fault).1), "{fault:?}");
        assert!(!page.body().contains("href") && !page.body().contains("http-equiv") && !page.body().contains("<form"));
        assert!(!page.body().contains("a detail for the log") && page.body().contains("<bdi>r-1</bdi>"));
        assert_eq!(page.status(), if fault == Fault::ClientUnknown { 400 } else { fault.wire().status });
    }
    assert!(!error(Fault::Csrf, None, &gate()).body().contains("For the operator"));
}

#[test]
fn a_page_is_for_everybody() {
    for page in pages("Ada", &gate()) {
        assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"), "{page}");
        assert!(
            page.contains("width=device-width") && !page.contains("user-scalable") && !page.contains("maximum-scale")
        );
        assert_eq!(
            (page.matches("<h1>").count(), page.matches("<main>").count(), page.matches("<title>").count()),
            (1, 1, 1)
        );
        for button in page.split("<button").skip(1) {
            assert!(!button.split_once('>').unwrap().1.starts_with('<'), "a button has words: {button}");
        }
        assert!(!page.contains("tabindex") && !page.contains("<img"));
    }
    assert!(STYLE.contains("prefers-color-scheme: dark") && STYLE.contains(":focus-visible"));
}

/// WCAG 2.2, success criteria 1.4.3 (text, 4.5 to 1) and 1.4.11 (edges of controls, 3 to 1), for both colour schemes.
#[test]
fn the_colours_are_far_enough_apart() {
    let (light, dark) = STYLE.split_once("@media").unwrap();
    let (dark, _) = dark.split_once("* {").unwrap();
    for (scheme, css) in [("light", light), ("dark", dark)] {
        for (front, back, least) in [
            ("text", "sheet", 7.0),
            ("quiet", "sheet", 4.5),
            ("quiet", "ground", 4.5),
            ("on-strong", "strong", 4.5),
            ("on-caution", "caution", 7.0),
            ("strong", "sheet", 4.5),
            ("edge", "sheet", 3.0),
        ] {
            let (one, other) = (luminance(css, front), luminance(css, back));
            let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
            assert!(contrast >= least, "{scheme}: {front} on {back} is {contrast:.2}");
        }
    }
}

fn luminance(css: &str, name: &str) -> f64 {
    let (_, rest) = css.split_once(&format!("--{name}: #")).unwrap();
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&rest[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(0) + 0.7152 * channel(2) + 0.0722 * channel(4)
}

/// Writes one page of each kind into the folder that `PORTCULLIS_PAGES` names, for whoever wants to look at them in a browser.
#[test]
#[ignore = "for looking at"]
fn samples() {
    let folder = std::path::PathBuf::from(std::env::var_os("PORTCULLIS_PAGES").unwrap());
    let gate = gate();
    let long =
        "A very long application name that somebody chose in order to push everything else out of sight ".repeat(3);
    let host = "claude.ai.login.secure.session.0123456789abcdef0123456789abcdef0123456789abcdef.evil.example";
    let mut many = claude().scopes;
    many.extend(
        [("repo:write", Some("Change files in your repositories, open and merge pull requests, and delete branches"));
            6],
    );
    let cursor = "cursor://anysphere.cursor-mcp/oauth/callback?code=abc&state=xyz";
    for (name, page) in [
        ("https", write(&claude(), &gate)),
        (
            "loopback",
            write(
                &Shown { kind: Kind::Loopback, place: "127.0.0.1", redirect: "http://127.0.0.1:33418/", ..claude() },
                &gate,
            ),
        ),
        (
            "app",
            write(
                &Shown {
                    kind: Kind::App,
                    known_by: KnownBy::Operator,
                    place: "cursor",
                    app: Some("Cursor"),
                    client: Some("Cursor"),
                    redirect: cursor,
                    resource_name: None,
                    ..claude()
                },
                &gate,
            ),
        ),
        (
            "hostile",
            write(
                &Shown {
                    client: Some(&long),
                    client_id: &"dcr_0aZ".repeat(36),
                    place: host,
                    resource_name: Some("برنامج"),
                    scopes: many,
                    ..claude()
                },
                &gate,
            ),
        ),
        ("expired", error(Fault::FlowExpired, Some("01JD-7F3K"), &gate)),
        ("unknown", error(Fault::ClientUnknown, None, &gate)),
        ("welcome", write_welcome("Ada Lovelace", Some("Cursor"), cursor, &gate)),
        ("denied", write_refusal(Fault::ConsentDenied, Some("Cursor"), cursor, &gate)),
    ] {
        let [_, _, (_, policy), ..] = page.headers();
        let policy =
            format!("<head>\n<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">", policy.to_str().unwrap());
        std::fs::write(folder.join(name).with_extension("html"), page.body().replacen("<head>", &policy, 1)).unwrap();
    }
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
