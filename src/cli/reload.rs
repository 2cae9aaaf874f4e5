//! The configuration while the gate runs: read again on SIGHUP and when it has changed, and taken over as far as it can be.

use crate::config::{Complaints, Config, Process, Surroundings, Unreadable};
use crate::{Running, TakenOver};
use portcullis_domain::hash;
use portcullis_domain::secret::SecretText;
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;
use std::path::{Path, PathBuf};

/// The configuration as it was last read.
pub(super) struct Reading {
    path: PathBuf,
    fingerprint: [u8; 32],
    members: Map<String, Value>,
    /// It is new, and is to be taken over as soon as the store can be asked.
    waits: bool,
}

/// What is taken over while the gate runs, of the keys at the top.
const TAKEN_OVER: [&str; 4] = ["clients", "masterKeyFile", "masterKeys", "trustedClients"];

impl Reading {
    /// The first reading.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(super) fn first(path: &Path) -> Result<(Self, Config), Complaints> {
        let around = Noting::default();
        let config = Config::load(path, &around)?;
        Ok((
            Self { path: path.to_owned(), fingerprint: around.fingerprint.get(), members: members(path), waits: false },
            config,
        ))
    }

    /// Reads again, and takes over what can be: if anything that was read has changed, or whenever it is `asked` for. What cannot be
    /// used changes nothing.
    pub(super) fn again(&mut self, running: &Running, asked: bool) {
        let around = Noting::default();
        let config = Config::load(&self.path, &around);
        let has_changed = std::mem::replace(&mut self.fingerprint, around.fingerprint.get()) != self.fingerprint;
        let is_new = has_changed || asked;
        if !is_new && !self.waits {
            return;
        }
        self.waits = false;
        let config = match config {
            Ok(config) => config,
            Err(complaints) => return unusable(&complaints),
        };
        match running.take_over(config) {
            Ok(TakenOver { clients, master_keys }) => {
                let members = members(&self.path);
                let restart = changed(&self.members, &members);
                self.members = members;
                tracing::info!(
                    clients,
                    master_keys,
                    "the configuration was read again, and its clients and master keys are taken over"
                );
                if !restart.is_empty() {
                    tracing::warn!(
                        keys = restart.join(", "),
                        "these keys have changed, and count after a restart only"
                    );
                }
            }
            Err(refused) => {
                self.waits = refused.is_passing();
                if is_new {
                    unusable(&refused);
                }
            }
        }
    }
}

fn unusable(complaints: &dyn fmt::Display) {
    // A line of the log for each: there may be many, and a line is one line.
    for complaint in complaints.to_string().lines() {
        tracing::error!(complaint, "the configuration cannot be used; everything stays as it was");
    }
}

/// The keys at the top that are not taken over and differ.
fn changed(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names
        .filter(|name| !TAKEN_OVER.contains(&name.as_str()) && before.get(*name) != after.get(*name))
        .cloned()
        .collect()
}

/// The keys at the top, each with a digest of its value, which may hold a secret.
fn members(path: &Path) -> Map<String, Value> {
    let text = Process.file(path).ok();
    let whole =
        text.and_then(|text| serde_json::from_str::<Map<String, Value>>(text.expose()).ok()).unwrap_or_default();
    let digest = |value: &Value| Value::from(hash::sha256(value.to_string().as_bytes()).to_vec());
    whole.iter().map(|(name, value)| (name.clone(), digest(value))).collect()
}

/// The surroundings of this process, with a digest of everything that was read from files.
#[derive(Default)]
struct Noting {
    fingerprint: Cell<[u8; 32]>,
}

impl Surroundings for Noting {
    fn variable(&self, name: &str) -> Option<SecretText> {
        Process.variable(name)
    }

    fn file(&self, path: &Path) -> Result<SecretText, Unreadable> {
        let read = Process.file(path);
        let text = read.as_ref().map_or(b"".as_slice(), |text| text.expose().as_bytes());
        let parts: [&[u8]; 3] = [&self.fingerprint.get(), path.as_os_str().as_encoded_bytes(), text];
        self.fingerprint.set(hash::sha256_of("configuration", &parts));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_that_take_a_restart_are_named_and_clients_and_master_keys_are_not_among_them() {
        let map = |json: Value| json.as_object().cloned().unwrap_or_default();
        let before = map(json!({ "baseUrl": "a", "listen": "b", "clients": [1], "masterKeys": [1] }));
        let after =
            map(json!({ "baseUrl": "a", "listen": "c", "clients": [2], "trustedClients": ["x"], "logLevel": "info" }));
        assert_eq!(changed(&before, &after), ["listen", "logLevel"]);
        assert_eq!(changed(&after, &before), ["listen", "logLevel"]);
        assert!(changed(&before, &before).is_empty());
    }
}
