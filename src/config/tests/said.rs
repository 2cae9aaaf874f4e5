//! What is read off a configuration, in words that tests compare.

use super::*;

pub(super) fn file(path: Option<&PathBuf>) -> String {
    path.map_or("none".into(), |path| path.display().to_string())
}

pub(super) fn assertion(config: &Config) -> &Assertion {
    config.resources[0].assertion.as_ref().unwrap()
}

pub(super) fn exchange(config: &Config) -> &Exchange {
    config.resources[0].exchange.as_ref().unwrap()
}

pub(super) fn oidc(config: &Config) -> &Oidc {
    let Provider::Oidc(_, oidc) = &config.provider else { panic!("another provider") };
    oidc
}

pub(super) fn dex(config: &Config) -> Dex {
    match &config.provider {
        Provider::Dex(dex) => dex.clone(),
        _ => dex(&read(&change(least(), &at("dex", "clientId", json!("gate")))).unwrap()),
    }
}

pub(super) fn google(config: &Config) -> Google {
    match &config.provider {
        Provider::Google(google) => google.clone(),
        _ => google(&read(&change(least(), &at("google", "clientId", json!("gate")))).unwrap()),
    }
}

pub(super) fn github(config: &Config) -> GitHub {
    match &config.provider {
        Provider::GitHub(github) => github.clone(),
        _ => github(&read(&change(least(), &at("github", "clientId", json!("gate")))).unwrap()),
    }
}

pub(super) fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

pub(super) fn master_keys(config: &Config) -> String {
    match &config.master_keys {
        MasterKeys::Given(keys) => {
            let keys = keys.iter().map(|key| {
                format!(
                    "{:02x} {:?} {}",
                    key.key.expose()[0],
                    key.seals_from.map(|from| from.secs()),
                    key.client_ids_only
                )
            });
            keys.collect::<Vec<_>>().join(", ")
        }
        MasterKeys::ToCreate(path) => format!("create {}", path.display()),
        MasterKeys::DangerRandom => "random".to_owned(),
    }
}

/// What is said of the servers, or nothing where there are none.
pub(super) fn valkey(config: &Config, say: fn(&Valkey) -> String) -> String {
    config.storage.valkey.as_ref().map(say).unwrap_or_default()
}

pub(super) fn sentinel(valkey: &Valkey, say: fn(&Sentinel) -> String) -> String {
    if let Servers::Sentinel(sentinel) = &valkey.servers { say(sentinel) } else { String::new() }
}

pub(super) fn password(password: &Option<SecretText>) -> String {
    password.as_ref().map_or("", SecretText::expose).to_owned()
}

pub(super) fn first_secret(config: &Config) -> &str {
    config.clients[0].client_secret.as_ref().map_or("none", SecretText::expose)
}
