//! What the reader of the shared store's answers promises: F19.

use portcullis_adapters::valkey::resp::{Decoder, Frame, Value, Violation, command};
use portcullis_domain::limits::{RESP_DEPTH_MAX, RESP_FRAME_MAX, RESP_VALUES_MAX};

/// F19: the frames and the end are the same however the bytes are cut; no frame is deeper, larger or of more values than the
/// bounds say; after a violation nothing is read any more; and a command of any parts is read as these parts.
pub fn resp(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first() else { return };
    let whole = read(bytes, bytes.len().max(1), 0);
    assert_eq!(read(bytes, 1, 0), whole, "byte by byte");
    assert_eq!(read(bytes, usize::from(*seed) + 1, usize::from(*seed) + 1), whole, "in pieces of changing length");
    for frame in &whole.0 {
        let (values, text) = match frame {
            Frame::Reply(value) => measure(value, 0),
            Frame::Push(values) => sum(values, 0),
        };
        assert!(values <= RESP_VALUES_MAX && text <= RESP_FRAME_MAX);
    }
    let parts: Vec<&[u8]> = bytes.split(|byte| byte == seed).collect();
    let expected = Value::List(parts.iter().map(|part| Value::Text(part.to_vec())).collect());
    let (frames, violated) = read(&command(&parts), 7, 3);
    assert!(!violated && frames == [Frame::Reply(expected)], "a command comes back as it was");
}

/// All frames, and whether a violation ended them. The pieces are of `length` bytes, each longer by `more` than the one before,
/// and begin anew.
fn read(mut bytes: &[u8], length: usize, more: usize) -> (Vec<Frame>, bool) {
    let (mut decoder, mut frames, mut next) = (Decoder::default(), Vec::new(), length);
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(next.min(bytes.len()));
        bytes = rest;
        next = if next > 1_000 { length } else { next + more };
        decoder.feed(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(Violation) => {
                    decoder.feed(b"+OK\r\n");
                    assert_eq!(decoder.next(), Err(Violation), "unusable from here on");
                    assert!(!decoder.is_between());
                    return (frames, true);
                }
            }
        }
    }
    (frames, false)
}

/// How many values, and how much text.
fn measure(value: &Value, depth: usize) -> (usize, usize) {
    match value {
        Value::Text(text) | Value::Error(text) => (1, text.len()),
        Value::Number(_) | Value::Boolean(_) | Value::Null => (1, 0),
        Value::List(items) => sum(items, depth),
    }
}

fn sum(items: &[Value], depth: usize) -> (usize, usize) {
    assert!(depth < RESP_DEPTH_MAX, "too deep");
    let each = items.iter().map(|item| measure(item, depth + 1));
    each.fold((0, 0), |(values, text), (more, longer)| (values + more, text + longer))
}
