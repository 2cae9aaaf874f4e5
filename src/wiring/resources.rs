//! What is protected: each resource of the configuration, who serves it, and what may be asked of it.

use super::complaint;
use crate::config::{
    CaFile, CertificateFile, Complaints, KeyFile, Origin, PerPerson, Resource as ConfiguredResource, UpstreamUrl,
};
use portcullis_adapters::gate::{Allowance, AllowedOrigins, Behind, Embedded};
use portcullis_adapters::http::{BadUpstream, Upstream};
use portcullis_adapters::system::PersonLimiter;
use portcullis_adapters::tls::{self, BadTls, ClientConfig, OwnCertificate};
use portcullis_domain::bucket::Rate;
use portcullis_domain::oauth::resource::{Resource, ResourceScope};
use std::sync::Arc;
use std::time::Duration;

/// The resource, who serves it, and whose pages may call it.
pub(super) fn resource(
    place: usize,
    configured: ConfiguredResource,
    here: Option<Embedded>,
    base_url: &str,
    common: Option<&[Origin]>,
    ca_files: &[CaFile],
) -> Result<(Resource, Behind, AllowedOrigins), Complaints> {
    let ConfiguredResource {
        name,
        paths,
        subtree,
        upstreams,
        upstream_ca_file,
        upstream_cert_file,
        upstream_key_file,
        upstream_connections,
        per_person: _,
        request_bytes: _,
        scopes,
        identity: _,
        assertion: _,
        exchange: _,
        forward_auth: _,
        allowed_origins,
    } = configured;
    let tls = upstream_tls(&upstreams, ca_files.iter().chain(&upstream_ca_file), upstream_cert_file, upstream_key_file)
        .map_err(|bad| {
            let files = "look at caFiles, upstreamCaFile, upstreamCertFile and upstreamKeyFile";
            complaint(&format!("resources[{place}]"), &format!("names files that {}", bad.words()), files)
        })?;
    let at = |key: &str| format!("resources[{place}]{key}");
    let paths: Vec<String> = paths.iter().map(|path| path.as_str().to_owned()).collect();
    // One exact path is the upstream's own; below one path, and for several, what follows is appended to it.
    let mount = match (paths.as_slice(), subtree) {
        ([_], false) => None,
        ([only], true) => Some(only.clone()),
        _ => Some("/".to_owned()),
    };
    let scopes = scopes
        .into_iter()
        .map(|scope| ResourceScope {
            name: scope.name.as_str().to_owned(),
            description: scope.description.map(|description| description.as_str().to_owned()),
        })
        .collect();
    let resource = Resource::new(base_url, paths, subtree, scopes, name.map(|name| name.as_str().to_owned()))
        .map_err(|refused| complaint(&at(""), &format!("{refused:?}"), "write plain paths, as /mcp"))?;
    let origins: Option<Vec<String>> = allowed_origins
        .as_deref()
        .or(common)
        .map(|origins| origins.iter().map(|origin| origin.as_str().to_owned()).collect());
    let origins = AllowedOrigins::of(base_url, origins.as_deref());
    if let Some(here) = here {
        return Ok((resource, Behind::Here(here), origins));
    }
    let addresses = upstreams.iter().map(UpstreamUrl::as_str);
    let upstream = Upstream::at(addresses, mount.as_deref(), tls)
        .map_err(|bad| match bad {
            BadUpstream::Mixed => complaint(
                &at(".upstreams"),
                "has addresses that differ in their path, or in whether they speak TLS",
                "write addresses of one and the same server",
            ),
            bad => complaint(&at(".upstream"), &format!("{bad:?}"), "write a URL without a query"),
        })?
        .with_connections_max(usize::try_from(upstream_connections).unwrap_or(usize::MAX));
    Ok((resource, Behind::Server(Arc::new(upstream)), origins))
}

/// What may be asked of a resource: what it says itself, or what is said of all.
pub(super) fn allowance(configured: &ConfiguredResource, common: &PerPerson) -> Allowance {
    let PerPerson { requests_per_second, request_burst } = configured.per_person.as_ref().unwrap_or(common);
    let rate = Rate::new(*requests_per_second, Duration::from_secs(1), *request_burst);
    Allowance { people: PersonLimiter::new(rate), body_max: configured.request_bytes.into() }
}

/// How an upstream over TLS is spoken to; nothing if it speaks none.
fn upstream_tls<'a>(
    upstreams: &[UpstreamUrl],
    roots: impl Iterator<Item = &'a CaFile>,
    certificate: Option<CertificateFile>,
    key: Option<KeyFile>,
) -> Result<Option<Arc<ClientConfig>>, BadTls> {
    if !upstreams.iter().any(UpstreamUrl::is_https) {
        return Ok(None);
    }
    let own = certificate.as_ref().zip(key.as_ref());
    let own = own.map(|(CertificateFile(chain), key)| OwnCertificate {
        chain: chain.pem.as_bytes(),
        key: key.pem.expose().as_bytes(),
    });
    tls::client(roots.map(|file| file.pem.as_bytes()), own).map(Arc::new).map(Some)
}
