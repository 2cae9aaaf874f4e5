//! The three things that a client may hold, in their form on the wire.
//!
//! ```text
//! code            pcc_ base64url( grant id (32) || HMAC(seed, "code") (32) )
//! refresh token   pcr_ base64url( grant id (32) || generation (4) || HMAC(seed, "refresh" || generation) (32) )
//! access token    pca_ base64url( sealed under the master key: version, then
//!                      grant id (32) || generation (4) || issued (8) || expires (8) || resource (16) || client (32)
//!                      || has thumbprint (1) || thumbprint (0 or 32) || tag (16) || scope )
//! ```
//!
//! The tag of an access token is HMAC(seed, "access" || all its other fields): neither a stolen master key nor a stolen store
//! alone makes one. All three name the grant, so each leads to it at once; none is stored anywhere.

use crate::fresh::Salt;
use crate::key::{ClientHash, GrantId};
use crate::limits::TOKEN_MAX;
use crate::oauth::fault::Fault;
use crate::oauth::grant::Grant;
use crate::oauth::resource::ResourceHash;
use crate::oauth::scope::Scopes;
use crate::seal::{KeyRing, Purpose};
use crate::secret::{self, Secret, SecretText};
use crate::time::Timestamp;
use crate::wire::text;
use std::sync::OnceLock;
use std::time::Duration;
use zeroize::Zeroizing;

/// An authorization code, read but not judged.
#[derive(Clone, Debug)]
pub struct Code {
    /// The grant that it names.
    pub id: GrantId,
    tag: Secret<32>,
}

/// A refresh token, read but not judged.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// The grant that it names.
    pub id: GrantId,
    /// Which of the grant's.
    pub generation: u32,
    tag: Secret<32>,
}

/// An access token that the master key opened: its fields are ours, whether its grant still stands is another question.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The grant that it belongs to.
    pub id: GrantId,
    /// The generation of the refresh token that it came with.
    pub generation: u32,
    /// When it was issued.
    pub issued: Timestamp,
    /// Its own end.
    pub expires: Timestamp,
    /// What it is for.
    pub resource: ResourceHash,
    /// The client that it was issued to.
    pub client: ClientHash,
    /// The key that it is bound to.
    pub thumbprint: Option<[u8; 32]>,
    /// What it allows.
    pub scopes: Scopes,
    tag: [u8; 16],
    proof: Proof,
}

/// The seed under which a token's tag was found to be right. A tag that was right once is right for ever, so it is computed once.
/// A copy begins without it: its fields may be changed.
#[derive(Debug, Default)]
struct Proof(OnceLock<Secret<32>>);

impl Clone for Proof {
    fn clone(&self) -> Self {
        Self::default()
    }
}

const CODE: &str = "pcc_";
const REFRESH: &str = "pcr_";
const ACCESS: &str = "pca_";
const ACCESS_VERSION: u8 = 2;
const ACCESS_PLACE: &str = "access token";

impl Code {
    /// The code of this grant.
    #[must_use]
    pub fn of(id: GrantId, grant: &Grant) -> SecretText {
        let tag = grant.code_tag();
        write(CODE, &[&id.bytes(), tag.expose()])
    }

    /// Reads a presented code.
    ///
    /// # Errors
    /// [`Fault::CodeUnknown`].
    pub fn parse(presented: &str) -> Result<Self, Fault> {
        let bytes = read::<64>(CODE, presented).ok_or(Fault::CodeUnknown)?;
        let (id, tag) = bytes.split_first_chunk::<{ GrantId::LEN }>().ok_or(Fault::CodeUnknown)?;
        let tag = tag.try_into().map_err(|_| Fault::CodeUnknown)?;
        Ok(Self { id: GrantId::from_bytes(*id), tag: Secret::new(tag) })
    }

    /// Whether it is this grant's; in constant time.
    #[must_use]
    pub fn belongs_to(&self, grant: &Grant) -> bool {
        self.tag.same(grant.code_tag().expose())
    }
}

impl RefreshToken {
    /// The refresh token of this grant and generation.
    #[must_use]
    pub fn of(id: GrantId, grant: &Grant, generation: u32) -> SecretText {
        let tag = grant.refresh_tag(generation);
        write(REFRESH, &[&id.bytes(), &generation.to_be_bytes(), tag.expose()])
    }

    /// Whether this text is a refresh token by its form.
    #[must_use]
    pub fn is(presented: &str) -> bool {
        presented.starts_with(REFRESH)
    }

    /// Reads a presented refresh token.
    ///
    /// # Errors
    /// [`Fault::RefreshUnknown`].
    pub fn parse(presented: &str) -> Result<Self, Fault> {
        let bytes = read::<68>(REFRESH, presented).ok_or(Fault::RefreshUnknown)?;
        let (id, rest) = bytes.split_first_chunk::<{ GrantId::LEN }>().ok_or(Fault::RefreshUnknown)?;
        let (generation, tag) = rest.split_first_chunk::<4>().ok_or(Fault::RefreshUnknown)?;
        let tag = tag.try_into().map_err(|_| Fault::RefreshUnknown)?;
        let generation = u32::from_be_bytes(*generation);
        Ok(Self { id: GrantId::from_bytes(*id), generation, tag: Secret::new(tag) })
    }

    /// Whether it is this grant's; in constant time.
    #[must_use]
    pub fn belongs_to(&self, grant: &Grant) -> bool {
        self.tag.same(grant.refresh_tag(self.generation).expose())
    }
}

impl AccessToken {
    /// A new access token of this grant, for these scopes.
    ///
    /// It ends after `life`, and no later than `until`, the end of the session as it stands.
    #[must_use]
    pub fn mint(
        id: GrantId,
        grant: &Grant,
        generation: u32,
        scopes: Scopes,
        until: Timestamp,
        life: Duration,
        now: Timestamp,
    ) -> Self {
        let (resource, client, thumbprint) = (grant.terms.resource, grant.terms.client, grant.terms.thumbprint);
        let expires = now.plus(life).min(until);
        let mut token = Self {
            id,
            generation,
            issued: now,
            expires,
            resource,
            client,
            thumbprint,
            scopes,
            tag: [0; 16],
            proof: Proof::default(),
        };
        token.tag = token.tag_by(grant);
        token
    }

    /// The token on the wire.
    ///
    /// # Errors
    /// [`Fault::Internal`] if no key of the ring may seal.
    pub fn seal(&self, ring: &KeyRing, salt: Salt, now: Timestamp) -> Result<SecretText, Fault> {
        let mut body = Zeroizing::new(Vec::with_capacity(256));
        body.extend_from_slice(&self.id.bytes());
        body.extend_from_slice(&self.generation.to_be_bytes());
        body.extend_from_slice(&self.issued.millis().to_be_bytes());
        body.extend_from_slice(&self.expires.millis().to_be_bytes());
        body.extend_from_slice(&self.resource.0);
        body.extend_from_slice(&self.client.0);
        body.push(u8::from(self.thumbprint.is_some()));
        body.extend_from_slice(self.thumbprint.as_ref().map_or(&[][..], <[u8; 32]>::as_slice));
        body.extend_from_slice(&self.tag);
        body.extend_from_slice(self.scopes.line().as_bytes());
        let sealed = ring
            .seal(Purpose::Access, salt, ACCESS_PLACE, &[ACCESS_VERSION], &body, now)
            .ok_or(Fault::Internal("no master key may seal"))?;
        Ok(write(ACCESS, &[&sealed]))
    }

    /// Whether this text is an access token by its form.
    #[must_use]
    pub fn is(presented: &str) -> bool {
        presented.starts_with(ACCESS)
    }

    /// Opens a presented access token. Its end is not judged here.
    ///
    /// # Errors
    /// [`Fault::TokenUnknown`].
    pub fn open(ring: &KeyRing, presented: &str) -> Result<Self, Fault> {
        Self::read(ring, presented).ok_or(Fault::TokenUnknown)
    }

    fn read(ring: &KeyRing, presented: &str) -> Option<Self> {
        if presented.len() > TOKEN_MAX {
            return None;
        }
        let sealed = text::from_base64url(presented.strip_prefix(ACCESS)?).ok()?;
        if sealed.first() != Some(&ACCESS_VERSION) {
            return None;
        }
        let opened = ring.open(Purpose::Access, ACCESS_PLACE, 1, &sealed).ok()?;
        let (id, rest) = opened.body.split_first_chunk::<{ GrantId::LEN }>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (issued, rest) = rest.split_first_chunk::<8>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (resource, rest) = rest.split_first_chunk::<16>()?;
        let (client, rest) = rest.split_first_chunk::<32>()?;
        let (bound, rest) = rest.split_first()?;
        let (thumbprint, rest) = match bound {
            0 => (None, rest),
            1 => rest.split_first_chunk::<32>().map(|(thumbprint, rest)| (Some(*thumbprint), rest))?,
            _ => return None,
        };
        let (tag, scope) = rest.split_first_chunk::<16>()?;
        Some(Self {
            id: GrantId::from_bytes(*id),
            generation: u32::from_be_bytes(*generation),
            issued: Timestamp::from_millis(u64::from_be_bytes(*issued)),
            expires: Timestamp::from_millis(u64::from_be_bytes(*expires)),
            resource: ResourceHash(*resource),
            client: ClientHash(*client),
            thumbprint,
            scopes: Scopes::parse(std::str::from_utf8(scope).ok()?).ok()?,
            tag: *tag,
            proof: Proof::default(),
        })
    }

    /// Whether it is this grant's; in constant time.
    #[must_use]
    pub fn belongs_to(&self, grant: &Grant) -> bool {
        let seed = &grant.terms.seed;
        if self.proof.0.get().is_some_and(|proof| proof.same(seed.expose())) {
            return true;
        }
        let is_right = secret::same(&self.tag, &self.tag_by(grant));
        if is_right {
            self.proof.0.get_or_init(|| seed.clone());
        }
        is_right
    }

    fn tag_by(&self, grant: &Grant) -> [u8; 16] {
        grant.access_tag(&[
            &self.id.bytes(),
            &self.generation.to_be_bytes(),
            &self.issued.millis().to_be_bytes(),
            &self.expires.millis().to_be_bytes(),
            &self.resource.0,
            &self.client.0,
            self.thumbprint.as_ref().map_or(&[][..], <[u8; 32]>::as_slice),
            self.scopes.line().as_bytes(),
        ])
    }
}

fn write(prefix: &str, parts: &[&[u8]]) -> SecretText {
    let bytes = Zeroizing::new(parts.concat());
    let body = Zeroizing::new(text::base64url(&bytes));
    let mut out = String::with_capacity(prefix.len().saturating_add(body.len()));
    out.push_str(prefix);
    out.push_str(&body);
    SecretText::new(out)
}

fn read<const N: usize>(prefix: &str, presented: &str) -> Option<Zeroizing<[u8; N]>> {
    if presented.len() > TOKEN_MAX {
        return None;
    }
    text::from_base64url_exact(presented.strip_prefix(prefix)?).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fresh::Fresh;
    use crate::key::Person;
    use crate::oauth::grant::Terms;
    use crate::oauth::grant::tests::{NOW, code, terms};
    use crate::seal::tests::master;

    const ID: GrantId = GrantId { person: Person([1; 16]), login: [2; 16] };

    fn ring() -> KeyRing {
        KeyRing::new(&[master(1)], "https://gate.example", NOW).unwrap()
    }

    fn access(thumbprint: Option<[u8; 32]>) -> (Grant, AccessToken) {
        let grant = Grant { terms: Terms { thumbprint, ..terms() }, ..code() };
        let life = Duration::from_secs(1800);
        let token = AccessToken::mint(ID, &grant, 3, Scopes::of(["mcp"]), terms().ends, life, NOW);
        (grant, token)
    }

    fn sealed(token: &AccessToken) -> SecretText {
        token.seal(&ring(), Fresh::new(&Secret::new([1; 32]), 0).salt("access"), NOW).unwrap()
    }

    #[test]
    fn a_code_and_a_refresh_token_come_back_and_belong_to_their_grant_only() {
        let grant = code();
        let other = Grant { terms: Terms { seed: Secret::new([8; 32]), ..terms() }, ..code() };
        let parsed = Code::parse(Code::of(ID, &grant).expose()).unwrap();
        assert!(parsed.id == ID && parsed.belongs_to(&grant) && !parsed.belongs_to(&other));
        let parsed = RefreshToken::parse(RefreshToken::of(ID, &grant, 7).expose()).unwrap();
        assert!(parsed.generation == 7 && parsed.belongs_to(&grant) && !parsed.belongs_to(&other));
    }

    #[test]
    fn a_tag_that_was_right_for_one_grant_is_not_taken_for_right_by_another() {
        let (grant, token) = access(None);
        let other = Grant { terms: Terms { seed: Secret::new([8; 32]), ..terms() }, ..code() };
        for _ in 0..2 {
            assert!(token.belongs_to(&grant));
            assert!(!token.belongs_to(&other));
            assert!(!AccessToken { generation: 4, ..token.clone() }.belongs_to(&grant), "a copy that was changed");
        }
    }

    #[test]
    fn an_access_token_comes_back_and_belongs_to_its_grant_only() {
        for thumbprint in [None, Some([4; 32])] {
            let (grant, token) = access(thumbprint);
            let text = sealed(&token);
            let opened = AccessToken::open(&ring(), text.expose()).unwrap();
            assert_eq!(opened.scopes, token.scopes);
            assert_eq!((opened.issued, opened.expires), (NOW, NOW.plus(Duration::from_secs(1800))));
            assert_eq!(opened.thumbprint, thumbprint);
            assert!(opened.belongs_to(&grant));
            assert!(!opened.belongs_to(&Grant { terms: Terms { seed: Secret::new([8; 32]), ..terms() }, ..grant }));
        }
    }

    #[test]
    fn every_field_of_an_access_token_is_under_its_tag() {
        let (grant, token) = access(Some([4; 32]));
        let id = GrantId { person: ID.person, login: [0; 16] };
        for changed in [
            AccessToken { id, ..token.clone() },
            AccessToken { generation: 4, ..token.clone() },
            AccessToken { issued: Timestamp::EPOCH, ..token.clone() },
            AccessToken { expires: Timestamp::FAR, ..token.clone() },
            AccessToken { resource: ResourceHash([0; 16]), ..token.clone() },
            AccessToken { client: ClientHash([0; 32]), ..token.clone() },
            AccessToken { thumbprint: None, ..token.clone() },
            AccessToken { scopes: Scopes::of(["mcp", "admin"]), ..token.clone() },
        ] {
            assert!(!changed.belongs_to(&grant), "{changed:?}");
        }
    }

    #[test]
    fn an_access_token_ends_with_its_session() {
        let soon = NOW.plus(Duration::from_secs(9));
        let token = AccessToken::mint(ID, &code(), 1, Scopes::default(), soon, Duration::from_secs(1800), NOW);
        assert_eq!(token.expires, soon);
    }

    #[test]
    fn a_bearer_stays_short() {
        assert!(sealed(&access(None).1).expose().len() <= 220, "{}", sealed(&access(None).1).expose().len());
    }

    #[test]
    fn t054_t055_t087_t161_nothing_is_taken_for_something_else() {
        let grant = code();
        let code = Code::of(ID, &grant);
        let refresh = RefreshToken::of(ID, &grant, 1);
        let access = sealed(&access(None).1);
        let long = "a".repeat(1 << 20);
        let odd = ["", "pcc_", "pcr_", "pca_", "pca_AA", "{}*?[", "\0", "pcc_\r\nSET", "ä", long.as_str()];
        for other in odd.iter().chain(&[refresh.expose(), access.expose()]) {
            assert_eq!(Code::parse(other).err(), Some(Fault::CodeUnknown));
        }
        for other in odd.iter().chain(&[code.expose(), access.expose()]) {
            assert_eq!(RefreshToken::parse(other).err(), Some(Fault::RefreshUnknown));
        }
        for other in odd.iter().chain(&[code.expose(), refresh.expose()]) {
            assert_eq!(AccessToken::open(&ring(), other).err(), Some(Fault::TokenUnknown));
        }
        for token in [&code, &refresh, &access] {
            let cut = &token.expose()[..token.expose().len() - 1];
            assert!(Code::parse(cut).is_err() && RefreshToken::parse(cut).is_err());
            assert!(AccessToken::open(&ring(), cut).is_err());
        }
    }

    #[test]
    fn another_gateway_s_access_token_is_unknown_here() {
        let other = KeyRing::new(&[master(1)], "https://other.example", NOW).unwrap();
        assert_eq!(AccessToken::open(&other, sealed(&access(None).1).expose()).err(), Some(Fault::TokenUnknown));
    }
}
