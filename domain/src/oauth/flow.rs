//! A login in progress. It lives in the browser, sealed; the gateway remembers nothing of it.
//!
//! ```text
//!  /authorize ──► Flow, sealed into the consent page's form ──approve──► Login, sealed into a cookie ──► callback
//! ```
//!
//! The form and the cookie are sealed for different places, so one cannot be passed off as the other. The cookie is named
//! after the state that the provider echoes: a browser that did not approve this login does not hold its cookie.

use crate::codec::{Broken, Fields, Writer};
use crate::fresh::Fresh;
use crate::hash;
use crate::key::ClientHash;
use crate::limits::{
    FLOW_LIFE, GRANT_CLIENT_NAME_MAX, LOGIN_COOKIE_MAX, LOGIN_HINT_MAX, REDIRECT_MAX, SCOPE_GRANT_MAX, STATE_MAX,
};
use crate::oauth::client_document::DocumentHash;
use crate::oauth::fault::Fault;
use crate::oauth::pkce::Challenge;
use crate::oauth::resource::ResourceHash;
use crate::oauth::scope::Scopes;
use crate::oidc::request::Wishes;
use crate::seal::{KeyId, KeyRing, Purpose, SEAL_OVERHEAD};
use crate::secret::{Secret, SecretText};
use crate::time::Timestamp;
use crate::wire::text::{base64url, from_base64url};
use ring::{hkdf, hmac};
use zeroize::Zeroizing;

/// An authorization request that has been judged: what the person is asked to approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// 16 random bytes. The grant's id is derived from them.
    pub id: [u8; 16],
    /// The client.
    pub client: ClientHash,
    /// Its name, at most [`GRANT_CLIENT_NAME_MAX`] bytes.
    pub client_name: String,
    /// Whether it has to authenticate.
    pub confidential: bool,
    /// Where the answer goes: checked, at most [`REDIRECT_MAX`] bytes.
    pub redirect: String,
    /// The client's `state`, at most [`STATE_MAX`] bytes.
    pub state: Option<String>,
    /// What would be granted, at most [`SCOPE_GRANT_MAX`] bytes.
    pub scopes: Scopes,
    /// For which resource.
    pub resource: ResourceHash,
    /// The client's PKCE challenge.
    pub challenge: Challenge,
    /// What the client's document said, if it has one.
    pub document: Option<DocumentHash>,
    /// Until when it goes on.
    pub expires: Timestamp,
}

/// A login that this browser has approved and that is with the identity provider now.
#[derive(Clone, Debug)]
pub struct Login {
    /// What was approved.
    pub flow: Flow,
    /// `max_age`, which the ID token is judged against.
    pub max_age: Option<u32>,
    /// What state, nonce and verifier towards the provider are derived from.
    secret: Secret<32>,
}

const FORMAT: u8 = 1;
const FORM_PLACE: &str = "consent form";
const COOKIE_PLACE: &str = "login cookie";

/// Fields of a flow in its binary form: tag and a length of at most two bytes each.
const FIELD_OVERHEAD: usize = 3;
const FLOW_BODY_MAX: usize = 16
    + 32
    + GRANT_CLIENT_NAME_MAX
    + 1
    + REDIRECT_MAX
    + STATE_MAX
    + SCOPE_GRANT_MAX
    + 16
    + 32
    + 16
    + 8
    + 11 * FIELD_OVERHEAD;
const LOGIN_BODY_MAX: usize = FLOW_BODY_MAX + 4 + 32 + 2 * FIELD_OVERHEAD;
const _: () = assert!((1 + LOGIN_BODY_MAX + SEAL_OVERHEAD).div_ceil(3) * 4 <= LOGIN_COOKIE_MAX);

impl Flow {
    /// The second half of the grant's id, which does not tell the flow's.
    #[must_use]
    pub fn login(&self) -> [u8; 16] {
        struct Len;
        impl hkdf::KeyType for Len {
            fn len(&self) -> usize {
                16
            }
        }
        let mut out = [0; 16];
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"portcullis grant id")
            .extract(&self.id)
            .expand(&[b"login"], Len)
            .and_then(|okm| okm.fill(&mut out))
            .expect("HKDF gives up to 255 blocks, and one is asked for");
        out
    }

    /// The form field that carries the flow, and what the client asks of the provider, over the consent page.
    ///
    /// # Errors
    /// [`Fault::Internal`] if no key of the ring may seal.
    pub fn seal(&self, wishes: &Wishes, ring: &KeyRing, fresh: &Fresh, now: Timestamp) -> Result<String, Fault> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer
            .number(20, u64::from(wishes.login))
            .number(21, u64::from(wishes.select_account))
            .optional(22, wishes.login_hint.as_deref().map(str::as_bytes));
        if let Some(max_age) = wishes.max_age {
            writer.number(23, u64::from(max_age));
        }
        let sealed = ring.seal(Purpose::Flow, fresh.salt(FORM_PLACE), FORM_PLACE, &[FORMAT], &writer.finish(), now);
        sealed.map(|sealed| base64url(&sealed)).ok_or(Fault::Internal("no master key may seal"))
    }

    /// The flow out of the consent page's form.
    ///
    /// # Errors
    /// [`Fault::FlowForged`] or [`Fault::FlowExpired`].
    pub fn open(ring: &KeyRing, field: &str, now: Timestamp) -> Result<(Self, Wishes), Fault> {
        let body = open(ring, FORM_PLACE, field, FORM_FIELD_MAX).ok_or(Fault::FlowForged)?;
        let (flow, wishes) = Self::read_form(&body).map_err(|Broken| Fault::FlowForged)?;
        if now >= flow.expires { Err(Fault::FlowExpired) } else { Ok((flow, wishes)) }
    }

    /// Which master key sealed a form field.
    #[must_use]
    pub fn key(field: &str) -> Option<KeyId> {
        if field.len() > FORM_FIELD_MAX {
            return None;
        }
        let sealed = from_base64url(field).ok()?;
        sealed.get(1..)?.first_chunk().map(|id| KeyId(*id))
    }

    fn read_form(body: &[u8]) -> Result<(Self, Wishes), Broken> {
        let fields = Fields::parse(body)?;
        let max_age = fields.optional_number(23)?.map(u32::try_from).transpose().map_err(|_| Broken)?;
        let wishes = Wishes {
            login: fields.number(20)? == 1,
            select_account: fields.number(21)? == 1,
            login_hint: fields.optional_text(22)?.map(str::to_owned),
            max_age,
        };
        Ok((Self::read(&fields)?, wishes))
    }

    fn write(&self, writer: &mut Writer) {
        writer
            .bytes(1, &self.id)
            .bytes(2, &self.client.0)
            .text(3, &self.client_name)
            .number(4, u64::from(self.confidential))
            .text(5, &self.redirect)
            .optional(6, self.state.as_deref().map(str::as_bytes))
            .text(7, self.scopes.line())
            .bytes(8, &self.resource.0)
            .bytes(9, &self.challenge.0)
            .time(10, self.expires)
            .optional(11, self.document.as_ref().map(|hash| hash.0.as_slice()));
    }

    fn read(fields: &Fields<'_>) -> Result<Self, Broken> {
        Ok(Self {
            id: fields.array(1)?,
            client: ClientHash(fields.array(2)?),
            client_name: fields.text(3)?.to_owned(),
            confidential: fields.number(4)? == 1,
            redirect: fields.text(5)?.to_owned(),
            state: fields.optional_text(6)?.map(str::to_owned),
            scopes: Scopes::parse(fields.text(7)?).map_err(|_| Broken)?,
            resource: ResourceHash(fields.array(8)?),
            challenge: Challenge(fields.array(9)?),
            document: fields.optional_array(11)?.map(DocumentHash),
            expires: fields.time(10)?,
        })
    }
}

/// The longest form field that can be a flow.
const FORM_FIELD_MAX: usize = (1 + FLOW_BODY_MAX + LOGIN_HINT_MAX + 32 + SEAL_OVERHEAD).div_ceil(3) * 4;

impl Login {
    /// The flow, approved: it has until `FLOW_LIFE` from now to come back from the provider.
    #[must_use]
    pub fn begin(flow: Flow, max_age: Option<u32>, fresh: &Fresh, now: Timestamp) -> Self {
        let expires = now.plus(FLOW_LIFE);
        Self { flow: Flow { expires, ..flow }, max_age, secret: fresh.secret("login") }
    }

    /// `state` towards the provider.
    #[must_use]
    pub fn state(&self) -> SecretText {
        self.derive("state")
    }

    /// `nonce` towards the provider.
    #[must_use]
    pub fn nonce(&self) -> SecretText {
        self.derive("nonce")
    }

    /// Our PKCE verifier towards the provider.
    #[must_use]
    pub fn verifier(&self) -> SecretText {
        self.derive("verifier")
    }

    /// Our PKCE challenge towards the provider.
    #[must_use]
    pub fn challenge(&self) -> String {
        base64url(&hash::sha256(self.verifier().expose().as_bytes()))
    }

    fn derive(&self, label: &str) -> SecretText {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose());
        SecretText::new(base64url(hmac::sign(&key, label.as_bytes()).as_ref()))
    }

    /// The cookie's value.
    ///
    /// # Errors
    /// [`Fault::Internal`] if no key of the ring may seal.
    pub fn seal(&self, ring: &KeyRing, fresh: &Fresh, now: Timestamp) -> Result<SecretText, Fault> {
        let mut writer = Writer::new();
        self.flow.write(&mut writer);
        if let Some(max_age) = self.max_age {
            writer.number(23, u64::from(max_age));
        }
        writer.bytes(30, self.secret.expose());
        let body = writer.finish();
        let sealed = ring.seal(Purpose::Flow, fresh.salt(COOKIE_PLACE), COOKIE_PLACE, &[FORMAT], &body, now);
        sealed.map(|sealed| SecretText::new(base64url(&sealed))).ok_or(Fault::Internal("no master key may seal"))
    }

    /// The login out of its cookie, whoever sent it: see [`Login::resume`].
    ///
    /// # Errors
    /// [`Fault::BrowserUnknown`] or [`Fault::FlowExpired`].
    pub fn open(ring: &KeyRing, cookie: &str, now: Timestamp) -> Result<Self, Fault> {
        let body = open(ring, COOKIE_PLACE, cookie, LOGIN_COOKIE_MAX).ok_or(Fault::BrowserUnknown)?;
        let login = Self::read(&body).map_err(|Broken| Fault::BrowserUnknown)?;
        if now >= login.flow.expires { Err(Fault::FlowExpired) } else { Ok(login) }
    }

    /// The login out of its cookie, if this is the state that it went to the provider with.
    ///
    /// # Errors
    /// [`Fault::BrowserUnknown`] or [`Fault::FlowExpired`].
    pub fn resume(ring: &KeyRing, cookie: &str, state: &str, now: Timestamp) -> Result<Self, Fault> {
        let login = Self::open(ring, cookie, now)?;
        if login.state().same(state) { Ok(login) } else { Err(Fault::BrowserUnknown) }
    }

    fn read(body: &[u8]) -> Result<Self, Broken> {
        let fields = Fields::parse(body)?;
        let max_age = fields.optional_number(23)?.map(u32::try_from).transpose().map_err(|_| Broken)?;
        Ok(Self { flow: Flow::read(&fields)?, max_age, secret: fields.secret(30)? })
    }
}

fn open(ring: &KeyRing, place: &str, text: &str, max: usize) -> Option<Zeroizing<Vec<u8>>> {
    if text.len() > max {
        return None;
    }
    let sealed = from_base64url(text).ok()?;
    if sealed.first() != Some(&FORMAT) {
        return None;
    }
    ring.open(Purpose::Flow, place, 1, &sealed).ok().map(|opened| opened.body)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::seal::tests::master;
    use std::time::Duration;

    pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    pub(crate) fn flow() -> Flow {
        Flow {
            id: [1; 16],
            client: ClientHash::of("client"),
            client_name: "Client".into(),
            confidential: false,
            redirect: "http://127.0.0.1:1234/cb".into(),
            state: Some("s&#=\"ä".into()),
            scopes: Scopes::of(["mcp"]),
            resource: ResourceHash::of("https://gate.example/mcp"),
            challenge: Challenge([7; 32]),
            document: Some(DocumentHash([8; 16])),
            expires: NOW.plus(FLOW_LIFE),
        }
    }

    fn ring() -> KeyRing {
        KeyRing::new(&[master(1)], "https://gate.example", NOW).unwrap()
    }

    fn fresh() -> Fresh {
        Fresh::new(&Secret::new([3; 32]), 0)
    }

    #[test]
    fn a_flow_survives_the_form_and_a_login_the_cookie() {
        let wishes = Wishes { login: true, select_account: false, login_hint: Some("a@b".into()), max_age: Some(60) };
        let (fresh, ring) = (fresh(), ring());
        let field = flow().seal(&wishes, &ring, &fresh, NOW).unwrap();
        let (again, asked) = Flow::open(&ring, &field, NOW).unwrap();
        assert_eq!(again, flow());
        assert!(asked == wishes);

        let login = Login::begin(again, Some(60), &fresh, NOW.plus(Duration::from_secs(300)));
        let cookie = login.seal(&ring, &fresh, NOW).unwrap();
        let back = Login::resume(&ring, cookie.expose(), login.state().expose(), NOW).unwrap();
        assert_eq!(back.flow.expires, NOW.plus(Duration::from_secs(300) + FLOW_LIFE));
        assert_eq!(back.max_age, Some(60));
        assert!(back.verifier().same(login.verifier().expose()) && back.nonce().same(login.nonce().expose()));
    }

    #[test]
    fn t202_state_nonce_and_verifier_are_three_secrets_of_256_bits() {
        let login = Login::begin(flow(), None, &fresh(), NOW);
        let all = [login.state(), login.nonce(), login.verifier()];
        assert!(all.iter().all(|text| text.expose().len() == 43));
        assert!(!all[0].same(all[1].expose()) && !all[1].same(all[2].expose()) && !all[0].same(all[2].expose()));
        assert_ne!(login.challenge(), login.verifier().expose());
    }

    #[test]
    fn t186_t187_another_state_and_another_place_do_not_resume_a_login() {
        let (fresh, ring) = (fresh(), ring());
        let login = Login::begin(flow(), None, &fresh, NOW);
        let cookie = login.seal(&ring, &fresh, NOW).unwrap();
        let resumed = |cookie: &str, state: &str, now| Login::resume(&ring, cookie, state, now).err();
        assert_eq!(resumed(cookie.expose(), "", NOW), Some(Fault::BrowserUnknown));
        assert_eq!(resumed(cookie.expose(), login.nonce().expose(), NOW), Some(Fault::BrowserUnknown));
        let late = NOW.plus(FLOW_LIFE);
        assert_eq!(resumed(cookie.expose(), login.state().expose(), late), Some(Fault::FlowExpired));
        let field = flow().seal(&Wishes::default(), &ring, &fresh, NOW).unwrap();
        assert_eq!(resumed(&field, login.state().expose(), NOW), Some(Fault::BrowserUnknown));
        assert_eq!(Flow::open(&ring, cookie.expose(), NOW).err(), Some(Fault::FlowForged));
        assert_eq!(Flow::open(&ring, &field, late).err(), Some(Fault::FlowExpired));
        for junk in ["", "x", "AQ", &"A".repeat(100_000)] {
            assert_eq!(Flow::open(&ring, junk, NOW).err(), Some(Fault::FlowForged));
            assert_eq!(resumed(junk, "", NOW), Some(Fault::BrowserUnknown));
        }
    }

    #[test]
    fn the_largest_login_fits_its_cookie() {
        let flow = Flow {
            client_name: "n".repeat(GRANT_CLIENT_NAME_MAX),
            redirect: "r".repeat(REDIRECT_MAX),
            state: Some("s".repeat(STATE_MAX)),
            scopes: Scopes::of([&*"c".repeat(SCOPE_GRANT_MAX)]),
            confidential: true,
            ..flow()
        };
        let (fresh, ring) = (fresh(), ring());
        let login = Login::begin(flow.clone(), Some(u32::MAX), &fresh, NOW);
        let cookie = login.seal(&ring, &fresh, NOW).unwrap();
        assert!(cookie.expose().len() <= LOGIN_COOKIE_MAX);
        assert!(Login::open(&ring, cookie.expose(), NOW).is_ok());
        let hint = Some("h".repeat(LOGIN_HINT_MAX));
        let wishes = Wishes { login_hint: hint, max_age: Some(u32::MAX), login: true, select_account: true };
        let field = flow.seal(&wishes, &ring, &fresh, NOW).unwrap();
        assert!(Flow::open(&ring, &field, NOW).is_ok());
    }

    #[test]
    fn a_grant_id_does_not_tell_the_flow_id() {
        assert_ne!(flow().login(), flow().id);
        assert_eq!(flow().login(), flow().login());
        assert_ne!(flow().login(), Flow { id: [2; 16], ..flow() }.login());
    }
}
