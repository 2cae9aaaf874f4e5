//! Proof Key for Code Exchange: RFC 7636, S256 only.

use crate::hash;
use crate::oauth::fault::Fault;
use crate::secret;
use crate::wire::text;

/// A `code_challenge`: the SHA-256 digest of the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge(pub [u8; 32]);

impl Challenge {
    /// Reads `code_challenge` and `code_challenge_method` of an authorization request.
    ///
    /// A missing method means `plain` (RFC 7636 section 4.3), which is refused: neither it nor the challenge has a default.
    ///
    /// # Errors
    /// [`Fault::ChallengeMissing`], [`Fault::ChallengeMethod`] or [`Fault::ChallengeMalformed`].
    pub fn parse(challenge: Option<&str>, method: Option<&str>) -> Result<Self, Fault> {
        let challenge = challenge.ok_or(Fault::ChallengeMissing)?;
        if method != Some("S256") {
            return Err(Fault::ChallengeMethod);
        }
        text::from_base64url_exact(challenge).map(Self).map_err(|_| Fault::ChallengeMalformed)
    }
}

/// A `code_verifier` by its form, hashed at once: the text itself is not kept.
#[derive(Clone, Debug)]
pub struct Verifier([u8; 32]);

impl Verifier {
    /// Reads a `code_verifier`: 43 to 128 unreserved characters (RFC 7636 section 4.1).
    ///
    /// # Errors
    /// [`Fault::VerifierMalformed`].
    pub fn parse(verifier: &str) -> Result<Self, Fault> {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(unreserved) {
            return Err(Fault::VerifierMalformed);
        }
        Ok(Self(hash::sha256(verifier.as_bytes())))
    }

    /// Whether the challenge was made from this verifier; in constant time.
    ///
    /// # Errors
    /// [`Fault::VerifierWrong`].
    pub fn answers(&self, challenge: &Challenge) -> Result<(), Fault> {
        if secret::same(&self.0, &challenge.0) { Ok(()) } else { Err(Fault::VerifierWrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pair of RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_pair_of_the_rfc_fits() {
        let challenge = Challenge::parse(Some(CHALLENGE), Some("S256")).unwrap();
        assert_eq!(Verifier::parse(VERIFIER).unwrap().answers(&challenge), Ok(()));
    }

    #[test]
    fn t042_t043_only_s256_and_never_by_default() {
        assert_eq!(Challenge::parse(None, Some("S256")), Err(Fault::ChallengeMissing));
        for method in [None, Some("plain"), Some("s256"), Some("S512"), Some("S256 ")] {
            assert_eq!(Challenge::parse(Some(CHALLENGE), method), Err(Fault::ChallengeMethod), "{method:?}");
        }
        for challenge in [
            "",
            "x",
            &CHALLENGE[1..],
            &format!("{CHALLENGE}A"),
            &format!("{CHALLENGE}="),
            "+9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ] {
            assert_eq!(Challenge::parse(Some(challenge), Some("S256")), Err(Fault::ChallengeMalformed), "{challenge}");
        }
    }

    #[test]
    fn t045_verifiers_that_are_none_or_do_not_fit() {
        let challenge = Challenge::parse(Some(CHALLENGE), Some("S256")).unwrap();
        for malformed in
            ["", &"a".repeat(42), &"a".repeat(129), &format!("{}+", &VERIFIER[1..]), &format!("{}ä", &VERIFIER[2..])]
        {
            assert_eq!(Verifier::parse(malformed).err(), Some(Fault::VerifierMalformed), "{malformed}");
        }
        for wrong in [CHALLENGE, &"a".repeat(43), &"a".repeat(128)] {
            assert_eq!(Verifier::parse(wrong).unwrap().answers(&challenge), Err(Fault::VerifierWrong));
        }
    }
}
