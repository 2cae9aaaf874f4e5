//! The small alphabets: base64url, percent escapes, the characters of OAuth error texts, and text that is safe to show.
//!
//! RFC 4648 section 5 (base64url), RFC 3986 section 2.1 (percent escapes), RFC 6749 appendix A (NQSCHAR).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::borrow::Cow;

/// The text is not base64url without padding, or not in its one canonical spelling, or not of the length asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBase64Url;

/// A `%` without two hexadecimal digits behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEscape;

/// Writes base64url without padding.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url: no padding, no white space, no bits left over, so that every value has exactly one spelling.
pub fn from_base64url(text: impl AsRef<[u8]>) -> Result<Vec<u8>, NotBase64Url> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| NotBase64Url)
}

/// Reads base64url that holds exactly `N` bytes. No heap: the bytes may be secret.
pub fn from_base64url_exact<const N: usize>(text: impl AsRef<[u8]>) -> Result<[u8; N], NotBase64Url> {
    let text = text.as_ref();
    if text.len() != N.saturating_mul(4).div_ceil(3) {
        return Err(NotBase64Url);
    }
    let mut bytes = [0; N];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(NotBase64Url),
    }
}

/// Undoes percent escapes, once. Borrows where nothing is escaped.
pub fn percent_decoded(text: &[u8]) -> Result<Cow<'_, [u8]>, BadEscape> {
    decoded(text, false)
}

/// Undoes the escapes of application/x-www-form-urlencoded, once: percent escapes, and `+` for a space.
pub fn form_decoded(text: &[u8]) -> Result<Cow<'_, [u8]>, BadEscape> {
    decoded(text, true)
}

/// Whether every `%` has two hexadecimal digits behind it.
#[must_use]
pub fn escapes_are_sound(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            (b'%', _) => return false,
            _ => after,
        };
    }
    true
}

/// Appends `text` with every byte escaped that is not unreserved (RFC 3986 section 2.3).
pub fn push_percent_encoded(out: &mut String, text: &str) {
    push_escaped_unless(out, text.as_bytes(), is_unreserved);
}

/// Appends bytes, each either plain, where `plain` says so and it is ASCII, or as a percent escape.
pub fn push_escaped_unless(out: &mut String, bytes: &[u8], plain: impl Fn(u8) -> bool) {
    for &byte in bytes {
        if byte.is_ascii() && plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(hex_digit(byte >> 4));
            out.push(hex_digit(byte & 0x0f));
        }
    }
}

/// `unreserved` of RFC 3986 section 2.3.
#[must_use]
pub const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// NQSCHAR of RFC 6749 appendix A: printable ASCII and space without the double quote and the backslash.
#[must_use]
pub const fn is_nqschar(byte: u8) -> bool {
    matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

/// What is left of `text` when everything is dropped that may not stand in an `error_description`.
#[must_use]
pub fn nqschar_only(text: &str) -> String {
    text.bytes().filter(|byte| is_nqschar(*byte)).map(char::from).collect()
}

/// Makes a stranger's text harmless to show in a page or a log line: at most `max_chars` characters, on one line.
///
/// Controls, direction marks, zero-width and other invisible characters go; every kind of white space becomes one
/// space; no letter carries more than [`MARKS_MAX`] marks. What remains may still imitate another word: it is text to
/// show, not a name to trust. It is not escaped for any format; the writer of that format does so.
#[must_use]
pub fn displayable(text: &str, max_chars: usize) -> String {
    let mut out = String::new();
    let mut room = max_chars;
    let mut marks = 0_usize;
    let mut gap = false;
    for character in text.chars() {
        if room == 0 {
            break;
        }
        if character.is_whitespace() {
            gap = !out.is_empty();
            continue;
        }
        if is_unseen(character) {
            continue;
        }
        marks = if is_mark(character) { marks.saturating_add(1) } else { 0 };
        if marks > MARKS_MAX {
            continue;
        }
        if std::mem::take(&mut gap) {
            room = room.saturating_sub(1);
            if room == 0 {
                break;
            }
            out.push(' ');
        }
        room = room.saturating_sub(1);
        out.push(character);
    }
    out
}

/// Whether `text` reads like the name of a parameter, so that it may be printed where values must not be. No token of
/// any length worth the name consists of small letters alone.
#[must_use]
pub fn is_plain_name(text: &str) -> bool {
    (1..=48).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'_'))
}

/// Combining marks on one letter that are shown: decomposed Vietnamese needs two, a flood of them covers other lines.
pub const MARKS_MAX: usize = 3;

fn decoded(text: &[u8], plus_is_space: bool) -> Result<Cow<'_, [u8]>, BadEscape> {
    if !text.iter().any(|byte| *byte == b'%' || (plus_is_space && *byte == b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else { return Err(BadEscape) };
                let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low)) else { return Err(BadEscape) };
                out.push((high << 4) | low);
                rest = after;
            }
            b'+' if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
    }
    Ok(Cow::Owned(out))
}

const fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(byte.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

/// Characters that are not seen themselves, or that change how their neighbours are seen.
const fn is_unseen(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Soft hyphen, grapheme joiner, Arabic letter mark, Hangul fillers, Khmer inherent vowels, Mongolian selectors.
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        // Zero-width characters, direction marks, separators, embeddings, invisible operators, isolates, old formats.
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        // Fillers, variation selectors, the byte order mark, annotations and the object replacement character.
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}'
        // Shorthand and musical formats, language tags and further variation selectors.
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        // Private use: what these look like depends on the font.
        | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}')
}

const fn is_mark(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64url_has_one_spelling() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"\xfb\xff\xfe", "-__-"),
            (b"\0\0\0\0", "AAAAAA"),
        ] {
            assert_eq!(base64url(bytes), text);
            assert_eq!(from_base64url(text), Ok(bytes.to_vec()));
        }
        for text in
            ["Zg==", "Zm8=", "Zh", "Zm9", "Z", " Zg", "Zg ", "Z g", "Zg\n", "+//+", "Zm9v=", "Zé", "Zg\0", "AAAAA", "="]
        {
            assert_eq!(from_base64url(text), Err(NotBase64Url), "{text:?}");
        }
    }

    #[test]
    fn base64url_of_a_fixed_length_takes_no_other() {
        assert_eq!(from_base64url_exact::<3>("Zm9v"), Ok(*b"foo"));
        assert_eq!(from_base64url_exact::<2>("Zm8"), Ok(*b"fo"));
        assert_eq!(from_base64url_exact::<1>("Zg"), Ok(*b"f"));
        assert_eq!(from_base64url_exact::<0>(""), Ok([]));
        assert_eq!(from_base64url_exact::<32>("A".repeat(43)), Ok([0; 32]));
        for text in ["", "Zg", "Zm8", "Zm9vZg", "Zm9v=", "Zm9\n"] {
            assert_eq!(from_base64url_exact::<3>(text), Err(NotBase64Url), "{text:?}");
        }
        assert_eq!(from_base64url_exact::<2>("Zm9"), Err(NotBase64Url), "bits left over");
        assert_eq!(from_base64url_exact::<1>("Zh"), Err(NotBase64Url), "bits left over");
    }

    #[test]
    fn escapes_are_undone_once_or_refused() {
        assert_eq!(percent_decoded(b"a%2Fb%2fc+d%25%32%35"), Ok(Cow::Owned(b"a/b/c+d%25".to_vec())));
        assert_eq!(form_decoded(b"a+b%2B"), Ok(Cow::Owned(b"a b+".to_vec())));
        assert!(matches!(percent_decoded(b"a+b"), Ok(Cow::Borrowed(b"a+b"))));
        for text in [&b"%"[..], b"%2", b"%g0", b"%0g", b"a%", b"%%41", b"%u0041", b"% 1", b"%+1", b"%-1"] {
            assert_eq!(percent_decoded(text), Err(BadEscape), "{text:?}");
            assert_eq!(form_decoded(text), Err(BadEscape), "{text:?}");
            assert!(!escapes_are_sound(text), "{text:?}");
        }
        let mut out = String::new();
        push_percent_encoded(&mut out, "a-._~ é%+/");
        assert_eq!(out, "a-._~%20%C3%A9%25%2B%2F");
    }

    #[test]
    fn t017_an_error_text_holds_nothing_that_ends_its_quotes() {
        assert_eq!(nqschar_only("a\"b\\c\r\nSet-Cookie: d\u{e9}\u{7f}~ !"), "abcSet-Cookie: d~ !");
        assert_eq!((0..=u8::MAX).filter(|byte| is_nqschar(*byte)).count(), 95 - 2);
    }

    #[test]
    fn t214_shown_text_is_inert() {
        for (text, shown) in [
            ("Claude Code", "Claude Code"),
            ("  a \t\r\n b  ", "a b"),
            ("a\0b\u{1b}[31mc\u{9b}d\u{7f}", "ab[31mcd"),
            ("safe\u{202e}cod.exe\u{2066}x\u{2069}\u{200f}", "safecod.exex"),
            ("ze\u{200b}ro\u{200d}\u{feff}\u{ad}\u{2060}", "zero"),
            ("line\u{2028}one\u{2029}two\u{85}three", "line one two three"),
            ("\u{3000}wide\u{a0}space\u{3000}", "wide space"),
            ("tag\u{e0041}\u{e007f}\u{fe0f}\u{3164}", "tag"),
            ("Żółć Đặng 李雷", "Żółć Đặng 李雷"),
            ("a\u{301}\u{301}\u{301}\u{301}\u{301}b\u{301}", "a\u{301}\u{301}\u{301}b\u{301}"),
            ("\u{202e}", ""),
        ] {
            assert_eq!(displayable(text, 100), shown, "{text:?}");
        }
        assert_eq!(displayable("żółty", 3), "żół");
        assert_eq!(displayable("ab cd", 3), "ab");
        assert_eq!(displayable("ab cd", 4), "ab c");
        assert_eq!(displayable("abc", 0), "");
    }

    proptest! {
        #[test]
        fn base64url_comes_back(bytes: Vec<u8>) {
            prop_assert_eq!(from_base64url(base64url(&bytes)), Ok(bytes));
        }

        #[test]
        fn what_is_read_is_what_would_be_written(text in "[A-Za-z0-9_=+ -]{0,12}") {
            if let Ok(bytes) = from_base64url(&text) {
                prop_assert_eq!(base64url(&bytes), text);
            }
        }

        #[test]
        fn escaping_comes_back(text: String) {
            let mut out = String::new();
            push_percent_encoded(&mut out, &text);
            prop_assert!(escapes_are_sound(out.as_bytes()));
            prop_assert_eq!(percent_decoded(out.as_bytes()).unwrap().into_owned(), text.into_bytes());
        }

        #[test]
        fn showing_twice_changes_nothing(text: String, max_chars in 0_usize..20) {
            let once = displayable(&text, max_chars);
            prop_assert!(once.chars().count() <= max_chars);
            prop_assert_eq!(displayable(&once, max_chars), once);
        }
    }
}
