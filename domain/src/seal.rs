//! Sealing and signing under the master keys: key ring, purposes, associated data.
//!
//! Every master key is expanded by HKDF-SHA256 (RFC 5869) into one key per purpose, with the purpose's label and the
//! gateway's base URL as info: nothing made for one purpose or one gateway means anything elsewhere.
//!
//! Sealing is AES-256-GCM under a key that is used once: HMAC-SHA256(purpose key, salt), with 16 fresh bytes of salt in
//! front of the result. That is why the nonce can be zero: it never occurs twice under one key, by construction and not
//! by counting. A sealed value reads `head || key id (4) || salt (16) || ciphertext || tag (16)`, and its associated data
//! is everything before the ciphertext and the name of the place where it is kept.

mod current;

use crate::fresh::Salt;
use crate::hash::mac_of;
use crate::jose::sign::Signer;
use crate::limits::{MASTER_KEY_DISTINCT_MIN, MASTER_KEYS_MAX};
use crate::secret::Secret;
use crate::time::Timestamp;
pub use current::{CurrentRing, RingNumber};
use ring::{aead, hkdf, hmac};
use std::fmt;
use zeroize::Zeroizing;

/// One key of the operator's, as configured.
pub struct MasterKey {
    /// The key itself.
    pub secret: Secret<32>,
    /// It opens at once, but seals only from here on: so that a rolling deploy can bring it in one step.
    pub seals_from: Timestamp,
    /// It only recognises client ids that it once signed, and nothing else.
    pub client_ids_only: bool,
}

/// What a sealed value is for. Values of one purpose do not open under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Records in a store that is not this process's memory.
    Record,
    /// A login in progress, in the browser.
    Flow,
    /// Access tokens.
    Access,
}

/// What a MAC is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacPurpose {
    /// Signed registrations and the secrets that belong to them.
    ClientId,
    /// Session ids that the upstream handed out, bound to the person.
    Session,
    /// Forms of our own pages, bound to the browser.
    Csrf,
}

/// Which master key: four bytes derived from it, in front of everything that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(pub [u8; 4]);

impl KeyId {
    /// Its length on the wire.
    pub const LEN: usize = 4;
}

/// Why a list of master keys is no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingRefused {
    /// There is none.
    Empty,
    /// There are more than [`MASTER_KEYS_MAX`].
    TooMany,
    /// None of them may seal now.
    NoneSeals,
    /// The key at this place stands in the list already, or shares its id with another: draw a new one.
    Repeated(usize),
    /// The key at this place has too few distinct bytes to be a random one.
    LowEntropy(usize),
}

/// Why a sealed value did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unopened {
    /// It is shorter than any sealed value, forged, damaged, for another purpose or from another place.
    Forged,
    /// It names a key that is not in the ring (any more).
    UnknownKey,
}

/// All master keys, expanded.
pub struct KeyRing {
    keys: Vec<Expanded>,
}

struct Expanded {
    id: KeyId,
    seals_from: Timestamp,
    client_ids_only: bool,
    record: hmac::Key,
    flow: hmac::Key,
    access: hmac::Key,
    client_id: hmac::Key,
    session: hmac::Key,
    csrf: hmac::Key,
    signer: Signer,
    check: [u8; 16],
}

const SALT_LEN: usize = 16;
/// How much longer a sealed value is than its head and body.
pub const SEAL_OVERHEAD: usize = KeyId::LEN + SALT_LEN + TAG_LEN;
const TAG_LEN: usize = 16;

impl KeyRing {
    /// Expands the operator's keys for the gateway with this base URL. The first that may seal seals, all open.
    ///
    /// # Errors
    /// [`RingRefused`], with the place of the key that is to blame.
    pub fn new(keys: &[MasterKey], base_url: &str, now: Timestamp) -> Result<Self, RingRefused> {
        if keys.is_empty() {
            return Err(RingRefused::Empty);
        }
        if keys.len() > MASTER_KEYS_MAX {
            return Err(RingRefused::TooMany);
        }
        let mut expanded: Vec<Expanded> = Vec::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate() {
            if distinct(key.secret.expose()) < MASTER_KEY_DISTINCT_MIN {
                return Err(RingRefused::LowEntropy(place));
            }
            let next = Expanded::new(key, base_url);
            if expanded.iter().any(|other| other.id == next.id) {
                return Err(RingRefused::Repeated(place));
            }
            expanded.push(next);
        }
        let ring = Self { keys: expanded };
        ring.sealing(now).ok_or(RingRefused::NoneSeals)?;
        Ok(ring)
    }

    /// Seals `body` behind `head`, to be kept at `place`. Uses the salt up.
    ///
    /// Returns nothing only if no key may seal, which [`KeyRing::new`] has ruled out for every later time.
    #[must_use]
    pub fn seal(
        &self,
        purpose: Purpose,
        salt: Salt,
        place: &str,
        head: &[u8],
        body: &[u8],
        now: Timestamp,
    ) -> Option<Vec<u8>> {
        let key = self.sealing(now)?;
        let salt = salt.spend();
        let mut out = Vec::with_capacity(head.len().saturating_add(body.len()).saturating_add(SEAL_OVERHEAD));
        out.extend_from_slice(head);
        out.extend_from_slice(&key.id.0);
        out.extend_from_slice(&salt);
        let data = associated_data(&out, place);
        let mut body = Zeroizing::new(body.to_vec());
        let tag = one_use_key(key.of(purpose), &salt)?
            .seal_in_place_separate_tag(zero_nonce(), aead::Aad::from(&data), &mut body)
            .ok()?;
        out.extend_from_slice(&body);
        out.extend_from_slice(tag.as_ref());
        Some(out)
    }

    /// Opens what [`KeyRing::seal`] made for this purpose and place. `head_len` is the length of the head.
    ///
    /// # Errors
    /// [`Unopened`].
    pub fn open(&self, purpose: Purpose, place: &str, head_len: usize, sealed: &[u8]) -> Result<Opened, Unopened> {
        let (_head, rest) = sealed.split_at_checked(head_len).ok_or(Unopened::Forged)?;
        let (id, rest) = rest.split_first_chunk::<{ KeyId::LEN }>().ok_or(Unopened::Forged)?;
        let (salt, ciphertext) = rest.split_first_chunk::<SALT_LEN>().ok_or(Unopened::Forged)?;
        let key = self.named(KeyId(*id)).ok_or(Unopened::UnknownKey)?;
        let before = sealed.len().saturating_sub(ciphertext.len());
        let data = associated_data(sealed.get(..before).ok_or(Unopened::Forged)?, place);
        let mut body = Zeroizing::new(ciphertext.to_vec());
        let length = one_use_key(key.of(purpose), salt)
            .and_then(|key| key.open_in_place(zero_nonce(), aead::Aad::from(&data), &mut body).ok().map(|it| it.len()))
            .ok_or(Unopened::Forged)?;
        body.truncate(length);
        Ok(Opened { body, key: KeyId(*id) })
    }

    /// HMAC-SHA256 of length-prefixed parts under the key that seals now, and which key that is.
    #[must_use]
    pub fn mac(&self, purpose: MacPurpose, label: &str, parts: &[&[u8]], now: Timestamp) -> Option<(KeyId, [u8; 32])> {
        let key = self.sealing(now)?;
        Some((key.id, mac_of(key.mac(purpose), label, parts)))
    }

    /// The same under the key with this id, if the ring holds it for this purpose.
    #[must_use]
    pub fn mac_under(&self, id: KeyId, purpose: MacPurpose, label: &str, parts: &[&[u8]]) -> Option<[u8; 32]> {
        let key = match purpose {
            MacPurpose::ClientId => self.keys.iter().find(|key| key.id == id),
            MacPurpose::Session | MacPurpose::Csrf => self.named(id),
        };
        key.map(|key| mac_of(key.mac(purpose), label, parts))
    }

    /// The Ed25519 key of the master key that seals now.
    #[must_use]
    pub fn signer(&self, now: Timestamp) -> Option<&Signer> {
        self.sealing(now).map(|key| &key.signer)
    }

    /// The Ed25519 keys of all that sign or will: their public halves are published.
    pub fn signers(&self) -> impl Iterator<Item = &Signer> {
        self.keys.iter().filter(|key| !key.client_ids_only).map(|key| &key.signer)
    }

    /// A public fingerprint of each full key, for the record that tells replicas with another ring apart. That of the key that seals
    /// now is the first.
    pub fn checks(&self, now: Timestamp) -> impl Iterator<Item = [u8; 16]> {
        let first = self.sealing(now).map(|key| key.check);
        let full = self.keys.iter().filter(|key| !key.client_ids_only).map(|key| key.check);
        first.into_iter().chain(full.filter(move |check| Some(*check) != first))
    }

    /// How many keys it holds.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.keys.len()
    }

    fn sealing(&self, now: Timestamp) -> Option<&Expanded> {
        self.keys.iter().find(|key| !key.client_ids_only && key.seals_from <= now)
    }

    fn named(&self, id: KeyId) -> Option<&Expanded> {
        self.keys.iter().find(|key| key.id == id && !key.client_ids_only)
    }
}

/// Two are equal if they hold the same keys for the same uses in the same order.
impl PartialEq for KeyRing {
    fn eq(&self, other: &Self) -> bool {
        let use_of = |key: &Expanded| (key.check, key.seals_from, key.client_ids_only);
        self.keys.iter().map(use_of).eq(other.keys.iter().map(use_of))
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "KeyRing({} keys)", self.keys.len())
    }
}

/// What was sealed, and under which key.
pub struct Opened {
    /// The body, wiped when dropped.
    pub body: Zeroizing<Vec<u8>>,
    /// The key.
    pub key: KeyId,
}

impl Expanded {
    fn new(key: &MasterKey, base_url: &str) -> Self {
        let expand = Expand { prk: hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(key.secret.expose()), base_url };
        Self {
            id: KeyId(*expand.bytes("portcullis key id").expose()),
            seals_from: key.seals_from,
            client_ids_only: key.client_ids_only,
            record: expand.mac("portcullis record"),
            flow: expand.mac("portcullis flow"),
            access: expand.mac("portcullis access token"),
            client_id: expand.mac("portcullis client id"),
            session: expand.mac("portcullis session header"),
            csrf: expand.mac("portcullis csrf"),
            signer: Signer::from_seed(&expand.bytes("portcullis signing seed")),
            check: *expand.bytes("portcullis ring check").expose(),
        }
    }

    const fn of(&self, purpose: Purpose) -> &hmac::Key {
        match purpose {
            Purpose::Record => &self.record,
            Purpose::Flow => &self.flow,
            Purpose::Access => &self.access,
        }
    }

    const fn mac(&self, purpose: MacPurpose) -> &hmac::Key {
        match purpose {
            MacPurpose::ClientId => &self.client_id,
            MacPurpose::Session => &self.session,
            MacPurpose::Csrf => &self.csrf,
        }
    }
}

/// HKDF-Expand with the label and the base URL as info.
struct Expand<'a> {
    prk: hkdf::Prk,
    base_url: &'a str,
}

struct Len(usize);

impl hkdf::KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl Expand<'_> {
    fn bytes<const N: usize>(&self, label: &str) -> Secret<N> {
        let mut out = Zeroizing::new([0; N]);
        // The label holds no zero byte, so label and base URL cannot run into each other.
        let info = [label.as_bytes(), &[0], self.base_url.as_bytes()];
        self.prk
            .expand(&info, Len(N))
            .and_then(|okm| okm.fill(out.as_mut_slice()))
            .expect("HKDF gives up to 255 blocks, and at most one is asked for");
        Secret::new(*out)
    }

    fn mac(&self, label: &str) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.bytes::<32>(label).expose())
    }
}

/// The AES key that this salt makes: used for one sealing, and for its openings.
fn one_use_key(purpose: &hmac::Key, salt: &[u8; SALT_LEN]) -> Option<aead::LessSafeKey> {
    let bytes = hmac::sign(purpose, salt);
    aead::UnboundKey::new(&aead::AES_256_GCM, bytes.as_ref()).ok().map(aead::LessSafeKey::new)
}

fn zero_nonce() -> aead::Nonce {
    aead::Nonce::assume_unique_for_key([0; aead::NONCE_LEN])
}

/// Everything before the ciphertext, then the place; the length of the first keeps the two apart.
fn associated_data(before: &[u8], place: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(before.len().saturating_add(place.len()).saturating_add(8));
    data.extend_from_slice(&u64::try_from(before.len()).unwrap_or(u64::MAX).to_be_bytes());
    data.extend_from_slice(before);
    data.extend_from_slice(place.as_bytes());
    data
}

fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [false; 256];
    for byte in bytes {
        if let Some(seen) = seen.get_mut(usize::from(*byte)) {
            *seen = true;
        }
    }
    seen.iter().filter(|seen| **seen).count()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::fresh::Fresh;

    pub(crate) fn master(first: u8) -> MasterKey {
        let mut bytes = [0; 32];
        for (byte, value) in bytes.iter_mut().zip(first..) {
            *byte = value;
        }
        MasterKey { secret: Secret::new(bytes), seals_from: Timestamp::EPOCH, client_ids_only: false }
    }

    pub(crate) fn ring(keys: &[MasterKey]) -> KeyRing {
        KeyRing::new(keys, "https://gate.example", NOW).unwrap()
    }

    fn salt(label: &str) -> Salt {
        Fresh::new(&Secret::new([1; 32]), 0).salt(label)
    }

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn sealed(ring: &KeyRing) -> Vec<u8> {
        ring.seal(Purpose::Record, salt("x"), "place", b"head", b"body", NOW).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_at_its_place_for_its_purpose_only() {
        let ring = ring(&[master(1)]);
        let sealed = sealed(&ring);
        assert_eq!(sealed.len(), 8 + SEAL_OVERHEAD);
        assert!(!sealed.windows(4).any(|part| part == b"body"));
        assert_eq!(&ring.open(Purpose::Record, "place", 4, &sealed).unwrap().body[..], b"body");
        assert_eq!(ring.open(Purpose::Record, "elsewhere", 4, &sealed).err(), Some(Unopened::Forged));
        assert_eq!(ring.open(Purpose::Flow, "place", 4, &sealed).err(), Some(Unopened::Forged));
        assert!(ring.open(Purpose::Record, "place", 3, &sealed).is_err());
        assert!(ring.open(Purpose::Record, "place", 999, &sealed).is_err());
    }

    #[test]
    fn t209_a_flipped_bit_anywhere_and_any_truncation_is_refused() {
        let ring = ring(&[master(1)]);
        let sealed = sealed(&ring);
        for place in 0..sealed.len() {
            for bit in 0..8 {
                let mut forged = sealed.clone();
                forged[place] ^= 1 << bit;
                assert!(ring.open(Purpose::Record, "place", 4, &forged).is_err(), "{place}.{bit}");
            }
            assert!(ring.open(Purpose::Record, "place", 4, &sealed[..place]).is_err());
        }
    }

    #[test]
    fn keys_rotate_in_two_steps_and_a_removed_key_is_named_as_unknown() {
        let (old, both, new) = (ring(&[master(1)]), ring(&[master(1), master(100)]), ring(&[master(100), master(1)]));
        for sealing in [&old, &both] {
            let sealed = sealed(sealing);
            for opening in [&old, &both, &new] {
                assert!(opening.open(Purpose::Record, "place", 4, &sealed).is_ok());
            }
        }
        let by_new = sealed(&new);
        assert!(both.open(Purpose::Record, "place", 4, &by_new).is_ok());
        assert_eq!(old.open(Purpose::Record, "place", 4, &by_new).err(), Some(Unopened::UnknownKey));
    }

    #[test]
    fn seals_from_brings_a_key_in_one_step() {
        let later = MasterKey { seals_from: NOW.plus(std::time::Duration::from_secs(60)), ..master(100) };
        let ring = ring(&[later, master(1)]);
        let (before, _) = ring.mac(MacPurpose::Csrf, "x", &[], NOW).unwrap();
        let (after, _) = ring.mac(MacPurpose::Csrf, "x", &[], NOW.plus(std::time::Duration::from_secs(61))).unwrap();
        assert_ne!(before, after);
    }

    #[test]
    fn a_retired_key_recognises_client_ids_and_nothing_else() {
        let old = ring(&[master(1)]);
        let (id, mac) = old.mac(MacPurpose::ClientId, "x", &[b"y"], NOW).unwrap();
        let retired = ring(&[master(100), MasterKey { client_ids_only: true, ..master(1) }]);
        assert_eq!(retired.mac_under(id, MacPurpose::ClientId, "x", &[b"y"]), Some(mac));
        assert_eq!(retired.mac_under(id, MacPurpose::Csrf, "x", &[b"y"]), None);
        assert_eq!(retired.open(Purpose::Record, "place", 4, &sealed(&old)).err(), Some(Unopened::UnknownKey));
        assert_eq!(retired.signers().count(), 1);
    }

    #[test]
    fn another_base_url_is_another_gateway() {
        let other = KeyRing::new(&[master(1)], "https://other.example", NOW).unwrap();
        assert!(other.open(Purpose::Record, "place", 4, &sealed(&ring(&[master(1)]))).is_err());
    }

    #[test]
    fn bad_rings_say_which_key_is_to_blame() {
        let refused = |keys: &[MasterKey]| KeyRing::new(keys, "https://gate.example", NOW).err();
        assert_eq!(refused(&[]), Some(RingRefused::Empty));
        assert_eq!(refused(&[master(1), master(1)]), Some(RingRefused::Repeated(1)));
        let dull = MasterKey { secret: Secret::new([5; 32]), ..master(1) };
        assert_eq!(refused(&[master(1), dull]), Some(RingRefused::LowEntropy(1)));
        assert_eq!(refused(&[MasterKey { client_ids_only: true, ..master(1) }]), Some(RingRefused::NoneSeals));
        let many: Vec<_> = (0..=8).map(|n| master(n * 20)).collect();
        assert_eq!(refused(&many), Some(RingRefused::TooMany));
    }

    #[test]
    fn parts_of_a_mac_do_not_run_into_each_other() {
        let ring = ring(&[master(1)]);
        let mac = |parts: &[&[u8]]| ring.mac(MacPurpose::Csrf, "x", parts, NOW).unwrap().1;
        assert_ne!(mac(&[b"ab", b"c"]), mac(&[b"a", b"bc"]));
        assert_ne!(mac(&[b"ab"]), mac(&[b"ab", b""]));
    }
}
