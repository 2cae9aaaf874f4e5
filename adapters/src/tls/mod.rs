//! TLS as the gateway speaks it, to servers and in `server` to clients: 1.2 and 1.3, HTTP/1.1 only, ring underneath.

mod renewal;
mod server;

pub use renewal::{Renewal, warn_unless_for};
pub use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
pub use server::{Acceptor, is_for};
use std::sync::Arc;

/// A file that TLS cannot use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTls {
    /// A file of authorities is not PEM, or holds no certificate.
    RootsUnreadable,
    /// A certificate in a file cannot be an authority.
    RootRefused,
    /// A certificate file is not PEM, or holds no certificate.
    CertificateUnreadable,
    /// A key file is not PEM, or holds no private key.
    KeyUnreadable,
    /// Certificate and key do not belong together, or are of a kind that is not spoken.
    Mismatch,
    /// The library refuses the protocol versions.
    Versions,
}

impl BadTls {
    /// In words that follow "the files".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::RootsUnreadable => "hold an authority that is not PEM",
            Self::RootRefused => "hold a certificate that cannot be an authority",
            Self::CertificateUnreadable => "hold no certificate in PEM, or one that is cut off",
            Self::KeyUnreadable => "hold no private key in PEM without a passphrase, or one that is cut off",
            Self::Mismatch => "hold a key that is not the certificate's, or one of a kind that is not spoken",
            Self::Versions => "cannot be used by this build",
        }
    }
}

/// A client's own certificate: PEM of the chain, PEM of the key.
#[derive(Clone, Copy)]
pub struct OwnCertificate<'a> {
    /// The chain, its own certificate first.
    pub chain: &'a [u8],
    /// The private key.
    pub key: &'a [u8],
}

/// How servers are spoken to: those with a certificate of the web's authorities, or of these.
///
/// Every handshake is a full one: what a session ticket would save is not worth state that ties two calls together.
///
/// # Errors
/// [`BadTls`].
pub fn client<'a>(
    extra_roots: impl IntoIterator<Item = &'a [u8]>,
    own: Option<OwnCertificate<'_>>,
) -> Result<ClientConfig, BadTls> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for file in extra_roots {
        for certificate in certificates(file).ok_or(BadTls::RootsUnreadable)? {
            roots.add(certificate).map_err(|_| BadTls::RootRefused)?;
        }
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| BadTls::Versions)?
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let (chain, key) = pair(own)?;
            builder.with_client_auth_cert(chain, key).map_err(|_| BadTls::Mismatch)?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

fn pair(own: OwnCertificate<'_>) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), BadTls> {
    let chain = certificates(own.chain).ok_or(BadTls::CertificateUnreadable)?;
    let key = PrivateKeyDer::from_pem_slice(own.key).map_err(|_| BadTls::KeyUnreadable)?;
    Ok((chain, key))
}

/// All certificates of a PEM file; nothing if it holds none, or something that cannot be read.
fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?;
    (!all.is_empty()).then_some(all)
}
