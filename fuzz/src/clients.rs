//! `domain::oauth`, before anybody logs in: redirect URIs, registrations, resources.

use portcullis_domain::fresh::Fresh;
use portcullis_domain::limits;
use portcullis_domain::oauth::client::{AuthMethod, Client, KnownBy, lookup};
use portcullis_domain::oauth::client_document::{Document, DocumentPolicy, DocumentUrl};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::grant::Lifetimes;
use portcullis_domain::oauth::policy::{Policy, RegistrationPolicy};
use portcullis_domain::oauth::redirect::{CheckedRedirect, Kind, Redirect, RedirectPolicy};
use portcullis_domain::oauth::register::{read, register};
use portcullis_domain::oauth::resource::{Resource, Resources};
use portcullis_domain::seal::{CurrentRing, KeyRing, MasterKey};
use portcullis_domain::secret::Secret;
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::json;
use std::sync::OnceLock;
use url::Url;

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// F03: what is registered and what is presented stand in two lines. The matcher is its ten-line reference, and what it accepts
/// leads where other readers see it lead.
pub fn redirect(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (registered, presented) = text.split_once('\n').unwrap_or((text, text));
    let policy = RedirectPolicy { loopback: true, schemes: vec!["myapp".into()], uris: Vec::new() };
    let Ok(own) = Redirect::register(registered, &policy) else { return };
    let (scheme, _) = registered.split_once(':').expect("judged, so there is a scheme");
    assert!(matches!(scheme, "https" | "http" | "cursor" | "myapp") && registered.len() <= limits::REDIRECT_MAX);
    assert!(registered.is_ascii() && !registered.contains(['#', '\\', ' ']));
    check_query(registered);
    let found = own.matches(presented);
    assert_eq!(found.is_some(), reference(registered, presented), "{registered} {presented}");
    let Some(found) = found else { return };
    assert_eq!(found.as_str(), presented);
    assert_eq!(CheckedRedirect::reopened(presented).as_ref(), Some(&found));
    let answer = found.with([("code", "a b"), ("iss", "https://gate.example")]);
    assert!(answer.starts_with(presented) && answer.ends_with("code=a%20b&iss=https%3A%2F%2Fgate.example"));
    if found.kind() == Kind::App {
        return assert_eq!(found.place(), scheme);
    }
    if found.place().contains("xn--") {
        // Not every such label decodes; to a browser such a host is none.
        return;
    }
    // A browser goes where the consent page says, and not into another scheme, host or port.
    let (own, browser) = (Url::parse(registered).expect("read"), Url::parse(&answer).expect("read"));
    assert_eq!(browser.host_str(), Some(found.place().as_str()));
    assert_eq!((own.scheme(), own.host_str(), own.path()), (browser.scheme(), browser.host_str(), browser.path()));
    assert!(browser.username().is_empty() && browser.password().is_none() && browser.fragment().is_none());
    assert_eq!(browser.query_pairs().filter(|(name, _)| name == "code").count(), 1, "one code to every reader");
    assert!(own.port() == browser.port() || found.kind() == Kind::Loopback);
}

/// R33: no second reader finds a parameter of the answer in what is registered.
fn check_query(registered: &str) {
    let Some((_, query)) = registered.split_once('?') else { return };
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        assert!(!matches!(&*name, "code" | "state" | "iss" | "error"), "{registered}");
    }
}

/// The matcher, on bare strings.
fn reference(registered: &str, presented: &str) -> bool {
    fn rest(uri: &str) -> Option<(&str, &str)> {
        let bare = uri.strip_prefix("http://")?;
        let end = bare.find(']').map_or_else(|| bare.find([':', '/', '?']).unwrap_or(bare.len()), |at| at + 1);
        let (host, rest) = bare.split_at(end);
        let Some(port) = rest.strip_prefix(':') else { return Some((host, rest)) };
        let (port, rest) = port.split_at(port.find(['/', '?']).unwrap_or(port.len()));
        let plain = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
        (plain && port.parse::<u16>().is_ok()).then_some((host, rest))
    }
    let short = presented.len() <= limits::REDIRECT_MAX;
    short && (registered == presented || rest(registered).is_some_and(|own| rest(presented) == Some(own)))
}

/// F05: whatever registers comes back as it was answered, is signed whole, and says of itself only what it may.
pub fn registration(data: &[u8]) {
    let fresh = Fresh::new(&Secret::new([3; 32]), 0);
    let found = match register(data, None, policy(), NOW, &fresh) {
        Ok(found) => found,
        Err(Fault::Internal(what)) => panic!("our own mistake: {what}"),
        Err(_) => return,
    };
    let answer = found.answer(policy());
    let answer = json::parse(answer.expose().as_bytes(), 1 << 20).expect("an answer is JSON");
    let id = answer.required_text("client_id").expect("an answer names the client");
    let client = lookup(policy(), id).expect("what was just registered is known");
    assert_eq!((client.known_by(), client.without_page()), (KnownBy::SelfDeclared, false));
    assert!(id.len() <= limits::CLIENT_ID_MAX && client.redirects().len() <= limits::REDIRECTS_MAX);
    assert!(client.name().is_none_or(|name| !name.is_empty() && name.len() <= limits::CLIENT_NAME_MAX));
    assert!(client.name().is_none_or(|name| !name.contains(char::is_control)));
    for redirect in client.redirects() {
        let uri = redirect.as_str();
        assert!(["https://", "http://", "cursor:"].iter().any(|start| uri.starts_with(start)), "{uri}");
        assert!(client.redirect(Some(uri)).is_ok());
    }
    let secret = answer.member("client_secret").is_some();
    assert_eq!(secret, client.method().has_secret());
    // The answer, registered in its turn, says the same; a public client even gets the same id.
    let fresh = Fresh::new(&Secret::new([3; 32]), 0);
    let again =
        register(answer.to_string().as_bytes(), None, policy(), NOW, &fresh).expect("an answer is a registration");
    assert_eq!(again.answer(policy()).expose(), found.answer(policy()).expose());
    let text = answer.to_string();
    for name in ["client_id", "redirect_uris", "token_endpoint_auth_method"] {
        let member = answer.member(name).expect("an answer has it").to_string();
        let twice = text.replacen('{', &format!("{{\"{name}\":{member},"), 1);
        assert!(register(twice.as_bytes(), None, policy(), NOW, &fresh).is_err(), "{name} twice");
    }
    let token = answer.optional_text("registration_access_token").expect("text, if there is one");
    assert_eq!(read(id, token, policy()).is_ok(), client.method() != AuthMethod::None);
    // Nothing of the id can be changed: which letter is changed, the input decides.
    let place =
        data.iter().fold(data.len(), |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte))) % id.len();
    let mut forged = id.as_bytes().to_vec();
    forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).expect("ASCII");
    assert_eq!(lookup(policy(), &forged).err(), Some(Fault::ClientUnknown), "{id} {forged}");
}

/// F04, F05: an address that may be a client's is one to a second reader too, and a document that is taken names that address, has no
/// secret, says nothing twice, and sends codes only to where a registration could. The first line is the address.
pub fn document(data: &[u8]) {
    let (line, body) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let Some(url) = std::str::from_utf8(line).ok().and_then(|id| DocumentUrl::parse(id, &policy().documents)) else {
        return;
    };
    let Ok(second) = Url::parse(url.as_str()) else {
        // It also refuses what no name outside ASCII is written as, which no name server knows either.
        assert!(url.host().contains("xn--"), "a second reader takes it too");
        return;
    };
    assert_eq!(second.as_str(), url.as_str(), "nothing had to be repaired");
    assert_eq!((second.scheme(), second.host_str()), ("https", Some(url.host())));
    assert!(second.query().is_none() && second.fragment().is_none() && second.username().is_empty());
    assert!(second.port().is_none() && second.path().len() > 1 && second.domain().is_some());
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let Ok(judged) = Document::judge(&url, body, &policy().redirects) else { return };
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).expect("an object");
    assert_eq!(members["client_id"], url.as_str());
    let no_secret = |name: &str| members.get(name).is_none_or(serde_json::Value::is_null);
    assert!(no_secret("client_secret") && no_secret("client_secret_expires_at"));
    let client = Client::described(&url, &judged, policy()).expect("what was just judged is good today");
    assert_eq!((client.id(), client.known_by(), client.without_page()), (url.as_str(), KnownBy::Document, false));
    assert!(!client.redirects().is_empty() && !client.method().has_secret());
    for redirect in client.redirects() {
        let uri = redirect.as_str();
        assert!(["https://", "http://", "cursor:"].iter().any(|start| uri.starts_with(start)), "{uri}");
        assert!(members["redirect_uris"].as_array().expect("a list").iter().any(|own| own == uri), "{uri}");
    }
    // Read again it is the same; with its id twice, or at another address, it is none.
    let written = serde_json::to_vec(&members).expect("written");
    assert_eq!(Document::judge(&url, &written, &policy().redirects).map(|again| again.hash()), Ok(judged.hash()));
    let text = String::from_utf8(written).expect("UTF-8");
    let twice = text.replacen('{', &format!("{{\"client_id\":\"{}\",", url.as_str()), 1);
    assert!(Document::judge(&url, twice.as_bytes(), &policy().redirects).is_err(), "a member twice");
    let elsewhere = format!("{}x", url.as_str());
    if let Some(elsewhere) = DocumentUrl::parse(&elsewhere, &policy().documents) {
        assert!(Document::judge(&elsewhere, text.as_bytes(), &policy().redirects).is_err(), "somebody else's document");
    }
}

/// F17, F24: a resource that is chosen is the one that a second reader of URLs sees, and a path that belongs to one does so to all.
pub fn resource(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let resources = &policy().resources;
    if let Some(found) = resources.by_path(text) {
        let browser =
            Url::parse("https://gate.example").and_then(|base| base.join(text)).expect("a path is a reference");
        assert_eq!(browser.host_str(), Some("gate.example"));
        assert!(found.has(browser.path()), "{text} is {} to others", browser.path());
        let decoded = text.replace("%2f", "/").replace("%2F", "/").replace("%2e", ".").replace("%2E", ".");
        assert!(!decoded.split('/').any(|segment| segment == ".."));
    }
    if let Ok(found) = resources.choose([text]) {
        let browser = Url::parse(text).expect("chosen by an absolute URL");
        assert_eq!(browser.origin().ascii_serialization(), "https://gate.example");
        let path = browser.path();
        let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(path);
        assert!(found.has(bare) || found.has(path), "{text}");
        assert_eq!(resources.choose([text, found.identifier()]).map(Resource::hash), Ok(found.hash()));
    }
}

pub(crate) fn policy() -> &'static Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    POLICY.get_or_init(new_policy)
}

/// An open gate with resources of every shape.
pub(crate) fn new_policy() -> Policy {
    let base_url = "https://gate.example";
    let mut secret = [0; 32];
    secret.iter_mut().zip(1..).for_each(|(byte, value)| *byte = value);
    let key = MasterKey { secret: Secret::new(secret), seals_from: Timestamp::EPOCH, client_ids_only: false };
    let resource = |paths: &[&str], subtree| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Resource::new(base_url, paths, subtree, Vec::new(), None).expect("a resource")
    };
    let resources = vec![resource(&["/mcp", "/sse"], false), resource(&["/"], false), resource(&["/tree"], true)];
    Policy {
        base_url: base_url.into(),
        ring: CurrentRing::of(KeyRing::new(&[key], base_url, NOW).expect("a ring")),
        lifetimes: Lifetimes::default(),
        redirects: RedirectPolicy::default(),
        registration: RegistrationPolicy { open: true, token: None, known: true },
        documents: DocumentPolicy { on: true, ..DocumentPolicy::default() },
        clients: Vec::new().into(),
        resources: Resources::new(resources).expect("resources"),
        introspectors: Vec::new(),
        trusted: Default::default(),
        broker: Default::default(),
    }
}
