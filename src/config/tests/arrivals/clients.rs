//! Clients, and who may become one.

use super::*;

pub(super) fn arrivals() -> Vec<Arrival> {
    vec![
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
            "tokenExchangeBroker.clientAudiences",
            vec![("/tokenExchangeBroker", json!({ "clientAudiences": { "app": ["tools"] } }))],
            |c| format!("{:?}", c.token_exchange_broker.as_ref().map(|broker| &broker.client_audiences.0)),
            r#"Some([("app", ["tools"])])"#,
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
    ]
}
