//! Where the body of an answer ends (RFC 9112 section 6.3), and what of the bytes that came belongs to it.

use hyper::body::Bytes;
use portcullis_domain::limits;

use crate::http::framing::{Misframed, chunk_size, through_line_feed};

/// What is still to come of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Nothing.
    Here,
    /// So many bytes, and more than none.
    Length(u64),
    /// Chunks (RFC 9112 section 7.1).
    Chunked(Chunk),
    /// Whatever comes until the connection is closed.
    Close,
}

/// Where in a chunked body the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunk {
    /// In the line with a chunk's size.
    Size,
    /// In a chunk's data, of which so many bytes are left.
    Data(u64),
    /// Behind a chunk's data.
    End,
    /// In the trailer section, of which so many bytes were read.
    Trailer(usize),
}

/// What comes next of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// Some of it, never nothing.
    Data(Bytes),
    /// It was all there is.
    End,
    /// More must be heard first.
    More,
}

impl Ends {
    /// The begin of a chunked body.
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    /// Takes the next piece of the body out of what was heard.
    pub(super) fn take(&mut self, heard: &mut Bytes) -> Result<Piece, Misframed> {
        match self {
            Self::Here => Ok(Piece::End),
            Self::Close if heard.is_empty() => Ok(Piece::More),
            Self::Close => Ok(Piece::Data(std::mem::take(heard))),
            Self::Length(left) => {
                let Some(data) = take_data(heard, left) else { return Ok(Piece::More) };
                if *left == 0 {
                    *self = Self::Here;
                }
                Ok(Piece::Data(data))
            }
            Self::Chunked(chunk) => {
                let piece = chunk.take(heard)?;
                if piece == Piece::End {
                    *self = Self::Here;
                }
                Ok(piece)
            }
        }
    }
}

impl Chunk {
    fn take(&mut self, heard: &mut Bytes) -> Result<Piece, Misframed> {
        loop {
            match self {
                Self::Size => {
                    let Some(line) = line(heard, limits::CHUNK_LINE_MAX)? else { return Ok(Piece::More) };
                    *self = match chunk_size(&line)? {
                        0 => Self::Trailer(0),
                        size => Self::Data(size),
                    };
                }
                Self::Data(left) => {
                    let Some(data) = take_data(heard, left) else { return Ok(Piece::More) };
                    if *left == 0 {
                        *self = Self::End;
                    }
                    return Ok(Piece::Data(data));
                }
                Self::End => match line(heard, limits::CHUNK_LINE_MAX)? {
                    None => return Ok(Piece::More),
                    Some(line) if line.is_empty() => *self = Self::Size,
                    Some(_) => return Err(Misframed::Chunk),
                },
                Self::Trailer(seen) => {
                    let left = limits::TRAILERS_MAX.saturating_sub(*seen);
                    let Some(line) = line(heard, left)? else { return Ok(Piece::More) };
                    if line.is_empty() {
                        return Ok(Piece::End);
                    }
                    *seen = seen.saturating_add(line.len()).saturating_add(2);
                }
            }
        }
    }
}

/// As much as there is and belongs here; nothing if there is none.
fn take_data(heard: &mut Bytes, left: &mut u64) -> Option<Bytes> {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(heard.len());
    *left = left.saturating_sub(u64::try_from(count).ok()?);
    (count > 0).then(|| heard.split_to(count))
}

/// A line without its end, if it has come whole.
fn line(heard: &mut Bytes, most: usize) -> Result<Option<Bytes>, Misframed> {
    let used = through_line_feed(heard);
    if used > most {
        return Err(Misframed::TooLarge);
    }
    match heard.get(..used) {
        Some([.., b'\r', b'\n']) => {
            let mut line = heard.split_to(used);
            line.truncate(used.saturating_sub(2));
            Ok(Some(line))
        }
        Some([.., b'\n']) => Err(Misframed::LineEnd),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body in these pieces of bytes, whether it ended, and what is left behind it.
    fn read<'p>(
        mut ends: Ends,
        pieces: impl IntoIterator<Item = &'p [u8]>,
    ) -> Result<(Vec<u8>, bool, Vec<u8>), Misframed> {
        let (mut heard, mut body) = (Bytes::new(), Vec::new());
        for piece in pieces {
            heard = [&heard[..], piece].concat().into();
            loop {
                match ends.take(&mut heard)? {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::End => break,
                    Piece::More => break,
                }
            }
        }
        Ok((body, ends == Ends::Here, heard.to_vec()))
    }

    #[test]
    fn bodies_end_where_they_should() {
        for (ends, bytes, body, ended, left) in [
            (Ends::Length(3), "abcd", "abc", true, "d"),
            (Ends::Length(3), "ab", "ab", false, ""),
            (Ends::Here, "a", "", true, "a"),
            (Ends::Close, "abc", "abc", false, ""),
            (Ends::chunked(), "3\r\nabc\r\n0\r\n\r\nX", "abc", true, "X"),
            (Ends::chunked(), "a;b=c\r\n0123456789\r\n1\r\nx\r\n0\r\nT: u\r\nV: w\r\n\r\n", "0123456789x", true, ""),
            (Ends::chunked(), "3\r\nab", "ab", false, ""),
            (Ends::chunked(), "3\r\nabc\r\n0\r\n", "abc", false, ""),
        ] {
            let expected = Ok((body.as_bytes().to_vec(), ended, left.as_bytes().to_vec()));
            assert_eq!(read(ends.clone(), [bytes.as_bytes()]), expected, "{bytes:?}");
            for step in 1..bytes.len() {
                assert_eq!(
                    read(ends.clone(), bytes.as_bytes().chunks(step)),
                    expected,
                    "in steps of {step}: {bytes:?}"
                );
            }
        }
    }

    #[test]
    fn t234_chunks_are_read_strictly() {
        let long = format!("1;{}\r\n", "a".repeat(limits::CHUNK_LINE_MAX));
        let trailers = format!("0\r\n{}\r\n", "A: b\r\n".repeat(limits::TRAILERS_MAX / 6 + 1));
        for (bytes, fault) in [
            ("\r\n", Misframed::Chunk),
            ("x\r\n", Misframed::Chunk),
            ("0x1\r\n", Misframed::Chunk),
            ("-1\r\n", Misframed::Chunk),
            (" 1\r\n", Misframed::Chunk),
            ("1 \r\n", Misframed::Chunk),
            ("11111111111111111\r\n", Misframed::Chunk),
            ("1\n", Misframed::LineEnd),
            ("1\r\nab\r\n", Misframed::Chunk),
            ("1\r\na\n", Misframed::LineEnd),
            (&long, Misframed::TooLarge),
            (&trailers, Misframed::TooLarge),
        ] {
            assert_eq!(read(Ends::chunked(), [bytes.as_bytes()]), Err(fault), "{bytes:?}");
        }
    }
}
