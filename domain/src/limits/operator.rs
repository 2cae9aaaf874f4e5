//! What the operator may ask for, how the provider says that somebody has logged out, and what is told to whoever watches sessions.

use super::IDENTITY_GRANTS_MAX;
use std::time::Duration;

/// The token of the operator, at the least.
pub const ADMIN_TOKEN_MIN: usize = 32;
/// Requests to the interface of sessions in a second.
pub const ADMIN_REQUESTS_PER_SECOND: u32 = 20;
/// The same at once.
pub const ADMIN_REQUESTS_BURST: u32 = 100;
/// Sessions in one answer, out of the box.
pub const SESSIONS_PAGE: usize = 16;
/// Sessions in one answer at the most: all that a person can have.
pub const SESSIONS_PAGE_MAX: usize = IDENTITY_GRANTS_MAX;
/// The provider's tokens that came so recently are not asked for again when the operator wants newer ones.
pub const OPERATOR_REFRESH_PAUSE: Duration = Duration::from_secs(2);
/// How long ago a logout token may have been made: it comes straight from the provider.
pub const LOGOUT_TOKEN_AGE_MAX: Duration = Duration::from_secs(5 * 60);
/// `jti` of a logout token.
pub const LOGOUT_TOKEN_ID_MAX: usize = 256;
/// Logout tokens from one address in a second.
pub const LOGOUTS_PER_SECOND: u32 = 50;
/// The same at once: a provider that ends the sessions of many people does so in one go.
pub const LOGOUTS_BURST: u32 = 1_000;
/// What waits for one that watches sessions; one more takes the place of the oldest.
pub const WATCHED_WAITING_MAX: usize = 8_192;
/// What is told of it in one go.
pub const WATCHED_BATCH: usize = 64;
/// The secret of the webhook, at the least.
pub const WEBHOOK_SECRET_MIN: usize = 32;
/// One call to the webhook's receiver, resolving and waiting included.
pub const WEBHOOK_DEADLINE: Duration = Duration::from_secs(10);
/// What the receiver may answer; nothing of it is read.
pub const WEBHOOK_ANSWER_MAX: usize = 16 * 1024;
/// Calls with the same events until they are given up.
pub const WEBHOOK_ATTEMPTS: u32 = 10;
/// Between the first two of them; twice as long each time.
pub const WEBHOOK_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause between two of them.
pub const WEBHOOK_PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long a gate that ends still tells what waits.
pub const WEBHOOK_LAST: Duration = Duration::from_secs(3);
