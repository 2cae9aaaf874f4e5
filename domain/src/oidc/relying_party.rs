//! This gateway as a client of the identity provider: OpenID Connect Core section 3.1.2.

use super::discovery::Provider;
use super::entry::Entry;
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
    /// Scopes that are asked for beside these, such as Dex's for further audiences.
    pub further_scopes: Vec<String>,
    /// Parameters of the authorization request beside the profile's, such as Dex's `connector_id`.
    pub parameters: Vec<(&'static str, String)>,
    /// Under which claim the provider lists a person's groups.
    pub groups_claim: String,
    /// Whether ID tokens are kept, because something behind the gate is shown them.
    pub keeps_id_token: bool,
    /// Whom the operator lets in.
    pub entry: Entry,
}

impl RelyingParty {
    /// A client there that asks for what is usual with this provider, and lets everybody in.
    #[must_use]
    pub fn new(credentials: Credentials, profile: Profile) -> Self {
        Self {
            credentials,
            profile,
            scopes: None,
            further_scopes: Vec::new(),
            parameters: Vec::new(),
            groups_claim: "groups".to_owned(),
            keeps_id_token: false,
            entry: Entry::default(),
        }
    }

    /// Where the browser is sent for this login, to come back to `redirect_uri`.
    #[must_use]
    pub fn authorization_url(&self, provider: &Provider, redirect_uri: &str, login: &Login, wishes: &Wishes) -> String {
        let (state, nonce) = (login.state(), login.nonce());
        let request = request::Login {
            client_id: &self.credentials.client_id,
            redirect_uri,
            scope: &self.profile.scope(self.scopes.as_deref(), &self.further_scopes, provider),
            state: state.expose(),
            nonce: nonce.expose(),
            code_challenge: &login.challenge(),
            wishes,
            further: &self.parameters,
        };
        request::authorization_url(provider, &self.profile, &request)
    }
}
