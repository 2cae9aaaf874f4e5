//! What differs from one identity provider to the next, as data.
//!
//! OpenID Connect Core section 3.1.2.1 (scopes and parameters of the authorization request) and section 11
//! (`offline_access`). A profile adds fixed words of ours; nothing that a client or a browser sent gets in through it.

use super::discovery::Provider;

/// The peculiarities of one kind of identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What the configuration calls it.
    pub name: &'static str,
    /// Scopes asked for when the configuration names none. Those that the provider does not list are left out, because
    /// some providers refuse the whole request for one scope that they do not know.
    pub scopes: &'static [&'static str],
    /// Further parameters of the authorization request, such as `access_type=offline` for Google.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Whether every login asks the provider to show its consent page again (`prompt=consent`): with some providers the
    /// only way to be given a refresh token a second time.
    pub always_consent: bool,
}

/// Any provider that speaks OpenID Connect by the book.
pub const GENERIC: Profile = Profile {
    name: "oidc",
    scopes: &["openid", "profile", "email", "offline_access"],
    parameters: &[],
    always_consent: false,
};

impl Profile {
    /// The value of `scope` to ask `provider` for.
    ///
    /// What the operator configured is asked for as it is; only `openid` is added, without which there is no ID token.
    /// The defaults are cut down to what the provider says that it supports, if it says so.
    #[must_use]
    pub fn scope(&self, configured: Option<&[String]>, provider: &Provider) -> String {
        let mut words: Vec<&str> = vec!["openid"];
        match configured {
            Some(configured) => words.extend(configured.iter().map(String::as_str)),
            None => words.extend(self.scopes.iter().filter(|scope| provider.supports_scope(scope))),
        }
        let mut once: Vec<&str> = Vec::with_capacity(words.len());
        for word in words {
            if !once.contains(&word) {
                once.push(word);
            }
        }
        once.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::testing::provider;

    #[test]
    fn defaults_are_cut_down_to_what_the_provider_knows() {
        let mut provider = provider();
        assert_eq!(GENERIC.scope(None, &provider), "openid profile email");
        provider.scopes = None;
        assert_eq!(GENERIC.scope(None, &provider), "openid profile email offline_access");
        provider.scopes = Some(Vec::new());
        assert_eq!(GENERIC.scope(None, &provider), "openid");
    }

    #[test]
    fn the_operators_scopes_are_asked_for_as_they_are_with_openid_first() {
        let configured = ["groups", "openid", "groups"].map(str::to_owned);
        assert_eq!(GENERIC.scope(Some(&configured), &provider()), "openid groups");
        assert_eq!(GENERIC.scope(Some(&[]), &provider()), "openid");
    }
}
