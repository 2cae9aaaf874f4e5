//! The names of records, and the partitions that they live in.
