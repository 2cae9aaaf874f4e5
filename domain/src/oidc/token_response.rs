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
    /// `invalid_request`: our request is no good; from some providers ([`Profile`](super::profile::Profile)) also a refresh
    /// token that they do not know.
    InvalidRequest,
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
    let answer = success(status, content_type, body)?;
    bearer(&answer)?;
    let needed = |name, max, failure| token(&answer, name, max, failure)?.ok_or(failure);
    Ok(Tokens {
        access_token: needed("access_token", limits::UPSTREAM_TOKEN_MAX, Failure::BadAccessToken)?,
        expires_in: expiry(&answer)?,
        refresh_token: token(&answer, "refresh_token", limits::UPSTREAM_TOKEN_MAX, Failure::BadRefreshToken)?,
        id_token: needed("id_token", limits::JWT_MAX, Failure::BadIdToken)?,
    })
}

/// What the answer to a refresh token holds. An ID token may be left out of it (OpenID Connect Core section 12.2).
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// `access_token`.
    pub access_token: SecretText,
    /// `expires_in`, where the provider says.
    pub expires_in: Option<Duration>,
    /// `refresh_token`: if it is missing, the one that was sent stays good (RFC 6749 section 6).
    pub refresh_token: Option<SecretText>,
    /// `id_token`, not yet judged.
    pub id_token: Option<SecretText>,
}

/// Judges the answer to a refresh token.
///
/// # Errors
/// [`Failure`], one variant per rule.
pub fn judge_refreshed(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Refreshed, Failure> {
    let answer = success(status, content_type, body)?;
    bearer(&answer)?;
    let failure = Failure::BadAccessToken;
    Ok(Refreshed {
        access_token: token(&answer, "access_token", limits::UPSTREAM_TOKEN_MAX, failure)?.ok_or(failure)?,
        expires_in: expiry(&answer)?,
        refresh_token: token(&answer, "refresh_token", limits::UPSTREAM_TOKEN_MAX, Failure::BadRefreshToken)?,
        id_token: token(&answer, "id_token", limits::JWT_MAX, Failure::BadIdToken)?,
    })
}

/// The next refresh token in an answer to a refresh that is otherwise no good: the one that was sent is spent all the same.
#[must_use]
pub fn successor(status: u16, content_type: Option<&str>, body: &[u8]) -> Option<SecretText> {
    let answer = success(status, content_type, body).ok()?;
    token(&answer, "refresh_token", limits::UPSTREAM_TOKEN_MAX, Failure::BadRefreshToken).ok().flatten()
}

/// Judges the answer to a token exchange, whose token stands in `access_token` whatever its kind is (RFC 8693 section 2.2.1): the
/// token, and how long it lives where the server says.
///
/// # Errors
/// [`Failure`], one variant per rule.
pub fn exchanged(
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<(SecretText, Option<Duration>), Failure> {
    let answer = success(status, content_type, body)?;
    let failure = Failure::BadAccessToken;
    let token = token(&answer, "access_token", limits::UPSTREAM_TOKEN_MAX, failure)?.ok_or(failure)?;
    Ok((token, expiry(&answer)?))
}

fn bearer(answer: &Json) -> Result<(), Failure> {
    match answer.member("token_type") {
        Some(Json::Text(word)) if word.eq_ignore_ascii_case("Bearer") => Ok(()),
        _ => Err(Failure::OtherTokenType),
    }
}

/// The JSON object of an answer that is not a failure.
fn success(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Json, Failure> {
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
    if answer.member("error").is_some() { Err(Failure::ErrorInSuccess) } else { Ok(answer) }
}

/// A 400 or 401 counts as a refusal only if it is one in form: a proxy in between may answer with the same status.
fn refusal(content_type: Option<&str>, body: &[u8]) -> Failure {
    let answer = if is_json(content_type) { jose::object(body, limits::PROVIDER_ANSWER_MAX).ok() } else { None };
    match answer.as_ref().and_then(|answer| answer.member("error")) {
        Some(Json::Text(word)) => match word.as_str() {
            "invalid_grant" => Failure::InvalidGrant,
            "invalid_client" => Failure::InvalidClient,
            "invalid_request" => Failure::InvalidRequest,
            "unauthorized_client" | "unsupported_grant_type" | "invalid_scope" => Failure::Misconfigured,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;

    const JSON: Option<&str> = Some("application/json");
    const GOOD: &str = r#"{"access_token":"a","token_type":"bEaReR","expires_in":300,"refresh_token":"r","id_token":"i","scope":"openid"}"#;

    fn changed(from: &str, to: &str) -> String {
        let body = GOOD.replacen(from, to, 1);
        assert_ne!(body, GOOD, "{from} is not in the body");
        body
    }

    #[test]
    fn a_good_answer_is_read() {
        for content_type in ["application/json", "Application/JSON;charset=UTF-8", "application/json; charset=utf-8"] {
            let tokens = judge(200, Some(content_type), GOOD.as_bytes()).unwrap();
            assert_eq!((tokens.access_token.expose(), tokens.id_token.expose()), ("a", "i"));
            assert_eq!(tokens.refresh_token.unwrap().expose(), "r");
            assert_eq!(tokens.expires_in, Some(Duration::from_secs(300)));
        }
        let least = judge(200, JSON, br#"{"access_token":"a","token_type":"Bearer","id_token":"i"}"#).unwrap();
        assert!(least.refresh_token.is_none() && least.expires_in.is_none());
    }

    #[test]
    fn t194_the_answer_to_a_refresh_may_leave_out_what_has_not_changed() {
        let all = judge_refreshed(200, JSON, GOOD.as_bytes()).unwrap();
        assert!(all.refresh_token.unwrap().same("r") && all.id_token.unwrap().same("i"));
        let least = judge_refreshed(200, JSON, br#"{"access_token":"a","token_type":"Bearer"}"#).unwrap();
        assert!(least.refresh_token.is_none() && least.id_token.is_none() && least.expires_in.is_none());
        for (from, to, failure) in [
            ("access_token", "x", Failure::BadAccessToken),
            ("\"r\"", "null", Failure::BadRefreshToken),
            ("\"i\"", "7", Failure::BadIdToken),
            ("bEaReR", "DPoP", Failure::OtherTokenType),
        ] {
            assert_eq!(judge_refreshed(200, JSON, changed(from, to).as_bytes()).unwrap_err(), failure);
        }
        let refused = judge_refreshed(400, JSON, br#"{"error":"invalid_grant"}"#).unwrap_err();
        assert!(refused.is_definitive());
    }

    #[test]
    fn seed_bug_30_t194_the_successor_of_a_spent_token_is_found_in_an_answer_that_is_no_good() {
        for (from, to) in [
            ("access_token", "x"),
            ("\"i\"", "7"),
            ("bEaReR", "DPoP"),
            ("300", "\"300\""),
            (r#""token_type":"bEaReR","#, ""),
        ] {
            let body = changed(from, to);
            assert!(judge_refreshed(200, JSON, body.as_bytes()).is_err(), "{body}");
            assert!(successor(200, JSON, body.as_bytes()).is_some_and(|token| token.same("r")), "{body}");
        }
        let long = changed("\"r\"", &format!("\"{}\"", "r".repeat(limits::UPSTREAM_TOKEN_MAX + 1)));
        let refusal = r#"{"error":"invalid_grant","refresh_token":"r"}"#;
        for (status, content_type, body) in [
            (500, JSON, GOOD),
            (400, JSON, GOOD),
            (200, Some("text/html"), GOOD),
            (200, JSON, refusal),
            (200, JSON, long.as_str()),
            (200, JSON, "{}"),
            (200, JSON, r#"{"refresh_token":"r","#),
        ] {
            assert!(successor(status, content_type, body.as_bytes()).is_none(), "{status} {body}");
        }
    }

    #[test]
    fn t194_only_a_refusal_in_the_words_of_the_rfc_is_one() {
        let error = |word: &str| format!(r#"{{"error":"{word}","error_description":"<script>"}}"#);
        for (status, word, failure) in [
            (400, "invalid_grant", Failure::InvalidGrant),
            (401, "invalid_grant", Failure::InvalidGrant),
            (400, "invalid_client", Failure::InvalidClient),
            (401, "invalid_client", Failure::InvalidClient),
            (400, "invalid_request", Failure::InvalidRequest),
            (400, "invalid_scope", Failure::Misconfigured),
            (400, "unauthorized_client", Failure::Misconfigured),
            (400, "invalid_grant ", Failure::OtherStatus),
            (400, "slow_down", Failure::OtherStatus),
            (403, "invalid_grant", Failure::OtherStatus),
            (500, "invalid_grant", Failure::Unavailable),
            (503, "invalid_grant", Failure::Unavailable),
            (429, "invalid_grant", Failure::Unavailable),
            (200, "invalid_grant", Failure::ErrorInSuccess),
        ] {
            let judged = judge(status, JSON, error(word).as_bytes()).unwrap_err();
            assert_eq!(judged, failure, "{status} {word}");
            assert_eq!(judged.is_definitive(), failure == Failure::InvalidGrant);
        }
        for (content_type, body) in [
            (None, error("invalid_grant")),
            (Some("text/html"), error("invalid_grant")),
            (JSON, String::new()),
            (JSON, "<html>Bad Request".to_owned()),
            (JSON, r#"{"error":["invalid_grant"]}"#.to_owned()),
            (JSON, r#"{"error":"x","error":"invalid_grant"}"#.to_owned()),
            (JSON, r#"{"Error":"invalid_grant"}"#.to_owned()),
        ] {
            assert_eq!(judge(400, content_type, body.as_bytes()).unwrap_err(), Failure::OtherStatus, "{body}");
        }
    }

    #[test]
    fn t194_answers_that_are_none_are_trouble_at_the_provider() {
        for (status, content_type, body, failure) in [
            (302, JSON, GOOD.to_owned(), Failure::OtherStatus),
            (201, JSON, GOOD.to_owned(), Failure::OtherStatus),
            (404, JSON, GOOD.to_owned(), Failure::OtherStatus),
            (200, None, GOOD.to_owned(), Failure::NotJsonType),
            (200, Some("text/html"), GOOD.to_owned(), Failure::NotJsonType),
            (200, Some("application/jsonp"), GOOD.to_owned(), Failure::NotJsonType),
            (200, JSON, String::new(), Failure::NotJson),
            (200, JSON, "<html>".to_owned(), Failure::NotJson),
            (200, JSON, GOOD[..GOOD.len() - 1].to_owned(), Failure::NotJson),
            (200, JSON, changed("{", r#"{"id_token":"x","#), Failure::NotJson),
            (200, JSON, format!("{GOOD}{}", " ".repeat(limits::PROVIDER_ANSWER_MAX)), Failure::TooLong),
            (200, JSON, changed("{", r#"{"error":null,"#), Failure::ErrorInSuccess),
            (200, JSON, changed("bEaReR", "DPoP"), Failure::OtherTokenType),
            (200, JSON, changed("\"bEaReR\"", "null"), Failure::OtherTokenType),
            (200, JSON, changed("token_type", "x"), Failure::OtherTokenType),
            (200, JSON, changed("access_token", "x"), Failure::BadAccessToken),
            (200, JSON, changed("\"a\"", "\"\""), Failure::BadAccessToken),
            (200, JSON, changed("\"a\"", "1"), Failure::BadAccessToken),
            (
                200,
                JSON,
                changed("\"a\"", &format!("\"{}\"", "a".repeat(limits::UPSTREAM_TOKEN_MAX + 1))),
                Failure::BadAccessToken,
            ),
            (200, JSON, changed("id_token", "x"), Failure::BadIdToken),
            (200, JSON, changed("\"i\"", "null"), Failure::BadIdToken),
            (200, JSON, changed("\"i\"", &format!("\"{}\"", "i".repeat(limits::JWT_MAX + 1))), Failure::BadIdToken),
            (200, JSON, changed("\"r\"", "null"), Failure::BadRefreshToken),
            (200, JSON, changed("\"r\"", "\"\""), Failure::BadRefreshToken),
            (200, JSON, changed("300", "\"300\""), Failure::BadExpiry),
            (200, JSON, changed("300", "-1"), Failure::BadExpiry),
            (200, JSON, changed("300", "null"), Failure::BadExpiry),
        ] {
            let judged = judge(status, content_type, body.as_bytes()).unwrap_err();
            assert_eq!(judged, failure, "{status} {content_type:?} {}", &body[..body.len().min(200)]);
            assert!(!judged.is_definitive());
        }
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(judge(status, None, b"").unwrap_err(), Failure::Unavailable, "{status}");
        }
    }
}
