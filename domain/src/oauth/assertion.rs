//! What the gateway says under its own signature to a protected server: who the person is, in a JWT (RFC 7519) that is made for this
//! server, short-lived, and no token of anybody.

use crate::limits::CREDENTIAL_MARGIN;
use crate::oauth::identity::Claims;
use crate::time::Timestamp;
use crate::wire::json::ObjectWriter;
use std::time::Duration;

/// The `typ` of an assertion: the one that every reader of JWTs takes. That it is nothing else is said by its audience.
pub const TYPE: &str = "JWT";

/// What is asserted.
#[derive(Clone, Copy)]
pub struct Assertion<'a> {
    /// The gateway: `iss`.
    pub issuer: &'a str,
    /// Whom it is for: `aud`.
    pub audience: &'a str,
    /// The person.
    pub claims: &'a Claims,
    /// The session's name for what stands behind: `sid`.
    pub session: &'a str,
    /// What the client may do.
    pub scope: &'a str,
}

impl Assertion<'_> {
    /// The claims of one that is made now and used for `life`, and when it is to be made anew. It ends a little later, and never after
    /// the session at `until`.
    #[must_use]
    pub fn write(&self, life: Duration, until: Timestamp, now: Timestamp) -> (ObjectWriter, Timestamp) {
        let Self { issuer, audience, claims, session, scope } = self;
        let renew = now.plus(life);
        let expires = renew.plus(CREDENTIAL_MARGIN).min(until);
        // As in the headers: an address that nobody has verified is nobody's.
        let email = claims.email.as_deref().filter(|_| claims.email_verified);
        let mut out = ObjectWriter::new()
            .text("iss", issuer)
            .text("sub", &claims.subject)
            .text("aud", audience)
            .number("iat", now.secs())
            .number("exp", expires.secs())
            .text("sid", session)
            .text("scope", scope)
            .optional_text("name", claims.name.as_deref())
            .optional_text("preferred_username", claims.preferred_username.as_deref())
            .optional_text("email", email);
        if email.is_some() {
            out = out.boolean("email_verified", true);
        }
        if !claims.groups.is_empty() {
            out = out.texts("groups", &claims.groups);
        }
        (out, renew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::identity::tests::claims;

    const NOW: Timestamp = Timestamp::from_secs(1_000);

    #[test]
    fn m20_an_assertion_says_who_for_whom_and_until_when() {
        let claims = claims();
        let assertion = Assertion {
            issuer: "https://gate.example",
            audience: "http://tools:3000/mcp",
            claims: &claims,
            session: "s",
            scope: "mcp",
        };
        let (said, renew) = assertion.write(Duration::from_secs(300), Timestamp::from_secs(9_000), NOW);
        assert_eq!(
            said.finish(),
            concat!(
                r#"{"iss":"https://gate.example","sub":"alice","aud":"http://tools:3000/mcp","iat":1000,"exp":1360,"#,
                r#""sid":"s","scope":"mcp","name":"Alice","email":"alice@example.com","email_verified":true,"#,
                r#""groups":["staff","ops"]}"#
            )
        );
        assert_eq!(renew, Timestamp::from_secs(1_300));
        let (short, _) = assertion.write(Duration::from_secs(300), Timestamp::from_secs(1_100), NOW);
        assert!(short.finish().contains(r#""exp":1100"#), "never beyond the session");
        let unverified = Claims { email_verified: false, ..claims.clone() };
        let (said, _) = Assertion { claims: &unverified, ..assertion }.write(Duration::ZERO, NOW, NOW);
        assert!(!said.finish().contains("email"));
    }
}
