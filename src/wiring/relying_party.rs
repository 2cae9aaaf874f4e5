//! Who the gate is to its identity provider, from the configuration.

use crate::config::{CaFile, Dex, GitHub, GitHubGroups, Google, Oidc, People, Provider, ProviderType, ScopeName};
use portcullis_domain::oidc::discovery;
use portcullis_domain::oidc::entry::Entry;
use portcullis_domain::oidc::github::{self, Api, Groups};
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
    /// What is known of it without asking, of one that publishes nothing of itself.
    pub(super) known: Option<discovery::Provider>,
    /// Who we are there.
    pub(super) party: RelyingParty,
}

/// Reads it. `keeps_id_token` says whether something behind the gate is shown ID tokens.
pub(super) fn named(configured: Provider, people: People, keeps_id_token: bool) -> Named {
    let mut further_scopes = Vec::new();
    let mut parameters = Vec::new();
    let mut hosted = None;
    let mut groups = "groups".to_owned();
    let (mut of_tenants, mut known) = (None, None);
    let issuer_key = match &configured {
        Provider::Oidc(..) => "oidc.issuerUrl",
        Provider::Dex(_) => "dex.issuerUrl",
        Provider::Google(_) => "google.issuerUrl",
        Provider::GitHub(_) => "github.apiUrl",
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
                ProviderType::Oidc | ProviderType::Dex | ProviderType::Google | ProviderType::GitHub => {
                    profile::GENERIC
                }
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
        Provider::GitHub(github) => {
            let api = api(&github);
            let GitHub { url, client_id, client_secret, scopes, bind_to_provider, ca_file, .. } = github;
            if api.groups != Groups::None {
                further_scopes.push(profile::ORGANIZATIONS.to_owned());
            }
            known = Some(github::provider(url.as_str().trim_end_matches('/'), api));
            (profile::GITHUB, url, client_id, client_secret, scopes, bind_to_provider, ca_file)
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
    let own = known.as_ref().map(|known| known.issuer.clone());
    let issuer = own.or(of_tenants).unwrap_or_else(|| issuer_url.as_str().into());
    Named { issuer, issuer_key, ca_file, bound, known, party }
}

/// GitHub's API, and what it is asked for.
fn api(github: &GitHub) -> Api {
    let web = github.url.as_str().trim_end_matches('/');
    let usual =
        || if web == "https://github.com" { "https://api.github.com".to_owned() } else { format!("{web}/api/v3") };
    let says_emails = |scope: &ScopeName| matches!(scope.as_str(), profile::EMAILS | "user");
    Api {
        url: github.api_url.as_ref().map_or_else(usual, |url| url.as_str().trim_end_matches('/').to_owned()),
        emails: github.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(says_emails)),
        groups: match github.groups {
            GitHubGroups::None => Groups::None,
            GitHubGroups::Organizations => Groups::Organizations,
            GitHubGroups::Teams => Groups::Teams,
        },
        again: github.recheck_every,
    }
}
