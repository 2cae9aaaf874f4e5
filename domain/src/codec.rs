//! The one binary form of everything that is stored, sealed or signed: tagged, length-prefixed fields.
