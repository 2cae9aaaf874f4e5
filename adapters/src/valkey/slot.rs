//! Which of a cluster's 16 384 slots a record belongs to.
//!
//! Source: the Redis Cluster specification, "Key distribution model" and "Hash tags": CRC16 (XMODEM) of what stands in the first
//! braces, which is the partition, modulo 16 384.

use portcullis_domain::key::Partition;
use portcullis_domain::wire::text;

/// A slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u16);

impl Slot {
    /// How many there are.
    pub(super) const COUNT: u16 = 16_384;

    /// That of everything in a partition.
    pub(super) fn of(partition: Partition) -> Self {
        Self(crc16(text::base64url(&partition.0).as_bytes()) % Self::COUNT)
    }
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u16::from(*byte) << 8), |sum, _| {
            let shifted = sum << 1;
            if sum & 0x8000 == 0 { shifted } else { shifted ^ 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_domain::key::Key;

    #[test]
    fn the_checksum_is_that_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
        assert_eq!(crc16(b"foo") % Slot::COUNT, 12_182, "as CLUSTER KEYSLOT foo says");
    }

    #[test]
    fn the_slot_is_that_of_what_stands_in_braces_in_a_name() {
        let name = format!("portcullis:{}", Key::RingCheck);
        let tag = name.split_once('{').and_then(|(_, rest)| rest.split_once('}')).unwrap().0;
        assert_eq!(Slot::of(Key::RingCheck.partition()).0, crc16(tag.as_bytes()) % Slot::COUNT);
    }
}
