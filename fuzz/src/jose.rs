//! `domain::jose`: what opens was signed by the key that it names, and nothing of the wrong kind gets in.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, crypto};
use portcullis_domain::jose::claims::Claims;
use portcullis_domain::jose::jwk::{Key, KeySet};
use portcullis_domain::jose::jws::Unverified;
use portcullis_domain::limits;
use portcullis_domain::wire::json;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;

/// The keys of RFC 7515 appendices A.2 and A.3, to which seeds of the corpus are signed.
const RSA: &str = r#"{"kty":"RSA","kid":"r","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}"#;
const P256: &str = r#"{"kty":"EC","kid":"p","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;

/// The `kid` of the key that [`signed`] signs with.
pub(crate) const KID: &str = "e";

/// The keys that the targets know.
pub(crate) fn keys() -> KeySet {
    let ed25519 = pair().public_key().as_ref().try_into().expect("32 bytes");
    let ed25519 = Key::ed25519(ed25519).with_kid(KID.to_owned()).to_json();
    KeySet::read(format!(r#"{{"keys":[{RSA},{P256},{ed25519}]}}"#).as_bytes()).expect("a good set")
}

/// Signs any header and payload.
pub(crate) fn signed(header: &[u8], payload: &[u8]) -> String {
    let input = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(payload));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(pair().sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fn pair() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any 32 bytes are a seed")
}

/// F06: what opens was signed by the key that it names, under an algorithm of that key, and no byte of it can change.
///
/// The input is a token, or a header and a payload with a line break between, which are then signed.
pub fn jws(data: &[u8]) {
    if let Ok(token) = std::str::from_utf8(data) {
        check_token(token);
    }
    let mut halves = data.splitn(2, |byte| *byte == b'\n');
    let (header, payload) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    check_token(&signed(header, payload));
}

fn check_token(token: &str) {
    let keys = keys();
    let unverified = Unverified::parse(token);
    let acceptable = second_reading(token);
    let Ok(verified) = unverified.clone().map_err(drop).and_then(|token| token.verify(&keys).map_err(drop)) else {
        // What the second reader takes was refused for its key or its signature: the key that it names does not open it.
        if let (Some((_, kid, _)), Ok(unverified)) = (acceptable, unverified) {
            let mut named = keys.keys().iter().filter(|key| kid.is_none() || key.kid() == kid.as_deref());
            assert!(named.all(|key| unverified.clone().verify_with(key).is_err()), "refused a good token");
            assert_ne!(second_judgement(token), Some(true), "refused a signature that another library takes");
        }
        return;
    };
    let (algorithm, kid, payload) = acceptable.expect("the second reader takes it too");
    assert!(token.len() <= limits::JWT_MAX && token.split('.').count() == 3);
    assert_eq!(verified.payload(), payload);
    let fits = match verified.header().algorithm.name() {
        "EdDSA" => matches!(algorithm.as_str(), "EdDSA" | "Ed25519"),
        name => name == algorithm,
    };
    assert!(fits, "another algorithm than the header names");
    assert_ne!(second_judgement(token), Some(false), "took a signature that another library refuses");
    for key in keys.keys() {
        let opens = unverified.clone().expect("parsed").verify_with(key).is_ok();
        let named = kid.as_deref().map_or(opens, |kid| key.kid() == Some(kid));
        assert_eq!(opens, named, "opened by another key than the named one");
    }
    // Every change of a character changes a byte of header, payload or signature, because base64url has one spelling.
    let step = (token.len() / 24).max(1);
    for at in (0..token.len()).step_by(step) {
        for other in [b'A', b'B', b'.', b'='] {
            let mut changed = token.as_bytes().to_vec();
            if std::mem::replace(&mut changed[at], other) == other {
                continue;
            }
            let changed = String::from_utf8(changed).expect("ASCII");
            let opened = Unverified::parse(&changed).map_err(drop).and_then(|token| token.verify(&keys).map_err(drop));
            assert!(opened.is_err(), "opened after a change at {at}");
        }
    }
}

/// What another library says of the signature, for a token that names one of the keys and an algorithm that both know.
fn second_judgement(token: &str) -> Option<bool> {
    let (algorithm, kid, _) = second_reading(token)?;
    let (input, signature) = token.rsplit_once('.')?;
    let named = |set: &str, member: &str| -> String {
        let key: Value = serde_json::from_str(set).expect("a key");
        key[member].as_str().expect("a text").to_owned()
    };
    let (key, family) = match kid?.as_str() {
        "r" => (DecodingKey::from_rsa_components(&named(RSA, "n"), &named(RSA, "e")), ["RS", "PS"]),
        "p" => (DecodingKey::from_ec_components(&named(P256, "x"), &named(P256, "y")), ["ES256", "ES256"]),
        KID => {
            (DecodingKey::from_ed_components(&BASE64_URL_SAFE_NO_PAD.encode(pair().public_key())), ["EdDSA", "Ed25519"])
        }
        _ => return None,
    };
    let fits = family.iter().any(|begin| algorithm.starts_with(begin));
    let algorithm = if algorithm == "Ed25519" { "EdDSA" } else { &algorithm };
    let algorithm = algorithm.parse().ok().filter(|_| fits)?;
    Some(crypto::verify(signature, input.as_bytes(), &key.expect("a good key"), algorithm).unwrap_or(false))
}

/// Algorithm, `kid` and payload of a token that keeps the rules, by another JSON and base64 reader.
fn second_reading(token: &str) -> Option<(String, Option<String>, Vec<u8>)> {
    let parts: Vec<Vec<u8>> =
        token.split('.').map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok()).collect::<Option<_>>()?;
    let [header, payload, signature] = parts.as_slice() else { return None };
    let header: serde_json::Map<String, Value> = serde_json::from_slice(header).ok()?;
    let algorithm = header.get("alg")?.as_str()?.to_owned();
    let kid = match header.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str()?.to_owned()),
    };
    let plain = ["crit", "b64", "zip"].iter().all(|name| !header.contains_key(*name))
        && header.get("typ").is_none_or(Value::is_string)
        && ["RS", "PS", "ES", "Ed"].iter().any(|family| algorithm.starts_with(family));
    (plain && !payload.is_empty() && !signature.is_empty()).then(|| (algorithm, kid, payload.clone()))
}

/// F07: claims read the same in a second reader, and no claim survives a change of its type.
pub fn claims(data: &[u8]) {
    let Ok(claims) = Claims::read(data) else { return };
    let members: serde_json::Map<String, Value> = serde_json::from_slice(data).expect("the second reader takes it too");
    let text = |name: &str| members.get(name).map(|value| value.as_str().expect("a text").to_owned());
    assert_eq!(claims.issuer, text("iss"));
    assert_eq!(claims.subject, text("sub"));
    assert_eq!(claims.authorized_party, text("azp"));
    assert_eq!(claims.nonce, text("nonce"));
    assert_eq!(claims.access_token_hash, text("at_hash"));
    assert_eq!(claims.id, text("jti"));
    assert_eq!(claims.session, text("sid"));
    assert_eq!(claims.context_class, text("acr"));
    let audience = members.get("aud").map(|value| match value {
        Value::Array(list) => list.iter().map(|one| one.as_str().expect("a text").to_owned()).collect(),
        one => vec![one.as_str().expect("a text").to_owned()],
    });
    assert_eq!(claims.audience, audience);
    assert!(claims.audience.is_none_or(|list| !list.is_empty() && list.iter().all(|one| !one.is_empty())));
    for (name, time) in [
        ("exp", claims.expires),
        ("nbf", claims.not_before),
        ("iat", claims.issued_at),
        ("auth_time", claims.authenticated_at),
    ] {
        let second = members.get(name).map(|value| value.as_f64().expect("a number"));
        assert_eq!(time.is_some(), second.is_some());
        if let (Some(time), Some(second)) = (time, second) {
            assert!(second >= 0.0 && (time.secs() as f64 - second.floor()).abs() <= second * 1e-15, "{name}: {second}");
        }
    }
    let wrong = [Value::Null, Value::Bool(true), serde_json::json!({}), serde_json::json!([1]), serde_json::json!(-1)];
    for name in ["iss", "sub", "aud", "azp", "exp", "nbf", "iat", "auth_time", "nonce", "at_hash", "jti", "sid", "acr"]
    {
        for value in &wrong {
            let mut members = members.clone();
            members.insert(name.to_owned(), value.clone());
            let changed = serde_json::to_vec(&members).expect("written");
            assert!(Claims::read(&changed).is_err(), "{name} as {value}");
        }
    }
}

/// F08: nothing private or symmetric is kept, names are unique, counts and sizes are bounded, and what is kept can be
/// written and read again.
pub fn jwks(data: &[u8]) {
    let Ok(set) = KeySet::read(data) else { return };
    let document: Value = serde_json::from_slice(data).expect("the second reader takes it too");
    let sources = document["keys"].as_array().expect("a list");
    assert_eq!(set.keys().len() + set.passed_over().len(), sources.len());
    assert!(sources.len() <= limits::JWKS_KEYS_MAX);
    for (at, key) in set.keys().iter().enumerate() {
        assert!(key.kid().is_none() || set.keys().iter().skip(at + 1).all(|other| other.kid() != key.kid()));
        let written: Value = serde_json::from_str(&key.to_json()).expect("written as JSON");
        let members = ["kty", "crv", "n", "e", "x", "y"];
        let source = sources.iter().find(|source| {
            members.iter().all(|name| source.get(name).filter(|_| written.get(name).is_some()) == written.get(name))
                && source.get("kid").and_then(Value::as_str) == key.kid()
                && !["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| source.get(name).is_some())
                && source.get("use").is_none_or(|word| word == "sig")
        });
        assert!(source.is_some(), "kept a key that the set does not hold in public");
        match written["kty"].as_str() {
            Some("RSA") => {
                let modulus = BASE64_URL_SAFE_NO_PAD.decode(written["n"].as_str().expect("a text")).expect("base64url");
                let bits = modulus.len() * 8 - modulus[0].leading_zeros() as usize;
                assert!((limits::RSA_BITS_MIN..=limits::RSA_BITS_MAX).contains(&bits));
            }
            Some("EC" | "OKP") => {}
            other => panic!("kept a key of type {other:?}"),
        }
        assert_eq!(key.thumbprint().len(), 43);
        // A signature that nobody made opens nothing, whatever the key.
        let algorithm = portcullis_domain::jose::algorithm::Algorithm::ALL.into_iter().find(|one| key.fits(*one));
        assert!(!key.verifies(algorithm.expect("a key fits an algorithm"), data, &[0; 64]));
    }
    let again = KeySet::read(set.to_json().as_bytes()).expect("our own set");
    assert_eq!(again.keys(), set.keys());
    assert!(json::parse(set.to_json().as_bytes(), usize::MAX).is_ok());
}
