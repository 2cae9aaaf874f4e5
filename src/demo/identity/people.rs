//! The two people of the demonstration, and what an ID token says of them.
//!
//! OpenID Connect Core section 5.4: which scope asks for which claims.

use portcullis_domain::wire::json::ObjectWriter;

/// Somebody who can log in.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) subject: &'static str,
    pub(super) username: &'static str,
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) groups: &'static [&'static str],
}

/// Everybody there is.
pub(super) static PEOPLE: [Person; 2] = [
    Person {
        subject: "demo-alice",
        username: "alice",
        name: "Alice Liddell",
        email: "alice@example.com",
        groups: &["staff", "admins"],
    },
    Person { subject: "demo-bob", username: "bob", name: "Bob Dodgson", email: "bob@example.com", groups: &["staff"] },
];

impl Person {
    /// The one of this user name.
    pub(super) fn named(username: &str) -> Option<&'static Self> {
        PEOPLE.iter().find(|person| person.username == username)
    }

    /// Adds the claims that the scopes ask for.
    pub(super) fn describe(&self, claims: ObjectWriter, scope: &str) -> ObjectWriter {
        let asked = |wanted: &str| scope.split(' ').any(|word| word == wanted);
        let mut claims = claims;
        if asked("profile") {
            claims = claims.text("name", self.name).text("preferred_username", self.username);
        }
        if asked("email") {
            claims = claims.text("email", self.email).boolean("email_verified", true);
        }
        if asked("groups") {
            claims = claims.texts("groups", self.groups);
        }
        claims
    }
}
