//! The head of an answer: its status, the fields that may go on, and what it says of the message itself.

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE, TRANSFER_ENCODING,
};
use portcullis_domain::limits;

use super::ends::Ends;
use crate::http::framing::{content_length, through_line_feed, trim};
use crate::http::headers;

/// A head that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misanswered {
    /// A line that does not end in CR LF.
    LineEnd,
    /// A status line that is not `HTTP/1.1 200 …`.
    StatusLine,
    /// A field without a name or with characters that none has, or a folded one.
    Field,
    /// The end of the body can be found in two ways, or in none.
    Length,
    /// More bytes or fields than are read.
    TooLarge,
}

/// The head of an answer, with the fields that may go on to the client.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The fields.
    pub headers: HeaderMap,
    /// Where the body ends.
    pub(super) ends: Ends,
    /// Another request may follow on the connection.
    pub(super) keeps: bool,
    /// For how many seconds the upstream says that it keeps the connection: `Keep-Alive: timeout=5`, as the servers of Node say it.
    pub kept_for: Option<u64>,
    /// The body is an event stream.
    pub is_event_stream: bool,
}

/// The end of the head in these bytes, if it has come. `line` is where the first line begins that had not come whole.
pub(super) fn end(bytes: &[u8], line: &mut usize) -> Result<Option<usize>, Misanswered> {
    loop {
        let rest = bytes.get(*line..).unwrap_or_default();
        let used = through_line_feed(rest);
        let end = line.saturating_add(used);
        if end > limits::UPSTREAM_HEAD_MAX {
            return Err(Misanswered::TooLarge);
        }
        match rest.get(..used) {
            Some(b"\r\n") => return Ok(Some(end)),
            Some([.., b'\r', b'\n']) => *line = end,
            Some([.., b'\n']) => return Err(Misanswered::LineEnd),
            _ => return Ok(None),
        }
    }
}

impl Head {
    /// Reads a whole head. `is_head`: it answers a HEAD request, so no body follows. `room` is emptied and becomes the fields, unless
    /// the answer itself is still to come.
    pub(super) fn read(bytes: &Bytes, is_head: bool, room: &mut HeaderMap) -> Result<Self, Misanswered> {
        let mut lines = Lines { bytes, at: 0 };
        let (old, status) = status_line(lines.next().unwrap_or_default())?;
        let mut found = Found::default();
        let mut map = if is_interim(status) || room.capacity() > FIELDS_KEPT {
            HeaderMap::with_capacity(FIELDS)
        } else {
            std::mem::take(room)
        };
        map.clear();
        let mut count = 0_usize;
        while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
            count = count.saturating_add(1);
            if count > limits::HEADER_FIELDS_MAX {
                return Err(Misanswered::TooLarge);
            }
            let (name, value) = field(bytes, line)?;
            found.look(&name, &value)?;
            if headers::passes_response(name.as_str()) {
                map.append(name, value);
            }
        }
        let is_event_stream = found.is_to_be_changed && headers::back(&mut map, &found.connection);
        let closes =
            found.connection.iter().flat_map(headers::tokens).any(|token| token.eq_ignore_ascii_case(b"close"));
        Ok(Self {
            status,
            headers: map,
            ends: found.ends(status, is_head, old)?,
            keeps: !old && !closes,
            kept_for: found.kept_for,
            is_event_stream,
        })
    }

    /// Whether the answer itself is still to come.
    pub(super) fn is_interim(&self) -> bool {
        is_interim(self.status)
    }
}

/// 101 is none of these: nothing follows it that could be read.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

/// The lines of a head that has come whole, without their ends.
struct Lines<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Iterator for Lines<'b> {
    type Item = &'b [u8];

    fn next(&mut self) -> Option<&'b [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let used = through_line_feed(rest);
        self.at = self.at.saturating_add(used);
        rest.get(..used)?.strip_suffix(b"\r\n")
    }
}

/// Whether it is of HTTP/1.0, and the status.
fn status_line(line: &[u8]) -> Result<(bool, StatusCode), Misanswered> {
    let old = match line.get(..9) {
        Some(b"HTTP/1.1 ") => false,
        Some(b"HTTP/1.0 ") => true,
        _ => return Err(Misanswered::StatusLine),
    };
    // The reason phrase is for nobody, but it has no controls in it, and a space in front.
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if !matches!(line.get(12), None | Some(b' ')) || !line.iter().all(is_text) {
        return Err(Misanswered::StatusLine);
    }
    let status = line.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
    Ok((old, status.ok_or(Misanswered::StatusLine)?))
}

/// One field. The value is a part of the head's own bytes.
fn field(head: &Bytes, line: &[u8]) -> Result<(HeaderName, HeaderValue), Misanswered> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Misanswered::Field)?;
    let (name, value) = line.split_at_checked(colon).ok_or(Misanswered::Field)?;
    let value = trim(value.get(1..).unwrap_or_default());
    // A name has no white space, so that neither a folded line nor a space before the colon is one.
    let name = HeaderName::from_bytes(name).map_err(|_| Misanswered::Field)?;
    let value = if value.is_empty() { Bytes::new() } else { head.slice_ref(value) };
    Ok((name, HeaderValue::from_maybe_shared(value).map_err(|_| Misanswered::Field)?))
}

/// What the fields say of the message itself.
#[derive(Default)]
struct Found {
    length: Option<u64>,
    chunked: bool,
    connection: Vec<HeaderValue>,
    kept_for: Option<u64>,
    /// There is something in it that [`headers::back`] minds, which is not so in most answers.
    is_to_be_changed: bool,
}

impl Found {
    fn look(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), Misanswered> {
        if *name == CONTENT_LENGTH {
            let length = content_length(value.as_bytes()).map_err(|_| Misanswered::Length)?;
            if self.length.replace(length).is_some() {
                return Err(Misanswered::Length);
            }
        } else if *name == TRANSFER_ENCODING {
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Misanswered::Length);
            }
            self.chunked = true;
        } else if *name == CONTENT_TYPE {
            self.is_to_be_changed |= headers::names_event_stream(value);
        } else if *name == SET_COOKIE {
            self.is_to_be_changed = true;
        } else if *name == CONNECTION {
            self.is_to_be_changed = true;
            self.connection.push(value.clone());
        } else if name.as_str() == "keep-alive" {
            let hint = value.to_str().unwrap_or_default();
            let seconds = hint.split(',').find_map(|part| part.trim().strip_prefix("timeout="));
            self.kept_for = seconds.and_then(|seconds| seconds.parse().ok());
        }
        Ok(())
    }

    fn ends(&self, status: StatusCode, is_head: bool, old: bool) -> Result<Ends, Misanswered> {
        let has_body = !is_head
            && !status.is_informational()
            && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Misanswered::Length),
            (None, true) if old => Err(Misanswered::Length),
            _ if !has_body => Ok(Ends::Here),
            (Some(0), false) => Ok(Ends::Here),
            (Some(length), false) => Ok(Ends::Length(length)),
            (None, true) => Ok(Ends::chunked()),
            (None, false) => Ok(Ends::Close),
        }
    }
}

/// Fields that most answers have.
const FIELDS: usize = 8;
/// Room for more fields than this is not kept for the next message, or a connection would keep it for as long as it lives.
const FIELDS_KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Head, Misanswered> {
        let mut line = 0;
        let end = end(text.as_bytes(), &mut line)?.expect("the head is whole");
        assert_eq!(end, text.len());
        Head::read(&Bytes::copy_from_slice(text.as_bytes()), false, &mut HeaderMap::new())
    }

    #[test]
    fn t234_each_refusal_has_its_name() {
        for (text, fault) in [
            ("HTTP/1.1 200 OK\n\n", Misanswered::LineEnd),
            ("HTTP/1.1 200 OK\r\nA: b\n\r\n", Misanswered::LineEnd),
            ("HTTP/2 200 OK\r\n\r\n", Misanswered::StatusLine),
            ("http/1.1 200 OK\r\n\r\n", Misanswered::StatusLine),
            ("HTTP/1.1  200 OK\r\n\r\n", Misanswered::StatusLine),
            ("HTTP/1.1 20 OK\r\n\r\n", Misanswered::StatusLine),
            ("HTTP/1.1 2000 OK\r\n\r\n", Misanswered::StatusLine),
            ("HTTP/1.1 099\r\n\r\n", Misanswered::StatusLine),
            ("HTTP/1.1 200 O\rK\r\n\r\n", Misanswered::StatusLine),
            ("SSH-2.0-x\r\n\r\n", Misanswered::StatusLine),
            ("\r\n", Misanswered::StatusLine),
            ("HTTP/1.1 200\r\nA\r\n\r\n", Misanswered::Field),
            ("HTTP/1.1 200\r\n: b\r\n\r\n", Misanswered::Field),
            ("HTTP/1.1 200\r\nA : b\r\n\r\n", Misanswered::Field),
            ("HTTP/1.1 200\r\nA: b\r\n c\r\n\r\n", Misanswered::Field),
            ("HTTP/1.1 200\r\nA: b\rc\r\n\r\n", Misanswered::Field),
            ("HTTP/1.1 200\r\nA: b\r \r\n\r\n", Misanswered::Field),
            ("HTTP/1.1 200\r\nA: b\0\r\n\r\n", Misanswered::Field),
            ("HTTP/1.1 200\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Misanswered::Length),
            ("HTTP/1.1 200\r\nContent-Length: 1, 1\r\n\r\n", Misanswered::Length),
            ("HTTP/1.1 200\r\nContent-Length: +1\r\n\r\n", Misanswered::Length),
            ("HTTP/1.1 200\r\nContent-Length:\r\n\r\n", Misanswered::Length),
            ("HTTP/1.1 200\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Misanswered::Length),
            ("HTTP/1.1 204\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", Misanswered::Length),
            ("HTTP/1.1 200\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Misanswered::Length),
            ("HTTP/1.1 200\r\nTransfer-Encoding: identity\r\n\r\n", Misanswered::Length),
            ("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", Misanswered::Length),
            ("HTTP/1.0 200\r\nTransfer-Encoding: chunked\r\n\r\n", Misanswered::Length),
        ] {
            assert_eq!(read(text).map(|head| head.status).unwrap_err(), fault, "{text:?}");
        }
        let large = format!("HTTP/1.1 200\r\nA: {}", "b".repeat(limits::UPSTREAM_HEAD_MAX));
        assert_eq!(end(large.as_bytes(), &mut 0), Err(Misanswered::TooLarge));
        let many = format!("HTTP/1.1 200\r\n{}\r\n", "A: b\r\n".repeat(limits::HEADER_FIELDS_MAX + 1));
        assert_eq!(read(&many).unwrap_err(), Misanswered::TooLarge);
    }

    #[test]
    fn the_room_of_an_earlier_message_is_taken_and_nothing_of_it_stays() {
        let earlier = |fields: usize| {
            let mut room = HeaderMap::with_capacity(fields);
            room.append("authorization", HeaderValue::from_static("Bearer of the request"));
            room.append("x-two", HeaderValue::from_static("1"));
            room.append("x-two", HeaderValue::from_static("2"));
            room
        };
        let read = |status: &str, room: &mut HeaderMap| {
            let text = format!("HTTP/1.1 {status}\r\nA: b\r\n\r\n");
            Head::read(&Bytes::from(text), false, room).unwrap().headers
        };
        let mut room = earlier(12);
        let headers = read("200 OK", &mut room);
        assert_eq!((headers.len(), room.len(), room.capacity()), (1, 0, 0));
        assert!(headers.capacity() >= 12 && headers.get_all("x-two").iter().next().is_none());
        // Of an interim answer nothing is kept, and a request may still have to be sent again.
        let mut room = earlier(12);
        assert_eq!((read("103 Early Hints", &mut room).len(), room.len()), (1, 3));
        let mut room = earlier(100);
        assert!(
            read("200 OK", &mut room).capacity() < 100,
            "a large map is not kept for as long as a connection lives"
        );
    }

    #[test]
    fn the_end_of_the_body_is_found_in_one_way() {
        for (text, ends, keeps) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Ends::Length(5), true),
            ("HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n", Ends::Here, true),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", Ends::chunked(), true),
            ("HTTP/1.1 204 No Content\r\n\r\n", Ends::Here, true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Ends::Here, true),
            ("HTTP/1.1 200 OK\r\n\r\n", Ends::Close, true),
            ("HTTP/1.1 200 OK\r\nConnection: Close, X-A\r\nContent-Length: 5\r\n\r\n", Ends::Length(5), false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Ends::Length(5), false),
        ] {
            let head = read(text).unwrap();
            assert_eq!((head.ends, head.keeps), (ends, keeps), "{text:?}");
        }
        let asked = Bytes::from_static(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(
            Head::read(&asked, true, &mut HeaderMap::new()).unwrap().ends,
            Ends::Here,
            "the answer to HEAD has no body"
        );
    }

    #[test]
    fn values_come_without_the_white_space_around_them() {
        let head =
            read("HTTP/1.1 200 OK\r\nX-A: \t b c \r\nX-B:\r\nx-a:d\r\nKeep-Alive: timeout=5, max=9\r\n\r\n").unwrap();
        assert_eq!(head.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["b c", "d"]);
        assert_eq!((head.headers["x-b"].as_bytes(), head.kept_for), (&b""[..], Some(5)));
    }

    #[test]
    fn it_makes_no_difference_how_the_bytes_arrive() {
        let text = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\nhello";
        let (mut line, whole) = (0, end(text, &mut 0).unwrap());
        for count in 0..text.len() {
            let found = end(&text[..count], &mut line).unwrap();
            assert_eq!(found, whole.filter(|end| *end <= count), "{count}");
        }
    }
}
