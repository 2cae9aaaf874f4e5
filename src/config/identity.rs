//! In which form a resource's server is told who the person is.

use super::complaint::wrong;
use super::keys::{keys, objects};
use super::place::Place;
use super::values::{CaFile, ClientId, ScopeName, texts, unless};
use super::words::words;
use super::{IssuerUrl, ResourceDraft};
use portcullis_domain::limits::{self, AUDIENCE_MAX};
use portcullis_domain::secret::SecretText;
use serde_json::json;
use std::time::Duration;

words! {
    /// The form.
    pub enum IdentityForm {
        /// By headers.
        Headers = "headers",
        /// By the subject alone.
        SubjectOnly = "subjectOnly",
        /// By headers and an assertion as bearer.
        Assertion = "assertion",
        /// By headers and an exchanged token as bearer.
        Exchange = "exchange",
        /// By headers and the person's ID token as bearer.
        IdToken = "idToken",
    } else wrong(
        "is not a form in which the server is told who the person is",
        r#"write "headers", "subjectOnly", "assertion", "exchange" or "idToken""#,
    )
}

words! {
    /// What is exchanged.
    pub enum SubjectToken {
        /// An assertion.
        Assertion = "assertion",
        /// The person's ID token.
        IdToken = "idToken",
    } else wrong("is nothing that is exchanged", r#"write "assertion" or "idToken""#)
}

words! {
    /// What signs an assertion.
    pub enum AssertionAlgorithm {
        /// Ed25519, by a key that is derived from the master key.
        EdDsa = "EdDSA",
        /// P-256, by a key of `assertionKeyFiles`.
        Es256 = "ES256",
        /// RSA, by a key of `assertionKeyFiles`.
        Rs256 = "RS256",
    } else wrong("is not an algorithm that assertions are signed by", r#"write "EdDSA", "ES256" or "RS256""#)
}

words! {
    /// What kind of token something is (RFC 8693 section 3).
    pub enum TokenKind {
        /// An access token.
        AccessToken = "accessToken",
        /// An ID token.
        IdToken = "idToken",
        /// A JWT.
        Jwt = "jwt",
    } else wrong("is not a kind of token", r#"write "idToken", "accessToken" or "jwt""#)
}

texts! {
    /// Whom a token is for.
    pub struct Audience: json!({ "minLength": 1, "maxLength": AUDIENCE_MAX }), |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        unless(text.is_empty() || text.len() > AUDIENCE_MAX || !plain, "is not an audience", "write plain ASCII without spaces")
    };

    /// The identifier of a connector of a Dex.
    pub struct ConnectorId: json!({ "pattern": "^[A-Za-z0-9_-]{1,64}$" }), |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        let instead = "write at most 64 letters, digits, - and _";
        unless(text.is_empty() || text.len() > 64 || !plain, "is not the identifier of a connector", instead)
    };
}

keys! {
    /// Assertions under the gate's own signature.
    pub struct Assertion {
        audience: Option<Audience> = optional("audience") "Their `aud`. Left out: the upstream as it is written, or the client identifier of `exchange`.",
        algorithm: AssertionAlgorithm = or("algorithm", "EdDSA") "EdDSA by a key derived from the master key; ES256 or RS256 by the first such key of `assertionKeyFiles`.",
        duration: Duration = duration("duration", limits::ASSERTION_LIFE, limits::ASSERTION_LIFE_MIN..=limits::ASSERTION_LIFE_MAX) "How long one is used; it ends a minute later.",
    }
}

keys! {
    /// A token exchange (RFC 8693) at a server that the upstream trusts.
    pub struct Exchange {
        token_endpoint: IssuerUrl = required("tokenEndpoint") "The token endpoint of that server: https, or http on loopback.",
        client_id: ClientId = required("clientId") "The gate's own client identifier there.",
        client_secret: SecretText = secret(&["clientSecret", "clientSecretFile"], 1) "The gate's own client secret there.",
        expected_issuer: Option<IssuerUrl> = optional("expectedIssuer") "The `iss` that its tokens must name. Left out: the token endpoint without `/token` behind, if it has that.",
        connector_id: Option<ConnectorId> = optional("connectorId") "The connector of a Dex that judges the assertion.",
        audience: Option<Audience> = optional("audience") "The `audience` that is asked for.",
        scopes: Vec<ScopeName> = or("scopes", json!(["openid", "profile", "email", "groups"])) "The scopes that are asked for.",
        subject_token: SubjectToken = or("subjectToken", "assertion") "What is exchanged: an assertion, or the person's idToken of the identity provider.",
        subject_token_type: Option<TokenKind> = optional("subjectTokenType") "What it is said to be: jwt, idToken or accessToken. Left out: jwt of an assertion, idToken of an ID token.",
        requested_token_type: TokenKind = or("requestedTokenType", "idToken") "What is asked for: idToken, accessToken or jwt.",
        ca_file: Option<CaFile> = optional("caFile") "A file of PEM certificates that are trusted for this server beside `caFiles`.",
    }
}

objects!(Assertion, Exchange);

/// The keys of one form go with that form.
pub(super) fn form(draft: &ResourceDraft, at: &Place<'_>) {
    let (Some(form), Some(assertion), Some(exchange)) = (draft.identity, &draft.assertion, &draft.exchange) else {
        return;
    };
    let shows_id_token =
        exchange.as_ref().is_some_and(|exchange| matches!(exchange.subject_token, SubjectToken::IdToken));
    match (form, assertion.is_some(), exchange.is_some()) {
        (IdentityForm::Exchange, _, false) => {
            at.key("exchange").complain("is missing", "add it, with tokenEndpoint, clientId and clientSecret");
        }
        (IdentityForm::Exchange, true, true) if shows_id_token => {
            let instead = r#"set exchange.subjectToken to "assertion", or remove it"#;
            at.key("assertion").complain("is of no use where the ID token is exchanged", instead);
        }
        (IdentityForm::Headers | IdentityForm::SubjectOnly | IdentityForm::IdToken, true, _) => {
            at.key("assertion").complain("is of no use in this form", r#"set identity to "assertion", or remove it"#);
        }
        (
            IdentityForm::Headers | IdentityForm::SubjectOnly | IdentityForm::Assertion | IdentityForm::IdToken,
            _,
            true,
        ) => {
            at.key("exchange").complain("is of no use in this form", r#"set identity to "exchange", or remove it"#);
        }
        _ => {}
    }
}
