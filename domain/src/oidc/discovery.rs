//! Judges the identity provider's discovery document against the issuer that the configuration names.
//!
//! OpenID Connect Discovery section 3 and 4.3, RFC 8414 section 2, RFC 9207 section 3. The document tells where the
//! provider's endpoints are; it never tells who the provider is. Which addresses may be dialled is judged where they are
//! dialled. A good [`Provider`] stays in force when a later document is refused: the caller keeps the last good one.

use crate::jose::{self, algorithm::Algorithm};
use crate::limits;
use crate::oidc::github::Api;
use crate::oidc::issuer::Issuer;
use crate::wire::json::{self, Json};
use crate::wire::uri::Uri;
use std::fmt;

/// Which rule a discovery document breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Longer than [`limits::PROVIDER_ANSWER_MAX`].
    TooLong,
    /// Not one JSON object, or one with a repeated member.
    NotJson,
    /// `issuer` is missing or is no text.
    NoIssuer,
    /// `issuer` is not byte for byte the configured one.
    OtherIssuer,
    /// `authorization_endpoint` is missing or is no text.
    NoAuthorizationEndpoint,
    /// `token_endpoint` is missing or is no text.
    NoTokenEndpoint,
    /// `jwks_uri` is missing or is no text.
    NoKeysUri,
    /// The endpoint of this name is no absolute http or https URI without userinfo and fragment.
    BadEndpoint(&'static str),
    /// The endpoint of this name is http, and not on the issuer's own origin with plain http allowed there.
    PlainHttp(&'static str),
    /// The member of this name has the wrong type.
    BadMember(&'static str),
    /// `response_types_supported` is there without `code`.
    NoCodeFlow,
    /// `code_challenge_methods_supported` is there without `S256`.
    NoS256,
    /// `token_endpoint_auth_methods_supported` is there without `client_secret_basic` and `client_secret_post`.
    NoClientAuthentication,
    /// `id_token_signing_alg_values_supported` is there without an algorithm that can be verified.
    NoAlgorithm,
}

impl fmt::Display for Refused {
    /// In words that follow "its discovery document".
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => out.write_str("is too long"),
            Self::NotJson => out.write_str("is not one JSON object, or has a member twice"),
            Self::NoIssuer => out.write_str("names no issuer"),
            Self::OtherIssuer => out.write_str("names another issuer: the two must be the same to the last character"),
            Self::NoAuthorizationEndpoint => out.write_str("has no authorization_endpoint"),
            Self::NoTokenEndpoint => out.write_str("has no token_endpoint"),
            Self::NoKeysUri => out.write_str("has no jwks_uri"),
            Self::BadEndpoint(name) => write!(out, "has a {name} that is no address"),
            Self::PlainHttp(name) => write!(out, "has a {name} without https"),
            Self::BadMember(name) => write!(out, "has a {name} of the wrong type"),
            Self::NoCodeFlow => out.write_str("does not offer the response type code"),
            Self::NoS256 => out.write_str("does not offer PKCE with S256"),
            Self::NoClientAuthentication => out.write_str("offers neither client_secret_basic nor client_secret_post"),
            Self::NoAlgorithm => out.write_str("lists no algorithm of ID tokens that can be verified here"),
        }
    }
}

/// How the client authenticates at the token endpoint (OpenID Connect Core section 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// `client_secret_basic`.
    Basic,
    /// `client_secret_post`.
    Post,
}

/// What there is to know of an identity provider whose document was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// The configured issuer, which the document repeats byte for byte, or the tenants whose template it repeats.
    pub issuer: Issuer,
    /// Where the browser goes.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// Where the keys are, of a provider that signs what it says.
    pub jwks_uri: Option<String>,
    /// `userinfo_endpoint`.
    pub userinfo_endpoint: Option<String>,
    /// `revocation_endpoint` (RFC 7009).
    pub revocation_endpoint: Option<String>,
    /// `end_session_endpoint`.
    pub end_session_endpoint: Option<String>,
    /// Whether every answer at the callback carries `iss` (RFC 9207).
    pub names_itself_at_callback: bool,
    /// How we authenticate: by header, unless only the body is offered.
    pub client_authentication: ClientAuthentication,
    /// The algorithms that its ID tokens may have: what it lists and what can be verified; empty only if it gives none.
    pub algorithms: Vec<Algorithm>,
    /// `scopes_supported`, where it says.
    pub scopes: Option<Vec<String>>,
    /// Where to ask who somebody is, of a provider that gives no ID tokens.
    pub api: Option<Api>,
}

impl Provider {
    /// Whether the provider may be asked for that scope: it lists it, or does not say what it knows.
    #[must_use]
    pub fn supports_scope(&self, scope: &str) -> bool {
        self.scopes.as_deref().is_none_or(|scopes| scopes.iter().any(|known| known == scope))
    }
}

/// Where the discovery document of an issuer is (OpenID Connect Discovery section 4.1): one trailing slash is dropped
/// for the address, though never for the comparison.
#[must_use]
pub fn document_url(issuer: &Issuer) -> String {
    let home = issuer.home();
    format!("{}/.well-known/openid-configuration", home.strip_suffix('/').unwrap_or(home))
}

/// Judges a document that was fetched from [`document_url`].
///
/// `plain_http_allowed` is for an issuer whose configured URL is http, on loopback or where the operator said so; it
/// opens http for endpoints of the issuer's own origin. Endpoints of other origins are taken if they are https: large
/// providers spread theirs over several hosts.
///
/// # Errors
/// The first rule that the document breaks.
pub fn judge(document: &[u8], issuer: &Issuer, plain_http_allowed: bool) -> Result<Provider, Refused> {
    let document = jose::object(document, limits::PROVIDER_ANSWER_MAX).map_err(|malformed| match malformed {
        json::Malformed::TooLong => Refused::TooLong,
        _ => Refused::NotJson,
    })?;
    match document.member("issuer") {
        Some(Json::Text(named)) if *named == issuer.in_document() => {}
        Some(Json::Text(_)) => return Err(Refused::OtherIssuer),
        _ => return Err(Refused::NoIssuer),
    }
    demands(&document, "response_types_supported", "code", Refused::NoCodeFlow)?;
    demands(&document, "code_challenge_methods_supported", "S256", Refused::NoS256)?;
    let home = Uri::parse(issuer.home()).ok().and_then(|uri| uri.origin()).filter(|_| plain_http_allowed);
    let endpoint = |name: &'static str| match document.member(name) {
        None => Ok(None),
        Some(Json::Text(uri)) => judged_endpoint(name, uri, home.as_deref()).map(Some),
        Some(_) => Err(Refused::BadMember(name)),
    };
    Ok(Provider {
        issuer: issuer.clone(),
        authorization_endpoint: endpoint("authorization_endpoint")?.ok_or(Refused::NoAuthorizationEndpoint)?,
        token_endpoint: endpoint("token_endpoint")?.ok_or(Refused::NoTokenEndpoint)?,
        jwks_uri: Some(endpoint("jwks_uri")?.ok_or(Refused::NoKeysUri)?),
        userinfo_endpoint: endpoint("userinfo_endpoint")?,
        revocation_endpoint: endpoint("revocation_endpoint")?,
        end_session_endpoint: endpoint("end_session_endpoint")?,
        names_itself_at_callback: flag(&document, "authorization_response_iss_parameter_supported")?,
        client_authentication: client_authentication(&document)?,
        algorithms: algorithms(&document)?,
        scopes: words(&document, "scopes_supported")?,
        api: None,
    })
}

fn judged_endpoint(name: &'static str, text: &str, home: Option<&str>) -> Result<String, Refused> {
    let uri = Uri::parse(text).map_err(|_| Refused::BadEndpoint(name))?;
    if !uri.is_web() || uri.userinfo().is_some() || uri.fragment().is_some() {
        return Err(Refused::BadEndpoint(name));
    }
    if uri.has_scheme("http") && (home.is_none() || uri.origin().as_deref() != home) {
        return Err(Refused::PlainHttp(name));
    }
    Ok(text.to_owned())
}

/// Absent means `client_secret_basic` (OpenID Connect Discovery section 3).
fn client_authentication(document: &Json) -> Result<ClientAuthentication, Refused> {
    let Some(methods) = words(document, "token_endpoint_auth_methods_supported")? else {
        return Ok(ClientAuthentication::Basic);
    };
    let offered = |method: &str| methods.iter().any(|word| word == method);
    if offered("client_secret_basic") {
        Ok(ClientAuthentication::Basic)
    } else if offered("client_secret_post") {
        Ok(ClientAuthentication::Post)
    } else {
        Err(Refused::NoClientAuthentication)
    }
}

fn algorithms(document: &Json) -> Result<Vec<Algorithm>, Refused> {
    let Some(names) = words(document, "id_token_signing_alg_values_supported")? else {
        return Ok(Algorithm::ALL.to_vec());
    };
    let named: Vec<Algorithm> = names.iter().filter_map(|name| Algorithm::named(name)).collect();
    let known: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(|known| named.contains(known)).collect();
    if known.is_empty() { Err(Refused::NoAlgorithm) } else { Ok(known) }
}

fn demands(document: &Json, name: &'static str, word: &str, refused: Refused) -> Result<(), Refused> {
    match words(document, name)? {
        Some(words) if !words.iter().any(|known| known == word) => Err(refused),
        _ => Ok(()),
    }
}

fn flag(document: &Json, name: &'static str) -> Result<bool, Refused> {
    document.optional_bool(name).map(Option::unwrap_or_default).map_err(|_| Refused::BadMember(name))
}

fn words(document: &Json, name: &'static str) -> Result<Option<Vec<String>>, Refused> {
    let words = document.optional_text_list(name).map_err(|_| Refused::BadMember(name))?;
    Ok(words.map(|words| words.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use crate::oidc::testing::{DOCUMENT, ISSUER, provider};

    fn changed(from: &str, to: &str) -> String {
        let document = DOCUMENT.replacen(from, to, 1);
        assert_ne!(document, DOCUMENT, "{from} is not in the document");
        document
    }

    fn without(member: &str) -> String {
        changed(&format!("\"{member}\""), &format!("\"x_{member}\""))
    }

    #[test]
    fn a_good_document_is_read() {
        let provider = provider();
        assert_eq!(provider.token_endpoint, "https://id.example/token");
        assert_eq!(provider.userinfo_endpoint.as_deref(), Some("https://id.example/userinfo"));
        assert_eq!((provider.revocation_endpoint, provider.end_session_endpoint), (None, None));
        assert!(provider.names_itself_at_callback);
        assert_eq!(provider.client_authentication, ClientAuthentication::Basic);
        assert_eq!(provider.algorithms, [Algorithm::Rs256, Algorithm::Es256, Algorithm::Ed25519]);
        assert_eq!(provider.scopes.as_deref().map(<[String]>::len), Some(3));
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let document = r#"{"issuer":"https://id.example","authorization_endpoint":"https://a.example/x?y=z","token_endpoint":"https://t.example","jwks_uri":"https://k.example/"}"#;
        let provider = judge(document.as_bytes(), &ISSUER.into(), false).unwrap();
        assert!(!provider.names_itself_at_callback);
        assert_eq!(provider.client_authentication, ClientAuthentication::Basic);
        assert_eq!(provider.algorithms, Algorithm::ALL);
        assert!(provider.supports_scope("offline_access"));
        let post = judge(changed(r#""client_secret_basic", "#, "").as_bytes(), &ISSUER.into(), false).unwrap();
        assert_eq!(post.client_authentication, ClientAuthentication::Post);
    }

    #[test]
    fn t193_documents_of_another_issuer_are_refused() {
        for other in [
            "https://id.example/",
            "https://ID.example",
            "https://id.example:443",
            "http://id.example",
            "https://id.example.evil.example",
            " https://id.example",
            "",
        ] {
            let document = changed("\"https://id.example\"", &format!("\"{other}\""));
            assert_eq!(judge(document.as_bytes(), &ISSUER.into(), false), Err(Refused::OtherIssuer), "{other}");
            assert_eq!(judge(DOCUMENT.as_bytes(), &other.into(), true), Err(Refused::OtherIssuer), "{other}");
        }
        for value in ["null", "1", r#"["https://id.example"]"#] {
            let document = changed("\"https://id.example\"", value);
            assert_eq!(judge(document.as_bytes(), &ISSUER.into(), false), Err(Refused::NoIssuer));
        }
        assert_eq!(judge(without("issuer").as_bytes(), &ISSUER.into(), false), Err(Refused::NoIssuer));
    }

    #[test]
    fn t193_r56_cve_2026_104056_bad_documents_are_refused() {
        let token = "\"https://id.example/token\"";
        let duplicate = changed("{", r#"{"token_endpoint": "https://evil.example/token","#);
        let cases = [
            ("<!doctype html><title>Sign in</title>".to_owned(), Refused::NotJson),
            (String::new(), Refused::NotJson),
            ("[]".to_owned(), Refused::NotJson),
            (DOCUMENT[..DOCUMENT.len() - 1].to_owned(), Refused::NotJson),
            (duplicate, Refused::NotJson),
            (format!("{DOCUMENT}{}", " ".repeat(limits::PROVIDER_ANSWER_MAX)), Refused::TooLong),
            (without("authorization_endpoint"), Refused::NoAuthorizationEndpoint),
            (without("token_endpoint"), Refused::NoTokenEndpoint),
            (without("jwks_uri"), Refused::NoKeysUri),
            (changed(token, "null"), Refused::BadMember("token_endpoint")),
            (changed(token, "[\"https://id.example/token\"]"), Refused::BadMember("token_endpoint")),
            (changed(token, "\"\""), Refused::BadEndpoint("token_endpoint")),
            (changed(token, "\"/token\""), Refused::BadEndpoint("token_endpoint")),
            (changed(token, "\"file:///etc/passwd\""), Refused::BadEndpoint("token_endpoint")),
            (changed(token, "\"https://a@id.example/token\""), Refused::BadEndpoint("token_endpoint")),
            (changed(token, "\"https://id.example/token#x\""), Refused::BadEndpoint("token_endpoint")),
            (changed(token, "\"http://id.example/token\""), Refused::PlainHttp("token_endpoint")),
            (changed("https://id.example/keys", "http://127.0.0.1/keys"), Refused::PlainHttp("jwks_uri")),
            (changed("https://id.example/userinfo", "http://id.example/"), Refused::PlainHttp("userinfo_endpoint")),
            (changed("\"code\",", ""), Refused::NoCodeFlow),
            (changed(", \"S256\"", ""), Refused::NoS256),
            (changed("\"S256\"", "256"), Refused::BadMember("code_challenge_methods_supported")),
            (changed(r#""RS256", "ES256", "EdDSA""#, "\"none\""), Refused::NoAlgorithm),
            (
                changed(r#""client_secret_basic", "client_secret_post""#, "\"private_key_jwt\""),
                Refused::NoClientAuthentication,
            ),
            (changed("true", "\"true\""), Refused::BadMember("authorization_response_iss_parameter_supported")),
        ];
        for (document, refused) in cases {
            assert_eq!(judge(document.as_bytes(), &ISSUER.into(), false), Err(refused), "{refused:?}");
        }
    }

    #[test]
    fn t193_a_document_of_many_tenants_is_taken_only_where_that_is_configured() {
        let home = "https://id.example/organizations/v2.0";
        let template = changed("\"https://id.example\"", "\"https://id.example/{tenantid}/v2.0\"");
        let tenants = Issuer::of_tenants(home, None).unwrap();
        assert_eq!(document_url(&tenants), format!("{home}/.well-known/openid-configuration"));
        assert_eq!(judge(template.as_bytes(), &tenants, false).unwrap().issuer, tenants);
        for issuer in [home, "https://id.example/11111111-2222-3333-4444-555555555555/v2.0"] {
            assert_eq!(judge(template.as_bytes(), &issuer.into(), false), Err(Refused::OtherIssuer), "{issuer}");
            let exact = changed("\"https://id.example\"", &format!("\"{issuer}\""));
            assert_eq!(judge(exact.as_bytes(), &tenants, false), Err(Refused::OtherIssuer), "{issuer}");
        }
    }

    #[test]
    fn plain_http_is_for_the_issuers_own_origin_where_it_is_allowed() {
        let issuer = "http://127.0.0.1:5556/dex";
        let at = |keys: &str| {
            format!(
                r#"{{"issuer":"{issuer}","authorization_endpoint":"{issuer}/auth","token_endpoint":"{issuer}/token","jwks_uri":"{keys}"}}"#
            )
        };
        let judge = |keys: &str, allowed| judge(at(keys).as_bytes(), &issuer.into(), allowed).map(|_| ());
        assert_eq!(judge("http://127.0.0.1:5556/keys", true), Ok(()));
        assert_eq!(judge("https://keys.example/", true), Ok(()));
        assert_eq!(judge("http://127.0.0.1:5556/keys", false), Err(Refused::PlainHttp("authorization_endpoint")));
        for keys in ["http://127.0.0.1/keys", "http://127.0.0.1:5557/keys", "http://localhost:5556/keys"] {
            assert_eq!(judge(keys, true), Err(Refused::PlainHttp("jwks_uri")), "{keys}");
        }
    }

    #[test]
    fn the_address_of_the_document_has_one_slash() {
        for issuer in ["https://id.example/a", "https://id.example/a/"] {
            assert_eq!(document_url(&issuer.into()), "https://id.example/a/.well-known/openid-configuration");
        }
    }
}
