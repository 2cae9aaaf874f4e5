//! Judges what the identity provider's token endpoint answers.
//!
//! RFC 6749 sections 5.1 and 5.2, OpenID Connect Core section 3.1.3.3. Only an answer that says so in the words of
//! RFC 6749 is a refusal; everything else that is not a good answer is trouble at the provider, and nobody's session may
//! end for it. Nothing of the provider's text is kept.

use crate::jose;
use crate::limits;
use crate::secret::SecretText;
use crate::wire::header;
use crate::wire::json::Json;
use std::time::Duration;

/// What a good answer holds.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// `access_token`.
    pub access_token: SecretText,
    /// `expires_in`, where the provider says.
    pub expires_in: Option<Duration>,
    /// `refresh_token`, if there is one.
    pub refresh_token: Option<SecretText>,
    /// `id_token`, not yet judged.
    pub id_token: SecretText,
}

/// Why there are no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// `invalid_grant`: the code or the refresh token is no good and will not become good.
    InvalidGrant,
    /// `invalid_client`: our credentials are no good.
    InvalidClient,
    /// Another word of RFC 6749 section 5.2: our registration or our configuration is no good.
    Misconfigured,
    /// 408, 425, 429, or any 5xx: later it may work.
    Unavailable,
    /// Another status: a redirect, or an error without a word of RFC 6749.
    OtherStatus,
    /// Longer than [`limits::PROVIDER_ANSWER_MAX`].
    TooLong,
    /// The content type is not JSON.
    NotJsonType,
    /// Not one JSON object, or one with a repeated member.
    NotJson,
    /// Status 200 with an `error` inside.
    ErrorInSuccess,
    /// `token_type` is missing or is not `Bearer`.
    OtherTokenType,
    /// `access_token` is missing, empty, no text, or longer than [`limits::UPSTREAM_TOKEN_MAX`].
    BadAccessToken,
    /// `id_token` is missing, empty or no text, or longer than [`limits::JWT_MAX`].
    BadIdToken,
    /// `refresh_token` is there and is empty, no text, or longer than [`limits::UPSTREAM_TOKEN_MAX`].
    BadRefreshToken,
    /// `expires_in` is there and is no number of seconds.
    BadExpiry,
}

impl Failure {
    /// Whether the provider has refused what was presented, for good. Everything else may be tried again, or is not about
    /// the person at all.
    #[must_use]
    pub const fn is_definitive(self) -> bool {
        matches!(self, Self::InvalidGrant)
    }
}

/// Judges the answer to a code or a refresh token.
///
/// # Errors
/// [`Failure`], one variant per rule.
pub fn judge(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Tokens, Failure> {
    if matches!(status, 408 | 425 | 429 | 500..=599) {
        return Err(Failure::Unavailable);
    }
    if body.len() > limits::PROVIDER_ANSWER_MAX {
        return Err(Failure::TooLong);
    }
    if matches!(status, 400 | 401) {
        return Err(refusal(content_type, body));
    }
    if status != 200 {
        return Err(Failure::OtherStatus);
    }
    if !is_json(content_type) {
        return Err(Failure::NotJsonType);
    }
    let answer = jose::object(body, limits::PROVIDER_ANSWER_MAX).map_err(|_| Failure::NotJson)?;
    if answer.member("error").is_some() {
        return Err(Failure::ErrorInSuccess);
    }
    match answer.member("token_type") {
        Some(Json::Text(word)) if word.eq_ignore_ascii_case("Bearer") => {}
        _ => return Err(Failure::OtherTokenType),
    }
    let needed = |name, max, failure| token(&answer, name, max, failure)?.ok_or(failure);
    Ok(Tokens {
        access_token: needed("access_token", limits::UPSTREAM_TOKEN_MAX, Failure::BadAccessToken)?,
        expires_in: expiry(&answer)?,
        refresh_token: token(&answer, "refresh_token", limits::UPSTREAM_TOKEN_MAX, Failure::BadRefreshToken)?,
        id_token: needed("id_token", limits::JWT_MAX, Failure::BadIdToken)?,
    })
}

/// A 400 or 401 counts as a refusal only if it is one in form: a proxy in between may answer with the same status.
fn refusal(content_type: Option<&str>, body: &[u8]) -> Failure {
    let answer = if is_json(content_type) { jose::object(body, limits::PROVIDER_ANSWER_MAX).ok() } else { None };
    match answer.as_ref().and_then(|answer| answer.member("error")) {
        Some(Json::Text(word)) => match word.as_str() {
            "invalid_grant" => Failure::InvalidGrant,
            "invalid_client" => Failure::InvalidClient,
            "invalid_request" | "unauthorized_client" | "unsupported_grant_type" | "invalid_scope" => {
                Failure::Misconfigured
            }
            _ => Failure::OtherStatus,
        },
        _ => Failure::OtherStatus,
    }
}

fn is_json(content_type: Option<&str>) -> bool {
    content_type.is_some_and(header::is_json)
}

fn token(answer: &Json, name: &str, max: usize, failure: Failure) -> Result<Option<SecretText>, Failure> {
    match answer.member(name) {
        None => Ok(None),
        Some(Json::Text(token)) if (1..=max).contains(&token.len()) => Ok(Some(SecretText::new(token.clone()))),
        Some(_) => Err(failure),
    }
}

fn expiry(answer: &Json) -> Result<Option<Duration>, Failure> {
    let seconds = answer.optional_seconds("expires_in").map_err(|_| Failure::BadExpiry)?;
    Ok(seconds.map(Duration::from_secs))
}
