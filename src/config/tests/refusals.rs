//! What does not load together.

use super::*;

fn admin_token() -> Json {
    json!("thirty-two-characters-or-more-XX")
}

#[test]
fn t289_unsafe_combinations_do_not_load() {
    let public = |redirect: &str| json!({ "clientId": "p", "name": "P", "redirectUris": [redirect] });
    let loopback = json!(["https://app.example.com/cb", "http://localhost/cb"]);
    judge(&[
        (&[("/baseUrl", json!("http://mcp.example.com"))], "baseUrl", "http beyond loopback"),
        (&[("/listen", json!("0.0.0.0:8080"))], "listen", "beyond loopback"),
        (&[("/listen", json!("[::]:8080"))], "listen", "beyond loopback"),
        (&[("/listen", json!("192.0.2.1:8080"))], "listen", "beyond loopback"),
        (&[("/tls", tls()), ("/dangerPlainHttp", json!(true))], "dangerPlainHttp", "of no use beside tls"),
        (&[("/tls", tls()), ("/baseUrl", json!("http://localhost"))], "tls", "baseUrl is http"),
        (&[("/tls", tls()), ("/tls/certFile", json!("/run/private.pem"))], "tls.certFile", "a private key"),
        (&[("/tls", tls()), ("/tls/keyFile", json!("/run/ca.pem"))], "tls.keyFile", "without a PEM private key"),
        (&[("/tls", tls()), ("/tls/keyFile", Json::Null)], "tls.keyFile", "is missing"),
        (&[("/trustedProxyCIDRs", json!(["0.0.0.0/0"]))], "trustedProxyCIDRs[0]", "trusts so much"),
        (&[("/allowedOrigins", json!(["*"]))], "allowedOrigins[0]", "every web page"),
        (&[("/resources/0/allowedOrigins", json!(["null"]))], "resources[0].allowedOrigins[0]", "every web page"),
        (
            &[("/clients/0/redirectUris/0", json!("https://app.example.com/*"))],
            "clients[0].redirectUris[0]",
            "wildcard",
        ),
        (&[("/clients/0/clientSecret", json!("short"))], "clients[0].clientSecret", "short enough to guess"),
        (&[("/adminToken", json!("thirty-one-characters-are-short"))], "adminToken", "short enough to guess"),
        (&[("/adminToken", json!("thirty-two characters with spaces"))], "adminToken", "sent as a bearer token"),
        (&[("/adminToken", admin_token()), ("/adminListen", json!("0.0.0.0:9464"))], "adminListen", "in the clear"),
        (&[("/adminToken", admin_token()), ("/adminListen", json!("10.0.0.7:9464"))], "adminListen", "in the clear"),
        (&[("/webhook", webhook()), ("/webhook/secret", json!("short"))], "webhook.secret", "short enough to guess"),
        (&[("/webhook", webhook()), ("/webhook/url", json!("http://receiver.example.com"))], "webhook.url", "http"),
        (&[("/dangerPlainAdmin", json!(true))], "dangerPlainAdmin", "of no use"),
        (
            &[("/adminToken", admin_token()), ("/adminTls", tls()), ("/dangerPlainAdmin", json!(true))],
            "dangerPlainAdmin",
            "of no use",
        ),
        (&[("/registrationToken", json!("short"))], "registrationToken", "short enough to guess"),
        (&[("/registrationToken", json!("a token with spaces"))], "registrationToken", "sent as a bearer token"),
        (&[("/registrationTokenFile", json!("/run/secret"))], "registrationTokenFile", "sent as a bearer token"),
        (
            &[("/trustedPublicRegistrationRedirectURIs", json!(["http://localhost/cb"]))],
            "trustedPublicRegistrationRedirectURIs[0]",
            "not an https URL",
        ),
        (
            &[("/trustedPublicRegistrationSchemes", json!(["javascript"]))],
            "trustedPublicRegistrationSchemes[0]",
            "no program can have",
        ),
        (&[("/resources/0/exchange", Json::Null)], "resources[0].exchange", "is missing"),
        (&[("/resources/0/identity", json!("assertion"))], "resources[0].exchange", "of no use in this form"),
        (
            &[("/resources/0/identity", json!("headers")), ("/resources/0/exchange", Json::Null)],
            "resources[0].assertion",
            "of no use in this form",
        ),
        (
            &[("/resources/0/identity", json!("idToken")), ("/resources/0/exchange", Json::Null)],
            "resources[0].assertion",
            "of no use in this form",
        ),
        (
            &[("/resources/0/identity", json!("idToken")), ("/resources/0/assertion", Json::Null)],
            "resources[0].exchange",
            "of no use in this form",
        ),
        (
            &[("/resources/0/exchange/subjectToken", json!("idToken"))],
            "resources[0].assertion",
            "where the ID token is exchanged",
        ),
        (
            &[("/resources/0/exchange/subjectToken", json!("jwt")), ("/resources/0/assertion", Json::Null)],
            "resources[0].exchange.subjectToken",
            "nothing that is exchanged",
        ),
        (
            &[("/resources/0/exchange/tokenEndpoint", json!("http://dex.example.com/token"))],
            "resources[0].exchange.tokenEndpoint",
            "http beyond loopback",
        ),
        (
            &[("/resources/0/exchange/connectorId", json!("a b"))],
            "resources[0].exchange.connectorId",
            "not the identifier",
        ),
        (&[("/resources/0/assertion/audience", json!("a b"))], "resources[0].assertion.audience", "not an audience"),
        (
            &[("/trustedIssuers/0/issuer", json!("https://mcp.example.com"))],
            "trustedIssuers[0].issuer",
            "is the gate itself",
        ),
        (
            &[("/trustedIssuers/0/acceptedTypHeaders", json!([]))],
            "trustedIssuers[0].acceptedTypHeaders",
            "not a list of types",
        ),
        (
            &[("/trustedIssuers/0/allowedClaims", json!({ "sub": "a" }))],
            "trustedIssuers[0].allowedClaims.sub",
            "not a list of texts",
        ),
        (
            &[("/trustedIssuers/0/jwksUrl", json!("http://cluster.example.com/jwks"))],
            "trustedIssuers[0].jwksUrl",
            "http beyond loopback",
        ),
        (
            &[("/tokenExchangeBroker", json!({ "clientAudiences": { "unknown": ["tools"] } }))],
            "tokenExchangeBroker.clientAudiences.unknown",
            "not the identifier of one of clients",
        ),
        (
            &[
                ("/clients/1", public("https://p.example/cb")),
                ("/tokenExchangeBroker", json!({ "clientAudiences": { "p": ["tools"] } })),
            ],
            "tokenExchangeBroker.clientAudiences.p",
            "public client",
        ),
        (&[("/resources/0/forwardAuth", json!(true))], "resources[0].forwardAuth", "without trustedProxyCIDRs"),
        (&[("/resources/0/assertion/duration", json!("2h"))], "resources[0].assertion.duration", "out of bounds"),
        (&[("/trustedClients", json!(["unknown"]))], "trustedClients[0]", "not the identifier of one of clients"),
        (
            &[("/introspectionResourceServers", json!(["unknown"]))],
            "introspectionResourceServers[0]",
            "not the identifier of one of clients",
        ),
        (
            &[("/clients/1", public("https://p.example/cb")), ("/introspectionResourceServers", json!(["app", "p"]))],
            "introspectionResourceServers[1]",
            "public client",
        ),
        (
            &[("/clients/1", public("https://p.example/cb")), ("/trustedClients", json!(["app", "p"]))],
            "trustedClients[1]",
            "public client",
        ),
        (
            &[("/clients/0/redirectUris", loopback.clone()), ("/trustedClients", json!(["app"]))],
            "trustedClients[0]",
            "not https",
        ),
        (
            &[("/clients/0/redirectUris", json!(["cursor://x/cb"])), ("/trustedClients", json!(["app"]))],
            "trustedClients[0]",
            "not https",
        ),
        (
            &[("/clients/0/redirectUris", loopback), ("/allowLocalhostRedirectURIs", json!(false))],
            "clients[0].redirectUris[1]",
            "allowLocalhostRedirectURIs is false",
        ),
        (&[("/sessionMaxDuration", json!("8761h"))], "sessionMaxDuration", "out of bounds"),
        (&[("/accessTokenDuration", json!("25h"))], "accessTokenDuration", "out of bounds"),
        (&[("/accessTokenDuration", json!("4m"))], "accessTokenDuration", "out of bounds"),
        (&[("/sessionDuration", json!("2161h"))], "sessionDuration", "longer than sessionMaxDuration"),
        (&[("/sessionDuration", json!("10m"))], "accessTokenDuration", "longer than sessionDuration"),
        (
            &[("/resources/0/upstream", json!("http://127.0.0.1:9464/metrics"))],
            "resources[0].upstream",
            "admin listener",
        ),
        (&[("/resources/0/upstream", json!("http://localhost:8080/mcp"))], "resources[0].upstream", "the gate itself"),
        (
            &[("/resources/0/upstream", json!("http://[::ffff:7f00:1]:9464/"))],
            "resources[0].upstream",
            "admin listener",
        ),
        (
            &[("/adminListen", json!("0.0.0.0:9464")), ("/resources/0/upstream", json!("http://127.0.0.1:9464"))],
            "resources[0].upstream",
            "admin listener",
        ),
        (&[("/oidc/issuerUrl", json!("https://mcp.example.com"))], "oidc.issuerUrl", "the gate itself"),
        (&[("/caFiles", json!(["/run/private.pem"]))], "caFiles[0]", "a private key"),
    ]);
}

#[test]
fn t289_what_is_said_out_loud_does_load() {
    for changes in [
        &[("/listen", json!("0.0.0.0:8080")), ("/dangerPlainHttp", json!(true))],
        &[("/listen", json!("0.0.0.0:8080")), ("/tls", tls())],
        &[("/listen", json!("0.0.0.0:8080")), ("/trustedProxyCIDRs", json!(["10.0.0.0/8"]))],
        &[("/baseUrl", json!("http://localhost:8080")), ("/listen", json!("[::1]:8080"))],
        &[("/trustedClients", json!(["app"])), ("/clients/0/tokenEndpointAuthMethod", json!("client_secret_basic"))],
    ] {
        assert!(read(&change(rich(), changes)).is_ok(), "{changes:?}");
    }
}

#[test]
fn m09_m23_a_client_with_keys_proves_who_it_is_as_well_as_one_with_a_secret() {
    let client = json!({ "clientId": "signer", "name": "S", "redirectUris": ["https://s.example/cb"], "jwks": jwks() });
    for listed in [
        ("/introspectionResourceServers", json!(["signer"])),
        ("/tokenExchangeBroker", json!({ "clientAudiences": { "signer": ["tools"] } })),
        ("/trustedClients", json!(["signer"])),
    ] {
        let said = read(&change(rich(), &[("/clients/1", client.clone()), listed.clone()]));
        assert!(said.is_ok(), "{} {:?}", listed.0, said.err());
    }
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let numbered = |count: u8| (0..count).map(|number| json!(format!("/p{number}"))).collect::<Vec<_>>();
    let many = numbered(65).into_iter().map(|path| json!({ "path": path, "upstream": "http://u" })).collect::<Vec<_>>();
    judge(&[
        (&[("/adminListen", json!("127.0.0.1:8080"))], "adminListen", "where the public listener listens"),
        (&[("/adminListen", json!("unix:admin.sock"))], "adminListen", "is not the path of a socket"),
        (&[("/adminListen", json!("unix:/run/a")), ("/adminTls", tls())], "adminTls", "of no use on a Unix socket"),
        (
            &[
                ("/adminListen", json!("unix:/run/a")),
                ("/adminToken", admin_token()),
                ("/dangerPlainAdmin", json!(true)),
            ],
            "dangerPlainAdmin",
            "of no use",
        ),
        (
            &[("/adminListen", json!("unix:/run/a")), ("/resources/0/upstream", json!("unix:/run/a:/mcp"))],
            "resources[0].upstream",
            "is the gate's admin listener",
        ),
        (&[("/adminListen", json!("0.0.0.0:8080"))], "adminListen", "where the public listener listens"),
        (
            &[("/resources/1", json!({ "paths": ["/x", "/mcp"], "upstream": "http://u" }))],
            "resources[1]",
            "an earlier resource",
        ),
        (
            &[("/resources/0/path", Json::Null), ("/resources/0/paths", json!(["/x", "/x"]))],
            "resources[0].paths",
            "same path twice",
        ),
        (&[("/resources/0/path", Json::Null), ("/resources/0/paths", json!([]))], "resources[0].paths", "is empty"),
        (&[("/resources/0/paths", json!(["/x"]))], "resources[0].paths", "given beside path"),
        (&[("/resources", json!([]))], "resources", "missing or empty"),
        (&[("/resources/0/scopes", json!(["a", "a"]))], "resources[0].scopes", "same scope twice"),
        (
            &[("/resources/0/scopes", json!(["a".repeat(200), "b".repeat(56)]))],
            "resources[0].scopes",
            "granted together",
        ),
        (&[("/clients/0/redirectUris", json!([]))], "clients[0].redirectUris", "missing or empty"),
        (
            &[("/clients/0/tokenEndpointAuthMethod", json!("none"))],
            "clients[0].tokenEndpointAuthMethod",
            "none beside a secret",
        ),
        (
            &[
                ("/clients/0/clientSecret", Json::Null),
                ("/clients/0/tokenEndpointAuthMethod", json!("client_secret_post")),
            ],
            "clients[0].tokenEndpointAuthMethod",
            "wants a secret",
        ),
        (&[("/clients/0/jwks", jwks())], "clients[0].clientSecret", "beside keys"),
        (
            &[("/clients/0/tokenEndpointAuthMethod", json!("private_key_jwt"))],
            "clients[0].tokenEndpointAuthMethod",
            "wants keys",
        ),
        (
            &[
                ("/clients/0/clientSecret", Json::Null),
                ("/clients/0/jwks", json!({ "keys": [{ "kty": "oct", "k": "AA" }] })),
            ],
            "clients[0].jwks",
            "private or symmetric",
        ),
        (
            &[("/clients/0/clientSecret", Json::Null), ("/clients/0/jwks", json!({ "keys": [] }))],
            "clients[0].jwks",
            "holds no key",
        ),
        (
            &[("/clients/1", json!({ "clientId": "app", "name": "B", "redirectUris": ["https://b.example/cb"] }))],
            "clients[1].clientId",
            "an earlier client",
        ),
        (&[("/oidc/scopes", json!(["profile"]))], "oidc.scopes", "lacks openid"),
        (&at("dex", "scopes", json!(["profile"])), "dex.scopes", "lacks openid"),
        (&at("google", "scopes", json!(["profile"])), "google.scopes", "lacks openid"),
        (&at("dex", "connectorId", json!("a b")), "dex.connectorId", "is not the identifier of a connector"),
        (&at("dex", "crossClientAudiences", json!(vec!["a"; 51])), "dex.crossClientAudiences", "too many"),
        (&at("google", "hostedDomain", json!("@example.com")), "google.hostedDomain", "is not a domain"),
        (&at("dex", "issuerUrl", json!("https://mcp.example.com")), "dex.issuerUrl", "is the gate itself"),
        (&[("/provider", json!("dex")), ("/oidc", Json::Null)], "dex", "is missing"),
        (&[("/google", json!({ "clientId": "a", "clientSecret": "b" }))], "google", "is of no use with this provider"),
        (&entra(json!({ "issuerUrl": of_many() })), "oidc.issuerUrl", "is that of many tenants"),
        (
            &entra(json!({ "issuerUrl": "https://login.example/common", "tenants": [TENANT] })),
            "oidc.issuerUrl",
            "where the tenant stands",
        ),
        (&entra(json!({ "tenants": [TENANT] })), "oidc.tenants", "names one tenant"),
        (&entra(json!({ "dangerAnyTenant": true })), "oidc.dangerAnyTenant", "names one tenant"),
        (
            &entra(json!({ "issuerUrl": of_many(), "tenants": [TENANT], "dangerAnyTenant": true })),
            "oidc.dangerAnyTenant",
            "given beside tenants",
        ),
        (
            &entra(json!({ "issuerUrl": of_many(), "tenants": ["contoso.onmicrosoft.com"] })),
            "oidc.tenants[0]",
            "is not the identifier of a tenant",
        ),
        (
            &entra(json!({ "issuerUrl": of_many(), "tenants": [TENANT.replace('a', "A")] })),
            "oidc.tenants[0]",
            "is not the identifier of a tenant",
        ),
        (&[("/provider", json!("github")), ("/oidc", Json::Null)], "github", "is missing"),
        (&at("github", "groups", json!("all")), "github.groups", "is nothing that GitHub has groups by"),
        (&at("github", "recheckEvery", json!("9m")), "github.recheckEvery", "out of bounds"),
        (&at("github", "url", json!("https://mcp.example.com")), "github.url", "is the gate itself"),
        (&with_github("/trustedAudiences", json!(["a"])), "trustedAudiences", "GitHub gives none"),
        (&with_github("/allowedPeople", json!({ "groups": ["acme"] })), "allowedPeople.groups", "not asked for any"),
        (&[("/oidc/tenants", json!([TENANT]))], "oidc.tenants", "of no use with this provider"),
        (&[("/oidc/dangerAnyTenant", json!(true))], "oidc.dangerAnyTenant", "of no use with this provider"),
        (&[("/oidc/groupsClaim", json!("a b"))], "oidc.groupsClaim", "is not the name of a claim"),
        (
            &[("/allowedPeople", json!({ "emailDomains": ["*.example.com"] }))],
            "allowedPeople.emailDomains[0]",
            "is not a domain",
        ),
        (
            &[("/allowedPeople", json!({ "emails": ["a@b@c.example"] }))],
            "allowedPeople.emails[0]",
            "is not an e-mail address",
        ),
        (
            &[("/allowedPeople", json!({ "groups": ["g".repeat(257)] }))],
            "allowedPeople.groups[0]",
            "is not the name of a group",
        ),
        (&[("/allowedPeople", json!({ "subjects": ["\u{e9}"] }))], "allowedPeople.subjects[0]", "is not a subject"),
        (&[("/clients/0/clientId", json!("dcr_app"))], "clients[0].clientId", "registration hands out"),
        (
            &[("/baseUrl", json!("https://mcp.example.com/gate")), ("/resources/0/path", json!("/gate/oauth/token"))],
            "resources[0]",
            "answers itself",
        ),
        (&[("/resources/0/path", json!("/register"))], "resources[0].path", "answers itself"),
        (
            &[("/resources/0/path", Json::Null), ("/resources/0/paths", numbered(33).into())],
            "resources[0].paths",
            "too many",
        ),
        (&[("/resources", many.into())], "resources", "too many"),
        (&[("/oidc", Json::Null)], "oidc", "is missing"),
        (&[("/oidc/clientSecretFile", json!("/run/secret"))], "oidc.clientSecretFile", "given beside clientSecret"),
        (&[("/storage", json!({ "type": "redis" }))], "storage.type", "names a storage"),
        (&[("/valkey", json!({}))], "valkey", "not a key"),
    ]);
}

#[test]
fn t289_a_storage_that_replicas_share_is_described_without_contradictions() {
    let servers = |more: Json| on_servers(more).remove(0);
    judge(&[
        (&[("/storage", json!({ "type": "valkey" }))], "storage.valkey", "is missing"),
        (
            &[("/storage", json!({ "type": "memory", "valkey": { "url": "a:1" } }))],
            "storage.valkey",
            "of no use with memory",
        ),
        (&[("/storage", json!({ "type": "valkey", "valkey": {} }))], "storage.valkey.url", "is missing"),
        (
            &[servers(json!({ "sentinel": { "masterName": "a", "addresses": ["a:1"] } }))],
            "storage.valkey.sentinel",
            "is given beside url",
        ),
        (
            &[("/storage", json!({ "type": "valkey", "valkey": { "cluster": ["a:1"], "db": 1 } }))],
            "storage.valkey.db",
            "a cluster has no other",
        ),
        (
            &[("/storage", json!({ "type": "valkey", "valkey": { "cluster": [] } }))],
            "storage.valkey.cluster",
            "is empty",
        ),
        (&[servers(json!({ "url": "redis://valkey:6379" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "valkey" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "valkey:0" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "valkey:+1" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "[valkey]:1" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "url": "::1:6379" }))], "storage.valkey.url", "not the address of a server"),
        (&[servers(json!({ "username": "gate" }))], "storage.valkey.password", "is missing beside username"),
        (&[servers(json!({ "keyPrefix": "a{b}:" }))], "storage.valkey.keyPrefix", "cannot stand before"),
        (&[servers(json!({ "tlsServerName": "a" }))], "storage.valkey.tlsServerName", "of no use without tlsEnabled"),
        (&[servers(json!({ "tlsCaFile": "/run/ca.pem" }))], "storage.valkey.tlsCaFile", "of no use without tlsEnabled"),
        (
            &[servers(json!({ "tlsEnabled": true, "tlsCertFile": "/run/ca.pem" }))],
            "storage.valkey.tlsKeyFile",
            "is missing",
        ),
        // Replicas that made keys of their own would lock each other out.
        (
            &[servers(json!({})), ("/masterKeys", Json::Null), ("/masterKeyFile", json!("/run/absent"))],
            "masterKeyFile",
            "replicas share the storage",
        ),
        (
            &[servers(json!({})), ("/masterKeys", Json::Null), ("/dangerRandomMasterKey", json!(true))],
            "dangerRandomMasterKey",
            "outlives the process",
        ),
    ]);
}
