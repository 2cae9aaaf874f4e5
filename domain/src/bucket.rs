//! The GCRA rate bucket.
