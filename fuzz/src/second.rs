//! A second reader of HTTP/1.1 messages, stricter than the RFC where readers differ: what it takes has one reading.
//!
//! RFC 9112 sections 3 (request line), 6.3 (length) and 7.1 (chunked coding). Heads are httparse's, bodies are read here.

/// A message whose body has come whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The method.
    pub method: String,
    /// The target as it came.
    pub target: String,
    /// Names in small letters, values as they came, in their order.
    pub fields: Vec<(String, Vec<u8>)>,
    /// The body without its framing.
    pub body: Vec<u8>,
}

impl Message {
    /// The values of all fields of this name, in their order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_slice()).collect()
    }
}

/// What comes behind a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read<T> {
    /// It is here, and this many bytes long.
    Whole(T, usize),
    /// Its end has not come.
    Partial,
    /// It is none.
    Bad,
}

/// The first request of these bytes.
#[must_use]
pub fn request(bytes: &[u8]) -> Read<Message> {
    // RFC 9112 section 2.2: empty lines before a request are none.
    let mut lead = 0;
    while bytes.get(lead..).is_some_and(|rest| rest.starts_with(b"\r\n")) {
        lead += 2;
    }
    let Some(rest) = bytes.get(lead..).filter(|rest| !rest.is_empty()) else { return Read::Partial };
    let end = rest.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
    let Some(head) = end.and_then(|end| rest.get(..end)) else {
        return if lone_line_end(rest) { Read::Bad } else { Read::Partial };
    };
    let mut space = [httparse::EMPTY_HEADER; 256];
    let mut parsed = httparse::Request::new(&mut space);
    let is_whole = matches!(parsed.parse(head), Ok(httparse::Status::Complete(end)) if end == head.len());
    if lone_line_end(head) || !is_whole {
        return Read::Bad;
    }
    let fields: Vec<_> =
        parsed.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
    let mut message = Message {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: parsed.path.unwrap_or_default().to_owned(),
        fields,
        body: Vec::new(),
    };
    let (lengths, codings) = (message.all("content-length"), message.all("transfer-encoding"));
    let body = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Read::Whole(Vec::new(), 0),
        ([length], []) => sized(length, rest.get(head.len()..).unwrap_or_default()),
        ([], [coding]) if parsed.version == Some(1) && coding.eq_ignore_ascii_case(b"chunked") => {
            chunked(rest.get(head.len()..).unwrap_or_default())
        }
        _ => Read::Bad,
    };
    match body {
        Read::Bad => Read::Bad,
        Read::Partial => Read::Partial,
        Read::Whole(body, length) => {
            message.body = body;
            Read::Whole(message, lead + head.len() + length)
        }
    }
}

/// All whole requests of these bytes, and how they end: at the end of one, in the middle, or with something else.
#[must_use]
pub fn requests(bytes: &[u8]) -> (Vec<Message>, Read<()>) {
    let (mut all, mut rest) = (Vec::new(), bytes);
    loop {
        match request(rest) {
            Read::Whole(message, length) => {
                all.push(message);
                rest = rest.get(length..).unwrap_or_default();
                if rest.is_empty() {
                    return (all, Read::Whole((), bytes.len()));
                }
            }
            Read::Partial => return (all, Read::Partial),
            Read::Bad => return (all, Read::Bad),
        }
    }
}

/// The first final answer of these bytes, to a GET, and how its end is known. `closed`: nothing comes behind them.
#[must_use]
pub fn answer(bytes: &[u8], closed: bool) -> Read<(u16, Message)> {
    let mut place = 0;
    loop {
        let rest = bytes.get(place..).unwrap_or_default();
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        let Some(head) = end.and_then(|end| rest.get(..end)) else { return Read::Partial };
        let mut space = [httparse::EMPTY_HEADER; 256];
        let mut parsed = httparse::Response::new(&mut space);
        let is_whole = matches!(parsed.parse(head), Ok(httparse::Status::Complete(end)) if end == head.len());
        let Some(status) = parsed.code.filter(|_| is_whole && !lone_line_end(head)) else { return Read::Bad };
        place += head.len();
        if (100..200).contains(&status) && status != 101 {
            continue;
        }
        let fields =
            parsed.headers.iter().map(|field| (field.name.to_ascii_lowercase(), field.value.to_vec())).collect();
        let mut message = Message { method: String::new(), target: String::new(), fields, body: Vec::new() };
        let rest = bytes.get(place..).unwrap_or_default();
        let (lengths, codings) = (message.all("content-length"), message.all("transfer-encoding"));
        let body = match (lengths.as_slice(), codings.as_slice()) {
            _ if matches!(status, 204 | 304) => Read::Whole(Vec::new(), 0),
            // RFC 9112 section 6.3: the coding overrides the length.
            (_, [coding]) if coding.eq_ignore_ascii_case(b"chunked") => chunked(rest),
            ([length], []) => sized(length, rest),
            ([], []) if closed => Read::Whole(rest.to_vec(), rest.len()),
            ([], []) => Read::Partial,
            _ => Read::Bad,
        };
        return match body {
            Read::Bad => Read::Bad,
            Read::Partial => Read::Partial,
            Read::Whole(body, length) => {
                message.body = body;
                Read::Whole((status, message), place + length)
            }
        };
    }
}

fn sized(length: &[u8], rest: &[u8]) -> Read<Vec<u8>> {
    let is_plain = !length.is_empty() && length.len() < 20 && length.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(length).ok().filter(|_| is_plain).and_then(|text| text.parse::<u64>().ok());
    let Some(length) = length else { return Read::Bad };
    match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
        Some(body) => Read::Whole(body.to_vec(), body.len()),
        None => Read::Partial,
    }
}

/// A body in chunks, with its trailers, from its first byte to the one behind its last.
#[must_use]
pub fn chunked(bytes: &[u8]) -> Read<Vec<u8>> {
    let (mut body, mut place) = (Vec::new(), 0);
    loop {
        let line = match line(bytes, place) {
            Read::Whole(line, next) => {
                place = next;
                line
            }
            Read::Partial => return Read::Partial,
            Read::Bad => return Read::Bad,
        };
        let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let is_plain = !size.is_empty() && size.len() <= 16 && size.iter().all(u8::is_ascii_hexdigit);
        let size =
            std::str::from_utf8(size).ok().filter(|_| is_plain).and_then(|size| u64::from_str_radix(size, 16).ok());
        let Some(size) = size else { return Read::Bad };
        if size == 0 {
            break;
        }
        let end = usize::try_from(size).ok().and_then(|size| place.checked_add(size));
        let Some(data) = end.and_then(|end| bytes.get(place..end)) else { return Read::Partial };
        body.extend_from_slice(data);
        place += data.len();
        match bytes.get(place..).unwrap_or_default() {
            [b'\r', b'\n', ..] => place += 2,
            [] | [b'\r'] => return Read::Partial,
            _ => return Read::Bad,
        }
    }
    // Trailers: lines until an empty one.
    loop {
        match line(bytes, place) {
            Read::Whole([], next) => return Read::Whole(body, next),
            Read::Whole(_, next) => place = next,
            Read::Partial => return Read::Partial,
            Read::Bad => return Read::Bad,
        }
    }
}

/// The line that begins here, and where the next one does.
fn line(bytes: &[u8], place: usize) -> Read<&[u8]> {
    let rest = bytes.get(place..).unwrap_or_default();
    let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Read::Partial };
    match rest.get(..end).and_then(|line| line.strip_suffix(b"\r")) {
        Some(line) => Read::Whole(line, place + end + 1),
        None => Read::Bad,
    }
}

/// Whether a line ends otherwise than in CR LF.
fn lone_line_end(bytes: &[u8]) -> bool {
    let mut before = 0;
    bytes.iter().any(|byte| {
        let lone = *byte == b'\n' && before != b'\r';
        before = *byte;
        lone
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_two_readings_is_no_request() {
        let good = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nT: u\r\n\r\n";
        let Read::Whole(message, length) = request(good) else { panic!("it is one") };
        assert_eq!((message.body.as_slice(), length), (&b"hi"[..], good.len()));
        for bad in [
            "POST /a HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            "POST /a HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
            "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx",
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy",
            "GET /a HTTP/1.1\nHost: x\n\n",
        ] {
            assert_eq!(request(bad.as_bytes()), Read::Bad, "{bad:?}");
        }
        let (all, end) = requests(b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nab");
        assert_eq!((all.len(), end), (1, Read::Partial));
    }
}
