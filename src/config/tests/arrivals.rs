//! Where each key of the configuration arrives.

use super::*;

#[test]
fn seed_bug_48_seed_bug_49_every_key_of_the_schema_reaches_the_configuration() {
    let all = || arrivals().into_iter().chain(arrivals_at_servers());
    let before = read(&rich()).unwrap();
    for (key, changes, probe, expected) in all() {
        let after = read(&change(rich(), &changes)).unwrap_or_else(|complaints| panic!("{key}: {complaints}"));
        assert_eq!(probe(&after), expected, "{key}");
        assert!(changes.is_empty() || probe(&before) != expected, "{key} was so already");
    }
    let shown: BTreeSet<_> = all().map(|row| row.0.to_owned()).collect();
    let described: BTreeSet<_> = schema_keys().into_iter().map(|(key, _)| key).collect();
    assert_eq!(shown, described, "left: keys that this test shows, right: keys of the schema");
}

/// For every key of the schema: what to change in the rich configuration, where the value must arrive, and as what.
fn arrivals() -> Vec<Arrival> {
    let debug_origins: Probe = |c| format!("{:?}", c.allowed_origins);
    vec![
        (
            "baseUrl",
            vec![("/baseUrl", json!("https://a.example"))],
            |c| c.base_url.as_str().into(),
            "https://a.example",
        ),
        ("listen", vec![("/listen", json!("127.0.0.1:1"))], |c| c.listen.to_string(), "127.0.0.1:1"),
        ("adminListen", vec![("/adminListen", json!("unix:/run/a"))], |c| c.admin_listen.to_string(), "unix:/run/a"),
        (
            "tls.certFile",
            vec![("/tls", json!({ "certFile": "/run/ca.pem", "keyFile": "/run/key.pem" }))],
            |c| file(c.tls.as_ref().map(|tls| &tls.certificate.0.path)),
            "/run/ca.pem",
        ),
        (
            "tls.keyFile",
            vec![("/tls", json!({ "certFile": "/run/ca.pem", "keyFile": "/run/key.pem" }))],
            |c| file(c.tls.as_ref().map(|tls| &tls.key.path)),
            "/run/key.pem",
        ),
        ("connections", vec![("/connections", json!(7))], |c| c.connections.to_string(), "7"),
        (
            "connectionsPerAddress",
            vec![("/connectionsPerAddress", json!(7))],
            |c| c.connections_per_address.to_string(),
            "7",
        ),
        ("shutdownGrace", vec![("/shutdownGrace", json!("7s"))], |c| c.shutdown_grace.as_secs().to_string(), "7"),
        ("dangerPlainHttp", vec![("/dangerPlainHttp", json!(true))], |c| c.danger_plain_http.to_string(), "true"),
        (
            "trustedProxyCIDRs",
            vec![("/trustedProxyCIDRs", json!(["10.0.0.0/8"]))],
            |c| c.trusted_proxy_cidrs.iter().map(|net| format!("{}/{}", net.address, net.prefix)).collect(),
            "10.0.0.0/8",
        ),
        ("masterKeys", vec![("/masterKeys", json!([OTHER_KEY]))], master_keys, "20 None false"),
        (
            "masterKeys[].key",
            vec![("/masterKeys/0/key", json!(OTHER_KEY)), ("/masterKeys/1/key", json!(KEY))],
            master_keys,
            "20 None false, 00 None false",
        ),
        (
            "masterKeys[].keyFile",
            vec![("/masterKeys", json!([{ "keyFile": "/run/key" }]))],
            master_keys,
            "20 None false",
        ),
        (
            "masterKeys[].sealsFrom",
            vec![("/masterKeys/1/sealsFrom", json!("1970-01-01T00:01:00Z"))],
            master_keys,
            "00 None false, 20 Some(60) false",
        ),
        (
            "masterKeys[].clientIdsOnly",
            vec![("/masterKeys/1/clientIdsOnly", json!(true))],
            master_keys,
            "00 None false, 20 None true",
        ),
        (
            "masterKeyFile",
            vec![("/masterKeys", Json::Null), ("/masterKeyFile", json!("/run/key"))],
            master_keys,
            "20 None false",
        ),
        (
            "dangerRandomMasterKey",
            vec![("/masterKeys", Json::Null), ("/dangerRandomMasterKey", json!(true))],
            master_keys,
            "random",
        ),
        (
            "provider",
            vec![("/provider", json!("keycloak"))],
            |c| matches!(c.provider, Provider::Oidc(ProviderType::Keycloak, _)).to_string(),
            "true",
        ),
        (
            "oidc.issuerUrl",
            vec![("/oidc/issuerUrl", json!("https://b.example/"))],
            |c| oidc(c).issuer_url.as_str().into(),
            "https://b.example/",
        ),
        ("oidc.clientId", vec![("/oidc/clientId", json!("me"))], |c| oidc(c).client_id.as_str().into(), "me"),
        (
            "oidc.clientSecret",
            vec![("/oidc/clientSecret", json!("${DEX_SECRET}"))],
            |c| oidc(c).client_secret.expose().into(),
            "from the environment",
        ),
        (
            "oidc.clientSecretFile",
            vec![("/oidc/clientSecret", Json::Null), ("/oidc/clientSecretFile", json!("/run/secret"))],
            |c| oidc(c).client_secret.expose().into(),
            "a secret out of a file",
        ),
        (
            "oidc.scopes",
            vec![("/oidc/scopes", json!(["openid", "groups"]))],
            |c| words(oidc(c).scopes.iter().flatten().map(ScopeName::as_str)),
            "openid groups",
        ),
        (
            "oidc.groupsClaim",
            vec![("/oidc/groupsClaim", json!("https://b.example/groups"))],
            |c| oidc(c).groups_claim.as_str().into(),
            "https://b.example/groups",
        ),
        (
            "oidc.tenants",
            vec![("/provider", json!("entra")), ("/oidc/issuerUrl", of_many()), ("/oidc/tenants", json!([TENANT]))],
            |c| words(oidc(c).tenants.iter().map(TenantId::as_str)),
            TENANT,
        ),
        (
            "oidc.dangerAnyTenant",
            vec![("/provider", json!("entra")), ("/oidc/issuerUrl", of_many()), ("/oidc/dangerAnyTenant", json!(true))],
            |c| oidc(c).danger_any_tenant.to_string(),
            "true",
        ),
        (
            "oidc.caFile",
            vec![("/oidc/caFile", json!("/run/ca.pem"))],
            |c| file(oidc(c).ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "github.url",
            at("github", "url", json!("https://git.example.com")),
            |c| github(c).url.as_str().into(),
            "https://git.example.com",
        ),
        (
            "github.apiUrl",
            at("github", "apiUrl", json!("https://api.octocorp.ghe.com")),
            |c| github(c).api_url.as_ref().map_or("none", IssuerUrl::as_str).into(),
            "https://api.octocorp.ghe.com",
        ),
        ("github.clientId", at("github", "clientId", json!("me")), |c| github(c).client_id.as_str().into(), "me"),
        (
            "github.clientSecret",
            at("github", "clientSecret", json!("another")),
            |c| github(c).client_secret.expose().into(),
            "another",
        ),
        (
            "github.clientSecretFile",
            at("github", "clientSecretFile", json!("/run/secret")),
            |c| github(c).client_secret.expose().into(),
            "a secret out of a file",
        ),
        (
            "github.scopes",
            at("github", "scopes", json!(["read:user"])),
            |c| words(github(c).scopes.iter().flatten().map(ScopeName::as_str)),
            "read:user",
        ),
        ("github.groups", at("github", "groups", json!("teams")), |c| format!("{:?}", github(c).groups), "Teams"),
        (
            "github.recheckEvery",
            at("github", "recheckEvery", json!("2h")),
            |c| format!("{:?}", github(c).recheck_every),
            "7200s",
        ),
        (
            "github.bindToProvider",
            at("github", "bindToProvider", json!(false)),
            |c| github(c).bind_to_provider.to_string(),
            "false",
        ),
        (
            "github.caFile",
            at("github", "caFile", json!("/run/ca.pem")),
            |c| file(github(c).ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "dex.issuerUrl",
            at("dex", "issuerUrl", json!("https://b.example/")),
            |c| dex(c).issuer_url.as_str().into(),
            "https://b.example/",
        ),
        ("dex.clientId", at("dex", "clientId", json!("me")), |c| dex(c).client_id.as_str().into(), "me"),
        (
            "dex.clientSecret",
            at("dex", "clientSecret", json!("another")),
            |c| dex(c).client_secret.expose().into(),
            "another",
        ),
        (
            "dex.clientSecretFile",
            at("dex", "clientSecretFile", json!("/run/secret")),
            |c| dex(c).client_secret.expose().into(),
            "a secret out of a file",
        ),
        (
            "dex.scopes",
            at("dex", "scopes", json!(["openid", "groups"])),
            |c| words(dex(c).scopes.iter().flatten().map(ScopeName::as_str)),
            "openid groups",
        ),
        (
            "dex.caFile",
            at("dex", "caFile", json!("/run/ca.pem")),
            |c| file(dex(c).ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "google.issuerUrl",
            at("google", "issuerUrl", json!("https://b.example/")),
            |c| google(c).issuer_url.as_str().into(),
            "https://b.example/",
        ),
        ("google.clientId", at("google", "clientId", json!("me")), |c| google(c).client_id.as_str().into(), "me"),
        (
            "google.clientSecret",
            at("google", "clientSecret", json!("another")),
            |c| google(c).client_secret.expose().into(),
            "another",
        ),
        (
            "google.clientSecretFile",
            at("google", "clientSecretFile", json!("/run/secret")),
            |c| google(c).client_secret.expose().into(),
            "a secret out of a file",
        ),
        (
            "google.scopes",
            at("google", "scopes", json!(["openid", "groups"])),
            |c| words(google(c).scopes.iter().flatten().map(ScopeName::as_str)),
            "openid groups",
        ),
        (
            "google.caFile",
            at("google", "caFile", json!("/run/ca.pem")),
            |c| file(google(c).ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "oidc.bindToProvider",
            vec![("/oidc/bindToProvider", json!(true))],
            |c| oidc(c).bind_to_provider.to_string(),
            "true",
        ),
        (
            "dex.bindToProvider",
            at("dex", "bindToProvider", json!(false)),
            |c| dex(c).bind_to_provider.to_string(),
            "false",
        ),
        (
            "google.bindToProvider",
            at("google", "bindToProvider", json!(true)),
            |c| google(c).bind_to_provider.to_string(),
            "true",
        ),
        (
            "dex.connectorId",
            at("dex", "connectorId", json!("ldap")),
            |c| words(dex(c).connector_id.iter().map(ConnectorId::as_str)),
            "ldap",
        ),
        (
            "dex.crossClientAudiences",
            at("dex", "crossClientAudiences", json!(["kubernetes"])),
            |c| words(dex(c).audiences.iter().map(ClientId::as_str)),
            "kubernetes",
        ),
        (
            "google.hostedDomain",
            at("google", "hostedDomain", json!("example.com")),
            |c| words(google(c).hosted_domain.iter().map(EmailDomain::as_str)),
            "example.com",
        ),
        (
            "allowedPeople.emailDomains",
            vec![("/allowedPeople", json!({ "emailDomains": ["example.com"] }))],
            |c| words(c.people.email_domains.iter().map(EmailDomain::as_str)),
            "example.com",
        ),
        (
            "allowedPeople.emails",
            vec![("/allowedPeople", json!({ "emails": ["ada@example.com"] }))],
            |c| words(c.people.emails.iter().map(EmailAddress::as_str)),
            "ada@example.com",
        ),
        (
            "allowedPeople.groups",
            vec![("/allowedPeople", json!({ "groups": ["staff"] }))],
            |c| words(c.people.groups.iter().map(GroupName::as_str)),
            "staff",
        ),
        (
            "allowedPeople.subjects",
            vec![("/allowedPeople", json!({ "subjects": ["s-1"] }))],
            |c| words(c.people.subjects.iter().map(Subject::as_str)),
            "s-1",
        ),
        (
            "resources[].path",
            vec![("/resources/0/path", json!("/sse"))],
            |c| c.resources[0].paths[0].as_str().into(),
            "/sse",
        ),
        (
            "resources[].paths",
            vec![("/resources/0/path", Json::Null), ("/resources/0/paths", json!(["/sse", "/message"]))],
            |c| c.resources[0].paths.iter().map(ResourcePath::as_str).collect(),
            "/sse/message",
        ),
        (
            "resources[].subtree",
            vec![("/resources/0/subtree", json!(true))],
            |c| c.resources[0].subtree.to_string(),
            "true",
        ),
        (
            "resources[].upstream",
            vec![("/resources/0/upstream", json!("http://mcp.internal"))],
            |c| c.resources[0].upstreams[0].as_str().into(),
            "http://mcp.internal",
        ),
        (
            "resources[].upstreams",
            vec![("/resources/0/upstream", Json::Null), ("/resources/0/upstreams", json!(["http://a", "http://b"]))],
            |c| c.resources[0].upstreams.last().unwrap().as_str().into(),
            "http://b",
        ),
        (
            "resources[].upstreamCaFile",
            tls_upstream(&[("/resources/0/upstreamCaFile", json!("/run/ca.pem"))]),
            |c| file(c.resources[0].upstream_ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "resources[].upstreamCertFile",
            tls_upstream(&[
                ("/resources/0/upstreamCertFile", json!("/run/ca.pem")),
                ("/resources/0/upstreamKeyFile", json!("/run/key.pem")),
            ]),
            |c| file(c.resources[0].upstream_cert_file.as_ref().map(|file| &file.0.path)),
            "/run/ca.pem",
        ),
        (
            "resources[].upstreamKeyFile",
            tls_upstream(&[
                ("/resources/0/upstreamCertFile", json!("/run/ca.pem")),
                ("/resources/0/upstreamKeyFile", json!("/run/key.pem")),
            ]),
            |c| file(c.resources[0].upstream_key_file.as_ref().map(|file| &file.path)),
            "/run/key.pem",
        ),
        (
            "resources[].upstreamConnections",
            vec![("/resources/0/upstreamConnections", json!(7))],
            |c| c.resources[0].upstream_connections.to_string(),
            "7",
        ),
        (
            "resources[].perPerson.requestsPerSecond",
            vec![("/resources/0/perPerson", json!({ "requestsPerSecond": 3 }))],
            |c| c.resources[0].per_person.as_ref().map_or(0, |rate| rate.requests_per_second).to_string(),
            "3",
        ),
        (
            "resources[].perPerson.requestBurst",
            vec![("/resources/0/perPerson", json!({ "requestBurst": 4 }))],
            |c| c.resources[0].per_person.as_ref().map_or(0, |rate| rate.request_burst).to_string(),
            "4",
        ),
        (
            "resources[].requestBytes",
            vec![("/resources/0/requestBytes", json!(5))],
            |c| c.resources[0].request_bytes.to_string(),
            "5",
        ),
        (
            "resources[].scopes",
            vec![("/resources/0/scopes", json!(["read"]))],
            |c| c.resources[0].scopes[0].name.as_str().into(),
            "read",
        ),
        (
            "resources[].scopes[].name",
            vec![("/resources/0/scopes/0/name", json!("read"))],
            |c| c.resources[0].scopes[0].name.as_str().into(),
            "read",
        ),
        (
            "resources[].scopes[].description",
            vec![("/resources/0/scopes/0/description", json!("Read your notes"))],
            |c| c.resources[0].scopes[0].description.as_ref().map_or("none", ScopeDescription::as_str).into(),
            "Read your notes",
        ),
        (
            "resources[].allowedOrigins",
            vec![("/resources/0/allowedOrigins", json!(["https://r.example"]))],
            |c| format!("{:?}", c.resources[0].allowed_origins),
            r#"Some([Origin("https://r.example")])"#,
        ),
        (
            "allowedOrigins",
            vec![("/allowedOrigins", json!(["https://o.example"]))],
            debug_origins,
            r#"Some([Origin("https://o.example")])"#,
        ),
        (
            "clients[].clientId",
            vec![("/clients/0/clientId", json!("b"))],
            |c| c.clients[0].client_id.as_str().into(),
            "b",
        ),
        (
            "clients[].clientSecret",
            vec![("/clients/0/clientSecret", json!("another-16-bytes"))],
            |c| first_secret(c).into(),
            "another-16-bytes",
        ),
        (
            "clients[].clientSecretFile",
            vec![("/clients/0/clientSecret", Json::Null), ("/clients/0/clientSecretFile", json!("/run/secret"))],
            |c| first_secret(c).into(),
            "a secret out of a file",
        ),
        (
            "clients[].jwks",
            vec![("/clients/0/clientSecret", Json::Null), ("/clients/0/jwks", jwks())],
            |c| c.clients[0].jwks.as_ref().map_or(0, |set| set.0.keys().len()).to_string(),
            "1",
        ),
        (
            "clients[].jwksFile",
            vec![("/clients/0/clientSecret", Json::Null), ("/clients/0/jwksFile", json!("/run/jwks"))],
            |c| c.clients[0].jwks.as_ref().map_or(0, |set| set.0.keys().len()).to_string(),
            "1",
        ),
        (
            "clients[].jwksUri",
            vec![("/clients/0/clientSecret", Json::Null), ("/clients/0/jwksUri", json!("https://k.example/k"))],
            |c| c.clients[0].jwks_uri.as_ref().map_or("none", JwksUri::as_str).into(),
            "https://k.example/k",
        ),
        ("clients[].name", vec![("/clients/0/name", json!("Other"))], |c| c.clients[0].name.as_str().into(), "Other"),
        (
            "clients[].redirectUris",
            vec![("/clients/0/redirectUris", json!(["http://127.0.0.1/cb"]))],
            |c| c.clients[0].redirect_uris[0].as_str().into(),
            "http://127.0.0.1/cb",
        ),
        (
            "clients[].tokenEndpointAuthMethod",
            vec![("/clients/0/tokenEndpointAuthMethod", json!("client_secret_post"))],
            |c| format!("{:?}", c.clients[0].token_endpoint_auth_method),
            "Some(Post)",
        ),
        (
            "trustedClients",
            vec![("/trustedClients", json!(["app"]))],
            |c| c.trusted_clients.iter().map(ClientId::as_str).collect(),
            "app",
        ),
        (
            "resources[].identity",
            vec![
                ("/resources/0/identity", json!("subjectOnly")),
                ("/resources/0/assertion", Json::Null),
                ("/resources/0/exchange", Json::Null),
            ],
            |c| format!("{:?}", c.resources[0].identity),
            "SubjectOnly",
        ),
        (
            "resources[].assertion.audience",
            vec![("/resources/0/assertion/audience", json!("tools"))],
            |c| assertion(c).audience.as_ref().map_or("", |audience| audience.as_str()).to_owned(),
            "tools",
        ),
        (
            "resources[].assertion.algorithm",
            vec![("/resources/0/assertion/algorithm", json!("RS256"))],
            |c| format!("{:?}", assertion(c).algorithm),
            "Rs256",
        ),
        (
            "resources[].assertion.duration",
            vec![("/resources/0/assertion/duration", json!("1m"))],
            |c| format!("{:?}", assertion(c).duration),
            "60s",
        ),
        (
            "resources[].exchange.tokenEndpoint",
            vec![("/resources/0/exchange/tokenEndpoint", json!("https://other.example.com/token"))],
            |c| exchange(c).token_endpoint.as_str().to_owned(),
            "https://other.example.com/token",
        ),
        (
            "resources[].exchange.clientId",
            vec![("/resources/0/exchange/clientId", json!("another"))],
            |c| exchange(c).client_id.as_str().to_owned(),
            "another",
        ),
        (
            "resources[].exchange.clientSecret",
            vec![("/resources/0/exchange/clientSecret", json!("other secret"))],
            |c| exchange(c).client_secret.expose().to_owned(),
            "other secret",
        ),
        (
            "resources[].exchange.clientSecretFile",
            vec![
                ("/resources/0/exchange/clientSecret", Json::Null),
                ("/resources/0/exchange/clientSecretFile", json!("/run/secret")),
            ],
            |c| exchange(c).client_secret.expose().to_owned(),
            "a secret out of a file",
        ),
        (
            "resources[].exchange.expectedIssuer",
            vec![("/resources/0/exchange/expectedIssuer", json!("https://issuer.example.com"))],
            |c| exchange(c).expected_issuer.as_ref().map_or("", |issuer| issuer.as_str()).to_owned(),
            "https://issuer.example.com",
        ),
        (
            "resources[].exchange.connectorId",
            vec![("/resources/0/exchange/connectorId", json!("the-gate"))],
            |c| exchange(c).connector_id.as_ref().map_or("", |id| id.as_str()).to_owned(),
            "the-gate",
        ),
        (
            "resources[].exchange.audience",
            vec![("/resources/0/exchange/audience", json!("cluster"))],
            |c| exchange(c).audience.as_ref().map_or("", |audience| audience.as_str()).to_owned(),
            "cluster",
        ),
        (
            "resources[].exchange.scopes",
            vec![("/resources/0/exchange/scopes", json!(["openid"]))],
            |c| exchange(c).scopes.iter().map(|scope| scope.as_str()).collect(),
            "openid",
        ),
        (
            "resources[].exchange.subjectTokenType",
            vec![("/resources/0/exchange/subjectTokenType", json!("idToken"))],
            |c| format!("{:?}", exchange(c).subject_token_type),
            "Some(IdToken)",
        ),
        (
            "resources[].exchange.subjectToken",
            vec![("/resources/0/exchange/subjectToken", json!("idToken")), ("/resources/0/assertion", Json::Null)],
            |c| format!("{:?}", exchange(c).subject_token),
            "IdToken",
        ),
        (
            "resources[].exchange.requestedTokenType",
            vec![("/resources/0/exchange/requestedTokenType", json!("accessToken"))],
            |c| format!("{:?}", exchange(c).requested_token_type),
            "AccessToken",
        ),
        (
            "resources[].exchange.caFile",
            vec![("/resources/0/exchange/caFile", json!("/run/ca.pem"))],
            |c| file(exchange(c).ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "resources[].forwardAuth",
            vec![("/resources/0/forwardAuth", json!(true)), ("/trustedProxyCIDRs", json!(["127.0.0.1/32"]))],
            |c| c.resources[0].forward_auth.to_string(),
            "true",
        ),
        (
            "assertionKeyFiles",
            vec![("/assertionKeyFiles", json!(["/run/key.pem"]))],
            |c| file(c.assertion_key_files.first().map(|file| &file.path)),
            "/run/key.pem",
        ),
        (
            "tokenExchangeBroker.clientAudiences",
            vec![("/tokenExchangeBroker", json!({ "clientAudiences": { "app": ["tools"] } }))],
            |c| format!("{:?}", c.token_exchange_broker.as_ref().map(|broker| &broker.client_audiences.0)),
            r#"Some([("app", ["tools"])])"#,
        ),
        (
            "trustedAudiences",
            vec![("/trustedAudiences", json!(["kubectl"]))],
            |c| c.trusted_audiences.iter().map(ClientId::as_str).collect(),
            "kubectl",
        ),
        (
            "trustedIssuers[].issuer",
            vec![("/trustedIssuers/0/issuer", json!("https://other.example.com"))],
            |c| c.trusted_issuers[0].issuer.as_str().to_owned(),
            "https://other.example.com",
        ),
        (
            "trustedIssuers[].jwksUrl",
            vec![("/trustedIssuers/0/jwksUrl", json!("https://other.example.com/keys"))],
            |c| c.trusted_issuers[0].jwks_url.as_str().to_owned(),
            "https://other.example.com/keys",
        ),
        (
            "trustedIssuers[].allowedAudiences",
            vec![("/trustedIssuers/0/allowedAudiences", json!(["tools"]))],
            |c| c.trusted_issuers[0].allowed_audiences.iter().map(|it| it.as_str()).collect(),
            "tools",
        ),
        (
            "trustedIssuers[].allowedScopes",
            vec![("/trustedIssuers/0/allowedScopes", json!(["mcp"]))],
            |c| c.trusted_issuers[0].allowed_scopes.iter().map(ScopeName::as_str).collect(),
            "mcp",
        ),
        (
            "trustedIssuers[].allowedClaims",
            vec![("/trustedIssuers/0/allowedClaims", json!({ "sub": ["a:*"] }))],
            |c| format!("{:?}", c.trusted_issuers[0].allowed_claims.0),
            r#"[("sub", ["a:*"])]"#,
        ),
        (
            "trustedIssuers[].subjectClaim",
            vec![("/trustedIssuers/0/subjectClaim", json!("uid"))],
            |c| c.trusted_issuers[0].subject_claim.as_str().to_owned(),
            "uid",
        ),
        (
            "trustedIssuers[].acceptedTypHeaders",
            vec![("/trustedIssuers/0/acceptedTypHeaders", json!(["", "JWT"]))],
            |c| c.trusted_issuers[0].accepted_typ_headers.0.join("|"),
            "|JWT",
        ),
        (
            "trustedIssuers[].caFile",
            vec![("/trustedIssuers/0/caFile", json!("/run/ca.pem"))],
            |c| file(c.trusted_issuers[0].ca_file.as_ref().map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "introspectionResourceServers",
            vec![("/introspectionResourceServers", json!(["app"]))],
            |c| c.introspection_resource_servers.iter().map(ClientId::as_str).collect(),
            "app",
        ),
        (
            "allowPublicClientRegistration",
            vec![("/allowPublicClientRegistration", json!(true))],
            |c| c.allow_public_client_registration.to_string(),
            "true",
        ),
        (
            "adminToken",
            vec![("/adminToken", json!("thirty-two-characters-or-more-XX"))],
            |c| c.admin_token.as_ref().map_or("none", |token| token.0.expose()).into(),
            "thirty-two-characters-or-more-XX",
        ),
        (
            "adminTokenFile",
            vec![("/adminTokenFile", json!("/run/admin-token"))],
            |c| c.admin_token.as_ref().map_or("none", |token| token.0.expose()).into(),
            "an-admin-token-of-thirty-two-or-more",
        ),
        (
            "adminTls.certFile",
            vec![("/adminTls", json!({ "certFile": "/run/ca.pem", "keyFile": "/run/key.pem" }))],
            |c| file(c.admin_tls.as_ref().map(|tls| &tls.certificate.0.path)),
            "/run/ca.pem",
        ),
        (
            "adminTls.keyFile",
            vec![("/adminTls", json!({ "certFile": "/run/ca.pem", "keyFile": "/run/key.pem" }))],
            |c| file(c.admin_tls.as_ref().map(|tls| &tls.key.path)),
            "/run/key.pem",
        ),
        (
            "dangerPlainAdmin",
            vec![
                ("/dangerPlainAdmin", json!(true)),
                ("/adminToken", json!("thirty-two-characters-or-more-XX")),
                ("/adminListen", json!("10.0.0.7:9464")),
            ],
            |c| c.danger_plain_admin.to_string(),
            "true",
        ),
        (
            "webhook.url",
            vec![("/webhook", webhook())],
            |c| c.webhook.as_ref().map_or("", |webhook| webhook.url.as_str()).into(),
            "https://receiver.example.com/events",
        ),
        (
            "webhook.secret",
            vec![("/webhook", webhook())],
            |c| c.webhook.as_ref().map_or("", |webhook| webhook.secret.expose()).into(),
            "thirty-two-characters-or-more-XX",
        ),
        (
            "webhook.secretFile",
            vec![("/webhook", json!({ "url": "https://receiver.example.com", "secretFile": "/run/admin-token" }))],
            |c| c.webhook.as_ref().map_or("", |webhook| webhook.secret.expose()).into(),
            "an-admin-token-of-thirty-two-or-more",
        ),
        (
            "webhook.caFile",
            vec![("/webhook", webhook()), ("/webhook/caFile", json!("/run/ca.pem"))],
            |c| file(c.webhook.as_ref().and_then(|webhook| webhook.ca_file.as_ref()).map(|file| &file.path)),
            "/run/ca.pem",
        ),
        (
            "registrationToken",
            vec![("/registrationToken", json!("sixteen-letters-"))],
            |c| c.registration_token.as_ref().map_or("none", |token| token.0.expose()).into(),
            "sixteen-letters-",
        ),
        (
            "registrationTokenFile",
            vec![("/registrationTokenFile", json!("/run/token"))],
            |c| c.registration_token.as_ref().map_or("none", |token| token.0.expose()).into(),
            "a-token-out-of-a-file",
        ),
        (
            "trustedPublicRegistrationSchemes",
            vec![("/trustedPublicRegistrationSchemes", json!(["cursor"]))],
            |c| c.trusted_public_registration_schemes.iter().map(Scheme::as_str).collect(),
            "cursor",
        ),
        (
            "trustedPublicRegistrationRedirectURIs",
            vec![("/trustedPublicRegistrationRedirectURIs", json!(["https://t.example/cb"]))],
            |c| c.trusted_public_registration_redirect_uris.iter().map(HttpsRedirect::as_str).collect(),
            "https://t.example/cb",
        ),
        (
            "allowLocalhostRedirectURIs",
            vec![("/allowLocalhostRedirectURIs", json!(false))],
            |c| c.allow_localhost_redirect_uris.to_string(),
            "false",
        ),
        ("enableCIMD", vec![("/enableCIMD", json!(false))], |c| c.enable_cimd.to_string(), "false"),
        (
            "clientDocumentDomains",
            vec![("/clientDocumentDomains", json!(["a.example"]))],
            |c| c.client_document_domains.iter().map(Domain::as_str).collect(),
            "a.example",
        ),
        (
            "deniedClientDocumentDomains",
            vec![("/deniedClientDocumentDomains", json!(["b.example"]))],
            |c| c.denied_client_document_domains.iter().map(Domain::as_str).collect(),
            "b.example",
        ),
        (
            "dangerLoopbackClientDocuments",
            vec![("/dangerLoopbackClientDocuments", json!(true))],
            |c| c.danger_loopback_client_documents.to_string(),
            "true",
        ),
        ("sessionDuration", vec![("/sessionDuration", json!("1h"))], |c| format!("{:?}", c.session_duration), "3600s"),
        (
            "sessionMaxDuration",
            vec![("/sessionMaxDuration", json!("721h"))],
            |c| format!("{:?}", c.session_max_duration),
            "2595600s",
        ),
        ("streamOverrun", vec![("/streamOverrun", json!("5m"))], |c| format!("{:?}", c.stream_overrun), "300s"),
        (
            "accessTokenDuration",
            vec![("/accessTokenDuration", json!("5m"))],
            |c| format!("{:?}", c.access_token_duration),
            "300s",
        ),
        ("refreshGrace", vec![("/refreshGrace", json!("0s"))], |c| format!("{:?}", c.refresh_grace), "0ns"),
        ("storage.type", on_servers(json!({})), |c| format!("{:?}", c.storage.kind), "Valkey"),
        (
            "rateLimits.perAddress.registrationsPerHour",
            vec![("/rateLimits/perAddress/registrationsPerHour", json!(7))],
            |c| c.rate_limits.per_address.registrations_per_hour.to_string(),
            "7",
        ),
        (
            "rateLimits.perAddress.tokenPerSecond",
            vec![("/rateLimits/perAddress/tokenPerSecond", json!(8))],
            |c| c.rate_limits.per_address.token_per_second.to_string(),
            "8",
        ),
        (
            "rateLimits.perAddress.tokenBurst",
            vec![("/rateLimits/perAddress/tokenBurst", json!(9))],
            |c| c.rate_limits.per_address.token_burst.to_string(),
            "9",
        ),
        (
            "rateLimits.perAddress.authorizePerSecond",
            vec![("/rateLimits/perAddress/authorizePerSecond", json!(11))],
            |c| c.rate_limits.per_address.authorize_per_second.to_string(),
            "11",
        ),
        (
            "rateLimits.perAddress.authorizeBurst",
            vec![("/rateLimits/perAddress/authorizeBurst", json!(11))],
            |c| c.rate_limits.per_address.authorize_burst.to_string(),
            "11",
        ),
        (
            "rateLimits.perAddress.refusedPerSecond",
            vec![("/rateLimits/perAddress/refusedPerSecond", json!(11))],
            |c| c.rate_limits.per_address.refused_per_second.to_string(),
            "11",
        ),
        (
            "rateLimits.perAddress.refusedBurst",
            vec![("/rateLimits/perAddress/refusedBurst", json!(11))],
            |c| c.rate_limits.per_address.refused_burst.to_string(),
            "11",
        ),
        (
            "rateLimits.perClient.requestsPerSecond",
            vec![("/rateLimits/perClient", json!({ "requestsPerSecond": 11 }))],
            |c| c.rate_limits.per_client.requests_per_second.to_string(),
            "11",
        ),
        (
            "rateLimits.perClient.requestBurst",
            vec![("/rateLimits/perClient", json!({ "requestBurst": 11 }))],
            |c| c.rate_limits.per_client.request_burst.to_string(),
            "11",
        ),
        (
            "rateLimits.perDocumentHost.fetchesPerSecond",
            vec![("/rateLimits/perDocumentHost", json!({ "fetchesPerSecond": 11 }))],
            |c| c.rate_limits.per_document_host.fetches_per_second.to_string(),
            "11",
        ),
        (
            "rateLimits.perDocumentHost.fetchBurst",
            vec![("/rateLimits/perDocumentHost", json!({ "fetchBurst": 11 }))],
            |c| c.rate_limits.per_document_host.fetch_burst.to_string(),
            "11",
        ),
        (
            "rateLimits.securityEvents.perSecond",
            vec![("/rateLimits/securityEvents", json!({ "perSecond": 11 }))],
            |c| c.rate_limits.security_events.per_second.to_string(),
            "11",
        ),
        (
            "rateLimits.securityEvents.burst",
            vec![("/rateLimits/securityEvents", json!({ "burst": 11 }))],
            |c| c.rate_limits.security_events.burst.to_string(),
            "11",
        ),
        (
            "rateLimits.perPerson.requestsPerSecond",
            vec![("/rateLimits/perPerson", json!({ "requestsPerSecond": 3 }))],
            |c| c.rate_limits.per_person.requests_per_second.to_string(),
            "3",
        ),
        (
            "rateLimits.perPerson.requestBurst",
            vec![("/rateLimits/perPerson", json!({ "requestBurst": 4 }))],
            |c| c.rate_limits.per_person.request_burst.to_string(),
            "4",
        ),
        (
            "caFiles",
            vec![("/caFiles", json!(["/run/ca.pem", "/run/other-ca.pem"]))],
            |c| c.ca_files.iter().map(|file| file.path.display().to_string()).collect(),
            "/run/ca.pem/run/other-ca.pem",
        ),
        ("logFormat", vec![("/logFormat", json!("text"))], |c| format!("{:?}", c.log_format), "Text"),
        ("logLevel", vec![("/logLevel", json!("debug"))], |c| format!("{:?}", c.log_level), "Debug"),
    ]
}

/// [`arrivals`] of a storage on servers.
fn arrivals_at_servers() -> Vec<Arrival> {
    let beside = |more: Json| {
        let mut storage = json!({ "type": "valkey", "valkey": { "url": "valkey.example:6379" } });
        merge(&mut storage, more);
        vec![("/storage", storage)]
    };
    vec![
        ("storage.staleFor", beside(json!({ "staleFor": "7s" })), |c| format!("{:?}", c.storage.stale_for), "7s"),
        (
            "storage.streamStaleFor",
            beside(json!({ "streamStaleFor": "0s" })),
            |c| format!("{:?}", c.storage.stream_stale_for),
            "0ns",
        ),
        (
            "storage.valkey.url",
            on_servers(json!({ "url": "[::1]:7000" })),
            |c| {
                valkey(c, |v| match &v.servers {
                    Servers::Standalone(one) => format!("{}|{}", one.host, one.port),
                    other => format!("{other:?}"),
                })
            },
            "::1|7000",
        ),
        (
            "storage.valkey.cluster",
            vec![("/storage", json!({ "type": "valkey", "valkey": { "cluster": ["a.example:1", "[::1]:2"] } }))],
            |c| {
                valkey(c, |v| match &v.servers {
                    Servers::Cluster(nodes) => nodes.iter().map(|one| format!("{}|{} ", one.host, one.port)).collect(),
                    other => format!("{other:?}"),
                })
            },
            "a.example|1 ::1|2 ",
        ),
        (
            "storage.valkey.username",
            on_servers(json!({ "username": "gate", "password": "hush" })),
            |c| valkey(c, |v| format!("{:?}", v.username.as_ref().map(ServerUser::as_str))),
            r#"Some("gate")"#,
        ),
        (
            "storage.valkey.password",
            on_servers(json!({ "password": "hush" })),
            |c| valkey(c, |v| password(&v.password)),
            "hush",
        ),
        (
            "storage.valkey.passwordFile",
            on_servers(json!({ "passwordFile": "/run/secret" })),
            |c| valkey(c, |v| password(&v.password)),
            "a secret out of a file",
        ),
        (
            "storage.valkey.tlsEnabled",
            on_servers(json!({ "tlsEnabled": true })),
            |c| valkey(c, |v| v.tls_enabled.to_string()),
            "true",
        ),
        (
            "storage.valkey.tlsServerName",
            on_servers(json!({ "tlsEnabled": true, "tlsServerName": "name.example" })),
            |c| valkey(c, |v| v.tls_server_name.as_ref().map_or("", ServerName::as_str).to_owned()),
            "name.example",
        ),
        (
            "storage.valkey.tlsCaFile",
            on_servers(json!({ "tlsEnabled": true, "tlsCaFile": "/run/ca.pem" })),
            |c| valkey(c, |v| file(v.tls_ca_file.as_ref().map(|file| &file.path))),
            "/run/ca.pem",
        ),
        (
            "storage.valkey.tlsCertFile",
            on_servers(json!({ "tlsEnabled": true, "tlsCertFile": "/run/ca.pem", "tlsKeyFile": "/run/key.pem" })),
            |c| valkey(c, |v| file(v.tls_cert_file.as_ref().map(|file| &file.0.path))),
            "/run/ca.pem",
        ),
        (
            "storage.valkey.tlsKeyFile",
            on_servers(json!({ "tlsEnabled": true, "tlsCertFile": "/run/ca.pem", "tlsKeyFile": "/run/key.pem" })),
            |c| valkey(c, |v| file(v.tls_key_file.as_ref().map(|file| &file.path))),
            "/run/key.pem",
        ),
        ("storage.valkey.db", on_servers(json!({ "db": 7 })), |c| valkey(c, |v| v.db.to_string()), "7"),
        (
            "storage.valkey.keyPrefix",
            on_servers(json!({ "keyPrefix": "muster:" })),
            |c| valkey(c, |v| v.key_prefix.as_str().to_owned()),
            "muster:",
        ),
        (
            "storage.valkey.waitReplicas",
            on_servers(json!({ "waitReplicas": 2 })),
            |c| valkey(c, |v| v.wait_replicas.to_string()),
            "2",
        ),
        (
            "storage.valkey.sentinel.masterName",
            under_sentinels(json!({ "masterName": "other" })),
            |c| valkey(c, |v| sentinel(v, |s| s.master_name.as_str().to_owned())),
            "other",
        ),
        (
            "storage.valkey.sentinel.addresses",
            under_sentinels(json!({ "addresses": ["a.example:1", "192.0.2.1:2"] })),
            |c| {
                valkey(c, |v| {
                    sentinel(v, |s| s.addresses.iter().map(|one| format!("{}|{} ", one.host, one.port)).collect())
                })
            },
            "a.example|1 192.0.2.1|2 ",
        ),
        (
            "storage.valkey.sentinel.username",
            under_sentinels(json!({ "username": "gate", "password": "hush" })),
            |c| valkey(c, |v| sentinel(v, |s| format!("{:?}", s.username.as_ref().map(ServerUser::as_str)))),
            r#"Some("gate")"#,
        ),
        (
            "storage.valkey.sentinel.password",
            under_sentinels(json!({ "password": "hush" })),
            |c| valkey(c, |v| sentinel(v, |s| password(&s.password))),
            "hush",
        ),
        (
            "storage.valkey.sentinel.passwordFile",
            under_sentinels(json!({ "passwordFile": "/run/secret" })),
            |c| valkey(c, |v| sentinel(v, |s| password(&s.password))),
            "a secret out of a file",
        ),
    ]
}
