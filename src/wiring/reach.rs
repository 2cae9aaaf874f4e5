//! What reaches out: to the identity provider, which the configuration names, and to wherever strangers say.

use super::complaint;
use crate::config::{CaFile, Client, Complaints, Resource, UpstreamUrl};
use portcullis_adapters::fetch::{Fetch, FetchConfig, Misconfigured};
use portcullis_adapters::oidc::{Oidc, Pace, named_host};
use portcullis_domain::oauth::client_document::DocumentPolicy;
use portcullis_domain::oidc::discovery::Provider;
use portcullis_domain::oidc::issuer::Issuer;
use portcullis_domain::wire::uri::Uri;
use std::net::{IpAddr, SocketAddr};

/// The hosts at which this gate and what it protects are reached, and the addresses that its listeners are bound to: strangers must
/// not make the gate call them.
pub(super) fn own_places(
    base_url: &str,
    listen: [Option<SocketAddr>; 2],
    resources: &[Resource],
) -> (Vec<String>, Vec<IpAddr>) {
    let base = Uri::parse(base_url).ok().and_then(|uri| uri.host_text().map(str::to_owned));
    let upstreams = resources.iter().flat_map(|resource| &resource.upstreams).filter_map(UpstreamUrl::host_and_port);
    let hosts = base.into_iter().chain(upstreams.map(|(host, _)| host.to_owned()));
    let listen = listen.into_iter().flatten().map(|listener| listener.ip());
    (hosts.collect(), listen.filter(|address| !address.is_unspecified()).collect())
}

/// What calls where strangers say: public addresses that are not the gate's own, and none that the configuration names for others.
pub(super) fn strangers(
    documents: &DocumentPolicy,
    (own_hosts, own_addresses): (Vec<String>, Vec<IpAddr>),
    roots: &[CaFile],
) -> Result<Fetch, Complaints> {
    let loopback = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
    let fetch = FetchConfig {
        extra_roots: roots.iter().map(|file| file.pem.clone().into_bytes()).collect(),
        named_hosts: if documents.danger_loopback { loopback.to_vec() } else { Vec::new() },
        own_hosts,
        own_addresses,
    };
    Fetch::new(fetch).map_err(unusable_roots)
}

/// What calls where the configuration says that clients' keys are.
pub(super) fn for_client_keys<'c>(
    clients: impl Iterator<Item = &'c Client>,
    roots: &[CaFile],
) -> Result<Fetch, Complaints> {
    let urls = clients.filter_map(|client| client.jwks_uri.as_ref());
    let fetch = FetchConfig {
        extra_roots: roots.iter().map(|file| file.pem.clone().into_bytes()).collect(),
        named_hosts: urls.filter_map(|url| named_host(url.as_str())).collect(),
        ..FetchConfig::default()
    };
    Fetch::new(fetch).map_err(unusable_roots)
}

fn unusable_roots(bad: Misconfigured) -> Complaints {
    complaint("caFiles", &bad.to_string(), "name files that hold PEM certificates")
}

/// The provider of this issuer.
pub(super) fn identity_provider(
    issuer: &Issuer,
    known: Option<Provider>,
    roots: impl Iterator<Item = String>,
) -> Result<Oidc, Complaints> {
    let api = known.as_ref().and_then(|known| known.api.as_ref());
    let fetch = FetchConfig {
        extra_roots: roots.map(String::into_bytes).collect(),
        // The operator has named these hosts, so they may be private ones.
        named_hosts: named_host(issuer.home()).into_iter().chain(api.and_then(|api| named_host(&api.url))).collect(),
        ..FetchConfig::default()
    };
    let fetch = Fetch::new(fetch).map_err(unusable_roots)?;
    Ok(match known {
        Some(known) => Oidc::known(known, fetch, Pace::default()),
        None => Oidc::new(issuer.clone(), fetch, Pace::default()),
    })
}
