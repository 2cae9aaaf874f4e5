//! What the operator may ask for, and what is told to whoever watches sessions.

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
