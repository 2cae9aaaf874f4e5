//! Clients: who they are, the one lookup for every endpoint, and how they prove it.
//!
//! There are three kinds: those that the operator has registered, in the configuration; those that have registered themselves, whose
//! id is their registration; and those that describe themselves, whose id is the address of a document. An operator's client is
//! found first, whatever its id looks like.
//!
//! OAuth 2.1 section 2, RFC 6749 section 2.3.1, RFC 7591 section 2.

use crate::key::ClientHash;
use crate::limits::{CLIENT_ID_MAX, CLIENT_SECRET_MAX};
use crate::oauth::client_assertion::{Assertion, Proof};
use crate::oauth::client_document::{Document, DocumentHash, DocumentUrl};
use crate::oauth::client_id::{self, Derived};
use crate::oauth::client_keys::ClientKeys;
use crate::oauth::fault::Fault;
use crate::oauth::policy::Policy;
use crate::oauth::redirect::{CheckedRedirect, Kind, Redirect, RedirectPolicy};
use crate::secret::SecretText;
use crate::wire::basic::Credentials;
use std::fmt;

/// `token_endpoint_auth_method` (RFC 7591 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// A public client: it has nothing to prove itself by.
    None,
    /// A secret, by HTTP Basic.
    ClientSecretBasic,
    /// A secret, in the body.
    ClientSecretPost,
    /// An assertion that it signs (OpenID Connect Core section 9).
    PrivateKeyJwt,
}

impl AuthMethod {
    /// Every method that is offered.
    pub const ALL: [Self; 4] = [Self::None, Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt];

    /// Its registered name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
        }
    }

    /// The method of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether a client that uses it shares a secret with the gateway.
    #[must_use]
    pub const fn has_secret(self) -> bool {
        matches!(self, Self::ClientSecretBasic | Self::ClientSecretPost)
    }

    /// Whether a client that uses it can prove who it is.
    #[must_use]
    pub const fn is_confidential(self) -> bool {
        !matches!(self, Self::None)
    }
}

/// On whose word a client is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// The operator's, in the configuration.
    Operator,
    /// Its own: it has registered itself, and may call itself what it likes.
    SelfDeclared,
    /// Its own, at an address that only its makers can publish at. What it says there it may have made up.
    Document,
}

/// A client.
#[derive(Debug, Clone)]
pub struct Client {
    id: String,
    hash: ClientHash,
    name: Option<String>,
    redirects: Vec<Redirect>,
    method: AuthMethod,
    secret: Option<SecretText>,
    keys: Option<ClientKeys>,
    refreshes: bool,
    known_by: KnownBy,
    without_page: bool,
    document: Option<(Box<str>, DocumentHash)>,
}

/// A client as the operator describes it.
#[derive(Debug)]
pub struct Configured {
    /// `client_id`.
    pub id: String,
    /// What the consent page calls it.
    pub name: String,
    /// Its redirect URIs.
    pub redirects: Vec<String>,
    /// Its secret, if it proves itself by one.
    pub secret: Option<SecretText>,
    /// Its keys, if it proves itself by those.
    pub keys: Option<ClientKeys>,
    /// Whether it is sent back without a consent page. Only for confidential clients whose redirect URIs are all `https`.
    pub without_page: bool,
}

impl Client {
    /// A client that the operator has registered.
    ///
    /// # Errors
    /// [`Fault::RedirectUri`], or [`Fault::ClientMetadata`] with the rule that it breaks.
    pub fn configured(client: Configured, policy: &RedirectPolicy) -> Result<Self, Fault> {
        let Configured { id, name, redirects, secret, keys, without_page } = client;
        if id.is_empty() || id.len() > CLIENT_ID_MAX || id.starts_with(client_id::PREFIX) {
            return Err(Fault::ClientMetadata(
                "its client_id is empty, too long, or begins like one that is handed out",
            ));
        }
        if secret.as_ref().is_some_and(|secret| secret.expose().is_empty() || secret.expose().len() > CLIENT_SECRET_MAX)
        {
            return Err(Fault::ClientMetadata("its client_secret is empty or too long"));
        }
        let redirects: Vec<Redirect> =
            redirects.iter().map(|uri| Redirect::configured(uri, policy)).collect::<Result<_, _>>()?;
        if redirects.is_empty() {
            return Err(Fault::RedirectUri("there is none"));
        }
        let method = match (&secret, &keys) {
            (None, None) => AuthMethod::None,
            (Some(_), None) => AuthMethod::ClientSecretBasic,
            (None, Some(_)) => AuthMethod::PrivateKeyJwt,
            (Some(_), Some(_)) => return Err(Fault::ClientMetadata("it has both a secret and keys")),
        };
        if without_page
            && (!method.is_confidential() || redirects.iter().any(|redirect| redirect.kind() != Kind::Https))
        {
            return Err(Fault::ClientMetadata("only confidential clients with https redirects need no consent page"));
        }
        Ok(Self {
            hash: ClientHash::of(&id),
            id,
            name: Some(name),
            redirects,
            method,
            secret,
            keys,
            refreshes: true,
            known_by: KnownBy::Operator,
            without_page,
            document: None,
        })
    }

    /// A client that is described by the document at its id's address, by today's policy.
    ///
    /// # Errors
    /// [`Fault::ClientPolicy`] if none of its redirect URIs may be registered any more.
    pub fn described(url: &DocumentUrl, document: &Document, policy: &Policy) -> Result<Self, Fault> {
        let judged = document.redirects.iter().filter_map(|uri| Redirect::register(uri, &policy.redirects).ok());
        let redirects: Vec<Redirect> = judged.collect();
        if redirects.is_empty() {
            return Err(Fault::ClientPolicy);
        }
        Ok(Self {
            id: url.as_str().to_owned(),
            hash: ClientHash::of(url.as_str()),
            name: Some(document.name.clone()),
            redirects,
            method: document.method,
            secret: None,
            keys: document.keys.clone(),
            refreshes: document.refreshes,
            known_by: KnownBy::Document,
            without_page: false,
            document: Some((url.host().into(), document.hash())),
        })
    }

    /// `client_id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// As grants, cuts and tokens remember it.
    #[must_use]
    pub const fn hash(&self) -> ClientHash {
        self.hash
    }

    /// What it calls itself, fit to be shown; whoever [`Client::known_by`] vouches for it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its redirect URIs.
    #[must_use]
    pub fn redirects(&self) -> &[Redirect] {
        &self.redirects
    }

    /// How it authenticates.
    #[must_use]
    pub const fn method(&self) -> AuthMethod {
        self.method
    }

    /// Whether its grant types include `refresh_token`.
    #[must_use]
    pub const fn refreshes(&self) -> bool {
        self.refreshes
    }

    /// On whose word it is known.
    #[must_use]
    pub const fn known_by(&self) -> KnownBy {
        self.known_by
    }

    /// Whether the operator has said that no consent page is needed.
    #[must_use]
    pub const fn without_page(&self) -> bool {
        self.without_page
    }

    /// The host of its document, if it has one: the identity that it cannot make up.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.document.as_ref().map(|(host, _)| &**host)
    }

    /// What its document says, if it has one.
    #[must_use]
    pub fn document(&self) -> Option<DocumentHash> {
        self.document.as_ref().map(|(_, hash)| *hash)
    }

    /// Whether every code of it goes to the person's own machine, where anything could pass for it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.redirects.iter().all(|redirect| redirect.kind() == Kind::Loopback)
    }

    /// The keys that its assertions are checked with, if that is how it proves who it is.
    #[must_use]
    pub const fn keys(&self) -> Option<&ClientKeys> {
        self.keys.as_ref()
    }

    pub(crate) const fn secret(&self) -> Option<&SecretText> {
        self.secret.as_ref()
    }

    /// The redirect URI of an authorization request (OAuth 2.1 section 4.1.1). Only a client of the operator's with one redirect URI
    /// on the web may leave it out.
    ///
    /// # Errors
    /// [`Fault::Missing`] or [`Fault::RedirectUnregistered`].
    pub fn redirect(&self, presented: Option<&str>) -> Result<CheckedRedirect, Fault> {
        let Some(presented) = presented else {
            return match (self.known_by, self.redirects.as_slice()) {
                (KnownBy::Operator, [only]) => only.alone().ok_or(Fault::Missing("redirect_uri")),
                _ => Err(Fault::Missing("redirect_uri")),
            };
        };
        self.redirects.iter().find_map(|own| own.matches(presented)).ok_or(Fault::RedirectUnregistered)
    }
}

/// Whom a `client_id` names.
#[derive(Debug)]
pub enum Named {
    /// A client, of whom nothing is to be asked elsewhere.
    Client(Box<Client>),
    /// Whoever is described there.
    Document(DocumentUrl),
}

/// Whom this id names, by today's policy. Every endpoint asks here.
///
/// # Errors
/// [`Fault::ClientUnknown`], or [`Fault::ClientPolicy`] if what it registered can no longer be registered.
pub fn find(policy: &Policy, client_id: &str) -> Result<Named, Fault> {
    match lookup(policy, client_id) {
        Ok(client) => Ok(Named::Client(Box::new(client))),
        Err(Fault::ClientUnknown) => {
            DocumentUrl::parse(client_id, &policy.documents).map(Named::Document).ok_or(Fault::ClientUnknown)
        }
        Err(fault) => Err(fault),
    }
}

/// The client with this id, if nothing has to be asked elsewhere.
///
/// # Errors
/// As [`find`].
pub fn lookup(policy: &Policy, client_id: &str) -> Result<Client, Fault> {
    if let Some(client) = policy.clients.now().iter().find(|client| client.id == client_id) {
        return Ok(client.clone());
    }
    let ring = policy.ring.now();
    let signed = client_id::open(client_id, &ring).ok_or(Fault::ClientUnknown)?;
    let judged = signed.declared.redirects.iter().map(|uri| Redirect::register(uri, &policy.redirects));
    let redirects: Vec<Redirect> = judged.collect::<Result<_, _>>().map_err(|_| Fault::ClientPolicy)?;
    // Who could not register today is not known today: closing registration closes it for ids that were handed out before, too.
    let registration = &policy.registration;
    let trusted = || registration.known && redirects.iter().all(|redirect| policy.redirects.trusts(redirect));
    if !registration.open && registration.token.is_none() && !trusted() {
        return Err(Fault::ClientPolicy);
    }
    let secret = signed
        .declared
        .method
        .has_secret()
        .then(|| signed.derive(client_id, Derived::ClientSecret, &ring).ok_or(Fault::ClientUnknown))
        .transpose()?;
    Ok(Client {
        id: client_id.to_owned(),
        hash: ClientHash::of(client_id),
        name: signed.declared.name,
        redirects,
        method: signed.declared.method,
        secret,
        keys: signed.declared.keys,
        refreshes: signed.declared.refreshes,
        known_by: KnownBy::SelfDeclared,
        without_page: false,
        document: None,
    })
}

/// What a request to the token or revocation endpoint says about its client.
#[derive(Default, Clone)]
pub struct Presented<'a> {
    /// `Authorization: Basic`.
    pub basic: Option<&'a Credentials>,
    /// `client_id` in the body.
    pub id: Option<&'a str>,
    /// `client_secret` in the body.
    pub secret: Option<&'a str>,
    /// `client_assertion` in the body.
    pub assertion: Option<Assertion<'a>>,
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.secret.map(|_| "..");
        out.debug_struct("Presented")
            .field("basic", &self.basic)
            .field("id", &self.id)
            .field("secret", &secret)
            .field("assertion", &self.assertion)
            .finish()
    }
}

impl Presented<'_> {
    /// The client that the request speaks for; nothing if it names none.
    ///
    /// # Errors
    /// [`Fault::ClientAuthenticationTwice`] if two places name one or two secrets stand side by side, even if they agree: which of
    /// them counts would be a guess (RFC 6749 section 2.3).
    pub fn client_id(&self) -> Result<Option<&str>, Fault> {
        if let Some(assertion) = &self.assertion {
            if self.basic.is_some() || self.secret.is_some_and(|secret| !secret.is_empty()) {
                return Err(Fault::ClientAuthenticationTwice);
            }
            // Left out, it is whom the assertion is about (RFC 7521 section 4.2).
            return Ok(Some(self.id.unwrap_or(assertion.claimed())));
        }
        let Some(basic) = self.basic else { return Ok(self.id) };
        if self.secret.is_some() || self.id.is_some_and(|id| id != basic.id) {
            return Err(Fault::ClientAuthenticationTwice);
        }
        Ok(Some(&basic.id))
    }

    /// The secret that it brings. An empty one, which some libraries send for lack of another, claims nothing.
    fn sent(&self) -> Option<&str> {
        self.basic.map(|basic| basic.secret.expose()).or(self.secret).filter(|secret| !secret.is_empty())
    }
}

/// The client that a request speaks for, as far as it has to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaker {
    /// As grants, cuts and tokens remember it.
    pub client: ClientHash,
    /// Whether it has shown all that is asked of it today. Otherwise it says to be a client with a document that was not asked, and
    /// may only do what a public client may.
    pub authenticated: bool,
    /// Whether it has proven who it is.
    pub confidential: bool,
    /// Whether its grant types include `refresh_token`.
    pub refreshes: bool,
    /// What its document says, if it has one and was asked.
    pub document: Option<DocumentHash>,
}

impl Speaker {
    /// A client, if the request proves to come from it.
    ///
    /// # Errors
    /// Those of [`authenticate`].
    pub fn known(client: &Client, presented: &Presented<'_>) -> Result<Self, Fault> {
        authenticate(client, presented)?;
        Ok(Self::of(client))
    }

    /// A client whose assertion has been judged and used up.
    ///
    /// # Errors
    /// [`Fault::ClientAuthentication`] if it is another client's.
    pub fn asserted(client: &Client, proof: &Proof) -> Result<Self, Fault> {
        if proof.client() == client.hash() { Ok(Self::of(client)) } else { Err(Fault::ClientAuthentication) }
    }

    fn of(client: &Client) -> Self {
        Self {
            client: client.hash(),
            authenticated: true,
            confidential: client.method().is_confidential(),
            refreshes: client.refreshes(),
            document: client.document(),
        }
    }

    /// Whoever is described there, taken by its word.
    ///
    /// # Errors
    /// [`Fault::ClientAuthentication`] if it sends a secret: clients with documents have none.
    pub fn unasked(url: &DocumentUrl, presented: &Presented<'_>) -> Result<Self, Fault> {
        if presented.sent().is_some() || presented.assertion.is_some() {
            return Err(Fault::ClientAuthentication);
        }
        let client = ClientHash::of(url.as_str());
        Ok(Self { client, authenticated: false, confidential: false, refreshes: true, document: None })
    }
}

/// Whether a request proves to come from this client, by a secret or by having none. Assertions are judged elsewhere: a client that
/// proves itself by them cannot do it here, nor can one bring an assertion in place of its secret (T067).
///
/// A client with a secret may send it by Basic or in the body, whichever it registered: clients mix the two up, and they prove the
/// same. What is not interchangeable is a secret and none: a public client that sends one believes to be another, and is refused.
///
/// # Errors
/// [`Fault::ClientAuthentication`], or [`Fault::ClientAuthenticationTwice`].
pub fn authenticate(client: &Client, presented: &Presented<'_>) -> Result<(), Fault> {
    if presented.client_id()?.is_some_and(|id| id != client.id) {
        return Err(Fault::ClientAuthentication);
    }
    if client.method == AuthMethod::PrivateKeyJwt || presented.assertion.is_some() {
        return Err(Fault::ClientAuthentication);
    }
    let proven = match (client.secret(), presented.sent()) {
        (Some(own), Some(sent)) => own.same(sent),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if proven { Ok(()) } else { Err(Fault::ClientAuthentication) }
}

#[cfg(test)]
pub(crate) mod tests;
