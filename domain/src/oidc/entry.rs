//! Who may enter: the operator's lists of people, judged on what the provider says of whoever has just logged in.
//!
//! Whatever is in doubt opens nothing: an address that the provider has not verified, one that is not exactly one name at one
//! domain, groups that are not a list of texts (T197).

use super::id_token::Person;

/// Whom the operator lets in. Without any list: everybody whom the provider lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The `hd` that everybody must have, whatever the lists say: the organization whose accounts Google vouches for.
    pub hosted_domain: Option<String>,
    /// Who has a verified e-mail address at one of these domains: exactly, never below them.
    pub email_domains: Vec<String>,
    /// Who has one of these e-mail addresses, verified.
    pub emails: Vec<String>,
    /// Who is in one of these groups.
    pub groups: Vec<String>,
    /// Who has one of these subjects.
    pub subjects: Vec<String>,
}

impl Entry {
    /// Whether this person may enter: by any of the lists, if there is one.
    #[must_use]
    pub fn admits(&self, person: &Person) -> bool {
        if self.hosted_domain.as_deref().is_some_and(|domain| person.hosted_domain.as_deref() != Some(domain)) {
            return false;
        }
        let lists = [&self.email_domains, &self.emails, &self.groups, &self.subjects];
        if lists.iter().all(|list| list.is_empty()) {
            return true;
        }
        let address = person.email.as_deref().filter(|_| person.email_verified).and_then(Address::read);
        address.is_some_and(|address| self.names(&address))
            || self.groups.iter().any(|group| person.groups.contains(group))
            || self.subjects.contains(&person.subject)
    }

    fn names(&self, address: &Address<'_>) -> bool {
        self.email_domains.iter().any(|domain| domain.eq_ignore_ascii_case(address.domain))
            || self.emails.iter().any(|email| email.eq_ignore_ascii_case(address.whole))
    }
}

/// An e-mail address without anything that two readers could read differently: no quotes, no comments, no second `@`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    whole: &'a str,
    domain: &'a str,
}

impl<'a> Address<'a> {
    /// Reads one.
    #[must_use]
    pub fn read(whole: &'a str) -> Option<Self> {
        let (name, domain) = whole.split_once('@')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
        let good = !name.is_empty() && name.bytes().all(plain) && is_domain(domain);
        good.then_some(Self { whole, domain })
    }
}

/// Whether this is the name of a domain, without a dot at either end.
#[must_use]
pub fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        (1..=crate::limits::HOST_LABEL_MAX).contains(&label.len()) && plain
    };
    text.len() <= crate::limits::HOST_MAX && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn person() -> Person {
        Person {
            issuer: "https://id.example".into(),
            subject: "s-1".into(),
            email: Some("Ada@Example.com".into()),
            email_verified: true,
            name: None,
            preferred_username: None,
            locale: None,
            groups: vec!["staff".into()],
            groups_complete: true,
            hosted_domain: Some("example.com".into()),
            session: None,
            authenticated_at: None,
            expires: Timestamp::EPOCH,
        }
    }

    fn list(name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    #[test]
    fn without_a_list_everybody_enters_and_with_lists_whoever_is_in_one() {
        assert!(Entry::default().admits(&person()));
        for (entry, enters) in [
            (Entry { email_domains: list("example.COM"), ..Entry::default() }, true),
            (Entry { email_domains: list("other.example"), ..Entry::default() }, false),
            (Entry { emails: list("ada@example.com"), ..Entry::default() }, true),
            (Entry { emails: list("bob@example.com"), ..Entry::default() }, false),
            (Entry { groups: list("staff"), ..Entry::default() }, true),
            (Entry { groups: list("Staff"), ..Entry::default() }, false),
            (Entry { subjects: list("s-1"), ..Entry::default() }, true),
            (Entry { subjects: list("S-1"), ..Entry::default() }, false),
            (Entry { subjects: list("s-2"), groups: list("staff"), ..Entry::default() }, true),
        ] {
            assert_eq!(entry.admits(&person()), enters, "{entry:?}");
        }
    }

    #[test]
    fn t197_an_address_in_doubt_opens_nothing() {
        let entry = Entry { email_domains: list("allowed.com"), ..Entry::default() };
        let with = |email: &str, email_verified| Person { email: Some(email.into()), email_verified, ..person() };
        assert!(entry.admits(&with("user@allowed.com", true)));
        assert!(!entry.admits(&with("user@allowed.com", false)), "not verified");
        assert!(!entry.admits(&Person { email: None, ..person() }));
        for email in [
            "user@allowed.com.evil",
            "user@sub.allowed.com",
            "user@evil.com@allowed.com",
            "\"user@evil.com\"@allowed.com",
            "user@evil.com,user@allowed.com",
            "user@evil.com user@allowed.com",
            "user@allowed.com ",
            "user@allowed.com.",
            "user@\u{430}llowed.com",
            "us\u{e9}r@allowed.com",
            "@allowed.com",
            "allowed.com",
            "user@",
            "user@allowed.com\0",
        ] {
            assert!(!entry.admits(&with(email, true)), "{email:?}");
        }
    }

    #[test]
    fn t197_groups_in_doubt_open_nothing() {
        let entry = Entry { groups: list("staff"), ..Entry::default() };
        for groups in [vec![], list("staff,"), list("sta"), list("other")] {
            assert!(!entry.admits(&Person { groups, ..person() }));
        }
    }

    #[test]
    fn t197_the_hosted_domain_is_a_must_beside_every_list() {
        for lists in [Entry::default(), Entry { subjects: list("s-1"), ..Entry::default() }] {
            let entry = Entry { hosted_domain: Some("example.com".into()), ..lists };
            assert!(entry.admits(&person()));
            for hosted_domain in [None, Some("example.com.evil".to_owned()), Some("Example.com".to_owned())] {
                assert!(!entry.admits(&Person { hosted_domain, ..person() }));
            }
        }
    }
}
