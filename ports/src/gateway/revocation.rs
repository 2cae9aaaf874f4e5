//! The provider's refresh tokens of somebody who was erased are revoked there: RFC 7009.
//!
//! The erasure has come about before, and does not wait for it: nothing that the provider does can delay it or make it fail. What ends
//! otherwise (a logout, the operator's cut, the last session) keeps the token: the person's next login may bring none, because some
//! providers give one once only, and at others one token serves all of the person's sessions.

use crate::{Clock, IdentityProvider, Journal, Tasks, World};
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::Person;
use portcullis_domain::limits::{REVOCATION_ATTEMPTS, REVOCATION_PAUSE};
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::oidc::request;
use portcullis_domain::secret::SecretText;
use std::sync::Arc;

/// Begins with it; the journal is told what has come of it.
pub(super) fn begin<W: World>(
    world: &Arc<W>,
    party: &Arc<RelyingParty>,
    person: Person,
    refresh_tokens: Vec<SecretText>,
) {
    if refresh_tokens.is_empty() {
        return;
    }
    let (own, party) = (Arc::clone(world), Arc::clone(party));
    let revoking = async move {
        let mut all = true;
        for token in &refresh_tokens {
            all &= revoked(&*own, &party, token).await;
        }
        let happened = if all { Happened::UpstreamRevoked } else { Happened::UpstreamNotRevoked };
        own.journal().note(own.clock().now(), &Event::new(happened).about(person));
    };
    // It runs to its end whoever holds the answer.
    drop(world.tasks().run(revoking));
}

/// Whether the provider has revoked it. A token that it does not know counts as revoked there (section 2.2).
async fn revoked<W: World>(world: &W, party: &RelyingParty, token: &SecretText) -> bool {
    let port = world.provider();
    let mut pause = REVOCATION_PAUSE;
    for attempt in 1..=REVOCATION_ATTEMPTS {
        if let Some(provider) = port.discovered() {
            let Some(endpoint) = &provider.revocation_endpoint else { return false };
            let answer = port.send(request::revoke(&provider, endpoint, &party.credentials, token)).await;
            match answer.map(|answer| answer.status) {
                Ok(200..=299) => return true,
                // Not now, says section 2.2.1, and what is in between says the same.
                Ok(429 | 500..) | Err(_) => {}
                Ok(_) => return false,
            }
        }
        if attempt < REVOCATION_ATTEMPTS {
            world.clock().sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }
    false
}
