//! The members that clients describe themselves with, whether they register or publish a document (RFC 7591 section 2).

use crate::jose::jwk::KeySet;
use crate::limits::CLIENT_NAME_MAX;
use crate::oauth::client::AuthMethod;
use crate::oauth::client_keys::ClientKeys;
use crate::oauth::fault::Fault;
use crate::wire::json::{Json, WrongType};
use crate::wire::text;

pub(crate) const AUTHORIZATION_CODE: &str = "authorization_code";
pub(crate) const REFRESH_TOKEN: &str = "refresh_token";
pub(crate) const CODE: &str = "code";

/// `redirect_uris`, not judged yet: at least one.
pub(crate) fn redirect_uris(body: &Json) -> Result<Vec<&str>, Fault> {
    body.optional_text_list("redirect_uris")
        .map_err(|WrongType| Fault::RedirectUri("redirect_uris is not a list of strings"))?
        .filter(|list| !list.is_empty())
        .ok_or(Fault::RedirectUri("redirect_uris is missing or empty"))
}

/// `token_endpoint_auth_method`, as it is written.
pub(crate) fn auth_method(body: &Json) -> Result<Option<&str>, Fault> {
    optional_text(body, "token_endpoint_auth_method", "token_endpoint_auth_method is not a string")
}

/// Whether a client that does not say how it authenticates can sign, and names where its signatures are checked. It will, where that
/// is offered (OpenID Connect Relying Party Metadata Choices 1.0: `token_endpoint_auth_methods_supported`).
pub(crate) fn can_sign(body: &Json) -> bool {
    let named = body.optional_text_list("token_endpoint_auth_methods_supported").ok().flatten().unwrap_or_default();
    let has_keys = ["jwks", "jwks_uri"].iter().any(|name| body.member(name).is_some());
    has_keys && named.contains(&AuthMethod::PrivateKeyJwt.name())
}

/// Left out, it means both that are offered: a client that never heard of refresh tokens ignores one. Others that a client
/// lists in case they are offered are left out of the answer.
pub(crate) fn refreshes(body: &Json) -> Result<bool, Fault> {
    let Some(listed) = optional_texts(body, "grant_types", "grant_types is not a list of strings")? else {
        return Ok(true);
    };
    if !listed.contains(&AUTHORIZATION_CODE) {
        return Err(Fault::ClientMetadata("grant_types lacks authorization_code"));
    }
    Ok(listed.contains(&REFRESH_TOKEN))
}

pub(crate) fn check_response_types(body: &Json) -> Result<(), Fault> {
    match optional_texts(body, "response_types", "response_types is not a list of strings")?.as_deref() {
        None | Some([CODE]) => Ok(()),
        Some(_) => Err(Fault::ClientMetadata("response_types is something else than code")),
    }
}

/// A name to be shown: one line without tricks, cut where it is too long.
pub(crate) fn name(body: &Json) -> Result<Option<String>, Fault> {
    let given = optional_text(body, "client_name", "client_name is not a string")?.unwrap_or_default();
    let name = text::displayable(given, CLIENT_NAME_MAX);
    let cut = name.get(..name.floor_char_boundary(CLIENT_NAME_MAX)).unwrap_or_default().trim_end();
    Ok(Some(cut.to_owned()).filter(|name| !name.is_empty()))
}

/// The keys that belong to a method. Those beside another one are of no use, but whoever sends a private one should hear of it
/// (RFC 7591 section 2).
pub(crate) fn keys(body: &Json, method: AuthMethod) -> Result<Option<ClientKeys>, Fault> {
    if method == AuthMethod::PrivateKeyJwt {
        return ClientKeys::read(body)?
            .map(Some)
            .ok_or(Fault::ClientMetadata("private_key_jwt needs jwks or jwks_uri"));
    }
    let Some(jwks) = body.member("jwks") else { return Ok(None) };
    if body.member("jwks_uri").is_some() {
        return Err(Fault::ClientMetadata("it has both jwks and jwks_uri"));
    }
    let set = KeySet::of_json(jwks).map_err(|_| Fault::ClientMetadata("jwks is not a key set"))?;
    let secret = set.passed_over().iter().any(|unfit| unfit.is_secret());
    if secret { Err(Fault::ClientMetadata("jwks holds a private or symmetric key")) } else { Ok(None) }
}

fn optional_text<'a>(body: &'a Json, name: &str, rule: &'static str) -> Result<Option<&'a str>, Fault> {
    body.optional_text(name).map_err(|WrongType| Fault::ClientMetadata(rule))
}

fn optional_texts<'a>(body: &'a Json, name: &str, rule: &'static str) -> Result<Option<Vec<&'a str>>, Fault> {
    body.optional_text_list(name).map_err(|WrongType| Fault::ClientMetadata(rule))
}
