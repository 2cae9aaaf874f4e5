//! Text in and out. Knows nothing of OAuth.

pub mod basic;
pub mod form;
pub mod header;
pub mod html;
pub mod json;
pub mod text;
pub mod uri;
