//! From bytes in arbitrary pieces to frames: the same frames, and the same end, however the bytes were cut.

use super::{Frame, Value};
use portcullis_domain::limits::{RESP_DEPTH_MAX, RESP_FRAME_MAX, RESP_LINE_MAX, RESP_VALUES_MAX};

/// What has arrived is not RESP, or more of it than any answer has. Where the next answer would begin, nobody knows: the
/// connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation;

/// Reads frames.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    /// Where in `held` the next token begins.
    at: usize,
    /// Aggregates that have begun and not ended, the outermost first.
    open: Vec<Open>,
    /// Of the frame that has begun: its values, and its bytes, as far as it has said.
    values: usize,
    bytes: usize,
    broken: bool,
}

#[derive(Debug)]
struct Open {
    is_push: bool,
    left: usize,
    items: Vec<Value>,
}

/// One token.
enum Token {
    Whole(Value),
    Begin { is_push: bool, count: usize },
}

impl Decoder {
    /// More bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        // What has been read makes room first, so that what is held never exceeds one frame and one piece.
        self.held.drain(..self.at);
        self.at = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// [`Violation`], and from then on always.
    #[expect(clippy::should_implement_trait, reason = "an iterator would end where this one waits for more")]
    pub fn next(&mut self) -> Result<Option<Frame>, Violation> {
        if self.broken {
            return Err(Violation);
        }
        let frame = self.frame();
        if frame.is_err() {
            *self = Self { broken: true, ..Self::default() };
        }
        frame
    }

    /// Whether nothing has begun that has not ended.
    #[must_use]
    pub fn is_between(&self) -> bool {
        !self.broken && self.open.is_empty() && self.at == self.held.len()
    }

    fn frame(&mut self) -> Result<Option<Frame>, Violation> {
        while let Some(token) = self.token()? {
            let frame = match token {
                Token::Begin { is_push, count } => self.begin(is_push, count)?,
                Token::Whole(value) => self.whole(value)?,
            };
            if frame.is_some() {
                (self.values, self.bytes) = (0, 0);
                return Ok(frame);
            }
        }
        Ok(None)
    }

    fn begin(&mut self, is_push: bool, count: usize) -> Result<Option<Frame>, Violation> {
        if is_push && !self.open.is_empty() || self.open.len() >= RESP_DEPTH_MAX {
            return Err(Violation);
        }
        // Counted before they come: nothing is set aside for what a length only promises.
        self.count(count)?;
        if count > 0 {
            self.open.push(Open { is_push, left: count, items: Vec::with_capacity(count.min(16)) });
            return Ok(None);
        }
        if is_push { Ok(Some(Frame::Push(Vec::new()))) } else { self.put(Value::List(Vec::new())) }
    }

    fn whole(&mut self, value: Value) -> Result<Option<Frame>, Violation> {
        if self.open.is_empty() {
            self.count(1)?;
        }
        self.put(value)
    }

    fn count(&mut self, more: usize) -> Result<(), Violation> {
        self.values = self.values.saturating_add(more);
        if self.values > RESP_VALUES_MAX { Err(Violation) } else { Ok(()) }
    }

    /// Puts a value where it belongs, which may end aggregates, and with the outermost the frame.
    fn put(&mut self, mut value: Value) -> Result<Option<Frame>, Violation> {
        loop {
            let Some(innermost) = self.open.last_mut() else { return Ok(Some(Frame::Reply(value))) };
            innermost.items.push(value);
            innermost.left = innermost.left.saturating_sub(1);
            if innermost.left > 0 {
                return Ok(None);
            }
            let Open { is_push, items, .. } = self.open.pop().ok_or(Violation)?;
            if is_push {
                return Ok(Some(Frame::Push(items)));
            }
            value = Value::List(items);
        }
    }

    /// The next token, if all of it is there.
    fn token(&mut self) -> Result<Option<Token>, Violation> {
        let rest = self.held.get(self.at..).unwrap_or_default();
        let Some((kind, rest)) = rest.split_first() else { return Ok(None) };
        if !b"+-:$*_#,(!=%~>".contains(kind) {
            return Err(Violation);
        }
        let Some(line) = line(rest)? else { return Ok(None) };
        let head = line.len().saturating_add(3);
        let body = rest.get(line.len().saturating_add(2)..).unwrap_or_default();
        let (token, taken) = match kind {
            b'$' | b'!' | b'=' => match length(line, *kind == b'$')? {
                None => (Token::Whole(Value::Null), 0),
                Some(length) => {
                    // Said before it comes, so that what is too much is not waited for.
                    if length > RESP_FRAME_MAX.saturating_sub(self.bytes) {
                        return Err(Violation);
                    }
                    match bulk(*kind, body, length)? {
                        None => return Ok(None),
                        Some(value) => (Token::Whole(value), length.saturating_add(2)),
                    }
                }
            },
            b'*' | b'~' | b'%' | b'>' => match length(line, *kind == b'*')? {
                None => (Token::Whole(Value::Null), 0),
                Some(count) => {
                    let count = if *kind == b'%' { count.saturating_mul(2) } else { count };
                    (Token::Begin { is_push: *kind == b'>', count }, 0)
                }
            },
            _ => (Token::Whole(simple(*kind, line)?), 0),
        };
        let taken = head.saturating_add(taken);
        self.at = self.at.saturating_add(taken);
        self.bytes = self.bytes.saturating_add(taken);
        if self.bytes > RESP_FRAME_MAX { Err(Violation) } else { Ok(Some(token)) }
    }
}

/// The line up to CRLF, if it is there. Neither of the two stands in a line for itself.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Violation> {
    match bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
        Some(end) if end > RESP_LINE_MAX => Err(Violation),
        Some(end) => match bytes.get(end..).unwrap_or_default() {
            [b'\r', b'\n', ..] => Ok(bytes.get(..end)),
            [b'\r'] => Ok(None),
            _ => Err(Violation),
        },
        None if bytes.len() > RESP_LINE_MAX => Err(Violation),
        None => Ok(None),
    }
}

/// What stands in a line of its own.
fn simple(kind: u8, line: &[u8]) -> Result<Value, Violation> {
    Ok(match (kind, line) {
        (b'+', text) => Value::Text(text.to_vec()),
        (b'-', text) => Value::Error(text.to_vec()),
        (b':', digits) => Value::Number(number(digits)?),
        (b'_', []) => Value::Null,
        (b'#', [b't']) => Value::Boolean(true),
        (b'#', [b'f']) => Value::Boolean(false),
        (b',' | b'(', text) if !text.is_empty() && text.iter().all(u8::is_ascii_graphic) => Value::Text(text.to_vec()),
        _ => return Err(Violation),
    })
}

/// A string that has said its length, if all of it is there.
fn bulk(kind: u8, body: &[u8], length: usize) -> Result<Option<Value>, Violation> {
    let (text, end) = body.split_at_checked(length).unwrap_or((body, &[]));
    match end {
        [b'\r', b'\n', ..] => {}
        [] | [b'\r'] => return Ok(None),
        _ => return Err(Violation),
    }
    Ok(Some(match (kind, text) {
        (b'!', text) => Value::Error(text.to_vec()),
        // Three characters say what kind of text it is.
        (b'=', [_, _, _, b':', text @ ..]) => Value::Text(text.to_vec()),
        (b'=', _) => return Err(Violation),
        (_, text) => Value::Text(text.to_vec()),
    }))
}

/// A length or a count; nothing for the -1 that RESP2 writes for null.
fn length(line: &[u8], may_be_null: bool) -> Result<Option<usize>, Violation> {
    match number(line)? {
        -1 if may_be_null => Ok(None),
        number => usize::try_from(number).map(Some).map_err(|_| Violation),
    }
}

/// An integer as servers write it: no plus sign, no zeros in front, nothing that does not fit.
fn number(line: &[u8]) -> Result<i64, Violation> {
    let digits = line.strip_prefix(b"-").unwrap_or(line);
    let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && line != b"-0";
    let text = std::str::from_utf8(line).ok().filter(|_| canonical).ok_or(Violation)?;
    text.parse().map_err(|_| Violation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::valkey::resp::command;

    /// All frames, and whether it ended in a violation.
    fn read(pieces: &[&[u8]]) -> (Vec<Frame>, bool) {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for piece in pieces {
            decoder.feed(piece);
            loop {
                match decoder.next() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(Violation) => {
                        decoder.feed(b"+OK\r\n");
                        assert_eq!(decoder.next(), Err(Violation), "nothing is read after a violation");
                        return (frames, true);
                    }
                }
            }
        }
        (frames, false)
    }

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    fn values(bytes: &[u8]) -> Vec<Value> {
        let (frames, violated) = read(&[bytes]);
        assert!(!violated, "{}", bytes.escape_ascii());
        let reply = |frame| if let Frame::Reply(value) = frame { value } else { panic!("{frame:?}") };
        frames.into_iter().map(reply).collect()
    }

    #[test]
    fn every_kind_of_answer_is_read() {
        let all = b"+OK\r\n-ERR no\r\n:-12\r\n$3\r\na\r\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n_\r\n#t\r\n,1.5\r\n(123\r\n!3\r\nERR\r\n=6\r\ntxt:hi\r\n";
        let expected = [
            text("OK"),
            Value::Error(b"ERR no".to_vec()),
            Value::Number(-12),
            text("a\r\n"),
            text(""),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Boolean(true),
            text("1.5"),
            text("123"),
            Value::Error(b"ERR".to_vec()),
            text("hi"),
        ];
        assert_eq!(values(all), expected);
        let nested = values(b"*3\r\n*0\r\n%1\r\n+a\r\n:1\r\n~1\r\n$1\r\nx\r\n");
        let map = Value::List(vec![text("a"), Value::Number(1)]);
        assert_eq!(map.under(b"a"), Some(&Value::Number(1)));
        assert_eq!(nested, [Value::List(vec![Value::List(Vec::new()), map, Value::List(vec![text("x")])])]);
    }

    #[test]
    fn t265_pushes_stand_between_replies_and_never_inside_of_one() {
        let (frames, violated) = read(&[b"+a\r\n>2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n+b\r\n"]);
        assert!(!violated);
        let push = Frame::Push(vec![text("invalidate"), Value::List(vec![text("k")])]);
        assert_eq!(frames, [Frame::Reply(text("a")), push, Frame::Reply(text("b"))]);
        assert!(read(&[b"*1\r\n>1\r\n+a\r\n"]).1);
    }

    #[test]
    fn f19_how_the_bytes_are_cut_changes_nothing() {
        let stream =
            b"*2\r\n$5\r\nab\r\nc\r\n:7\r\n>1\r\n+push\r\n-ERR x\r\n%1\r\n+k\r\n_\r\n$3\r\nend\r\n*1\r\n:x\r\n";
        let whole = read(&[stream]);
        assert!(whole.1 && whole.0.len() == 5);
        for cut in 0..stream.len() {
            for second in cut..stream.len() {
                let (head, rest) = stream.split_at(cut);
                let (middle, tail) = rest.split_at(second - cut);
                assert_eq!(read(&[head, middle, tail]), whole, "{cut} {second}");
            }
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(read(&single), whole);
    }

    #[test]
    fn t265_what_is_no_resp_ends_the_connection() {
        let refused: &[&[u8]] = &[
            b"hello\r\n",
            b"\r\n",
            b"+a\n",
            b"+a\rb\r\n",
            b"+a\nb\r\n",
            b":\r\n",
            b":+1\r\n",
            b":01\r\n",
            b":-0\r\n",
            b":1 \r\n",
            b":9223372036854775808\r\n",
            b"$-2\r\n",
            b"$x\r\n",
            b"$?\r\n",
            b"*?\r\n",
            b"$1\r\nab\r\n",
            b"$1\r\na\n\r",
            b"!-1\r\n",
            b"%-1\r\n",
            b">-1\r\n",
            b"=2\r\nhi\r\n",
            b"_x\r\n",
            b"#y\r\n",
            b",\r\n",
            b"(1 2\r\n",
            b"|1\r\n+a\r\n+b\r\n",
        ];
        for bytes in refused {
            let (frames, violated) = read(&[bytes]);
            assert!(violated && frames.is_empty(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn t265_depth_count_and_length_are_bounded_before_anything_is_set_aside() {
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert_eq!(read(&[&nested(RESP_DEPTH_MAX)]).0.len(), 1);
        assert!(read(&[&nested(RESP_DEPTH_MAX + 1)]).1);
        assert!(read(&[&b"*1\r\n".repeat(10_000)]).1);

        for kind in ["*", "~", "%", ">"] {
            assert!(read(&[format!("{kind}{}\r\n", RESP_VALUES_MAX + 1).as_bytes()]).1, "{kind}");
        }
        // Many small lists are as much as one long one.
        let lists = [b"*8\r\n".to_vec(), format!("*{}\r\n", RESP_VALUES_MAX - 8).into_bytes()].concat();
        assert!(!read(&[&lists]).1);
        let lists = [b"*8\r\n".to_vec(), format!("*{}\r\n", RESP_VALUES_MAX - 7).into_bytes()].concat();
        assert!(read(&[&lists]).1);

        assert!(read(&[format!("${}\r\n", RESP_FRAME_MAX + 1).as_bytes()]).1);
        assert!(read(&[b"$99999999999999999999\r\n"]).1);
        let half = [format!("*2\r\n${}\r\n", RESP_FRAME_MAX / 2).into_bytes(), vec![b'x'; RESP_FRAME_MAX / 2]].concat();
        assert!(read(&[&half, format!("\r\n${}\r\n", RESP_FRAME_MAX / 2).as_bytes()]).1);

        let line = |length: usize| [b"+".to_vec(), vec![b'x'; length]].concat();
        assert!(!read(&[&line(RESP_LINE_MAX), b"\r\n"]).1);
        assert!(read(&[&line(RESP_LINE_MAX + 1)]).1, "no end in sight");
    }

    #[test]
    fn a_command_is_a_list_of_texts_whatever_they_hold() {
        let parts: [&[u8]; 4] = [b"SET", b"k\r\n*1", b"", &[0, 255]];
        let expected = parts.iter().map(|part| Value::Text(part.to_vec())).collect();
        assert_eq!(values(&command(&parts)), [Value::List(expected)]);
    }
}
