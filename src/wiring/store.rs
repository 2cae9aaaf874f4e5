//! Where sessions are kept: in memory, or on servers that replicas share.

use super::complaint;
use crate::config::{CaFile, Complaints, Sentinel, ServerAddress, Servers, Storage, Valkey as ConfiguredValkey};
use portcullis_adapters::exposition::Exposition;
use portcullis_adapters::memory::Memory;
use portcullis_adapters::tls::{self, OwnCertificate};
use portcullis_adapters::valkey::{Access, Endpoint, Mode, Refusal, Sentinels, Settings, Tls, Valkey};
use portcullis_domain::operation::{Epoch, Facts, Keys, Write};
use portcullis_domain::record::Sealer;
use portcullis_domain::seal::CurrentRing;
use portcullis_ports::{Clock, Outcome, Seen, Store, Unavailable};
use std::sync::Arc;
use std::time::Duration;

/// One of the stores. What is in memory is read without a detour: which one it is, is all that is asked before.
#[expect(clippy::large_enum_variant, reason = "there is one of it, and memory is reached without one more pointer")]
pub(crate) enum Sessions {
    Memory(Memory),
    Valkey(Valkey),
}

impl Store for Sessions {
    async fn load(&self, keys: Keys) -> Result<Facts, Unavailable> {
        match self {
            Self::Memory(memory) => memory.load(keys).await,
            Self::Valkey(valkey) => valkey.load(keys).await,
        }
    }

    async fn recall(&self, keys: Keys) -> Result<Facts, Unavailable> {
        match self {
            Self::Memory(memory) => memory.recall(keys).await,
            Self::Valkey(valkey) => valkey.recall(keys).await,
        }
    }

    fn at_hand(&self, keys: &Keys) -> Option<Facts> {
        match self {
            Self::Memory(memory) => memory.at_hand(keys),
            Self::Valkey(valkey) => valkey.at_hand(keys),
        }
    }

    async fn commit(&self, seen: Seen, writes: Vec<Write>) -> Outcome {
        match self {
            Self::Memory(memory) => memory.commit(seen, writes).await,
            Self::Valkey(valkey) => valkey.commit(seen, writes).await,
        }
    }
}

impl Sessions {
    /// As configured. `epoch` is for memory, which has one for each process.
    pub(super) fn new(
        storage: Storage,
        ca_files: &[CaFile],
        ring: &Arc<CurrentRing>,
        epoch: Epoch,
    ) -> Result<Self, Complaints> {
        let Storage { kind: _judged_with_it, valkey, stale_for, stream_stale_for: _for_the_gate } = storage;
        let Some(configured) = valkey else { return Ok(Self::Memory(Memory::new(epoch))) };
        let settings = settings(configured, ca_files, stale_for)?;
        Ok(Self::Valkey(Valkey::new(settings, Sealer::new(Arc::clone(ring)))))
    }

    /// Puts the next ring in the place of the one that there is, once the store has taken it for one that belongs to its records.
    pub(super) async fn exchange_ring(&self, present: &CurrentRing, next: &Arc<CurrentRing>) -> Result<(), Refusal> {
        match self {
            // What is in memory is not sealed.
            Self::Memory(_) => present.replace(next.now()),
            Self::Valkey(valkey) => {
                valkey.try_ring(&Sealer::new(Arc::clone(next))).await?;
                present.replace(next.now());
                valkey.forget();
            }
        }
        Ok(())
    }

    /// Writes what this process holds of it.
    pub(super) fn write_metrics(&self, page: &mut Exposition) {
        match self {
            Self::Memory(memory) => memory.write_metrics(page),
            Self::Valkey(valkey) => valkey.write_metrics(page),
        }
    }

    /// Does what has to be done for it all the time: memory forgets what has ended, servers are kept in touch with.
    pub(super) async fn keep(&self, clock: &impl Clock) {
        match self {
            Self::Valkey(valkey) => valkey.clone().run().await,
            Self::Memory(memory) => loop {
                tokio::time::sleep(Duration::from_secs(60)).await;
                memory.sweep(clock.now());
            },
        }
    }

    /// Waits until it can be used, while [`Sessions::keep`] runs.
    pub(crate) async fn ready(&self) -> Result<(), Refusal> {
        match self {
            Self::Memory(_) => Ok(()),
            Self::Valkey(valkey) => valkey.ready().await,
        }
    }

    /// What `check` says of it; nothing of memory.
    pub(crate) async fn examine(&self) -> Option<Result<String, Refusal>> {
        match self {
            Self::Memory(_) => None,
            Self::Valkey(valkey) => Some(valkey.examine().await),
        }
    }
}

fn settings(configured: ConfiguredValkey, ca_files: &[CaFile], stale_for: Duration) -> Result<Settings, Complaints> {
    let ConfiguredValkey {
        servers,
        username,
        password,
        tls_enabled,
        tls_server_name,
        tls_ca_file,
        tls_cert_file,
        tls_key_file,
        db,
        key_prefix,
        wait_replicas,
    } = configured;
    let tls = if tls_enabled {
        let own = tls_cert_file.as_ref().zip(tls_key_file.as_ref());
        let own =
            own.map(|(chain, key)| OwnCertificate { chain: chain.0.pem.as_bytes(), key: key.pem.expose().as_bytes() });
        let roots = ca_files.iter().chain(&tls_ca_file).map(|file| file.pem.as_bytes());
        let mut config = tls::client(roots, own).map_err(|bad| {
            let files = "look at caFiles, tlsCaFile, tlsCertFile and tlsKeyFile";
            complaint("storage.valkey", &format!("names files that {}", bad.words()), files)
        })?;
        // It is no HTTP.
        config.alpn_protocols.clear();
        Some(Tls { config: Arc::new(config), server_name: tls_server_name.map(|name| name.as_str().to_owned()) })
    } else {
        None
    };
    let mode = match servers {
        Servers::Standalone(address) => Mode::Standalone(endpoint(address)),
        Servers::Cluster(nodes) => Mode::Cluster(nodes.into_iter().map(endpoint).collect()),
        Servers::Sentinel(Sentinel { master_name, addresses, username, password }) => {
            let username = username.map(|name| name.as_str().to_owned());
            let access = Arc::new(Access { tls: tls.clone(), username, password, database: 0 });
            let endpoints = addresses.into_iter().map(endpoint).collect();
            Mode::Sentinel(Arc::new(Sentinels { endpoints, name: master_name.as_str().to_owned(), access }))
        }
    };
    let username = username.map(|name| name.as_str().to_owned());
    Ok(Settings {
        mode,
        access: Access { tls, username, password, database: db },
        prefix: key_prefix.as_str().to_owned(),
        wait: wait_replicas,
        stale_for,
    })
}

fn endpoint(ServerAddress { host, port }: ServerAddress) -> Endpoint {
    Endpoint { host, port }
}
