//! Whoever watches sessions: a program that the gate is part of, and the operator's receiver.

use super::complaint;
use crate::config::{CaFile, Complaints, Webhook as ConfiguredWebhook};
use portcullis_adapters::fetch::{Fetch, FetchConfig};
use portcullis_adapters::oidc::named_host;
use portcullis_adapters::watch::{Watch, Webhook};
use portcullis_domain::secret::Secret;
use std::sync::Arc;

/// All who watch.
pub(crate) struct Watching {
    /// The program that the gate is part of.
    pub(crate) within: Option<Arc<Watch>>,
    /// The operator's receiver.
    pub(crate) webhook: Option<Arc<Webhook>>,
}

impl Watching {
    /// The queues of all of them.
    pub(crate) fn all(&self) -> Vec<Arc<Watch>> {
        let webhook = self.webhook.as_ref().map(|webhook| webhook.watch());
        self.within.iter().chain(webhook).map(Arc::clone).collect()
    }
}

/// The receiver that is configured.
pub(super) fn webhook(
    configured: ConfiguredWebhook,
    ca_files: &[CaFile],
    chance: &Secret<32>,
) -> Result<Arc<Webhook>, Complaints> {
    let ConfiguredWebhook { url, secret, ca_file } = configured;
    let fetch = FetchConfig {
        extra_roots: ca_files.iter().chain(&ca_file).map(|file| file.pem.clone().into_bytes()).collect(),
        // The operator has named this host, so it may be a private one.
        named_hosts: named_host(url.as_str()).into_iter().collect(),
        ..FetchConfig::default()
    };
    let fetch = Fetch::new(fetch)
        .map_err(|bad| complaint("webhook.caFile", &bad.to_string(), "name a file that holds PEM certificates"))?;
    Ok(Webhook::new(url.as_str().to_owned(), &secret, fetch, chance))
}
