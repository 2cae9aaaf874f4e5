//! The signature algorithms that tokens from outside may name, and what each needs of a key.
//!
//! RFC 7518 section 3 (RS, PS, ES), RFC 8037 section 3.1 (`EdDSA`) and RFC 9864 section 2.2 (`Ed25519`, the same
//! algorithm under its fully specified name). Only signatures by an asymmetric key are in the table: `none` and the HMAC
//! algorithms cannot be expressed, in whatever spelling they come (RFC 8725 section 3.1).

use ring::digest;
use ring::signature::{self, EcdsaVerificationAlgorithm, RsaParameters};

/// A signature algorithm that can be verified here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519, as `EdDSA` or as `Ed25519`.
    Ed25519,
}

/// How a signature is checked: the parameters of ring that belong to an algorithm.
#[derive(Clone, Copy)]
pub(super) enum Check {
    Rsa(&'static RsaParameters),
    P256(&'static EcdsaVerificationAlgorithm),
    P384(&'static EcdsaVerificationAlgorithm),
    Ed25519,
}

impl Algorithm {
    /// Every algorithm, in the order of preference of nobody.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Ed25519,
    ];

    /// The algorithm of that name. Names are compared exactly: they are case-sensitive (RFC 7515 section 4.1.1).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "Ed25519" => Some(Self::Ed25519),
            other => Self::ALL.into_iter().find(|algorithm| algorithm.name() == other),
        }
    }

    /// The name in the registry of RFC 7518 section 7.1; for Ed25519 the older one, which everybody knows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Ed25519 => "EdDSA",
        }
    }

    /// The left half of the hash of `token`, as `at_hash` has it (OpenID Connect Core section 3.1.3.6).
    ///
    /// The hash is the one that the algorithm uses itself; for Ed25519 that is SHA-512 (RFC 8032 section 5.1).
    #[must_use]
    pub fn half_hash(self, token: &str) -> Vec<u8> {
        let hash = match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => &digest::SHA256,
            Self::Rs384 | Self::Ps384 | Self::Es384 => &digest::SHA384,
            Self::Rs512 | Self::Ps512 | Self::Ed25519 => &digest::SHA512,
        };
        let whole = digest::digest(hash, token.as_bytes());
        whole.as_ref().iter().copied().take(hash.output_len() / 2).collect()
    }

    pub(super) fn check(self) -> Check {
        match self {
            Self::Rs256 => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 => Check::P256(&signature::ECDSA_P256_SHA256_FIXED),
            Self::Es384 => Check::P384(&signature::ECDSA_P384_SHA384_FIXED),
            Self::Ed25519 => Check::Ed25519,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
        assert_eq!(Algorithm::named("Ed25519"), Some(Algorithm::Ed25519));
    }

    #[test]
    fn t147_no_spelling_of_none_and_no_mac_is_an_algorithm() {
        for name in
            ["none", "None", "nOnE", "NONE", "", " none", "none\0", "HS256", "HS384", "HS512", "rs256", "RS256 "]
        {
            assert_eq!(Algorithm::named(name), None, "{name:?}");
        }
    }

    #[test]
    fn half_hash_has_half_the_length_of_the_algorithms_hash() {
        // The example of OpenID Connect Core section A.3: RS256, access token "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y".
        use base64::Engine as _;
        let half = Algorithm::Rs256.half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y");
        assert_eq!(base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(half), "77QmUPtjPfzWtF2AnpK9RQ");
        for (algorithm, length) in [(Algorithm::Es256, 16), (Algorithm::Es384, 24), (Algorithm::Ed25519, 32)] {
            assert_eq!(algorithm.half_hash("t").len(), length);
        }
    }
}
