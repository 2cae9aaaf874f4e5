//! Registrations that nobody stores: the `client_id` is the registration itself, signed (RFC 7591 appendix A.5.2).
//!
//! `dcr_` and the base64url form of `version (1) || key id (4) || fields || tag (16)`, where the tag is the first half of an
//! HMAC-SHA256 over all before it. It is signed, not sealed: everything in it was public when it was registered. A public client's
//! id has no salt, so that the same metadata gives the same id on one day; a confidential client's has 16 fresh bytes, so
//! that no two share an id or a secret. Secrets are derived from the id and are not stored either.

use crate::codec::{Fields, Writer};
use crate::jose::jwk::KeySet;
use crate::limits::CLIENT_ID_MAX;
use crate::oauth::client::AuthMethod;
use crate::oauth::client_keys::{ClientKeys, KeysUrl};
use crate::seal::{KeyId, KeyRing, MacPurpose};
use crate::secret::{self, SecretText};
use crate::time::Timestamp;
use crate::wire::text;
use std::sync::Arc;

/// How every id of this kind begins.
pub const PREFIX: &str = "dcr_";

/// What a client says of itself, after it was judged.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    /// `client_name`.
    pub(crate) name: Option<String>,
    /// `redirect_uris`.
    pub(crate) redirects: Vec<String>,
    /// `token_endpoint_auth_method`.
    pub(crate) method: AuthMethod,
    /// `jwks` or `jwks_uri`, where the method needs them.
    pub(crate) keys: Option<ClientKeys>,
    /// Whether `grant_types` has `refresh_token`.
    pub(crate) refreshes: bool,
}

/// A registration that this gateway has signed.
#[derive(Debug)]
pub(crate) struct Signed {
    /// What the client said.
    pub(crate) declared: Declared,
    /// Midnight (UTC) of the day of the registration.
    pub(crate) issued: Timestamp,
    /// Whether it is salted, and so can have secrets.
    pub(crate) salted: bool,
    key: KeyId,
}

/// What is derived from a salted id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Derived {
    /// `client_secret`.
    ClientSecret,
    /// `registration_access_token` (RFC 7592 section 3).
    RegistrationAccessToken,
}

const VERSION: u8 = 1;
const TAG_LEN: usize = 16;
const LABEL: &str = "client id";

/// The flag of a client that may refresh; the auth method stands in the bits below it.
const REFRESHES: u64 = 4;

const DAY: u8 = 1;
const FLAGS: u8 = 2;
const SALT: u8 = 3;
const NAME: u8 = 4;
const REDIRECT: u8 = 5;
const KEYS: u8 = 6;
const KEYS_URL: u8 = 7;

/// Signs a registration. Nothing if it is too long for a `client_id`, or if no key may sign.
pub(crate) fn sign(declared: &Declared, salt: Option<&[u8; 16]>, ring: &KeyRing, now: Timestamp) -> Option<String> {
    let mut writer = Writer::new();
    let method = match declared.method {
        AuthMethod::None => 0,
        AuthMethod::ClientSecretBasic => 1,
        AuthMethod::ClientSecretPost => 2,
        AuthMethod::PrivateKeyJwt => 3,
    };
    writer.number(DAY, day(now));
    writer.number(FLAGS, method | if declared.refreshes { REFRESHES } else { 0 });
    writer.optional(SALT, salt.map(<[u8; 16]>::as_slice));
    writer.optional(NAME, declared.name.as_deref().map(str::as_bytes));
    for redirect in &declared.redirects {
        writer.text(REDIRECT, redirect);
    }
    match &declared.keys {
        Some(ClientKeys::Set(set)) => _ = writer.text(KEYS, &set.to_json()),
        Some(ClientKeys::At(url)) => _ = writer.text(KEYS_URL, url.as_str()),
        None => {}
    }
    let body = writer.finish();
    let (key, mac) = ring.mac(MacPurpose::ClientId, LABEL, &[&[VERSION], &body], now)?;
    let bytes = [&[VERSION], key.0.as_slice(), &body, mac.get(..TAG_LEN)?].concat();
    let id = [PREFIX, &text::base64url(&bytes)].concat();
    (id.len() <= CLIENT_ID_MAX).then_some(id)
}

/// Opens an id that this gateway signed. Nothing if it did not, or no longer knows the key.
pub(crate) fn open(id: &str, ring: &KeyRing) -> Option<Signed> {
    if id.len() > CLIENT_ID_MAX {
        return None;
    }
    let bytes = text::from_base64url(id.strip_prefix(PREFIX)?).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_first_chunk::<{ KeyId::LEN }>()?;
    let (body, tag) = rest.split_last_chunk::<TAG_LEN>()?;
    let key = KeyId(*key);
    let mac = ring.mac_under(key, MacPurpose::ClientId, LABEL, &[&[*version], body])?;
    if *version != VERSION || !secret::same(mac.get(..TAG_LEN)?, tag) {
        return None;
    }
    let fields = Fields::parse(body).ok()?;
    let flags = fields.number(FLAGS).ok()?;
    let method = match flags & !REFRESHES {
        0 => AuthMethod::None,
        1 => AuthMethod::ClientSecretBasic,
        2 => AuthMethod::ClientSecretPost,
        3 => AuthMethod::PrivateKeyJwt,
        _ => return None,
    };
    let keys = match (fields.optional_text(KEYS).ok()?, fields.optional_text(KEYS_URL).ok()?) {
        (Some(set), None) => Some(ClientKeys::Set(Arc::new(KeySet::read(set.as_bytes()).ok()?))),
        (None, Some(url)) => Some(ClientKeys::At(KeysUrl::parse(url)?)),
        (None, None) => None,
        (Some(_), Some(_)) => return None,
    };
    if keys.is_some() != (method == AuthMethod::PrivateKeyJwt) {
        return None;
    }
    let declared = Declared {
        keys,
        name: fields.optional_text(NAME).ok()?.map(str::to_owned),
        redirects: fields.texts(REDIRECT).ok()?.into_iter().map(str::to_owned).collect(),
        method,
        refreshes: flags & REFRESHES != 0,
    };
    let salted = fields.optional_array::<16>(SALT).ok()?.is_some();
    Some(Signed { declared, issued: midnight(fields.number(DAY).ok()?), salted, key })
}

impl Signed {
    /// What belongs to this id alone. Nothing for an id without salt: anybody could register it again and learn it.
    pub(crate) fn derive(&self, id: &str, derived: Derived, ring: &KeyRing) -> Option<SecretText> {
        if !self.salted {
            return None;
        }
        let (label, prefix) = match derived {
            Derived::ClientSecret => ("client secret", "dcs_"),
            Derived::RegistrationAccessToken => ("registration access token", "dct_"),
        };
        let mac = ring.mac_under(self.key, MacPurpose::ClientId, label, &[id.as_bytes()])?;
        Some(SecretText::new([prefix, &text::base64url(&mac)].concat()))
    }
}

const DAY_SECS: u64 = 24 * 60 * 60;

const fn day(now: Timestamp) -> u64 {
    now.secs() / DAY_SECS
}

const fn midnight(day: u64) -> Timestamp {
    Timestamp::from_secs(day.saturating_mul(DAY_SECS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::MasterKey;
    use crate::seal::tests::master;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn ring(keys: &[MasterKey]) -> KeyRing {
        KeyRing::new(keys, "https://gate.example", NOW).unwrap()
    }

    fn declared(name: &str, redirects: &[&str], method: AuthMethod) -> Declared {
        let redirects = redirects.iter().map(|uri| (*uri).to_owned()).collect();
        Declared {
            name: Some(name.into()).filter(|name: &String| !name.is_empty()),
            redirects,
            method,
            keys: None,
            refreshes: true,
        }
    }

    fn claude_code() -> Declared {
        declared("Claude Code (gate)", &["http://localhost:54545/callback"], AuthMethod::None)
    }

    #[test]
    fn a_typical_client_s_id_stays_short() {
        let cursor = [
            "cursor://anysphere.cursor-mcp/oauth/callback",
            "https://www.cursor.com/agents/mcp/oauth/callback",
            "http://localhost:8787/callback",
        ];
        let code = [
            "https://insiders.vscode.dev/redirect",
            "https://vscode.dev/redirect",
            "http://127.0.0.1/",
            "http://127.0.0.1:33418/",
        ];
        for (client, longest) in [
            (claude_code(), 120),
            (declared("Cursor", &cursor[..1], AuthMethod::None), 130),
            (declared("Cursor", &[cursor[0], cursor[2]], AuthMethod::None), 170),
            (declared("Cursor", &cursor, AuthMethod::None), 240),
            (declared("Visual Studio Code", &code, AuthMethod::None), 220),
            (declared("MCP CLI Proxy", &["http://localhost:35535/oauth/callback"], AuthMethod::None), 120),
            (declared("Codex", &["http://127.0.0.1:54397/callback/zHu_pcZxCCTJ"], AuthMethod::None), 120),
            (declared("Claude", &["https://claude.ai/api/mcp/auth_callback"], AuthMethod::ClientSecretPost), 150),
        ] {
            let salt = client.method.has_secret().then_some([7; 16]);
            let id = sign(&client, salt.as_ref(), &ring(&[master(1)]), NOW).unwrap();
            assert!(id.len() <= longest && longest < 255, "{}: {}", id.len(), id);
            let opened = open(&id, &ring(&[master(1)])).unwrap();
            assert_eq!((format!("{:?}", opened.declared), opened.salted), (format!("{client:?}"), salt.is_some()));
            assert_eq!(opened.issued, Timestamp::from_secs(1_799_971_200));
        }
    }

    #[test]
    fn the_same_metadata_gives_the_same_id_on_one_day_and_a_salt_another() {
        let ring = ring(&[master(1)]);
        let id = |salt: Option<[u8; 16]>, secs: u64| {
            sign(&claude_code(), salt.as_ref(), &ring, Timestamp::from_secs(secs)).unwrap()
        };
        assert_eq!(id(None, 1_800_000_000), id(None, 1_800_050_000));
        assert_ne!(id(None, 1_800_000_000), id(None, 1_800_100_000));
        assert_ne!(id(Some([1; 16]), 1_800_000_000), id(Some([2; 16]), 1_800_000_000));
    }

    #[test]
    fn t209_no_bit_of_an_id_can_change() {
        let ring = ring(&[master(1)]);
        let id = sign(&claude_code(), None, &ring, NOW).unwrap();
        let bytes = text::from_base64url(&id[PREFIX.len()..]).unwrap();
        let spelled = |bytes: &[u8]| [PREFIX, &text::base64url(bytes)].concat();
        assert!(open(&spelled(&bytes), &ring).is_some());
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut forged = bytes.clone();
                forged[place] ^= 1 << bit;
                assert!(open(&spelled(&forged), &ring).is_none(), "{place}.{bit}");
            }
            assert!(open(&spelled(&bytes[..place]), &ring).is_none());
        }
        for other in [
            &id[PREFIX.len()..],
            &id.to_uppercase(),
            &format!("{id}="),
            &format!("{id}A"),
            &format!(" {id}"),
            "dcr_",
            "",
        ] {
            assert!(open(other, &ring).is_none(), "{other:?}");
        }
    }

    #[test]
    fn as_18_i_19_an_id_outlives_the_rotation_of_its_key_and_not_its_gateway() {
        let old = sign(&claude_code(), None, &ring(&[master(1)]), NOW).unwrap();
        assert!(open(&old, &ring(&[master(100), master(1)])).is_some());
        let retired = MasterKey { client_ids_only: true, ..master(1) };
        assert!(open(&old, &ring(&[master(100), retired])).is_some());
        assert!(open(&old, &ring(&[master(100)])).is_none());
        let elsewhere = KeyRing::new(&[master(1)], "https://other.example", NOW).unwrap();
        assert!(open(&old, &elsewhere).is_none());
    }

    #[test]
    fn what_is_derived_belongs_to_one_id_and_one_use() {
        let ring = ring(&[master(1)]);
        let client = declared("x", &["https://app.example/cb"], AuthMethod::ClientSecretBasic);
        let derive = |salt: Option<[u8; 16]>, derived| {
            let id = sign(&client, salt.as_ref(), &ring, NOW).unwrap();
            open(&id, &ring).unwrap().derive(&id, derived, &ring).map(|it| it.expose().to_owned())
        };
        let secret = derive(Some([1; 16]), Derived::ClientSecret).unwrap();
        assert_eq!(secret.len(), 47);
        assert_eq!(derive(Some([1; 16]), Derived::ClientSecret).unwrap(), secret);
        assert_ne!(derive(Some([2; 16]), Derived::ClientSecret).unwrap(), secret);
        assert_ne!(derive(Some([1; 16]), Derived::RegistrationAccessToken).unwrap()[4..], secret[4..]);
        assert_eq!(derive(None, Derived::ClientSecret), None);
    }

    #[test]
    fn what_is_too_long_is_not_signed() {
        let long = format!("https://app.example/{}", "a".repeat(380));
        let few = declared("", &[long.as_str(); 3], AuthMethod::None);
        let many = declared("", &[long.as_str(); 5], AuthMethod::None);
        assert!(sign(&few, None, &ring(&[master(1)]), NOW).is_some());
        assert_eq!(sign(&many, None, &ring(&[master(1)]), NOW), None);
    }

    proptest! {
        #[test]
        fn f05_what_was_declared_comes_back(name: String, redirects in proptest::collection::vec("[a-z:/]{0,20}", 0..4), refreshes: bool) {
            let ring = ring(&[master(1)]);
            let client = Declared { name: Some(name), redirects, method: AuthMethod::ClientSecretPost, keys: None, refreshes };
            let id = sign(&client, Some(&[9; 16]), &ring, NOW);
            if let Some(id) = id {
                prop_assert_eq!(format!("{:?}", open(&id, &ring).unwrap().declared), format!("{client:?}"));
            }
        }
    }
}
