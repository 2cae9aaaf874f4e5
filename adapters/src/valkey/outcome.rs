//! What each answer of a server means for a commit and for a reading.
//!
//! | the server says | because | a commit | a reading | the connection |
//! |---|---|---|---|---|
//! | `NOSCRIPT` | it has not seen the script, as after a restart | is sent once more, with the script | – | stays |
//! | `OOM` | its memory is full | no room: 503 | goes on | stays |
//! | `READONLY`, `MASTERDOWN`, `UNBLOCKED` | it is, or has just become, a replica | nothing written: 503 | 503 | is given up: the primary is looked for |
//! | `LOADING` | it reads its files | nothing written: 503 | 503 | is given up, and made anew |
//! | `NOAUTH` | its users have changed | nothing written: 503 | 503 | is given up, and logs in anew |
//! | `NOPERM` | the user may not | nothing written: 503, and an error in the log | the same | stays |
//! | `BUSY`, `UNKILLABLE` | a script of somebody else hangs | nothing written: 503 | 503 | stays |
//! | `MISCONF` | it cannot save to disk | nothing written: 503 | goes on | stays |
//! | `NOREPLICAS` | fewer replicas than `min-replicas-to-write` | nothing written: 503 | goes on | stays |
//! | `MOVED`, `ASK`, `TRYAGAIN` | the cluster moves slots | is sent where it belongs | the same | stays |
//! | `CLUSTERDOWN` | a part of the cluster has no primary | nothing written: 503 | 503 | stays |
//! | any other error | unknown | nothing written: 503, and an error in the log | the same | stays |
//!
//! An error answer to the script always means that nothing was written (see `script`). No answer at all means that nobody knows.

use super::resp::Value;

/// What an error answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The script has to be sent along.
    Unseen,
    /// There is no room.
    Full,
    /// It does not take this now.
    Away,
    /// It does not take this now, and another connection may lead to one that does.
    Elsewhere,
    /// Nobody has foreseen it, or somebody has to change something.
    Wrong,
}

/// What an error means, by its first word.
pub(super) fn meaning(said: &[u8]) -> Meaning {
    match code(said) {
        b"NOSCRIPT" => Meaning::Unseen,
        b"OOM" => Meaning::Full,
        b"READONLY" | b"MASTERDOWN" | b"UNBLOCKED" | b"LOADING" | b"NOAUTH" => Meaning::Elsewhere,
        b"BUSY" | b"UNKILLABLE" | b"MISCONF" | b"NOREPLICAS" | b"CLUSTERDOWN" | b"TRYAGAIN" | b"MOVED" | b"ASK" => {
            Meaning::Away
        }
        _ => Meaning::Wrong,
    }
}

/// The first word. Servers that pass on what a script was told put `ERR` and more before it or behind it; the word stays.
pub(super) fn code(said: &[u8]) -> &[u8] {
    said.split(|byte| *byte == b' ').next().unwrap_or_default()
}

/// Whether a node of a cluster says that another has what it was asked for, or that it is not all there now.
pub(super) fn is_redirection(value: &Value) -> bool {
    matches!(value, Value::Error(said) if matches!(code(said), b"MOVED" | b"ASK" | b"TRYAGAIN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t266_every_error_that_servers_are_known_for_has_a_meaning() {
        for (said, expected) in [
            ("NOSCRIPT No matching script. Please use EVAL.", Meaning::Unseen),
            ("OOM command not allowed when used memory > 'maxmemory'.", Meaning::Full),
            ("READONLY You can't write against a read only replica.", Meaning::Elsewhere),
            ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Meaning::Elsewhere),
            ("LOADING Redis is loading the dataset in memory", Meaning::Elsewhere),
            ("UNBLOCKED force unblock from blocking operation", Meaning::Elsewhere),
            ("NOAUTH Authentication required.", Meaning::Elsewhere),
            ("BUSY Redis is busy running a script.", Meaning::Away),
            ("UNKILLABLE Sorry the script already executed write commands", Meaning::Away),
            ("MISCONF Errors writing to the AOF file", Meaning::Away),
            ("NOREPLICAS Not enough good replicas to write.", Meaning::Away),
            ("CLUSTERDOWN The cluster is down", Meaning::Away),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Meaning::Away),
            ("NOPERM User gate has no permissions to run the 'evalsha' command", Meaning::Wrong),
            ("ERR Unknown Redis command called from script", Meaning::Wrong),
            ("", Meaning::Wrong),
        ] {
            assert_eq!(meaning(said.as_bytes()), expected, "{said}");
        }
    }
}
