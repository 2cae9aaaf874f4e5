//! Commands: arrays of bulk strings, which say their lengths, so that nothing in them can be taken for protocol.

/// One command.
#[must_use]
pub fn command(parts: &[&[u8]]) -> Vec<u8> {
    let bytes: usize = parts.iter().map(|part| part.len().saturating_add(16)).sum();
    let mut out = Vec::with_capacity(bytes.saturating_add(16));
    head(&mut out, b'*', parts.len());
    for part in parts {
        head(&mut out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn head(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    out.extend_from_slice(number.to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
}
