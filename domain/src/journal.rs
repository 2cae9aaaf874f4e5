//! The audit events.
