//! Scopes: RFC 6749 section 3.3.

use crate::limits::{SCOPE_GRANT_MAX, SCOPE_REQUEST_MAX};
use crate::oauth::fault::Fault;

/// A set of scope tokens in the order of their first mention, kept as one line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Scopes(Box<str>);

impl Scopes {
    /// Reads the value of a `scope` parameter: tokens of %x21 / %x23-5B / %x5D-7E with spaces between. Repeated tokens count
    /// once, and spaces at either end or in a row are forgiven.
    ///
    /// # Errors
    /// [`Fault::TooLong`] or [`Fault::ScopeMalformed`].
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.len() > SCOPE_REQUEST_MAX {
            return Err(Fault::TooLong("scope"));
        }
        if !text.bytes().all(|byte| matches!(byte, b' ' | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            return Err(Fault::ScopeMalformed);
        }
        if !text.contains(' ') {
            return Ok(Self(text.into()));
        }
        Ok(Self::of(text.split(' ')))
    }

    /// The set of these tokens.
    #[must_use]
    pub fn of<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Self {
        let mut seen = std::collections::HashSet::new();
        let mut line = String::new();
        for token in tokens {
            if !token.is_empty() && seen.insert(token) {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(token);
            }
        }
        Self(line.into_boxed_str())
    }

    /// The set as the value of a `scope` parameter.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.0
    }

    /// The tokens.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|token| !token.is_empty())
    }

    /// Whether this token is in the set.
    #[must_use]
    pub fn contains(&self, token: &str) -> bool {
        self.iter().any(|own| own == token)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every token of this set is in `other`.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        // Most tokens have exactly what is needed, and then nothing needs to be taken apart.
        self == other || self.iter().all(|token| other.contains(token))
    }

    /// The tokens of this set that are in `other`, in this set's order.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self::of(self.iter().filter(|token| other.contains(token)))
    }

    /// This set without what clients ask for out of habit and `offered` does not have.
    #[must_use]
    pub fn meant(&self, offered: &Self) -> Self {
        Self::of(self.iter().filter(|scope| !ABOUT_LOGIN.contains(scope) || offered.contains(scope)))
    }

    /// This set and what of `more` it has room for beside it, as far as a grant can hold both.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        let mut all = self.clone();
        for token in more.iter() {
            let next = Self::of(all.iter().chain([token]));
            if next.0.len() <= SCOPE_GRANT_MAX {
                all = next;
            }
        }
        all
    }

    /// This set, if a grant can hold it.
    ///
    /// # Errors
    /// [`Fault::TooLong`].
    pub fn grantable(self) -> Result<Self, Fault> {
        if self.0.len() > SCOPE_GRANT_MAX { Err(Fault::TooLong("scope")) } else { Ok(self) }
    }
}

/// Scopes that clients ask for out of habit, which say nothing about a resource: `offline_access` is a wish for a refresh token,
/// which every client that can use one gets, and the others are about the person.
const ABOUT_LOGIN: [&str; 7] = ["offline_access", "openid", "profile", "email", "groups", "address", "phone"];

/// The scopes that open the userinfo endpoint and what it tells (OpenID Connect Core section 5.4, and `groups` as Dex has it), each
/// with what the consent page says of it. They are granted to who asks for them, beside what the resource has, and are not listed in
/// the metadata: clients that ask for all that is listed need none of them.
pub const ABOUT_THE_PERSON: [(&str, &str); 4] = [
    ("openid", "Know which account is yours"),
    ("profile", "See your name and user name"),
    ("email", "See your e-mail address"),
    ("groups", "See which groups you are in"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scopes(text: &str) -> Scopes {
        Scopes::parse(text).unwrap()
    }

    #[test]
    fn t011_odd_spaces_and_repetitions_are_forgiven_and_illegal_characters_are_not() {
        assert_eq!(scopes("  b  a b ").line(), "b a");
        assert!(scopes("").is_empty());
        for illegal in ["a\"b", "a\\b", "a\u{7f}", "a\tb", "ä", "a\nb", "a\0"] {
            assert_eq!(Scopes::parse(illegal), Err(Fault::ScopeMalformed), "{illegal:?}");
        }
        assert_eq!(Scopes::parse(&"a".repeat(SCOPE_REQUEST_MAX + 1)), Err(Fault::TooLong("scope")));
        assert_eq!(scopes(&"a".repeat(SCOPE_GRANT_MAX + 1)).grantable(), Err(Fault::TooLong("scope")));
    }

    #[test]
    fn a_token_is_not_a_prefix_of_another() {
        assert!(!scopes("mcp:read").contains("mcp"));
        assert!(!scopes("mcp").within(&scopes("mcp:read")));
        assert!(scopes("").within(&scopes("")));
    }

    proptest! {
        #[test]
        fn f24_what_is_granted_is_within_what_was_asked_and_what_may_be(asked in "[a-c ]{0,9}", allowed in "[a-c ]{0,9}") {
            let (asked, allowed) = (scopes(&asked), scopes(&allowed));
            let granted = asked.intersect(&allowed);
            prop_assert!(granted.within(&asked) && granted.within(&allowed));
            prop_assert!(asked.iter().all(|token| granted.contains(token) == allowed.contains(token)));
        }
    }
}
