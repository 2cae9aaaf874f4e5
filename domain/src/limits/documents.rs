//! What clients publish about themselves, and how often it is asked for.

use std::time::Duration;

/// How long a client's assertion may live, and how long ago it may have been made.
pub const CLIENT_ASSERTION_LIFE: Duration = Duration::from_secs(5 * 60);
/// `jti` of a client's assertion.
pub const CLIENT_ASSERTION_ID_MAX: usize = 256;
/// `jwks` of a registration, which becomes a part of the `client_id`: one RSA key, or some elliptic ones.
pub const CLIENT_KEYS_MAX: usize = 1_024;
/// `jwks_uri` of a client.
pub const KEYS_URL_MAX: usize = 400;

/// One call for a client's document, resolving and waiting included.
pub const DOCUMENT_DEADLINE: Duration = Duration::from_secs(3);
/// How long a document is taken as it is, whatever its host says.
pub const DOCUMENT_FRESH_MIN: Duration = Duration::from_secs(30);
/// The same where its host says nothing.
pub const DOCUMENT_FRESH: Duration = Duration::from_secs(5 * 60);
/// The same at the most; and how long one that cannot be fetched again still vouches for sessions that there are.
pub const DOCUMENT_FRESH_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long nobody is asked again after a document could not be had.
pub const DOCUMENT_FAILURE_KEPT: Duration = Duration::from_secs(30);
/// Documents that are kept.
pub const DOCUMENTS_MAX: usize = 1_024;
/// Of these, from one host.
pub const DOCUMENTS_PER_HOST: usize = 16;
/// Failures that are remembered.
pub const DOCUMENT_FAILURES_MAX: usize = 4_096;
/// Calls for documents in a second to one host, for what was never had from there, out of the box.
pub const DOCUMENT_CALLS_PER_SECOND: u32 = 1;
/// The same at once.
pub const DOCUMENT_CALLS_BURST: u32 = 3;
/// Hosts that are counted apart from each other.
pub const DOCUMENT_HOSTS_MAX: usize = 4_096;
/// Documents that are not known, asked for by one address in a minute.
pub const DOCUMENTS_PER_MINUTE: u32 = 10;
/// The same at once.
pub const DOCUMENTS_BURST: u32 = 20;

const _: () = assert!(DOCUMENT_FRESH_MIN.as_secs() <= DOCUMENT_FRESH.as_secs());
const _: () = assert!(DOCUMENT_FRESH.as_secs() <= DOCUMENT_FRESH_MAX.as_secs());
