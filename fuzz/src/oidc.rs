//! `domain::oidc`: an answer of the identity provider that is taken keeps every rule, by a second reading.

use crate::jose::{KID, keys, signed};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use portcullis_domain::limits;
use portcullis_domain::oidc::discovery::{self, Provider};
use portcullis_domain::oidc::id_token::{self, Expected, Occasion, Refused};
use portcullis_domain::oidc::{callback as callback_room, token_response as response_room};
use portcullis_domain::secret::SecretText;
use portcullis_domain::time::Timestamp;
use portcullis_domain::wire::form::Form;
use serde_json::Value;

const ISSUER: &str = "https://id.example";
const HTTP_ISSUER: &str = "http://127.0.0.1:5556/dex";
const NOW: u64 = 1_000_000;

fn provider() -> Provider {
    let document = r#"{"issuer":"https://id.example","authorization_endpoint":"https://id.example/a","token_endpoint":"https://id.example/t","jwks_uri":"https://id.example/k","authorization_response_iss_parameter_supported":true}"#;
    discovery::judge(document.as_bytes(), &ISSUER.into(), false).expect("a good document")
}

/// F26: a document that is taken names the configured issuer, and every endpoint is https, or http at home by permission.
pub fn discovery(data: &[u8]) {
    for (issuer, allowed) in [(ISSUER, false), (ISSUER, true), (HTTP_ISSUER, false), (HTTP_ISSUER, true)] {
        let Ok(provider) = discovery::judge(data, &issuer.into(), allowed) else { continue };
        let document: Value = serde_json::from_slice(data).expect("the second reader takes it too");
        assert!(provider.issuer.only() == Some(issuer) && document["issuer"] == issuer);
        let home = url::Url::parse(issuer).expect("a URL").origin();
        let keys = provider.jwks_uri.as_ref().expect("a discovered provider has keys");
        let required = [&provider.authorization_endpoint, &provider.token_endpoint, keys];
        let optional = [&provider.userinfo_endpoint, &provider.revocation_endpoint, &provider.end_session_endpoint];
        for endpoint in required.into_iter().chain(optional.into_iter().flatten()) {
            let Ok(url) = url::Url::parse(endpoint) else {
                // It also judges what a label of another script decodes to, which no name server is asked.
                assert!(endpoint.to_ascii_lowercase().contains("xn--"), "the second reader takes it too: {endpoint}");
                continue;
            };
            assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
            match url.scheme() {
                "https" => {}
                "http" => assert!(allowed && url.origin() == home, "plain http to {endpoint}"),
                other => panic!("an endpoint of scheme {other}"),
            }
        }
        assert!(!provider.algorithms.is_empty());
    }
}

/// F26: an answer at the callback that is taken has one state, names the provider, and shows no code beside an error.
pub fn callback(data: &[u8]) {
    let Ok(form) = Form::parse(data) else { return };
    let Ok(answer) = callback_room::judge(&form, &provider()) else { return };
    let second: Vec<(String, String)> = form_urlencoded::parse(data).into_owned().collect();
    let one = |name: &str| {
        let mut values = second.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} is there twice");
        value.filter(|value| !value.is_empty())
    };
    assert_eq!(one("state"), Some(answer.state.as_str()));
    assert_eq!(one("iss"), Some(ISSUER));
    assert!(answer.state.len() <= limits::STATE_MAX);
    match (one("error"), answer.outcome) {
        (None, Ok(code)) => assert_eq!(one("code"), Some(code.expose())),
        (Some(_), Err(_)) => {}
        _ => panic!("an error and a code were taken for each other"),
    }
}

/// F26: tokens come from a good answer only, and only the words of RFC 6749 refuse for good.
///
/// The input is a status, a line break, a content type, a line break, and the body.
pub fn token_response(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let mut line = || std::str::from_utf8(parts.next().unwrap_or_default()).ok();
    let (status, content_type) = (line().and_then(|line| line.parse().ok()).unwrap_or(200), line());
    let body = parts.next().unwrap_or_default();
    let second = serde_json::from_slice::<serde_json::Map<String, Value>>(body).ok();
    match response_room::judge(status, content_type, body) {
        Ok(tokens) => {
            let second = second.expect("the second reader takes it too");
            assert!(status == 200 && !second.contains_key("error"));
            let text = |name: &str| second.get(name).map(|value| value.as_str().expect("a text"));
            assert!(text("token_type").expect("there").eq_ignore_ascii_case("bearer"));
            assert_eq!(text("access_token"), Some(tokens.access_token.expose()));
            assert_eq!(text("id_token"), Some(tokens.id_token.expose()));
            assert_eq!(text("refresh_token"), tokens.refresh_token.as_ref().map(|token| token.expose()));
            assert!(!tokens.access_token.expose().is_empty() && tokens.id_token.expose().len() <= limits::JWT_MAX);
        }
        Err(failure) if failure.is_definitive() => {
            assert!(matches!(status, 400 | 401));
            assert_eq!(second.expect("JSON")["error"], "invalid_grant");
        }
        Err(_) => {}
    }

    // The answer to a refresh: its successor is found whatever else the answer is worth, and nowhere else.
    let successor = response_room::successor(status, content_type, body);
    if let Some(successor) = &successor {
        let second =
            serde_json::from_slice::<serde_json::Map<String, Value>>(body).expect("the second reader takes it too");
        assert!(status == 200 && !second.contains_key("error"));
        assert_eq!(second["refresh_token"], successor.expose());
    }
    if let Ok(refreshed) = response_room::judge_refreshed(status, content_type, body) {
        let text = |token: Option<SecretText>| token.map(|token| token.expose().to_owned());
        assert_eq!(text(refreshed.refresh_token), text(successor));
    }
}

/// F26, F07: an ID token that is taken keeps the rules of OpenID Connect Core section 3.1.3.7; it is for this login and
/// this client only; and a later clock never revives it.
///
/// The input is the payload, which is then signed.
pub fn id_token(data: &[u8]) {
    let header = format!(r#"{{"alg":"EdDSA","kid":"{KID}"}}"#);
    let token = signed(header.as_bytes(), data);
    let (provider, keys) = (provider(), keys());
    let judge = |client_id: &str, nonce: &str, now: u64| {
        let occasion = Occasion::Login { nonce, max_age: None };
        let expected =
            Expected { provider: &provider, client_id, access_token: "at", groups_claim: "groups", occasion };
        id_token::judge(&token, &keys, &expected, Timestamp::from_secs(now))
    };
    let Ok(person) = judge("gate", "n-1", NOW) else { return };

    let claims: serde_json::Map<String, Value> = serde_json::from_slice(data).expect("the second reader takes it too");
    assert!(claims["iss"] == ISSUER && person.issuer == ISSUER);
    assert!(claims["sub"] == person.subject && (1..=limits::SUBJECT_MAX).contains(&person.subject.len()));
    assert!(person.subject.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_control()));
    let azp = claims.get("azp").map(|azp| azp.as_str().expect("a text"));
    match &claims["aud"] {
        Value::Array(list) => assert!(list.iter().any(|one| one == "gate") && (list.len() == 1 || azp.is_some())),
        one => assert_eq!(one, "gate"),
    }
    assert!(azp.is_none_or(|azp| azp == "gate"));
    assert_eq!(claims["nonce"], "n-1");
    let (now, skew) = (NOW as f64, limits::CLOCK_SKEW.as_secs() as f64);
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().expect("a number").floor());
    assert!(now < time("exp").expect("there") + skew);
    let issued_at = time("iat").expect("there");
    assert!(issued_at <= now + skew && now <= issued_at + limits::ID_TOKEN_AGE_MAX.as_secs() as f64 + skew);
    assert!(time("nbf").is_none_or(|time| time <= now + skew));
    // The key signs with EdDSA, whose hash is SHA-512: the left half of it.
    let digest = ring::digest::digest(&ring::digest::SHA512, b"at");
    let half = BASE64_URL_SAFE_NO_PAD.encode(&digest.as_ref()[..32]);
    assert!(claims.get("at_hash").is_none_or(|hash| *hash == half));
    let names = |name: &str| claims.get(name).map(|value| value.as_str().expect("a text"));
    assert_eq!(person.session.as_deref(), names("sid").filter(|sid| !sid.is_empty()));
    assert!(!person.email_verified || (claims["email_verified"] == true && person.email.is_some()));
    assert!(person.groups.len() <= limits::GROUPS_MAX);
    assert!(
        person.groups.is_empty() || claims["groups"].as_array().is_some_and(|all| all.iter().all(Value::is_string))
    );

    // The answer to a refresh speaks of the same person or of nobody.
    let refreshed = |subject: &str| {
        let occasion = Occasion::Refresh { issuer: ISSUER, subject };
        let expected =
            Expected { provider: &provider, client_id: "gate", access_token: "at", groups_claim: "groups", occasion };
        id_token::judge(&token, &keys, &expected, Timestamp::from_secs(NOW))
    };
    assert_eq!(refreshed(&person.subject).as_ref(), Ok(&person));
    assert_eq!(refreshed(&format!("{}x", person.subject)), Err(Refused::OtherSubject));

    assert_eq!(judge("gate", "n-2", NOW), Err(Refused::OtherNonce));
    assert_eq!(judge("gate", "", NOW), Err(Refused::OtherNonce));
    assert!(judge("other", "n-1", NOW).is_err());
    let mut good = true;
    for later in [1, 30, 60, 120, 300, 600, 661, 3_600, 1 << 40] {
        let still = judge("gate", "n-1", NOW + later).is_ok();
        assert!(good || !still, "valid again after {later} s");
        good = still;
    }
    assert!(!good, "valid for ever");
}
