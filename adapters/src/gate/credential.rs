//! In which form what stands behind is told who the person is, and the credential where that form needs one.
//!
//! Nothing here happens for a request whose bearer and credential are known: a signature or an exchange is made once for a session
//! and a resource, and used until it is to be renewed.

use super::id_token::{self, IdTokenAt};
use super::minted::{Credential, Decided, Minted};
use crate::apart::Apart;
use crate::fetch::{Caps, Fetch, Method, Request};
use portcullis_domain::jose::operator_key::OperatorKey;
use portcullis_domain::jose::sign::Signer;
use portcullis_domain::limits::{CREDENTIAL_MARGIN, PROVIDER_ANSWER_MAX, PROVIDER_DEADLINE, SLOW_SIGNATURES_MAX};
use portcullis_domain::oauth::assertion::{self, Assertion};
use portcullis_domain::oauth::downstream::Downstream;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::policy::Policy;
use portcullis_domain::oauth::visitor::Visitor;
use portcullis_domain::oidc::request::BackChannel;
use portcullis_domain::seal::KeyRing;
use portcullis_domain::secret::SecretText;
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::json::ObjectWriter;
use portcullis_ports::World;
use portcullis_ports::gateway::Gateway;
use ring::rand::SystemRandom;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// The form in which a resource's server is told who the person is.
#[derive(Debug, Default)]
pub enum Form {
    /// By headers.
    #[default]
    Headers,
    /// By one header: the subject.
    SubjectOnly,
    /// By headers, and by an assertion as bearer.
    Assertion(Asserted),
    /// By headers, and by a token as bearer that a server of the operator's gives for an assertion or for the person's ID token.
    Exchange(Box<Exchange>),
    /// By headers, and by the person's ID token of the identity provider as bearer.
    IdToken,
}

impl Form {
    /// Whether its server is shown a bearer.
    pub(crate) const fn has_credential(&self) -> bool {
        match self {
            Self::Headers | Self::SubjectOnly => false,
            Self::Assertion(_) | Self::Exchange(_) | Self::IdToken => true,
        }
    }

    /// Whether it needs the person's ID token.
    #[must_use]
    pub fn wants_id_token(&self) -> bool {
        match self {
            Self::Headers | Self::SubjectOnly | Self::Assertion(_) => false,
            Self::Exchange(exchange) => matches!(exchange.subject, Subject::IdToken),
            Self::IdToken => true,
        }
    }
}

/// Assertions for one server.
#[derive(Debug, Clone)]
pub struct Asserted {
    /// Whom they are for.
    pub audience: String,
    /// What signs them.
    pub key: AssertionKey,
    /// How long one is used.
    pub life: Duration,
}

/// What signs assertions.
#[derive(Debug, Clone)]
pub enum AssertionKey {
    /// The key of the master key that seals now.
    Master,
    /// A key of the operator's.
    Operator(Arc<OperatorKey>),
}

/// The key of the operator's in this PEM file. Nothing if it is not PKCS #8, or of another kind than P-256 and RSA.
#[must_use]
pub fn operator_key(pem: &[u8]) -> Option<OperatorKey> {
    match PrivateKeyDer::from_pem_slice(pem).ok()? {
        PrivateKeyDer::Pkcs8(document) => {
            OperatorKey::from_pkcs8(document.secret_pkcs8_der(), &SystemRandom::new()).ok()
        }
        _ => None,
    }
}

/// An exchange at a server of the operator's.
#[derive(Debug)]
pub struct Exchange {
    /// What the server is asked for.
    pub downstream: Downstream,
    /// What it is shown.
    pub subject: Subject,
    /// How it is reached.
    pub fetch: Fetch,
}

/// What is exchanged.
#[derive(Debug)]
pub enum Subject {
    /// An assertion.
    Assertion(Asserted),
    /// The person's ID token.
    IdToken,
}

/// Whom what stands behind is told of.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// Who it is.
    pub(crate) visitor: &'a Visitor,
    /// What differs as soon as the visitor does in anything that a credential says.
    pub(crate) version: &'a [u8],
    /// Where their ID token is.
    pub(crate) id_token: IdTokenAt<'a>,
}

/// Makes credentials, and keeps them.
pub(crate) struct Credentials {
    minted: Arc<Minted>,
}

impl Default for Credentials {
    fn default() -> Self {
        Self { minted: Arc::new(Minted::new()) }
    }
}

impl Credentials {
    /// The credential with which whoever is at this place is told of somebody in this form, if it wants one.
    pub(crate) async fn of<W: World>(
        &self,
        form: &Form,
        gateway: &Gateway<W>,
        place: &str,
        told: Told<'_>,
        now: Timestamp,
    ) -> Result<Option<Credential>, Fault> {
        let (Told { visitor, version, id_token }, policy) = (told, gateway.policy());
        let held = || id_token::held(gateway, &self.minted, visitor.person, id_token, now);
        let ring = policy.ring.now();
        // An assertion is of no more use than the key that signed it: under another key, another one is made.
        let signer = match form {
            Form::Assertion(Asserted { key: AssertionKey::Master, .. }) => ring.signer(now).map_or("", Signer::kid),
            _ => "",
        };
        let kind: &[u8] = match form {
            Form::Headers | Form::SubjectOnly => return Ok(None),
            Form::IdToken => return held()?.await.map(Some),
            Form::Assertion(_) => b"assertion",
            Form::Exchange(_) => b"exchange",
        };
        let decided = Decided::by(&[
            kind,
            signer.as_bytes(),
            place.as_bytes(),
            &visitor.person.0,
            visitor.session.as_bytes(),
            visitor.scopes.line().as_bytes(),
            version,
        ]);
        let made = match form {
            Form::Headers | Form::SubjectOnly | Form::IdToken => return Ok(None),
            Form::Assertion(asserted) => {
                self.minted.get(decided, now, None, || assertion(asserted, policy, &ring, visitor, now)).await
            }
            Form::Exchange(exchange) => {
                let Exchange { downstream, subject, fetch } = &**exchange;
                let (downstream, fetch) = (downstream.clone(), fetch.clone());
                match subject {
                    Subject::Assertion(asserted) => {
                        let subject = || assertion(asserted, policy, &ring, visitor, now);
                        self.minted.get(decided, now, None, || exchanged(downstream, fetch, subject(), now)).await
                    }
                    Subject::IdToken => {
                        let subject = held()?;
                        self.minted.get(decided, now, None, || exchanged(downstream, fetch, subject, now)).await
                    }
                }
            }
        };
        made.map(Some)
    }
}

fn assertion(
    asserted: &Asserted,
    policy: &Policy,
    ring: &Arc<KeyRing>,
    visitor: &Visitor,
    now: Timestamp,
) -> impl Future<Output = Result<Credential, Fault>> + Send + use<> {
    let said = Assertion {
        issuer: &policy.base_url,
        audience: &asserted.audience,
        claims: &visitor.claims,
        session: &visitor.session,
        scope: visitor.scopes.line(),
    };
    let (claims, renew) = said.write(asserted.life, visitor.until, now);
    let (ring, key) = (Arc::clone(ring), asserted.key.clone());
    async move {
        let token = sign(&ring, key, claims, now).await?;
        Credential::bearer(token.expose(), renew, renew.plus(CREDENTIAL_MARGIN))
    }
}

async fn sign(ring: &KeyRing, key: AssertionKey, claims: ObjectWriter, now: Timestamp) -> Result<SecretText, Fault> {
    static SLOW: LazyLock<Apart> = LazyLock::new(|| Apart::new(SLOW_SIGNATURES_MAX));
    const UNSIGNED: Fault = Fault::Internal("an assertion could not be signed");
    let token = match key {
        AssertionKey::Master => ring.signer(now).ok_or(UNSIGNED)?.sign(assertion::TYPE, claims),
        AssertionKey::Operator(key) => {
            let slow = key.is_slow();
            let sign = move || key.sign(&SystemRandom::new(), assertion::TYPE, claims);
            // Milliseconds would hold up everybody else on this core.
            let signed = if slow { SLOW.run(sign).await.map_err(|_| Fault::CredentialUnavailable)? } else { sign() };
            signed.map_err(|_| UNSIGNED)?
        }
    };
    Ok(SecretText::new(token))
}

async fn exchanged(
    downstream: Downstream,
    fetch: Fetch,
    subject: impl Future<Output = Result<Credential, Fault>> + Send,
    now: Timestamp,
) -> Result<Credential, Fault> {
    let begun = Instant::now();
    let subject = subject.await?.token()?;
    let BackChannel { url, authorization, body } = downstream.request(&subject);
    let request = Request {
        method: Method::Post,
        url,
        accept: Some(BackChannel::ACCEPT),
        content_type: Some(BackChannel::CONTENT_TYPE),
        authorization,
        further: Vec::new(),
        body: Some(body),
    };
    let caps = Caps { deadline: PROVIDER_DEADLINE, answer_max: PROVIDER_ANSWER_MAX };
    let answer = fetch.fetch(request, caps).await.map_err(|cause| {
        tracing::warn!(%cause, "a token could not be exchanged: the server gave no answer");
        Fault::CredentialUnavailable
    })?;
    let now = now.plus(begun.elapsed());
    let judged = downstream.judge(answer.status, answer.content_type.as_deref(), &answer.body, now);
    let exchanged = judged.map_err(|cause| {
        tracing::warn!(?cause, status = answer.status, "a token could not be exchanged");
        if cause.is_passing() { Fault::CredentialUnavailable } else { Fault::CredentialRefused }
    })?;
    Credential::bearer(exchanged.token.expose(), exchanged.renew, exchanged.ends)
}
