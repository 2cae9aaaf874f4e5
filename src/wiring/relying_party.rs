//! Who the gate is to its identity provider, from the configuration.

use crate::config::{CaFile, Dex, Google, Oidc, People, Provider, ProviderType, ScopeName};
use portcullis_domain::oidc::entry::Entry;
use portcullis_domain::oidc::issuer::Issuer;
use portcullis_domain::oidc::profile;
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::oidc::request::Credentials;

/// What the configuration says of the provider.
pub(super) struct Named {
    /// Its issuer.
    pub(super) issuer: Issuer,
    /// Which key says it.
    pub(super) issuer_key: &'static str,
    /// Certificates that are trusted for it beside the common ones.
    pub(super) ca_file: Option<CaFile>,
    /// Whether access tokens are bound to its own.
    pub(super) bound: bool,
    /// Who we are there.
    pub(super) party: RelyingParty,
}

/// Reads it. `keeps_id_token` says whether something behind the gate is shown ID tokens.
pub(super) fn named(configured: Provider, people: People, keeps_id_token: bool) -> Named {
    let mut further_scopes = Vec::new();
    let mut parameters = Vec::new();
    let mut hosted = None;
    let mut groups = "groups".to_owned();
    let mut of_tenants = None;
    let issuer_key = match &configured {
        Provider::Oidc(..) => "oidc.issuerUrl",
        Provider::Dex(_) => "dex.issuerUrl",
        Provider::Google(_) => "google.issuerUrl",
    };
    let (profile, issuer_url, client_id, client_secret, scopes, bound, ca_file) = match configured {
        Provider::Oidc(kind, oidc) => {
            let Oidc {
                issuer_url,
                client_id,
                client_secret,
                scopes,
                groups_claim,
                tenants,
                danger_any_tenant,
                bind_to_provider,
                ca_file,
            } = oidc;
            let listed = tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect();
            let allowed = if danger_any_tenant { None } else { Some(listed) };
            of_tenants = Issuer::of_tenants(issuer_url.as_str(), allowed).filter(|_| kind == ProviderType::Entra);
            let profile = match kind {
                ProviderType::Keycloak => profile::KEYCLOAK,
                ProviderType::Entra => profile::ENTRA,
                ProviderType::Okta => profile::OKTA,
                ProviderType::Auth0 => profile::AUTH0,
                ProviderType::Oidc | ProviderType::Dex | ProviderType::Google => profile::GENERIC,
            };
            groups = groups_claim.as_str().to_owned();
            (profile, issuer_url, client_id, client_secret, scopes, bind_to_provider, ca_file)
        }
        Provider::Dex(dex) => {
            let Dex {
                issuer_url,
                client_id,
                client_secret,
                connector_id,
                scopes,
                audiences,
                bind_to_provider,
                ca_file,
            } = dex;
            parameters.extend(connector_id.map(|id| ("connector_id", id.as_str().to_owned())));
            further_scopes.extend(audiences.iter().map(|audience| profile::dex_audience(audience.as_str())));
            (profile::DEX, issuer_url, client_id, client_secret, scopes, bind_to_provider, ca_file)
        }
        Provider::Google(google) => {
            let Google { issuer_url, client_id, client_secret, hosted_domain, scopes, bind_to_provider, ca_file } =
                google;
            hosted = hosted_domain.map(|domain| domain.as_str().to_owned());
            parameters.extend(hosted.clone().map(|domain| ("hd", domain)));
            (profile::GOOGLE, issuer_url, client_id, client_secret, scopes, bind_to_provider, ca_file)
        }
    };
    let People { email_domains, emails, groups: in_groups, subjects } = people;
    let entry = Entry {
        hosted_domain: hosted,
        email_domains: email_domains.iter().map(|domain| domain.as_str().to_owned()).collect(),
        emails: emails.iter().map(|email| email.as_str().to_owned()).collect(),
        groups: in_groups.iter().map(|group| group.as_str().to_owned()).collect(),
        subjects: subjects.iter().map(|subject| subject.as_str().to_owned()).collect(),
    };
    let party = RelyingParty {
        credentials: Credentials { client_id: client_id.as_str().to_owned(), client_secret },
        profile,
        scopes: scopes.map(|scopes| scopes.iter().map(ScopeName::as_str).map(str::to_owned).collect()),
        further_scopes,
        parameters,
        groups_claim: groups,
        keeps_id_token,
        entry,
    };
    let issuer = of_tenants.unwrap_or_else(|| issuer_url.as_str().into());
    Named { issuer, issuer_key, ca_file, bound, party }
}
