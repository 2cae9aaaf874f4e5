//! GitHub, which gives no ID token: who somebody is says its API, to whoever holds that person's access token.
//!
//! docs.github.com, "Authorizing OAuth apps", "Refreshing user access tokens", REST API "users", "emails", "organizations", "teams".
//! There is no nonce; what binds a login to its browser is the state in its cookie, and what binds the code to the login is PKCE.
//! The token endpoint answers its refusals with status 200. Access tokens of OAuth apps do not end and have no refresh token: so the
//! access token is what is kept, and the person is asked for with it again and again, as others are asked for newer tokens.

use super::discovery::{ClientAuthentication, Provider};
use super::id_token::Person;
use super::token_response::{self, Failure, Refreshed};
use crate::jose;
use crate::limits::{GITHUB_PAGE, GITHUB_PAGES_MAX, GROUP_MAX, GROUPS_MAX, PROFILE_TEXT_MAX, PROVIDER_ANSWER_MAX};
use crate::secret::SecretText;
use crate::time::Timestamp;
use crate::wire::header;
use crate::wire::json::{self, Json};
use std::time::Duration;

/// What counts as a person's groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// Nothing.
    None,
    /// Their organizations, by name.
    Organizations,
    /// These, and their teams as `organization:team`.
    Teams,
}

/// The API, and what it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its address, without a slash at the end.
    pub url: String,
    /// Whether for e-mail addresses: it refuses that without the permission.
    pub emails: bool,
    /// What counts as groups.
    pub groups: Groups,
    /// After how long a person is asked for again, where their tokens do not end before.
    pub again: Duration,
}

/// The identity provider at this address, as far as it can be known without asking it.
#[must_use]
pub fn provider(url: &str, api: Api) -> Provider {
    let issuer = format!("{url}/login/oauth");
    Provider {
        authorization_endpoint: format!("{issuer}/authorize"),
        token_endpoint: format!("{issuer}/access_token"),
        issuer: issuer.into(),
        jwks_uri: None,
        userinfo_endpoint: None,
        revocation_endpoint: None,
        end_session_endpoint: None,
        names_itself_at_callback: false,
        client_authentication: ClientAuthentication::Post,
        // No token is ever taken as this provider's by its signature.
        algorithms: Vec::new(),
        scopes: None,
        api: Some(api),
    }
}

/// A list that comes in pages of [`GITHUB_PAGE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// E-mail addresses.
    Emails,
    /// Organizations.
    Organizations,
    /// Teams, of all organizations.
    Teams,
}

impl Api {
    /// Where the account is.
    #[must_use]
    pub fn account(&self) -> String {
        format!("{}/user", self.url)
    }

    /// Where a page of a list is; the first one is 1.
    #[must_use]
    pub fn page(&self, listing: Listing, page: usize) -> String {
        let name = match listing {
            Listing::Emails => "emails",
            Listing::Organizations => "orgs",
            Listing::Teams => "teams",
        };
        format!("{}/user/{name}?per_page={GITHUB_PAGE}&page={page}", self.url)
    }

    /// The lists that groups are made of.
    #[must_use]
    pub const fn group_lists(&self) -> &'static [Listing] {
        match self.groups {
            Groups::None => &[],
            Groups::Organizations => &[Listing::Organizations],
            Groups::Teams => &[Listing::Organizations, Listing::Teams],
        }
    }
}

/// Why the API's answer says nothing of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The access token is no good and will not become good.
    Token,
    /// The account is suspended.
    Suspended,
    /// Later it may be answered. Limits of its rate are also told by 403.
    Later,
    /// It is no answer to the question.
    Malformed,
}

/// Who an access token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `id`, in digits: what stays when the person takes another name, and is never given to anybody else.
    pub subject: String,
    /// `login`, which may be another person's tomorrow.
    pub login: Option<String>,
    /// `name`.
    pub name: Option<String>,
}

/// Judges the answer to [`Api::account`].
///
/// # Errors
/// [`Refused`].
pub fn account(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Account, Refused> {
    let account = answer(status, content_type, body)?;
    let id = account.optional_unsigned("id").map_err(|_| Refused::Malformed)?.filter(|id| *id > 0);
    let text = |name| match account.member(name) {
        Some(Json::Text(text)) if is_plain(text, PROFILE_TEXT_MAX) => Some(text.clone()),
        _ => None,
    };
    Ok(Account { subject: id.ok_or(Refused::Malformed)?.to_string(), login: text("login"), name: text("name") })
}

/// Judges a page of e-mail addresses: the primary one, if it is verified.
///
/// # Errors
/// [`Refused`].
pub fn email(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Option<String>, Refused> {
    let list = answer(status, content_type, body)?;
    let is_so = |entry: &Json, name| entry.member(name) == Some(&Json::Bool(true));
    let mut primary = list.list().map_err(|_| Refused::Malformed)?.iter().filter(|entry| is_so(entry, "primary"));
    // Two of them: nobody can tell which one is meant.
    let (Some(primary), None) = (primary.next(), primary.next()) else { return Ok(None) };
    Ok(match primary.member("email") {
        Some(Json::Text(email)) if is_so(primary, "verified") && is_plain(email, PROFILE_TEXT_MAX) => {
            Some(email.clone())
        }
        _ => None,
    })
}

/// Judges a page of organizations or teams: the groups on it, and whether there may be a next one. An entry without a plain name is
/// refused with its page, so that no group is believed in doubt.
///
/// # Errors
/// [`Refused`].
pub fn groups(
    listing: Listing,
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<(Vec<String>, bool), Refused> {
    let list = answer(status, content_type, body)?;
    let list = list.list().map_err(|_| Refused::Malformed)?;
    let name = |entry: &Json, member| match entry.member(member) {
        // The sign between organization and team is in no name of either.
        Some(Json::Text(name)) if is_plain(name, GROUP_MAX) && !name.contains(':') => Some(name.clone()),
        _ => None,
    };
    let group = |entry: &Json| match listing {
        Listing::Teams => {
            let organization = entry.member("organization").and_then(|organization| name(organization, "login"))?;
            let group = format!("{organization}:{}", name(entry, "slug")?);
            (group.len() <= GROUP_MAX).then_some(group)
        }
        Listing::Organizations | Listing::Emails => name(entry, "login"),
    };
    let found = list.iter().map(group).collect::<Option<Vec<_>>>().ok_or(Refused::Malformed)?;
    Ok((found, list.len() >= GITHUB_PAGE))
}

/// The person, of all that was asked. `complete` says whether these are all of the groups.
#[must_use]
pub fn person(
    issuer: &str,
    account: Account,
    email: Option<String>,
    mut groups: Vec<String>,
    complete: bool,
    until: Timestamp,
) -> Person {
    let complete = complete && groups.len() <= GROUPS_MAX;
    groups.truncate(GROUPS_MAX);
    Person {
        issuer: issuer.to_owned(),
        subject: account.subject,
        email_verified: email.is_some(),
        email,
        name: account.name,
        preferred_username: account.login,
        locale: None,
        groups,
        groups_complete: complete,
        hosted_domain: None,
        session: None,
        authenticated_at: None,
        expires: until,
    }
}

/// Judges the token endpoint's answer to a code or a refresh token: what is refused is told with status 200 and in words of its own.
///
/// # Errors
/// [`Failure`].
pub fn tokens(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Refreshed, Failure> {
    if matches!(status, 200 | 400 | 401) && content_type.is_some_and(header::is_json) {
        let answer = jose::object(body, PROVIDER_ANSWER_MAX).map_err(|_| Failure::NotJson)?;
        match answer.member("error") {
            Some(Json::Text(word)) if word == "bad_refresh_token" => return Err(Failure::InvalidGrant),
            Some(Json::Text(word)) if word == "bad_verification_code" => return Err(Failure::InvalidGrant),
            Some(Json::Text(word)) if word == "incorrect_client_credentials" => return Err(Failure::InvalidClient),
            _ => {}
        }
    }
    token_response::judge_refreshed(status, content_type, body)
}

/// What is kept of a person's tokens.
#[derive(Clone, Debug)]
pub enum Kept {
    /// A refresh token, of a GitHub App whose tokens end.
    Refresh(SecretText),
    /// The access token itself, which does not end.
    Access(SecretText),
}

/// What stands in front of a kept access token. No token of GitHub's has a colon.
const ACCESS: &str = "access_token:";

impl Kept {
    /// Of an answer.
    #[must_use]
    pub fn of(tokens: &Refreshed) -> Self {
        match &tokens.refresh_token {
            Some(token) => Self::Refresh(token.clone()),
            None => Self::Access(tokens.access_token.clone()),
        }
    }

    /// The form that is stored where other providers' refresh tokens are.
    #[must_use]
    pub fn stored(&self) -> SecretText {
        match self {
            Self::Refresh(token) => token.clone(),
            Self::Access(token) => SecretText::new([ACCESS, token.expose()].concat()),
        }
    }

    /// From that form.
    #[must_use]
    pub fn read(stored: &SecretText) -> Self {
        match stored.expose().strip_prefix(ACCESS) {
            Some(token) => Self::Access(SecretText::new(token.to_owned())),
            None => Self::Refresh(stored.clone()),
        }
    }
}

// As many pages as there may be groups, and no answer that is longer than any may be: a team is told with its organization.
const _: () = assert!(GITHUB_PAGE * GITHUB_PAGES_MAX >= GROUPS_MAX && GITHUB_PAGE * 4_096 <= PROVIDER_ANSWER_MAX);

fn answer(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Json, Refused> {
    match status {
        200 if !content_type.is_some_and(header::is_json) => Err(Refused::Malformed),
        200 => json::parse(body, PROVIDER_ANSWER_MAX).map_err(|_| Refused::Malformed),
        401 => Err(Refused::Token),
        403 if says_suspended(content_type, body) => Err(Refused::Suspended),
        403 | 408 | 425 | 429 | 500..=599 => Err(Refused::Later),
        _ => Err(Refused::Malformed),
    }
}

/// Whether a 403 is about the account itself. Status and headers tell it from no limit of the rate, and its `message` does: "Sorry. Your
/// account was suspended." has stood there for ten years, and GitHub's own client libraries go by it. Should it ever be worded otherwise,
/// it is a limit as all others are. An installation of an app that is suspended is said in other words, and is nobody's account.
fn says_suspended(content_type: Option<&str>, body: &[u8]) -> bool {
    let said = content_type.is_some_and(header::is_json).then(|| json::parse(body, PROVIDER_ANSWER_MAX).ok()).flatten();
    match said.as_ref().and_then(|said| said.member("message")) {
        Some(Json::Text(message)) => message.to_ascii_lowercase().contains("your account was suspended"),
        _ => false,
    }
}

fn is_plain(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<&str> = Some("application/json; charset=utf-8");

    #[test]
    fn r26_a_person_is_the_number_and_never_the_name() {
        let said = |body: &str| account(200, JSON, body.as_bytes());
        let ada = said(r#"{"login":"ada","id":583231,"name":"Ada","email":"x@evil.example","type":"User"}"#).unwrap();
        assert_eq!(ada, Account { subject: "583231".into(), login: Some("ada".into()), name: Some("Ada".into()) });
        assert_eq!(said(r#"{"login":"","id":1,"name":null}"#).unwrap().login, None);
        for body in [
            r#"{"login":"ada"}"#,
            r#"{"id":0}"#,
            r#"{"id":"1"}"#,
            r#"{"id":-1}"#,
            r#"{"id":1.5}"#,
            r#"{"id":1,"id":2}"#,
            "[]",
            "7",
            "<html>",
        ] {
            assert_eq!(said(body), Err(Refused::Malformed), "{body}");
        }
        for (status, refused) in [
            (401, Refused::Token),
            (403, Refused::Later),
            (429, Refused::Later),
            (502, Refused::Later),
            (404, Refused::Malformed),
            (302, Refused::Malformed),
        ] {
            assert_eq!(account(status, JSON, br#"{"id":1}"#), Err(refused), "{status}");
        }
        assert_eq!(account(200, Some("text/html"), br#"{"id":1}"#), Err(Refused::Malformed));
    }

    #[test]
    fn t194_of_all_that_is_403_only_a_suspended_account_is_one() {
        let said = |body: &str| account(403, JSON, body.as_bytes()).unwrap_err();
        for message in
            ["Sorry. Your account was suspended.", "sorry. your account was suspended. Contact your administrator."]
        {
            assert_eq!(said(&format!(r#"{{"message":"{message}"}}"#)), Refused::Suspended, "{message}");
        }
        let suspended = br#"{"message":"Sorry. Your account was suspended"}"#;
        assert_eq!(email(403, JSON, suspended), Err(Refused::Suspended));
        assert_eq!(groups(Listing::Teams, 403, JSON, suspended), Err(Refused::Suspended));
        for body in [
            r#"{"message":"API rate limit exceeded for user ID 1."}"#,
            r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#,
            r#"{"message":"This installation has been suspended"}"#,
            r#"{"message":"Resource not accessible by integration"}"#,
            r#"{"message":["Sorry. Your account was suspended"]}"#,
            r#"{"documentation_url":"Sorry. Your account was suspended"}"#,
            r#"["Sorry. Your account was suspended"]"#,
            "Sorry. Your account was suspended",
            "",
        ] {
            assert_eq!(said(body), Refused::Later, "{body}");
        }
        // Whoever else says so says nothing: a proxy's page, or another status.
        assert_eq!(account(403, Some("text/html"), suspended), Err(Refused::Later));
        assert_eq!(account(429, JSON, suspended), Err(Refused::Later));
        assert_eq!(account(500, JSON, suspended), Err(Refused::Later));
    }

    #[test]
    fn t197_only_the_primary_address_counts_and_only_if_it_is_verified() {
        let said = |body: &str| email(200, JSON, body.as_bytes()).unwrap();
        let entry = |email: &str, primary: &str, verified: &str| {
            format!(r#"{{"email":{email},"primary":{primary},"verified":{verified},"visibility":null}}"#)
        };
        let (other, good) = (entry("\"o@b.example\"", "false", "true"), entry("\"a@b.example\"", "true", "true"));
        assert_eq!(said(&format!("[{other},{good}]")).as_deref(), Some("a@b.example"));
        for list in [
            String::new(),
            other.clone(),
            entry("\"a@b.example\"", "true", "false"),
            entry("\"a@b.example\"", "true", "\"true\""),
            entry("\"a@b.example\"", "1", "true"),
            entry("null", "true", "true"),
            entry("\"a\\u0000@b.example\"", "true", "true"),
            format!("{good},{good}"),
        ] {
            assert_eq!(said(&format!("[{list}]")), None, "{list}");
        }
        assert_eq!(email(200, JSON, b"{}"), Err(Refused::Malformed));
        assert_eq!(email(403, JSON, b"{}"), Err(Refused::Later));
    }

    #[test]
    fn t197_groups_are_organizations_and_their_teams_or_nothing_at_all() {
        let of = |listing, body: &str| groups(listing, 200, JSON, body.as_bytes());
        let found = of(Listing::Organizations, r#"[{"login":"acme","id":1},{"login":"globex","id":2}]"#).unwrap();
        assert_eq!(found, (vec!["acme".to_owned(), "globex".to_owned()], false));
        let team = r#"{"slug":"core","name":"Core: all","organization":{"login":"acme"}}"#;
        assert_eq!(of(Listing::Teams, &format!("[{team}]")).unwrap().0, ["acme:core"]);
        let full = vec![team; GITHUB_PAGE].join(",");
        assert!(of(Listing::Teams, &format!("[{full}]")).unwrap().1, "there may be more");
        for (listing, body) in [
            (Listing::Organizations, r#"{"login":"acme"}"#),
            (Listing::Organizations, r#"["acme"]"#),
            (Listing::Organizations, r#"[{"login":"acme:core"}]"#),
            (Listing::Organizations, r#"[{"login":"acme"},{"login":7}]"#),
            (Listing::Teams, r#"[{"slug":"core"}]"#),
            (Listing::Teams, r#"[{"slug":"core","organization":"acme"}]"#),
        ] {
            assert_eq!(of(listing, body), Err(Refused::Malformed), "{body}");
        }
    }

    #[test]
    fn t194_a_refusal_with_status_200_is_one() {
        let said = |status, body: &str| tokens(status, JSON, body.as_bytes());
        let good = r#"{"access_token":"gho_1","token_type":"bearer","scope":"read:user,user:email"}"#;
        let kept = Kept::of(&said(200, good).unwrap());
        assert_eq!(kept.stored().expose(), "access_token:gho_1");
        assert!(matches!(Kept::read(&kept.stored()), Kept::Access(token) if token.same("gho_1")));
        let ends = r#"{"access_token":"ghu_1","token_type":"bearer","scope":"","expires_in":28800,"refresh_token":"ghr_1","refresh_token_expires_in":15897600}"#;
        let ends = said(200, ends).unwrap();
        assert_eq!(ends.expires_in, Some(Duration::from_secs(28_800)));
        assert!(matches!(Kept::read(&Kept::of(&ends).stored()), Kept::Refresh(token) if token.same("ghr_1")));
        for (word, failure) in [
            ("bad_refresh_token", Failure::InvalidGrant),
            ("bad_verification_code", Failure::InvalidGrant),
            ("incorrect_client_credentials", Failure::InvalidClient),
            ("redirect_uri_mismatch", Failure::ErrorInSuccess),
            ("unverified_user_email", Failure::ErrorInSuccess),
        ] {
            assert_eq!(said(200, &format!(r#"{{"error":"{word}"}}"#)).unwrap_err(), failure, "{word}");
        }
        assert_eq!(said(503, r#"{"error":"bad_refresh_token"}"#).unwrap_err(), Failure::Unavailable);
        let form = tokens(200, Some("application/x-www-form-urlencoded"), b"error=bad_refresh_token");
        assert_eq!(form.unwrap_err(), Failure::NotJsonType);
    }

    #[test]
    fn what_is_asked_is_where_github_has_it() {
        let api = Api {
            url: "https://api.github.com".into(),
            emails: true,
            groups: Groups::Teams,
            again: Duration::from_secs(3_600),
        };
        let provider = provider("https://github.com", api.clone());
        assert_eq!(provider.issuer.only(), Some("https://github.com/login/oauth"));
        assert_eq!(provider.authorization_endpoint, "https://github.com/login/oauth/authorize");
        assert_eq!(provider.token_endpoint, "https://github.com/login/oauth/access_token");
        assert_eq!(api.account(), "https://api.github.com/user");
        assert!(api.page(Listing::Teams, 2).starts_with("https://api.github.com/user/teams?per_page="));
        assert!(api.page(Listing::Teams, 2).ends_with("&page=2"));
    }
}
