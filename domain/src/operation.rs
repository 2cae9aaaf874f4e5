//! The one shape of every state change and every reading.
