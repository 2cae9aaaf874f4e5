//! What is said of a person to a client that asks with their access token: OpenID Connect Core section 5.3.

use crate::oauth::fault::Fault;
use crate::oauth::identity::Claims;
use crate::oauth::scope::Scopes;
use crate::wire::json::ObjectWriter;

/// The scope that opens the endpoint.
pub const OPENID: &str = "openid";

/// Which claims are told beside the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    profile: bool,
    email: bool,
    groups: bool,
}

impl Told {
    /// All of them.
    pub const ALL: Self = Self { profile: true, email: true, groups: true };

    /// Those that these scopes are for (OpenID Connect Core section 5.4).
    #[must_use]
    pub fn by(scopes: &Scopes) -> Self {
        let has = |scope| scopes.contains(scope);
        Self { profile: has("profile"), email: has("email"), groups: has("groups") }
    }
}

/// The answer for a token with these scopes.
///
/// # Errors
/// [`Fault::ScopeInsufficient`] without [`OPENID`].
pub fn answer(claims: &Claims, scopes: &Scopes) -> Result<String, Fault> {
    if !scopes.contains(OPENID) {
        return Err(Fault::ScopeInsufficient);
    }
    Ok(write(ObjectWriter::new().text("sub", &claims.subject), claims, Told::by(scopes)).finish())
}

/// These claims, behind what is written already.
pub(super) fn write(mut out: ObjectWriter, claims: &Claims, told: Told) -> ObjectWriter {
    if told.profile {
        out = out
            .optional_text("name", claims.name.as_deref())
            .optional_text("preferred_username", claims.preferred_username.as_deref());
    }
    if let (true, Some(email)) = (told.email, &claims.email) {
        out = out.text("email", email).boolean("email_verified", claims.email_verified);
    }
    if told.groups && !claims.groups.is_empty() {
        out = out.texts("groups", &claims.groups);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::identity::tests::claims;

    #[test]
    fn each_scope_opens_its_claims_and_without_openid_there_is_nothing() {
        let said = |scope: &str| answer(&claims(), &Scopes::parse(scope).unwrap());
        for scope in ["", "mcp", "profile email groups"] {
            assert_eq!(said(scope), Err(Fault::ScopeInsufficient), "{scope}");
        }
        assert_eq!(said("mcp openid").as_deref(), Ok(r#"{"sub":"alice"}"#));
        assert_eq!(said("openid profile").as_deref(), Ok(r#"{"sub":"alice","name":"Alice"}"#));
        let email = r#"{"sub":"alice","email":"alice@example.com","email_verified":true}"#;
        assert_eq!(said("openid email").as_deref(), Ok(email));
        assert_eq!(said("openid groups").as_deref(), Ok(r#"{"sub":"alice","groups":["staff","ops"]}"#));
    }
}
