//! Token exchange for confidential clients: RFC 8693. A client shows an access token of its own and is given an assertion for one of the
//! audiences that the operator has named for it, in which the person, the scopes and the end are at most those of what it has shown.

use crate::key::ClientHash;
use crate::oauth::downstream::TokenType;
use crate::oauth::fault::Fault;
use crate::oauth::scope::Scopes;
use crate::wire::form::Form;

/// Which client may ask for tokens for whom.
#[derive(Clone, Debug, Default)]
pub struct Broker(pub Vec<(ClientHash, Vec<String>)>);

impl Broker {
    /// Whether no client may ask at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this client may ask for this audience.
    ///
    /// # Errors
    /// [`Fault::ClientGrantType`] if it may not ask at all, [`Fault::AudienceRefused`] if not for this one.
    pub fn allows(&self, client: ClientHash, audience: &str) -> Result<(), Fault> {
        let (_, own) = self.0.iter().find(|(own, _)| *own == client).ok_or(Fault::ClientGrantType)?;
        if own.iter().any(|own| own == audience) { Ok(()) } else { Err(Fault::AudienceRefused) }
    }
}

/// A request for an exchange.
pub struct Asked<'a> {
    /// `subject_token`.
    pub subject_token: &'a str,
    /// `audience`.
    pub audience: &'a str,
    /// `scope`.
    pub scopes: Option<Scopes>,
}

impl<'a> Asked<'a> {
    /// Reads one. Whatever would make the result more than the subject token, or somebody else's, is refused: actors, other kinds of
    /// tokens, resources.
    ///
    /// # Errors
    /// Whatever rule refuses it.
    pub fn read(form: &'a Form<'_>) -> Result<Self, Fault> {
        if form.repeated_except(&[]).is_some() {
            return Err(Fault::Repeated);
        }
        let only = |name: &'static str| form.one(name).map_err(|_| Fault::Repeated);
        let required = |name: &'static str| only(name)?.ok_or(Fault::Missing(name));
        let subject_token = required("subject_token")?;
        if TokenType::named(required("subject_token_type")?) != Some(TokenType::Access) {
            return Err(Fault::TokenType("subject_token_type"));
        }
        if only("actor_token")?.is_some() || only("actor_token_type")?.is_some() {
            return Err(Fault::Actor);
        }
        if only("requested_token_type")?.is_some_and(|kind| TokenType::named(kind) != Some(TokenType::Jwt)) {
            return Err(Fault::TokenType("requested_token_type"));
        }
        if only("resource")?.is_some() {
            return Err(Fault::ResourceBeyondGrant);
        }
        let scopes = only("scope")?.map(Scopes::parse).transpose()?;
        Ok(Self { subject_token, audience: required("audience")?, scopes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "subject_token=t&subject_token_type=urn:ietf:params:oauth:token-type:access_token&audience=tools";

    fn read(query: &str) -> Result<String, Fault> {
        let form = Form::parse(query).unwrap();
        Asked::read(&form).map(|asked| format!("{} {}", asked.subject_token, asked.audience))
    }

    #[test]
    fn t174_t175_t177_nothing_is_read_that_would_make_more_of_a_token() {
        assert_eq!(read(GOOD).as_deref(), Ok("t tools"));
        let with = |more: &str| read(&format!("{GOOD}&{more}"));
        assert_eq!(with("requested_token_type=urn:ietf:params:oauth:token-type:jwt").as_deref(), Ok("t tools"));
        for (more, fault) in [
            (
                "requested_token_type=urn:ietf:params:oauth:token-type:refresh_token",
                Fault::TokenType("requested_token_type"),
            ),
            (
                "requested_token_type=urn:ietf:params:oauth:token-type:access_token",
                Fault::TokenType("requested_token_type"),
            ),
            ("requested_token_type=jwt", Fault::TokenType("requested_token_type")),
            ("actor_token=x", Fault::Actor),
            ("actor_token_type=urn:ietf:params:oauth:token-type:jwt", Fault::Actor),
            ("resource=https://gate.example/mcp", Fault::ResourceBeyondGrant),
            ("audience=other", Fault::Repeated),
            ("subject_token=other", Fault::Repeated),
        ] {
            assert_eq!(with(more), Err(fault), "{more}");
        }
        for kind in ["id_token", "jwt", "refresh_token", "saml2", "ACCESS_TOKEN"] {
            let other = GOOD.replace("token-type:access_token", &format!("token-type:{kind}"));
            assert_eq!(read(&other), Err(Fault::TokenType("subject_token_type")), "{kind}");
        }
        for name in
            ["subject_token=t", "&audience=tools", "&subject_token_type=urn:ietf:params:oauth:token-type:access_token"]
        {
            assert!(matches!(read(&GOOD.replace(name, "")), Err(Fault::Missing(_))), "{name}");
        }
    }

    #[test]
    fn seed_bug_37_a_client_gets_tokens_for_the_audiences_that_are_named_for_it_and_for_no_other() {
        let (client, other) = (ClientHash::of("app"), ClientHash::of("other"));
        let broker = Broker(vec![(client, vec!["tools".into()])]);
        assert_eq!(broker.allows(client, "tools"), Ok(()));
        assert_eq!(broker.allows(client, "Tools"), Err(Fault::AudienceRefused));
        assert_eq!(broker.allows(other, "tools"), Err(Fault::ClientGrantType));
        assert_eq!(Broker::default().allows(client, "tools"), Err(Fault::ClientGrantType));
    }
}
