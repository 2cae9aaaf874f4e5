//! The bounds of asking the provider for a person's tokens, at a login and later.

use super::{FETCH_CALLS_MAX, PROVIDER_DEADLINE, TRANSACT_DEADLINE};
use std::time::Duration;

/// Calls of logins and renewals to the identity provider that are under way at a time.
pub const PROVIDER_CALLS_MAX: usize = 64;
/// Such calls in a row without an answer, after which it is left alone for a while.
pub const PROVIDER_FAILURES_MAX: u32 = 5;
/// How long; then one of them at a time finds out whether it answers again.
pub const PROVIDER_LEFT_ALONE: Duration = Duration::from_secs(5);

/// Entries on a page that GitHub's API is asked for.
pub const GITHUB_PAGE: usize = 50;
/// Pages of one list.
pub const GITHUB_PAGES_MAX: usize = 12;
/// After how long a person is asked for again at GitHub.
pub const GITHUB_AGAIN: Duration = Duration::from_secs(60 * 60);
/// The least of that.
pub const GITHUB_AGAIN_MIN: Duration = Duration::from_secs(10 * 60);
/// The most of that.
pub const GITHUB_AGAIN_MAX: Duration = Duration::from_secs(24 * 60 * 60);

const _: () = assert!(GITHUB_AGAIN_MIN.as_secs() > UPSTREAM_FRESH.as_secs());
const _: () = assert!(PROVIDER_CALLS_MAX < FETCH_CALLS_MAX, "document and keys are read while all of them wait");

/// The right to ask the provider for newer tokens of a person: longer than the longest call and what is written after it.
pub const UPSTREAM_LEASE: Duration = Duration::from_secs(25);
/// From a first refusal of a refresh token to the second one that counts.
pub const UPSTREAM_REFUSAL_PAUSE: Duration = Duration::from_secs(2);
/// How long after a refresh token was sent it is sent once more if no answer came: a provider that replaces refresh tokens may
/// hand out the same successor again for a few seconds, and never after that.
pub const UPSTREAM_AGAIN: Duration = Duration::from_secs(3);
/// How close together two logins of a person are so that nobody knows which of their refresh tokens the provider made last.
pub const UPSTREAM_CLOSE: Duration = Duration::from_secs(60);
/// How many refresh tokens of such logins are kept beside the latest one.
pub const UPSTREAM_SPARES_MAX: usize = 4;
/// How often the provider is asked to revoke a refresh token of somebody who was erased, at the most.
pub const REVOCATION_ATTEMPTS: u32 = 5;
/// Between the first two of these calls; twice as long each time.
pub const REVOCATION_PAUSE: Duration = Duration::from_secs(1);
/// Tokens of the provider that end within this are renewed before they are relied on; an ID token that lives for less than twice of
/// it from the middle of its life on.
pub const UPSTREAM_FRESH: Duration = Duration::from_secs(5 * 60);
/// How soon after tokens have come the provider is asked for another ID token at the earliest, whatever it says of their lives.
pub const UPSTREAM_REST: Duration = Duration::from_secs(1);
/// How long somebody waits for newer tokens of the provider.
pub const UPSTREAM_WAIT: Duration = Duration::from_secs(14);
/// How long somebody who has a good credential for what stands behind waits for a newer one.
pub const CREDENTIAL_PATIENCE: Duration = Duration::from_secs(1);
/// How often whoever waits for another replica's answer looks.
pub const UPSTREAM_POLL: Duration = Duration::from_millis(50);

const _: () = assert!(PROVIDER_DEADLINE.as_secs() + UPSTREAM_REFUSAL_PAUSE.as_secs() < UPSTREAM_WAIT.as_secs());
const _: () = assert!(UPSTREAM_AGAIN.as_secs() + PROVIDER_DEADLINE.as_secs() < UPSTREAM_WAIT.as_secs());
const _: () = assert!(UPSTREAM_WAIT.as_secs() < UPSTREAM_CLOSE.as_secs());
const _: () = assert!(UPSTREAM_WAIT.as_secs() + 2 * TRANSACT_DEADLINE.as_secs() < UPSTREAM_LEASE.as_secs());
