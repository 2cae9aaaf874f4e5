//! A connection to an address that was vetted, and TLS with the host that was asked for.
//!
//! RFC 8446, RFC 9525 (the name in the certificate is the name in the URL, whatever the address).

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use portcullis_domain::limits::FETCH_DIALS_MAX;

use super::Refusal;
use super::target::Host;
use super::vet::Vetted;
use crate::apart::{is_short, tell_of_shortage};

/// Connects to the first vetted address that answers. An address that stays silent may use up a third of what is left
/// until `deadline` while others wait behind it.
pub(super) async fn connect(vetted: &Vetted, deadline: Instant) -> Result<TcpStream, Refusal> {
    let dialled = vetted.addresses().len().min(FETCH_DIALS_MAX);
    let mut left = u32::try_from(dialled).unwrap_or(u32::MAX);
    for address in vetted.addresses().iter().take(FETCH_DIALS_MAX) {
        let remaining = deadline.saturating_duration_since(Instant::now());
        let share = remaining.checked_div(left.clamp(1, 3)).unwrap_or(remaining);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small requests leave at once; where the option is not to be had, they are only slower.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) if is_short(&error) => tell_of_shortage(&error),
            Ok(Err(_)) | Err(_) => {}
        }
        left = left.saturating_sub(1);
    }
    Err(Refusal::Connect)
}

/// Makes the connection private and proves that the far end is `host`.
pub(super) async fn secure(
    stream: TcpStream,
    host: &Host,
    config: &Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, Refusal> {
    let name = match host {
        Host::Address(address) => ServerName::IpAddress((*address).into()),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Refusal::Url)?,
    };
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await.map_err(|error| {
        let certificate = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
        if certificate { Refusal::Certificate } else { Refusal::Tls }
    })
}
