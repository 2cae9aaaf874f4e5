//! The names of records, and the partitions that they live in.
//!
//! A partition is the unit of one atomic commit: everything of one person, or one cut. In a cluster it is the hash tag, so a
//! partition never spreads over two nodes.

use crate::hash;
use crate::wire::text;
use std::fmt;

/// A person as a store key: 16 bytes of SHA-256 over gateway, issuer and subject. Whoever knows the subject can
/// recognise it, and two clients of one person can tell that it is the same person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Person(pub [u8; 16]);

impl Person {
    /// The person whom `issuer` calls `subject`, at the gateway with this base URL. Linked by (issuer, subject), never
    /// by e-mail address.
    #[must_use]
    pub fn of(base_url: &str, issuer: &str, subject: &str) -> Self {
        Self(digest_of("portcullis person", &[base_url.as_bytes(), issuer.as_bytes(), subject.as_bytes()]))
    }
}

/// A grant: the person and 16 bytes derived from the login's flow id. This is what the wire carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId {
    /// Whose.
    pub person: Person,
    /// Which of theirs.
    pub login: [u8; 16],
}

impl GrantId {
    /// The length of [`GrantId::bytes`].
    pub const LEN: usize = 32;

    /// The form on the wire: person, then login.
    #[must_use]
    pub fn bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let (person, login) = out.split_at_mut(16);
        person.copy_from_slice(&self.person.0);
        login.copy_from_slice(&self.login);
        out
    }

    /// From the form on the wire.
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let (mut person, mut login) = ([0; 16], [0; 16]);
        for (to, from) in person.iter_mut().chain(login.iter_mut()).zip(bytes) {
            *to = from;
        }
        Self { person: Person(person), login }
    }
}

/// A client as grants, cuts and tokens remember it: SHA-256 of its `client_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientHash(pub [u8; 32]);

impl ClientHash {
    /// Of a `client_id` as it stands in requests.
    #[must_use]
    pub fn of(client_id: &str) -> Self {
        Self(hash::sha256(client_id.as_bytes()))
    }
}

/// A session at the identity provider: a digest of (`iss`, `sid`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderSession(pub [u8; 16]);

impl ProviderSession {
    /// The session that `issuer` calls `sid`.
    #[must_use]
    pub fn of(base_url: &str, issuer: &str, sid: &str) -> Self {
        Self(digest_of("portcullis provider session", &[base_url.as_bytes(), issuer.as_bytes(), sid.as_bytes()]))
    }
}

/// An assertion of a client, or a logout token of the provider: a digest of (gateway, whose it is, `jti`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AssertionId(pub [u8; 16]);

impl AssertionId {
    /// The assertion that this client calls `jti`.
    #[must_use]
    pub fn of(base_url: &str, client: ClientHash, jti: &str) -> Self {
        Self(digest_of("portcullis client assertion", &[base_url.as_bytes(), &client.0, jti.as_bytes()]))
    }

    /// The logout token that this issuer calls `jti`.
    #[must_use]
    pub fn of_logout(base_url: &str, issuer: &str, jti: &str) -> Self {
        Self(digest_of("portcullis logout token", &[base_url.as_bytes(), issuer.as_bytes(), jti.as_bytes()]))
    }
}

/// Whom a cut ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CutScope {
    /// Everybody.
    All,
    /// One client, whoever uses it.
    Client(ClientHash),
    /// One person, whatever they use.
    Person(Person),
    /// Everything that came out of one session at the identity provider.
    ProviderSession(ProviderSession),
}

/// The name of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// One login of one client.
    Grant(GrantId),
    /// What is known of a person.
    Identity(Person),
    /// This login has come back from the identity provider already.
    FlowMark(GrantId),
    /// This assertion of a client, or logout token, has been used already.
    AssertionMark(AssertionId),
    /// "Nothing created before T lives."
    Cut(CutScope),
    /// Which key ring this store was begun with.
    RingCheck,
}

/// What one commit may touch at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub [u8; 16]);

impl Partition {
    /// No partition of the store, but the queue of those who want to ask the provider for newer tokens of a person.
    #[must_use]
    pub fn of_upstream(person: Person) -> Self {
        Self(kind(*b"asks its provide", &person.0))
    }
}

impl Key {
    /// The partition that this record lives in.
    #[must_use]
    pub fn partition(&self) -> Partition {
        match self {
            Self::Grant(id) | Self::FlowMark(id) => Partition(id.person.0),
            Self::Identity(person) | Self::Cut(CutScope::Person(person)) => Partition(person.0),
            Self::Cut(CutScope::All) => Partition(*b"cut of everybody"),
            Self::Cut(CutScope::Client(client)) => Partition(kind(*b"cut of a client ", &client.0)),
            Self::Cut(CutScope::ProviderSession(session)) => Partition(kind(*b"cut of a session", &session.0)),
            Self::AssertionMark(id) => Partition(id.0),
            Self::RingCheck => Partition(*b"key ring's check"),
        }
    }
}

/// The text that names the record in a store and in associated data: the partition in braces, then what it is.
impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{{{}}}:", text::base64url(&self.partition().0))?;
        match self {
            Self::Grant(id) => write!(out, "grant:{}", text::base64url(&id.login)),
            Self::FlowMark(id) => write!(out, "flow:{}", text::base64url(&id.login)),
            Self::Identity(_) => out.write_str("identity"),
            Self::AssertionMark(_) => out.write_str("assertion"),
            Self::Cut(_) => out.write_str("cut"),
            Self::RingCheck => out.write_str("ring-check"),
        }
    }
}

/// 16 bytes of a digest, told apart from those of other kinds: what is a digest already needs no second one, and admission asks
/// for partitions with every request.
fn kind(mut label: [u8; 16], digest: &[u8]) -> [u8; 16] {
    for (to, byte) in label.iter_mut().zip(digest) {
        *to ^= byte;
    }
    label
}

/// 16 bytes of SHA-256 over a label and parts.
fn digest_of(label: &str, parts: &[&[u8]]) -> [u8; 16] {
    hash::first(&hash::sha256_of(label, parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(Person::of("a", "b", "cd"), Person::of("a", "bc", "d"));
        assert_ne!(Person::of("a", "b", "c"), Person::of("ab", "", "c"));
        assert_eq!(Person::of("a", "b", "c"), Person::of("a", "b", "c"));
        assert_ne!(Person::of("a", "b", "c").0, ProviderSession::of("a", "b", "c").0);
    }

    #[test]
    fn a_grant_id_survives_the_wire() {
        let id = GrantId { person: Person([1; 16]), login: [2; 16] };
        assert_eq!(GrantId::from_bytes(id.bytes()), id);
    }

    #[test]
    fn everything_of_a_person_is_one_partition_and_every_name_is_its_own() {
        let person = Person([3; 16]);
        let id = GrantId { person, login: [4; 16] };
        let keys = [
            Key::Grant(id),
            Key::FlowMark(id),
            Key::Identity(person),
            Key::Cut(CutScope::Person(person)),
            Key::Cut(CutScope::All),
            Key::Cut(CutScope::Client(ClientHash([3; 32]))),
            Key::Cut(CutScope::ProviderSession(ProviderSession([3; 16]))),
            Key::AssertionMark(AssertionId([9; 16])),
            Key::RingCheck,
        ];
        assert!(keys.iter().take(4).all(|key| key.partition() == Partition(person.0)));
        assert!(keys.iter().skip(4).all(|key| key.partition() != Partition(person.0)));
        let names: std::collections::BTreeSet<String> = keys.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), keys.len());
    }
}
