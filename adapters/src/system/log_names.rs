//! Who is who in logs: digests that are the same in every line, and no way back to anybody's token.

use portcullis_domain::key::{ClientHash, GrantId, Person, ProviderSession};
use portcullis_domain::wire::text::base64url;

/// A person.
pub(crate) fn person(person: Person) -> String {
    base64url(&person.0)
}

/// A session of a person.
pub(crate) fn session(session: GrantId) -> String {
    base64url(&session.login)
}

/// A client.
pub(crate) fn client(client: ClientHash) -> String {
    base64url(client.0.get(..16).unwrap_or_default())
}

/// A session at the identity provider.
pub(crate) fn provider_session(session: ProviderSession) -> String {
    base64url(&session.0)
}
