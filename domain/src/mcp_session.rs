//! The session id of an MCP server, bound to the person and the resource for whom the server gave it out.
//!
//! A session id is no credential (MCP, Security Best Practices, "Session Hijacking"), yet many servers take it for one. So it
//! leaves the gateway as `id . base64url(key id (4) || MAC (16))`, the MAC over person, resource and id, and comes back to the
//! server only from that person, at that resource. Nothing is remembered for it.
//!
//! MCP 2025-11-25, Transports, "Session Management": visible ASCII, sent with every request, and 404 tells a client to begin anew.

use crate::hash;
use crate::key::Person;
use crate::limits::MCP_SESSION_ID_MAX;
use crate::oauth::resource::ResourceHash;
use crate::seal::{KeyId, KeyRing, MacPurpose};
use crate::secret;
use crate::time::Timestamp;
use crate::wire::text;

/// The server gave out something that is no session id: empty, not visible ASCII, or longer than [`MCP_SESSION_ID_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbindable;

const LABEL: &str = "mcp session";
const MAC_LEN: usize = 16;
/// The length of what stands behind the dot: 20 bytes in base64url.
const SUFFIX_LEN: usize = 27;

/// The id as this person's clients see it.
///
/// # Errors
/// [`Unbindable`].
pub fn bind(
    ring: &KeyRing,
    person: Person,
    resource: ResourceHash,
    id: &[u8],
    now: Timestamp,
) -> Result<String, Unbindable> {
    let name = readable(id).ok_or(Unbindable)?;
    let (key, mac) = ring.mac(MacPurpose::Session, LABEL, &[&person.0, &resource.0, id], now).ok_or(Unbindable)?;
    let mac: [u8; MAC_LEN] = hash::first(&mac);
    Ok([name, ".", &text::base64url(&[key.0.as_slice(), &mac].concat())].concat())
}

/// The server's id in what a client of this person sends, or nothing if it was never given to them for this resource.
#[must_use]
pub fn release<'a>(ring: &KeyRing, person: Person, resource: ResourceHash, value: &'a [u8]) -> Option<&'a [u8]> {
    let (rest, suffix) = value.split_at_checked(value.len().checked_sub(SUFFIX_LEN)?)?;
    let id = rest.strip_suffix(b".")?;
    readable(id)?;
    let suffix: [u8; KeyId::LEN + MAC_LEN] = text::from_base64url_exact(std::str::from_utf8(suffix).ok()?).ok()?;
    let (key, presented) = suffix.split_first_chunk::<{ KeyId::LEN }>()?;
    let mac = ring.mac_under(KeyId(*key), MacPurpose::Session, LABEL, &[&person.0, &resource.0, id])?;
    let mac: [u8; MAC_LEN] = hash::first(&mac);
    secret::same(&mac, presented).then_some(id)
}

fn readable(id: &[u8]) -> Option<&str> {
    let is_well = !id.is_empty() && id.len() <= MCP_SESSION_ID_MAX && id.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(id).ok().filter(|_| is_well)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::tests::master;

    const PERSON: Person = Person([1; 16]);
    const RESOURCE: ResourceHash = ResourceHash([2; 16]);
    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn ring(keys: &[u8]) -> KeyRing {
        let keys: Vec<_> = keys.iter().map(|key| master(*key)).collect();
        KeyRing::new(&keys, "https://gate.example", NOW).unwrap()
    }

    #[test]
    fn rs_10_a_session_id_comes_back_to_its_person_at_its_resource_only() {
        let ring = ring(&[1]);
        for id in ["a", "1868a90c-9f3a-4d0e", "with.dots.in.it", "~!@#$%^&*()", &"x".repeat(MCP_SESSION_ID_MAX)] {
            let bound = bind(&ring, PERSON, RESOURCE, id.as_bytes(), NOW).unwrap();
            let released = |person, resource| release(&ring, person, resource, bound.as_bytes());
            assert_eq!(released(PERSON, RESOURCE), Some(id.as_bytes()));
            assert_eq!(released(Person([9; 16]), RESOURCE), None, "another person");
            assert_eq!(released(PERSON, ResourceHash([9; 16])), None, "another resource");
        }
    }

    #[test]
    fn rs_10_whatever_was_not_given_out_is_refused() {
        let ring = ring(&[1]);
        let bound = bind(&ring, PERSON, RESOURCE, b"session", NOW).unwrap();
        let suffix = bound.strip_prefix("session").unwrap();
        let other = bind(&ring, PERSON, RESOURCE, b"other", NOW).unwrap();
        let other = other.strip_prefix("other").unwrap();
        for wrong in [
            String::new(),
            "session".to_owned(),
            "session.".to_owned(),
            suffix.to_owned(),
            format!("sessiom{suffix}"),
            format!("session{other}"),
            format!(" {bound}"),
            format!("{bound} "),
            format!("{bound}{suffix}"),
            bound.to_uppercase(),
            bound.chars().take(bound.len() - 1).collect(),
            format!("{}{suffix}", "x".repeat(MCP_SESSION_ID_MAX + 1)),
        ] {
            assert_eq!(release(&ring, PERSON, RESOURCE, wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(release(&ring, PERSON, RESOURCE, b"s\xffssion.AAAAAAAAAAAAAAAAAAAAAAAAAAA"), None);
    }

    #[test]
    fn what_is_no_session_id_is_not_bound() {
        for id in [&b""[..], b"a b", b"a\r\nb", b"\x7f", b"\xc3\xa4", &[b'x'; MCP_SESSION_ID_MAX + 1]] {
            assert_eq!(bind(&ring(&[1]), PERSON, RESOURCE, id, NOW), Err(Unbindable), "{id:?}");
        }
    }

    #[test]
    fn a_session_outlives_the_rotation_of_the_master_key_and_ends_with_its_removal() {
        let bound = bind(&ring(&[1]), PERSON, RESOURCE, b"session", NOW).unwrap();
        for (keys, stands) in [(&[1, 2][..], true), (&[2, 1], true), (&[2], false)] {
            assert_eq!(release(&ring(keys), PERSON, RESOURCE, bound.as_bytes()).is_some(), stands, "{keys:?}");
        }
    }
}
