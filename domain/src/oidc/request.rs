//! Builds what is sent to the identity provider: the authorization URL for the browser, the token request for the back channel.
//!
//! OpenID Connect Core section 3.1.2.1, RFC 7636 section 4.3, RFC 6749 sections 2.3.1, 4.1.1 and 4.1.3. State, nonce
//! and PKCE are always there, also with a client secret (RFC 9700 section 2.1.1). Nothing is sent here; the answers are
//! judged in [`callback`](super::callback), [`token_response`](super::token_response) and [`id_token`](super::id_token).

use super::discovery::{ClientAuthentication, Provider};
use super::profile::Profile;
use crate::limits;
use crate::secret::SecretText;
use crate::wire::{form, text};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::fmt;
use zeroize::Zeroizing;

/// One login that is about to go to the provider.
///
/// `state`, `nonce` and the verifier behind `code_challenge` must be fresh for this login, at least 128 bits each.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Our client identifier at the provider.
    pub client_id: &'a str,
    /// Our callback, exactly as it is registered at the provider.
    pub redirect_uri: &'a str,
    /// From [`Profile::scope`].
    pub scope: &'a str,
    /// What the provider echoes to our callback.
    pub state: &'a str,
    /// What the ID token must carry.
    pub nonce: &'a str,
    /// The S256 challenge of our verifier.
    pub code_challenge: &'a str,
    /// What the client may ask of the provider.
    pub wishes: &'a Wishes,
    /// Parameters of the operator's, beside the profile's.
    pub further: &'a [(&'static str, String)],
}

/// The parameters of a client's authorization request that are passed on. There are no others: a parameter that is not
/// a field here cannot reach the provider (T203).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// `prompt=login`: ask for the credentials again.
    pub login: bool,
    /// `prompt=select_account`: let the person choose.
    pub select_account: bool,
    /// `login_hint`: who will probably log in. Dropped when it is longer than [`limits::LOGIN_HINT_MAX`].
    pub login_hint: Option<String>,
    /// `max_age` in seconds; the ID token is then judged for `auth_time`.
    pub max_age: Option<u32>,
}

impl fmt::Debug for Wishes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The hint is somebody's address.
        out.write_str("Wishes(..)")
    }
}

/// The URL that the browser is sent to. A query that the endpoint has is kept (RFC 6749 section 3.1).
#[must_use]
pub fn authorization_url(provider: &Provider, profile: &Profile, login: &Login<'_>) -> String {
    let mut query = vec![
        ("response_type", "code"),
        ("client_id", login.client_id),
        ("redirect_uri", login.redirect_uri),
        ("scope", login.scope),
        ("state", login.state),
        ("code_challenge", login.code_challenge),
        ("code_challenge_method", "S256"),
    ];
    if profile.openid {
        query.insert(5, ("nonce", login.nonce));
    }
    let prompts = [
        (login.wishes.login && profile.openid, "login"),
        (login.wishes.select_account, "select_account"),
        (profile.always_consent, "consent"),
    ];
    let prompts: Vec<&str> = prompts.into_iter().filter_map(|(wanted, word)| wanted.then_some(word)).collect();
    let prompts = prompts.join(" ");
    if !prompts.is_empty() {
        query.push(("prompt", &prompts));
    }
    if let Some(hint) = login.wishes.login_hint.as_deref().filter(|hint| hint.len() <= limits::LOGIN_HINT_MAX) {
        query.push((if profile.openid { "login_hint" } else { "login" }, hint));
    }
    let max_age = login.wishes.max_age.filter(|_| profile.openid).map(|max_age| max_age.to_string());
    if let Some(max_age) = &max_age {
        query.push(("max_age", max_age));
    }
    query.extend(profile.parameters);
    query.extend(login.further.iter().map(|(name, value)| (*name, value.as_str())));
    form::with_query(&provider.authorization_endpoint, query)
}

/// Our credentials at the provider.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `client_id`.
    pub client_id: String,
    /// `client_secret`.
    pub client_secret: SecretText,
}

/// A POST to the provider's back channel.
#[derive(Clone, Debug)]
pub struct BackChannel {
    /// Where to.
    pub url: String,
    /// The value of `Authorization`, if the client authenticates there.
    pub authorization: Option<SecretText>,
    /// The body, of the type [`BackChannel::CONTENT_TYPE`].
    pub body: SecretText,
}

impl BackChannel {
    /// The `Content-Type` of the body.
    pub const CONTENT_TYPE: &'static str = "application/x-www-form-urlencoded";
    /// The value of `Accept`.
    pub const ACCEPT: &'static str = "application/json";
}

/// Redeems the provider's code (RFC 6749 section 4.1.3).
#[must_use]
pub fn redeem(
    provider: &Provider,
    credentials: &Credentials,
    code: &SecretText,
    redirect_uri: &str,
    code_verifier: &SecretText,
) -> BackChannel {
    let parameters = [
        ("grant_type", "authorization_code"),
        ("code", code.expose()),
        ("redirect_uri", redirect_uri),
        ("code_verifier", code_verifier.expose()),
    ];
    back_channel(provider, &provider.token_endpoint, credentials, &parameters)
}

/// Asks for newer tokens (RFC 6749 section 6). No scope: the same as before.
#[must_use]
pub fn refresh(provider: &Provider, credentials: &Credentials, refresh_token: &SecretText) -> BackChannel {
    let parameters = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
    back_channel(provider, &provider.token_endpoint, credentials, &parameters)
}

/// Says that a refresh token is of no use any more (RFC 7009 section 2.1), at the endpoint that the provider has for that.
#[must_use]
pub fn revoke(
    provider: &Provider,
    endpoint: &str,
    credentials: &Credentials,
    refresh_token: &SecretText,
) -> BackChannel {
    let parameters = [("token", refresh_token.expose()), ("token_type_hint", "refresh_token")];
    back_channel(provider, endpoint, credentials, &parameters)
}

fn back_channel(provider: &Provider, url: &str, credentials: &Credentials, parameters: &[(&str, &str)]) -> BackChannel {
    let mut parameters = parameters.to_vec();
    let authorization = match provider.client_authentication {
        ClientAuthentication::Basic => Some(basic(credentials)),
        ClientAuthentication::Post => {
            parameters.push(("client_id", &credentials.client_id));
            parameters.push(("client_secret", credentials.client_secret.expose()));
            None
        }
    };
    post(url, authorization, &parameters)
}

/// A POST of a client that authenticates by Basic.
#[must_use]
pub fn post_with_basic(url: &str, credentials: &Credentials, parameters: &[(&str, &str)]) -> BackChannel {
    post(url, Some(basic(credentials)), parameters)
}

fn post(url: &str, authorization: Option<SecretText>, parameters: &[(&str, &str)]) -> BackChannel {
    let mut body = roomy(parameters.iter().flat_map(|(name, value)| [*name, *value]));
    for (name, value) in parameters {
        if !body.is_empty() {
            body.push('&');
        }
        text::push_percent_encoded(&mut body, name);
        body.push('=');
        text::push_percent_encoded(&mut body, value);
    }
    BackChannel { url: url.to_owned(), authorization, body: SecretText::new(body) }
}

/// Identifier and secret are form-encoded before they are joined (RFC 6749 section 2.3.1): a colon or a non-ASCII
/// letter in either would otherwise be read differently by different providers.
fn basic(credentials: &Credentials) -> SecretText {
    let (id, secret) = (credentials.client_id.as_str(), credentials.client_secret.expose());
    let mut pair = Zeroizing::new(roomy([id, secret].into_iter()));
    text::push_percent_encoded(&mut pair, id);
    pair.push(':');
    text::push_percent_encoded(&mut pair, secret);
    let coded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
    SecretText::new(["Basic ", coded.as_str()].concat())
}

/// An empty text with room for all pieces and the signs between them: an escape makes a byte three at the most. A text
/// that never grows leaves no half-written copy of a secret behind.
fn roomy<'a>(pieces: impl Iterator<Item = &'a str>) -> String {
    String::with_capacity(
        pieces.fold(0, |sum, piece| sum.saturating_add(piece.len().saturating_mul(3)).saturating_add(1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::profile::GENERIC;
    use crate::oidc::testing::provider;

    fn login(wishes: &Wishes) -> Login<'_> {
        Login {
            client_id: "gate & co",
            redirect_uri: "https://gate.example/oauth/callback",
            scope: "openid email",
            state: "s-1",
            nonce: "n-1",
            code_challenge: "c-1",
            wishes,
            further: &[],
        }
    }

    const BASE: &str = "response_type=code&client_id=gate%20%26%20co&redirect_uri=https%3A%2F%2Fgate.example%2Foauth%2Fcallback&scope=openid%20email&state=s-1&nonce=n-1&code_challenge=c-1&code_challenge_method=S256";

    #[test]
    fn t202_state_nonce_and_pkce_are_always_sent() {
        let url = authorization_url(&provider(), &GENERIC, &login(&Wishes::default()));
        assert_eq!(url, format!("https://id.example/auth?{BASE}"));
    }

    #[test]
    fn the_query_of_the_endpoint_is_kept() {
        let mut provider = provider();
        for (endpoint, start) in [
            ("https://id.example/auth?tenant=a%20b", "https://id.example/auth?tenant=a%20b&"),
            ("https://id.example/auth?", "https://id.example/auth?"),
        ] {
            provider.authorization_endpoint = endpoint.to_owned();
            assert_eq!(authorization_url(&provider, &GENERIC, &login(&Wishes::default())), format!("{start}{BASE}"));
        }
    }

    #[test]
    fn t203_r59_only_known_wishes_are_passed_on_and_cannot_smuggle_another_parameter() {
        let wishes = Wishes {
            login: true,
            select_account: true,
            login_hint: Some("a@b.example&connector_id=evil#x".to_owned()),
            max_age: Some(0),
        };
        let url = authorization_url(&provider(), &GENERIC, &login(&wishes));
        let rest = url.strip_prefix(&format!("https://id.example/auth?{BASE}")).unwrap();
        assert_eq!(rest, "&prompt=login%20select_account&login_hint=a%40b.example%26connector_id%3Devil%23x&max_age=0",);
        let wishes = Wishes { login_hint: Some("x".repeat(limits::LOGIN_HINT_MAX.saturating_add(1))), ..wishes };
        assert!(!authorization_url(&provider(), &GENERIC, &login(&wishes)).contains("login_hint"));
    }

    #[test]
    fn a_profile_adds_its_own_parameters() {
        let profile = Profile { parameters: &[("access_type", "offline")], always_consent: true, ..GENERIC };
        let wishes = Wishes { login: true, ..Wishes::default() };
        let url = authorization_url(&provider(), &profile, &login(&wishes));
        assert!(url.ends_with("&prompt=login%20consent&access_type=offline"), "{url}");
    }

    #[test]
    fn t202_without_openid_connect_state_and_pkce_are_sent_all_the_same_and_none_of_its_words() {
        let hint = Some("ada".to_owned());
        let wishes = Wishes { login: true, select_account: true, login_hint: hint, max_age: Some(1) };
        let url = authorization_url(&provider(), &crate::oidc::profile::GITHUB, &login(&wishes));
        let base = BASE.replace("&nonce=n-1", "");
        assert_eq!(url, format!("https://id.example/auth?{base}&prompt=select_account&login=ada"));
    }

    #[test]
    fn the_operator_adds_parameters_that_are_escaped() {
        let further = [("connector_id", "ldap & co".to_owned())];
        let wishes = Wishes::default();
        let url = authorization_url(&provider(), &GENERIC, &Login { further: &further, ..login(&wishes) });
        assert_eq!(url, format!("https://id.example/auth?{BASE}&connector_id=ldap%20%26%20co"));
    }

    fn credentials() -> Credentials {
        Credentials { client_id: "gate:é".to_owned(), client_secret: SecretText::new("a b&=:%".to_owned()) }
    }

    fn redeem_at(provider: &Provider) -> BackChannel {
        let (code, verifier) = (SecretText::new("c&d".to_owned()), SecretText::new("v".repeat(43)));
        redeem(provider, &credentials(), &code, "https://gate.example/cb", &verifier)
    }

    #[test]
    fn the_code_is_redeemed_with_either_client_authentication() {
        let mut provider = provider();
        let verifier = "v".repeat(43);
        let body = format!(
            "grant_type=authorization_code&code=c%26d&redirect_uri=https%3A%2F%2Fgate.example%2Fcb&code_verifier={verifier}"
        );
        let basic = redeem_at(&provider);
        assert_eq!(basic.url, "https://id.example/token");
        assert_eq!(basic.body.expose(), body);
        // The base64 of "gate%3A%C3%A9:a%20b%26%3D%3A%25".
        assert_eq!(basic.authorization.unwrap().expose(), "Basic Z2F0ZSUzQSVDMyVBOTphJTIwYiUyNiUzRCUzQSUyNQ==");

        provider.client_authentication = ClientAuthentication::Post;
        let post = redeem_at(&provider);
        assert!(post.authorization.is_none());
        assert_eq!(post.body.expose(), format!("{body}&client_id=gate%3A%C3%A9&client_secret=a%20b%26%3D%3A%25"),);
    }

    #[test]
    fn a_refresh_token_is_revoked_with_the_credentials_of_the_token_endpoint() {
        let token = SecretText::new("t&u".to_owned());
        let asked = revoke(&provider(), "https://id.example/revoke", &credentials(), &token);
        assert_eq!((asked.url.as_str(), asked.authorization.is_some()), ("https://id.example/revoke", true));
        assert_eq!(asked.body.expose(), "token=t%26u&token_type_hint=refresh_token");
    }

    #[test]
    fn p11_a_back_channel_request_shows_no_secret() {
        let mut provider = provider();
        for authentication in [ClientAuthentication::Basic, ClientAuthentication::Post] {
            provider.client_authentication = authentication;
            let shown = format!("{:?} {:?}", redeem_at(&provider), credentials());
            for secret in ["a b&", "a%20b", "c%26d", "vvv", "Z2F0"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
}
