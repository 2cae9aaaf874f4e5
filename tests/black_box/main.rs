//! The whole gate over real sockets: a scripted identity provider and a recording MCP server around it, and clients that
//! send exactly the bytes they are told to.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic,
    unreachable_pub,
    reason = "tests may panic, and their rooms are nobody's library"
)]

mod admin;
mod admin_socket;
mod allowance;
mod assertions;
mod authorize;
mod broker;
mod causes;
mod clients;
mod clock;
mod codes;
mod consent;
mod cookies;
mod cors;
mod discovery;
mod documents;
mod embedding;
mod erasure;
mod floods;
mod forward_auth;
mod front;
mod github;
mod harness;
mod harness_works;
mod hooks;
mod id_tokens;
mod identity_forms;
mod introspect;
mod kinds;
mod listener;
mod listener_tls;
mod logout;
mod markup;
mod observability;
mod operator;
mod outages;
mod passing;
mod people;
mod process;
mod provider;
mod races;
mod redirects;
mod refresh;
mod registration;
mod resource;
mod revoke;
mod rotation;
mod secrets;
mod shared_store;
mod shortage;
mod strangers;
mod streams;
mod tenants;
mod token_endpoint;
mod two;
mod upstream_tokens;
mod upstreams;
#[path = "../valkey/mod.rs"]
mod valkey;
