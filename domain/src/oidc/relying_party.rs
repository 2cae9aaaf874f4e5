//! This gateway as a client of the identity provider: OpenID Connect Core section 3.1.2.

use super::discovery::Provider;
use super::profile::Profile;
use super::request::{self, Credentials, Wishes};
use crate::oauth::flow::Login;

/// Who we are to the identity provider, and what we ask of it.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    /// Our id and secret there.
    pub credentials: Credentials,
    /// The provider's peculiarities.
    pub profile: Profile,
    /// The scopes that the operator wants asked for; the profile's where nothing is configured.
    pub scopes: Option<Vec<String>>,
}

impl RelyingParty {
    /// Where the browser is sent for this login, to come back to `redirect_uri`.
    #[must_use]
    pub fn authorization_url(&self, provider: &Provider, redirect_uri: &str, login: &Login, wishes: &Wishes) -> String {
        let (state, nonce) = (login.state(), login.nonce());
        let request = request::Login {
            client_id: &self.credentials.client_id,
            redirect_uri,
            scope: &self.profile.scope(self.scopes.as_deref(), provider),
            state: state.expose(),
            nonce: nonce.expose(),
            code_challenge: &login.challenge(),
            wishes,
        };
        request::authorization_url(provider, &self.profile, &request)
    }
}
