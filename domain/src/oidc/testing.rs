//! A provider that does everything right, for tests that change one thing.

use super::discovery::{self, Provider};

/// Its issuer.
pub(crate) const ISSUER: &str = "https://id.example";

/// Its discovery document.
pub(crate) const DOCUMENT: &str = r#"{
  "issuer": "https://id.example",
  "authorization_endpoint": "https://id.example/auth",
  "token_endpoint": "https://id.example/token",
  "jwks_uri": "https://id.example/keys",
  "userinfo_endpoint": "https://id.example/userinfo",
  "response_types_supported": ["code", "id_token"],
  "code_challenge_methods_supported": ["plain", "S256"],
  "id_token_signing_alg_values_supported": ["HS256", "RS256", "ES256", "EdDSA"],
  "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
  "scopes_supported": ["openid", "profile", "email"],
  "authorization_response_iss_parameter_supported": true,
  "frontchannel_logout_supported": null
}"#;

/// What its document says.
pub(crate) fn provider() -> Provider {
    discovery::judge(DOCUMENT.as_bytes(), &ISSUER.into(), false).unwrap()
}
