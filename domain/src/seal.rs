//! Sealing and signing under the master keys: key ring, purposes, associated data.
