//! What is protected, how its servers learn who the person is, and bearers of others.

use super::*;

pub(super) fn arrivals() -> Vec<Arrival> {
    let debug_origins: Probe = |c| format!("{:?}", c.allowed_origins);
    vec![
        (
            "resources[].name",
            vec![("/resources/0/name", json!("Company tools"))],
            |c| c.resources[0].name.as_ref().map_or("none", ShownName::as_str).into(),
            "Company tools",
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
            "caFiles",
            vec![("/caFiles", json!(["/run/ca.pem", "/run/other-ca.pem"]))],
            |c| c.ca_files.iter().map(|file| file.path.display().to_string()).collect(),
            "/run/ca.pem/run/other-ca.pem",
        ),
    ]
}
