//! One operator's decisions, a few clients and people, and the requests that they make.

use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::{ClientHash, CutScope, GrantId, Key, Person};
use portcullis_domain::limits::{FLOW_LIFE, REFRESH_GRACE_MAX};
use portcullis_domain::oauth::admit::{Admit, Wish};
use portcullis_domain::oauth::callback::Callback;
use portcullis_domain::oauth::client_document::DocumentPolicy;
use portcullis_domain::oauth::exchange::Exchange;
use portcullis_domain::oauth::flow::Flow;
use portcullis_domain::oauth::grant::Lifetimes;
use portcullis_domain::oauth::identity::Claims;
use portcullis_domain::oauth::pkce::{Challenge, Verifier};
use portcullis_domain::oauth::policy::{Policy, RegistrationPolicy};
use portcullis_domain::oauth::redirect::{RedirectHash, RedirectPolicy};
use portcullis_domain::oauth::refresh::Refresh;
use portcullis_domain::oauth::resource::{Resource, ResourceHash, ResourceScope, Resources};
use portcullis_domain::oauth::revoke::{Revocable, Revoke};
use portcullis_domain::oauth::scope::Scopes;
use portcullis_domain::oauth::sever::Sever;
use portcullis_domain::oauth::token::{AccessToken, Code, RefreshToken};
use portcullis_domain::record::Sealer;
use portcullis_domain::seal::{CurrentRing, KeyRing, MasterKey};
use portcullis_domain::secret::Secret;
use portcullis_domain::time::Timestamp;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The gateway.
pub(crate) const BASE_URL: &str = "https://gate.example";
/// The identity provider.
pub(crate) const ISSUER: &str = "https://idp.example";
const RESOURCE: &str = "https://gate.example/mcp";
const REDIRECT: &str = "http://127.0.0.1/callback";

static RING: LazyLock<Arc<CurrentRing>> = LazyLock::new(|| {
    let mut bytes = [0; 32];
    for (byte, value) in bytes.iter_mut().zip(1..) {
        *byte = value;
    }
    let master = MasterKey { secret: Secret::new(bytes), seals_from: Timestamp::EPOCH, client_ids_only: false };
    CurrentRing::of(KeyRing::new(&[master], BASE_URL, Timestamp::EPOCH).expect("32 distinct bytes are a key"))
});

/// Master keys, expanded once for all runs.
pub(crate) fn ring() -> Arc<CurrentRing> {
    Arc::clone(&RING)
}

/// What a store outside the process seals records with.
pub(crate) fn sealer() -> Sealer {
    Sealer::new(ring())
}

/// The operator's decisions, with this grace.
pub(crate) fn policy(grace: Duration) -> Arc<Policy> {
    policy_of(Lifetimes { grace, ..Lifetimes::default() })
}

/// Those of an operator whose access tokens end with the provider's own, and who is patient with clients.
pub(crate) fn bound_policy() -> Arc<Policy> {
    policy_of(Lifetimes { grace: REFRESH_GRACE_MAX, bound: true, ..Lifetimes::default() })
}

/// The same, before a server that is shown the person's ID token.
pub(crate) fn showing_policy() -> Arc<Policy> {
    let lifetimes = Lifetimes { grace: REFRESH_GRACE_MAX, bound: true, ..Lifetimes::default() };
    policy_before(plain_resource().wanting_id_tokens(), lifetimes)
}

fn policy_of(lifetimes: Lifetimes) -> Arc<Policy> {
    policy_before(plain_resource(), lifetimes)
}

fn plain_resource() -> Resource {
    let scopes = vec![ResourceScope { name: "mcp".to_owned(), description: None }];
    Resource::new(BASE_URL, vec!["/mcp".to_owned()], false, scopes, None).expect("a plain resource")
}

fn policy_before(resource: Resource, lifetimes: Lifetimes) -> Arc<Policy> {
    Arc::new(Policy {
        base_url: BASE_URL.to_owned(),
        ring: ring(),
        lifetimes,
        redirects: RedirectPolicy::default(),
        registration: RegistrationPolicy::default(),
        documents: DocumentPolicy::default(),
        clients: Vec::new().into(),
        resources: Resources::new(vec![resource]).expect("one resource"),
        introspectors: Vec::new(),
        trusted: Default::default(),
        broker: Default::default(),
    })
}

/// One login of one person by one client, and everything that this client knows.
#[derive(Clone)]
pub(crate) struct Party {
    policy: Arc<Policy>,
    subject: String,
    /// The client.
    pub(crate) client: ClientHash,
    flow: [u8; 16],
    verifier: String,
    challenge: Challenge,
}

impl Party {
    /// The n-th person with the n-th client; `login` is another number for every login.
    pub(crate) fn new(policy: &Arc<Policy>, person: u64, client: u64, login: u64) -> Self {
        let verifier = format!("verifier-{login:0>40}");
        // The one SHA-256 that is at hand here.
        let challenge = ClientHash::of(&verifier).0;
        let mut flow = [0xf1; 16];
        flow[..8].copy_from_slice(&login.to_be_bytes());
        Self {
            policy: Arc::clone(policy),
            subject: format!("person {person}"),
            client: client_hash(client),
            flow,
            verifier,
            challenge: Challenge(challenge),
        }
    }

    /// The person.
    pub(crate) fn person(&self) -> Person {
        Person::of(BASE_URL, ISSUER, &self.subject)
    }

    /// What the provider calls the person.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// The grant that this login makes.
    pub(crate) fn id(&self) -> GrantId {
        GrantId { person: self.person(), login: self.flow_at(Timestamp::FAR).login() }
    }

    /// The grant's record.
    pub(crate) fn key(&self) -> Key {
        Key::Grant(self.id())
    }

    fn flow_at(&self, expires: Timestamp) -> Flow {
        Flow {
            id: self.flow,
            client: self.client,
            client_name: "Client".to_owned(),
            confidential: false,
            redirect: REDIRECT.to_owned(),
            state: None,
            scopes: scopes(),
            resource: resource(),
            challenge: self.challenge,
            document: None,
            expires,
        }
    }

    /// The person comes back from the identity provider.
    pub(crate) fn callback(&self, now: Timestamp) -> Callback {
        let claims = Claims { issuer: ISSUER.to_owned(), subject: self.subject.clone(), ..Claims::default() };
        let (policy, flow) = (Arc::clone(&self.policy), self.flow_at(now.plus(FLOW_LIFE)));
        let brought = portcullis_domain::oauth::upstream::Brought::default();
        Callback { policy, flow, claims, provider_session: None, brought, address: None, surplus: None }
    }

    /// The client redeems its code; or somebody else does, with something wrong.
    pub(crate) fn exchange(&self, code: &str, wrong: Option<Wrong>) -> Exchange {
        let client = if wrong == Some(Wrong::Client) { client_hash(u64::MAX) } else { self.client };
        let redirect = if wrong == Some(Wrong::Redirect) { "http://127.0.0.1/other" } else { REDIRECT };
        let verifier = if wrong == Some(Wrong::Verifier) { "w".repeat(43) } else { self.verifier.clone() };
        Exchange {
            policy: Arc::clone(&self.policy),
            code: Code::parse(code).expect("a code of ours"),
            client,
            document: None,
            redirect: Some(RedirectHash::of(redirect)),
            verifier: Verifier::parse(&verifier).expect("long enough"),
            resource: Some(if wrong == Some(Wrong::Resource) { ResourceHash([0; 16]) } else { resource() }),
            refreshes: true,
            address: None,
        }
    }

    /// The client refreshes; or another client tries to, with a token that is not its own.
    pub(crate) fn refresh(&self, token: &str, wrong: bool) -> Refresh {
        Refresh {
            policy: Arc::clone(&self.policy),
            token: RefreshToken::parse(token).expect("a refresh token of ours"),
            client: if wrong { client_hash(u64::MAX) } else { self.client },
            authenticated: true,
            scopes: None,
            resource: None,
            provider_asked: false,
            address: None,
        }
    }

    /// The client revokes its session; or another client tries to.
    pub(crate) fn revoke(&self, token: &str, wrong: bool) -> Revoke {
        let client = if wrong { client_hash(u64::MAX) } else { self.client };
        let token = Revocable::parse(&RING.now(), token).expect("a token of ours");
        Revoke { token, client: Some(client), authenticated: true, address: None }
    }
}

/// What may be wrong about an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Another client.
    Client,
    /// Another redirect URI.
    Redirect,
    /// Another verifier.
    Verifier,
    /// Another resource.
    Resource,
}

impl Wrong {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Client, Self::Redirect, Self::Verifier, Self::Resource];
}

/// A request to the protected resource.
pub(crate) fn admit<'a>(access: &str, scopes: &'a Scopes) -> Admit<'a> {
    let token = AccessToken::open(&RING.now(), access).expect("an access token of ours");
    let wish = Wish::Enter { resource: resource(), scopes };
    Admit { token: Arc::new(token), wish, identity: true }
}

/// The generation of a refresh token.
pub(crate) fn generation(token: &str) -> u32 {
    RefreshToken::parse(token).expect("a refresh token of ours").generation
}

/// What every grant here allows.
pub(crate) fn scopes() -> Scopes {
    Scopes::of(["mcp"])
}

fn resource() -> ResourceHash {
    ResourceHash::of(RESOURCE)
}

fn client_hash(client: u64) -> ClientHash {
    ClientHash::of(&format!("client {client}"))
}

/// The operator ends everything of a person.
pub(crate) fn cut(person: Person) -> Sever {
    let event = Event::new(Happened::OperatorCut);
    Sever { scope: CutScope::Person(person), keep_out: false, event }
}
