//! Public keys: reading a key set from outside, checking a signature with one of its keys, writing our own keys.
//!
//! RFC 7517 (JWK, JWK Set), RFC 7518 section 6 (RSA, EC), RFC 8037 section 2 (OKP), RFC 7638 (thumbprint).
//!
//! A set is refused as a whole when it is not a set; a key that cannot be used is passed over, as RFC 7517 section 5
//! asks, and counted with its reason. Passed over are symmetric keys and keys that show private members: a private key
//! that was published signs for everybody. Two usable keys of one `kid` are passed over both, because the name no longer
//! says which one is meant.

use super::algorithm::{Algorithm, Check};
use crate::limits;
use crate::wire::json::{self, Json, ObjectWriter};
use crate::wire::text;
use ring::digest;
use ring::signature::{ED25519, RsaPublicKeyComponents, UnparsedPublicKey};
use std::fmt;

/// Why a document is not a key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Longer than [`limits::PROVIDER_ANSWER_MAX`].
    TooLong,
    /// Not one JSON object, or one with a repeated member.
    NotJson,
    /// `keys` is missing or is no list of objects.
    NoKeys,
    /// More keys than [`limits::JWKS_KEYS_MAX`].
    TooManyKeys,
}

impl fmt::Display for Malformed {
    /// In words that follow "its key set".
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::TooLong => "is too long",
            Self::NotJson => "is not one JSON object, or has a member twice",
            Self::NoKeys => "has no list of keys",
            Self::TooManyKeys => "has more keys than are looked at",
        })
    }
}

/// Why one key of a set was passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// `kty` is missing or is no text.
    NoType,
    /// `kty` or `crv` is none of RSA, EC with P-256 or P-384, OKP with Ed25519.
    UnknownType,
    /// A symmetric key (`kty` is `oct`).
    Symmetric,
    /// The private half is there too.
    PrivateMembers,
    /// `use` is there and is not `sig`, or `key_ops` is there and does not hold `verify`.
    OtherUse,
    /// `alg` is there and is no algorithm for such a key.
    OtherAlgorithm,
    /// `kid` is there and is no text of 1 to [`limits::KID_MAX`] bytes.
    BadKid,
    /// A member of the key is missing, is not base64url, or has the wrong length.
    BadMember,
    /// The modulus has fewer bits than [`limits::RSA_BITS_MIN`], more than [`limits::RSA_BITS_MAX`], or is even.
    BadModulus,
    /// The exponent is even, below 3, or above 2^32.
    BadExponent,
    /// Another key of the set has the same `kid`.
    AmbiguousKid,
}

impl Unfit {
    /// Whether it is a key that only its owner should have.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Symmetric | Self::PrivateMembers)
    }
}

/// Why no key of a set is the one that a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// No key has this `kid`; without a `kid`, no key fits the algorithm.
    Unknown,
    /// The key of this `kid` is not for this algorithm.
    OtherAlgorithm,
    /// The token names no `kid` and several keys fit.
    Ambiguous,
}

/// A public key that signatures can be checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    issuer: Option<String>,
    material: Material,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    // Points are kept uncompressed, 0x04 || x || y (SEC 1 section 2.3.3), which is what ring reads.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519([u8; 32]),
}

impl Key {
    /// An Ed25519 key without a name.
    #[must_use]
    pub fn ed25519(public: [u8; 32]) -> Self {
        Self { kid: None, algorithm: Some(Algorithm::Ed25519), issuer: None, material: Material::Ed25519(public) }
    }

    /// A P-256 key without a name, for ES256. The point is uncompressed: 0x04 || x || y (SEC 1 section 2.3.3).
    pub(super) fn p256(point: Vec<u8>) -> Self {
        Self { kid: None, algorithm: Some(Algorithm::Es256), issuer: None, material: Material::P256(point) }
    }

    /// An RSA key without a name, for RS256: both numbers big endian, without leading zeros.
    pub(super) fn rs256(modulus: Vec<u8>, exponent: Vec<u8>) -> Self {
        Self {
            kid: None,
            algorithm: Some(Algorithm::Rs256),
            issuer: None,
            material: Material::Rsa { modulus, exponent },
        }
    }

    /// The same key under a name.
    #[must_use]
    pub fn with_kid(self, kid: String) -> Self {
        Self { kid: Some(kid), ..self }
    }

    /// Reads one key (RFC 7517 section 4).
    ///
    /// # Errors
    /// The first rule that the key breaks.
    pub fn read(jwk: &Json) -> Result<Self, Unfit> {
        let kty = member(jwk, "kty").map_err(|Absent| Unfit::NoType)?;
        if kty == "oct" {
            return Err(Unfit::Symmetric);
        }
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| jwk.member(name).is_some()) {
            return Err(Unfit::PrivateMembers);
        }
        for_verifying(jwk)?;
        let material = match kty {
            "RSA" => rsa(jwk)?,
            "EC" => match member(jwk, "crv") {
                Ok("P-256") => Material::P256(point(jwk, 32)?),
                Ok("P-384") => Material::P384(point(jwk, 48)?),
                _ => return Err(Unfit::UnknownType),
            },
            "OKP" => match member(jwk, "crv") {
                Ok("Ed25519") => Material::Ed25519(bytes(jwk, "x")?.try_into().map_err(|_: Vec<u8>| Unfit::BadMember)?),
                _ => return Err(Unfit::UnknownType),
            },
            _ => return Err(Unfit::UnknownType),
        };
        let kid = match jwk.member("kid") {
            None => None,
            Some(Json::Text(kid)) if (1..=limits::KID_MAX).contains(&kid.len()) => Some(kid.clone()),
            Some(_) => return Err(Unfit::BadKid),
        };
        let algorithm = match jwk.member("alg") {
            None => None,
            Some(Json::Text(name)) => Some(Algorithm::named(name).ok_or(Unfit::OtherAlgorithm)?),
            Some(_) => return Err(Unfit::OtherAlgorithm),
        };
        let issuer = jwk.optional_text("issuer").map_err(|_| Unfit::BadMember)?.map(str::to_owned);
        let key = Self { kid, algorithm, issuer, material };
        match algorithm {
            Some(algorithm) if !key.fits(algorithm) => Err(Unfit::OtherAlgorithm),
            _ => Ok(key),
        }
    }

    /// The name of the key.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// For whom it signs, where its set says so: a member of Entra ID's, whose tenants share one set.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Whether signatures of that algorithm may be checked with this key: its type must be the algorithm's, and where the
    /// key is registered for one algorithm it must be this one (RFC 8725 section 3.1).
    #[must_use]
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        let type_fits = matches!(
            (algorithm.check(), &self.material),
            (Check::Rsa(_), Material::Rsa { .. })
                | (Check::P256(_), Material::P256(_))
                | (Check::P384(_), Material::P384(_))
                | (Check::Ed25519, Material::Ed25519(_))
        );
        type_fits && self.algorithm.is_none_or(|registered| registered == algorithm)
    }

    /// Whether `signature` is this key's signature of `message` under `algorithm`; false where the key does not fit.
    ///
    /// ECDSA signatures are `r || s` of fixed length, never DER (RFC 7518 section 3.4). The twin `r || n - s` of an
    /// ECDSA signature passes as well: nothing may be keyed on the text of a token.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match (algorithm.check(), &self.material) {
            (Check::Rsa(parameters), Material::Rsa { modulus, exponent }) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(parameters, message, signature).is_ok()
            }
            (Check::P256(curve), Material::P256(point)) | (Check::P384(curve), Material::P384(point)) => {
                UnparsedPublicKey::new(curve, point).verify(message, signature).is_ok()
            }
            (Check::Ed25519, Material::Ed25519(public)) => {
                UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }

    /// The thumbprint of the key: SHA-256 over its required members in order of their names, base64url (RFC 7638 section 3).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        text::base64url(digest::digest(&digest::SHA256, self.required().finish().as_bytes()).as_ref())
    }

    /// The key as a JWK for a JWKS document: the public members, `use`, and `kid` and `alg` where they are known.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.required()
            .text("use", "sig")
            .optional_text("kid", self.kid())
            .optional_text("alg", self.algorithm.map(Algorithm::name))
            .finish()
    }

    /// The members that make the key, in lexicographic order of their names.
    fn required(&self) -> ObjectWriter {
        let jwk = ObjectWriter::new();
        match &self.material {
            Material::Rsa { modulus, exponent } => {
                jwk.text("e", &text::base64url(exponent)).text("kty", "RSA").text("n", &text::base64url(modulus))
            }
            Material::P256(point) => curve(jwk, "P-256", point, 32),
            Material::P384(point) => curve(jwk, "P-384", point, 48),
            Material::Ed25519(public) => {
                jwk.text("crv", "Ed25519").text("kty", "OKP").text("x", &text::base64url(public))
            }
        }
    }
}

/// The keys of one issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
    passed_over: Vec<Unfit>,
}

impl KeySet {
    /// A set of keys that are known already.
    ///
    /// Of keys with the same `kid` none is kept, as in a set that was read.
    #[must_use]
    pub fn of(keys: Vec<Key>) -> Self {
        Self::judged(keys, Vec::new())
    }

    /// Reads a JWK Set (RFC 7517 section 5).
    ///
    /// # Errors
    /// When the document is no set at all; keys that cannot be used are passed over instead.
    pub fn read(document: &[u8]) -> Result<Self, Malformed> {
        let set = super::object(document, limits::PROVIDER_ANSWER_MAX).map_err(|malformed| match malformed {
            json::Malformed::TooLong => Malformed::TooLong,
            _ => Malformed::NotJson,
        })?;
        Self::of_json(&set)
    }

    /// Reads a JWK Set that stands in another document.
    ///
    /// # Errors
    /// As [`KeySet::read`].
    pub fn of_json(set: &Json) -> Result<Self, Malformed> {
        let Some(Json::List(list)) = set.member("keys") else {
            return Err(Malformed::NoKeys);
        };
        if list.len() > limits::JWKS_KEYS_MAX {
            return Err(Malformed::TooManyKeys);
        }
        let mut keys = Vec::new();
        let mut passed_over = Vec::new();
        for jwk in list {
            if jwk.members().is_err() {
                return Err(Malformed::NoKeys);
            }
            match Key::read(jwk) {
                Ok(key) => keys.push(key),
                Err(unfit) => passed_over.push(unfit),
            }
        }
        Ok(Self::judged(keys, passed_over))
    }

    /// The key that a token names (RFC 7515 section 4.1.4): the one of exactly this `kid`, if it is for this algorithm.
    ///
    /// A token without `kid` is taken only when a single key fits its algorithm: no trying of one key after the other.
    ///
    /// # Errors
    /// [`NoKey::Unknown`] is the one that a fresh copy of the set may mend.
    pub fn choose(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Key, NoKey> {
        match kid {
            Some(kid) => {
                let key = self.keys.iter().find(|key| key.kid() == Some(kid)).ok_or(NoKey::Unknown)?;
                if key.fits(algorithm) { Ok(key) } else { Err(NoKey::OtherAlgorithm) }
            }
            None => {
                let mut fitting = self.keys.iter().filter(|key| key.fits(algorithm));
                match (fitting.next(), fitting.next()) {
                    (None, _) => Err(NoKey::Unknown),
                    (Some(key), None) => Ok(key),
                    (Some(_), Some(_)) => Err(NoKey::Ambiguous),
                }
            }
        }
    }

    /// The keys that can be used.
    #[must_use]
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Why the others cannot.
    #[must_use]
    pub fn passed_over(&self) -> &[Unfit] {
        &self.passed_over
    }

    /// The set as a JWKS document.
    #[must_use]
    pub fn to_json(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(Key::to_json).collect();
        format!("{{\"keys\":[{}]}}", keys.join(","))
    }

    fn judged(keys: Vec<Key>, mut passed_over: Vec<Unfit>) -> Self {
        let shared = |kid: Option<&str>| kid.is_some() && keys.iter().filter(|key| key.kid() == kid).nth(1).is_some();
        let (ambiguous, clear): (Vec<&Key>, Vec<&Key>) = keys.iter().partition(|key| shared(key.kid()));
        passed_over.extend(ambiguous.iter().map(|_| Unfit::AmbiguousKid));
        Self { keys: clear.into_iter().cloned().collect(), passed_over }
    }
}

struct Absent;

fn member<'a>(jwk: &'a Json, name: &str) -> Result<&'a str, Absent> {
    match jwk.member(name) {
        Some(Json::Text(value)) => Ok(value),
        _ => Err(Absent),
    }
}

fn bytes(jwk: &Json, name: &str) -> Result<Vec<u8>, Unfit> {
    member(jwk, name).ok().and_then(|value| text::from_base64url(value).ok()).ok_or(Unfit::BadMember)
}

fn for_verifying(jwk: &Json) -> Result<(), Unfit> {
    match jwk.member("use") {
        None => {}
        Some(Json::Text(word)) if word == "sig" => {}
        Some(_) => return Err(Unfit::OtherUse),
    }
    match jwk.member("key_ops") {
        None => Ok(()),
        Some(Json::List(operations))
            if operations.iter().any(|word| matches!(word, Json::Text(word) if word == "verify")) =>
        {
            Ok(())
        }
        Some(_) => Err(Unfit::OtherUse),
    }
}

fn rsa(jwk: &Json) -> Result<Material, Unfit> {
    let (modulus, exponent) = (bytes(jwk, "n")?, bytes(jwk, "e")?);
    // Neither may have leading zero bytes (RFC 7518 section 6.3.1), so the first byte tells the length in bits.
    let (Some(first), Some(last)) = (modulus.first().copied(), modulus.last().copied()) else {
        return Err(Unfit::BadMember);
    };
    if first == 0 || exponent.first().is_none_or(|first| *first == 0) {
        return Err(Unfit::BadMember);
    }
    let spare = usize::try_from(first.leading_zeros()).unwrap_or(0);
    let bits = modulus.len().saturating_mul(8).saturating_sub(spare);
    if !(limits::RSA_BITS_MIN..=limits::RSA_BITS_MAX).contains(&bits) || last.is_multiple_of(2) {
        return Err(Unfit::BadModulus);
    }
    let value = match exponent.len() {
        1..=8 => exponent.iter().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte)),
        _ => return Err(Unfit::BadExponent),
    };
    if value.is_multiple_of(2) || !(3..=1 << 32).contains(&value) {
        return Err(Unfit::BadExponent);
    }
    Ok(Material::Rsa { modulus, exponent })
}

fn point(jwk: &Json, width: usize) -> Result<Vec<u8>, Unfit> {
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    if x.len() != width || y.len() != width {
        return Err(Unfit::BadMember);
    }
    Ok([&[4][..], &x, &y].concat())
}

fn curve(jwk: ObjectWriter, name: &str, point: &[u8], width: usize) -> ObjectWriter {
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at_checked(width).unwrap_or_default();
    jwk.text("crv", name).text("kty", "EC").text("x", &text::base64url(x)).text("y", &text::base64url(y))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, reason = "tests may panic")]
    use super::*;
    use crate::jose::testing::{jwk, jwk_with, keys};

    const N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    fn read(jwk: &str) -> Result<Key, Unfit> {
        Key::read(&crate::jose::object(jwk.as_bytes(), 8192).unwrap())
    }

    fn set(keys: &[String]) -> KeySet {
        KeySet::read(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes()).unwrap()
    }

    #[test]
    fn rfc_7638_and_rfc_8037_thumbprints() {
        let rsa = format!(r#"{{"kty":"RSA","n":"{N}","e":"AQAB","alg":"RS256","kid":"2011-04-29"}}"#);
        assert_eq!(read(&rsa).unwrap().thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let okp = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(read(okp).unwrap().thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let all = keys(&Algorithm::ALL);
        assert_eq!(KeySet::read(all.to_json().as_bytes()).unwrap(), all);
        let named = Key::ed25519([7; 32]).with_kid("k".to_owned());
        assert_eq!(
            named.to_json(),
            r#"{"crv":"Ed25519","kty":"OKP","x":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc","use":"sig","kid":"k","alg":"EdDSA"}"#,
        );
    }

    #[test]
    fn unusable_keys_are_passed_over_each_for_its_reason() {
        let rsa = |more: &str| jwk_with(Algorithm::Rs256, more);
        let ec = |more: &str| jwk_with(Algorithm::Es256, more);
        let modulus = |bytes: &[u8], e: &str| format!(r#"{{"kty":"RSA","n":"{}","e":"{e}"}}"#, text::base64url(bytes));
        let long = "k".repeat(limits::KID_MAX + 1);
        let cases = [
            ("{}".to_owned(), Unfit::NoType),
            (r#"{"kty":1}"#.to_owned(), Unfit::NoType),
            (r#"{"kty":"rsa"}"#.to_owned(), Unfit::UnknownType),
            (r#"{"kty":"OKP","crv":"X25519","x":"AA"}"#.to_owned(), Unfit::UnknownType),
            (r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.to_owned(), Unfit::UnknownType),
            (r#"{"kty":"EC","x":"AA","y":"AA"}"#.to_owned(), Unfit::UnknownType),
            (r#"{"kty":"oct","k":"c2VjcmV0","alg":"HS256","kid":"x"}"#.to_owned(), Unfit::Symmetric),
            (rsa(r#""d":"AA""#), Unfit::PrivateMembers),
            (ec(r#""d":null"#), Unfit::PrivateMembers),
            (rsa(r#""p":"AA""#), Unfit::PrivateMembers),
            (rsa(r#""k":"AA""#), Unfit::PrivateMembers),
            (rsa(r#""use":"enc""#), Unfit::OtherUse),
            (rsa(r#""use":null"#), Unfit::OtherUse),
            (rsa(r#""key_ops":["sign"]"#), Unfit::OtherUse),
            (rsa(r#""key_ops":"verify""#), Unfit::OtherUse),
            (rsa(r#""alg":"ES256""#), Unfit::OtherAlgorithm),
            (rsa(r#""alg":"HS256""#), Unfit::OtherAlgorithm),
            (rsa(r#""alg":"RSA-OAEP""#), Unfit::OtherAlgorithm),
            (rsa(r#""alg":1"#), Unfit::OtherAlgorithm),
            (ec(r#""alg":"ES384""#), Unfit::OtherAlgorithm),
            (rsa(r#""kid":1"#), Unfit::BadKid),
            (rsa(r#""kid":"""#), Unfit::BadKid),
            (rsa(&format!(r#""kid":"{long}""#)), Unfit::BadKid),
            (r#"{"kty":"RSA","e":"AQAB"}"#.to_owned(), Unfit::BadMember),
            (format!(r#"{{"kty":"RSA","n":"{N}="  ,"e":"AQAB"}}"#), Unfit::BadMember),
            (format!(r#"{{"kty":"RSA","n":"{N}"}}"#), Unfit::BadMember),
            (format!(r#"{{"kty":"RSA","n":"{N}","e":""}}"#), Unfit::BadMember),
            (format!(r#"{{"kty":"RSA","n":"{N}","e":"AAEAAQ"}}"#), Unfit::BadMember),
            (format!(r#"{{"kty":"RSA","n":"{N}","e":"AQAA"}}"#), Unfit::BadExponent),
            (format!(r#"{{"kty":"RSA","n":"{N}","e":"AQ"}}"#), Unfit::BadExponent),
            (format!(r#"{{"kty":"RSA","n":"{N}","e":"AQAAAAE"}}"#), Unfit::BadExponent),
            (format!(r#"{{"kty":"RSA","n":"{N}","e":"{N}"}}"#), Unfit::BadExponent),
            (modulus(&[0xff; 128], "AQAB"), Unfit::BadModulus),
            (modulus(&[&[0x7f][..], &[0xff; 255]].concat(), "AQAB"), Unfit::BadModulus),
            (modulus(&[&[0x01][..], &[0xff; 512]].concat(), "AQAB"), Unfit::BadModulus),
            (modulus(&[0xfe; 256], "AQAB"), Unfit::BadModulus),
            (modulus(&[&[0x00][..], &[0xff; 256]].concat(), "AQAB"), Unfit::BadMember),
            (r#"{"kty":"OKP","crv":"Ed25519","x":"AAAA"}"#.to_owned(), Unfit::BadMember),
            (r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}"#.to_owned(), Unfit::BadMember),
        ];
        for (jwk, unfit) in cases {
            assert_eq!(read(&jwk), Err(unfit), "{jwk}");
            assert_eq!(set(std::slice::from_ref(&jwk)).passed_over(), [unfit]);
        }
    }

    #[test]
    fn usable_keys_are_read_at_the_edges() {
        let with = |more: &str| read(&jwk_with(Algorithm::Rs256, more)).map(|_| ());
        for more in ["", r#""use":"sig""#, r#""key_ops":["sign","verify"]"#, r#""x5c":["MIIB"],"x5t":"AA""#] {
            assert_eq!(with(more), Ok(()), "{more}");
        }
        for (length, e) in [(256, "AQAB"), (512, "Aw"), (512, "_____w")] {
            let n = text::base64url(&vec![0xff; length]);
            assert!(read(&format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)).is_ok(), "{length} {e}");
        }
    }

    #[test]
    fn t150_keys_of_one_name_are_passed_over_both() {
        let (rsa, ec) = (jwk_with(Algorithm::Rs256, r#""kid":"a""#), jwk_with(Algorithm::Es256, r#""kid":"a""#));
        let ambiguous = set(&[rsa.clone(), jwk(Algorithm::Ed25519), ec.clone()]);
        assert_eq!(ambiguous.passed_over(), [Unfit::AmbiguousKid; 2]);
        assert_eq!(ambiguous.keys().len(), 1);
        assert_eq!(ambiguous.choose(Some("a"), Algorithm::Rs256), Err(NoKey::Unknown));
        // A key that could not be used anyway makes no other one ambiguous.
        let encryption = jwk_with(Algorithm::Rs256, r#""kid":"a","use":"enc""#);
        assert!(set(&[encryption, ec]).choose(Some("a"), Algorithm::Es256).is_ok());
        // Keys without a name do not share one.
        let nameless = set(&[jwk_with(Algorithm::Rs256, ""), jwk_with(Algorithm::Es256, "")]);
        assert_eq!(nameless.keys().len(), 2);
    }

    #[test]
    fn documents_that_are_no_set_are_refused() {
        let many = |count: usize| format!("{{\"keys\":[{}]}}", vec!["{}"; count].join(","));
        for (document, malformed) in [
            (String::new(), Malformed::NotJson),
            ("[]".to_owned(), Malformed::NotJson),
            ("<html>".to_owned(), Malformed::NotJson),
            (r#"{"keys":[],"keys":[]}"#.to_owned(), Malformed::NotJson),
            (r#"{"keys":[{"kty":"RSA","kty":"oct"}]}"#.to_owned(), Malformed::NotJson),
            ("{}".to_owned(), Malformed::NoKeys),
            (r#"{"keys":null}"#.to_owned(), Malformed::NoKeys),
            (r#"{"keys":{}}"#.to_owned(), Malformed::NoKeys),
            (r#"{"keys":["RSA"]}"#.to_owned(), Malformed::NoKeys),
            (r#"{"Keys":[]}"#.to_owned(), Malformed::NoKeys),
            (many(limits::JWKS_KEYS_MAX + 1), Malformed::TooManyKeys),
            (" ".repeat(limits::PROVIDER_ANSWER_MAX + 1), Malformed::TooLong),
        ] {
            assert_eq!(KeySet::read(document.as_bytes()), Err(malformed));
        }
        assert_eq!(
            KeySet::read(many(limits::JWKS_KEYS_MAX).as_bytes()).unwrap().passed_over().len(),
            limits::JWKS_KEYS_MAX
        );
        assert_eq!(KeySet::read(br#"{"keys":[]}"#).unwrap(), KeySet::default());
    }
}
