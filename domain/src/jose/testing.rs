//! Keys that everybody knows, and tokens that are wrong in exactly one way: for the tests of this room and of [`oidc`](crate::oidc).

use super::algorithm::Algorithm;
use super::jwk::{Key, KeySet};
use super::object;
use crate::wire::json::quote;
use crate::wire::text;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};

/// The seed of RFC 8037 appendix A.1.
pub(crate) const ED25519_SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";

const RSA: &[u8] = include_bytes!("../../testdata/jose/rsa_2048.pk8");
const P256: &[u8] = include_bytes!("../../testdata/jose/p256.pk8");
const P384: &[u8] = include_bytes!("../../testdata/jose/p384.pk8");

/// A compact token: `header` and `payload` as they stand, signed as `algorithm` says.
pub(crate) fn token(algorithm: Algorithm, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", text::base64url(header.as_bytes()), text::base64url(payload.as_bytes()));
    let signature = signature(algorithm, signed.as_bytes());
    format!("{signed}.{}", text::base64url(&signature))
}

/// The token that an honest issuer makes: `alg`, `kid` and nothing else in the header.
pub(crate) fn honest(algorithm: Algorithm, payload: &str) -> String {
    token(algorithm, &format!(r#"{{"alg":"{0}","kid":"{0}"}}"#, algorithm.name()), payload)
}

/// A JSON object of these members, some of them changed; what is changed to nothing is left out.
pub(crate) fn members<V: AsRef<str>>(good: &[(&str, V)], changes: &[(&str, &str)]) -> String {
    let kept = good.iter().map(|(name, value)| (*name, value.as_ref()));
    let kept = kept.filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
    let members = kept.chain(changes.iter().copied()).filter(|(_, value)| !value.is_empty());
    let members: Vec<String> = members.map(|(name, value)| format!("{}:{value}", quote(name))).collect();
    format!("{{{}}}", members.join(","))
}

/// The public key that goes with [`token`], as a JWK, with the algorithm's name as `kid` and `alg`.
pub(crate) fn jwk(algorithm: Algorithm) -> String {
    jwk_with(algorithm, &format!(r#""kid":"{0}","alg":"{0}""#, algorithm.name()))
}

/// The same with other members beside the key itself.
pub(crate) fn jwk_with(algorithm: Algorithm, more: &str) -> String {
    let members = match algorithm {
        Algorithm::Es256 => curve("P-256", p256().public_key().as_ref()),
        Algorithm::Es384 => curve("P-384", p384().public_key().as_ref()),
        Algorithm::Ed25519 => {
            format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, text::base64url(ed25519().public_key().as_ref()))
        }
        _ => {
            let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
            let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
            format!(r#""kty":"RSA","n":"{}","e":"{}""#, text::base64url(&public.n), text::base64url(&public.e))
        }
    };
    let comma = if more.is_empty() { "" } else { "," };
    format!("{{{members}{comma}{more}}}")
}

/// Reads one JWK.
pub(crate) fn key(algorithm: Algorithm) -> Key {
    Key::read(&object(jwk(algorithm).as_bytes(), 4096).unwrap()).unwrap()
}

/// A set with one key for each of these algorithms.
pub(crate) fn keys(algorithms: &[Algorithm]) -> KeySet {
    KeySet::of(algorithms.iter().map(|algorithm| key(*algorithm)).collect())
}

#[expect(clippy::disallowed_methods, reason = "signing in tests needs random bytes, and nothing depends on which")]
fn signature(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let padding: &'static dyn signature::RsaEncoding = match algorithm {
        Algorithm::Es256 => return p256().sign(&random, message).unwrap().as_ref().to_vec(),
        Algorithm::Es384 => return p384().sign(&random, message).unwrap().as_ref().to_vec(),
        Algorithm::Ed25519 => return ed25519().sign(message).as_ref().to_vec(),
        Algorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &signature::RSA_PSS_SHA256,
        Algorithm::Ps384 => &signature::RSA_PSS_SHA384,
        Algorithm::Ps512 => &signature::RSA_PSS_SHA512,
    };
    let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
    let mut bytes = vec![0; pair.public().modulus_len()];
    pair.sign(padding, &random, message, &mut bytes).unwrap();
    bytes
}

fn ed25519() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&text::from_base64url(ED25519_SEED).unwrap()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "ring asks for random bytes to read a key")]
fn p256() -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, P256, &SystemRandom::new()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "ring asks for random bytes to read a key")]
fn p384() -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, P384, &SystemRandom::new()).unwrap()
}

fn curve(name: &str, point: &[u8]) -> String {
    let (x, y) = point[1..].split_at(point.len() / 2);
    format!(r#""kty":"EC","crv":"{name}","x":"{}","y":"{}""#, text::base64url(x), text::base64url(y))
}
