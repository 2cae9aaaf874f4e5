//! The port to what clients publish about themselves.

use portcullis_domain::jose::jwk::KeySet;
use portcullis_domain::oauth::client_document::{Document, DocumentUrl};
use portcullis_domain::oauth::client_keys::KeysUrl;
use portcullis_domain::oauth::fault::Fault;
use std::future::Future;
use std::sync::Arc;

/// The documents of clients, fetched where strangers say that they are.
pub trait Documents: Send + Sync + 'static {
    /// The document at this address, judged: from memory while it is fresh, else from its host. Callers that come together share one
    /// call.
    ///
    /// # Errors
    /// [`Fault::ClientDocument`], the same for whatever goes wrong there: which one it was would tell a stranger what the gateway can
    /// reach. [`Fault::RateLimited`] if its host is asked too often.
    fn document(&self, url: &DocumentUrl) -> impl Future<Output = Result<Arc<Document>, Fault>> + Send;

    /// The keys at this address: from memory while they are fresh, else from their host. While it is away, the last ones of a day.
    ///
    /// # Errors
    /// [`Fault::ClientKeys`] or [`Fault::RateLimited`], as for documents.
    fn keys(&self, url: &KeysUrl) -> impl Future<Output = Result<Arc<KeySet>, Fault>> + Send;

    /// The keys at this address after an assertion has named one that `known` does not hold: fetched anew if that has not been done
    /// just now, else `known`.
    ///
    /// # Errors
    /// As [`Documents::keys`].
    fn newer_keys(&self, url: &KeysUrl, known: &Arc<KeySet>)
    -> impl Future<Output = Result<Arc<KeySet>, Fault>> + Send;

    /// The last document that was had from there, however stale, if it is less than a day old: good enough for sessions that there
    /// are, while the host is away.
    fn last(&self, url: &DocumentUrl) -> Option<Arc<Document>>;
}
