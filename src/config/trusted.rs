//! Whose tokens are taken beside our own.

use super::keys::{Value, keys, objects};
use super::place::Place;
use super::values::{CaFile, ClaimName, ScopeName};
use super::{Audience, ConfigDraft, IssuerUrl};
use portcullis_domain::limits::{TEXT_VALUE_MAX, TRUSTED_AUDIENCES_MAX, TRUSTED_ISSUERS_MAX};
use serde_json::{Value as Json, json};

keys! {
    /// An issuer whose JWTs are taken as bearer.
    pub struct TrustedIssuer {
        issuer: IssuerUrl = required("issuer") "Its `iss`, byte for byte.",
        jwks_url: IssuerUrl = required("jwksUrl") "Where its keys are: https, or http on loopback; the host may be a private one.",
        allowed_audiences: Vec<Audience> = list("allowedAudiences") "Of these a token's `aud` must hold one. Without any it must hold the URL of the resource.",
        allowed_scopes: Vec<ScopeName> = list("allowedScopes") "What its tokens may do: those that a token's `scope` names, all if it names none.",
        allowed_claims: ClaimRules = or("allowedClaims", json!({})) "What claims must say: each by one of its patterns, in which * stands for anything.",
        subject_claim: ClaimName = or("subjectClaim", "sub") "The claim that names the person.",
        accepted_typ_headers: TypHeaders = or("acceptedTypHeaders", json!(["at+jwt"])) "The types of its tokens; an empty text stands for none.",
        ca_file: Option<CaFile> = optional("caFile") "A file of PEM certificates that are trusted for its keys beside `caFiles`.",
    }
}

objects!(TrustedIssuer);

/// Values of `typ`; the empty one stands for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypHeaders(pub Vec<String>);

impl Value for TypHeaders {
    fn schema() -> Json {
        json!({ "type": "array", "minItems": 1, "items": { "type": "string", "maxLength": TYP_MAX } })
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        let plain = |text: &&str| text.len() <= TYP_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
        let one = |value: &Json| value.as_str().filter(plain).map(str::to_owned);
        let types: Option<Vec<String>> = json.as_array().and_then(|list| list.iter().map(one).collect());
        let types = types.filter(|types| !types.is_empty());
        if types.is_none() {
            at.complain("is not a list of types of tokens", r#"write ["at+jwt"], or [""] for tokens without one"#);
        }
        types.map(Self)
    }
}

/// A value of `typ`, in bytes.
const TYP_MAX: usize = 64;

/// Patterns by the name of the claim that they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRules(pub Vec<(String, Vec<String>)>);

impl Value for ClaimRules {
    fn schema() -> Json {
        let patterns =
            json!({ "type": "array", "minItems": 1, "items": { "type": "string", "maxLength": TEXT_VALUE_MAX } });
        json!({ "type": "object", "additionalProperties": patterns })
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        let Json::Object(rules) = json else {
            at.complain("is not an object", r#"write it as { "sub": ["system:serviceaccount:agents:*"] }"#);
            return None;
        };
        let mut all = Vec::new();
        let mut good = true;
        for (name, patterns) in rules {
            let texts: Option<Vec<String>> =
                patterns.as_array().and_then(|list| list.iter().map(|it| it.as_str().map(str::to_owned)).collect());
            match texts.filter(|texts| !texts.is_empty() && texts.iter().all(|text| text.len() <= TEXT_VALUE_MAX)) {
                Some(patterns) => all.push((name.clone(), patterns)),
                None => {
                    at.key(name)
                        .complain("is not a list of patterns", "write a list of texts, in which * stands for anything");
                    good = false;
                }
            }
        }
        good.then_some(Self(all))
    }
}

/// Who is trusted is somebody else, and not too many.
pub(super) fn trusted(draft: &ConfigDraft, at: &Place<'_>) {
    if let Some(issuers) = &draft.trusted_issuers {
        if issuers.len() > TRUSTED_ISSUERS_MAX {
            at.key("trustedIssuers").complain("holds too many issuers", "keep at most 16");
        }
        for (index, own) in issuers.iter().enumerate() {
            if draft.base_url.as_ref().is_some_and(|base| base.as_str() == own.issuer.as_str()) {
                let here = at.key("trustedIssuers").item(index);
                here.key("issuer")
                    .complain("is the gate itself", "write the issuer of the tokens that are to be taken");
            }
        }
    }
    if draft.trusted_audiences.as_ref().is_some_and(|all| all.len() > TRUSTED_AUDIENCES_MAX) {
        at.key("trustedAudiences").complain("holds too many identifiers", "keep at most 64");
    }
}
