//! Judges what the browser brings back from the identity provider to our callback.
//!
//! RFC 6749 sections 4.1.2 and 4.1.2.1, RFC 9207 section 2.4, OpenID Connect Core section 3.1.2.6. Whether this browser
//! began the login of that `state` is judged in the OAuth room, with the cookie. Of the provider's words nothing is kept
//! but one of our own names for it: `error_description` and `error_uri` are not even read.

use super::discovery::Provider;
use crate::limits;
use crate::secret::SecretText;
use crate::wire::form::Form;

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
#[derive(Clone, Debug)]
pub struct Answer {
    /// The `state` that it echoes.
    pub state: String,
    /// A code, or our word for its error.
    pub outcome: Result<SecretText, ProviderError>,
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
        Some(issuer) if issuer == provider.issuer => {}
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
