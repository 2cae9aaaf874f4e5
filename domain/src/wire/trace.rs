//! Trace context on its way through: who takes part in no trace passes on what is well formed as it came, and nothing else.
//!
//! W3C Trace Context, sections 3.2 (`traceparent`) and 3.3 (`tracestate`), with the names of level 2, which contain those of level 1.

use std::str;

/// Members of one `tracestate` (section 3.3.1.1).
const MEMBERS_MAX: usize = 32;
/// A key of a member, and separately its value.
const MEMBER_MAX: usize = 256;
/// `traceparent` as far as every version has it: version, trace id, parent id and flags, with dashes between.
const PARENT: usize = 55;

/// The trace id in a `traceparent`; nothing if that is none.
#[must_use]
pub fn trace_id(parent: &[u8]) -> Option<&str> {
    let (known, behind) = parent.split_at_checked(PARENT)?;
    let mut fields = known.split(|byte| *byte == b'-');
    let mut field = |length: usize| fields.next().filter(|field| field.len() == length && field.iter().all(is_hex));
    let (version, trace, span, _flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let is_whole = match version {
        b"ff" => false,
        b"00" => behind.is_empty(),
        // What a later version has to say stands behind another dash.
        _ => behind.first().is_none_or(|byte| *byte == b'-'),
    };
    let is_zero = |field: &[u8]| field.iter().all(|byte| *byte == b'0');
    if !is_whole || is_zero(trace) || is_zero(span) {
        return None;
    }
    str::from_utf8(trace).ok()
}

/// Whether these lines together are a `tracestate`.
pub fn is_state<'v>(lines: impl IntoIterator<Item = &'v [u8]>) -> bool {
    let mut keys: Vec<&[u8]> = Vec::new();
    let mut members = 0_usize;
    for member in lines.into_iter().flat_map(|line| line.split(|byte| *byte == b',')) {
        members = members.saturating_add(1);
        let member = trimmed(member);
        if members > MEMBERS_MAX {
            return false;
        }
        if member.is_empty() {
            continue;
        }
        let Some(equals) = member.iter().position(|byte| *byte == b'=') else { return false };
        let (key, value) = (member.get(..equals).unwrap_or_default(), member.get(equals..).unwrap_or_default());
        // The value begins behind the sign.
        if !is_key(key) || !is_value(value.get(1..).unwrap_or_default()) || keys.contains(&key) {
            return false;
        }
        keys.push(key);
    }
    true
}

fn is_hex(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Without the white space of RFC 9110 section 5.6.3.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

fn is_key(key: &[u8]) -> bool {
    let begins = key.first().is_some_and(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
    let inner = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    begins && key.len() <= MEMBER_MAX && key.iter().all(inner)
}

fn is_value(value: &[u8]) -> bool {
    let inner = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    let ends = value.last().is_some_and(|byte| *byte != b' ');
    ends && value.len() <= MEMBER_MAX && value.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const REST: &str = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_is_read_as_the_specification_writes_it() {
        for good in [
            format!("00-{REST}"),
            format!("00-{TRACE}-b7ad6b7169203331-ff"),
            format!("cc-{REST}"),
            format!("cc-{REST}-what-the-future-will-be-like"),
            format!("01-{REST}-"),
        ] {
            assert_eq!(trace_id(good.as_bytes()), Some(TRACE), "{good}");
        }
        for bad in [
            String::new(),
            "00".to_owned(),
            format!("ff-{REST}"),
            format!("FF-{REST}"),
            format!("0x-{REST}"),
            format!("00-{REST}-"),
            format!("00-{REST}-more"),
            format!("00-{REST}."),
            format!("cc-{REST}.what-the-future-will-not-be-like"),
            format!("00{REST}"),
            format!("00-{}", REST.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-b7ad6b716920333-001"),
            format!("00-{TRACE}-b7ad6b7169203331-0"),
            format!("00-{TRACE}-b7ad6b716920333.-01"),
            format!("00_{REST}"),
            format!(" 00-{REST}"),
            "é".repeat(28),
        ] {
            assert_eq!(trace_id(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_state_is_a_list_of_members_that_differ() {
        let long = |count: usize| "k".repeat(count);
        let many = |count: usize| (0..count).map(|at| format!("k{at}=v")).collect::<Vec<_>>().join(",");
        let good = |lines: &[&str]| is_state(lines.iter().map(|line| line.as_bytes()));
        for lines in [
            &[""][..],
            &["foo=1"],
            &["foo=1, \tbar=2", "", "baz= three and more"],
            &["foo=1,,bar=2, ,"],
            &["tenant@system=1", "0-a_b*c/d=~!"],
            &[&format!("{}=1", long(256))],
            &[&format!("k={}", long(256))],
            &[&many(32)],
        ] {
            assert!(good(lines), "{lines:?}");
        }
        for lines in [
            &["foo"][..],
            &["foo="],
            &["=1"],
            &["foo =1"],
            &["Foo=1"],
            &["foo=1=2"],
            &["foo=1;bar=2\u{e9}"],
            &["foo=1", "foo=1"],
            &["foo=1,bar=2,foo=3"],
            &["_a=1"],
            &["foo=a\u{7f}"],
            &["foo=a\tb"],
            &[&format!("{}=1", long(257))],
            &[&format!("k={}", long(257))],
            &[&many(33)],
            &[&many(20), &format!("x=1,{}", ",".repeat(12))],
        ] {
            assert!(!good(lines), "{lines:?}");
        }
    }
}
