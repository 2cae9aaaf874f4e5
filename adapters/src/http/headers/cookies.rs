//! Cookies in both directions: the gate's own go no further, and nobody else sets them.

use super::Fields;
use hyper::header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

/// Whether this is the name of a cookie of the gate: its own are `__Host-pc-*`, and `pc-*` on plain loopback. Of a cookie without a name
/// browsers send the value alone, where it is read as a name.
fn is_own_cookie(pair: &[u8]) -> bool {
    let pair = pair.trim_ascii();
    let pair = pair.strip_prefix(b"=").unwrap_or(pair);
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    [&b"__host-pc-"[..], b"pc-"]
        .iter()
        .any(|own| name.get(..own.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(own)))
}

fn pairs(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b';')
}

/// The client's cookies without the gate's, in one field.
pub(super) fn cookies(headers: &HeaderMap, fields: &mut impl Fields) {
    let all = || headers.get_all(COOKIE).iter();
    if !all().flat_map(pairs).any(is_own_cookie) {
        return all().for_each(|value| fields.put(&COOKIE, value));
    }
    let mut kept = Vec::new();
    for pair in all().flat_map(pairs).map(<[u8]>::trim_ascii) {
        if pair.is_empty() || is_own_cookie(pair) {
            continue;
        }
        if !kept.is_empty() {
            kept.extend_from_slice(b"; ");
        }
        kept.extend_from_slice(pair);
    }
    // Parts of valid values joined by valid bytes are a valid value; if ever not, the cookies are lost, not leaked.
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::from_bytes(&kept)) {
        fields.put(&COOKIE, &value);
    }
}

/// Takes away what would set a cookie of the gate.
pub(super) fn sweep_set_cookies(headers: &mut HeaderMap) {
    if !headers.get_all(SET_COOKIE).iter().any(|value| is_own_cookie(value.as_bytes())) {
        return;
    }
    let kept: Vec<HeaderValue> =
        headers.get_all(SET_COOKIE).iter().filter(|value| !is_own_cookie(value.as_bytes())).cloned().collect();
    headers.remove(SET_COOKIE);
    for value in kept {
        headers.append(SET_COOKIE, value);
    }
}
