//! Bounds of the stores: that of one process, and the one that replicas share.

use super::{KEYS_MAX, RECORD_MAX};
use std::time::Duration;

/// Grants of the memory store that stay decoded: those of people who are here all the time, about half a kilobyte each.
pub const DECODED_GRANTS_MAX: usize = 4_096;
/// How deep an answer of it may nest.
pub const RESP_DEPTH_MAX: usize = 8;
/// Values in one answer: the map of a large cluster's slots, and to spare.
pub const RESP_VALUES_MAX: usize = 64 * 1024;
/// A line of it: a length, a simple string, an error.
pub const RESP_LINE_MAX: usize = 4 * 1024;
/// One answer, whole: a reading of the most and largest records, with what seals them.
pub const RESP_FRAME_MAX: usize = KEYS_MAX * (RECORD_MAX + 1_024);
/// From the wish for a connection to one that has logged in.
pub const STORE_CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// From sending a command to its answer; after it the connection is given up.
pub const STORE_REPLY_DEADLINE: Duration = Duration::from_secs(3);
/// How often a server is asked whether it is still what it was.
pub const STORE_PROBE: Duration = Duration::from_secs(1);
/// Before a connection that could not be made is tried again; doubles with every further failure.
pub const STORE_RETRY_FIRST: Duration = Duration::from_millis(50);
/// The same at the most.
pub const STORE_RETRY_MAX: Duration = Duration::from_secs(1);
/// Requests that wait for one connection; one more is told at once that it cannot be sent.
pub const STORE_QUEUE: usize = 4_096;
/// Requests on one connection that have been sent and not been answered.
pub const STORE_UNANSWERED: usize = 1_024;
/// Bytes that wait to be sent on one connection, beyond which no further request is taken up.
pub const STORE_BYTES_UNSENT: usize = 1024 * 1024;
/// How long replicas may take to have what keeps somebody out.
pub const STORE_WAIT: Duration = Duration::from_secs(1);
/// What the name of every record begins with.
pub const KEY_PREFIX_MAX: usize = 64;
/// Servers that a configuration names, be they Sentinels or nodes of a cluster.
pub const STORE_SERVERS_MAX: usize = 16;
/// Nodes of a cluster that serve something.
pub const CLUSTER_NODES_MAX: usize = 256;
/// How often one request is sent somewhere else, or once more, because slots move.
pub const CLUSTER_REDIRECTS: u32 = 16;
/// Before it is sent once more because its slot is on its way; longer with every further time.
pub const CLUSTER_PAUSE: Duration = Duration::from_millis(10);
/// For how long a node that was seen to have a slot is asked first, whatever the map says: longer than one that has lost a slot goes
/// on reading.
pub const CLUSTER_HELD: Duration = Duration::from_secs(1);
/// How many names a server should at least remember to tell of: what Valkey and Redis have by default.
pub const STORE_TRACKED_LEAST: i64 = 1_000_000;
/// One question to a Sentinel.
pub const SENTINEL_DEADLINE: Duration = Duration::from_millis(700);
/// How far a server's clock may be from that of a gate before that is worth a warning.
pub const STORE_CLOCKS_APART: Duration = Duration::from_secs(5);
const _: () = assert!(STORE_WAIT.as_millis() < STORE_REPLY_DEADLINE.as_millis());
const _: () = assert!(SENTINEL_DEADLINE.as_millis() < STORE_CONNECT_DEADLINE.as_millis());
