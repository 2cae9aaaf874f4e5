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
        lists_schema()
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        lists(json, at, r#"write it as { "sub": ["system:serviceaccount:agents:*"] }"#).map(Self)
    }
}

keys! {
    /// Token exchange for confidential clients.
    pub struct TokenExchangeBroker {
        client_audiences: ClientAudiences = required("clientAudiences") "For each client by its identifier the audiences for which it may have assertions.",
    }
}

objects!(TokenExchangeBroker);

/// Audiences by the identifier of the client that may ask for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAudiences(pub Vec<(String, Vec<String>)>);

impl Value for ClientAudiences {
    fn schema() -> Json {
        lists_schema()
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        lists(json, at, r#"write it as { "client": ["https://tools.example.com"] }"#).map(Self)
    }
}

fn lists_schema() -> Json {
    let list = json!({ "type": "array", "minItems": 1, "items": { "type": "string", "minLength": 1, "maxLength": TEXT_VALUE_MAX } });
    json!({ "type": "object", "additionalProperties": list })
}

/// Lists of texts by name.
fn lists(json: &Json, at: &Place<'_>, instead: &'static str) -> Option<Vec<(String, Vec<String>)>> {
    let Json::Object(lists) = json else {
        at.complain("is not an object", instead);
        return None;
    };
    let one = |value: &Json| {
        let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= TEXT_VALUE_MAX);
        text.map(str::to_owned)
    };
    let mut all = Vec::new();
    for (name, list) in lists {
        let texts: Option<Vec<String>> = list.as_array().and_then(|list| list.iter().map(one).collect());
        let texts = texts.filter(|texts| !texts.is_empty());
        if texts.is_none() {
            at.key(name).complain("is not a list of texts", instead);
        }
        all.push(texts.map(|texts| (name.clone(), texts)));
    }
    all.into_iter().collect()
}

/// Whoever exchanges tokens is a client that the operator knows and that can prove it.
pub(super) fn broker(draft: &ConfigDraft, at: &Place<'_>) {
    let (Some(Some(broker)), Some(clients)) = (&draft.token_exchange_broker, &draft.clients) else { return };
    for (name, _) in &broker.client_audiences.0 {
        let here = at.key("tokenExchangeBroker").key("clientAudiences").key(name);
        match clients.iter().find(|client| client.client_id.as_str() == name) {
            None => here.complain("is not the identifier of one of clients", "register it there, or remove it"),
            Some(client) if client.client_secret.is_none() && !super::safety::has_keys(client) => {
                here.complain(
                    "is a public client, which cannot prove who it is",
                    "give it a secret or keys, or remove it here",
                );
            }
            Some(_) => {}
        }
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
