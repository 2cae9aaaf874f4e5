//! A token for what stands behind, exchanged at a server that it trusts: RFC 8693, as Dex and other OpenID providers answer it.

use crate::jose::jws::Unverified;
use crate::limits::{CREDENTIAL_MARGIN, EXCHANGED_LIFE_MAX, EXCHANGED_LIFE_UNSAID};
use crate::oidc::request::{BackChannel, Credentials, post_with_basic};
use crate::oidc::token_response::{self, Failure};
use crate::secret::SecretText;
use crate::time::Timestamp;

/// The grant type of a token exchange (RFC 8693 section 2.1).
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What kind of token something is (RFC 8693 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An OAuth 2.0 access token.
    Access,
    /// An ID token.
    Id,
    /// A JWT.
    Jwt,
}

impl TokenType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Access, Self::Id, Self::Jwt];

    /// Its identifier.
    #[must_use]
    pub const fn urn(self) -> &'static str {
        match self {
            Self::Access => "urn:ietf:params:oauth:token-type:access_token",
            Self::Id => "urn:ietf:params:oauth:token-type:id_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }

    /// The one with this identifier.
    #[must_use]
    pub fn named(urn: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.urn() == urn)
    }
}

/// The server, and what it is asked for. Everything is the operator's.
#[derive(Clone, Debug)]
pub struct Downstream {
    /// Where it is asked.
    pub token_endpoint: String,
    /// Who the gateway is there.
    pub credentials: Credentials,
    /// The issuer that a token of it must name, if that is known.
    pub expected_issuer: Option<String>,
    /// The connector of a Dex that judges the subject token.
    pub connector_id: Option<String>,
    /// `audience`.
    pub audience: Option<String>,
    /// `scope`.
    pub scope: String,
    /// What kind of token the subject token is said to be.
    pub subject: TokenType,
    /// What kind of token is asked for. The access tokens of a Dex say nothing to anybody else, its ID tokens do.
    pub requested: TokenType,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// The answer is none that can be used.
    Answer(Failure),
    /// The token is another issuer's, or no JWT although an issuer is expected.
    OtherIssuer,
    /// The token has ended already.
    Expired,
}

impl NoToken {
    /// Whether it may be another answer later.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Answer(Failure::Unavailable))
    }
}

/// A token, and until when it is used.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The token.
    pub token: SecretText,
    /// From here on another one is asked for.
    pub renew: Timestamp,
    /// From here on it is worth nothing.
    pub ends: Timestamp,
}

impl Downstream {
    /// The request for a token for the person of this subject token.
    #[must_use]
    pub fn request(&self, subject: &SecretText) -> BackChannel {
        let mut parameters = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", subject.expose()),
            ("subject_token_type", self.subject.urn()),
            ("requested_token_type", self.requested.urn()),
        ];
        let given = [("connector_id", &self.connector_id), ("audience", &self.audience)];
        parameters.extend(given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        if !self.scope.is_empty() {
            parameters.push(("scope", &self.scope));
        }
        post_with_basic(&self.token_endpoint, &self.credentials, &parameters)
    }

    /// Judges the answer. What it says of the token's end and what the token itself says both bind; where neither says anything it is
    /// used for a minute, never for ever.
    ///
    /// # Errors
    /// [`NoToken`].
    pub fn judge(
        &self,
        status: u16,
        content_type: Option<&str>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Exchanged, NoToken> {
        let (token, lives) = token_response::exchanged(status, content_type, body).map_err(NoToken::Answer)?;
        let claimed = Unverified::parse(token.expose()).ok().and_then(|token| token.claimed());
        let issuer = claimed.as_ref().and_then(|claimed| claimed.issuer.as_deref());
        if self.expected_issuer.is_some() && issuer != self.expected_issuer.as_deref() {
            return Err(NoToken::OtherIssuer);
        }
        let ends = [lives.map(|lives| now.plus(lives)), claimed.and_then(|claimed| claimed.expires)];
        let end = ends.into_iter().flatten().min();
        if end.is_some_and(|end| end <= now) {
            return Err(NoToken::Expired);
        }
        let ends = end.unwrap_or_else(|| now.plus(EXCHANGED_LIFE_UNSAID));
        let renew = match end {
            // A token that lives for less than twice the margin is used for half of its life.
            Some(end) => end.minus(CREDENTIAL_MARGIN).max(now.plus(end.since(now).checked_div(2).unwrap_or_default())),
            None => ends,
        };
        Ok(Exchanged { token, renew: renew.min(now.plus(EXCHANGED_LIFE_MAX)), ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::text::base64url;

    const NOW: Timestamp = Timestamp::from_secs(1_000);
    const JSON: Option<&str> = Some("application/json");

    fn dex() -> Downstream {
        Downstream {
            token_endpoint: "https://dex.example/token".into(),
            credentials: Credentials {
                client_id: "gate + co".into(),
                client_secret: SecretText::new("a+b c:d".into()),
            },
            expected_issuer: Some("https://dex.example".into()),
            connector_id: Some("upstream".into()),
            audience: None,
            scope: "openid groups".into(),
            subject: TokenType::Id,
            requested: TokenType::Id,
        }
    }

    fn jwt(claims: &str) -> String {
        format!("{}.{}.c2ln", base64url(br#"{"alg":"RS256"}"#), base64url(claims.as_bytes()))
    }

    fn judged(downstream: &Downstream, token: &str, rest: &str) -> Result<u64, NoToken> {
        let body = format!(r#"{{"access_token":"{token}","token_type":"N_A"{rest}}}"#);
        downstream.judge(200, JSON, body.as_bytes(), NOW).map(|exchanged| exchanged.renew.secs())
    }

    #[test]
    fn seed_bug_33_an_id_token_is_asked_for_with_what_dex_needs() {
        let request = dex().request(&SecretText::new("e.y.J".into()));
        assert_eq!(
            request.body.expose(),
            concat!(
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=e.y.J",
                "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token",
                "&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token",
                "&connector_id=upstream&scope=openid%20groups"
            )
        );
    }

    #[test]
    fn seed_bug_32_seed_bug_52_the_gateway_s_own_credentials_are_sent_form_encoded() {
        use base64::Engine as _;
        let request = dex().request(&SecretText::new("x".into()));
        let authorization = request.authorization.unwrap();
        let coded = authorization.expose().strip_prefix("Basic ").unwrap();
        let pair = base64::prelude::BASE64_STANDARD.decode(coded).unwrap();
        assert_eq!(String::from_utf8(pair).unwrap(), "gate%20%2B%20co:a%2Bb%20c%3Ad");
    }

    #[test]
    fn seed_bug_40_a_token_without_an_end_is_not_used_for_ever() {
        let dex = dex();
        let with = |claims: &str| jwt(&format!(r#"{{"iss":"https://dex.example"{claims}}}"#));
        assert_eq!(judged(&dex, &with(""), ""), Ok(1_060));
        assert_eq!(judged(&dex, &with(""), r#","expires_in":600"#), Ok(1_540));
        assert_eq!(judged(&dex, &with(r#","exp":1300"#), r#","expires_in":600"#), Ok(1_240), "the sooner one");
        assert_eq!(judged(&dex, &with(r#","exp":1020"#), ""), Ok(1_010), "half of a short life");
        assert_eq!(judged(&dex, &with(r#","exp":9000000"#), ""), Ok(4_600));
        assert_eq!(judged(&dex, &with(r#","exp":1000"#), ""), Err(NoToken::Expired));
        assert_eq!(judged(&dex, &with(""), r#","expires_in":0"#), Err(NoToken::Expired));
    }

    #[test]
    fn a_token_of_another_issuer_is_none_and_neither_is_one_that_cannot_be_read() {
        let dex = dex();
        for token in [jwt(r#"{"iss":"https://dex.example/"}"#), jwt("{}"), jwt("x"), "opaque".into(), "a.b.c".into()] {
            assert_eq!(judged(&dex, &token, ""), Err(NoToken::OtherIssuer), "{token}");
        }
        let any = Downstream { expected_issuer: None, ..dex.clone() };
        assert_eq!(judged(&any, "opaque", r#","expires_in":300"#), Ok(1_240));
        let refused = dex.judge(400, JSON, br#"{"error":"invalid_grant"}"#, NOW).unwrap_err();
        assert_eq!((refused, refused.is_passing()), (NoToken::Answer(Failure::InvalidGrant), false));
        assert!(dex.judge(503, None, b"", NOW).unwrap_err().is_passing());
    }

    #[test]
    fn t177_kinds_of_tokens_are_named_exactly() {
        for kind in TokenType::ALL {
            assert_eq!(TokenType::named(kind.urn()), Some(kind));
        }
        for other in
            ["", "id_token", "urn:ietf:params:oauth:token-type:ID_TOKEN", "urn:ietf:params:oauth:token-type:saml2"]
        {
            assert_eq!(TokenType::named(other), None, "{other}");
        }
    }
}
