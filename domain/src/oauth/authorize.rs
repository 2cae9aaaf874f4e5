//! The authorization request: RFC 6749 section 4.1.1, OAuth 2.1 section 4.1.1.
//!
//! Client and redirect URI are judged first. What is wrong with them is told to the person on a page, and nothing is ever sent to
//! a redirect URI that was not found to be the client's. What is wrong with anything else is told to the client by redirect.

use crate::fresh::Fresh;
use crate::limits::{FLOW_LIFE, GRANT_CLIENT_NAME_MAX, LOGIN_HINT_MAX, STATE_MAX};
use crate::oauth::client::Client;
use crate::oauth::fault::Fault;
use crate::oauth::flow::Flow;
use crate::oauth::pkce::Challenge;
use crate::oauth::policy::Policy;
use crate::oauth::redirect::CheckedRedirect;
use crate::oauth::resource::Resource;
use crate::oauth::scope::{ABOUT_THE_PERSON, Scopes};
use crate::oidc::request::Wishes;
use crate::time::Timestamp;
use crate::wire::form::Form;

/// A request that may be put before the person.
#[derive(Debug)]
pub struct Asked<'a> {
    /// What they would approve.
    pub flow: Flow,
    /// What the client asks of the identity provider.
    pub wishes: Wishes,
    /// Who asks.
    pub client: Client,
    /// Where the answer goes.
    pub redirect: CheckedRedirect,
    /// For which resource.
    pub resource: &'a Resource,
}

/// A request that may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Told to the person, on a page. There is nowhere to redirect to.
    Page(Fault),
    /// Told to the client.
    Redirect(Refusal),
}

/// A refusal that goes to the client by redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where to.
    pub redirect: CheckedRedirect,
    /// The client's `state`, exactly as it came; none where it could not be read.
    pub state: Option<String>,
    /// Why.
    pub fault: Fault,
}

impl Refusal {
    /// The redirect URI with the refusal in it (RFC 6749 section 4.1.2.1, RFC 9207 section 2).
    #[must_use]
    pub fn location(&self, issuer: &str) -> String {
        let wire = self.fault.wire();
        let description = wire.text();
        let state = self.state.as_deref().map(|state| ("state", state));
        let said = [("error", wire.error), ("error_description", description.as_str())];
        self.redirect.with(said.into_iter().chain(state).chain([("iss", issuer)]))
    }
}

/// The redirect URI with a code in it (RFC 6749 section 4.1.2, RFC 9207 section 2).
#[must_use]
pub fn answer(redirect: &CheckedRedirect, code: &str, state: Option<&str>, issuer: &str) -> String {
    redirect.with([("code", code)].into_iter().chain(state.map(|state| ("state", state))).chain([("iss", issuer)]))
}

/// The client that an authorization request speaks for.
///
/// # Errors
/// A fault for a page.
pub fn client_id<'a>(form: &'a Form<'_>) -> Result<&'a str, Fault> {
    form.one("client_id").map_err(|_| Fault::Repeated)?.ok_or(Fault::Missing("client_id"))
}

/// Judges an authorization request of this client.
///
/// # Errors
/// [`Refused`].
pub fn judge<'a>(
    policy: &'a Policy,
    form: &Form<'_>,
    client: Client,
    now: Timestamp,
    fresh: &Fresh,
) -> Result<Asked<'a>, Refused> {
    let only = |name| form.one(name).map_err(|_| Fault::Repeated);
    let redirect = only("redirect_uri").and_then(|presented| client.redirect(presented)).map_err(Refused::Page)?;

    // From here on the client hears what is wrong.
    let state = form.one("state").ok().flatten().filter(|state| state.len() <= STATE_MAX).map(str::to_owned);
    let judged = judge_rest(policy, form, &client, &redirect, state.clone(), now, fresh);
    let (flow, wishes, resource) =
        judged.map_err(|fault| Refused::Redirect(Refusal { redirect: redirect.clone(), state, fault }))?;
    Ok(Asked { flow, wishes, client, redirect, resource })
}

fn judge_rest<'a>(
    policy: &'a Policy,
    form: &Form<'_>,
    client: &Client,
    redirect: &CheckedRedirect,
    state: Option<String>,
    now: Timestamp,
    fresh: &Fresh,
) -> Result<(Flow, Wishes, &'a Resource), Fault> {
    // "Request and response parameters defined by this specification MUST NOT be included more than once" (OAuth 2.1 section
    // 3.1); `resource` may be (RFC 8707 section 2).
    if form.repeated_except(&["resource"]).is_some() {
        return Err(Fault::Repeated);
    }
    let only = |name| form.one(name).map_err(|_| Fault::Repeated);
    if only("state")?.is_some_and(|state| state.len() > STATE_MAX) {
        return Err(Fault::TooLong("state"));
    }
    if only("request")?.is_some() {
        return Err(Fault::RequestObject);
    }
    if only("request_uri")?.is_some() {
        return Err(Fault::RequestUri);
    }
    match only("response_type")? {
        Some("code") => {}
        Some(_) => return Err(Fault::ResponseType),
        None => return Err(Fault::Missing("response_type")),
    }
    if only("response_mode")?.is_some_and(|mode| mode != "query") {
        return Err(Fault::ResponseMode);
    }
    let challenge = Challenge::parse(only("code_challenge")?, only("code_challenge_method")?)?;
    let resource = policy.resources.choose(form.all("resource").filter(|value| !value.is_empty()))?;
    let scopes = granted(only("scope")?, resource.scope_set())?.grantable()?;
    let wishes = wishes(only("prompt")?, only("login_hint")?, only("max_age")?)?;
    let name = client.name().unwrap_or_default();
    let flow = Flow {
        id: *fresh.secret("flow id").expose(),
        client: client.hash(),
        client_name: name.get(..name.floor_char_boundary(GRANT_CLIENT_NAME_MAX)).unwrap_or_default().to_owned(),
        confidential: client.method().is_confidential(),
        redirect: redirect.as_str().to_owned(),
        state,
        scopes,
        resource: resource.hash(),
        challenge,
        document: client.document(),
        expires: now.plus(FLOW_LIFE),
    };
    Ok((flow, wishes, resource))
}

/// What is granted: all that the resource asks of a request. A part of it would open nothing, and clients that are refused for want
/// of scope give up; so who asks for some of it is granted all, which the page says and the answer states (RFC 6749 section 3.3).
/// Of the scopes about the person it is granted what it asks for.
fn granted(requested: Option<&str>, offered: &Scopes) -> Result<Scopes, Fault> {
    let requested = Scopes::parse(requested.unwrap_or_default())?;
    let meant = requested.meant(offered);
    let nothing = meant.intersect(offered).is_empty() && !offered.is_empty() && !meant.is_empty();
    if nothing {
        return Err(Fault::ScopeNothing);
    }
    let about_the_person = Scopes::of(ABOUT_THE_PERSON.map(|(scope, _)| scope));
    Ok(offered.and(&requested.intersect(&about_the_person)))
}

/// What is passed on to the identity provider. Whatever is not named here is dropped.
fn wishes(prompt: Option<&str>, login_hint: Option<&str>, max_age: Option<&str>) -> Result<Wishes, Fault> {
    let prompts: Vec<&str> = prompt.unwrap_or_default().split(' ').filter(|word| !word.is_empty()).collect();
    if prompts.contains(&"none") {
        return Err(if prompts.len() == 1 { Fault::ConsentRequired } else { Fault::PromptContradiction });
    }
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let max_age = match max_age {
        Some(text) => {
            Some(text).filter(digits).and_then(|text| text.parse().ok()).ok_or(Fault::Malformed("max_age"))?
        }
        None => return Ok(wished(&prompts, login_hint, None)),
    };
    Ok(wished(&prompts, login_hint, Some(max_age)))
}

fn wished(prompts: &[&str], login_hint: Option<&str>, max_age: Option<u32>) -> Wishes {
    Wishes {
        login: prompts.contains(&"login"),
        select_account: prompts.contains(&"select_account"),
        login_hint: login_hint.filter(|hint| hint.len() <= LOGIN_HINT_MAX).map(str::to_owned),
        max_age,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client;
    use crate::oauth::policy::tests::{NOW, policy};
    use crate::oauth::register;
    use crate::secret::Secret;
    use crate::wire::form;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const REDIRECT: &str = "http://127.0.0.1:51004/callback";

    fn fresh() -> Fresh {
        Fresh::new(&Secret::new([6; 32]), 0)
    }

    fn client_id(policy: &Policy) -> String {
        let body = br#"{"client_name":"Some Client","redirect_uris":["http://127.0.0.1/callback"],"token_endpoint_auth_method":"none"}"#;
        register::register(body, None, policy, NOW, &fresh()).unwrap().client().id().to_owned()
    }

    /// A good request with these parameters replaced; an empty value leaves the parameter out.
    fn request(id: &str, changes: &[(&str, &str)]) -> String {
        let good = [
            ("response_type", "code"),
            ("client_id", id),
            ("redirect_uri", REDIRECT),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("state", "xyz"),
            ("scope", "mcp"),
            ("resource", "https://gate.example/mcp"),
        ];
        let kept = good.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        form::encode(kept.chain(changes).filter(|(_, value)| !value.is_empty()).copied())
    }

    fn judged(query: &str) -> Result<(Flow, Wishes), Refused> {
        let policy = policy();
        let form = Form::parse(query).unwrap();
        let client = super::client_id(&form).and_then(|id| client::lookup(&policy, id)).map_err(Refused::Page)?;
        judge(&policy, &form, client, NOW, &fresh()).map(|asked| (asked.flow, asked.wishes))
    }

    fn refusal(query: &str) -> Refusal {
        match judged(query) {
            Err(Refused::Redirect(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_good_request_becomes_a_flow_with_what_was_asked() {
        let policy = policy();
        let (flow, wishes) =
            judged(&request(&client_id(&policy), &[("prompt", "login"), ("login_hint", "a@b"), ("max_age", "60")]))
                .unwrap();
        assert_eq!(flow.redirect, REDIRECT, "the port of this request, not that of the registration");
        assert_eq!((flow.state.as_deref(), flow.scopes.line()), (Some("xyz"), "mcp"));
        assert!(!flow.confidential && flow.client_name == "Some Client");
        assert!(wishes.login && wishes.max_age == Some(60) && wishes.login_hint.as_deref() == Some("a@b"));
    }

    #[test]
    fn t001_t002_t003_client_and_redirect_are_judged_first_and_never_redirected_to() {
        let id = client_id(&policy());
        let twice = |name: &str, value: &str| format!("{}&{name}={value}", request(&id, &[]));
        let cases = [
            (request(&id, &[("client_id", "")]), Fault::Missing("client_id")),
            (request("unknown", &[]), Fault::ClientUnknown),
            (request(&"x".repeat(4_096), &[]), Fault::ClientUnknown),
            (request("a\r\nb", &[]), Fault::ClientUnknown),
            (request(&id, &[("redirect_uri", "")]), Fault::Missing("redirect_uri")),
            (request(&id, &[("redirect_uri", "https://evil.example/cb")]), Fault::RedirectUnregistered),
            (
                request(&id, &[("redirect_uri", "https://evil.example/cb"), ("response_type", "x")]),
                Fault::RedirectUnregistered,
            ),
            (twice("client_id", &id), Fault::Repeated),
            (twice("redirect_uri", "http%3A%2F%2F127.0.0.1%2Fcallback"), Fault::Repeated),
        ];
        for (query, fault) in cases {
            assert_eq!(judged(&query).err(), Some(Refused::Page(fault)), "{fault:?}");
        }
    }

    #[test]
    fn everything_else_is_told_to_the_client_with_its_state() {
        let id = client_id(&policy());
        let long = "s".repeat(STATE_MAX + 1);
        let cases: Vec<(&[(&str, &str)], Fault)> = vec![
            (&[("response_type", "token")], Fault::ResponseType),
            (&[("response_type", "code id_token")], Fault::ResponseType),
            (&[("response_type", "CODE")], Fault::ResponseType),
            (&[("response_type", "")], Fault::Missing("response_type")),
            (&[("response_mode", "fragment")], Fault::ResponseMode),
            (&[("response_mode", "form_post")], Fault::ResponseMode),
            (&[("request", "e30.e30.")], Fault::RequestObject),
            (&[("request_uri", "urn:x")], Fault::RequestUri),
            (&[("code_challenge", "")], Fault::ChallengeMissing),
            (&[("code_challenge_method", "plain")], Fault::ChallengeMethod),
            (&[("code_challenge_method", "")], Fault::ChallengeMethod),
            (&[("code_challenge", "short")], Fault::ChallengeMalformed),
            (&[("scope", "nothing else")], Fault::ScopeNothing),
            (&[("scope", "a\"b")], Fault::ScopeMalformed),
            (&[("resource", "https://gate.example/other")], Fault::ResourceUnknown),
            (&[("prompt", "none")], Fault::ConsentRequired),
            (&[("prompt", "none login")], Fault::PromptContradiction),
            (&[("max_age", "-1")], Fault::Malformed("max_age")),
            (&[("max_age", "+1")], Fault::Malformed("max_age")),
        ];
        for (changes, fault) in cases {
            let refusal = refusal(&request(&id, changes));
            assert_eq!((refusal.fault, refusal.state.as_deref()), (fault, Some("xyz")), "{changes:?}");
        }
        let refusal = refusal(&request(&id, &[("state", &long)]));
        assert_eq!((refusal.fault, refusal.state), (Fault::TooLong("state"), None));
    }

    #[test]
    fn t003_any_other_parameter_twice_is_refused_and_resource_may_repeat() {
        let id = client_id(&policy());
        for name in ["response_type", "scope", "state", "code_challenge", "unknown_extension"] {
            let query = format!("{}&{name}=x&{name}=x", request(&id, &[(name, "")]));
            assert_eq!(refusal(&query).fault, Fault::Repeated, "{name}");
        }
        let same = format!("{}&resource=https%3A%2F%2Fgate.example%2Fmcp", request(&id, &[]));
        assert!(judged(&same).is_ok());
    }

    #[test]
    fn t010_t134_the_answer_carries_state_as_it_came_and_the_issuer_once() {
        let id = client_id(&policy());
        for state in ["x", "&#\"%00\r\nSet-Cookie:x", "ä€😀", "a+b c%20"] {
            let location =
                refusal(&request(&id, &[("state", state), ("prompt", "none")])).location("https://gate.example");
            let query = location.split_once('?').unwrap().1;
            assert!(location.is_ascii() && !location.contains(['\r', '\n', '"', ' ']), "{location}");
            let form = Form::parse(query).unwrap();
            assert_eq!(form.one("state"), Ok(Some(state)));
            assert_eq!(form.one("iss"), Ok(Some("https://gate.example")));
            assert_eq!(form.one("error"), Ok(Some("consent_required")));
        }
        let location = refusal(&request(&id, &[("state", ""), ("prompt", "none")])).location("https://gate.example");
        assert!(!location.contains("state="));
    }

    #[test]
    fn i12_i16_what_is_left_out_or_asked_for_out_of_habit_gets_what_the_resource_has() {
        let id = client_id(&policy());
        for (scope, granted) in [
            ("", "mcp"),
            ("offline_access", "mcp"),
            ("openid profile email offline_access", "mcp openid profile email"),
            ("address phone groups", "mcp groups"),
            ("mcp offline_access", "mcp"),
            ("mcp claudeai", "mcp"),
        ] {
            let (flow, _) = judged(&request(&id, &[("scope", scope), ("resource", "")])).unwrap();
            assert_eq!(flow.scopes.line(), granted, "{scope}");
        }
    }
}
