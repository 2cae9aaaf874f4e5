//! Judges what the browser brings back from the identity provider to our callback.
//!
//! RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207 section 2.4, OpenID Connect Core section 3.1.2.6. Whether this browser
//! began the login of that `state` is judged in the OAuth room, with the cookie. Of the provider's words nothing is kept
//! but one of our own names for it: `error_description` and `error_uri` are not even read.

use super::discovery::Provider;
use crate::limits;
use crate::secret::SecretText;
use crate::wire::form::Form;
use std::fmt;

/// Why a callback is not an answer to any login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `state` is missing or empty.
    NoState,
    /// A parameter that counts is there twice.
    Repeated,
    /// `state` is longer than [`limits::STATE_MAX`].
    StateTooLong,
    /// `iss` is missing, although the provider says that it sends it.
    NoIssuer,
    /// `iss` is another issuer: the answer of another provider was mixed in.
    OtherIssuer,
    /// Neither `code` nor `error`.
    NoCode,
    /// `code` is longer than [`limits::PROVIDER_CODE_MAX`].
    CodeTooLong,
}

/// What the provider answered, and to which login.
#[derive(Clone)]
pub struct Answer {
    /// The `state` that it echoes.
    pub state: String,
    /// A code, or our word for its error.
    pub outcome: Result<SecretText, ProviderError>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Answer({:?})", self.outcome)
    }
}

/// Our words for what the provider can answer instead of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderError {
    /// The person or the provider said no; also every error that nobody knows.
    AccessDenied,
    /// The provider needs the person, and was told not to ask.
    InteractionRequired,
    /// The provider is overloaded or down for a while.
    TemporarilyUnavailable,
    /// The provider failed.
    ServerError,
    /// The provider does not accept our request: our registration there or our configuration is wrong.
    Misconfigured,
}

/// Judges the callback's query.
///
/// An `error` wins over a `code` beside it. `iss` is judged on errors too (RFC 9207 section 2.4), and before the code
/// can be sent anywhere.
///
/// # Errors
/// The first rule that the callback breaks. None of them says which login it belongs to, so none may end one.
pub fn judge(query: &Form<'_>, provider: &Provider) -> Result<Answer, Refused> {
    let only = |name: &str| query.one(name).map_err(|_| Refused::Repeated);
    let state = only("state")?.filter(|state| !state.is_empty()).ok_or(Refused::NoState)?;
    if state.len() > limits::STATE_MAX {
        return Err(Refused::StateTooLong);
    }
    match only("iss")? {
        Some(issuer) if provider.issuer.includes(issuer) => {}
        Some(_) => return Err(Refused::OtherIssuer),
        None if provider.names_itself_at_callback => return Err(Refused::NoIssuer),
        None => {}
    }
    let (error, code) = (only("error")?, only("code")?);
    let outcome = match (error, code) {
        (Some(error), _) => Err(ProviderError::named(error)),
        (None, Some(code)) if code.len() > limits::PROVIDER_CODE_MAX => return Err(Refused::CodeTooLong),
        (None, Some(code)) if !code.is_empty() => Ok(SecretText::new(code.to_owned())),
        (None, _) => return Err(Refused::NoCode),
    };
    Ok(Answer { state: state.to_owned(), outcome })
}

impl ProviderError {
    fn named(error: &str) -> Self {
        match error {
            "interaction_required" | "login_required" | "account_selection_required" | "consent_required" => {
                Self::InteractionRequired
            }
            "temporarily_unavailable" => Self::TemporarilyUnavailable,
            "server_error" => Self::ServerError,
            "invalid_request" | "unauthorized_client" | "unsupported_response_type" | "invalid_scope" => {
                Self::Misconfigured
            }
            _ => Self::AccessDenied,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use crate::oidc::testing::provider;

    const ISS: &str = "iss=https%3A%2F%2Fid.example";

    fn judged(query: &str) -> Result<(String, Result<String, ProviderError>), Refused> {
        judged_by(query, &provider())
    }

    fn judged_by(query: &str, provider: &Provider) -> Result<(String, Result<String, ProviderError>), Refused> {
        let form = Form::parse(query).unwrap();
        judge(&form, provider).map(|answer| (answer.state, answer.outcome.map(|code| code.expose().to_owned())))
    }

    #[test]
    fn a_code_is_taken_with_its_state() {
        assert_eq!(judged(&format!("state=s&code=c&{ISS}&session_state=x")), Ok(("s".to_owned(), Ok("c".to_owned()))));
    }

    #[test]
    fn t186_r69_the_state_must_be_there_once() {
        let long = "s".repeat(limits::STATE_MAX + 1);
        for (query, refused) in [
            (format!("code=c&{ISS}"), Refused::NoState),
            (format!("state=&code=c&{ISS}"), Refused::NoState),
            (format!("state=s&state=s&code=c&{ISS}"), Refused::Repeated),
            (format!("state=s&state=&code=c&{ISS}"), Refused::Repeated),
            (format!("State=s&code=c&{ISS}"), Refused::NoState),
            (format!("state={long}&code=c&{ISS}"), Refused::StateTooLong),
        ] {
            assert_eq!(judged(&query), Err(refused), "{query}");
        }
    }

    #[test]
    fn t191_the_issuer_must_be_the_one_that_was_asked() {
        let mut silent = provider();
        silent.names_itself_at_callback = false;
        for outcome in ["code=c", "error=access_denied"] {
            let query = |iss: &str| format!("state=s&{outcome}{iss}");
            for (iss, refused) in [
                ("&iss=https%3A%2F%2Fevil.example", Refused::OtherIssuer),
                ("&iss=https%3A%2F%2Fid.example%2F", Refused::OtherIssuer),
                ("&iss=https%3A%2F%2Fid.example&iss=https%3A%2F%2Fid.example", Refused::Repeated),
            ] {
                assert_eq!(judged(&query(iss)), Err(refused), "{outcome} {iss}");
                assert_eq!(judged_by(&query(iss), &silent), Err(refused), "{outcome} {iss}");
            }
            for iss in ["", "&iss="] {
                assert_eq!(judged(&query(iss)), Err(Refused::NoIssuer), "{outcome}");
                assert!(judged_by(&query(iss), &silent).is_ok(), "{outcome}");
            }
            assert!(judged_by(&query(&format!("&{ISS}")), &silent).is_ok());
        }
    }

    #[test]
    fn t195_r03_an_error_wins_and_becomes_our_own_word() {
        for (error, word) in [
            ("access_denied", ProviderError::AccessDenied),
            ("login_required", ProviderError::InteractionRequired),
            ("interaction_required", ProviderError::InteractionRequired),
            ("temporarily_unavailable", ProviderError::TemporarilyUnavailable),
            ("server_error", ProviderError::ServerError),
            ("invalid_scope", ProviderError::Misconfigured),
            ("unauthorized_client", ProviderError::Misconfigured),
            ("ACCESS_DENIED", ProviderError::AccessDenied),
            ("%3Cscript%3Ealert(1)%3C%2Fscript%3E", ProviderError::AccessDenied),
        ] {
            for more in ["", "&code=c", "&error_description=%3Cscript%3E&error_uri=javascript%3Ax&error_hint=%3Cb%3E"] {
                let query = format!("state=s&error={error}{more}&{ISS}");
                assert_eq!(judged(&query), Ok(("s".to_owned(), Err(word))), "{query}");
            }
        }
        // The first error may hide a second one.
        assert_eq!(judged(&format!("state=s&error=server_error&error=access_denied&{ISS}")), Err(Refused::Repeated));
    }

    #[test]
    fn the_code_must_be_there_once_and_has_a_limit() {
        let code = |length: usize| format!("state=s&code={}&{ISS}", "c".repeat(length));
        assert!(judged(&code(limits::PROVIDER_CODE_MAX)).is_ok());
        for (query, refused) in [
            (code(limits::PROVIDER_CODE_MAX + 1), Refused::CodeTooLong),
            (code(0), Refused::NoCode),
            (format!("state=s&{ISS}"), Refused::NoCode),
            (format!("state=s&code=a&code=b&{ISS}"), Refused::Repeated),
        ] {
            assert_eq!(judged(&query), Err(refused));
        }
    }

    #[test]
    fn p11_an_answer_shows_neither_state_nor_code() {
        let query = format!("state=hush&code=hush&{ISS}");
        let answer = judge(&Form::parse(&query).unwrap(), &provider()).unwrap();
        assert!(!format!("{answer:?}").contains("hush"));
    }
}
