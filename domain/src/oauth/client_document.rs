//! Clients that describe themselves: the `client_id` is the address of a document (OAuth Client ID Metadata Document, MCP
//! 2025-11-25 "Client Registration").
//!
//! The address is judged as text before anything is fetched, the document after. What is judged here is what the document says of
//! itself; its redirect URIs are judged again by today's policy at every use, as those of a registration are. Nothing that it refers
//! to is fetched for it but its keys: no logo, no page.

use crate::hash;
use crate::limits::{CLIENT_DOCUMENT_MAX, DOCUMENT_URL_MAX, REDIRECTS_MAX};
use crate::oauth::client::AuthMethod;
use crate::oauth::client_keys::ClientKeys;
use crate::oauth::client_metadata as metadata;
use crate::oauth::fault::Fault;
use crate::oauth::redirect::{Redirect, RedirectPolicy};
use crate::wire::json::{self, WrongType};
use crate::wire::uri::{Host, Uri};

/// What the operator says of such clients.
#[derive(Debug, Clone, Default)]
pub struct DocumentPolicy {
    /// Whether there are any.
    pub on: bool,
    /// The domains that they may come from, each with its subdomains, in lower case; none for any.
    pub allowed: Vec<String>,
    /// The domains that they may not come from, each with its subdomains, in lower case.
    pub denied: Vec<String>,
    /// Whether a document may lie on this machine, at any port: for tests.
    pub danger_loopback: bool,
}

/// The address of a document, as it stands in requests: also the client's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DocumentUrl {
    text: Box<str>,
    host: Box<str>,
}

impl DocumentUrl {
    /// Reads a `client_id` that is the address of a document: `https`, a host name in lower case, a path with something in it, and
    /// nothing that two readers could read differently. Nothing if it is none, or none that the operator lets be one.
    #[must_use]
    pub fn parse(client_id: &str, policy: &DocumentPolicy) -> Option<Self> {
        if !policy.on || client_id.len() > DOCUMENT_URL_MAX {
            return None;
        }
        let uri = Uri::parse(client_id).ok()?;
        let host = uri.host_text()?;
        let plain = uri.scheme() == "https"
            && uri.userinfo().is_none()
            && uri.query().is_none()
            && uri.fragment().is_none()
            && !uri.has_dot_segments()
            && uri.path().len() > 1
            && !host.bytes().any(|byte| byte.is_ascii_uppercase());
        let here = policy.danger_loopback && uri.is_loopback_host();
        let public = matches!(uri.host(), Some(Host::Name(_))) && uri.port().is_none();
        let welcome = (policy.allowed.is_empty() || is_among(host, &policy.allowed)) && !is_among(host, &policy.denied);
        (plain && (here || public && welcome)).then(|| Self { text: client_id.into(), host: host.into() })
    }

    /// As it stands in requests.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host: the one thing about the client that it cannot make up. Names outside ASCII stand in their `xn--` form.
    #[must_use]
    pub const fn host(&self) -> &str {
        &self.host
    }
}

/// Whether a host is one of these domains or lies below one.
fn is_among(host: &str, domains: &[String]) -> bool {
    domains
        .iter()
        .any(|domain| host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// What a document says, as a flow and a grant remember it: the first half of a SHA-256. Who approves a client approves what its
/// document said then, so a code is worth nothing once it says something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentHash(pub [u8; 16]);

/// A document that has been judged.
#[derive(Debug, Clone)]
pub struct Document {
    pub(crate) name: String,
    pub(crate) redirects: Vec<String>,
    pub(crate) method: AuthMethod,
    pub(crate) keys: Option<ClientKeys>,
    pub(crate) refreshes: bool,
    hash: DocumentHash,
}

impl Document {
    /// Judges what was found at this address.
    ///
    /// A redirect URI that could not be registered here does not spoil the others, as long as there is one that could: a document is
    /// written once for all servers.
    ///
    /// # Errors
    /// [`Fault::ClientMetadata`] or [`Fault::RedirectUri`] with the rule that it breaks, for the log.
    pub fn judge(url: &DocumentUrl, body: &[u8], policy: &RedirectPolicy) -> Result<Self, Fault> {
        let document = json::parse(body, CLIENT_DOCUMENT_MAX)
            .map_err(|_| Fault::ClientMetadata("it is not one JSON document, or has a member twice"))?;
        document.members().map_err(|WrongType| Fault::ClientMetadata("it is not a JSON object"))?;
        let document = document.without_nulls();
        if document.optional_text("client_id") != Ok(Some(url.as_str())) {
            return Err(Fault::ClientMetadata("its client_id is not the address that it was found at"));
        }
        // A secret that everybody can read is none.
        if ["client_secret", "client_secret_expires_at"].iter().any(|name| document.member(name).is_some()) {
            return Err(Fault::ClientMetadata("it has a client_secret"));
        }
        // Left out, it cannot mean what RFC 7591 says, which needs a shared secret.
        let unsaid = if metadata::can_sign(&document) { AuthMethod::PrivateKeyJwt } else { AuthMethod::None };
        let method = metadata::auth_method(&document)?
            .map_or(Some(unsaid), AuthMethod::named)
            .filter(|method| !method.has_secret())
            .ok_or(Fault::ClientMetadata("token_endpoint_auth_method is not none or private_key_jwt"))?;
        let keys = metadata::keys(&document, method)?;
        metadata::check_response_types(&document)?;
        let name = metadata::name(&document)?.ok_or(Fault::ClientMetadata("it has no client_name"))?;
        let listed = metadata::redirect_uris(&document)?;
        let redirects: Vec<String> = listed
            .into_iter()
            .filter(|uri| Redirect::register(uri, policy).is_ok())
            .map(str::to_owned)
            .take(REDIRECTS_MAX)
            .collect();
        if redirects.is_empty() {
            return Err(Fault::RedirectUri("none of its redirect_uris could be registered here"));
        }
        let refreshes = metadata::refreshes(&document)?;
        let (set, address) = match &keys {
            Some(ClientKeys::Set(set)) => (set.to_json(), ""),
            Some(ClientKeys::At(url)) => (String::new(), url.as_str()),
            None => (String::new(), ""),
        };
        let mut parts = vec![name.as_bytes(), method.name().as_bytes(), if refreshes { &[1] } else { &[0] }];
        parts.extend([set.as_bytes(), address.as_bytes()]);
        parts.extend(redirects.iter().map(String::as_bytes));
        let hash = DocumentHash(hash::first(&hash::sha256_of("portcullis client document", &parts)));
        Ok(Self { name, redirects, method, keys, refreshes, hash })
    }

    /// What it says, as a flow and a grant remember it.
    #[must_use]
    pub const fn hash(&self) -> DocumentHash {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::algorithm::Algorithm;
    use crate::jose::testing::{jwk, members};
    use crate::wire::json::quote;

    const URL: &str = "https://app.example/client.json";

    fn on() -> DocumentPolicy {
        DocumentPolicy { on: true, ..DocumentPolicy::default() }
    }

    fn judge(changes: &[(&str, &str)]) -> Result<Document, Fault> {
        let good = [
            ("client_id", quote(URL)),
            ("client_name", quote("App")),
            ("redirect_uris", r#"["http://localhost/callback","https://app.example/cb"]"#.to_owned()),
        ];
        let url = DocumentUrl::parse(URL, &on()).unwrap();
        Document::judge(&url, members(&good, changes).as_bytes(), &RedirectPolicy::default())
    }

    #[test]
    fn f04_t107_what_can_be_a_document_s_address() {
        for good in [
            "https://app.example/c",
            "https://app.example/a/b.json",
            "https://localhost/c",
            "https://a/c/",
            "https://xn--pp-gkc.example/c",
            "https://app.example/c%20d",
        ] {
            let url = DocumentUrl::parse(good, &on()).unwrap_or_else(|| panic!("{good}"));
            assert_eq!((url.as_str(), url.host()), (good, Uri::parse(good).unwrap().host_text().unwrap()));
        }
        let long = format!("https://app.example/{}", "c".repeat(DOCUMENT_URL_MAX));
        for bad in [
            "",
            "client",
            "https://app.example",
            "https://app.example/",
            "https://app.example/?x",
            "https://app.example/c?x",
            "https://app.example/c?",
            "https://app.example/c#",
            "https://app.example:443/c",
            "https://app.example:8443/c",
            "https://127.0.0.1/c",
            "https://127.0.0.1:8443/c",
            "https://localhost:8443/c",
            "https://[::1]/c",
            "https://1.1.1.1/c",
            "https://App.example/c",
            "HTTPS://app.example/c",
            "http://app.example/c",
            "https://u@app.example/c",
            "https://app.example/./c",
            "https://app.example/..",
            "https://app.example/a/%2E%2e/c",
            "https://app.example/a/.%2e",
            "https://app.example./c",
            "https://app.example/c d",
            "https://app.example\\c",
            "https://app.example/c\r\n",
            "https://app.example/ä",
            &long,
        ] {
            assert_eq!(DocumentUrl::parse(bad, &on()), None, "{bad}");
        }
        assert_eq!(DocumentUrl::parse("https://app.example/c", &DocumentPolicy::default()), None, "it is off");
        let danger = DocumentPolicy { danger_loopback: true, ..on() };
        for here in ["https://127.0.0.1:8443/c", "https://localhost:8443/c", "https://[::1]:1/c"] {
            assert!(DocumentUrl::parse(here, &danger).is_some(), "{here}");
        }
        assert_eq!(DocumentUrl::parse("http://127.0.0.1:8443/c", &danger), None);
    }

    #[test]
    fn as_15_domains_cover_what_is_below_them_and_denial_comes_first() {
        let lists = |allowed: &[&str], denied: &[&str], id: &str| {
            let owned = |list: &[&str]| list.iter().map(|domain| (*domain).to_owned()).collect();
            let policy = DocumentPolicy { allowed: owned(allowed), denied: owned(denied), ..on() };
            DocumentUrl::parse(id, &policy).is_some()
        };
        assert!(lists(&["app.example"], &[], "https://app.example/c"));
        assert!(lists(&["app.example"], &[], "https://deep.er.app.example/c"));
        assert!(!lists(&["app.example"], &[], "https://notapp.example/c"));
        assert!(!lists(&["app.example"], &[], "https://app.example.evil.example/c"));
        assert!(!lists(&["example"], &["app.example"], "https://app.example/c"));
        assert!(!lists(&[], &["app.example"], "https://x.app.example/c"));
        assert!(lists(&[], &["app.example"], "https://example/c"));
    }

    #[test]
    fn as_13_a_document_says_who_it_is_and_where_codes_go_and_has_no_secret() {
        let document = judge(&[]).unwrap();
        assert_eq!((document.name.as_str(), document.method, document.refreshes), ("App", AuthMethod::None, true));
        assert_eq!(document.redirects, ["http://localhost/callback", "https://app.example/cb"]);
        let metadata = |rule| Some(Fault::ClientMetadata(rule));
        let not_itself = metadata("its client_id is not the address that it was found at");
        for (name, value, fault) in [
            ("client_id", "", not_itself),
            ("client_id", "null", not_itself),
            ("client_id", r#""https://app.example/client.json/""#, not_itself),
            ("client_id", r#""https://APP.example/client.json""#, not_itself),
            ("client_id", r#"["https://app.example/client.json"]"#, not_itself),
            ("client_secret", r#""x""#, metadata("it has a client_secret")),
            ("client_secret", "null", None),
            ("client_secret_expires_at", "0", metadata("it has a client_secret")),
            ("client_name", "", metadata("it has no client_name")),
            ("client_name", r#""\u200b""#, metadata("it has no client_name")),
            ("client_name", "5", metadata("client_name is not a string")),
            ("redirect_uris", "", Some(Fault::RedirectUri("redirect_uris is missing or empty"))),
            ("redirect_uris", "[]", Some(Fault::RedirectUri("redirect_uris is missing or empty"))),
            (
                "redirect_uris",
                r#"["javascript:x","http://app.example/"]"#,
                Some(Fault::RedirectUri("none of its redirect_uris could be registered here")),
            ),
            ("redirect_uris", r#"["javascript:x","https://app.example/"]"#, None),
            ("grant_types", r#"["client_credentials"]"#, metadata("grant_types lacks authorization_code")),
            ("response_types", r#"["token"]"#, metadata("response_types is something else than code")),
            ("jwks", r#"{"keys":[{"kty":"oct","k":"AA"}]}"#, metadata("jwks holds a private or symmetric key")),
        ] {
            assert_eq!(judge(&[(name, value)]).err(), fault, "{name} {value}");
        }
        let (both, keys) = (r#"["none","private_key_jwt"]"#, r#""https://app.example/keys""#);
        for (said, supported, jwks_uri, method) in [
            ("", both, keys, AuthMethod::PrivateKeyJwt),
            (r#""private_key_jwt""#, both, keys, AuthMethod::PrivateKeyJwt),
            (r#""none""#, both, keys, AuthMethod::None),
            ("", both, "", AuthMethod::None),
            ("", r#"["none"]"#, keys, AuthMethod::None),
            ("", r#""private_key_jwt""#, keys, AuthMethod::None),
            ("", "", keys, AuthMethod::None),
        ] {
            let document = judge(&[
                ("token_endpoint_auth_method", said),
                ("token_endpoint_auth_methods_supported", supported),
                ("jwks_uri", jwks_uri),
            ]);
            assert_eq!(document.unwrap().method, method, "{said} {supported} {jwks_uri}");
        }
        for method in ["client_secret_basic", "client_secret_post", "client_secret_jwt", "tls_client_auth"] {
            assert!(judge(&[("token_endpoint_auth_method", &quote(method))]).is_err(), "{method}");
        }
    }

    #[test]
    fn t111_t152_one_json_object_without_doubles() {
        let url = DocumentUrl::parse(URL, &on()).unwrap();
        let judge = |body: &str| Document::judge(&url, body.as_bytes(), &RedirectPolicy::default()).err();
        let good = format!(r#"{{"client_id":"{URL}","client_name":"A","redirect_uris":["https://a/cb"]}}"#);
        assert_eq!(judge(&good), None);
        for bad in [
            good.replace("{", r#"{"client_id":"https://other.example/c","#),
            good.replace("}", r#","redirect_uris":["https://b/cb"]}"#),
            format!("\u{feff}{good}"),
            format!("{good}{good}"),
            format!("[{good}]"),
            good.replace("client_id", "Client_Id"),
            format!("{good}{}", " ".repeat(CLIENT_DOCUMENT_MAX)),
            String::new(),
        ] {
            assert!(judge(&bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn t114_whatever_counts_changes_the_hash_and_nothing_else_does() {
        let hash = |changes: &[(&str, &str)]| judge(changes).unwrap().hash();
        let own = hash(&[]);
        assert_eq!(hash(&[("logo_uri", r#""https://app.example/logo""#), ("contacts", "[]")]), own);
        for changes in [
            ("client_name", r#""Other""#),
            ("redirect_uris", r#"["http://localhost/callback"]"#),
            ("redirect_uris", r#"["https://app.example/cb","http://localhost/callback"]"#),
            ("grant_types", r#"["authorization_code"]"#),
        ] {
            assert_ne!(hash(&[changes]), own, "{changes:?}");
        }
        let signing =
            |name, value: &str| hash(&[("token_endpoint_auth_method", r#""private_key_jwt""#), (name, value)]);
        let keys = |algorithm| signing("jwks", &format!(r#"{{"keys":[{}]}}"#, jwk(algorithm)));
        let there = signing("jwks_uri", r#""https://app.example/keys""#);
        let all = [
            own,
            keys(Algorithm::Es256),
            keys(Algorithm::Ed25519),
            there,
            signing("jwks_uri", r#""https://app.example/other""#),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all.iter().skip(at.saturating_add(1)).any(|other| other == one), "{at}: the keys are who it is");
        }
        assert_eq!(signing("jwks_uri", r#""https://app.example/keys""#), there);
    }
}
