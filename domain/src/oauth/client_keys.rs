//! The keys that a client signs its assertions with: here, or at an address that it names (RFC 7591 section 2).

use crate::jose::jwk::KeySet;
use crate::limits::{CLIENT_KEYS_MAX, KEYS_URL_MAX};
use crate::oauth::fault::Fault;
use crate::wire::json::{Json, WrongType};
use crate::wire::uri::Uri;
use std::sync::Arc;

/// Where a client's keys are.
#[derive(Debug, Clone)]
pub enum ClientKeys {
    /// Here: at least one that can be used.
    Set(Arc<KeySet>),
    /// Published there.
    At(KeysUrl),
}

/// The address of a key set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeysUrl {
    text: Box<str>,
    host: Box<str>,
    named_by_operator: bool,
}

impl KeysUrl {
    /// One that a client names: `https`, without user and fragment. Whether it may be called is judged by whoever calls it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text, |uri| uri.scheme() == "https", false)
    }

    /// One that the configuration names: `http` as well, on the gate's own machine.
    #[must_use]
    pub fn configured(text: &str) -> Option<Self> {
        Self::read(text, |uri| uri.scheme() == "https" || (uri.scheme() == "http" && uri.is_loopback_host()), true)
    }

    fn read(text: &str, is_sound: impl Fn(&Uri<'_>) -> bool, named_by_operator: bool) -> Option<Self> {
        let uri = Uri::parse(text).ok().filter(|_| text.len() <= KEYS_URL_MAX)?;
        let host = uri.host_text().filter(|_| uri.userinfo().is_none() && uri.fragment().is_none())?;
        is_sound(&uri).then(|| Self { text: text.into(), host: host.to_ascii_lowercase().into(), named_by_operator })
    }

    /// As it was named.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host, in lower case.
    #[must_use]
    pub const fn host(&self) -> &str {
        &self.host
    }

    /// Whether the configuration names it, and no stranger.
    #[must_use]
    pub const fn is_named_by_operator(&self) -> bool {
        self.named_by_operator
    }
}

impl ClientKeys {
    /// The keys of a client that registers or describes itself, if it names any.
    ///
    /// Keys that stand in a registration become part of a `client_id`, which is why only so many fit; whoever needs more, or wants to
    /// change them, publishes them.
    ///
    /// # Errors
    /// [`Fault::ClientMetadata`] with the rule that it breaks.
    pub(crate) fn read(body: &Json) -> Result<Option<Self>, Fault> {
        let address = body.optional_text("jwks_uri").map_err(|WrongType| Fault::ClientMetadata(NO_URI))?;
        match (body.member("jwks"), address) {
            (Some(_), Some(_)) => Err(Fault::ClientMetadata("it has both jwks and jwks_uri")),
            (Some(jwks), None) => Self::set(jwks).map(Some),
            (None, Some(address)) => {
                KeysUrl::parse(address).map(|url| Some(Self::At(url))).ok_or(Fault::ClientMetadata(NO_URI))
            }
            (None, None) => Ok(None),
        }
    }

    fn set(jwks: &Json) -> Result<Self, Fault> {
        let set = KeySet::of_json(jwks).map_err(|_| Fault::ClientMetadata("jwks is not a key set"))?;
        if set.passed_over().iter().any(|unfit| unfit.is_secret()) {
            return Err(Fault::ClientMetadata("jwks holds a private or symmetric key"));
        }
        if set.keys().is_empty() {
            return Err(Fault::ClientMetadata("jwks holds no key that signatures can be checked with"));
        }
        if set.to_json().len() > CLIENT_KEYS_MAX {
            return Err(Fault::ClientMetadata("jwks is too long: leave out keys, or publish them and give jwks_uri"));
        }
        Ok(Self::Set(Arc::new(set)))
    }
}

const NO_URI: &str = "jwks_uri is not an https URL of at most 400 characters";
const _: () = assert!(KEYS_URL_MAX == 400);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::algorithm::Algorithm;
    use crate::jose::testing::jwk;
    use crate::wire::json;

    fn read(body: &str) -> Result<Option<ClientKeys>, Fault> {
        ClientKeys::read(&json::parse(body.as_bytes(), 1 << 16).unwrap())
    }

    #[test]
    fn t098_r34_keys_are_public_ones_here_or_at_one_https_address() {
        let good = format!(r#"{{"jwks":{{"keys":[{}]}}}}"#, jwk(Algorithm::Es256));
        assert!(matches!(read(&good), Ok(Some(ClientKeys::Set(set))) if set.keys().len() == 1));
        assert!(
            matches!(read(r#"{"jwks_uri":"https://a.example/k"}"#), Ok(Some(ClientKeys::At(url))) if url.host() == "a.example")
        );
        assert!(matches!(read("{}"), Ok(None)));
        let rule = |body: &str| match read(body) {
            Err(Fault::ClientMetadata(rule)) => rule,
            other => panic!("{body}: {other:?}"),
        };
        let private = jwk(Algorithm::Es256).replacen('{', r#"{"d":"AAAA","#, 1);
        for (body, expected) in [
            (good.replacen('{', r#"{"jwks_uri":"https://a.example/k","#, 1), "it has both jwks and jwks_uri"),
            (format!(r#"{{"jwks":{{"keys":[{private}]}}}}"#), "jwks holds a private or symmetric key"),
            (r#"{"jwks":{"keys":[{"kty":"oct","k":"AA"}]}}"#.into(), "jwks holds a private or symmetric key"),
            (r#"{"jwks":{"keys":[]}}"#.into(), "jwks holds no key that signatures can be checked with"),
            (
                r#"{"jwks":{"keys":[{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}]}}"#.into(),
                "jwks holds no key that signatures can be checked with",
            ),
            (r#"{"jwks":{}}"#.into(), "jwks is not a key set"),
            (r#"{"jwks":"x"}"#.into(), "jwks is not a key set"),
        ] {
            assert_eq!(rule(&body), expected, "{body}");
        }
        let long = format!("https://a.example/{}", "k".repeat(400));
        for uri in [
            "http://a.example/k",
            "HTTPS://a.example/k",
            "https://u@a.example/k",
            "https://a.example/k#x",
            "a",
            "",
            &long,
        ] {
            assert_eq!(rule(&format!(r#"{{"jwks_uri":"{uri}"}}"#)), NO_URI, "{uri}");
        }
        assert!(KeysUrl::configured("http://127.0.0.1:1/k").is_some_and(|url| url.is_named_by_operator()));
        assert_eq!(KeysUrl::configured("http://a.example/k"), None);
    }
}
