//! The known key that an unknown one most looks like.

/// Keys that other systems of this kind use, and what they are called here.
const RENAMED: &[(&str, &str)] = &[
    ("encryptionKey", "masterKeys"),
    ("encryptionKeyFile", "masterKeyFile"),
    ("issuer", "baseUrl"),
    ("publicUrl", "baseUrl"),
    ("address", "listen"),
];

/// The nearest of `known` to `key`, if any is near enough to be meant.
pub(crate) fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let renamed = RENAMED.iter().find(|(old, new)| *old == key && known.contains(new)).map(|(_, new)| *new);
    renamed.or_else(|| {
        let key: Vec<char> = key.chars().take(LONGEST).flat_map(char::to_lowercase).collect();
        let near = known.iter().map(|name| (distance(&key, &name.to_lowercase()), *name)).min()?;
        // A third of the letters may differ.
        (near.0 <= near.1.len() / 3).then_some(near.1)
    })
}

/// Longer keys are like nothing known.
const LONGEST: usize = 64;

/// How many letters must be put in, left out or changed (Levenshtein), one row at a time.
fn distance(left: &[char], right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, from) in left.iter().enumerate() {
        let mut next = vec![at.saturating_add(1)];
        for (to, around) in right.iter().zip(row.windows(2)) {
            let (&[across, above], &[.., beside]) = (around, next.as_slice()) else { continue };
            let changed = across.saturating_add(usize::from(from != to));
            next.push(changed.min(above.saturating_add(1)).min(beside.saturating_add(1)));
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        for (left, right, apart) in [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3)] {
            assert_eq!(distance(&left.chars().collect::<Vec<_>>(), right), apart, "{left} {right}");
        }
    }

    #[test]
    fn a_slip_finds_its_key_and_nonsense_finds_none() {
        let known = ["baseUrl", "listen", "masterKeys", "trustedProxyCIDRs"];
        for (key, near) in [
            ("baseURL", Some("baseUrl")),
            ("base_url", Some("baseUrl")),
            ("trustedProxyCidr", Some("trustedProxyCIDRs")),
            ("encryptionKey", Some("masterKeys")),
            ("issuer", Some("baseUrl")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, &known), near, "{key}");
        }
        assert_eq!(nearest("issuer", &["upstream"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), &known), None);
    }
}
