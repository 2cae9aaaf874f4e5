//! The master keys, from the configuration, from a file, or drawn anew.

use super::complaint;
use crate::config::{Complaints, MasterKeys};
use portcullis_adapters::system::SystemEntropy;
use portcullis_domain::seal::{KeyRing, MasterKey, RingRefused};
use portcullis_domain::secret::Secret;
use portcullis_domain::time::Timestamp;
use portcullis_ports::Entropy;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The ring of these keys, when the gate starts.
pub(super) fn key_ring(
    keys: MasterKeys,
    base_url: &str,
    entropy: &SystemEntropy,
    now: Timestamp,
) -> Result<KeyRing, Complaints> {
    let draw = || entropy.draw().map_err(|_| complaint("", "the system gives no random bytes", "start it elsewhere"));
    let single = |secret| vec![MasterKey { secret, seals_from: Timestamp::EPOCH, client_ids_only: false }];
    let (path, keys) = match keys {
        MasterKeys::Given(keys) => ("masterKeys", given(keys)),
        MasterKeys::ToCreate(path) => {
            let secret = draw()?;
            keep(&path, &secret).map_err(|error| {
                complaint(
                    "masterKeyFile",
                    &format!("cannot be written: {}", error.kind()),
                    "name a file in a folder that this program may write to",
                )
            })?;
            ("masterKeyFile", single(secret))
        }
        MasterKeys::DangerRandom => ("dangerRandomMasterKey", single(draw()?)),
    };
    KeyRing::new(&keys, base_url, now).map_err(|refused| no_ring(path, refused))
}

/// The ring that is to take the place of the one that there is; nothing if that one stays. While the gate runs, no key is drawn.
pub(super) fn next_ring(
    keys: MasterKeys,
    base_url: &str,
    now: Timestamp,
    present: &KeyRing,
) -> Result<Option<KeyRing>, Complaints> {
    match keys {
        MasterKeys::Given(keys) => {
            let ring = KeyRing::new(&given(keys), base_url, now).map_err(|refused| no_ring("masterKeys", refused))?;
            Ok((ring != *present).then_some(ring))
        }
        MasterKeys::ToCreate(_) => Err(complaint("masterKeyFile", "is not there any more", "put it back")),
        MasterKeys::DangerRandom => Ok(None),
    }
}

fn given(keys: Vec<crate::config::MasterKey>) -> Vec<MasterKey> {
    let key = |key: crate::config::MasterKey| MasterKey {
        secret: key.key,
        seals_from: key.seals_from.unwrap_or(Timestamp::EPOCH),
        client_ids_only: key.client_ids_only,
    };
    keys.into_iter().map(key).collect()
}

fn no_ring(path: &str, refused: RingRefused) -> Complaints {
    let at = |place: usize| format!("{path}[{place}]");
    let draw = "draw a new one with portcullis keygen";
    match refused {
        RingRefused::Empty => complaint(path, "is empty", draw),
        RingRefused::TooMany => complaint(path, "has too many keys", "remove those that are no longer needed"),
        RingRefused::NoneSeals => complaint(path, "has no key that seals now", "let one key seal from the beginning"),
        RingRefused::Repeated(place) => complaint(&at(place), "is there already", draw),
        RingRefused::LowEntropy(place) => complaint(&at(place), "is not a random key", draw),
    }
}

/// Writes a new master key where only this user can read it; never over a file that is there. What could not be written whole is taken
/// away again: the next start would take it for the key.
fn keep(path: &Path, key: &Secret<32>) -> std::io::Result<()> {
    use base64::Engine;
    let line = zeroize::Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(key.expose()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n")).and_then(|()| file.sync_all());
    written.inspect_err(|_| drop(std::fs::remove_file(path)))
}
