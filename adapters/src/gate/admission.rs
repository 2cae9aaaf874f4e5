//! Admission to a protected resource: whether a bearer may, and what the server behind it is told of the person.
//!
//! What was worked out of a bearer is kept; whether its session stands is asked every time.

use super::Gate;
use super::answer::Answer;
use super::credential::{Form, Told};
use super::id_token::IdTokenAt;
use super::minted::Credential;
use super::protected::{Behind, Protected};
use super::read::{self, Authorization};
use crate::http::{Identity, Introduced};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use portcullis_domain::fresh::Stamp;
use portcullis_domain::key::Person;
use portcullis_domain::oauth::admit::Admitted;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::identity::Profile;
use portcullis_domain::oauth::resource::Resource;
use portcullis_domain::oauth::visitor::Visitor;
use portcullis_domain::seal::RingNumber;
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::header::Challenge;
use portcullis_domain::wire::text::base64url;
use portcullis_ports::gateway::Bearer;
use portcullis_ports::{Clock, Counted, World};
use std::net::IpAddr;
use std::sync::Arc;

/// Somebody who is let in, and what what stands behind is told of them.
pub(super) struct Admission {
    pub(super) bearer: Bearer,
    pub(super) person: Person,
    pub(super) who: Arc<Introduced>,
    /// For a service in this process, or whoever watches.
    pub(super) visitor: Option<Arc<Visitor>>,
}

/// Whether the bearer may, and what the upstream is told of the person. What was worked out for an earlier request with the same
/// bearer is not worked out again; whether the session stands is asked every time.
pub(super) async fn admit<W: World>(
    gate: &Gate<W>,
    resource: &Resource,
    protected: &Protected,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Admission, Fault> {
    let presented = read::single(headers, &AUTHORIZATION)?.ok_or(Fault::TokenMissing)?;
    // Asked before anything is opened: what was worked out under other keys is worked out again.
    let ring = gate.gateway.policy().ring.number();
    let known = gate.bearers.recall(presented).filter(|known| known.ring == ring && known.is_for(resource));
    let bearer = match &known {
        Some(known) => known.bearer.clone(),
        None => match read::authorization(headers)? {
            Authorization::Bearer(token) => match gate.gateway.own(token) {
                Some(own) => own?,
                // On the heap: it is rare, and waits for keys.
                None => Box::pin(gate.gateway.stranger(token, resource, Some(address))).await?,
            },
            Authorization::None | Authorization::Basic(_) | Authorization::Other => return Err(Fault::TokenMissing),
        },
    };
    let (admitted, person) = match &bearer {
        Bearer::Own(token) => {
            let admitted = gate.gateway.admit(Arc::clone(token), resource, true).await?;
            (Some(admitted), token.id.person)
        }
        Bearer::Stranger(stranger) => {
            gate.gateway.admit_stranger(stranger, resource).await?;
            (None, stranger.person)
        }
    };
    // What a stranger's token says never changes.
    let version = match &admitted {
        Some(admitted) => admitted.identity.as_ref().map(|stored| stored.stamp).ok_or(UNTOLD)?,
        None => Stamp([0; 16]),
    };
    let is_fresh = |known: &Known| {
        known.of == version && known.renew.is_none_or(|renew| gate.gateway.world().clock().now() < renew)
    };
    if let Some(known) = known.filter(is_fresh) {
        return Ok(Admission { bearer, person, who: known.who, visitor: known.visitor });
    }
    let form = &protected.form;
    let is_wanted = matches!(protected.behind, Behind::Here(_)) || gate.protection.watch().is_some();
    let (authorization, visitor, renew) = if is_wanted || form.has_credential() {
        // On the heap: it is rare, and whoever is known carries no room for it.
        let told = Box::pin(introduce(gate, resource, form, headers, &bearer, admitted.as_ref()));
        let (authorization, visitor, renew) = told.await?;
        (authorization, is_wanted.then(|| Arc::new(visitor)), renew)
    } else {
        (None, None, None)
    };
    let who = match (&bearer, &admitted) {
        (Bearer::Stranger(stranger), _) => {
            introduced(&stranger.claims.profile(), &stranger.session, form, authorization)
        }
        (Bearer::Own(_), Some(admitted)) => {
            introduced(&admitted.profile().ok_or(UNTOLD)?, &base64url(&admitted.session_id()), form, authorization)
        }
        (Bearer::Own(_), None) => None,
    };
    let (of, who) = (version, Arc::new(who.ok_or(UNTOLD)?));
    let known = Known { ring, bearer: bearer.clone(), of, who: Arc::clone(&who), visitor: visitor.clone(), renew };
    gate.bearers.remember(presented, known);
    Ok(Admission { bearer, person, who, visitor })
}

/// The credential that the upstream is shown, if it is shown one; somebody who is not known yet, or no longer, as a service in this
/// process gets to know them; and until when the credential may be used.
async fn introduce<W: World>(
    gate: &Gate<W>,
    resource: &Resource,
    form: &Form,
    headers: &HeaderMap,
    bearer: &Bearer,
    admitted: Option<&Admitted>,
) -> Result<(Option<HeaderValue>, Visitor, Option<Timestamp>), Fault> {
    let mut visitor = match bearer {
        Bearer::Stranger(stranger) => Visitor::from(&**stranger),
        Bearer::Own(_) => admitted.and_then(Visitor::of).ok_or(UNTOLD)?,
    };
    let id_token = match (bearer, admitted) {
        (_, Some(admitted)) => IdTokenAt::Login(&admitted.identity.as_ref().ok_or(UNTOLD)?.record),
        (Bearer::Stranger(stranger), None) if stranger.is_id_token => match read::authorization(headers)? {
            Authorization::Bearer(token) => IdTokenAt::Bearer(token, stranger.expires),
            _ => IdTokenAt::Nowhere,
        },
        _ => IdTokenAt::Nowhere,
    };
    let said = visitor.claims.digest();
    let told = Told { visitor: &visitor, version: &said, id_token };
    let now = gate.gateway.world().clock().now();
    let credential = gate.credentials.of(form, &gate.gateway, resource.identifier(), told, now).await?;
    let renew = credential.as_ref().map(|credential| credential.renew);
    let shown = credential.as_ref().filter(|_| matches!(form, Form::IdToken));
    visitor.id_token = shown.map(Credential::token).transpose()?;
    Ok((credential.map(|credential| credential.authorization), visitor, renew))
}

/// What is worked out once of a bearer.
#[derive(Clone)]
pub(crate) struct Known {
    /// The master keys under which it was worked out.
    ring: RingNumber,
    bearer: Bearer,
    /// The version of the identity record that the identity was made of.
    of: Stamp,
    who: Arc<Introduced>,
    visitor: Option<Arc<Visitor>>,
    /// From when on the identity is to be made anew, if it holds a credential.
    renew: Option<Timestamp>,
}

impl Known {
    /// Whether it was worked out at this resource. A token of ours is for one alone; one that is not was judged at one.
    fn is_for(&self, resource: &Resource) -> bool {
        match &self.bearer {
            Bearer::Own(_) => true,
            Bearer::Stranger(stranger) => stranger.resource == resource.hash(),
        }
    }
}

/// What stands behind must not take a person for nobody.
const UNTOLD: Fault = Fault::Internal("an identity is no header value");

/// Turns away who was not admitted. Whoever has no session is counted by address; a session never is, so that nobody loses one to
/// those who share an address with them.
pub(super) fn turn_away<W: World>(
    gate: &Gate<W>,
    fault: Fault,
    resource: &Resource,
    path: &str,
    address: IpAddr,
) -> Answer {
    let counted = if fault.wire().status == 401 { gate.gateway.count(Counted::Refused, address) } else { Ok(()) };
    match counted {
        Ok(()) => refuse(fault, resource, path),
        Err(beyond) => Answer::fault(beyond),
    }
}

/// A refusal with its challenge: RFC 9728 section 5.1.
fn refuse(fault: Fault, resource: &Resource, path: &str) -> Answer {
    let mut challenge = Challenge::new("Bearer").param("resource_metadata", &resource.metadata_url(path));
    if !resource.scope_set().is_empty() {
        challenge = challenge.param("scope", resource.scope_set().line());
    }
    Answer::fault_to_token(fault, challenge)
}

/// Who the upstream is told that it is. An address that the provider has not verified is nobody's, so it is not passed on.
fn introduced(
    profile: &Profile<'_>,
    session: &str,
    form: &Form,
    authorization: Option<HeaderValue>,
) -> Option<Introduced> {
    let authorization = authorization.as_ref();
    let subject = Identity { user: profile.subject, authorization, ..Identity::default() };
    Introduced::of(&match form {
        Form::SubjectOnly => subject,
        _ => Identity {
            email: profile.email.filter(|_| profile.email_verified),
            groups: &profile.groups,
            preferred_username: profile.preferred_username,
            session,
            ..subject
        },
    })
}
