//! The operator's clients.

use super::complaint;
use crate::config::{Client as ConfiguredClient, ClientId, Complaints};
use portcullis_domain::oauth::client::{Client, Configured};
use portcullis_domain::oauth::client_keys::ClientKeys;
use portcullis_domain::oauth::redirect::RedirectPolicy;

/// The clients that the configuration names.
pub(super) fn operators_clients(
    clients: Vec<ConfiguredClient>,
    trusted: &[ClientId],
    redirects: &RedirectPolicy,
) -> Result<Vec<Client>, Complaints> {
    let trusted = |id: &str| trusted.iter().any(|trusted| trusted.as_str() == id);
    let judged = clients.into_iter().enumerate();
    judged.map(|(place, configured)| client(place, configured, &trusted, redirects)).collect()
}

fn client(
    place: usize,
    configured: ConfiguredClient,
    trusted: &impl Fn(&str) -> bool,
    redirects: &RedirectPolicy,
) -> Result<Client, Complaints> {
    let ConfiguredClient {
        client_id,
        client_secret,
        jwks,
        jwks_uri,
        name,
        redirect_uris,
        token_endpoint_auth_method: _judged,
    } = configured;
    let configured = Configured {
        without_page: trusted(client_id.as_str()),
        id: client_id.as_str().to_owned(),
        name: name.as_str().to_owned(),
        redirects: redirect_uris.iter().map(|uri| uri.as_str().to_owned()).collect(),
        secret: client_secret,
        keys: jwks.map(|jwks| ClientKeys::Set(jwks.0)).or(jwks_uri.map(|url| ClientKeys::At(url.0))),
    };
    Client::configured(configured, redirects).map_err(|fault| {
        complaint(
            &format!("clients[{place}]"),
            &fault.wire().text(),
            "write what docs/configuration.md says of clients",
        )
    })
}
