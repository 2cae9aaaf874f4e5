//! What reaches out: to the identity provider, which the configuration names, and to wherever strangers say.

use super::complaint;
use crate::config::{CaFile, Complaints, Oidc as ConfiguredOidc, Resource, UpstreamUrl};
use portcullis_adapters::fetch::{Fetch, FetchConfig, Misconfigured};
use portcullis_adapters::oidc::{Oidc, Pace, named_host};
use portcullis_domain::oauth::client_document::DocumentPolicy;
use portcullis_domain::oidc::profile;
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::oidc::request::Credentials;
use portcullis_domain::wire::uri::Uri;
use std::net::{IpAddr, SocketAddr};

/// The hosts at which this gate and what it protects are reached, and the addresses that its listeners are bound to: strangers must
/// not make the gate call them.
pub(super) fn own_places(
    base_url: &str,
    listen: [SocketAddr; 2],
    resources: &[Resource],
) -> (Vec<String>, Vec<IpAddr>) {
    let base = Uri::parse(base_url).ok().and_then(|uri| uri.host_text().map(str::to_owned));
    let upstreams = resources.iter().flat_map(|resource| &resource.upstreams).filter_map(UpstreamUrl::host_and_port);
    let hosts = base.into_iter().chain(upstreams.map(|(host, _)| host.to_owned()));
    (hosts.collect(), listen.iter().map(SocketAddr::ip).filter(|address| !address.is_unspecified()).collect())
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

fn unusable_roots(bad: Misconfigured) -> Complaints {
    complaint("caFiles", &format!("{bad:?}"), "name files that hold PEM certificates")
}

/// The identity provider, and what the gate is to it.
pub(super) fn identity_provider(
    configured: ConfiguredOidc,
    roots: impl Iterator<Item = String>,
) -> Result<(Oidc, RelyingParty), Complaints> {
    let ConfiguredOidc { issuer_url, client_id, client_secret, scopes, ca_file } = configured;
    let issuer = issuer_url.as_str();
    let fetch = FetchConfig {
        extra_roots: roots.chain(ca_file.map(|file| file.pem)).map(String::into_bytes).collect(),
        // The operator has named this host, so it may be a private one.
        named_hosts: named_host(issuer).into_iter().collect(),
        ..FetchConfig::default()
    };
    let fetch = Fetch::new(fetch).map_err(unusable_roots)?;
    let relying_party = RelyingParty {
        credentials: Credentials { client_id: client_id.as_str().to_owned(), client_secret },
        profile: profile::GENERIC,
        scopes: Some(scopes.iter().map(|scope| scope.as_str().to_owned()).collect()),
    };
    Ok((Oidc::new(issuer.to_owned(), fetch, Pace::default()), relying_party))
}
