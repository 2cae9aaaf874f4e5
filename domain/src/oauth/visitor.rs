//! Whom the gate has let in, as what stands behind gets to know it.

use crate::key::{GrantId, Person};
use crate::oauth::admit::Admitted;
use crate::oauth::identity::Claims;
use crate::oauth::scope::Scopes;
use crate::oauth::stranger::Stranger;
use crate::secret::SecretText;
use crate::time::Timestamp;
use crate::wire::text::base64url;

/// Somebody who was let in.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The person.
    pub person: Person,
    /// Who that is.
    pub claims: Claims,
    /// The session's name, in base64url: the same for as long as the session lives, and no way back to its tokens.
    pub session: String,
    /// Which one it is: good for having it refreshed or ended. None, if the bearer is of another issuer's making.
    pub id: Option<GrantId>,
    /// What the client may do.
    pub scopes: Scopes,
    /// The end of the session, as it stood when this was made.
    pub until: Timestamp,
    /// The person's ID token of the identity provider, kept fresh, where the resource's server is shown it.
    pub id_token: Option<SecretText>,
}

impl Visitor {
    /// Whoever was admitted. Nothing, if it was not asked who that is.
    #[must_use]
    pub fn of(admitted: &Admitted) -> Option<Self> {
        Some(Self {
            person: admitted.token.id.person,
            claims: admitted.profile()?.into(),
            session: base64url(&admitted.session_id()),
            id: Some(admitted.token.id),
            scopes: admitted.token.scopes.clone(),
            until: admitted.until,
            id_token: None,
        })
    }
}

impl From<&Stranger> for Visitor {
    fn from(stranger: &Stranger) -> Self {
        Self {
            person: stranger.person,
            claims: stranger.claims.clone(),
            session: stranger.session.clone(),
            id: None,
            scopes: stranger.scopes.clone(),
            until: stranger.expires,
            id_token: None,
        }
    }
}
