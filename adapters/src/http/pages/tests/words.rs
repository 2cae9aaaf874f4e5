//! What each page says, and where it leads.

use super::*;
use portcullis_domain::fresh::Fresh;
use portcullis_domain::oauth::authorize::{self, Refusal};
use portcullis_domain::oauth::client::{Client, Configured, lookup};
use portcullis_domain::oauth::client_document::DocumentPolicy;
use portcullis_domain::oauth::grant::Lifetimes;
use portcullis_domain::oauth::policy::{Policy, RegistrationPolicy};
use portcullis_domain::oauth::redirect::{CheckedRedirect, RedirectPolicy};
use portcullis_domain::oauth::register;
use portcullis_domain::oauth::resource::{Resource, ResourceScope, Resources};
use portcullis_domain::seal::{CurrentRing, KeyRing, MasterKey};
use portcullis_domain::secret::{Secret, SecretText};
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::form::Form;
use portcullis_ports::gateway::{ConsentPage, SetCookie, Welcome};

const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

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
