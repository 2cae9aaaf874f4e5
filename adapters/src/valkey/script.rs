//! The one script: compare, then write. It knows nothing of what is stored.
//!
//! The server carries a script out as a whole, so nothing comes between the comparison and the writes. Everything is compared
//! before the first write, and only the first write can be refused (no room, no permission): there is no half.

use super::link::Batch;
use super::resp::{Value, command};
use super::server::history;
use portcullis_domain::limits::BROOM_DELAY;
use portcullis_domain::operation::Epoch;
use portcullis_domain::time::Timestamp;
use portcullis_ports::Seen;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::sync::LazyLock;

/// Keys: all that were seen. Arguments: how the name of the history begins in which they were seen; for each key its stamp, or
/// nothing if there was no record; then for each write the place of its key, when it may be swept (nothing: never), and the
/// record.
///
/// A stamp is bytes 1 to 16 of a record, counted from zero; of a record that is not there, that is nothing. The history is
/// looked at because a server may have been a replica for a moment, with other data, while the connection lasted.
pub const SCRIPT: &str = "\
if not string.find(redis.call('INFO', 'replication'), 'master_replid:' .. ARGV[1], 1, true) then return 'EPOCH' end
for place, key in ipairs(KEYS) do
  if redis.call('GETRANGE', key, 1, 16) ~= ARGV[place + 1] then return 'STALE' end
end
for place = #KEYS + 2, #ARGV, 3 do
  local key, sweep, record = KEYS[tonumber(ARGV[place])], ARGV[place + 1], ARGV[place + 2]
  if sweep == '' then redis.call('SET', key, record) else redis.call('SET', key, record, 'PXAT', sweep) end
end
return 'LANDED'";

/// What it says when it has written.
pub(super) const LANDED: &[u8] = b"LANDED";

/// Its own answer, where that of `WAIT` comes behind it.
pub(super) fn first(value: &Value) -> &Value {
    value.list().and_then(<[Value]>::first).unwrap_or(value)
}

/// How servers name a script that they have seen before.
static NAME: LazyLock<String> = LazyLock::new(|| {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, SCRIPT.as_bytes());
    digest.as_ref().iter().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"))
});

/// One record to be written, as the script takes it.
pub(super) struct Sealed {
    /// Which of the keys seen, counted from one.
    pub(super) place: usize,
    pub(super) until: Timestamp,
    pub(super) bytes: Vec<u8>,
}

/// A call of the script, in whichever form it is sent.
pub(super) struct Call {
    epoch: Epoch,
    arguments: Vec<Vec<u8>>,
    wait: Option<u32>,
}

impl Call {
    /// These writes, if what was seen still stands. `name` makes the server's name of a key. With `wait`, so many replicas are
    /// waited for.
    pub(super) fn new(
        seen: &Seen,
        writes: Vec<Sealed>,
        now: Timestamp,
        name: impl Fn(&portcullis_domain::key::Key) -> String,
        wait: Option<u32>,
    ) -> Self {
        let mut arguments = vec![seen.iter().count().to_string().into_bytes()];
        arguments.extend(seen.iter().map(|(key, _)| name(key).into_bytes()));
        arguments.push(history(seen.epoch()).into_bytes());
        arguments.extend(seen.iter().map(|(_, stamp)| stamp.map_or_else(Vec::new, |stamp| stamp.0.to_vec())));
        for Sealed { place, until, bytes } in writes {
            arguments.extend([place.to_string().into_bytes(), sweep(until, now).into_bytes(), bytes]);
        }
        Self { epoch: seen.epoch(), arguments, wait }
    }

    /// By the script's name, which is enough for a server that has seen it.
    pub(super) fn short(&self) -> Batch {
        self.batch(b"EVALSHA", NAME.as_bytes())
    }

    /// With the script itself.
    pub(super) fn long(&self) -> Batch {
        self.batch(b"EVAL", SCRIPT.as_bytes())
    }

    fn batch(&self, verb: &[u8], script: &[u8]) -> Batch {
        let parts: Vec<&[u8]> = [verb, script].into_iter().chain(self.arguments.iter().map(Vec::as_slice)).collect();
        Batch { bytes: command(&parts), replies: 1, epoch: Some(self.epoch), replicas: self.wait }
    }
}

/// When a record may be swept, in milliseconds since 1970; nothing for what stays for ever. What does not count any more when it
/// is written is kept for a while all the same: whoever wrote it may have to find out whether it landed.
fn sweep(until: Timestamp, now: Timestamp) -> String {
    match until.max(now).plus(BROOM_DELAY) {
        at if at >= FOREVER => String::new(),
        at => at.millis().to_string(),
    }
}

/// The year 5138: beyond it, servers stop to count.
const FOREVER: Timestamp = Timestamp::from_secs(100_000_000_000);

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_domain::fresh::Stamp;
    use portcullis_domain::key::{CutScope, Key};
    use portcullis_domain::operation::{Fact, Facts};

    #[test]
    fn a_call_says_what_was_seen_and_what_is_written() {
        let facts = Facts::new(Epoch([0xab; 16]))
            .with(Key::RingCheck, Fact::Unreadable(Stamp(*b"0123456789abcdef")))
            .with(Key::Cut(CutScope::All), Fact::Absent);
        let now = Timestamp::from_secs(1_000);
        let write = |place, until| Sealed { place, until, bytes: b"record".to_vec() };
        let writes = vec![write(2, Timestamp::EPOCH), write(1, Timestamp::FAR)];
        let call = Call::new(&Seen::of(&facts), writes, now, |_| "k".to_owned(), Some(1));
        let name = NAME.as_bytes();
        let parts: [&[u8]; 14] = [
            b"EVALSHA",
            name,
            b"2",
            b"k",
            b"k",
            b"abababababababab",
            b"0123456789abcdef",
            b"",
            b"2",
            b"1600000",
            b"record",
            b"1",
            b"",
            b"record",
        ];
        let short = call.short();
        assert_eq!(short.bytes.escape_ascii().to_string(), command(&parts).escape_ascii().to_string());
        assert_eq!((short.replies, short.epoch, short.replicas), (1, Some(Epoch([0xab; 16])), Some(1)));
        assert_eq!(NAME.len(), 40);
    }
}
