//! The one binary form of everything that is stored, sealed or signed: tagged, length-prefixed fields.
//!
//! A field is a tag byte, a length (LEB128, shortest form, at most four bytes) and the bytes. Tags never descend; a
//! list is the same tag again. Numbers are big-endian without leading zeros. So every value has exactly one encoding,
//! and a reader that does not know a tag can carry the field along unchanged, which is what lets two versions of the
//! program share a store.

use crate::secret::Secret;
use crate::time::Timestamp;
use std::cell::Cell;
use zeroize::Zeroizing;

/// These bytes are not what [`Writer`] writes, or a field that must be there is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Writes fields in ascending order of their tags. The buffer is wiped when dropped.
#[derive(Default)]
pub struct Writer {
    out: Zeroizing<Vec<u8>>,
    last: u8,
}

impl Writer {
    /// An empty body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One field of bytes.
    ///
    /// Tags must not descend: that is our own mistake, and tests see it.
    pub fn bytes(&mut self, tag: u8, value: &[u8]) -> &mut Self {
        debug_assert!(tag >= self.last, "fields are written in the order of their tags");
        self.last = tag;
        self.out.push(tag);
        let mut length = value.len();
        loop {
            let low = u8::try_from(length & 0x7f).unwrap_or(0x7f);
            length >>= 7;
            if length == 0 {
                self.out.push(low);
                break;
            }
            self.out.push(low | 0x80);
        }
        self.out.extend_from_slice(value);
        self
    }

    /// One field of text.
    pub fn text(&mut self, tag: u8, value: &str) -> &mut Self {
        self.bytes(tag, value.as_bytes())
    }

    /// One number.
    pub fn number(&mut self, tag: u8, value: u64) -> &mut Self {
        let bytes = value.to_be_bytes();
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        self.bytes(tag, bytes.get(start..).unwrap_or_default())
    }

    /// One point in time.
    pub fn time(&mut self, tag: u8, value: Timestamp) -> &mut Self {
        self.number(tag, value.millis())
    }

    /// A field that may be missing.
    pub fn optional(&mut self, tag: u8, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) => self.bytes(tag, value),
            None => self,
        }
    }

    /// Fields that [`Fields::unknown`] carried along: their tags are higher than all that this version writes.
    pub fn carry(&mut self, unknown: &[u8]) -> &mut Self {
        self.out.extend_from_slice(unknown);
        self
    }

    /// The body.
    #[must_use]
    pub fn finish(&mut self) -> Zeroizing<Vec<u8>> {
        self.last = 0;
        std::mem::take(&mut self.out)
    }
}

/// The fields of one body, borrowed from it. Whoever asks for them in the order of their tags finds each without a search.
pub struct Fields<'a> {
    list: Vec<(u8, &'a [u8])>,
    /// The tag that was asked for last, and where its fields begin.
    last: Cell<(u8, usize)>,
}

impl<'a> Fields<'a> {
    /// Splits a body into its fields.
    ///
    /// # Errors
    /// [`Broken`] if a length runs past the end, is not in its shortest form, or tags descend.
    pub fn parse(mut body: &'a [u8]) -> Result<Self, Broken> {
        // Most bodies have no more fields than this.
        let mut list: Vec<(u8, &[u8])> = Vec::with_capacity(24);
        while let Some((tag, rest)) = body.split_first() {
            if list.last().is_some_and(|(last, _)| last > tag) {
                return Err(Broken);
            }
            let (length, rest) = length(rest)?;
            let (value, rest) = rest.split_at_checked(length).ok_or(Broken)?;
            list.push((*tag, value));
            body = rest;
        }
        Ok(Self { list, last: Cell::new((0, 0)) })
    }

    /// All fields of a tag, in their order.
    pub fn all(&self, tag: u8) -> impl Iterator<Item = &'a [u8]> + '_ {
        let (last, begin) = self.last.get();
        let begin = if tag < last { 0 } else { begin };
        // Tags never descend.
        let lower = self.list.iter().skip(begin).take_while(|(found, _)| *found < tag).count();
        let begin = begin.saturating_add(lower);
        self.last.set((tag, begin));
        let fields = self.list.get(begin..).unwrap_or_default();
        fields.iter().take_while(move |(found, _)| *found == tag).map(|(_, value)| *value)
    }

    /// The field of a tag that stands at most once.
    ///
    /// # Errors
    /// [`Broken`] if it stands more than once.
    pub fn optional(&self, tag: u8) -> Result<Option<&'a [u8]>, Broken> {
        let mut all = self.all(tag);
        match (all.next(), all.next()) {
            (found, None) => Ok(found),
            _ => Err(Broken),
        }
    }

    /// The field of a tag that stands exactly once.
    ///
    /// # Errors
    /// [`Broken`] if it stands more or less often.
    pub fn bytes(&self, tag: u8) -> Result<&'a [u8], Broken> {
        self.optional(tag)?.ok_or(Broken)
    }

    /// Exactly `N` bytes.
    ///
    /// # Errors
    /// [`Broken`] if the field is missing or has another length.
    pub fn array<const N: usize>(&self, tag: u8) -> Result<[u8; N], Broken> {
        self.bytes(tag)?.try_into().map_err(|_| Broken)
    }

    /// Exactly `N` bytes, or nothing.
    ///
    /// # Errors
    /// [`Broken`] if the field has another length.
    pub fn optional_array<const N: usize>(&self, tag: u8) -> Result<Option<[u8; N]>, Broken> {
        self.optional(tag)?.map(|bytes| bytes.try_into().map_err(|_| Broken)).transpose()
    }

    /// Exactly `N` secret bytes.
    ///
    /// # Errors
    /// [`Broken`] if the field is missing or has another length.
    pub fn secret<const N: usize>(&self, tag: u8) -> Result<Secret<N>, Broken> {
        Ok(Secret::new(self.array(tag)?))
    }

    /// Text.
    ///
    /// # Errors
    /// [`Broken`] if the field is missing or not UTF-8.
    pub fn text(&self, tag: u8) -> Result<&'a str, Broken> {
        text_of(self.bytes(tag)?)
    }

    /// Text that may be missing.
    ///
    /// # Errors
    /// [`Broken`] if the field is not UTF-8.
    pub fn optional_text(&self, tag: u8) -> Result<Option<&'a str>, Broken> {
        self.optional(tag)?.map(text_of).transpose()
    }

    /// A list of text.
    ///
    /// # Errors
    /// [`Broken`] if one of the fields is not UTF-8.
    pub fn texts(&self, tag: u8) -> Result<Vec<&'a str>, Broken> {
        self.all(tag).map(text_of).collect()
    }

    /// A number.
    ///
    /// # Errors
    /// [`Broken`] if the field is missing or not a number in its shortest form.
    pub fn number(&self, tag: u8) -> Result<u64, Broken> {
        number_of(self.bytes(tag)?)
    }

    /// A number that may be missing.
    ///
    /// # Errors
    /// [`Broken`] if the field is not a number in its shortest form.
    pub fn optional_number(&self, tag: u8) -> Result<Option<u64>, Broken> {
        self.optional(tag)?.map(number_of).transpose()
    }

    /// A point in time.
    ///
    /// # Errors
    /// As [`Fields::number`].
    pub fn time(&self, tag: u8) -> Result<Timestamp, Broken> {
        self.number(tag).map(Timestamp::from_millis)
    }

    /// Every field whose tag is higher than `known`, as it stood: what a newer version has written.
    #[must_use]
    pub fn unknown(&self, known: u8) -> Vec<u8> {
        if self.list.last().is_none_or(|(tag, _)| *tag <= known) {
            return Vec::new();
        }
        let mut writer = Writer::new();
        for (tag, value) in self.list.iter().filter(|(tag, _)| *tag > known) {
            writer.bytes(*tag, value);
        }
        writer.finish().to_vec()
    }
}

/// A number as [`Writer::number`] writes it.
///
/// # Errors
/// [`Broken`] if it is longer than eight bytes or begins with a zero.
pub fn number_of(bytes: &[u8]) -> Result<u64, Broken> {
    if bytes.len() > 8 || bytes.first() == Some(&0) {
        return Err(Broken);
    }
    Ok(bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
}

fn text_of(bytes: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(bytes).map_err(|_| Broken)
}

/// A LEB128 length of at most four bytes in its shortest form, and what follows it.
fn length(bytes: &[u8]) -> Result<(usize, &[u8]), Broken> {
    let mut sum = 0_usize;
    let mut shift = 0_u32;
    let mut rest = bytes;
    for _ in 0..4 {
        let (byte, after) = rest.split_first().ok_or(Broken)?;
        rest = after;
        sum |= usize::from(byte & 0x7f).checked_shl(shift).ok_or(Broken)?;
        if byte & 0x80 == 0 {
            let shortest = *byte != 0 || shift == 0;
            return if shortest { Ok((sum, rest)) } else { Err(Broken) };
        }
        shift = shift.saturating_add(7);
    }
    Err(Broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_come_back_as_they_were_written() {
        let body = Writer::new()
            .bytes(1, &[7; 300])
            .text(2, "a")
            .text(2, "b")
            .number(3, 0)
            .number(4, 258)
            .time(5, Timestamp::FAR)
            .optional(6, None)
            .finish();
        let fields = Fields::parse(&body).unwrap();
        assert_eq!(fields.bytes(1).unwrap(), [7; 300]);
        assert_eq!(fields.texts(2).unwrap(), ["a", "b"]);
        assert_eq!(fields.number(3), Ok(0));
        assert_eq!(fields.number(4), Ok(258));
        assert_eq!(fields.time(5), Ok(Timestamp::FAR));
        assert_eq!(fields.optional(6), Ok(None));
        assert_eq!(fields.text(2), Err(Broken), "a list is not one field");
        assert_eq!(fields.array::<4>(1), Err(Broken));
        // In any order, and of those that are not there too.
        for tag in [0, 6, 200, 2, 2, 1, 7, 5, 3] {
            let there = fields.all(tag).count();
            assert_eq!(
                there,
                match tag {
                    2 => 2,
                    1..=5 => 1,
                    _ => 0,
                },
                "{tag}"
            );
        }
    }

    #[test]
    fn a_newer_version_s_fields_are_carried_along() {
        let newer = Writer::new().text(1, "known").text(9, "x").text(9, "y").finish();
        let fields = Fields::parse(&newer).unwrap();
        let unknown = fields.unknown(1);
        let again = Writer::new().text(1, "changed").carry(&unknown).finish();
        assert_eq!(Fields::parse(&again).unwrap().texts(9).unwrap(), ["x", "y"]);
    }

    #[test]
    fn what_no_writer_writes_is_broken() {
        for broken in [
            &[1][..],                        // no length
            &[1, 2, 0],                      // runs past the end
            &[2, 0, 1, 0],                   // tags descend
            &[1, 0x80, 0],                   // not the shortest length
            &[1, 0x80, 0x80, 0x80, 0x80, 1], // a length of five bytes
        ] {
            assert!(Fields::parse(broken).is_err(), "{broken:?}");
        }
        let leading_zero = [1, 2, 0, 1];
        assert_eq!(Fields::parse(&leading_zero).unwrap().number(1), Err(Broken));
    }

    proptest! {
        #[test]
        fn f20_whatever_parses_has_one_encoding(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(fields) = Fields::parse(&body) {
                let mut writer = Writer::new();
                for (tag, value) in &fields.list {
                    writer.bytes(*tag, value);
                }
                prop_assert_eq!(&writer.finish()[..], &body[..]);
            }
        }
    }
}
