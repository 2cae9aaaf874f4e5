//! The rules of Portcullis: pure, without I/O, clock, randomness, async or environment of their own.
//!
//! Read in this order: [`limits`] → [`operation`] → (`portcullis-ports`: transact, store) → [`oauth::grant`] →
//! [`oauth::exchange`] → [`oauth::refresh`] → [`oauth::fault`] → [`seal`] → [`secret`].
#![forbid(unsafe_code)]

pub mod bucket;
pub mod codec;
pub mod fresh;
pub mod hash;
pub mod jose;
pub mod journal;
pub mod key;
pub mod lifecycle;
pub mod limits;
pub mod mcp_session;
pub mod oauth;
pub mod oidc;
pub mod operation;
pub mod record;
pub mod seal;
pub mod secret;
pub mod time;
pub mod wire;
