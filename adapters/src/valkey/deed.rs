//! What a node of a cluster says that it has, and so whether what is read on it may be kept.
//!
//! A server tells a connection of changes to what was read on it, but only of those that are made on itself. While a slot is on
//! its way to another node, a record that the old one does not have is made on the new one, without a word to those who have
//! read on the old one that it is not there. So what was read on a node is served only as long as it goes on saying that
//! everything that it serves is wholly its own: see [`Deed::read`]. Whatever it then says differently, be it that a slot is gone,
//! begins to go, or has gone and come back (which makes another epoch of its claim), ends all that was read before.
//!
//! Source: the Redis Cluster specification, "Cluster live reconfiguration", "ASK redirection" and "Hash slots configuration
//! propagation", and the documentation of `CLUSTER NODES`.

use super::link::Batch;
use super::near_cache::Line;
use super::outcome::code;
use super::resp::{Value, command};
use portcullis_domain::operation::Epoch;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// A node's claim to its slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deed {
    /// The epoch of the claim, the state of its link, and its slots, as the node writes them.
    claim: String,
}

/// What a node is asked: whether the cluster, as far as it can see, goes on, and who has what.
pub(super) fn question() -> Batch {
    static QUESTION: LazyLock<Vec<u8>> =
        LazyLock::new(|| [command(&[b"CLUSTER", b"INFO"]), command(&[b"CLUSTER", b"NODES"])].concat());
    Batch { bytes: QUESTION.clone(), replies: 2, epoch: None, replicas: None }
}

/// What an answer to `CLUSTER INFO` says of whether the cluster, as far as the node can see, goes on; nothing if it says nothing.
pub(super) fn goes_on(info: &Value) -> Option<bool> {
    info.str().map(|info| info.lines().any(|line| line.trim_end() == "cluster_state:ok"))
}

/// Whether the user may not ask. Without, everything works, and every question is a round trip.
pub(super) fn is_forbidden(answers: &Value) -> bool {
    let forbidden = |answer: &Value| matches!(answer, Value::Error(said) if code(said) == b"NOPERM");
    answers.list().is_some_and(|answers| answers.iter().any(forbidden))
}

impl Deed {
    /// From the answers to [`question`]. Nothing if nothing of this node may be kept: it is no primary, it has lost the others
    /// from sight and may have been replaced by now, or one of its slots is on its way to another node.
    pub(super) fn read(answers: &Value) -> Option<Self> {
        let [info, nodes] = answers.list()? else { return None };
        goes_on(info).filter(|goes_on| *goes_on)?;
        let own =
            |line: &&str| line.split(' ').nth(2).is_some_and(|flags| flags.split(',').any(|flag| flag == "myself"));
        let mut own = nodes.str()?.lines().filter(own);
        let (Some(line), None) = (own.next(), own.next()) else { return None };
        // Name, address, flags, primary, ping, pong, epoch, link, and then the slots.
        let mut fields = line.splitn(7, ' ');
        let (flags, claim) = (fields.nth(2)?, fields.nth(3)?.trim_end());
        let is_primary = flags.split(',').any(|flag| flag == "master");
        (is_primary && !claim.contains("->-")).then(|| Self { claim: claim.to_owned() })
    }
}

/// The right to keep what is read over one link: the line that is its present connection, if the server tells of changes on that. In
/// a cluster a line lasts for as long as the node states the same deed, and elsewhere for as long as the connection.
///
/// There is no I/O here and no clock, as in [`super::near_cache`]. What changes a tenure says how many leases that has ended.
#[derive(Debug)]
pub struct Tenure {
    in_cluster: bool,
    /// The life of the server, while there is a connection on which it tells of changes.
    epoch: Option<Epoch>,
    deed: Option<Deed>,
    line: Option<Arc<Line>>,
}

impl Tenure {
    /// Without a connection.
    #[must_use]
    pub const fn new(in_cluster: bool) -> Self {
        Self { in_cluster, epoch: None, deed: None, line: None }
    }

    /// Whether there is a connection on which the server tells of changes.
    #[must_use]
    pub const fn watches(&self) -> bool {
        self.epoch.is_some()
    }

    /// The line, while what is read on it may be kept.
    #[must_use]
    pub fn line(&self) -> Option<Arc<Line>> {
        self.line.clone()
    }

    /// A connection to a server in this epoch, which tells of changes; or none of that kind any more.
    pub fn begin(&mut self, epoch: Option<Epoch>) -> u64 {
        self.epoch = epoch;
        // A node of a cluster has yet to state its deed.
        self.replace(epoch.filter(|_| !self.in_cluster).map(Line::new), None)
    }

    /// What was read so far is not served any more: the cluster says that the node has other slots now.
    pub fn forget(&mut self) -> u64 {
        self.replace(None, None)
    }

    /// The server has answered a PING, or the node of a cluster what it has, that was sent at this moment. Of the connection that
    /// there is now, whichever it was when it was asked for.
    pub fn answered(&mut self, answers: &Value, sent: Duration, now: Duration) -> u64 {
        let mut lost = 0;
        if self.in_cluster {
            let deed = Deed::read(answers);
            if deed != self.deed {
                let line = self.epoch.filter(|_| deed.is_some()).map(Line::new);
                lost = self.replace(line, deed);
            }
        }
        if let Some(line) = &self.line {
            if line.lapsed(now) {
                lost = lost.saturating_add(1);
            }
            line.answered(sent);
        }
        lost
    }

    /// What came over the last line is not served any more.
    fn replace(&mut self, line: Option<Arc<Line>>, deed: Option<Deed>) -> u64 {
        self.deed = deed;
        match std::mem::replace(&mut self.line, line) {
            Some(last) => {
                last.close();
                1
            }
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(info: &str, nodes: &str) -> Option<Deed> {
        let text = |text: &str| Value::Text(text.as_bytes().to_vec());
        Deed::read(&Value::List(vec![text(info), text(nodes)]))
    }

    const INFO: &str = "cluster_enabled:1\r\ncluster_state:ok\r\ncluster_slots_assigned:16384\r\n";
    const OTHER: &str = "c4ab 127.0.0.1:40653@50653 master - 0 1795549601000 1 connected 0-5460 [9->-573e]\n";

    fn own(claim: &str) -> String {
        format!("{OTHER}573e 127.0.0.1:45557@55557 myself,master - 0 0 {claim}\n")
    }

    #[test]
    fn a_node_that_has_all_of_its_slots_says_so_and_anything_else_is_none() {
        let whole = read(INFO, &own("3 connected 10922-16383"));
        assert!(whole.is_some(), "what the others move is not its concern");
        for (info, nodes) in [
            (INFO, own("3 connected 10922-16383 [12182->-c4ab]")),
            (INFO, own("3 connected 10922-16383").replace("myself,master", "myself,slave")),
            (INFO, own("3 connected 10922-16383").replace("myself,", "")),
            (INFO, [own("3 connected 0"), own("3 connected 1")].concat()),
            (INFO, "573e 127.0.0.1:45557@55557 myself,master - 0 0".to_owned()),
            (INFO, String::new()),
            ("cluster_enabled:1\r\ncluster_state:fail\r\n", own("3 connected 10922-16383")),
            ("", own("3 connected 10922-16383")),
        ] {
            assert_eq!(read(info, &nodes), None, "{info:?} {nodes}");
        }
        assert_eq!(Deed::read(&Value::Error(b"NOPERM no".to_vec())), None);
        assert_eq!(Deed::read(&Value::List(vec![Value::Null, Value::Null])), None);
    }

    #[test]
    fn a_slot_that_has_gone_and_one_that_has_come_back_make_another_deed() {
        let deed = |claim| read(INFO, &own(claim)).unwrap();
        let first = deed("3 connected 10922-16383");
        assert_eq!(deed("3 connected 10922-16383"), first);
        assert_ne!(deed("3 connected 10922-12181 12183-16383"), first);
        assert_ne!(deed("5 connected 10922-16383"), first, "it went and came back");
        let pong = own("3 connected 10922-16383").replace("- 0 0 3", "- 0 1795549601000 3");
        assert_eq!(read(INFO, &pong).unwrap(), first, "some servers say when they last heard of themselves");
    }
}
