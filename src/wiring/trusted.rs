//! Whose tokens are taken beside our own, and where their keys are.

use super::complaint;
use crate::config::{CaFile, ClientId, Complaints, TokenExchangeBroker, TrustedIssuer as ConfiguredIssuer};
use portcullis_adapters::fetch::{Fetch, FetchConfig};
use portcullis_adapters::oidc::{Issuers, Pace, named_host};
use portcullis_domain::key::ClientHash;
use portcullis_domain::oauth::broker::Broker;
use portcullis_domain::oauth::scope::Scopes;
use portcullis_domain::oauth::stranger::{Pattern, Trusted, TrustedIssuer};

/// The rules, and the keys in the same order. `own` is the gate's client identifier at the identity provider.
pub(super) fn trusted(
    audiences: &[ClientId],
    issuers: Vec<ConfiguredIssuer>,
    own: &str,
    ca_files: &[CaFile],
) -> Result<(Trusted, Issuers), Complaints> {
    if let Some(place) = audiences.iter().position(|audience| audience.as_str() == own) {
        // What a protected server is shown of a person must not open another one.
        return Err(complaint(
            &format!("trustedAudiences[{place}]"),
            "is the gate's own client, whose ID tokens the protected servers may hold",
            "name other clients of the identity provider",
        ));
    }
    let mut trusted =
        Trusted { audiences: audiences.iter().map(|it| it.as_str().to_owned()).collect(), issuers: Vec::new() };
    let mut keys = Issuers::new();
    for (place, configured) in issuers.into_iter().enumerate() {
        let ConfiguredIssuer {
            issuer,
            jwks_url,
            allowed_audiences,
            allowed_scopes,
            allowed_claims,
            subject_claim,
            accepted_typ_headers,
            ca_file,
        } = configured;
        let url = jwks_url.as_str().to_owned();
        let fetch = Fetch::new(FetchConfig {
            extra_roots: ca_files.iter().chain(&ca_file).map(|file| file.pem.clone().into_bytes()).collect(),
            // The operator has named this host, so it may be a private one.
            named_hosts: named_host(&url).into_iter().collect(),
            ..FetchConfig::default()
        });
        let fetch = fetch.map_err(|bad| {
            let at = format!("trustedIssuers[{place}].caFile");
            complaint(&at, &bad.to_string(), "name a file that holds PEM certificates")
        })?;
        keys = keys.with(url, fetch, Pace::default());
        let patterns = |texts: Vec<String>| texts.into_iter().map(Pattern).collect();
        trusted.issuers.push(TrustedIssuer {
            issuer: issuer.as_str().to_owned(),
            audiences: allowed_audiences.iter().map(|it| it.as_str().to_owned()).collect(),
            scopes: Scopes::of(allowed_scopes.iter().map(|scope| scope.as_str())),
            claims: allowed_claims.0.into_iter().map(|(name, texts)| (name, patterns(texts))).collect(),
            subject_claim: subject_claim.as_str().to_owned(),
            types: accepted_typ_headers.0,
        });
    }
    Ok((trusted, keys))
}

/// Which client may exchange its tokens, and for whom.
pub(super) fn broker(configured: Option<TokenExchangeBroker>) -> Broker {
    let audiences = configured.map(|broker| broker.client_audiences.0).unwrap_or_default();
    Broker(audiences.into_iter().map(|(client, audiences)| (ClientHash::of(&client), audiences)).collect())
}
