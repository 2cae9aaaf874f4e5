//! The master keys: given one by one, by a file, or by chance.

use super::complaint::{Wrong, wrong};
use super::keys::{FilePath, Keys, Part, Text, Value, keys, read_short_or_object, short_or_object_schema};
use super::place::Place;
use super::secrets::FromSecret;
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use portcullis_domain::limits::{MASTER_KEY_DISTINCT_MIN, MASTER_KEYS_MAX};
use portcullis_domain::secret::{Secret, SecretText};
use portcullis_domain::time::Timestamp;
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Where the keys that seal everything come from.
#[derive(Clone, Debug)]
pub enum MasterKeys {
    /// These. Of those that may seal now, the first one seals; all of them open. At least one seals from the beginning.
    Given(Vec<MasterKey>),
    /// From this file, which does not exist yet: make a key and write it there, readable by its owner only.
    ToCreate(PathBuf),
    /// A new one at every start, which ends all sessions with the process.
    DangerRandom,
}

keys! {
    /// One master key.
    pub struct MasterKey judged as MasterKeyDraft by conditions {
        key: Secret<32> = secret(&["key", "keyFile"], 1) "The key, in base64 or hex.",
        seals_from: Option<Timestamp> = optional("sealsFrom") "From when on it seals, in UTC; until then it only opens.",
        client_ids_only: bool = or("clientIdsOnly", false) "Whether it is retired and vouches for old client identifiers only.",
    }
}

fn conditions(draft: &MasterKeyDraft, at: &Place<'_>) {
    if let (Some(Some(_)), Some(true)) = (draft.seals_from, draft.client_ids_only) {
        at.key("sealsFrom").complain("is given for a key that never seals", "remove sealsFrom or clientIdsOnly");
    }
}

impl Part for MasterKeys {
    fn walk(keys: &mut Keys<'_>) -> Option<Self> {
        keys.choice(&["masterKeys", "masterKeyFile", "dangerRandomMasterKey"], true);
        let given = keys.optional::<Vec<MasterKey>>(
            "masterKeys",
            "The keys that seal everything: 32 bytes each in base64 or hex, as `portcullis keygen` prints. The first seals, all open.",
        );
        let file = keys.optional::<FilePath>(
            "masterKeyFile",
            "A file with one master key a line, instead of `masterKeys`. With memory storage it is made at the first start.",
        );
        let random = keys.optional::<bool>(
            "dangerRandomMasterKey",
            "Make a new master key at every start: every session and every registration ends with the process.",
        );
        match (given?, file?, random?) {
            (Some(given), None, None) => together(given, &keys.place()?.key("masterKeys")).map(Self::Given),
            (None, Some(FilePath(path)), None) => {
                let at = keys.place()?.key("masterKeyFile");
                match at.file_if_present(&path)? {
                    Some(text) => together(lines(&text, &at)?, &at).map(Self::Given),
                    None => Some(Self::ToCreate(path)),
                }
            }
            (None, None, Some(true)) => Some(Self::DangerRandom),
            (None, None, Some(false)) => {
                keys.place()?
                    .key("dangerRandomMasterKey")
                    .complain("is false, and no master key is given", "give masterKeys");
                None
            }
            _ => None,
        }
    }
}

/// What holds for the keys together.
fn together(keys: Vec<MasterKey>, at: &Place<'_>) -> Option<Vec<MasterKey>> {
    let twice = keys
        .iter()
        .enumerate()
        .any(|(index, key)| keys.iter().take(index).any(|earlier| earlier.key.same(key.key.expose())));
    let rules = [
        (keys.is_empty(), wrong("holds no key", "put a key there, as `portcullis keygen` prints")),
        (keys.len() > MASTER_KEYS_MAX, wrong("holds too many keys", "keep at most 8")),
        (twice, wrong("holds the same key twice", "remove one of them")),
        (
            !keys.is_empty() && !keys.iter().any(|key| key.seals_from.is_none() && !key.client_ids_only),
            wrong("holds no key that may seal at once", "keep the present key beside the new one, without sealsFrom"),
        ),
    ];
    let mut broken = rules.into_iter().filter(|(broken, _)| *broken).map(|(_, wrong)| wrong).peekable();
    let sound = broken.peek().is_none();
    broken.for_each(|wrong| at.complain(wrong.wrong, wrong.instead));
    sound.then_some(keys)
}

/// The keys of a file, one a line.
fn lines(text: &SecretText, at: &Place<'_>) -> Option<Vec<MasterKey>> {
    let lines = text.expose().lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<_> = lines.map(|line| at.take(master_key(line))).collect();
    keys.into_iter().map(|key| Some(MasterKey { key: key?, seals_from: None, client_ids_only: false })).collect()
}

impl Value for MasterKey {
    fn schema() -> Json {
        short_or_object_schema::<Self, BareKey>()
    }

    fn read(json: &Json, at: &Place<'_>) -> Option<Self> {
        read_short_or_object(json, at, |BareKey(key)| Self { key, seals_from: None, client_ids_only: false })
    }
}

/// A master key without conditions.
struct BareKey(Secret<32>);

impl Text for BareKey {
    fn shape() -> Json {
        json!({ "writeOnly": true })
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        master_key(text).map(Self)
    }
}

impl FromSecret for Secret<32> {
    fn from_secret(text: SecretText) -> Result<Self, Wrong> {
        master_key(text.expose())
    }
}

/// 32 bytes in hex or in either base64 alphabet, with or without padding, that look as if chance had made them.
fn master_key(text: &str) -> Result<Secret<32>, Wrong> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let mut bytes = Zeroizing::new([0; 32]);
    let filled = if text.len() == 64 {
        hex(text, &mut bytes)
    } else {
        // The decoder wants room for whole groups of three.
        let mut room = Zeroizing::new([0; 48]);
        let read = GeneralPurpose::new(alphabet, LENIENT).decode_slice(text, room.as_mut_slice());
        match (read, room.first_chunk::<32>()) {
            (Ok(32), Some(first)) => {
                bytes.copy_from_slice(first);
                true
            }
            _ => false,
        }
    };
    if !filled {
        return Err(wrong("holds what is not 32 bytes in base64 or hex", "use what `portcullis keygen` prints"));
    }
    let mut sorted = bytes.clone();
    sorted.sort_unstable();
    if sorted.chunk_by(|left, right| left == right).count() < MASTER_KEY_DISTINCT_MIN {
        return Err(wrong("holds a key that chance did not make", "use what `portcullis keygen` prints"));
    }
    Ok(Secret::new(*bytes))
}

/// Fills `bytes` from twice as many digits.
fn hex(text: &str, bytes: &mut [u8; 32]) -> bool {
    let mut digits = text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    bytes.iter_mut().all(|byte| match (digits.next().flatten(), digits.next().flatten()) {
        (Some(high), Some(low)) => {
            *byte = (high << 4) | low;
            true
        }
        _ => false,
    })
}
