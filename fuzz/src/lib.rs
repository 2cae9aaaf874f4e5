//! Fuzz targets: each takes any bytes and asserts a property, not only that nothing panics.
//!
//! One module per room of the product. A new target is a function there, a line in [`TARGETS`], and a few seeds in
//! `corpus/<target>/`. `tests/smoke.rs` runs all of them in an ordinary test, `./smoke` runs them under libFuzzer.
#![forbid(unsafe_code)]

pub mod clients;
pub mod engine;
pub mod fetch;
pub mod http;
pub mod jose;
pub mod mutation;
pub mod oauth;
pub mod oidc;
pub mod second;
pub mod through;
pub mod valkey;
pub mod wire;

/// A name and the function that asserts its property on any input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by the name that `PORTCULLIS_FUZZ_TARGET` and the folders of the corpus know it by.
pub const TARGETS: &[Target] = &[
    ("clients-document", clients::document),
    ("clients-redirect", clients::redirect),
    ("clients-registration", clients::registration),
    ("clients-resource", clients::resource),
    ("engine-operations", engine::operations),
    ("fetch-address", fetch::address),
    ("fetch-answers", fetch::answers),
    ("http-answer", http::answer),
    ("http-back", through::back),
    ("http-client", http::client),
    ("http-framing", http::framing),
    ("http-passing", http::passing),
    ("http-request-headers", http::request_headers),
    ("http-response-headers", http::response_headers),
    ("http-target", http::target),
    ("http-through", through::through),
    ("jose-claims", jose::claims),
    ("jose-jwks", jose::jwks),
    ("jose-jws", jose::jws),
    ("oauth-assertion", oauth::assertion),
    ("oauth-authorize", oauth::authorize),
    ("oauth-record", oauth::record),
    ("oauth-route", oauth::route),
    ("oauth-sealed", oauth::sealed),
    ("oauth-token-request", oauth::token_request),
    ("oauth-tokens", oauth::tokens),
    ("oidc-callback", oidc::callback),
    ("oidc-discovery", oidc::discovery),
    ("oidc-id-token", oidc::id_token),
    ("oidc-token-response", oidc::token_response),
    ("valkey-resp", valkey::resp),
    ("wire-authorization", wire::authorization),
    ("wire-base64url", wire::base64url),
    ("wire-basic", wire::basic),
    ("wire-cookies", wire::cookies),
    ("wire-form", wire::form),
    ("wire-header-values", wire::header_values),
    ("wire-html", wire::html),
    ("wire-json", wire::json),
    ("wire-query", wire::query),
    ("wire-text", wire::text),
    ("wire-uri", wire::uri),
];

/// Fails on purpose, on inputs that only a working harness finds: it is asked for by name and is not in [`TARGETS`].
pub const CANARY: Target = ("canary", canary);

/// The function of a target, the canary's too.
#[must_use]
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().chain([&CANARY]).find(|(other, _)| *other == name).map(|(_, run)| *run)
}

/// # Panics
/// Where two neighbours are `!` and `?`: not in the seed, and one changed byte away from it.
fn canary(data: &[u8]) {
    assert!(!data.windows(2).any(|pair| pair == b"!?"), "the canary was found, as it should be");
}
