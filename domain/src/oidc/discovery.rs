//! Judges the identity provider's discovery document against the issuer that the configuration names.
//!
//! OpenID Connect Discovery section 3 and 4.3, RFC 8414 section 2, RFC 9207 section 3. The document tells where the
//! provider's endpoints are; it never tells who the provider is. Which addresses may be dialled is judged where they are
//! dialled. A good [`Provider`] stays in force when a later document is refused: the caller keeps the last good one.

use crate::jose::{self, algorithm::Algorithm};
use crate::limits;
use crate::wire::json::{self, Json};
use crate::wire::uri::Uri;

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
    /// An endpoint is no absolute http or https URI without userinfo and fragment.
    BadEndpoint,
    /// An endpoint is http, and not on the issuer's own origin with plain http allowed there.
    PlainHttp,
    /// A member has the wrong type.
    BadMember,
    /// `response_types_supported` is there without `code`.
    NoCodeFlow,
    /// `code_challenge_methods_supported` is there without `S256`.
    NoS256,
    /// `token_endpoint_auth_methods_supported` is there without `client_secret_basic` and `client_secret_post`.
    NoClientAuthentication,
    /// `id_token_signing_alg_values_supported` is there without an algorithm that can be verified.
    NoAlgorithm,
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
    /// The configured issuer, which the document repeats byte for byte.
    pub issuer: String,
    /// Where the browser goes.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// Where the keys are.
    pub jwks_uri: String,
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
    /// The algorithms that its ID tokens may have: what it lists and what can be verified; never empty.
    pub algorithms: Vec<Algorithm>,
    /// `scopes_supported`, where it says.
    pub scopes: Option<Vec<String>>,
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
pub fn document_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

/// Judges a document that was fetched from [`document_url`].
///
/// `plain_http_allowed` is for an issuer whose configured URL is http, on loopback or where the operator said so; it
/// opens http for endpoints of the issuer's own origin. Endpoints of other origins are taken if they are https: large
/// providers spread theirs over several hosts.
///
/// # Errors
/// The first rule that the document breaks.
pub fn judge(document: &[u8], issuer: &str, plain_http_allowed: bool) -> Result<Provider, Refused> {
    let document = jose::object(document, limits::PROVIDER_ANSWER_MAX).map_err(|malformed| match malformed {
        json::Malformed::TooLong => Refused::TooLong,
        _ => Refused::NotJson,
    })?;
    match document.member("issuer") {
        Some(Json::Text(named)) if named == issuer => {}
        Some(Json::Text(_)) => return Err(Refused::OtherIssuer),
        _ => return Err(Refused::NoIssuer),
    }
    let home = Uri::parse(issuer).ok().and_then(|uri| uri.origin()).filter(|_| plain_http_allowed);
    let endpoint = |name: &str| match document.member(name) {
        None => Ok(None),
        Some(Json::Text(uri)) => judged_endpoint(uri, home.as_deref()).map(Some),
        Some(_) => Err(Refused::BadMember),
    };
    Ok(Provider {
        issuer: issuer.to_owned(),
        authorization_endpoint: endpoint("authorization_endpoint")?.ok_or(Refused::NoAuthorizationEndpoint)?,
        token_endpoint: endpoint("token_endpoint")?.ok_or(Refused::NoTokenEndpoint)?,
        jwks_uri: endpoint("jwks_uri")?.ok_or(Refused::NoKeysUri)?,
        userinfo_endpoint: endpoint("userinfo_endpoint")?,
        revocation_endpoint: endpoint("revocation_endpoint")?,
        end_session_endpoint: endpoint("end_session_endpoint")?,
        names_itself_at_callback: flag(&document, "authorization_response_iss_parameter_supported")?,
        client_authentication: client_authentication(&document)?,
        algorithms: algorithms(&document)?,
        scopes: words(&document, "scopes_supported")?,
    })
    .and_then(|provider| {
        demands(&document, "response_types_supported", "code", Refused::NoCodeFlow)?;
        demands(&document, "code_challenge_methods_supported", "S256", Refused::NoS256)?;
        Ok(provider)
    })
}

fn judged_endpoint(text: &str, home: Option<&str>) -> Result<String, Refused> {
    let uri = Uri::parse(text).map_err(|_| Refused::BadEndpoint)?;
    if !uri.is_web() || uri.userinfo().is_some() || uri.fragment().is_some() {
        return Err(Refused::BadEndpoint);
    }
    if uri.has_scheme("http") && (home.is_none() || uri.origin().as_deref() != home) {
        return Err(Refused::PlainHttp);
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

fn demands(document: &Json, name: &str, word: &str, refused: Refused) -> Result<(), Refused> {
    match words(document, name)? {
        Some(words) if !words.iter().any(|known| known == word) => Err(refused),
        _ => Ok(()),
    }
}

fn flag(document: &Json, name: &str) -> Result<bool, Refused> {
    document.optional_bool(name).map(Option::unwrap_or_default).map_err(|_| Refused::BadMember)
}

fn words(document: &Json, name: &str) -> Result<Option<Vec<String>>, Refused> {
    let words = document.optional_text_list(name).map_err(|_| Refused::BadMember)?;
    Ok(words.map(|words| words.into_iter().map(str::to_owned).collect()))
}
