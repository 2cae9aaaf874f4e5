//! Signs compact tokens with a key of the operator's, for readers that know neither `EdDSA` nor a key of ours: ES256 and RS256.
//!
//! RFC 7518 sections 3.3 and 3.4, RFC 5208 (PKCS #8). Both need random bytes to sign, which come as an argument.

use super::algorithm::Algorithm;
use super::jwk::Key;
use super::sign::unsigned;
use crate::limits;
use crate::wire::json::ObjectWriter;
use crate::wire::text;
use ring::rand::SecureRandom;
use ring::rsa::{KeyPair as RsaKeyPair, PublicKeyComponents};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use std::fmt;

/// A key that is none: not PKCS #8, of another kind than P-256 and RSA, or an RSA key of less than 2048 bits or more than 4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

/// Nothing was signed: the system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsigned;

/// A key of the operator's, and its name.
pub struct OperatorKey {
    pair: Pair,
    algorithm: Algorithm,
    public: Key,
    kid: String,
}

enum Pair {
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl OperatorKey {
    /// The key pair in this PKCS #8 document. Its `kid` is its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn from_pkcs8(document: &[u8], random: &dyn SecureRandom) -> Result<Self, BadKey> {
        let (pair, algorithm, public) =
            match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document, random) {
                Ok(pair) => {
                    let public = Key::p256(pair.public_key().as_ref().to_vec());
                    (Pair::P256(pair), Algorithm::Es256, public)
                }
                Err(_) => {
                    let pair = RsaKeyPair::from_pkcs8(document).map_err(|_| BadKey)?;
                    let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                    if n.len().saturating_mul(8) > limits::RSA_BITS_MAX {
                        return Err(BadKey);
                    }
                    (Pair::Rsa(pair), Algorithm::Rs256, Key::rs256(n, e))
                }
            };
        let kid = public.thumbprint();
        Ok(Self { pair, algorithm, public: public.with_kid(kid.clone()), kid })
    }

    /// `ES256` or `RS256`.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether a signature takes milliseconds.
    #[must_use]
    pub const fn is_slow(&self) -> bool {
        matches!(self.pair, Pair::Rsa(_))
    }

    /// The public key, with its `kid`, as it belongs into our JWKS document.
    #[must_use]
    pub const fn public(&self) -> &Key {
        &self.public
    }

    /// Signs `claims` into a compact JWS, as [`Signer::sign`](super::sign::Signer::sign) does.
    ///
    /// # Errors
    /// [`Unsigned`].
    pub fn sign(&self, random: &dyn SecureRandom, typ: &str, claims: ObjectWriter) -> Result<String, Unsigned> {
        let mut token = unsigned(self.algorithm, typ, &self.kid, claims);
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(random, token.as_bytes()).map_err(|_| Unsigned)?.as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, random, token.as_bytes(), &mut signature).map_err(|_| Unsigned)?;
                signature
            }
        };
        token.push('.');
        token.push_str(&text::base64url(&signature));
        Ok(token)
    }
}

impl fmt::Debug for OperatorKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "OperatorKey({})", self.kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::jwk::KeySet;
    use crate::jose::jws::Unverified;
    use ring::rand::SystemRandom;

    #[expect(clippy::disallowed_methods, reason = "ring takes no other randomness, and this is a test")]
    fn random() -> SystemRandom {
        SystemRandom::new()
    }

    const RSA: &[u8] = include_bytes!("../../testdata/jose/rsa_2048.pk8");

    #[test]
    fn a_token_opens_with_the_published_key_and_with_no_other() {
        let random = random();
        let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        for (document, algorithm, slow) in
            [(p256.as_ref().to_vec(), Algorithm::Es256, false), (RSA.to_vec(), Algorithm::Rs256, true)]
        {
            let key = OperatorKey::from_pkcs8(&document, &random).unwrap();
            assert_eq!((key.algorithm(), key.is_slow()), (algorithm, slow));
            let token = key.sign(&random, "JWT", ObjectWriter::new().text("sub", "ada")).unwrap();
            let published = KeySet::read(KeySet::of(vec![key.public().clone()]).to_json().as_bytes()).unwrap();
            let verified = Unverified::parse(&token).unwrap().verify(&published).unwrap();
            assert_eq!(verified.payload(), br#"{"sub":"ada"}"#);
            assert_eq!(verified.header().kid.as_deref(), key.public().kid());
            assert!(!format!("{key:?}").contains("pair"));
            assert_eq!(OperatorKey::from_pkcs8(&document[1..], &random).err(), Some(BadKey));
        }
        assert_eq!(OperatorKey::from_pkcs8(b"", &random).err(), Some(BadKey));
    }
}
