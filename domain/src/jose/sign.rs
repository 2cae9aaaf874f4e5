//! Signs compact tokens with Ed25519 under one seed: the gateway's own assertions, and the demonstration provider's ID tokens.
//!
//! RFC 7515 section 7.1 (compact serialization), RFC 8037 section 3.1 (`EdDSA`), RFC 8725 section 3.11 (explicit `typ`).
//! Ed25519 needs no random bytes to sign: the same claims give the same token, so a decision that signs can be repeated.

use super::algorithm::Algorithm;
use super::jwk::Key;
use crate::secret::Secret;
use crate::wire::json::ObjectWriter;
use crate::wire::text;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fmt;

/// A signing key and its name.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: Key,
    kid: String,
}

impl Signer {
    /// The key pair of a seed (RFC 8032 section 5.1.5). Its `kid` is its thumbprint (RFC 7638), so replicas that share
    /// the seed agree on the name without talking.
    #[must_use]
    pub fn from_seed(seed: &Secret<32>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("every 32 bytes are an Ed25519 seed");
        let public: [u8; 32] = pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes");
        let public = Key::ed25519(public);
        let kid = public.thumbprint();
        Self { pair, public: public.with_kid(kid.clone()), kid }
    }

    /// The public key, with its `kid`, as it belongs into our JWKS document.
    #[must_use]
    pub fn public(&self) -> &Key {
        &self.public
    }

    /// The name that the header of every token carries.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Signs `claims` into a compact JWS whose header is `alg`, `typ` and `kid`, in this order.
    ///
    /// `typ` says what the token is for, and every reader must ask for it (RFC 8725 section 3.11). The text that comes
    /// back is a credential: keep it in a [`SecretText`](crate::secret::SecretText).
    #[must_use]
    pub fn sign(&self, typ: &str, claims: ObjectWriter) -> String {
        let mut token = unsigned(Algorithm::Ed25519, typ, &self.kid, claims);
        let signature = self.pair.sign(token.as_bytes());
        token.push('.');
        token.push_str(&text::base64url(signature.as_ref()));
        token
    }
}

/// What is signed: header and claims.
pub(super) fn unsigned(algorithm: Algorithm, typ: &str, kid: &str, claims: ObjectWriter) -> String {
    let header = ObjectWriter::new().text("alg", algorithm.name()).text("typ", typ).text("kid", kid).finish();
    let mut token = text::base64url(header.as_bytes());
    token.push('.');
    token.push_str(&text::base64url(claims.finish().as_bytes()));
    token
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signer({})", self.kid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::jwk::KeySet;
    use crate::jose::jws::Unverified;
    use crate::jose::testing::ED25519_SEED;

    fn signer() -> Signer {
        Signer::from_seed(&Secret::new(text::from_base64url_exact(ED25519_SEED).unwrap()))
    }

    #[test]
    fn a_token_is_the_same_every_time_and_opens_with_the_published_key() {
        let signer = signer();
        // RFC 8037 appendix A.3.
        assert_eq!(signer.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let claims = ObjectWriter::new().text("iss", "https://g.example").number("exp", 10);
        let token = signer.sign("at+jwt", claims.clone());
        assert_eq!(token, signer.sign("at+jwt", claims));
        let published = KeySet::read(KeySet::of(vec![signer.public().clone()]).to_json().as_bytes()).unwrap();
        let verified = Unverified::parse(&token).unwrap().verify(&published).unwrap();
        assert_eq!(verified.payload(), br#"{"iss":"https://g.example","exp":10}"#);
        assert_eq!(verified.header().kid.as_deref(), Some(signer.kid()));
        assert!(verified.is_typed("at+jwt"));
    }

    #[test]
    fn rfc_8037_appendix_a_4_signature() {
        let signature = signer().pair.sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc");
        assert_eq!(
            text::base64url(signature.as_ref()),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        );
    }

    #[test]
    fn p11_a_signer_shows_its_name_only() {
        assert_eq!(format!("{:?}", signer()), "Signer(kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)");
    }
}
