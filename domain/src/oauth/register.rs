//! Dynamic client registration, without a store: RFC 7591, and the reading part of RFC 7592.
//!
//! What a client asks for is judged, signed into its `client_id` and answered; members that mean nothing here are left out of the
//! answer (RFC 7591 section 3.2.1), and nothing that a request says of ids, secrets or rights is taken over. No URI of a
//! registration is ever fetched. A registered `scope` would be a ceiling that clients do not expect, so none is registered.

use crate::fresh::Fresh;
use crate::limits::{OAUTH_BODY_MAX, REDIRECTS_MAX};
use crate::oauth::client::{self, AuthMethod, Client};
use crate::oauth::client_id::{self, Declared, Derived};
use crate::oauth::client_keys::ClientKeys;
use crate::oauth::client_metadata::{self, AUTHORIZATION_CODE, CODE, REFRESH_TOKEN};
use crate::oauth::fault::Fault;
use crate::oauth::policy::Policy;
use crate::oauth::redirect::Redirect;
use crate::secret::SecretText;
use crate::time::Timestamp;
use crate::wire::json::{self, Json, ObjectWriter, WrongType};

/// A client that has registered itself, with what only it may know.
#[derive(Debug)]
pub struct Registered {
    client: Client,
    issued: Timestamp,
    management: Option<SecretText>,
}

/// Registers a client: the body of the request, and the token behind `Bearer`, if there is one.
///
/// # Errors
/// [`Fault::BodyTooLarge`] or [`Fault::Malformed`]; [`Fault::ClientMetadata`] or [`Fault::RedirectUri`] with the rule that the
/// metadata breaks; [`Fault::RegistrationToken`] or [`Fault::RegistrationRefused`] if no gate opens.
pub fn register(
    body: &[u8],
    bearer: Option<&str>,
    policy: &Policy,
    now: Timestamp,
    fresh: &Fresh,
) -> Result<Registered, Fault> {
    if !policy.registration.can_open() {
        return Err(Fault::RegistrationRefused("it is closed"));
    }
    let body = json::parse(body, OAUTH_BODY_MAX).map_err(|malformed| match malformed {
        json::Malformed::TooLong => Fault::BodyTooLarge,
        _ => Fault::Malformed("the JSON of the registration"),
    })?;
    // Some clients write null for what they leave out.
    let body = body.without_nulls();
    body.members().map_err(|WrongType| Fault::ClientMetadata("it is not a JSON object"))?;
    let redirects = redirects(&body, policy)?;
    let at_home = || policy.registration.known && redirects.iter().all(|redirect| policy.redirects.trusts(redirect));
    if !is_welcome(policy, bearer) && !at_home() {
        return Err(refusal(policy));
    }
    let method = auth_method(&body)?;
    client_metadata::check_response_types(&body)?;
    let declared = Declared {
        name: client_metadata::name(&body)?,
        redirects: redirects.iter().map(|redirect| redirect.as_str().to_owned()).collect(),
        method,
        keys: client_metadata::keys(&body, method)?,
        refreshes: client_metadata::refreshes(&body)?,
    };
    let salt = method.is_confidential().then(|| fresh.secret::<16>("client id"));
    let id = client_id::sign(&declared, salt.as_ref().map(|salt| salt.expose()), &policy.ring.now(), now)
        .ok_or(Fault::ClientMetadata("it is too long in all"))?;
    registered(policy, &id).ok_or(Fault::Internal("a new client_id does not open"))
}

/// The registration behind a `client_id`, for who holds its registration access token (RFC 7592 section 2.1).
///
/// # Errors
/// [`Fault::RegistrationToken`], whether the token is wrong or the client unknown.
pub fn read(client_id: &str, bearer: Option<&str>, policy: &Policy) -> Result<Registered, Fault> {
    let found = registered(policy, client_id).ok_or(Fault::RegistrationToken)?;
    match (&found.management, bearer) {
        (Some(own), Some(sent)) if own.same(sent) => Ok(found),
        _ => Err(Fault::RegistrationToken),
    }
}

impl Registered {
    /// The client.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The body of the answer (RFC 7591 section 3.2.1, RFC 7592 section 3). It holds the client's secret.
    #[must_use]
    pub fn answer(&self, policy: &Policy) -> SecretText {
        let client = &self.client;
        let mut out =
            ObjectWriter::new().text("client_id", client.id()).number("client_id_issued_at", self.issued.secs());
        if let Some(secret) = client.secret() {
            out = out.text("client_secret", secret.expose()).number("client_secret_expires_at", 0);
        }
        let grant_types = [Some(AUTHORIZATION_CODE), client.refreshes().then_some(REFRESH_TOKEN)];
        out = out
            .optional_text("client_name", client.name())
            .texts("redirect_uris", client.redirects().iter().map(Redirect::as_str))
            .texts("grant_types", grant_types.into_iter().flatten())
            .texts("response_types", [CODE])
            .text("token_endpoint_auth_method", client.method().name());
        match client.keys() {
            Some(ClientKeys::Set(set)) => {
                if let Ok(jwks) = json::parse(set.to_json().as_bytes(), OAUTH_BODY_MAX) {
                    out = out.json("jwks", &jwks);
                }
            }
            Some(ClientKeys::At(url)) => out = out.text("jwks_uri", url.as_str()),
            None => {}
        }
        if let Some(token) = &self.management {
            let uri = [&policy.base_url, "/oauth/register/", client.id()].concat();
            out = out.text("registration_client_uri", &uri).text("registration_access_token", token.expose());
        }
        SecretText::new(out.finish())
    }
}

fn registered(policy: &Policy, id: &str) -> Option<Registered> {
    let ring = policy.ring.now();
    let signed = client_id::open(id, &ring)?;
    let management = signed.derive(id, Derived::RegistrationAccessToken, &ring);
    Some(Registered { client: client::lookup(policy, id).ok()?, issued: signed.issued, management })
}

/// Whether the client may register whatever its redirect URIs are. A wrong token is not held against one that needs none.
fn is_welcome(policy: &Policy, bearer: Option<&str>) -> bool {
    let token = policy.registration.token.as_ref();
    policy.registration.open || token.zip(bearer).is_some_and(|(own, sent)| own.same(sent))
}

fn refusal(policy: &Policy) -> Fault {
    if policy.registration.token.is_some() {
        Fault::RegistrationToken
    } else {
        Fault::RegistrationRefused(
            "a redirect URI is neither on loopback, nor of a known client, nor trusted by the operator",
        )
    }
}

// The refusal says the number in words of its own.
const _: () = assert!(REDIRECTS_MAX == 10);

fn redirects(body: &Json, policy: &Policy) -> Result<Vec<Redirect>, Fault> {
    let listed = client_metadata::redirect_uris(body)?;
    if listed.len() > REDIRECTS_MAX {
        return Err(Fault::RedirectUri("redirect_uris has more than 10 of them"));
    }
    let mut redirects: Vec<Redirect> = Vec::with_capacity(listed.len());
    for uri in listed {
        let redirect = Redirect::register(uri, &policy.redirects)?;
        if !redirects.contains(&redirect) {
            redirects.push(redirect);
        }
    }
    Ok(redirects)
}

/// Left out, it means Basic (RFC 7591 section 2), and the answer says so.
fn auth_method(body: &Json) -> Result<AuthMethod, Fault> {
    client_metadata::auth_method(body)?.map_or(Some(AuthMethod::ClientSecretBasic), AuthMethod::named).ok_or(
        Fault::ClientMetadata(
            "token_endpoint_auth_method is not none, client_secret_basic, client_secret_post or private_key_jwt",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CLIENT_NAME_MAX;
    use crate::oauth::client::tests::identify;
    use crate::oauth::client::{KnownBy, Presented};
    use crate::oauth::policy::RegistrationPolicy;
    use crate::oauth::policy::tests::{NOW, policy};
    use crate::secret::Secret;

    fn fresh(seed: u8) -> Fresh {
        Fresh::new(&Secret::new([seed; 32]), 0)
    }

    fn ask(policy: &Policy, body: &str) -> Result<Registered, Fault> {
        register(body.as_bytes(), None, policy, NOW, &fresh(1))
    }

    fn answer(policy: &Policy, body: &str) -> Json {
        let answer = ask(policy, body).unwrap().answer(policy);
        json::parse(answer.expose().as_bytes(), 1 << 16).unwrap()
    }

    fn open() -> Policy {
        Policy { registration: RegistrationPolicy { open: true, ..RegistrationPolicy::default() }, ..policy() }
    }

    const LOCAL: &str = r#"{"redirect_uris":["http://localhost:1/cb"],"token_endpoint_auth_method":"none"}"#;
    const CLAUDE: &str = r#"{"client_name":"Claude","redirect_uris":["https://claude.ai/api/mcp/auth_callback"],
        "token_endpoint_auth_method":"client_secret_post","grant_types":["authorization_code","refresh_token"],
        "response_types":["code"],"scope":"claudeai"}"#;
    const FOREIGN: &str = r#"{"redirect_uris":["https://foreign.example/cb"],"token_endpoint_auth_method":"none"}"#;

    #[test]
    fn as_16_today_s_clients_register_out_of_the_box() {
        let policy = policy();
        let cursor = r#"{"client_name":"Cursor","application_type":"web","token_endpoint_auth_method":"none","redirect_uris":
            ["cursor://anysphere.cursor-mcp/oauth/callback","https://www.cursor.com/agents/mcp/oauth/callback","http://localhost:8787/callback"],
            "grant_types":["authorization_code","refresh_token"],"response_types":["code"],"logo_uri":null}"#;
        let code = r#"{"client_name":"Visual Studio Code","client_uri":"https://code.visualstudio.com","grant_types":["authorization_code",
            "refresh_token","urn:ietf:params:oauth:grant-type:device_code"],"response_types":["code"],"redirect_uris":[
            "https://insiders.vscode.dev/redirect","https://vscode.dev/redirect","http://127.0.0.1/","http://127.0.0.1:33418/"],
            "token_endpoint_auth_method":"none","application_type":"native"}"#;
        for (body, name, redirects) in
            [(cursor, Some("Cursor"), 3), (code, Some("Visual Studio Code"), 4), (LOCAL, None, 1)]
        {
            let answer = answer(&policy, body);
            assert_eq!(answer.optional_text("client_name"), Ok(name));
            assert_eq!(answer.required_text_list("redirect_uris").unwrap().len(), redirects);
            assert_eq!(answer.required_text_list("grant_types").unwrap(), ["authorization_code", "refresh_token"]);
            assert_eq!(answer.required_text_list("response_types").unwrap(), ["code"]);
            assert_eq!(answer.optional_text("token_endpoint_auth_method"), Ok(Some("none")));
            assert!(answer.required_text("client_id").unwrap().len() < 255);
            for absent in [
                "client_secret",
                "client_secret_expires_at",
                "registration_access_token",
                "registration_client_uri",
                "scope",
            ] {
                assert_eq!(answer.member(absent), None, "{absent}");
            }
            assert_eq!(answer.optional_unsigned("client_id_issued_at"), Ok(Some(1_799_971_200)));
        }
        assert_eq!(ask(&policy, LOCAL).unwrap().client().id(), ask(&policy, LOCAL).unwrap().client().id());
        assert_eq!(ask(&policy, LOCAL).unwrap().client().known_by(), KnownBy::SelfDeclared);
    }

    #[test]
    fn i_20_a_method_is_honoured_and_the_default_is_basic() {
        let policy = policy();
        let answer_of = |method: &str| answer(&policy, &format!(r#"{{"redirect_uris":["http://[::1]/cb"]{method}}}"#));
        for (asked, given) in [
            ("", "client_secret_basic"),
            (r#","token_endpoint_auth_method":null"#, "client_secret_basic"),
            (r#","token_endpoint_auth_method":"none""#, "none"),
            (r#","token_endpoint_auth_method":"client_secret_basic""#, "client_secret_basic"),
            (r#","token_endpoint_auth_method":"client_secret_post""#, "client_secret_post"),
        ] {
            let answer = answer_of(asked);
            assert_eq!(answer.optional_text("token_endpoint_auth_method"), Ok(Some(given)), "{asked}");
            assert_eq!(answer.member("client_secret").is_some(), given != "none", "{asked}");
            assert_eq!(answer.optional_unsigned("client_secret_expires_at"), Ok((given != "none").then_some(0)));
        }
    }

    #[test]
    fn two_registrations_of_a_confidential_client_share_nothing_and_each_secret_works() {
        let policy = policy();
        let one = register(CLAUDE.as_bytes(), None, &policy, NOW, &fresh(1)).unwrap();
        let two = register(CLAUDE.as_bytes(), None, &policy, NOW, &fresh(2)).unwrap();
        assert_ne!(one.client().id(), two.client().id());
        let secret = |it: &Registered| it.client().secret().unwrap().expose().to_owned();
        assert_ne!(secret(&one), secret(&two));
        let identified = |id: &Registered, secret: &str| {
            identify(&policy, &Presented { id: Some(id.client().id()), secret: Some(secret), ..Presented::default() })
                .err()
        };
        assert_eq!(identified(&one, &secret(&one)), None);
        assert_eq!(identified(&one, &secret(&two)), Some(Fault::ClientAuthentication));
    }

    #[test]
    fn t093_one_bad_redirect_spoils_the_registration() {
        let list = |redirects: &str| format!(r#"{{"redirect_uris":{redirects},"token_endpoint_auth_method":"none"}}"#);
        let many = format!(
            "[{}]",
            (0..=REDIRECTS_MAX).map(|n| format!("\"https://a.example/{n}\"")).collect::<Vec<_>>().join(",")
        );
        for policy in [open(), policy()] {
            for redirects in [
                "[]",
                "null",
                "\"https://app.example/cb\"",
                "[1]",
                "{}",
                r#"["http://localhost/cb","javascript:alert(1)"]"#,
                r#"["http://localhost/cb",""]"#,
                r#"["http://localhost/cb","http://app.example/cb"]"#,
                r#"["http://localhost@evil.com/cb"]"#,
                r#"["http://localhost/cb#x"]"#,
                r#"["myapp:/cb"]"#,
                &many,
            ] {
                assert!(matches!(ask(&policy, &list(redirects)), Err(Fault::RedirectUri(_))), "{redirects}");
            }
            assert!(matches!(ask(&policy, "{}"), Err(Fault::RedirectUri(_))));
        }
        let twice = list(r#"["https://a.example/","https://a.example/"]"#);
        assert_eq!(ask(&open(), &twice).unwrap().client().redirects().len(), 1);
    }

    #[test]
    fn t094_a_name_is_one_line_of_bounded_text() {
        let named = |name: &str| {
            let body = format!(r#"{{"client_name":{},"redirect_uris":["http://localhost/cb"]}}"#, json::quote(name));
            ask(&policy(), &body).unwrap().client().name().map(str::to_owned)
        };
        assert_eq!(named("<script>alert(1)</script>").as_deref(), Some("<script>alert(1)</script>"));
        assert_eq!(named("Cl\u{202e}au\u{200b}de\n\tCode").as_deref(), Some("Claude Code"));
        assert_eq!(named(" \u{200b}\u{2066} "), None);
        assert_eq!(named(&"x".repeat(60_000)).unwrap().len(), CLIENT_NAME_MAX);
        let wide = named(&"\u{1f600}".repeat(100)).unwrap();
        assert_eq!(wide.len(), CLIENT_NAME_MAX);
        assert!(matches!(
            ask(&policy(), r#"{"client_name":["x"],"redirect_uris":["http://localhost/cb"]}"#),
            Err(Fault::ClientMetadata(_))
        ));
    }

    #[test]
    fn t095_t097_t099_as_17_what_a_client_says_beside_is_not_believed() {
        let policy = policy();
        let plain = ask(&policy, LOCAL).unwrap().client().id().to_owned();
        for beside in [
            r#""client_id":"mine""#,
            r#""client_secret":"mine","client_secret_expires_at":1"#,
            r#""client_id_issued_at":1,"registration_access_token":"mine","registration_client_uri":"https://evil.com""#,
            r#""owner":"admin","admin":true,"first_party":true,"skip_consent":true,"without_page":true"#,
            r#""software_statement":"eyJhbGciOiJub25lIn0.e30.""#,
            r#""software_id":"x","software_version":"1","contacts":["a@b"]"#,
            r#""logo_uri":"http://169.254.169.254/","jwks_uri":"http://127.0.0.1/","sector_identifier_uri":"http://[::1]/""#,
            r#""client_uri":"javascript:alert(1)","tos_uri":"data:,x","policy_uri":"file:///etc/passwd""#,
            r#""application_type":"web""#,
            r#""application_type":"native""#,
            r#""scope":"a b c""#,
            r#""jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"x","y":"y"}]}"#,
        ] {
            let body = format!("{},{beside}}}", LOCAL.strip_suffix('}').unwrap());
            assert_eq!(ask(&policy, &body).unwrap().client().id(), plain, "{beside}");
        }
        assert!(!ask(&policy, LOCAL).unwrap().client().without_page());
    }

    #[test]
    fn t098_metadata_that_contradicts_itself_or_us_is_refused() {
        for member in [
            r#""grant_types":["refresh_token"]"#,
            r#""grant_types":[]"#,
            r#""grant_types":["client_credentials"],"response_types":[]"#,
            r#""grant_types":"authorization_code""#,
            r#""response_types":["token"]"#,
            r#""response_types":["code","token"]"#,
            r#""response_types":["code id_token"]"#,
            r#""response_types":[]"#,
            r#""response_types":"code""#,
            r#""token_endpoint_auth_method":"private_key_jwt""#,
            r#""token_endpoint_auth_method":"NONE""#,
            r#""token_endpoint_auth_method":"""#,
            r#""token_endpoint_auth_method":["none"]"#,
            r#""jwks":{"keys":[]},"jwks_uri":"https://app.example/jwks""#,
            r#""jwks":{"keys":[{"kty":"EC","crv":"P-256","x":"x","y":"y","d":"d"}]}"#,
            r#""jwks":{"keys":[{"kty":"RSA","n":"n","e":"AQAB"},{"kty":"RSA","n":"n","e":"AQAB","q":"q"}]}"#,
            r#""jwks":{"keys":[{"kty":"oct"}]}"#,
            r#""jwks":{"keys":[{"kty":"EC","k":"k"}]}"#,
            r#""jwks":"x""#,
            r#""jwks":{}"#,
        ] {
            let body = format!(r#"{{"redirect_uris":["http://localhost/cb"],{member}}}"#);
            assert!(matches!(ask(&policy(), &body), Err(Fault::ClientMetadata(_))), "{member}");
        }
        let only_code = r#"{"redirect_uris":["http://localhost/cb"],"grant_types":["authorization_code"]}"#;
        assert!(!ask(&policy(), only_code).unwrap().client().refreshes());
    }

    #[test]
    fn what_is_no_registration_is_refused() {
        let unreadable = Fault::Malformed("the JSON of the registration");
        for (body, fault) in [
            ("", unreadable),
            ("{", unreadable),
            ("redirect_uris=https://app.example/cb", unreadable),
            (r#"{"redirect_uris":["http://localhost/cb"],"redirect_uris":["http://localhost/cb"]}"#, unreadable),
            ("[]", Fault::ClientMetadata("it is not a JSON object")),
            ("null", Fault::ClientMetadata("it is not a JSON object")),
        ] {
            assert_eq!(ask(&open(), body).err(), Some(fault), "{body}");
        }
        assert_eq!(ask(&open(), &" ".repeat(OAUTH_BODY_MAX + 1)).err(), Some(Fault::BodyTooLarge));
        let long: Vec<String> = (0..10).map(|n| format!("\"https://a.example/{n}{}\"", "a".repeat(370))).collect();
        let long = format!(r#"{{"redirect_uris":[{}]}}"#, long.join(","));
        assert_eq!(ask(&open(), &long).err(), Some(Fault::ClientMetadata("it is too long in all")));
    }

    #[test]
    fn t101_every_gate_opens_by_itself_and_no_other_way_leads_in() {
        let with = |open, token: bool, known| Policy {
            registration: RegistrationPolicy { open, token: token.then(|| SecretText::new("the token".into())), known },
            ..policy()
        };
        let token = Some(Fault::RegistrationToken);
        let refused = ask(&policy(), FOREIGN).err();
        assert!(matches!(refused, Some(Fault::RegistrationRefused(_))));
        let closed = Some(Fault::RegistrationRefused("it is closed"));
        for (policy, bearer, body, fault) in [
            (with(true, false, false), None, FOREIGN, None),
            (with(true, false, false), Some("anything"), FOREIGN, None),
            (with(false, true, false), Some("the token"), FOREIGN, None),
            (with(false, true, false), Some("the token"), CLAUDE, None),
            (with(false, true, false), None, LOCAL, token),
            (with(false, true, false), Some(""), LOCAL, token),
            (with(false, true, false), Some("the toke"), FOREIGN, token),
            (with(false, true, false), Some("the token "), FOREIGN, token),
            (with(false, true, true), Some("wrong"), FOREIGN, token),
            (with(false, true, true), Some("wrong"), LOCAL, None),
            (with(false, false, true), None, CLAUDE, None),
            (with(false, false, true), None, LOCAL, None),
            (with(false, false, true), None, FOREIGN, refused),
            (with(false, false, true), Some("the token"), FOREIGN, refused),
            (with(false, false, false), None, LOCAL, closed),
            (with(false, false, false), Some("the token"), LOCAL, closed),
        ] {
            let found = register(body.as_bytes(), bearer, &policy, NOW, &fresh(1)).err();
            assert_eq!(found, fault, "{:?} {bearer:?} {body}", policy.registration);
        }
        let mixed = r#"{"redirect_uris":["http://localhost/cb","https://foreign.example/cb"]}"#;
        assert_eq!(ask(&policy(), mixed).err(), refused, "all of them, not one of them");
        let mut trusting = policy();
        trusting.redirects.uris = vec!["https://foreign.example/cb".into()];
        assert!(ask(&trusting, mixed).is_ok());
    }

    #[test]
    fn t102_a_registration_is_read_by_its_own_token_only() {
        let policy = policy();
        let one = register(CLAUDE.as_bytes(), None, &policy, NOW, &fresh(1)).unwrap();
        let two = register(CLAUDE.as_bytes(), None, &policy, NOW, &fresh(2)).unwrap();
        let public = ask(&policy, LOCAL).unwrap();
        let token = |it: &Registered| it.management.as_ref().unwrap().expose().to_owned();
        let again = read(one.client().id(), Some(&token(&one)), &policy).unwrap();
        assert_eq!(again.answer(&policy).expose(), one.answer(&policy).expose());
        let answer = one.answer(&policy);
        assert!(answer.expose().contains(&format!("https://gate.example/oauth/register/{}\"", one.client().id())));
        let secret = one.client().secret().unwrap().expose();
        for (id, bearer) in [
            (one.client().id(), None),
            (one.client().id(), Some("")),
            (one.client().id(), Some(&*token(&two))),
            (one.client().id(), Some(secret)),
            (public.client().id(), Some(&*token(&one))),
            (public.client().id(), None),
            ("unknown", Some(&*token(&one))),
            ("dcr_AAAA", Some(&*token(&one))),
        ] {
            assert_eq!(read(id, bearer, &policy).err(), Some(Fault::RegistrationToken), "{id} {bearer:?}");
        }
    }

    #[test]
    fn p11_debug_prints_no_secret() {
        let policy = policy();
        let one = ask(&policy, CLAUDE).unwrap();
        let secret = one.client().secret().unwrap().expose();
        assert!(!format!("{one:?} {:?}", one.answer(&policy)).contains(secret));
        assert!(one.answer(&policy).expose().contains(secret));
    }
}
