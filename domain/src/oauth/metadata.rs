//! What clients discover: the authorization server (RFC 8414), the same as OpenID configuration, and each resource (RFC 9728).
//!
//! Every byte comes from the configuration, never from a request, and is made once. A document says only what is so: what it
//! lists is answered, what it does not list is refused.

use crate::jose::algorithm::Algorithm;
use crate::oauth::client::AuthMethod;
use crate::oauth::downstream::TOKEN_EXCHANGE;
use crate::oauth::policy::Policy;
use crate::oauth::resource::{PROTECTED_RESOURCE, Resource};
use crate::oauth::scope::Scopes;
use crate::wire::json::ObjectWriter;
use crate::wire::uri::Uri;
use std::collections::HashMap;
use std::sync::Arc;

/// All documents, by the path at which each is read.
#[derive(Debug, Clone)]
pub struct Metadata(HashMap<String, Arc<[u8]>>);

impl Metadata {
    /// The documents of this configuration.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let mut documents = HashMap::new();
        let server: Arc<[u8]> = authorization_server(policy).into_bytes().into();
        for path in server_paths(&policy.base_url) {
            documents.insert(path, Arc::clone(&server));
        }
        for resource in policy.resources.iter() {
            for path in resource.paths() {
                let own = if path == "/" { "" } else { path };
                let document = protected_resource(policy, resource, &resource.url_of(path));
                documents.insert([PROTECTED_RESOURCE, own].concat(), document.into_bytes().into());
            }
        }
        // With several resources and none at the root, a document there would be a guess.
        if let Some(resource) = policy.resources.fallback() {
            let document = || protected_resource(policy, resource, resource.identifier()).into_bytes().into();
            documents.entry(PROTECTED_RESOURCE.to_owned()).or_insert_with(document);
        }
        Self(documents)
    }

    /// The JSON document at this path of a request, if there is one.
    #[must_use]
    pub fn document(&self, path: &str) -> Option<&Arc<[u8]>> {
        self.0.get(path)
    }

    /// Every path that has a document.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// What is granted beside the scopes of resources: the wish for a refresh token, which clients express only if it is listed here.
pub const OFFLINE_ACCESS: &str = "offline_access";

/// The path of the token endpoint, below the base URL.
pub(crate) const TOKEN: &str = "/oauth/token";

const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";

/// Where clients of any age look for the server: at the root, and for an issuer with a path in front of that path and behind it
/// (RFC 8414 section 3, OpenID Connect Discovery section 4).
fn server_paths(base_url: &str) -> Vec<String> {
    let mut paths = vec![AUTHORIZATION_SERVER.to_owned(), OPENID_CONFIGURATION.to_owned()];
    let own = Uri::parse(base_url).map(|uri| uri.path()).unwrap_or_default();
    if !own.is_empty() {
        for document in [AUTHORIZATION_SERVER, OPENID_CONFIGURATION] {
            paths.push([document, own].concat());
            paths.push([own, document].concat());
        }
    }
    paths
}

fn authorization_server(policy: &Policy) -> String {
    let endpoint = |path: &str| [&policy.base_url, path].concat();
    let methods = || AuthMethod::ALL.into_iter().map(AuthMethod::name);
    let algorithms = || Algorithm::ALL.into_iter().map(Algorithm::name);
    let every_scope =
        policy.resources.iter().flat_map(|resource| resource.scopes().iter().map(|scope| scope.name.as_str()));
    let scopes = Scopes::of(every_scope.chain([OFFLINE_ACCESS]));
    let exchange = (!policy.broker.is_empty()).then_some(TOKEN_EXCHANGE);
    let grant_types = ["authorization_code", "refresh_token"].into_iter().chain(exchange);
    let registration = policy.registration.can_open().then(|| endpoint("/oauth/register"));
    ObjectWriter::new()
        .text("issuer", &policy.base_url)
        .text("authorization_endpoint", &endpoint("/oauth/authorize"))
        .text("token_endpoint", &endpoint(TOKEN))
        .optional_text("registration_endpoint", registration.as_deref())
        .text("revocation_endpoint", &endpoint("/oauth/revoke"))
        .text("introspection_endpoint", &endpoint("/oauth/introspect"))
        .text("userinfo_endpoint", &endpoint("/oauth/userinfo"))
        .text("jwks_uri", &endpoint("/.well-known/jwks.json"))
        .texts("scopes_supported", scopes.iter())
        .texts("response_types_supported", ["code"])
        .texts("response_modes_supported", ["query"])
        .texts("grant_types_supported", grant_types)
        .texts("code_challenge_methods_supported", ["S256"])
        .texts("token_endpoint_auth_methods_supported", methods())
        .texts("token_endpoint_auth_signing_alg_values_supported", algorithms())
        .texts("revocation_endpoint_auth_methods_supported", methods())
        .texts("revocation_endpoint_auth_signing_alg_values_supported", algorithms())
        // Whoever asks about a token proves who it is: a public client cannot (RFC 7662 section 2.1).
        .texts(
            "introspection_endpoint_auth_methods_supported",
            methods().filter(|name| *name != AuthMethod::None.name()),
        )
        .texts("introspection_endpoint_auth_signing_alg_values_supported", algorithms())
        .boolean("authorization_response_iss_parameter_supported", true)
        .boolean("client_id_metadata_document_supported", policy.documents.on)
        .texts("protected_resources", policy.resources.iter().map(Resource::identifier))
        // No ID token is ever issued. Readers of an OpenID configuration refuse one without these two, and the specification wants
        // this algorithm among the second (OpenID Connect Discovery section 3).
        .texts("subject_types_supported", ["public"])
        .texts("id_token_signing_alg_values_supported", ["RS256"])
        .finish()
}

/// `url` is the one that the document is looked up by: clients refuse another (RFC 9728 section 3.3). Scopes that mean nothing to a
/// resource, as `offline_access`, are not listed: clients without a challenge ask for all that are.
fn protected_resource(policy: &Policy, resource: &Resource, url: &str) -> String {
    let mut out = ObjectWriter::new().text("resource", url).texts("authorization_servers", [&policy.base_url]);
    if !resource.scopes().is_empty() {
        out = out.texts("scopes_supported", resource.scope_set().iter());
    }
    out.texts("bearer_methods_supported", ["header"]).optional_text("resource_name", resource.name()).finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::policy::RegistrationPolicy;
    use crate::oauth::policy::tests::policy;
    use crate::oauth::resource::{ResourceScope, Resources};
    use crate::secret::SecretText;
    use crate::wire::json::{self, Json};

    fn at(policy: &Policy, path: &str) -> Option<Json> {
        Metadata::of(policy).document(path).map(|bytes| json::parse(bytes, 1 << 16).unwrap())
    }

    fn with(base_url: &str, resources: &[(&[&str], &[&str])]) -> Policy {
        let made = resources.iter().map(|(paths, scopes)| {
            let scope = |name: &&str| ResourceScope { name: (*name).into(), description: None };
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            Resource::new(base_url, paths, false, scopes.iter().map(scope).collect(), Some("Tools".into())).unwrap()
        });
        Policy { base_url: base_url.into(), resources: Resources::new(made.collect()).unwrap(), ..policy() }
    }

    #[test]
    fn t133_as_2_as_3_as_4_i_10_the_two_server_documents_are_the_same_bytes_with_the_issuer_as_configured() {
        let policy = policy();
        let metadata = Metadata::of(&policy);
        let oauth = metadata.document("/.well-known/oauth-authorization-server").unwrap();
        assert_eq!(Some(oauth), metadata.document("/.well-known/openid-configuration"));
        assert_eq!(
            std::str::from_utf8(oauth).unwrap(),
            concat!(
                r#"{"issuer":"https://gate.example","authorization_endpoint":"https://gate.example/oauth/authorize","#,
                r#""token_endpoint":"https://gate.example/oauth/token","registration_endpoint":"https://gate.example/oauth/register","#,
                r#""revocation_endpoint":"https://gate.example/oauth/revoke","introspection_endpoint":"https://gate.example/oauth/introspect","#,
                r#""userinfo_endpoint":"https://gate.example/oauth/userinfo","jwks_uri":"https://gate.example/.well-known/jwks.json","#,
                r#""scopes_supported":["mcp","offline_access"],"response_types_supported":["code"],"response_modes_supported":["query"],"#,
                r#""grant_types_supported":["authorization_code","refresh_token"],"code_challenge_methods_supported":["S256"],"#,
                r#""token_endpoint_auth_methods_supported":["none","client_secret_basic","client_secret_post","private_key_jwt"],"#,
                r#""token_endpoint_auth_signing_alg_values_supported":["RS256","RS384","RS512","PS256","PS384","PS512","ES256","ES384","EdDSA"],"#,
                r#""revocation_endpoint_auth_methods_supported":["none","client_secret_basic","client_secret_post","private_key_jwt"],"#,
                r#""revocation_endpoint_auth_signing_alg_values_supported":["RS256","RS384","RS512","PS256","PS384","PS512","ES256","ES384","EdDSA"],"#,
                r#""introspection_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt"],"#,
                r#""introspection_endpoint_auth_signing_alg_values_supported":["RS256","RS384","RS512","PS256","PS384","PS512","ES256","ES384","EdDSA"],"#,
                r#""authorization_response_iss_parameter_supported":true,"client_id_metadata_document_supported":true,"protected_resources":["https://gate.example/mcp"],"#,
                r#""subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}"#
            )
        );
    }

    #[test]
    fn t135_registration_is_listed_only_where_a_gate_can_open() {
        let listed = |registration| {
            let policy = Policy { registration, ..policy() };
            at(&policy, "/.well-known/oauth-authorization-server").unwrap().member("registration_endpoint").is_some()
        };
        let none = RegistrationPolicy::default;
        assert!(!listed(none()));
        assert!(listed(RegistrationPolicy { open: true, ..none() }));
        assert!(listed(RegistrationPolicy { known: true, ..none() }));
        assert!(listed(RegistrationPolicy { token: Some(SecretText::new("x".into())), ..none() }));
    }

    #[test]
    fn as_5_i_11_an_issuer_with_a_path_is_found_at_every_place() {
        let policy = with("https://gate.example/gw", &[(&["/mcp"], &["mcp"])]);
        for path in [
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
            "/.well-known/oauth-authorization-server/gw",
            "/.well-known/openid-configuration/gw",
            "/gw/.well-known/openid-configuration",
            "/gw/.well-known/oauth-authorization-server",
        ] {
            let document = at(&policy, path).unwrap();
            assert_eq!(document.required_text("issuer"), Ok("https://gate.example/gw"), "{path}");
            assert_eq!(document.required_text("token_endpoint"), Ok("https://gate.example/gw/oauth/token"));
        }
        let resource = at(&policy, "/.well-known/oauth-protected-resource/mcp").unwrap();
        assert_eq!(resource.required_text("resource"), Ok("https://gate.example/mcp"));
        assert_eq!(resource.required_text_list("authorization_servers"), Ok(vec!["https://gate.example/gw"]));
    }

    #[test]
    fn rs_1_rs_2_rs_4_i_5_each_path_has_a_document_with_the_url_that_was_typed() {
        let policy = with("https://gate.example", &[(&["/mcp", "/sse"], &["read", "write"])]);
        for (path, url) in [("", "/mcp"), ("/mcp", "/mcp"), ("/sse", "/sse")] {
            let document = Metadata::of(&policy).document(&format!("{PROTECTED_RESOURCE}{path}")).cloned().unwrap();
            assert_eq!(
                std::str::from_utf8(&document).unwrap(),
                format!(
                    r#"{{"resource":"https://gate.example{url}","authorization_servers":["https://gate.example"],"scopes_supported":["read","write"],"bearer_methods_supported":["header"],"resource_name":"Tools"}}"#
                )
            );
        }
        let bare = with("https://gate.example", &[(&["/mcp"], &[])]);
        assert_eq!(at(&bare, PROTECTED_RESOURCE).unwrap().member("scopes_supported"), None);
        let all = with("https://gate.example", &[(&["/a"], &["x", "y"]), (&["/b"], &["y", "z"])]);
        let server = at(&all, OPENID_CONFIGURATION).unwrap();
        assert_eq!(server.required_text_list("scopes_supported"), Ok(vec!["x", "y", "z", "offline_access"]));
    }

    #[test]
    fn rs_2_the_root_document_is_never_a_guess() {
        let root = |resources: &[(&[&str], &[&str])]| {
            at(&with("https://gate.example", resources), PROTECTED_RESOURCE)
                .map(|document| document.required_text("resource").unwrap().to_owned())
        };
        assert_eq!(root(&[(&["/mcp"], &[])]).as_deref(), Some("https://gate.example/mcp"));
        assert_eq!(root(&[(&["/a"], &[]), (&["/b"], &[])]), None);
        assert_eq!(root(&[(&["/a"], &[]), (&["/"], &[])]).as_deref(), Some("https://gate.example"));
        assert_eq!(root(&[(&["/a", "/"], &[]), (&["/b"], &[])]).as_deref(), Some("https://gate.example"));
    }

    #[test]
    fn t133_there_is_nothing_at_other_paths() {
        let metadata = Metadata::of(&policy());
        for path in [
            "/.well-known/oauth-authorization-server/",
            "/.well-known/oauth-authorization-server/mcp",
            "/.well-known/openid-configuration/mcp",
            "/mcp/.well-known/openid-configuration",
            "/.well-known/oauth-protected-resource/",
            "/.well-known/oauth-protected-resource/mcp/",
            "/.well-known/oauth-protected-resource/MCP",
            "/.well-known/oauth-protected-resource/other",
            "/.Well-Known/openid-configuration",
            "/.well-known//openid-configuration",
            "/.well-known/jwks.json",
            "/",
            "",
        ] {
            assert!(metadata.document(path).is_none(), "{path}");
        }
        assert_eq!(metadata.paths().count(), 4);
    }
}
