//! The use cases, as prose: here what the endpoints for clients do, in `login` what a person is led through.

mod account;
mod broker;
mod login;
mod logout;
mod operator;
mod protected;
mod revocation;
mod shares;
mod speaker;
mod strangers;
mod tell;
mod upstream;

use crate::{Clock, Entropy, IdentityProvider, Journal, World, transact};
use portcullis_domain::fresh::Fresh;
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::key::ClientHash;
use portcullis_domain::oauth::client::Presented;
use portcullis_domain::oauth::consent::CookieNames;
use portcullis_domain::oauth::exchange::{Exchange, Tokens};
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::pkce::Verifier;
use portcullis_domain::oauth::policy::Policy;
use portcullis_domain::oauth::redirect::RedirectHash;
use portcullis_domain::oauth::refresh::Refresh;
use portcullis_domain::oauth::register::{self, Registered};
use portcullis_domain::oauth::resource::ResourceHash;
use portcullis_domain::oauth::revoke::{Revocable, Revoke};
use portcullis_domain::oauth::scope::Scopes;
use portcullis_domain::oauth::token::{Code, RefreshToken};
use portcullis_domain::oidc::discovery::Provider;
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::form::Form;
use std::net::IpAddr;
use std::sync::Arc;

use crate::once::Once;
pub use broker::Brokered;
pub use login::{Authorized, Caller, ConsentPage, Consented, Onward, Returned, SetCookie, Welcome};
pub use operator::{Held, Page, SessionRefreshed};
pub use protected::Bearer;

/// The gateway: everything that anybody can ask of it.
pub struct Gateway<W: World> {
    world: Arc<W>,
    policy: Arc<Policy>,
    relying_party: Arc<RelyingParty>,
    cookies: CookieNames,
    returned: Once,
}

impl<W: World> Gateway<W> {
    /// The gateway of this world, under the operator's policy, as this relying party of the identity provider.
    #[must_use]
    pub fn new(world: Arc<W>, policy: Arc<Policy>, relying_party: RelyingParty) -> Self {
        let cookies = CookieNames::of(&policy.base_url);
        let relying_party = Arc::new(relying_party);
        Self { world, policy, relying_party, cookies, returned: Once::default() }
    }

    /// The world.
    pub fn world(&self) -> &Arc<W> {
        &self.world
    }

    /// The operator's decisions.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What the cookies are called.
    pub const fn cookies(&self) -> CookieNames {
        self.cookies
    }

    /// Registers a client: RFC 7591. Nothing is stored.
    ///
    /// # Errors
    /// Whatever rule refuses it.
    pub fn register(&self, body: &[u8], bearer: Option<&str>, address: Option<IpAddr>) -> Result<Registered, Fault> {
        let (now, fresh) = self.fresh()?;
        let registered = register::register(body, bearer, &self.policy, now, &fresh);
        self.note(
            now,
            match &registered {
                Ok(registered) => {
                    Event::new(Happened::ClientRegistered).by(ClientHash::of(registered.client().id())).from(address)
                }
                Err(fault) => Event::new(Happened::RegistrationRefused).from(address).under(*fault),
            },
        );
        registered
    }

    /// The token endpoint: RFC 6749 sections 4.1.3 and 6.
    ///
    /// # Errors
    /// Whatever rule refuses it.
    pub async fn token(
        &self,
        form: &Form<'_>,
        presented: Presented<'_>,
        address: Option<IpAddr>,
    ) -> Result<Tokens, Fault> {
        if form.repeated_except(&["resource"]).is_some() {
            return Err(Fault::Repeated);
        }
        let only = |name: &'static str| form.one(name).map_err(|_| Fault::Repeated);
        let required = |name: &'static str| only(name)?.ok_or(Fault::Missing(name));
        match required("grant_type")? {
            "authorization_code" => {
                // What a document says now is compared with what it said when the person approved it.
                let speaker = self.speaker(&presented, true, address).await?;
                let exchange = Exchange {
                    code: Code::parse(required("code")?)?,
                    client: speaker.client,
                    document: speaker.document,
                    redirect: only("redirect_uri")?.map(RedirectHash::of),
                    verifier: Verifier::parse(required("code_verifier")?)?,
                    resource: self.named_resource(form)?,
                    refreshes: speaker.refreshes,
                    policy: Arc::clone(&self.policy),
                    address,
                };
                transact(&self.world, exchange).await
            }
            "refresh_token" => {
                let speaker = self.speaker(&presented, false, address).await?;
                let refresh = Refresh {
                    token: RefreshToken::parse(required("refresh_token")?)?,
                    client: speaker.client,
                    authenticated: speaker.authenticated,
                    scopes: only("scope")?.map(Scopes::parse).transpose()?,
                    resource: self.named_resource(form)?,
                    provider_asked: false,
                    policy: Arc::clone(&self.policy),
                    address,
                };
                self.refreshed(refresh).await
            }
            _ => Err(Fault::GrantType),
        }
    }

    /// Revokes a token with everything that came out of its grant: RFC 7009.
    ///
    /// # Errors
    /// Whatever rule refuses it; a token that is none is no error.
    pub async fn revoke(
        &self,
        form: &Form<'_>,
        presented: Presented<'_>,
        address: Option<IpAddr>,
    ) -> Result<(), Fault> {
        if form.repeated_except(&[]).is_some() {
            return Err(Fault::Repeated);
        }
        let token = form.one("token").ok().flatten().ok_or(Fault::Missing("token"))?;
        let speaker = match presented.client_id()? {
            Some(_) => Some(self.speaker(&presented, false, address).await?),
            None => None,
        };
        let Some(token) = Revocable::parse(&self.policy.ring.now(), token) else { return Ok(()) };
        let authenticated = speaker.is_some_and(|speaker| speaker.authenticated);
        let client = speaker.map(|speaker| speaker.client);
        transact(&self.world, Revoke { token, client, authenticated, address }).await
    }

    /// `resource` at the token endpoint, if it is there.
    fn named_resource(&self, form: &Form<'_>) -> Result<Option<ResourceHash>, Fault> {
        let mut named = form.all("resource").filter(|value| !value.is_empty()).peekable();
        match named.peek() {
            Some(_) => self.policy.resources.choose(named).map(|resource| Some(resource.hash())),
            None => Ok(None),
        }
    }

    fn provider(&self) -> Result<Arc<Provider>, Fault> {
        self.world.provider().discovered().ok_or(Fault::ProviderUnavailable)
    }

    fn redirect_uri(&self) -> String {
        format!("{}/oauth/callback", self.policy.base_url)
    }

    fn fresh(&self) -> Result<(Timestamp, Fresh), Fault> {
        let drawn = self.world.entropy().draw().map_err(|_| Fault::Internal("no randomness to be had"))?;
        Ok((self.world.clock().now(), Fresh::new(&drawn, 0)))
    }

    fn note(&self, at: Timestamp, event: Event) {
        self.world.journal().note(at, &event);
    }
}
