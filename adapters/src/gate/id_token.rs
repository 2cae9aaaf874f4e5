//! The person's ID token of the identity provider, as a credential for what stands behind.
//!
//! As long as it is not time to renew it, it comes out of the identity record that admission has read: no I/O. From then on one at a
//! time asks for a newer one, and the one that is there serves to its end while none can be had.

use super::minted::{Credential, Decided, Minted};
use portcullis_domain::key::Person;
use portcullis_domain::limits::CREDENTIAL_PAUSE;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::identity::Identity;
use portcullis_domain::record::Record;
use portcullis_domain::time::Timestamp;
use portcullis_ports::gateway::Gateway;
use portcullis_ports::{Clock, World};
use std::future::Future;
use std::sync::Arc;

/// Where the ID token of somebody who was let in is.
#[derive(Clone, Copy)]
pub(crate) enum IdTokenAt<'a> {
    /// In the identity record of a login.
    Login(&'a Arc<Record>),
    /// It is the bearer itself, that of another client of the identity provider; with its end.
    Bearer(&'a str, Timestamp),
    /// Nowhere: the bearer is of another issuer.
    Nowhere,
}

/// The ID token that is there, or that will be. Whoever drops this stops nobody else's waiting for it.
///
/// # Errors
/// [`Fault::LoginNeeded`] if there is none.
pub(crate) fn held<W: World>(
    gateway: &Gateway<W>,
    minted: &Arc<Minted>,
    person: Person,
    place: IdTokenAt<'_>,
    now: Timestamp,
) -> Result<impl Future<Output = Result<Credential, Fault>> + Send + use<W>, Fault> {
    let (held, login) = match place {
        IdTokenAt::Login(record) => (of(record).transpose()?, Some(record)),
        IdTokenAt::Bearer(token, ends) => (Some(Credential::bearer(token, ends, ends)?), None),
        IdTokenAt::Nowhere => return Err(Fault::LoginNeeded),
    };
    let is_fresh = held.as_ref().is_some_and(|credential| now < credential.renew);
    let newer = login.filter(|_| !is_fresh).map(|record| {
        let shown = record.identity().and_then(Identity::id_token).map_or("", |kept| kept.token.expose());
        // Not by the version of the record: every attempt to renew the token makes another one.
        let decided = Decided::by(&[b"ID token", &person.0, shown.as_bytes()]);
        (decided, Arc::clone(minted), gateway.fresh_identity(person, record), Arc::clone(gateway.world()))
    });
    Ok(async move {
        let Some((decided, minted, fresh_identity, world)) = newer else { return held.ok_or(Fault::LoginNeeded) };
        let make = || async move {
            let record = fresh_identity.await?;
            let Credential { authorization, renew, ends } = of(&record).ok_or(Fault::LoginNeeded)??;
            // One that serves for want of another is looked after again in a moment, not at every request.
            let renew = renew.max(world.clock().now().plus(CREDENTIAL_PAUSE)).min(ends);
            Ok(Credential { authorization, renew, ends })
        };
        minted.get(decided, now, held, make).await
    })
}

/// The ID token of an identity record.
fn of(record: &Record) -> Option<Result<Credential, Fault>> {
    let kept = record.identity().and_then(Identity::id_token)?;
    Some(Credential::bearer(kept.token.expose(), kept.renew, kept.ends))
}
