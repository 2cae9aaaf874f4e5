//! What is stored, after login: the kinds of records, and their form in a store that is not this process's memory.
//!
//! A stored record reads `format (1) || stamp (16) || until (8) || sealed body`. The stamp stands in the clear so that
//! a store can compare it without knowing anything of records; it is still authenticated, as is the place where the
//! record is kept: a record moved to another key does not open.

use crate::codec::{Broken, Fields, Writer};
use crate::fresh::{Salt, Stamp};
use crate::key::Key;
use crate::limits::RECORD_MAX;
use crate::oauth::cut::Cut;
use crate::oauth::grant::Grant;
use crate::oauth::identity::{Identity, Profile};
use crate::operation::{Fact, Stored, Write};
use crate::seal::{CurrentRing, Purpose, Unopened};
use crate::time::Timestamp;
use std::fmt;
use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// One record.
#[derive(Debug)]
pub enum Record {
    /// One login of one client.
    Grant(Grant),
    /// What is known of a person.
    Identity(Identity),
    /// The same, as it is stored.
    Asleep(Asleep),
    /// "Nothing created before T lives."
    Cut(Cut),
    /// Something has happened once already.
    Mark,
    /// Fingerprints of the key ring that this store was begun with.
    RingCheck(Vec<[u8; 16]>),
}

impl Record {
    /// The grant, if it is one.
    #[must_use]
    pub const fn grant(&self) -> Option<&Grant> {
        if let Self::Grant(grant) = self { Some(grant) } else { None }
    }

    /// The identity, if it is one.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Self::Identity(identity) => Some(identity),
            Self::Asleep(asleep) => asleep.identity(),
            Self::Grant(_) | Self::Cut(_) | Self::Mark | Self::RingCheck(_) => None,
        }
    }

    /// What is said of the person, if it is an identity.
    #[must_use]
    pub fn profile(&self) -> Option<Profile<'_>> {
        match self {
            // Whoever has looked into it has paid for it; nobody else need.
            Self::Asleep(asleep) if asleep.identity.get().is_none() => Profile::decode(&asleep.body).ok(),
            _ => self.identity().map(|identity| identity.claims.profile()),
        }
    }

    /// The cut, if it is one.
    #[must_use]
    pub const fn cut(&self) -> Option<&Cut> {
        if let Self::Cut(cut) = self { Some(cut) } else { None }
    }

    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>().saturating_add(match self {
            Self::Grant(grant) => grant.weight(),
            Self::Identity(identity) => identity.weight(),
            Self::Asleep(asleep) => asleep.body.len(),
            Self::Cut(_) | Self::Mark => 0,
            Self::RingCheck(checks) => checks.len().saturating_mul(16),
        })
    }

    /// The body, in the clear: a tag byte for the kind, then its fields.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let (kind, body) = match self {
            Self::Grant(grant) => (KIND_GRANT, grant.encode()),
            Self::Identity(identity) => (KIND_IDENTITY, identity.encode()),
            Self::Asleep(asleep) => (KIND_IDENTITY, Zeroizing::new(asleep.body.to_vec())),
            Self::Cut(cut) => (KIND_CUT, cut.encode()),
            Self::Mark => (KIND_MARK, Zeroizing::default()),
            Self::RingCheck(checks) => {
                let mut writer = Writer::new();
                for check in checks {
                    writer.bytes(1, check);
                }
                (KIND_RING_CHECK, writer.finish())
            }
        };
        let mut out = Zeroizing::new(Vec::with_capacity(body.len().saturating_add(1)));
        out.push(kind);
        out.extend_from_slice(&body);
        out
    }

    /// From its body.
    ///
    /// # Errors
    /// [`Broken`] if it is none, or of a kind that does not belong under `key`.
    pub fn decode(key: &Key, body: &[u8]) -> Result<Self, Broken> {
        let (kind, body) = body.split_first().ok_or(Broken)?;
        match (key, *kind) {
            (Key::Grant(_), KIND_GRANT) => Grant::decode(body).map(Self::Grant),
            (Key::Identity(_), KIND_IDENTITY) => Identity::decode(body).map(Self::Identity),
            (Key::Cut(_), KIND_CUT) => Cut::decode(body).map(Self::Cut),
            (Key::FlowMark(_) | Key::AssertionMark(_), KIND_MARK) => Ok(Self::Mark),
            (Key::RingCheck, KIND_RING_CHECK) => {
                let fields = Fields::parse(body)?;
                let checks = fields.all(1).map(|check| check.try_into().map_err(|_| Broken));
                Ok(Self::RingCheck(checks.collect::<Result<_, _>>()?))
            }
            _ => Err(Broken),
        }
    }

    /// From a body that [`Record::encode`] has given in this process. An identity is decoded when somebody looks into it: most readings
    /// want to know no more of it than that it is there, and which version.
    ///
    /// # Errors
    /// As [`Record::decode`].
    pub fn read(key: &Key, body: &[u8]) -> Result<Self, Broken> {
        match (key, body.split_first()) {
            (Key::Identity(_), Some((&KIND_IDENTITY, body))) => Ok(Self::Asleep(Asleep::new(body))),
            _ => Self::decode(key, body),
        }
    }
}

/// An identity as it is stored, until somebody looks into it.
pub struct Asleep {
    body: Box<[u8]>,
    identity: OnceLock<Option<Identity>>,
}

impl Asleep {
    fn new(body: &[u8]) -> Self {
        Self { body: body.into(), identity: OnceLock::new() }
    }

    fn identity(&self) -> Option<&Identity> {
        self.identity.get_or_init(|| Identity::decode(&self.body).ok()).as_ref()
    }
}

impl fmt::Debug for Asleep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.identity().fmt(out)
    }
}

impl Drop for Asleep {
    /// The provider's tokens are in there. In one piece: byte by byte, as [`Zeroizing`] does it, would cost more than to read it.
    fn drop(&mut self) {
        self.body.fill(0);
        // Whoever might look at it again keeps it from being left out.
        black_box(&self.body);
    }
}

const KIND_GRANT: u8 = 1;
const KIND_IDENTITY: u8 = 2;
const KIND_CUT: u8 = 3;
const KIND_MARK: u8 = 4;
const KIND_RING_CHECK: u8 = 5;

/// Seals and opens records for a store that keeps bytes. It shows no key.
#[derive(Clone, Debug)]
pub struct Sealer {
    ring: Arc<CurrentRing>,
}

/// The version byte in front of a stored record.
const FORMAT: u8 = 1;
/// Version, stamp and `until`.
const HEAD_LEN: usize = 1 + 16 + 8;

impl Sealer {
    /// The capability to seal and open records under this ring, whichever it is at the time.
    #[must_use]
    pub const fn new(ring: Arc<CurrentRing>) -> Self {
        Self { ring }
    }

    /// The check of its ring, as the store keeps it: another one as soon as another key seals.
    #[must_use]
    pub fn checks(&self, now: Timestamp) -> Vec<[u8; 16]> {
        self.ring.now().checks(now).collect()
    }

    /// The stored form of one write.
    ///
    /// The stamp is the salt as well: it never occurs twice, so the key that it makes seals this record only.
    ///
    /// # Errors
    /// [`Unstorable`] if it is larger than any record may be; nothing of it is written then.
    pub fn seal(&self, write: &Write, now: Timestamp) -> Result<Vec<u8>, Unstorable> {
        let body = write.record.encode();
        if body.len() > RECORD_MAX {
            return Err(Unstorable);
        }
        let mut head = Vec::with_capacity(HEAD_LEN);
        head.push(FORMAT);
        head.extend_from_slice(&write.stamp.0);
        head.extend_from_slice(&write.until.millis().to_be_bytes());
        self.ring
            .now()
            .seal(Purpose::Record, Salt::of(write.stamp), &write.key.to_string(), &head, &body, now)
            .ok_or(Unstorable)
    }

    /// The stamp of a stored record, without opening it. For comparison only: it is not authenticated here.
    #[must_use]
    pub fn stamp(stored: &[u8]) -> Option<Stamp> {
        let (format, rest) = stored.split_first()?;
        let (stamp, _) = rest.split_first_chunk::<16>()?;
        (*format == FORMAT).then_some(Stamp(*stamp))
    }

    /// What these stored bytes say of `key`.
    ///
    /// # Errors
    /// [`Damaged`] if they are not a record of this program at this place: somebody wrote to the store.
    pub fn open(&self, key: &Key, stored: &[u8]) -> Result<Fact, Damaged> {
        let stamp = Self::stamp(stored).ok_or(Damaged)?;
        let until = stored.get(17..HEAD_LEN).and_then(|bytes| bytes.try_into().ok()).ok_or(Damaged)?;
        match self.ring.now().open(Purpose::Record, &key.to_string(), HEAD_LEN, stored) {
            Ok(opened) => {
                let record = Arc::new(Record::decode(key, &opened.body).map_err(|Broken| Damaged)?);
                let until = Timestamp::from_millis(u64::from_be_bytes(until));
                Ok(Fact::Found(Stored { record, stamp, until }))
            }
            Err(Unopened::UnknownKey) => Ok(Fact::Unreadable(stamp)),
            Err(Unopened::Forged) => Err(Damaged),
        }
    }
}

/// A record that is too large to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unstorable;

/// Bytes in the store that are not a record, or not the record of this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

#[cfg(test)]
mod tests;
