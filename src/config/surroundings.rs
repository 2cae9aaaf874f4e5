//! The environment variables and files that a configuration names.

use portcullis_domain::limits::CONFIG_FILE_MAX;
use portcullis_domain::secret::SecretText;
use std::io::{self, Read};
use std::path::Path;

/// What lies around the configuration; tests bring their own.
pub trait Surroundings {
    /// The value of an environment variable, or nothing if it is not set or not UTF-8.
    fn variable(&self, name: &str) -> Option<SecretText>;

    /// The whole text of a file.
    ///
    /// # Errors
    /// [`Unreadable`] says why there is no text; the text itself is never in it.
    fn file(&self, path: &Path) -> Result<SecretText, Unreadable>;
}

/// Why a file gave no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// There is no such file.
    Absent,
    /// This process may not read it.
    Forbidden,
    /// It is longer than [`CONFIG_FILE_MAX`].
    TooLong,
    /// It is not UTF-8.
    NotText,
    /// Anything else that went wrong: a directory, a broken disk.
    Failed,
}

impl Unreadable {
    /// In words that follow "the file".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Absent => "names a file that does not exist",
            Self::Forbidden => "names a file that this process may not read",
            Self::TooLong => "names a file that is too long to be what is wanted here",
            Self::NotText => "names a file that is not UTF-8 text",
            Self::Failed => "names a file that cannot be read",
        }
    }
}

/// The surroundings of this process.
#[derive(Clone, Copy, Debug)]
pub struct Process;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<SecretText> {
        std::env::var(name).ok().map(SecretText::new)
    }

    fn file(&self, path: &Path) -> Result<SecretText, Unreadable> {
        let file = std::fs::File::open(path).map_err(|error| Unreadable::from(&error))?;
        let limit = u64::try_from(CONFIG_FILE_MAX).unwrap_or(u64::MAX);
        // Wiped also if it turns out not to be text.
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| Unreadable::from(&error))?;
        if bytes.len() > CONFIG_FILE_MAX {
            return Err(Unreadable::TooLong);
        }
        std::str::from_utf8(&bytes).map(|text| SecretText::new(text.to_owned())).map_err(|_| Unreadable::NotText)
    }
}

impl From<&io::Error> for Unreadable {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            io::ErrorKind::PermissionDenied => Self::Forbidden,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_says_why_a_file_gives_no_text() {
        let directory = std::env::temp_dir().join(format!("portcullis-surroundings-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let put = |name: &str, bytes: &[u8]| {
            let path = directory.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let good = put("good", b" text\n");
        assert_eq!(Process.file(&good).unwrap().expose(), " text\n");
        let full = put("full", &vec![b'a'; CONFIG_FILE_MAX]);
        assert_eq!(Process.file(&full).unwrap().expose().len(), CONFIG_FILE_MAX);
        for (path, why) in [
            (directory.join("absent"), Unreadable::Absent),
            (put("long", &vec![b'a'; CONFIG_FILE_MAX + 1]), Unreadable::TooLong),
            (put("bytes", &[0xff, 0xfe]), Unreadable::NotText),
            (directory.clone(), Unreadable::Failed),
        ] {
            assert_eq!(Process.file(&path).unwrap_err(), why, "{}", path.display());
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
