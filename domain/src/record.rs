//! What is stored, after login.
