//! Who the gate is to its identity provider, from the configuration.

use crate::config::{CaFile, Dex, Google, Oidc, People, Provider, ProviderType, ScopeName};
use portcullis_domain::oidc::entry::Entry;
use portcullis_domain::oidc::profile;
use portcullis_domain::oidc::relying_party::RelyingParty;
use portcullis_domain::oidc::request::Credentials;

/// The provider's issuer, the certificates that are trusted for it beside the common ones, and who we are there.
pub(super) fn relying_party(configured: Provider, people: People) -> (String, Option<CaFile>, RelyingParty) {
    let mut further_scopes = Vec::new();
    let mut parameters = Vec::new();
    let mut hosted = None;
    let mut groups = "groups".to_owned();
    let (profile, issuer_url, client_id, client_secret, scopes, ca_file) = match configured {
        Provider::Oidc(kind, oidc) => {
            let Oidc { issuer_url, client_id, client_secret, scopes, groups_claim, ca_file } = oidc;
            let profile = match kind {
                ProviderType::Keycloak => profile::KEYCLOAK,
                ProviderType::Entra => profile::ENTRA,
                ProviderType::Okta => profile::OKTA,
                ProviderType::Auth0 => profile::AUTH0,
                ProviderType::Oidc | ProviderType::Dex | ProviderType::Google => profile::GENERIC,
            };
            groups = groups_claim.as_str().to_owned();
            (profile, issuer_url, client_id, client_secret, scopes, ca_file)
        }
        Provider::Dex(dex) => {
            let Dex { issuer_url, client_id, client_secret, connector_id, scopes, audiences, ca_file } = dex;
            parameters.extend(connector_id.map(|id| ("connector_id", id.as_str().to_owned())));
            further_scopes.extend(audiences.iter().map(|audience| profile::dex_audience(audience.as_str())));
            (profile::DEX, issuer_url, client_id, client_secret, scopes, ca_file)
        }
        Provider::Google(google) => {
            let Google { issuer_url, client_id, client_secret, hosted_domain, scopes, ca_file } = google;
            hosted = hosted_domain.map(|domain| domain.as_str().to_owned());
            parameters.extend(hosted.clone().map(|domain| ("hd", domain)));
            (profile::GOOGLE, issuer_url, client_id, client_secret, scopes, ca_file)
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
    let relying_party = RelyingParty {
        credentials: Credentials { client_id: client_id.as_str().to_owned(), client_secret },
        profile,
        scopes: scopes.map(|scopes| scopes.iter().map(ScopeName::as_str).map(str::to_owned).collect()),
        further_scopes,
        parameters,
        groups_claim: groups,
        entry,
    };
    (issuer_url.as_str().to_owned(), ca_file, relying_party)
}
