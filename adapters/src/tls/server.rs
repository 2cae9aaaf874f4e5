//! TLS as the gateway speaks it to clients: one certificate, whatever name they ask for, which can be exchanged while it is in use.
//!
//! No early data: a request in it could be sent a second time by whoever has seen it (RFC 8470 section 2). A session can be taken up
//! again out of the memory of this process alone, and only under the certificate that it began with; there are no keys of tickets.

use super::{BadTls, OwnCertificate, certificates, pair, provider};
use crate::http::Handshake;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::ParsedCertificate;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What clients are shown. All clones show the same.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<RwLock<Arc<ServerConfig>>>);

impl Acceptor {
    /// Shows this certificate.
    ///
    /// # Errors
    /// [`BadTls`].
    pub fn new(own: OwnCertificate<'_>) -> Result<Self, BadTls> {
        Ok(Self(Arc::new(RwLock::new(Arc::new(config(own)?)))))
    }

    /// Shows this certificate from now on. Connections that are open keep the one that they began with.
    ///
    /// # Errors
    /// [`BadTls`]; then the one before stays.
    pub fn exchange(&self, own: OwnCertificate<'_>) -> Result<(), BadTls> {
        let config = Arc::new(config(own)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }
}

impl Handshake for Acceptor {
    type Stream = TlsStream<TcpStream>;

    // In the middle of a handshake no words are understood.
    const FULL: &'static [u8] = b"";

    async fn shake(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        // On the heap, so that a connection is not larger all its life for its first moment.
        Box::pin(TlsAcceptor::from(config).accept(socket)).await
    }
}

fn config(own: OwnCertificate<'_>) -> Result<ServerConfig, BadTls> {
    let (chain, key) = pair(own)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| BadTls::Versions)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|_| BadTls::Mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.max_early_data_size = 0;
    Ok(config)
}

/// Whether the first certificate of a chain is one for this host, as clients will see it.
#[must_use]
pub fn is_for(chain: &[u8], host: &str) -> bool {
    let Some(leaf) = certificates(chain).and_then(|all| all.into_iter().next()) else { return false };
    let Ok(name) = ServerName::try_from(host.trim_matches(['[', ']'])) else { return false };
    ParsedCertificate::try_from(&leaf).is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
}
