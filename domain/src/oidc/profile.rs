//! What differs from one identity provider to the next, as data.
//!
//! OpenID Connect Core section 3.1.2.1 (scopes and parameters of the authorization request) and section 11
//! (`offline_access`). A profile adds fixed words of ours; nothing that a client or a browser sent gets in through it.

use super::discovery::Provider;
use super::token_response::Failure;

/// The peculiarities of one kind of identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What the configuration calls it.
    pub name: &'static str,
    /// Whether it speaks OpenID Connect. One that does not is asked without the words of that, and gives no ID token.
    pub openid: bool,
    /// Scopes asked for when the configuration names none. Those that the provider does not list are left out, because
    /// some providers refuse the whole request for one scope that they do not know.
    pub scopes: &'static [&'static str],
    /// Scopes that it refuses the whole request for: never asked for, whatever is configured.
    pub refused_scopes: &'static [&'static str],
    /// Further parameters of the authorization request, such as `access_type=offline` for Google.
    pub parameters: &'static [(&'static str, &'static str)],
    /// Whether every login asks the provider to show its consent page again (`prompt=consent`): with some providers the
    /// only way to be given a refresh token a second time.
    pub always_consent: bool,
    /// Whether a refresh token that is no good is answered with `invalid_request` (RFC 6749 section 5.2 has `invalid_grant` for it).
    pub bad_token_is_bad_request: bool,
}

/// Any provider that speaks OpenID Connect by the book.
pub const GENERIC: Profile = Profile {
    name: "oidc",
    openid: true,
    scopes: &["openid", "profile", "email", "offline_access"],
    refused_scopes: &[],
    parameters: &[],
    always_consent: false,
    bad_token_is_bad_request: false,
};

/// Dex: one refresh token per person and client, replaced on every use. One that was used, replaced or has expired is an
/// `invalid_request` to it; `invalid_grant` is only one of another client.
pub const DEX: Profile = Profile {
    name: "dex",
    scopes: &["openid", "profile", "email", "groups", "offline_access"],
    bad_token_is_bad_request: true,
    ..GENERIC
};

/// Google: `offline_access` is unknown there. A refresh token is asked for by parameter, and given once only unless the person
/// is asked again.
pub const GOOGLE: Profile = Profile {
    name: "google",
    scopes: &["openid", "profile", "email"],
    refused_scopes: &["offline_access"],
    parameters: &[("access_type", "offline")],
    always_consent: true,
    ..GENERIC
};

/// Keycloak gives a refresh token without being asked; `offline_access` would make a session there that never ends.
pub const KEYCLOAK: Profile = Profile { name: "keycloak", scopes: &["openid", "profile", "email"], ..GENERIC };

/// Entra ID. Its issuers name the tenants ([`issuer`](super::issuer)).
pub const ENTRA: Profile = Profile { name: "entra", ..GENERIC };

/// Okta has its groups behind a scope.
pub const OKTA: Profile =
    Profile { name: "okta", scopes: &["openid", "profile", "email", "groups", "offline_access"], ..GENERIC };

/// Auth0 has groups under claims of the tenant's own naming only.
pub const AUTH0: Profile = Profile { name: "auth0", ..GENERIC };

/// GitHub, which speaks plain OAuth. What its API says of a person, it says to whoever has these scopes.
pub const GITHUB: Profile = Profile { name: "github", openid: false, scopes: &["read:user", EMAILS], ..GENERIC };

/// The scope by which GitHub says a person's e-mail addresses.
pub const EMAILS: &str = "user:email";

/// The scope by which GitHub says a person's organizations and teams.
pub const ORGANIZATIONS: &str = "read:org";

/// The scope by which Dex makes an ID token good for another of its clients too (cross-client trust).
#[must_use]
pub fn dex_audience(client_id: &str) -> String {
    format!("audience:server:client_id:{client_id}")
}

impl Profile {
    /// The value of `scope` to ask `provider` for.
    ///
    /// What the operator configured is asked for as it is; only `openid` is added, without which there is no ID token, and
    /// what this kind of provider refuses is left out. The defaults are cut down to what the provider says that it supports,
    /// if it says so.
    #[must_use]
    pub fn scope(&self, configured: Option<&[String]>, further: &[String], provider: &Provider) -> String {
        let mut words: Vec<&str> = if self.openid { vec!["openid"] } else { Vec::new() };
        match configured {
            Some(configured) => words.extend(configured.iter().map(String::as_str)),
            None => words.extend(self.scopes.iter().filter(|scope| provider.supports_scope(scope))),
        }
        words.extend(further.iter().map(String::as_str));
        let mut once: Vec<&str> = Vec::with_capacity(words.len());
        for word in words {
            if !once.contains(&word) && !self.refused_scopes.contains(&word) {
                once.push(word);
            }
        }
        once.join(" ")
    }

    /// Whether this failure of a refresh says that the refresh token is no good, and will not become good.
    #[must_use]
    pub fn refuses_token(&self, failure: Failure) -> bool {
        failure.is_definitive() || (self.bad_token_is_bad_request && failure == Failure::InvalidRequest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oidc::testing::provider;

    #[test]
    fn defaults_are_cut_down_to_what_the_provider_knows() {
        let mut provider = provider();
        assert_eq!(GENERIC.scope(None, &[], &provider), "openid profile email");
        provider.scopes = None;
        assert_eq!(GENERIC.scope(None, &[], &provider), "openid profile email offline_access");
        provider.scopes = Some(Vec::new());
        assert_eq!(GENERIC.scope(None, &[], &provider), "openid");
    }

    #[test]
    fn the_operators_scopes_are_asked_for_as_they_are_with_openid_first() {
        let configured = ["groups", "openid", "groups"].map(str::to_owned);
        assert_eq!(GENERIC.scope(Some(&configured), &[], &provider()), "openid groups");
        assert_eq!(GENERIC.scope(Some(&[]), &[], &provider()), "openid");
    }

    #[test]
    fn m12_only_to_dex_a_bad_request_is_a_bad_token() {
        for (failure, dex, others) in [
            (Failure::InvalidGrant, true, true),
            (Failure::InvalidRequest, true, false),
            (Failure::InvalidClient, false, false),
            (Failure::Misconfigured, false, false),
            (Failure::Unavailable, false, false),
            (Failure::OtherStatus, false, false),
        ] {
            assert_eq!(DEX.refuses_token(failure), dex, "{failure:?}");
            for profile in [GENERIC, GOOGLE, KEYCLOAK, ENTRA, OKTA, AUTH0, GITHUB] {
                assert_eq!(profile.refuses_token(failure), others, "{} {failure:?}", profile.name);
            }
        }
    }

    #[test]
    fn seed_bug_03_offline_access_is_never_asked_of_google() {
        let mut provider = provider();
        provider.scopes = None;
        assert_eq!(GOOGLE.scope(None, &[], &provider), "openid profile email");
        let configured = ["email", "offline_access"].map(str::to_owned);
        assert_eq!(GOOGLE.scope(Some(&configured), &[], &provider), "openid email");
        assert_eq!(DEX.scope(Some(&configured), &[], &provider), "openid email offline_access");
        assert!(GOOGLE.parameters.contains(&("access_type", "offline")) && GOOGLE.always_consent);
    }

    #[test]
    fn m13_github_is_asked_for_no_openid() {
        let further = [ORGANIZATIONS.to_owned()];
        let provider = Provider { scopes: None, ..provider() };
        assert_eq!(GITHUB.scope(None, &further, &provider), "read:user user:email read:org");
        assert_eq!(GITHUB.scope(Some(&["read:user".to_owned()]), &[], &provider), "read:user");
    }

    #[test]
    fn m12_dex_is_asked_for_groups_and_for_every_audience_whatever_it_lists() {
        let audiences = ["kubernetes", "grafana"].map(dex_audience);
        assert_eq!(
            DEX.scope(None, &audiences, &provider()),
            "openid profile email audience:server:client_id:kubernetes audience:server:client_id:grafana"
        );
    }
}
