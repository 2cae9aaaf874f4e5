//! Where one request ends and the next begins, read strictly before the HTTP library sees a byte.
//!
//! RFC 9112 lets a recipient repair a good deal: a lone line feed, `Content-Length` beside `Transfer-Encoding`, one
//! length stated twice. The library repairs silently, so that nobody behind it can tell. A proxy in front of the
//! gateway may repair the other way round, and then the two disagree about where a request ends (request smuggling).
//! This room refuses every such message; what passes has exactly one reading. It judges framing only: tokens, targets
//! and field values are the library's.
//!
//! RFC 9112 sections 2.2 (line ends), 5.2 (folding), 6 (message body) and 7.1 (chunked coding).

use std::borrow::Cow;

use portcullis_domain::limits;

/// A message that could be read in two ways, or is longer than is read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misframed {
    /// A line that does not end in CR LF (RFC 9112 section 2.2).
    LineEnd,
    /// A request line that is not `method target HTTP/1.0` or `HTTP/1.1`, or whose target has a fragment.
    RequestLine,
    /// A folded or otherwise indented header line (RFC 9112 section 5.2).
    Folded,
    /// A `Content-Length` that is not plain digits, or a second one.
    ContentLength,
    /// A `Transfer-Encoding` that is not `chunked` alone, a second one, or one in HTTP/1.0.
    TransferEncoding,
    /// Both of them (RFC 9112 section 6.3).
    Both,
    /// A chunk whose size line or end is not as RFC 9112 section 7.1 has it.
    Chunk,
    /// A head, a field count or a trailer section beyond its bound.
    TooLarge,
}

/// Which part of a message the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Between two messages: not one byte of the next is here.
    Between,
    /// Inside a head.
    Head,
    /// Inside a body.
    Body,
}

/// Follows the requests of one connection byte by byte.
#[derive(Debug)]
pub struct Framing {
    state: State,
    /// The begin of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Bytes of this head, or of this trailer section.
    section: usize,
    fields: usize,
    length: Option<u64>,
    chunked: bool,
    old: bool,
    /// Heads that have come to their end.
    heads: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    RequestLine,
    Field,
    Sized(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
}

impl Default for Framing {
    fn default() -> Self {
        Self::new()
    }
}

impl Framing {
    /// At the begin of a connection.
    pub fn new() -> Self {
        Self {
            state: State::RequestLine,
            partial: Vec::new(),
            section: 0,
            fields: 0,
            length: None,
            chunked: false,
            old: false,
            heads: 0,
        }
    }

    /// Takes the bytes that came next. After a refusal the connection must end.
    pub fn feed(&mut self, mut rest: &[u8]) -> Result<(), Misframed> {
        while !rest.is_empty() {
            match self.state {
                State::Sized(left) => {
                    let (after, behind) = skip(rest, left);
                    rest = behind;
                    if after == 0 {
                        self.begin();
                    } else {
                        self.state = State::Sized(after);
                    }
                }
                State::ChunkData(left) => {
                    let (after, behind) = skip(rest, left);
                    rest = behind;
                    self.state = if after == 0 { State::ChunkEnd } else { State::ChunkData(after) };
                }
                State::Field if self.partial.is_empty() => {
                    rest = self.feed_fields(rest)?;
                    if self.state == State::Field && !rest.is_empty() {
                        rest = self.feed_line(rest)?;
                    }
                }
                State::RequestLine | State::Field | State::ChunkSize | State::ChunkEnd | State::Trailer => {
                    rest = self.feed_line(rest)?;
                }
            }
        }
        Ok(())
    }

    /// Takes the lines of fields that are here whole, as those of most heads are, and hands back what lies behind them: as
    /// [`Self::feed_line`] does with one, but without asking of each what else it could be.
    fn feed_fields<'a>(&mut self, mut rest: &'a [u8]) -> Result<&'a [u8], Misframed> {
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let used = end.saturating_add(1);
            let (line, behind) = rest.split_at_checked(used).ok_or(Misframed::LineEnd)?;
            self.section = self.section.saturating_add(used);
            if self.section > limits::HEAD_MAX {
                return Err(Misframed::TooLarge);
            }
            let line = line.strip_suffix(b"\r\n").ok_or(Misframed::LineEnd)?;
            rest = behind;
            if line.is_empty() {
                self.head_end()?;
                break;
            }
            self.field(line)?;
        }
        Ok(rest)
    }

    /// Where the connection stands.
    pub fn place(&self) -> Place {
        match self.state {
            State::RequestLine if self.section == 0 => Place::Between,
            State::RequestLine | State::Field => Place::Head,
            State::Sized(_) | State::ChunkSize | State::ChunkData(_) | State::ChunkEnd | State::Trailer => Place::Body,
        }
    }

    /// How many of the bytes that came last are a head whose end has not come yet.
    pub fn unfinished(&self) -> usize {
        match self.state {
            State::RequestLine | State::Field => self.section,
            State::Sized(_) | State::ChunkSize | State::ChunkData(_) | State::ChunkEnd | State::Trailer => 0,
        }
    }

    /// How many heads have come whole, from the connection's first on, round about after `u32::MAX`.
    pub fn heads(&self) -> u32 {
        self.heads
    }

    /// Takes one line, or what has come of it, and hands back the bytes behind it.
    fn feed_line<'a>(&mut self, rest: &'a [u8]) -> Result<&'a [u8], Misframed> {
        let (piece, behind) = rest.split_at_checked(through_line_feed(rest)).ok_or(Misframed::LineEnd)?;
        let (most, refusal) = match self.state {
            State::ChunkSize | State::ChunkEnd => (limits::CHUNK_LINE_MAX, Misframed::Chunk),
            State::Trailer => (limits::TRAILERS_MAX, Misframed::TooLarge),
            _ => (limits::HEAD_MAX, Misframed::TooLarge),
        };
        // Whoever speaks another protocol, TLS for one, is not waited for until the line ends.
        if self.state == State::RequestLine {
            let looked_at = piece.get(..most.saturating_sub(self.section)).unwrap_or(piece);
            // All of it, without stopping at the first: that is many bytes at a time.
            if looked_at.iter().fold(false, |found, byte| found | is_foreign(*byte)) {
                return Err(Misframed::RequestLine);
            }
        }
        self.section = self.section.saturating_add(piece.len());
        if self.section > most {
            return Err(refusal);
        }
        if piece.last() != Some(&b'\n') {
            self.partial.extend_from_slice(piece);
            return Ok(behind);
        }
        let line = if self.partial.is_empty() {
            Cow::Borrowed(piece)
        } else {
            self.partial.extend_from_slice(piece);
            Cow::Owned(std::mem::take(&mut self.partial))
        };
        let line = line.strip_suffix(b"\r\n").ok_or(Misframed::LineEnd)?;
        self.line(line)?;
        Ok(behind)
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Misframed> {
        match self.state {
            State::RequestLine => self.request_line(line),
            State::Field if line.is_empty() => self.head_end(),
            State::Field => self.field(line),
            State::ChunkSize => {
                let size = chunk_size(line)?;
                self.section = 0;
                self.state = if size == 0 { State::Trailer } else { State::ChunkData(size) };
                Ok(())
            }
            State::ChunkEnd => {
                if !line.is_empty() {
                    return Err(Misframed::Chunk);
                }
                self.section = 0;
                self.state = State::ChunkSize;
                Ok(())
            }
            State::Trailer => {
                if line.is_empty() {
                    self.begin();
                }
                Ok(())
            }
            State::Sized(_) | State::ChunkData(_) => Ok(()),
        }
    }

    fn request_line(&mut self, line: &[u8]) -> Result<(), Misframed> {
        // RFC 9112 section 2.2: a server should ignore an empty line before the request line. It counts as part of the
        // head, so that the head's bound and deadline hold.
        if line.is_empty() {
            return Ok(());
        }
        self.old = if line.ends_with(b" HTTP/1.1") {
            false
        } else if line.ends_with(b" HTTP/1.0") {
            true
        } else {
            return Err(Misframed::RequestLine);
        };
        // A target has no fragment (RFC 9112 section 3.2). The library would cut it off, and a proxy in front may have gone by it.
        if line.first().is_none_or(u8::is_ascii_whitespace) || line.contains(&b'#') {
            return Err(Misframed::RequestLine);
        }
        self.state = State::Field;
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Misframed> {
        self.fields = self.fields.saturating_add(1);
        if self.fields > limits::HEADER_FIELDS_MAX {
            return Err(Misframed::TooLarge);
        }
        // A space before the colon is refused by the library, so that an exact name followed by a colon is enough here.
        match line.first() {
            Some(b' ' | b'\t') => Err(Misframed::Folded),
            Some(b'c' | b'C') => match value_of(line, b"content-length") {
                Some(value) if self.length.is_none() => {
                    self.length = Some(content_length(value)?);
                    Ok(())
                }
                Some(_) => Err(Misframed::ContentLength),
                None => Ok(()),
            },
            Some(b't' | b'T') => match value_of(line, b"transfer-encoding") {
                Some(value) if !self.chunked && !self.old && value.eq_ignore_ascii_case(b"chunked") => {
                    self.chunked = true;
                    Ok(())
                }
                Some(_) => Err(Misframed::TransferEncoding),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn head_end(&mut self) -> Result<(), Misframed> {
        self.heads = self.heads.wrapping_add(1);
        match (self.length, self.chunked) {
            (Some(_), true) => return Err(Misframed::Both),
            (None, true) => {
                self.section = 0;
                self.state = State::ChunkSize;
            }
            (None | Some(0), false) => self.begin(),
            (Some(length), false) => self.state = State::Sized(length),
        }
        Ok(())
    }

    /// The next message begins.
    fn begin(&mut self) {
        let partial = std::mem::take(&mut self.partial);
        *self = Self { partial, heads: self.heads, ..Self::new() };
    }
}

/// How many bytes the first line takes, its line feed included; all of them, if no line ends here.
pub(super) fn through_line_feed(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |place| place.saturating_add(1))
}

/// Skips at most `left` bytes: how many are still to come, and what lies behind.
fn skip(rest: &[u8], left: u64) -> (u64, &[u8]) {
    let here = u64::try_from(rest.len()).unwrap_or(u64::MAX).min(left);
    let behind = usize::try_from(here).ok().and_then(|here| rest.get(here..)).unwrap_or_default();
    (left.saturating_sub(here), behind)
}

/// The value of a header line if it has this name, without the white space around it.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    if !found.eq_ignore_ascii_case(name) {
        return None;
    }
    Some(trim(value))
}

/// Without the optional white space around it (RFC 9110 section 5.6.3), which is less than what else counts as white space.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let is_content = |byte: &u8| !matches!(byte, b' ' | b'\t');
    match (value.iter().position(is_content), value.iter().rposition(is_content)) {
        (Some(from), Some(to)) => value.get(from..=to).unwrap_or_default(),
        _ => b"",
    }
}

/// A length in plain digits.
pub(super) fn content_length(value: &[u8]) -> Result<u64, Misframed> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return Err(Misframed::ContentLength);
    }
    let digit = |sum: u64, byte: &u8| sum.checked_mul(10)?.checked_add(u64::from(byte.wrapping_sub(b'0')));
    value.iter().try_fold(0, digit).ok_or(Misframed::ContentLength)
}

/// The size that a chunk's line states.
pub(super) fn chunk_size(line: &[u8]) -> Result<u64, Misframed> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line.len());
    let (size, extension) = line.split_at_checked(digits).ok_or(Misframed::Chunk)?;
    if size.is_empty()
        || size.len() > 16
        || !matches!(extension.first(), None | Some(b';'))
        || extension.contains(&b'\r')
    {
        return Err(Misframed::Chunk);
    }
    let text = std::str::from_utf8(size).map_err(|_| Misframed::Chunk)?;
    u64::from_str_radix(text, 16).map_err(|_| Misframed::Chunk)
}

/// Whether a byte can be neither in a request line nor at its end.
fn is_foreign(byte: u8) -> bool {
    (byte < b' ' || byte == 0x7f) & (byte != b'\r') & (byte != b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Place, Misframed> {
        let mut framing = Framing::new();
        framing.feed(bytes)?;
        Ok(framing.place())
    }

    fn head(fields: &str) -> String {
        format!("POST / HTTP/1.1\r\n{fields}\r\n")
    }

    #[test]
    fn t221_each_refusal_has_its_name() {
        for (fields, fault) in [
            ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Misframed::Both),
            ("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", Misframed::Both),
            ("Content-Length: 1\r\nContent-Length: 1\r\n", Misframed::ContentLength),
            ("content-length:\r\n", Misframed::ContentLength),
            ("Content-Length: +1\r\n", Misframed::ContentLength),
            ("Content-Length: 99999999999999999999\r\n", Misframed::ContentLength),
            ("Transfer-Encoding: gzip, chunked\r\n", Misframed::TransferEncoding),
            ("TRANSFER-ENCODING: chunked\r\ntransfer-encoding: chunked\r\n", Misframed::TransferEncoding),
            ("A: b\r\n c\r\n", Misframed::Folded),
            ("A: b\n", Misframed::LineEnd),
        ] {
            assert_eq!(read(head(fields).as_bytes()), Err(fault), "{fields:?}");
        }
        assert_eq!(read(b"GET /\r\n"), Err(Misframed::RequestLine));
        assert_eq!(read(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n"), Err(Misframed::TransferEncoding));
        assert_eq!(read(&[b'a'; limits::HEAD_MAX + 1]), Err(Misframed::TooLarge));
    }

    #[test]
    fn places_are_told() {
        for (bytes, place) in [
            (String::new(), Place::Between),
            ("\r\n".to_owned(), Place::Head),
            ("P".to_owned(), Place::Head),
            (head(""), Place::Between),
            (head("Content-Length: 0\r\n"), Place::Between),
            (head("Content-Length: 3\r\n"), Place::Body),
            (head("Content-Length: 3\r\n") + "ab", Place::Body),
            (head("Content-Length: 3\r\n") + "abc", Place::Between),
            (head("Content-Length: 3\r\n") + "abcG", Place::Head),
            (head("Transfer-Encoding: Chunked \r\n"), Place::Body),
            (head("Transfer-Encoding: chunked\r\n") + "3\r\nabc\r\n0\r\n", Place::Body),
            (head("Transfer-Encoding: chunked\r\n") + "3\r\nabc\r\n0\r\n\r\n", Place::Between),
            (head("Transfer-Encoding: chunked\r\n") + "0\r\nA: b\r\n\r\nG", Place::Head),
        ] {
            assert_eq!(read(bytes.as_bytes()), Ok(place), "{bytes:?}");
        }
    }

    #[test]
    fn t246_the_begin_of_what_is_no_request_is_refused_at_once() {
        for bytes in [&b"\x16\x03\x01\x02"[..], b"\0", b"GET /\x7f", b"\tGET /", b"GET /\t HTTP/1.1\n"] {
            assert_eq!(read(bytes), Err(Misframed::RequestLine), "{bytes:?}");
        }
        assert_eq!(read(b"GET / HTTP/1.1\r"), Ok(Place::Head));
    }

    #[test]
    fn what_is_unfinished_is_the_last_head_alone() {
        for (bytes, unfinished) in [
            (String::new(), 0),
            ("GET".to_owned(), 3),
            ("\r\nGET".to_owned(), 5),
            (head(""), 0),
            (head("Content-Length: 3\r\n") + "ab", 0),
            (head("Content-Length: 3\r\n") + "abcGE", 2),
            (head("Transfer-Encoding: chunked\r\n") + "0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\nA", 17),
        ] {
            let mut framing = Framing::new();
            assert_eq!(framing.feed(bytes.as_bytes()), Ok(()));
            assert_eq!(framing.unfinished(), unfinished, "{bytes:?}");
        }
    }

    #[test]
    fn it_makes_no_difference_how_the_bytes_arrive() {
        let messages = [
            head("Content-Length: 5\r\n")
                + "hello"
                + &head("Transfer-Encoding: chunked\r\n")
                + "a;b=c\r\n0123456789\r\n0\r\nX: y\r\n\r\n"
                + "GET",
            head("Transfer-Encoding: chunked\r\n") + "2\r\nabX",
            head("A: b\r\nContent-Length: 1\r\nB: c\n"),
        ];
        for message in messages {
            let whole = read(message.as_bytes());
            for step in 1..message.len() {
                let mut framing = Framing::new();
                let fed = message.as_bytes().chunks(step).try_for_each(|piece| framing.feed(piece));
                assert_eq!(fed.map(|()| framing.place()), whole, "in steps of {step}: {message:?}");
            }
        }
    }
}
