//! The authorization server's rules, one file per operation.

pub mod admit;
pub mod authorize;
pub mod callback;
pub mod client;
pub mod client_id;
pub mod consent;
pub mod cut;
pub mod exchange;
pub mod fault;
pub mod flow;
pub mod grant;
pub mod identity;
pub mod introspect;
pub mod known_clients;
pub mod metadata;
pub mod pkce;
pub mod policy;
pub mod redirect;
pub mod refresh;
pub mod register;
pub mod resource;
pub mod revoke;
pub mod scope;
pub mod token;
pub mod userinfo;
