//! Certificates that the tests' servers and clients show each other. All are of one authority, P-256, good until 2126 and
//! made with `openssl req` and `openssl x509`; the authority's key was thrown away, and the others guard nothing.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where this file is: `authority.pem`, and `server`, `next` and `client` with `.pem` and `-key.pem`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/black_box/certificates").join(name)
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file(name)).unwrap().map(Result::unwrap).collect()
}

/// Whoever trusts the authority, and nobody else.
pub fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(certificates("authority.pem").remove(0)).unwrap();
    roots
}

/// A client that trusts the authority, and speaks this.
pub fn client(versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> Arc<ClientConfig> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.enable_early_data = true;
    Arc::new(config)
}

/// A server for `gate.example`, `localhost` and 127.0.0.1; with `asks`, only for clients with a certificate.
pub fn server(asks: bool) -> ServerConfig {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = if asks {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(file("server-key.pem")).unwrap();
    builder.with_single_cert(certificates("server.pem"), key).unwrap()
}
