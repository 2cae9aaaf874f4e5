//! Rules between several keys: what would work and must not, and what cannot work together.

use super::listeners::{listeners, own_listener};
use super::place::Place;
use super::urls::is_own;
use super::{
    Client, ClientAuthentication, ClientDraft, ConfigDraft, DexDraft, GitHub, GitHubGroups, GoogleDraft, IdentityForm,
    MasterKeys, Oidc, OidcDraft, Provider, ProviderType, Resource, ResourceDraft, ScopeName, StorageType, SubjectToken,
};
use portcullis_domain::limits::{
    DEX_AUDIENCES_MAX, RESOURCE_PATHS_MAX, RESOURCES_MAX, SCOPE_GRANT_MAX, UPSTREAM_ADDRESSES_MAX,
};
use portcullis_domain::oauth::client_id::PREFIX;
use portcullis_domain::oauth::redirect::Kind;
use portcullis_domain::oidc::issuer::{Issuer, is_of_many};

/// The rules of the whole file. A rule whose keys could not all be read waits until they can.
pub(super) fn config(draft: &ConfigDraft, at: &Place<'_>) {
    listeners(draft, at);
    lifetimes(draft, at);
    resources(draft, at);
    clients(draft, at);
    shared_storage(draft, at);
    introspectors(draft, at);
    documents(draft, at);
    super::trusted::trusted(draft, at);
    super::trusted::broker(draft, at);
    let issuer = draft.provider.as_ref().map(|provider| match provider {
        Provider::Oidc(_, oidc) => ("oidc", "issuerUrl", &oidc.issuer_url),
        Provider::Dex(dex) => ("dex", "issuerUrl", &dex.issuer_url),
        Provider::Google(google) => ("google", "issuerUrl", &google.issuer_url),
        Provider::GitHub(github) => ("github", "url", &github.url),
    });
    if let (Some(base), Some((block, key, issuer))) = (&draft.base_url, issuer)
        && base.as_str() == issuer.as_str()
    {
        at.key(block).key(key).complain("is the gate itself", "write the issuer of the identity provider");
    }
    match &draft.provider {
        Some(Provider::Oidc(kind, oidc)) => tenants(*kind, oidc, &at.key("oidc")),
        Some(Provider::GitHub(github)) => without_id_tokens(github, draft, at),
        _ => {}
    }
}

/// Nobody is shown an ID token where there is none, and nobody is in a group that is never asked for.
fn without_id_tokens(github: &GitHub, draft: &ConfigDraft, at: &Place<'_>) {
    let wrong = "wants an ID token, and GitHub gives none";
    for (index, resource) in draft.resources.iter().flatten().enumerate() {
        let here = at.key("resources").item(index);
        if matches!(resource.identity, IdentityForm::IdToken) {
            here.key("identity").complain(wrong, "use another form, or put a Dex in between");
        }
        let shown = resource.exchange.as_ref().is_some_and(|it| matches!(it.subject_token, SubjectToken::IdToken));
        if shown {
            here.key("exchange").key("subjectToken").complain(wrong, "set it to \"assertion\"");
        }
    }
    if draft.trusted_audiences.as_ref().is_some_and(|audiences| !audiences.is_empty()) {
        at.key("trustedAudiences").complain(wrong, "remove it");
    }
    let by_group = draft.people.as_ref().is_some_and(|people| !people.groups.is_empty());
    if by_group && matches!(github.groups, GitHubGroups::None) {
        let instead = "set github.groups to \"organizations\" or \"teams\"";
        at.key("allowedPeople").key("groups").complain("names groups, and GitHub is not asked for any", instead);
    }
}

/// An address of many tenants lets nobody in by itself: the operator names the tenants, or says that it shall be all of them.
fn tenants(kind: ProviderType, oidc: &Oidc, at: &Place<'_>) {
    let (listed, any) = (!oidc.tenants.is_empty(), oidc.danger_any_tenant);
    let given = if listed { "tenants" } else { "dangerAnyTenant" };
    let issuer = oidc.issuer_url.as_str();
    if kind != ProviderType::Entra {
        if listed || any {
            at.key(given).complain("is of no use with this provider", "remove it, or set provider to \"entra\"");
        }
        return;
    }
    if listed && any {
        at.key("dangerAnyTenant").complain("is given beside tenants", "keep one of the two");
    }
    let of_many = is_of_many(issuer);
    if of_many && Issuer::of_tenants(issuer, None).is_none() {
        let instead = "write it as https://login.microsoftonline.com/organizations/v2.0";
        at.key("issuerUrl").complain("does not say where the tenant stands", instead);
    } else if of_many && !listed && !any {
        let instead = "name those whose people may log in in tenants, or write the one tenant's own issuer";
        at.key("issuerUrl").complain("is that of many tenants", instead);
    } else if !of_many && (listed || any) {
        let instead = "remove it, or write organizations in the tenant's place in issuerUrl";
        at.key(given).complain("is of no use where issuerUrl names one tenant", instead);
    }
}

/// Replicas that share a store need the same master keys, and one that makes its own would lock the others out.
fn shared_storage(draft: &ConfigDraft, at: &Place<'_>) {
    if draft.storage.as_ref().map(|storage| storage.kind) != Some(StorageType::Valkey) {
        return;
    }
    let instead = "give all replicas the same keys, as `portcullis keygen` prints";
    match &draft.master_keys {
        Some(MasterKeys::ToCreate(_)) => {
            at.key("masterKeyFile").complain("names a file that is not there, and replicas share the storage", instead);
        }
        Some(MasterKeys::DangerRandom) => {
            at.key("dangerRandomMasterKey").complain("cannot be with a storage that outlives the process", instead);
        }
        Some(MasterKeys::Given(_)) | None => {}
    }
}

fn lifetimes(draft: &ConfigDraft, at: &Place<'_>) {
    if let (Some(idle), Some(most)) = (draft.session_duration, draft.session_max_duration)
        && idle > most
    {
        at.key("sessionDuration").complain("is longer than sessionMaxDuration", "shorten it, or lengthen the other");
    }
    if let (Some(access), Some(idle)) = (draft.access_token_duration, draft.session_duration)
        && access > idle
    {
        at.key("accessTokenDuration").complain("is longer than sessionDuration", "shorten it, or lengthen the other");
    }
}

fn resources(draft: &ConfigDraft, at: &Place<'_>) {
    let Some(resources) = &draft.resources else { return };
    if resources.len() > RESOURCES_MAX {
        at.key("resources").complain("holds too many resources", "keep at most 64");
    }
    let base = draft.base_url.as_ref().map_or("", |base| base.path());
    for (index, resource) in resources.iter().enumerate() {
        let here = at.key("resources").item(index);
        let earlier = |path| resources.iter().take(index).any(|earlier: &Resource| earlier.paths.contains(path));
        if resource.paths.iter().any(earlier) {
            here.complain("has a path that an earlier resource has", "give every resource paths of its own");
        }
        if let Some(wrong) = resource.paths.iter().find_map(|path| is_own(path.as_str(), base).err()) {
            here.complain(wrong.wrong, wrong.instead);
        }
        if resource.forward_auth && draft.trusted_proxy_cidrs.as_ref().is_some_and(Vec::is_empty) {
            here.key("forwardAuth")
                .complain("answers nobody without trustedProxyCIDRs", "name the proxy that asks there");
        }
        if let Some(wrong) = resource.upstreams.iter().find_map(|upstream| own_listener(draft, upstream)) {
            here.key("upstream").complain(wrong, "write the URL of the MCP server");
        }
    }
}

fn documents(draft: &ConfigDraft, at: &Place<'_>) {
    if draft.enable_cimd != Some(false) {
        return;
    }
    let lists = [
        ("clientDocumentDomains", &draft.client_document_domains),
        ("deniedClientDocumentDomains", &draft.denied_client_document_domains),
    ];
    let named = lists.into_iter().filter(|(_, list)| list.as_ref().is_some_and(|list| !list.is_empty()));
    let danger = draft.danger_loopback_client_documents == Some(true);
    for key in named.map(|(key, _)| key).chain(danger.then_some("dangerLoopbackClientDocuments")) {
        at.key(key).complain("is of no use where enableCIMD is false", "remove it, or let clients have documents");
    }
}

fn clients(draft: &ConfigDraft, at: &Place<'_>) {
    let Some(clients) = &draft.clients else { return };
    for (index, client) in clients.iter().enumerate() {
        let here = at.key("clients").item(index);
        if clients.iter().take(index).any(|earlier| earlier.client_id == client.client_id) {
            here.key("clientId").complain("is the identifier of an earlier client", "give every client its own");
        }
        for (index, redirect) in client.redirect_uris.iter().enumerate() {
            if redirect.kind() == Kind::Loopback && draft.allow_localhost_redirect_uris == Some(false) {
                here.key("redirectUris")
                    .item(index)
                    .complain("is on loopback, and allowLocalhostRedirectURIs is false", "remove it, or allow them");
            }
        }
    }
    for (index, trusted) in draft.trusted_clients.iter().flatten().enumerate() {
        let here = at.key("trustedClients").item(index);
        match clients.iter().find(|client| client.client_id == *trusted) {
            None => here.complain("is not the identifier of one of clients", "register it there, or remove it"),
            Some(client) if client.client_secret.is_none() && !has_keys(client) => here.complain(
                "is a public client, and anybody can pass for one where no page asks",
                "give it a secret or keys, or remove it here so that the consent page asks",
            ),
            Some(client) if !only_https(client) => here.complain(
                "has a redirect that is not https, where another program could take its place",
                "give it https redirects only, or remove it here so that the consent page asks",
            ),
            Some(_) => {}
        }
    }
}

/// Who may ask about everybody's tokens is somebody whom the operator knows, and who can prove it.
fn introspectors(draft: &ConfigDraft, at: &Place<'_>) {
    let Some(clients) = &draft.clients else { return };
    for (index, listed) in draft.introspection_resource_servers.iter().flatten().enumerate() {
        let here = at.key("introspectionResourceServers").item(index);
        match clients.iter().find(|client| client.client_id == *listed) {
            None => here.complain("is not the identifier of one of clients", "register it there, or remove it"),
            Some(client) if client.client_secret.is_none() && !has_keys(client) => {
                here.complain(
                    "is a public client, which cannot prove who it is",
                    "give it a secret or keys, or remove it here",
                );
            }
            Some(_) => {}
        }
    }
}

pub(super) const fn has_keys(client: &Client) -> bool {
    client.jwks.is_some() || client.jwks_uri.is_some()
}

fn only_https(client: &Client) -> bool {
    client.redirect_uris.iter().all(|redirect| redirect.kind() == Kind::Https)
}

/// The rules of one client.
pub(super) fn client(draft: &ClientDraft, at: &Place<'_>) {
    if draft.client_id.as_ref().is_some_and(|id| id.as_str().starts_with(PREFIX)) {
        at.key("clientId").complain("begins like an identifier that registration hands out", "use another one");
    }
    let (Some(secret), Some(jwks), Some(jwks_uri)) = (&draft.client_secret, &draft.jwks, &draft.jwks_uri) else {
        return;
    };
    let has_keys = jwks.is_some() || jwks_uri.is_some();
    if secret.is_some() && has_keys {
        at.key("clientSecret")
            .complain("is given beside keys", "keep one of the two: a client proves itself in one way");
    }
    let Some(Some(method)) = draft.token_endpoint_auth_method else { return };
    let here = at.key("tokenEndpointAuthMethod");
    match method {
        ClientAuthentication::None if secret.is_some() => {
            here.complain("is none beside a secret", "remove one of the two")
        }
        ClientAuthentication::None if has_keys => here.complain("is none beside keys", "remove one of the two"),
        ClientAuthentication::Basic | ClientAuthentication::Post if secret.is_none() => {
            here.complain("wants a secret, and there is none", "give clientSecret, or write \"none\"");
        }
        ClientAuthentication::PrivateKeyJwt if !has_keys => {
            here.complain("wants keys, and there are none", "give jwks, jwksFile or jwksUri");
        }
        _ => {}
    }
}

/// The rules of an OpenID provider.
pub(super) fn oidc(draft: &OidcDraft, at: &Place<'_>) {
    provider_scopes(draft.scopes.as_ref(), at);
}

/// The rules of Dex.
pub(super) fn dex(draft: &DexDraft, at: &Place<'_>) {
    provider_scopes(draft.scopes.as_ref(), at);
    if draft.audiences.as_ref().is_some_and(|audiences| audiences.len() > DEX_AUDIENCES_MAX) {
        at.key("crossClientAudiences").complain("holds too many clients", "keep at most 50");
    }
}

/// The rules of Google.
pub(super) fn google(draft: &GoogleDraft, at: &Place<'_>) {
    provider_scopes(draft.scopes.as_ref(), at);
}

fn provider_scopes(scopes: Option<&Option<Vec<ScopeName>>>, at: &Place<'_>) {
    if let Some(Some(scopes)) = scopes
        && !scopes.iter().any(|scope| scope.as_str() == "openid")
    {
        at.key("scopes").complain("lacks openid, without which there is no ID token", "add \"openid\"");
    }
}

/// The rules of the server behind a resource.
fn upstreams(draft: &ResourceDraft, at: &Place<'_>) {
    let Some(upstreams) = &draft.upstreams else { return };
    if upstreams.len() > UPSTREAM_ADDRESSES_MAX {
        at.key("upstreams").complain("holds too many addresses", "keep at most 16, or put a load balancer in between");
    }
    let shape =
        |upstream: &super::UpstreamUrl| (upstream.is_https(), upstream.path().trim_start_matches('/').to_owned());
    if upstreams.windows(2).any(|pair| pair.first().map(shape) != pair.last().map(shape)) {
        at.key("upstreams").complain(
            "are not addresses of one server",
            "give all of them the same path, and reach all of them over TLS or none",
        );
    }
    // What could not be read was complained of, and is not missing.
    let certificate = !matches!(draft.upstream_cert_file, Some(None));
    let key = !matches!(draft.upstream_key_file, Some(None));
    if certificate != key {
        let missing = if certificate { "upstreamKeyFile" } else { "upstreamCertFile" };
        at.key(missing)
            .complain("is missing", "a certificate and its private key belong together: name both files, or none");
    }
    let ca = !matches!(draft.upstream_ca_file, Some(None));
    let is_https = upstreams.iter().any(super::UpstreamUrl::is_https);
    for (given, name) in [(ca, "upstreamCaFile"), (certificate, "upstreamCertFile")] {
        if given && !is_https {
            at.key(name).complain("is of no use without an https upstream", "write https:// in upstream, or remove it");
        }
    }
}

/// The rules of one resource.
pub(super) fn resource(draft: &ResourceDraft, at: &Place<'_>) {
    if draft.paths.as_ref().is_some_and(|paths| paths.len() > RESOURCE_PATHS_MAX) {
        at.key("paths").complain("holds too many paths", "keep at most 32, or use subtree");
    }
    if let Some(paths) = &draft.paths
        && paths.iter().enumerate().any(|(index, path)| paths.iter().take(index).any(|earlier| earlier == path))
    {
        at.key("paths").complain("holds the same path twice", "remove one of them");
    }
    upstreams(draft, at);
    super::identity::form(draft, at);
    let Some(scopes) = &draft.scopes else { return };
    let names: Vec<_> = scopes.iter().map(|scope| scope.name.as_str()).collect();
    if names.iter().enumerate().any(|(index, name)| names.iter().take(index).any(|earlier| earlier == name)) {
        at.key("scopes").complain("holds the same scope twice", "remove one of them");
    }
    if names.join(" ").len() > SCOPE_GRANT_MAX {
        at.key("scopes")
            .complain("has names too long to be granted together", "keep them to 256 bytes with their spaces");
    }
}
