//! The configuration: one JSON file, read by one table of keys into one checked value.
//!
//! Adding a key is adding a row to a table here: the row is the field of the struct, the reading, the check, the default
//! and the JSON Schema at once. Rules between several keys are in `safety`.

mod complaint;
mod document;
mod identity;
mod keys;
mod listeners;
mod master_keys;
mod nearest;
mod place;
mod safety;
mod secrets;
mod storage;
mod surroundings;
mod trusted;
mod urls;
mod values;
mod words;

pub use complaint::{Complaint, Complaints};
pub use identity::{
    Assertion, AssertionAlgorithm, Audience, ConnectorId, Exchange, IdentityForm, SubjectToken, TokenKind,
};
pub use listeners::AdminListen;
pub use master_keys::{MasterKey, MasterKeys};
pub(crate) use nearest::nearest;
pub use secrets::BearerSecret;
pub use storage::{KeyPrefix, Sentinel, ServerAddress, Servers, Storage, Valkey};
pub use surroundings::{Process, Surroundings, Unreadable};
pub use trusted::{ClaimRules, ClientAudiences, TokenExchangeBroker, TrustedIssuer, TypHeaders};
pub use urls::{BaseUrl, Domain, HttpsRedirect, IssuerUrl, Origin, RedirectUrl, ResourcePath, Scheme, UpstreamUrl};
pub use values::{
    CaFile, CertificateFile, Cidr, ClaimName, ClientId, EmailAddress, EmailDomain, GroupName, Jwks, JwksUri, KeyFile,
    ScopeDescription, ScopeName, ShownName, Subject, TenantId,
};
pub use words::{ClientAuthentication, GitHubGroups, LogFormat, LogLevel, ProviderType, StorageType};

use keys::{
    Keys, Part, Value, keys, object_schema, objects, read_object, read_short_or_object, short_or_object_schema,
};
use place::{Place, Reading};
use portcullis_domain::limits;
use portcullis_domain::secret::SecretText;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use values::JwksFile;

impl Config {
    /// Reads the file that a command line names; every file and variable that it names itself is read too.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(path: &Path, around: &dyn Surroundings) -> Result<Self, Complaints> {
        let text =
            around.file(path).map_err(|why| Complaints::one(why.words(), "give --config the path of a JSON file"))?;
        Self::read(text.expose(), around)
    }

    /// Reads the text of a configuration.
    ///
    /// # Errors
    /// Everything that is wrong, at once; of a text that is not JSON, only that.
    pub fn read(text: &str, around: &dyn Surroundings) -> Result<Self, Complaints> {
        let json = document::parse(text)?;
        let reading = Reading::new(around);
        let config = read_object(&json, &reading.root());
        reading.close(config)
    }
}

/// The JSON Schema (draft 2020-12) of a configuration, for editors.
#[must_use]
pub fn schema() -> String {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The configuration of Portcullis",
    });
    if let (Json::Object(whole), Json::Object(keys)) = (&mut schema, object_schema::<Config>()) {
        whole.extend(keys);
    }
    format!("{schema:#}")
}

keys! {
    /// A whole configuration, checked.
    pub struct Config judged as ConfigDraft by safety::config {
        base_url: BaseUrl = required("baseUrl") "Where clients reach the gate, and its issuer: https, or http on loopback; no slash at the end.",
        listen: SocketAddr = or("listen", "127.0.0.1:8080") "Where the public listener listens.",
        admin_listen: AdminListen = or("adminListen", "127.0.0.1:9464") "Where the admin listener listens, an address or `unix:` and the path of a socket: probes and metrics without any login, and sessions with `adminToken`.",
        admin_token: Option<BearerSecret> = optional_secret(&["adminToken", "adminTokenFile"], limits::ADMIN_TOKEN_MIN) "The operator's bearer token on the admin listener. Without one nobody looks at sessions or ends them there.",
        admin_tls: Option<Tls> = optional("adminTls") "The certificate of the admin listener, which speaks TLS with it and plain HTTP without.",
        danger_plain_admin: bool = or("dangerPlainAdmin", false) "Take the admin token beyond loopback without TLS: whoever is on the way reads it.",
        tls: Option<Tls> = optional("tls") "The certificate of the public listener, which speaks TLS with it and plain HTTP without.",
        connections: u32 = number("connections", 16_384, 1..=1_000_000) "Connections of clients at a time.",
        connections_per_address: u32 = number("connectionsPerAddress", 1_024, 1..=1_000_000) "Connections of one client address (IPv6: one /64) at a time; trusted proxies are not counted.",
        shutdown_grace: Duration = duration("shutdownGrace", limits::DRAIN_DEADLINE, Duration::ZERO..=limits::DRAIN_DEADLINE_MAX) "How long requests in progress may run on once the gate is told to end.",
        danger_plain_http: bool = or("dangerPlainHttp", false) "Listen beyond loopback without TLS and without a trusted proxy in front: whoever is on the way reads every token.",
        trusted_proxy_cidrs: Vec<Cidr> = list("trustedProxyCIDRs") "Networks of the proxies in front, whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host are believed.",
        master_keys: MasterKeys = part() "The keys that seal everything.",
        provider: Provider = part() "The identity provider.",
        people: People = or("allowedPeople", json!({})) "Who may enter: whoever is in one of these lists. Without any, everybody whom the provider lets in.",
        resources: Vec<Resource> = some("resources") "The protected MCP servers.",
        assertion_key_files: Vec<KeyFile> = list("assertionKeyFiles") "Files with keys as PKCS #8 in PEM that sign assertions by ES256 and RS256. Of each kind the first one signs; all are published.",
        allowed_origins: Option<Vec<Origin>> = optional("allowedOrigins") "Web origins whose pages may call the resources. Left out: the known web clients and loopback.",
        clients: Vec<Client> = list("clients") "Clients that need not register.",
        trusted_clients: Vec<ClientId> = list("trustedClients") "Identifiers of `clients` that skip the consent page: only confidential ones with https redirects.",
        introspection_resource_servers: Vec<ClientId> = list("introspectionResourceServers") "Identifiers of `clients` that may ask about tokens of every client, because they are resource servers.",
        trusted_audiences: Vec<ClientId> = list("trustedAudiences") "Client identifiers at the identity provider whose ID tokens are taken as bearer.",
        token_exchange_broker: Option<TokenExchangeBroker> = optional("tokenExchangeBroker") "Clients that may exchange their access tokens for assertions (RFC 8693).",
        trusted_issuers: Vec<TrustedIssuer> = list("trustedIssuers") "Issuers whose JWTs are taken as bearer.",
        allow_public_client_registration: bool = or("allowPublicClientRegistration", false) "Let anybody register a client. Without it, clients whose redirects are all known still can.",
        registration_token: Option<BearerSecret> = optional_secret(&["registrationToken", "registrationTokenFile"], limits::CHOSEN_SECRET_MIN) "A bearer token that lets its holder register any client.",
        trusted_public_registration_schemes: Vec<Scheme> = list("trustedPublicRegistrationSchemes") "Private-use schemes whose redirects may register themselves.",
        trusted_public_registration_redirect_uris: Vec<HttpsRedirect> = list("trustedPublicRegistrationRedirectURIs") "https redirect URIs that may register themselves, compared exactly.",
        allow_localhost_redirect_uris: bool = or("allowLocalhostRedirectURIs", true) "Let clients be sent back to a program on the person's own machine over http, on any port.",
        enable_cimd: bool = or("enableCIMD", true) "Let clients be described by a document at the https address that is their client_id.",
        client_document_domains: Vec<Domain> = list("clientDocumentDomains") "Domains that such documents may come from, each with what is below it. Left empty: any.",
        denied_client_document_domains: Vec<Domain> = list("deniedClientDocumentDomains") "Domains that such documents may not come from, each with what is below it.",
        danger_loopback_client_documents: bool = or("dangerLoopbackClientDocuments", false) "Let such documents lie on this machine, at any port: whoever asks makes the gate call its own neighbours.",
        session_duration: Duration = duration("sessionDuration", limits::IDLE_LIFE, limits::ACCESS_LIFE_MIN..=limits::ABSOLUTE_LIFE_MAX) "How long a session lives that nobody refreshes.",
        session_max_duration: Duration = duration("sessionMaxDuration", limits::ABSOLUTE_LIFE, limits::ACCESS_LIFE_MIN..=limits::ABSOLUTE_LIFE_MAX) "How long a session lives, whoever refreshes it.",
        access_token_duration: Duration = duration("accessTokenDuration", limits::ACCESS_LIFE, limits::ACCESS_LIFE_MIN..=limits::ACCESS_LIFE_MAX) "How long an access token lives.",
        refresh_grace: Duration = duration("refreshGrace", limits::REFRESH_GRACE, Duration::ZERO..=limits::REFRESH_GRACE_MAX) "How long a superseded refresh token still answers with the current one.",
        stream_overrun: Duration = duration("streamOverrun", limits::STREAM_OVERRUN, Duration::ZERO..=limits::STREAM_OVERRUN_MAX) "How long the answer to a call may run on after its access token has ended, if its session has not.",
        webhook: Option<Webhook> = optional("webhook") "Who is told of sessions that begin, are refreshed and end.",
        storage: Storage = or("storage", json!({ "type": "memory" })) "Where sessions are kept.",
        rate_limits: RateLimits = or("rateLimits", json!({})) "What one client may do how often.",
        ca_files: Vec<CaFile> = list("caFiles") "Files of PEM certificates that are trusted in outbound TLS beside the public ones.",
        log_format: LogFormat = or("logFormat", "json") "How log lines are written: json or text.",
        log_level: LogLevel = or("logLevel", "info") "The least weight that is logged: error, warn, info, debug or trace.",
    }
}

keys! {
    /// The certificate of the public listener.
    pub struct Tls {
        certificate: CertificateFile = required("certFile") "A file with the certificate as PEM, its chain behind it; looked at again every few seconds.",
        key: KeyFile = required("keyFile") "A file with its private key as PEM; looked at again every few seconds.",
    }
}

keys! {
    /// Who is told of sessions that begin, are refreshed and end.
    pub struct Webhook {
        url: IssuerUrl = required("url") "Where events are posted: https, or http on loopback.",
        secret: SecretText = secret(&["secret", "secretFile"], limits::WEBHOOK_SECRET_MIN) "What signs them: at least 32 characters, known to the receiver.",
        ca_file: Option<CaFile> = optional("caFile") "A file of PEM certificates that are trusted for the receiver beside `caFiles`.",
    }
}

keys! {
    /// An OpenID provider, found by discovery.
    pub struct Oidc judged as OidcDraft by safety::oidc {
        issuer_url: IssuerUrl = required("issuerUrl") "Its issuer, byte for byte: https, or http on loopback.",
        client_id: ClientId = required("clientId") "The gate's own client identifier there.",
        client_secret: SecretText = secret(&["clientSecret", "clientSecretFile"], 1) "The gate's own client secret there.",
        scopes: Option<Vec<ScopeName>> = optional("scopes") "What the gate asks for there; openid must be among them. Left out: what is usual with this provider.",
        groups_claim: ClaimName = or("groupsClaim", "groups") "The claim of the ID token that lists the person's groups.",
        tenants: Vec<TenantId> = list("tenants") "The tenants of Entra ID whose people may log in, where `issuerUrl` is that of many.",
        danger_any_tenant: bool = or("dangerAnyTenant", false) "Let the people of every tenant log in: anybody can have one of their own, and say there what they like.",
        bind_to_provider: bool = or("bindToProvider", false) "Whether no access token outlives the provider's tokens, which are renewed as long as the provider does so.",
        ca_file: Option<CaFile> = optional("caFile") "A file of PEM certificates that are trusted for this provider beside `caFiles`.",
    }
}

keys! {
    /// Dex.
    pub struct Dex judged as DexDraft by safety::dex {
        issuer_url: IssuerUrl = required("issuerUrl") "Its issuer, byte for byte: https, or http on loopback.",
        client_id: ClientId = required("clientId") "The gate's own client identifier there.",
        client_secret: SecretText = secret(&["clientSecret", "clientSecretFile"], 1) "The gate's own client secret there.",
        connector_id: Option<ConnectorId> = optional("connectorId") "The connector that everybody logs in with. Left out: Dex asks.",
        scopes: Option<Vec<ScopeName>> = optional("scopes") "What the gate asks for there; openid must be among them. Left out: openid, profile, email, groups and offline_access.",
        audiences: Vec<ClientId> = list("crossClientAudiences") "Other clients of Dex that the person's ID token is to be good for; each must trust the gate's client there.",
        bind_to_provider: bool = or("bindToProvider", true) "Whether no access token outlives the provider's tokens, which are renewed as long as the provider does so.",
        ca_file: Option<CaFile> = optional("caFile") "A file of PEM certificates that are trusted for this provider beside `caFiles`.",
    }
}

keys! {
    /// Google.
    pub struct Google judged as GoogleDraft by safety::google {
        issuer_url: IssuerUrl = or("issuerUrl", "https://accounts.google.com") "Its issuer; another one is for trials only.",
        client_id: ClientId = required("clientId") "The gate's own client identifier there.",
        client_secret: SecretText = secret(&["clientSecret", "clientSecretFile"], 1) "The gate's own client secret there.",
        hosted_domain: Option<EmailDomain> = optional("hostedDomain") "The organization whose accounts may enter, by the `hd` that Google signs.",
        scopes: Option<Vec<ScopeName>> = optional("scopes") "What the gate asks for there; openid must be among them. Left out: openid, profile and email.",
        bind_to_provider: bool = or("bindToProvider", false) "Whether no access token outlives the provider's tokens, which are renewed as long as the provider does so.",
        ca_file: Option<CaFile> = optional("caFile") "A file of PEM certificates that are trusted for this provider beside `caFiles`.",
    }
}

keys! {
    /// GitHub.
    pub struct GitHub {
        url: IssuerUrl = or("url", "https://github.com") "Its address; another one for GitHub Enterprise.",
        api_url: Option<IssuerUrl> = optional("apiUrl") "The address of its API. Left out: https://api.github.com, or with another `url` what stands at /api/v3 there.",
        client_id: ClientId = required("clientId") "The gate's own client identifier there.",
        client_secret: SecretText = secret(&["clientSecret", "clientSecretFile"], 1) "The gate's own client secret there.",
        scopes: Option<Vec<ScopeName>> = optional("scopes") "What the gate asks for there. Left out: read:user and user:email, and read:org for groups.",
        groups: GitHubGroups = or("groups", "none") "What counts as a person's groups: none, organizations, or teams beside these.",
        recheck_every: Duration = duration("recheckEvery", limits::GITHUB_AGAIN, limits::GITHUB_AGAIN_MIN..=limits::GITHUB_AGAIN_MAX) "After how long GitHub is asked for a person again.",
        bind_to_provider: bool = or("bindToProvider", true) "Whether no access token outlives what GitHub has said of the person.",
        ca_file: Option<CaFile> = optional("caFile") "A file of PEM certificates that are trusted for this provider beside `caFiles`.",
    }
}

keys! {
    /// Who may enter.
    pub struct People {
        email_domains: Vec<EmailDomain> = list("emailDomains") "Who has a verified e-mail address at one of these domains, exactly.",
        emails: Vec<EmailAddress> = list("emails") "Who has one of these e-mail addresses, verified.",
        groups: Vec<GroupName> = list("groups") "Who is in one of these groups.",
        subjects: Vec<Subject> = list("subjects") "Who has one of these subjects at the provider.",
    }
}

keys! {
    /// A protected MCP server.
    pub struct Resource judged as ResourceDraft by safety::resource {
        name: Option<ShownName> = optional("name") "What people call it, on the consent page and in its metadata. Left out: its URL.",
        paths: Vec<ResourcePath> = part() "Where it is found on the host of `baseUrl`; the first one names it.",
        subtree: bool = or("subtree", false) "Whether everything below its paths belongs to it too.",
        upstreams: Vec<UpstreamUrl> = part() "The MCP server itself.",
        upstream_ca_file: Option<CaFile> = optional("upstreamCaFile") "A file of PEM certificates that are trusted for an https upstream beside `caFiles`.",
        upstream_cert_file: Option<CertificateFile> = optional("upstreamCertFile") "The gate's own certificate for an https upstream that asks for one, as PEM with its chain.",
        upstream_key_file: Option<KeyFile> = optional("upstreamKeyFile") "The private key of `upstreamCertFile`, as PEM.",
        upstream_connections: u32 = number("upstreamConnections", 4_096, 1..=65_536) "Connections to the MCP server at a time; each request in progress and each open stream takes one.",
        per_person: Option<PerPerson> = optional("perPerson") "What one person may ask of it how often, instead of `rateLimits.perPerson`.",
        request_bytes: u32 = number("requestBytes", limits::RESOURCE_BODY_MAX, 1..=limits::RESOURCE_BODY_MOST) "The longest body of a request to it.",
        scopes: Vec<Scope> = list("scopes") "What a client needs to be granted, as names or as objects that say it in words.",
        identity: IdentityForm = or("identity", "headers") "How its server is told who the person is: headers, subjectOnly, assertion, exchange or idToken.",
        assertion: Option<Assertion> = optional("assertion") "The assertions of these two forms.",
        exchange: Option<Exchange> = optional("exchange") "Where an assertion is exchanged for a token that the server takes.",
        forward_auth: bool = or("forwardAuth", false) "Let a proxy of `trustedProxyCIDRs` ask whether a request may pass, at /oauth/forward-auth with the path behind it.",
        allowed_origins: Option<Vec<Origin>> = optional("allowedOrigins") "Web origins whose pages may call this one, instead of the common `allowedOrigins`.",
    }
}

keys! {
    /// A scope that a resource asks for.
    pub struct Scope {
        name: ScopeName = required("name") "The name on the wire.",
        description: Option<ScopeDescription> = optional("description") "What it lets a client do, as the consent page says it.",
    }
}

keys! {
    /// A client that need not register.
    pub struct Client judged as ClientDraft by safety::client {
        client_id: ClientId = required("clientId") "Its identifier.",
        client_secret: Option<SecretText> = optional_secret(&["clientSecret", "clientSecretFile"], limits::CHOSEN_SECRET_MIN) "Its secret, at least 16 characters; without one it is public.",
        jwks: Option<Jwks> = part() "Its public keys, if it proves who it is by private_key_jwt.",
        jwks_uri: Option<JwksUri> = optional("jwksUri") "Where it publishes them instead: https, or http on loopback.",
        name: ShownName = required("name") "Its name on the consent page.",
        redirect_uris: Vec<RedirectUrl> = some("redirectUris") "Where it may be sent back to, compared exactly; on loopback the port is free.",
        token_endpoint_auth_method: Option<ClientAuthentication> = optional("tokenEndpointAuthMethod") "How it proves who it is: none, client_secret_basic, client_secret_post or private_key_jwt. Left out: what its secret or its keys are for, none without either.",
    }
}

keys! {
    /// What one client may do how often.
    pub struct RateLimits {
        per_address: PerAddress = or("perAddress", json!({})) "For one client address (IPv6: one /64).",
        per_client: PerClient = or("perClient", json!({})) "For one client that has proved who it is, at the token endpoint.",
        per_person: PerPerson = or("perPerson", json!({})) "For one person, at each resource.",
        per_document_host: PerDocumentHost = or("perDocumentHost", json!({})) "For one host of clients' documents and keys.",
        security_events: SecurityEvents = or("securityEvents", json!({})) "For log lines about each kind of refusal.",
    }
}

keys! {
    /// What one client that has proved who it is may ask of the token endpoint how often.
    pub struct PerClient {
        requests_per_second: u32 = number("requestsPerSecond", limits::CLIENT_REQUESTS_PER_SECOND, 1..=1_000_000) "Requests a second.",
        request_burst: u32 = number("requestBurst", limits::CLIENT_REQUESTS_BURST, 1..=1_000_000) "Requests at once.",
    }
}

keys! {
    /// How often strangers can make the gate call one host for a client's document or keys that it never had from there.
    pub struct PerDocumentHost {
        fetches_per_second: u32 = number("fetchesPerSecond", limits::DOCUMENT_CALLS_PER_SECOND, 1..=1_000) "Calls a second.",
        fetch_burst: u32 = number("fetchBurst", limits::DOCUMENT_CALLS_BURST, 1..=1_000) "Calls at once.",
    }
}

keys! {
    /// How many log lines refusals are worth that cost a stranger nothing.
    pub struct SecurityEvents {
        per_second: u32 = number("perSecond", limits::SECURITY_EVENTS_PER_SECOND, 1..=1_000_000) "Lines a second.",
        burst: u32 = number("burst", limits::SECURITY_EVENTS_BURST, 1..=1_000_000) "Lines at once.",
    }
}

keys! {
    /// What one person may ask of a resource how often.
    pub struct PerPerson {
        requests_per_second: u32 = number("requestsPerSecond", limits::PERSON_REQUESTS_PER_SECOND, 1..=1_000_000) "Requests a second.",
        request_burst: u32 = number("requestBurst", limits::PERSON_REQUESTS_BURST, 1..=1_000_000) "Requests at once.",
    }
}

keys! {
    /// What one client address may do how often.
    pub struct PerAddress {
        registrations_per_hour: u32 = number("registrationsPerHour", limits::REGISTRATIONS_PER_HOUR, 1..=1_000_000) "Registrations an hour.",
        token_per_second: u32 = number("tokenPerSecond", limits::REQUESTS_PER_SECOND, 1..=1_000_000) "Requests to the token endpoint a second.",
        token_burst: u32 = number("tokenBurst", limits::REQUESTS_BURST, 1..=1_000_000) "Requests to the token endpoint at once.",
        authorize_per_second: u32 = number("authorizePerSecond", limits::REQUESTS_PER_SECOND, 1..=1_000_000) "Requests to the authorization endpoint, consents and callbacks a second.",
        authorize_burst: u32 = number("authorizeBurst", limits::REQUESTS_BURST, 1..=1_000_000) "The same at once.",
        refused_per_second: u32 = number("refusedPerSecond", limits::REQUESTS_PER_SECOND, 1..=1_000_000) "Requests to a protected resource without a session a second.",
        refused_burst: u32 = number("refusedBurst", limits::REQUESTS_BURST, 1..=1_000_000) "The same at once.",
    }
}

objects!(
    Tls,
    Webhook,
    Oidc,
    Dex,
    Google,
    GitHub,
    People,
    Resource,
    Client,
    RateLimits,
    PerAddress,
    PerClient,
    PerDocumentHost,
    PerPerson,
    SecurityEvents
);

impl Value for Scope {
    fn schema() -> Json {
        short_or_object_schema::<Self, ScopeName>()
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        read_short_or_object(json, at, |name: ScopeName| Self { name, description: None })
    }
}

/// The identity provider that persons log in at.
#[derive(Clone, Debug)]
pub enum Provider {
    /// Any OpenID provider, by discovery, with what is usual with one of its kind.
    Oidc(ProviderType, Oidc),
    /// Dex.
    Dex(Dex),
    /// Google.
    Google(Google),
    /// GitHub.
    GitHub(GitHub),
}

impl Part for Provider {
    fn walk(keys: &mut Keys<'_>) -> Option<Self> {
        let kind = keys.required::<ProviderType>(
            "provider",
            "How persons log in: oidc, an OpenID provider found by discovery; keycloak, entra, okta or auth0, the same with what is usual there; dex; google; github.",
        );
        let oidc = keys.optional::<Oidc>("oidc", "The OpenID provider, if it has no block of its own.");
        let dex = keys.optional::<Dex>("dex", "Dex, if that is the provider.");
        let google = keys.optional::<Google>("google", "Google, if that is the provider.");
        let github = keys.optional::<GitHub>("github", "GitHub, if that is the provider.");
        let (kind, oidc, dex, google, github) = (kind?, oidc?, dex?, google?, github?);
        let wanted = match kind {
            ProviderType::Dex => "dex",
            ProviderType::Google => "google",
            ProviderType::GitHub => "github",
            _ => "oidc",
        };
        let blocks = [
            ("oidc", oidc.is_some()),
            ("dex", dex.is_some()),
            ("google", google.is_some()),
            ("github", github.is_some()),
        ];
        for (name, _) in blocks.iter().filter(|(name, given)| *given && *name != wanted) {
            let instead = "remove it, or name that provider in provider";
            keys.place()?.key(name).complain("is of no use with this provider", instead);
        }
        let found = match kind {
            ProviderType::Dex => dex.map(Self::Dex),
            ProviderType::Google => google.map(Self::Google),
            ProviderType::GitHub => github.map(Self::GitHub),
            kind => oidc.map(|oidc| Self::Oidc(kind, oidc)),
        };
        if found.is_none() {
            keys.place()?.key(wanted).complain(
                "is missing",
                "add it, with clientId, clientSecret and, but for google and github, issuerUrl",
            );
        }
        found
    }
}

/// `upstream` and `upstreams`: the same, at one address and at several.
impl Part for Vec<UpstreamUrl> {
    fn walk(keys: &mut Keys<'_>) -> Option<Self> {
        keys.choice(&["upstream", "upstreams"], true);
        let one =
            keys.optional::<UpstreamUrl>("upstream", "Its address: an http:// or https:// URL, or unix:/socket:/path.");
        let several =
            keys.optional::<Self>("upstreams", "Several addresses of one and the same MCP server, which take turns.");
        match (one?, several?) {
            (Some(one), None) => Some(vec![one]),
            (None, Some(several)) if several.is_empty() => {
                keys.place()?.key("upstreams").complain("is empty", "write at least one address");
                None
            }
            (None, several) => several,
            (Some(_), Some(_)) => None,
        }
    }
}

/// `jwks` and `jwksFile`: the same, in place and in a file.
impl Part for Option<Jwks> {
    fn walk(keys: &mut Keys<'_>) -> Option<Self> {
        keys.choice(&["jwks", "jwksFile", "jwksUri"], false);
        let given = keys.optional::<Jwks>("jwks", "Its public keys, as a JWK Set.");
        let beside = keys.optional::<JwksFile>("jwksFile", "A file with its public keys, as a JWK Set.");
        Some(given?.or(beside?.map(|file| file.0)))
    }
}

/// `path` and `paths`: the same, for one and for several.
impl Part for Vec<ResourcePath> {
    fn walk(keys: &mut Keys<'_>) -> Option<Self> {
        keys.choice(&["path", "paths"], true);
        let path = keys.optional::<ResourcePath>("path", "Where it is found on the host of `baseUrl`, as /mcp.");
        let paths =
            keys.optional::<Self>("paths", "Several paths of one and the same resource, which the first one names.");
        match (path?, paths?) {
            (Some(path), None) => Some(vec![path]),
            (None, Some(paths)) if paths.is_empty() => {
                keys.place()?.key("paths").complain("is empty", "write at least one path");
                None
            }
            (None, paths) => paths,
            (Some(_), Some(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests;
