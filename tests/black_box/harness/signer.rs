//! A client that proves who it is by signing (RFC 7523).

use super::BASE;
use super::http::Request;
use super::provider::{jwk, now, sign};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// The seed of the client's key.
pub const SEED: [u8; 32] = *b"the signing seed of one client!!";
/// `client_assertion_type`.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A good assertion of this client with these claims changed; `null` takes one away.
pub fn assertion(id: &str, changes: Value) -> String {
    signed(&SEED, "one", id, changes)
}

/// The same, by another key and under another name of it.
pub fn signed(seed: &[u8; 32], kid: &str, id: &str, changes: Value) -> String {
    sign(seed, &json!({ "alg": "EdDSA", "kid": kid }).to_string(), &claims(id, &changes))
}

/// The same by the RSA key, as most libraries write it.
pub fn signed_by_rsa(id: &str, changes: &Value) -> String {
    let encoded = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "rsa" }).to_string();
    let signed = format!("{}.{}", encoded(&header), encoded(&claims(id, changes)));
    let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

const RSA: &[u8] = include_bytes!("../../../domain/testdata/jose/rsa_2048.pk8");

/// What a client publishes that signs by the RSA key.
pub fn rsa_keys() -> Value {
    let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
    let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let (n, e) = (encoded(&public.n), encoded(&public.e));
    json!({ "keys": [{ "kty": "RSA", "kid": "rsa", "use": "sig", "alg": "RS256", "n": n, "e": e }] })
}

fn claims(id: &str, changes: &Value) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let jti = format!("jti-{}", COUNT.fetch_add(1, Ordering::SeqCst));
    let mut claims = json!({ "iss": id, "sub": id, "aud": BASE, "iat": now(), "exp": now() + 60, "jti": jti });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims.to_string()
}

/// The client's published keys.
pub fn keys() -> Value {
    json!({ "keys": [jwk(&SEED, "one")] })
}

/// A form with an assertion, which alone says whose it is.
pub fn proven(target: &str, fields: &[(&str, &str)], assertion: &str) -> Request {
    let mut fields = fields.to_vec();
    fields.extend([("client_assertion_type", TYPE), ("client_assertion", assertion)]);
    Request::form(target, &fields)
}
