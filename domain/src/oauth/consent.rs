//! The consent page's answer, and the cookies of a login.
//!
//! Consent is given by this browser, for this client, redirect URI, scopes and resource, for exactly one login, by whoever logs in.
//! Nothing of it is remembered, so there is no registry of consents to steal, and no consent that applies to somebody else.
//!
//! The form's token is HMAC(csrf key, cookie || sealed flow): it holds for this page in this browser only.

use crate::fresh::Fresh;
use crate::hash;
use crate::limits::LOGIN_COOKIES_MAX;
use crate::oauth::fault::Fault;
use crate::oauth::flow::{Flow, Login};
use crate::oidc::request::Wishes;
use crate::seal::{KeyRing, MacPurpose};
use crate::secret::{self, SecretText};
use crate::time::Timestamp;
use crate::wire::text::{base64url, from_base64url_exact};

/// What the cookies are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieNames {
    /// Whether the gateway is reached by https. On a plain-http loopback base URL the cookies lose their prefix and `Secure`,
    /// because browsers would not keep them.
    pub secure: bool,
}

impl CookieNames {
    /// For the gateway with this base URL.
    #[must_use]
    pub fn of(base_url: &str) -> Self {
        Self { secure: base_url.starts_with("https://") }
    }

    /// What the names of all our cookies begin with.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        if self.secure { "__Host-pc-" } else { "pc-" }
    }

    /// The cookie that a browser keeps for the forms of all its logins.
    #[must_use]
    pub fn csrf(self) -> String {
        format!("{}csrf", self.prefix())
    }

    /// The cookie of the login that went to the provider with this state.
    #[must_use]
    pub fn login(self, state: &str) -> String {
        let name: [u8; 9] = hash::first(&hash::sha256(state.as_bytes()));
        format!("{}login-{}", self.prefix(), base64url(&name))
    }

    /// What the names of login cookies begin with.
    #[must_use]
    pub fn logins(self) -> String {
        format!("{}login-", self.prefix())
    }
}

/// What a browser holds against forged forms: 32 random bytes, kept for all its logins.
#[derive(Clone, Debug)]
pub struct CsrfCookie(SecretText);

impl CsrfCookie {
    /// The one that the browser has, if it has a whole one, else a new one.
    #[must_use]
    pub fn of(presented: Option<&str>, fresh: &Fresh) -> Self {
        let whole = presented.filter(|value| from_base64url_exact::<32>(value).is_ok());
        Self(SecretText::new(
            whole.map_or_else(|| base64url(fresh.secret::<32>("csrf cookie").expose()), str::to_owned),
        ))
    }

    /// The cookie's value.
    #[must_use]
    pub const fn value(&self) -> &SecretText {
        &self.0
    }

    /// The token of the form that carries this sealed flow.
    ///
    /// # Errors
    /// [`Fault::Internal`] if no key of the ring may seal.
    pub fn token(&self, ring: &KeyRing, field: &str, now: Timestamp) -> Result<SecretText, Fault> {
        let parts = [self.0.expose().as_bytes(), field.as_bytes()];
        let (_, mac) =
            ring.mac(MacPurpose::Csrf, LABEL, &parts, now).ok_or(Fault::Internal("no master key may seal"))?;
        Ok(SecretText::new(base64url(&mac)))
    }
}

const LABEL: &str = "consent form";

/// The person's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// They let the client in.
    Approve,
    /// They do not.
    Deny,
}

/// The consent form as it came back.
pub struct Answer<'a> {
    /// Whether the browser says that our own page has sent it: `Sec-Fetch-Site: same-origin`, else an `Origin` equal to ours.
    pub same_origin: bool,
    /// The csrf cookie.
    pub cookie: Option<&'a str>,
    /// The field `csrf`.
    pub token: Option<&'a str>,
    /// The field `flow`.
    pub flow: Option<&'a str>,
    /// The field `choice`.
    pub choice: Option<&'a str>,
}

impl Answer<'_> {
    /// Judges where it came from, then opens the flow.
    ///
    /// # Errors
    /// [`Fault::Csrf`], [`Fault::FlowForged`], [`Fault::FlowExpired`] or [`Fault::Missing`].
    pub fn judge(&self, ring: &KeyRing, now: Timestamp) -> Result<(Choice, Flow, Wishes), Fault> {
        let (Some(cookie), Some(token), Some(field)) = (self.cookie, self.token, self.flow) else {
            return Err(Fault::Csrf);
        };
        if !self.same_origin {
            return Err(Fault::Csrf);
        }
        let key = Flow::key(field).ok_or(Fault::FlowForged)?;
        // The page's form and token were made at one time, by one key.
        let wanted = ring
            .mac_under(key, MacPurpose::Csrf, LABEL, &[cookie.as_bytes(), field.as_bytes()])
            .ok_or(Fault::FlowForged)?;
        let presented = from_base64url_exact::<32>(token).map_err(|_| Fault::Csrf)?;
        if !secret::same(&presented, &wanted) {
            return Err(Fault::Csrf);
        }
        let (flow, wishes) = Flow::open(ring, field, now)?;
        let choice = match self.choice {
            Some("approve") => Choice::Approve,
            Some("deny") => Choice::Deny,
            _ => return Err(Fault::Missing("choice")),
        };
        Ok((choice, flow, wishes))
    }
}

/// Which login cookies of this browser are to be cleared before one more is set: those that are over or were never ours, and the
/// oldest where there would be too many.
#[must_use]
pub fn surplus<'a>(ring: &KeyRing, present: impl Iterator<Item = (&'a str, &'a str)>, now: Timestamp) -> Vec<String> {
    let mut clear = Vec::new();
    let mut living: Vec<(Timestamp, &str)> = Vec::new();
    for (name, value) in present {
        match Login::open(ring, value, now) {
            Ok(login) => living.push((login.flow.expires, name)),
            Err(_) => clear.push(name.to_owned()),
        }
    }
    living.sort_unstable();
    let surplus = living.len().saturating_add(1).saturating_sub(LOGIN_COOKIES_MAX);
    clear.extend(living.iter().take(surplus).map(|(_, name)| (*name).to_owned()));
    clear
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::flow::tests::{NOW, flow};
    use crate::seal::tests::master;
    use crate::secret::Secret;
    use std::time::Duration;

    fn ring() -> KeyRing {
        KeyRing::new(&[master(1)], "https://gate.example", NOW).unwrap()
    }

    fn fresh(n: u8) -> Fresh {
        Fresh::new(&Secret::new([n; 32]), 0)
    }

    struct Page {
        cookie: CsrfCookie,
        field: String,
        token: SecretText,
    }

    fn page(n: u8, cookie: Option<&str>) -> Page {
        let (ring, fresh) = (ring(), fresh(n));
        let cookie = CsrfCookie::of(cookie, &fresh);
        let field = flow().seal(&Wishes::default(), &ring, &fresh, NOW).unwrap();
        let token = cookie.token(&ring, &field, NOW).unwrap();
        Page { cookie, field, token }
    }

    fn answer(page: &Page) -> Answer<'_> {
        Answer {
            same_origin: true,
            cookie: Some(page.cookie.value().expose()),
            token: Some(page.token.expose()),
            flow: Some(&page.field),
            choice: Some("approve"),
        }
    }

    #[test]
    fn the_page_s_own_answer_is_taken_in_its_own_browser() {
        let page = page(1, None);
        let (choice, opened, _) = answer(&page).judge(&ring(), NOW).unwrap();
        assert_eq!((choice, opened), (Choice::Approve, flow()));
        let denied = Answer { choice: Some("deny"), ..answer(&page) }.judge(&ring(), NOW).unwrap();
        assert_eq!(denied.0, Choice::Deny);
    }

    #[test]
    fn t206_t217_forms_from_elsewhere_and_from_other_browsers_are_refused() {
        let (mine, other) = (page(1, None), page(2, None));
        let refused = |answer: Answer<'_>| answer.judge(&ring(), NOW).err();
        let cases = [
            (Answer { same_origin: false, ..answer(&mine) }, Fault::Csrf),
            (Answer { cookie: None, ..answer(&mine) }, Fault::Csrf),
            (Answer { cookie: Some(other.cookie.value().expose()), ..answer(&mine) }, Fault::Csrf),
            (Answer { token: None, ..answer(&mine) }, Fault::Csrf),
            (Answer { token: Some("x"), ..answer(&mine) }, Fault::Csrf),
            (Answer { token: Some(other.token.expose()), ..answer(&mine) }, Fault::Csrf),
            (Answer { flow: Some(&other.field), ..answer(&mine) }, Fault::Csrf),
            (Answer { flow: None, ..answer(&mine) }, Fault::Csrf),
            (Answer { flow: Some("AQ"), ..answer(&mine) }, Fault::FlowForged),
            (Answer { choice: None, ..answer(&mine) }, Fault::Missing("choice")),
            (Answer { choice: Some("Approve"), ..answer(&mine) }, Fault::Missing("choice")),
        ];
        for (n, (answer, fault)) in cases.into_iter().enumerate() {
            assert_eq!(refused(answer), Some(fault), "{n}");
        }
        assert!(answer(&mine).judge(&ring(), NOW).is_ok(), "the owner can still answer");
    }

    #[test]
    fn a_browser_keeps_its_csrf_cookie_over_several_logins() {
        let first = page(1, None);
        let second = page(2, Some(first.cookie.value().expose()));
        assert!(second.cookie.value().same(first.cookie.value().expose()));
        assert!(answer(&first).judge(&ring(), NOW).is_ok() && answer(&second).judge(&ring(), NOW).is_ok());
        assert!(!page(3, Some("short")).cookie.value().same("short"));
    }

    #[test]
    fn a_fourth_login_clears_the_oldest_and_what_is_over() {
        let ring = ring();
        let cookies: Vec<(String, String)> = (0..3)
            .map(|n| {
                let fresh = fresh(n);
                let login = Login::begin(flow(), None, &fresh, NOW.plus(Duration::from_secs(u64::from(n))));
                (format!("c{n}"), login.seal(&ring, &fresh, NOW).unwrap().expose().to_owned())
            })
            .collect();
        let present = || cookies.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(surplus(&ring, present().take(2), NOW), Vec::<String>::new());
        assert_eq!(surplus(&ring, present(), NOW), ["c0"]);
        assert_eq!(surplus(&ring, present().take(1).chain([("junk", "x")]), NOW), ["junk"]);
        let late = NOW.plus(Duration::from_secs(601));
        assert_eq!(surplus(&ring, present(), late), ["c0", "c1"], "what is over goes, and leaves room");
    }

    #[test]
    fn t210_names_carry_the_host_prefix_except_on_a_plain_loopback() {
        let names = CookieNames::of("https://gate.example");
        assert_eq!(names.csrf(), "__Host-pc-csrf");
        assert!(names.login("state").starts_with("__Host-pc-login-"));
        assert_ne!(names.login("state"), names.login("other"));
        assert!(CookieNames::of("http://127.0.0.1:8080").login("state").starts_with("pc-login-"));
    }
}
