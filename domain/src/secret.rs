//! Values that must not be seen: no `Debug` that prints them, no `Display`, no equality that leaks time.

use std::fmt;
use std::hint::black_box;
use zeroize::Zeroizing;

/// `N` secret bytes, wiped when dropped.
#[derive(Clone)]
pub struct Secret<const N: usize>(Zeroizing<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Takes the bytes over; the caller's copy, if there is one, is the caller's to wipe.
    #[must_use]
    pub fn new(bytes: [u8; N]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves. Every call is a place for a reviewer to stop at.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// Whether `other` holds the same bytes, in a time that depends on the length alone.
    #[must_use]
    pub fn same(&self, other: &[u8]) -> bool {
        same(self.0.as_slice(), other)
    }
}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// Secret text, wiped when dropped: a token, a password, a client secret.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Every call is a place for a reviewer to stop at.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text, in a time that depends on the length alone.
    #[must_use]
    pub fn same(&self, other: &str) -> bool {
        same(self.0.as_bytes(), other.as_bytes())
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretText(..)")
    }
}

/// Compares without telling by its time where the two differ; only a difference in length shows.
///
/// The barrier keeps the compiler from turning the fold into an early exit. Eight bytes at a time, because tokens are long.
#[must_use]
pub fn same(left: &[u8], right: &[u8]) -> bool {
    let (left_words, left_rest) = left.as_chunks::<8>();
    let (right_words, right_rest) = right.as_chunks::<8>();
    let words = left_words
        .iter()
        .zip(right_words)
        .fold(0, |sum, (left, right)| black_box(sum | (u64::from_ne_bytes(*left) ^ u64::from_ne_bytes(*right))));
    let rest = left_rest.iter().zip(right_rest).fold(0, |sum, (left, right)| black_box(sum | (left ^ right)));
    left.len() == right.len() && (black_box(words) | u64::from(black_box(rest))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p11_t291_a_secret_cannot_be_printed() {
        assert_eq!(format!("{:?}", Secret::new(*b"hush")), "Secret(..)");
        assert_eq!(format!("{:?}", SecretText::new("hush".into())), "SecretText(..)");
    }

    #[test]
    fn same_is_equality() {
        assert!(same(b"", b""));
        assert!(same(b"abc", b"abc"));
        for other in [&b"abd"[..], b"bbc", b"ab", b"abcd", b""] {
            assert!(!same(b"abc", other));
        }
        assert!(Secret::new(*b"abc").same(b"abc") && !Secret::new(*b"abc").same(b"xbc"));
        assert!(SecretText::new("abc".into()).same("abc") && !SecretText::new("abc".into()).same("ab"));
    }
}
