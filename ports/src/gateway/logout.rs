//! The provider says that somebody has logged out: OpenID Connect Back-Channel Logout 1.0.

use super::Gateway;
use crate::{Clock, IdentityProvider, World, ask, transact};
use portcullis_domain::journal::{Event, Happened};
use portcullis_domain::limits::JWT_MAX;
use portcullis_domain::oauth::fault::Fault;
use portcullis_domain::oauth::logout::{First, Remember};
use portcullis_domain::oauth::sever::Sever;
use portcullis_domain::oidc::logout_token::{self, Logout, Refused};
use portcullis_domain::wire::form::Form;
use std::net::IpAddr;

impl<W: World> Gateway<W> {
    /// Ends the sessions that came out of the provider's session that is over, or all of a person.
    ///
    /// # Errors
    /// [`Fault::LogoutToken`] with the rule that the token breaks; what keeps it from being judged, or from being done.
    pub async fn logout(&self, form: &Form<'_>, address: Option<IpAddr>) -> Result<(), Fault> {
        let judged = self.judge_logout(form).await;
        let logout = judged.inspect_err(|fault| {
            let event = Event::new(Happened::ProviderLogoutRefused).from(address).under(*fault);
            self.note(self.world.clock().now(), event);
        })?;
        let Logout { scope, mark, until } = logout;
        let event = Event::new(Happened::ProviderLogout).within(scope).from(address);
        transact(&self.world, Sever { scope, keep_out: false, event }).await?;
        transact(&self.world, Remember { mark, until }).await
    }

    async fn judge_logout(&self, form: &Form<'_>) -> Result<Logout, Fault> {
        let token = form.one("logout_token").map_err(|_| Fault::Repeated)?;
        let token = token.filter(|token| !token.is_empty()).ok_or(Fault::Missing("logout_token"))?;
        if token.len() > JWT_MAX {
            return Err(Fault::TooLong("logout_token"));
        }
        let (provider, port) = (self.provider()?, self.world.provider());
        let client_id = &self.relying_party.credentials.client_id;
        let keys = port.keys().await.map_err(|_| Fault::ProviderUnavailable)?;
        let now = self.world.clock().now();
        let base_url = &self.policy.base_url;
        let judge = |keys: &_| logout_token::judge(token, keys, &provider, client_id, base_url, now);
        let logout = match judge(&keys) {
            Err(Refused::UnknownKey) => {
                let newer = port.newer_keys(&keys).await.map_err(|_| Fault::ProviderUnavailable)?;
                judge(&newer)?
            }
            judged => judged?,
        };
        ask(&*self.world, &First(logout.mark)).await?;
        Ok(logout)
    }
}
