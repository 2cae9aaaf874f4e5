//! Judges everything that the identity provider says. Provider profiles are data.

pub mod callback;
pub mod discovery;
pub mod entry;
pub mod github;
pub mod id_token;
pub mod issuer;
pub mod logout_token;
pub mod profile;
pub mod relying_party;
pub mod request;
#[cfg(test)]
pub(crate) mod testing;
pub mod token_response;
