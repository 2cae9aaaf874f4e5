//! What is said of a token to whom: RFC 7662.

use crate::key::ClientHash;
use crate::oauth::identity::Claims;
use crate::oauth::policy::Policy;
use crate::oauth::token::AccessToken;
use crate::oauth::userinfo;
use crate::wire::json::ObjectWriter;

/// Whether this client may be told of this token: its own, or any for a resource server of the operator's. The token itself
/// answers that, so nobody causes a reading with a token that is not theirs.
#[must_use]
pub fn may_know(policy: &Policy, client: ClientHash, token: &AccessToken) -> bool {
    token.client == client || policy.introspectors.contains(&client)
}

/// The answer about everything that is not a live access token, or not the asker's to know of: no other member (section 2.2).
#[must_use]
pub fn inactive() -> String {
    ObjectWriter::new().boolean("active", false).finish()
}

/// The answer about a token that counts, to the client with this `client_id`.
///
/// A client is told of the person what the token's scopes say, as at the userinfo endpoint. A resource server is told all that an
/// MCP server behind the gate hears. `client_id` is there where it is known: tokens hold only a digest of it.
#[must_use]
pub fn active(policy: &Policy, asker: &str, token: &AccessToken, claims: &Claims) -> String {
    let is = |id: &str| token.client == ClientHash::of(id);
    let clients = policy.clients.now();
    let known = clients.iter().map(super::client::Client::id);
    let client_id = known.chain([asker]).find(|id| is(id));
    let resource = policy.resources.by_hash(token.resource).map(super::resource::Resource::identifier);
    let answer = ObjectWriter::new()
        .boolean("active", true)
        .text("token_type", "Bearer")
        .text("iss", &policy.base_url)
        .text("sub", &claims.subject)
        .optional_text("aud", resource)
        .optional_text("client_id", client_id)
        .text("scope", token.scopes.line())
        .number("iat", token.issued.secs())
        .number("exp", token.expires.secs())
        .optional_text("username", claims.preferred_username.as_deref().filter(|_| !is(asker)));
    let told = if is(asker) { userinfo::Told::by(&token.scopes) } else { userinfo::Told::ALL };
    userinfo::write(answer, claims, told).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{GrantId, Person};
    use crate::oauth::grant::tests::{NOW, code, terms};
    use crate::oauth::identity::tests::claims;
    use crate::oauth::policy::tests::policy;
    use crate::oauth::scope::Scopes;
    use crate::operation::Epoch;
    use crate::wire::json;
    use std::time::Duration;

    fn token(scope: &str) -> AccessToken {
        let grant = code().redeemed(1, Epoch::default(), NOW);
        let id = GrantId { person: Person([1; 16]), login: [2; 16] };
        let life = Duration::from_secs(60);
        let mut token = AccessToken::mint(id, &grant, 1, Scopes::parse(scope).unwrap(), terms().ends, life, NOW);
        token.client = ClientHash::of("app");
        token
    }

    #[test]
    fn t181_only_its_client_and_a_listed_resource_server_may_know_of_a_token() {
        let listed = Policy { introspectors: vec![ClientHash::of("server")], ..policy() };
        for (client, may) in [("app", true), ("server", true), ("other", false), ("", false)] {
            assert_eq!(may_know(&listed, ClientHash::of(client), &token("mcp")), may, "{client}");
        }
        assert!(!may_know(&policy(), ClientHash::of("server"), &token("mcp")));
        assert_eq!(inactive(), r#"{"active":false}"#);
    }

    #[test]
    fn t181_a_client_is_told_of_the_person_what_its_scopes_say() {
        let policy = policy();
        let told =
            |asker, scope| json::parse(active(&policy, asker, &token(scope), &claims()).as_bytes(), 4_096).unwrap();
        let own = told("app", "mcp");
        assert_eq!(own.required_text("sub"), Ok("alice"));
        assert_eq!(own.required_text("client_id"), Ok("app"));
        assert_eq!(own.required_text("iss"), Ok("https://gate.example"));
        assert_eq!(own.optional_unsigned("iat"), Ok(Some(NOW.secs())));
        assert_eq!(own.optional_unsigned("exp"), Ok(Some(NOW.plus(Duration::from_secs(60)).secs())));
        assert!(["email", "name", "groups", "username"].iter().all(|name| own.member(name).is_none()));
        assert_eq!(told("app", "mcp email").required_text("email"), Ok("alice@example.com"));
        let server = told("server", "mcp");
        assert_eq!(server.member("client_id"), None, "the digest of an identifier does not lead back to it");
        assert_eq!(server.required_text("email"), Ok("alice@example.com"));
        assert_eq!(server.required_text_list("groups"), Ok(vec!["staff", "ops"]));
    }
}
