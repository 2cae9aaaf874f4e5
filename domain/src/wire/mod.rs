//! Text in and out. Knows nothing of OAuth.
//!
//! Every reader here refuses what it does not know and never repairs: two readers that repair differently are how a
//! check and a use come to disagree.

pub mod basic;
pub mod form;
pub mod header;
pub mod html;
pub mod json;
mod json_writer;
pub mod text;
pub mod trace;
pub mod uri;

/// A name was there twice where it may be there once. Neither the first nor the last wins (OAuth 2.1 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeated;
